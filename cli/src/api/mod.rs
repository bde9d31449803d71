//! The orchestrator's HTTP API, as a client sees it.
//!
//! Owns requests, the reading of problem+json, streams that reconnect. What is printed as JSON is what the server sent.

mod logs;
mod resolve;
pub(crate) mod sse;
mod view;

use std::time::Duration;

use anyhow::Context as _;
use lode_network::EndpointUrl;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub(crate) use logs::{LogLine, LogRequest, follow_logs};
pub(crate) use view::{Assignment, Explanation, Node, Task, TaskSummary};

use crate::arguments::Global;
use crate::context::{Contexts, Token};
use crate::failure::{Failure, Kind};

/// Time for a request that is not a stream.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest stream before it is opened anew.
const STREAM_TIMEOUT: Duration = Duration::from_secs(12 * 3_600);
/// Largest error body that is read.
const MAX_PROBLEM_BYTES: usize = 64 << 10;
/// Most items asked for at once.
const PAGE: usize = 500;

/// A connection to one orchestrator.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    client: reqwest::Client,
    address: lode_network::HttpsAddress,
    token: Option<Token>,
    url: String,
}

/// RFC 9457, as far as we use it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Problem {
    code: Option<String>,
    title: String,
    detail: String,
    remedy: String,
    fields: Value,
}

impl Api {
    /// The pool that the flags or the contexts mean.
    pub(crate) fn of(global: &Global) -> anyhow::Result<Self> {
        if let Some(url) = &global.url {
            return Api::new(url, token_of(global)?);
        }
        let contexts = Contexts::load(&Contexts::path()?)?;
        let (name, context) = contexts.choose(global.context.as_deref())?;
        let token = token_of(global)?.or_else(|| context.token.clone());
        Api::new(&context.url, token).with_context(|| format!("context {name:?}"))
    }

    /// The orchestrator at `url`.
    pub(crate) fn new(url: &str, token: Option<Token>) -> anyhow::Result<Self> {
        let address = match url.parse::<EndpointUrl>() {
            Ok(EndpointUrl::Https(address)) => address,
            Ok(EndpointUrl::Peer(_)) => {
                let remedy = "give its API's URL, like https://pool.example:7070";
                return Err(Kind::Usage.with_remedy(format!("{url} is no URL of an API"), remedy));
            }
            Err(error) => return Err(Kind::Usage.because(format!("{url}: {error}"))),
        };
        let client = address.client(REQUEST_TIMEOUT)?;
        Ok(Api { client, address, token, url: url.to_owned() })
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, self.address.join(path));
        match &self.token {
            Some(token) => request.bearer_auth(token.reveal()),
            None => request,
        }
    }

    /// GET of JSON.
    pub(crate) async fn get(&self, path: &str, query: &[(&str, String)]) -> anyhow::Result<Value> {
        self.answer(self.request(Method::GET, path).query(query)).await
    }

    /// GET of text.
    pub(crate) async fn text(&self, path: &str, query: &[(&str, String)]) -> anyhow::Result<Response> {
        self.send(self.request(Method::GET, path).query(query).timeout(STREAM_TIMEOUT)).await
    }

    /// GET of a stream of events, from after `last_id` on.
    pub(crate) async fn events(
        &self,
        path: &str,
        query: &[(&str, String)],
        last_id: Option<&str>,
    ) -> anyhow::Result<Response> {
        let mut request = self.request(Method::GET, path).query(query).timeout(STREAM_TIMEOUT);
        request = request.header("accept", "text/event-stream");
        if let Some(id) = last_id {
            request = request.header("last-event-id", id);
        }
        self.send(request).await
    }

    /// All items of a list, at most `limit`.
    pub(crate) async fn list(
        &self,
        path: &str,
        query: &[(&str, String)],
        limit: usize,
    ) -> anyhow::Result<Vec<Value>> {
        let mut items = Vec::new();
        let mut after: Option<String> = None;
        while items.len() < limit {
            let mut query = query.to_vec();
            query.push(("limit", PAGE.min(limit - items.len()).to_string()));
            if let Some(after) = after.take() {
                query.push(("after", after));
            }
            let mut page = self.get(path, &query).await?;
            match page.get_mut("items").map(Value::take) {
                // A list that grows (events) names a next page even when there is nothing on it yet.
                Some(Value::Array(page_items)) if page_items.is_empty() => break,
                Some(Value::Array(page_items)) => items.extend(page_items),
                _ => return Err(self.not_understood(path)),
            }
            match page.get("next") {
                Some(Value::String(next)) => after = Some(next.clone()),
                _ => break,
            }
        }
        Ok(items)
    }

    /// POST of JSON, or of nothing.
    pub(crate) async fn post(&self, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let request = self.request(Method::POST, path);
        self.answer(match body {
            Some(body) => request.json(body),
            None => request,
        })
        .await
    }

    /// Submits a task. The key makes a repeated submission the same one: a broken connection is tried again.
    pub(crate) async fn submit(&self, spec: &Value, key: &str) -> anyhow::Result<Value> {
        let submit =
            || self.answer(self.request(Method::POST, "v1/tasks").header("idempotency-key", key).json(spec));
        match submit().await {
            Err(error) if crate::failure::classify(&error).0 == Kind::Unavailable => {
                tokio::time::sleep(Duration::from_millis(500)).await;
                submit().await
            }
            other => other,
        }
    }

    /// DELETE; the answer may have no body.
    pub(crate) async fn delete(&self, path: &str) -> anyhow::Result<Value> {
        self.answer(self.request(Method::DELETE, path)).await
    }

    async fn answer(&self, request: RequestBuilder) -> anyhow::Result<Value> {
        let response = self.send(request).await?;
        if response.status() == StatusCode::NO_CONTENT {
            return Ok(Value::Null);
        }
        let path = response.url().path().to_owned();
        let bytes = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        serde_json::from_slice(&bytes).map_err(|_| self.not_understood(&path))
    }

    async fn send(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        let mut response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let mut body = Vec::new();
        while let Ok(Some(chunk)) = response.chunk().await {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_PROBLEM_BYTES {
                break;
            }
        }
        Err(refused(status, &body).into())
    }

    fn unreachable(&self, error: &reqwest::Error) -> anyhow::Error {
        let mut words = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            words = cause.to_string();
            source = cause.source();
        }
        let what = if error.is_timeout() { "does not answer in time" } else { "cannot be reached" };
        let message = format!("the orchestrator at {} {what}: {words}", self.url);
        let remedy = "check that it runs and that the URL is right (`lode context ls`)";
        Failure::coded(Kind::Unavailable, "api/unreachable", message, remedy).into()
    }

    fn not_understood(&self, path: &str) -> anyhow::Error {
        let message = format!("the answer of {} to {path} is not what was expected", self.url);
        let remedy = "check that the URL is an orchestrator's, and that `lode` is not older than it";
        Failure::coded(Kind::Failed, "api/not-understood", message, remedy).into()
    }

    /// Reads a value as the view of it that is shown.
    pub(crate) fn view<T: DeserializeOwned>(&self, value: &Value) -> anyhow::Result<T> {
        T::deserialize(value).map_err(|_| self.not_understood("v1"))
    }
}

fn token_of(global: &Global) -> anyhow::Result<Option<Token>> {
    if let Some(file) = &global.token_file {
        return Ok(Some(Token::new(&lode_program::files::read_secret_text(file)?)));
    }
    Ok(std::env::var("LODE_TOKEN").ok().filter(|token| !token.is_empty()).map(|token| Token::new(&token)))
}

/// A refusal in the server's own words, with the exit code of its sort.
fn refused(status: StatusCode, body: &[u8]) -> Failure {
    let problem: Problem = serde_json::from_slice(body).unwrap_or_default();
    let kind = match status.as_u16() {
        401 | 403 => Kind::Denied,
        404 | 410 => Kind::NotFound,
        400 | 413 | 415 | 422 => Kind::Usage,
        409 => Kind::Conflict,
        429 | 502..=504 => Kind::Unavailable,
        _ => Kind::Failed,
    };
    let mut message = match (problem.title.as_str(), problem.detail.as_str()) {
        ("", "") => format!("the orchestrator answered with HTTP status {status}"),
        (title, "") => title.to_owned(),
        ("", detail) => detail.to_owned(),
        (title, detail) => format!("{title}: {detail}"),
    };
    for item in problem.fields.get("problems").and_then(Value::as_array).into_iter().flatten() {
        let text = |key: &str| item.get(key).and_then(Value::as_str).unwrap_or_default();
        message.push_str(&format!("\n  {}: {}", text("field"), text("message")));
    }
    let remedy = if problem.remedy.is_empty() && kind == Kind::Denied {
        "check the token: `lode context set NAME --url URL --token-file FILE`".to_owned()
    } else {
        problem.remedy
    };
    Failure { kind, code: problem.code, message, remedy, refusal: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_keeps_its_code_words_and_remedy() {
        let body = br#"{"type":"about:blank","status":422,"code":"task/spec-invalid","title":"The task is not valid",
            "detail":"two problems","remedy":"correct them","fields":{"problems":[{"field":"name","message":"too long"}]}}"#;
        let failure = refused(StatusCode::UNPROCESSABLE_ENTITY, body);
        assert_eq!(failure.kind, Kind::Usage);
        assert_eq!(failure.code.as_deref(), Some("task/spec-invalid"));
        assert!(
            failure.message.contains("two problems") && failure.message.contains("name: too long"),
            "{failure}"
        );
        assert_eq!(failure.remedy, "correct them");
    }

    #[test]
    fn each_status_has_its_exit_code_even_without_a_body() {
        for (status, kind) in [
            (401, Kind::Denied),
            (403, Kind::Denied),
            (404, Kind::NotFound),
            (409, Kind::Conflict),
            (422, Kind::Usage),
            (503, Kind::Unavailable),
            (500, Kind::Failed),
        ] {
            let failure = refused(StatusCode::from_u16(status).unwrap(), b"<html>");
            assert_eq!(failure.kind, kind, "{status}");
            assert!(failure.message.contains(&status.to_string()), "{failure}");
        }
    }

    #[test]
    fn only_loopback_is_spoken_to_without_tls() {
        assert!(Api::new("http://127.0.0.1:7070", None).is_ok());
        assert!(Api::new("http://203.0.113.1:7070", None).is_err());
        assert!(Api::new("/ip4/127.0.0.1/tcp/7000", None).is_err());
    }
}
