//! The orchestrator's HTTP API, as a client sees it.
//!
//! Owns requests, the reading of problem+json, streams that reconnect. What is sent and read are the types of
//! [`lode_api_types`], the server's own.

mod lists;
mod logs;
mod resolve;
pub(crate) mod sse;

use std::time::Duration;

use anyhow::Context as _;
use lode_address::EndpointUrl;
use lode_api_types::{Problem, Submission, Submitted, Task, TaskSummary};
use lode_protocol::ids::TaskId;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use logs::{LogEvent, LogGap, LogLine, LogRequest, LogSink, read_logs};

use crate::arguments::Global;
use crate::context::{Contexts, Token};
use crate::failure::{Failure, Kind};

/// Time for a request that is not a stream.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest stream before it is opened anew.
const STREAM_TIMEOUT: Duration = Duration::from_secs(12 * 3_600);
/// Largest error body that is read.
const MAX_PROBLEM_BYTES: usize = 64 << 10;
/// Largest answer that is read: a page of the longest list is far smaller.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// A connection to one orchestrator.
#[derive(Clone, Debug)]
pub struct Api {
    client: reqwest::Client,
    address: lode_address::HttpsAddress,
    token: Option<Token>,
    url: String,
}

impl Api {
    /// The pool that the flags or the contexts mean.
    pub fn of(global: &Global) -> anyhow::Result<Self> {
        if let Some(url) = &global.url {
            return Api::new(url, token_of(global)?);
        }
        let contexts = Contexts::load(&Contexts::path()?)?;
        let (name, context) = contexts.choose(global.context.as_deref())?;
        let token = token_of(global)?.or_else(|| context.token.clone());
        Api::new(&context.url, token).with_context(|| format!("context {name:?}"))
    }

    /// The orchestrator at `url`.
    pub fn new(url: &str, token: Option<Token>) -> anyhow::Result<Self> {
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
    pub async fn get<T: DeserializeOwned>(&self, path: &str, query: &impl Serialize) -> anyhow::Result<T> {
        self.answer(self.request(Method::GET, path).query(query)).await
    }

    /// Everything about a task.
    pub async fn task(&self, id: TaskId) -> anyhow::Result<Task> {
        self.get(&format!("v1/tasks/{id}"), &()).await
    }

    /// GET of a stream of events, from after `last_id` on.
    pub async fn events(
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

    /// POST without a body.
    pub async fn post<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        self.answer(self.request(Method::POST, path)).await
    }

    /// Submits a task. The key makes a repeated submission the same one: a broken connection is tried again.
    pub async fn submit(&self, submission: &Submission, key: &str) -> anyhow::Result<Submitted> {
        let submit = || {
            let request = self.request(Method::POST, "v1/tasks").header("idempotency-key", key);
            self.answer(request.json(submission))
        };
        match submit().await {
            Err(error) if crate::report::classify(&error).0 == Kind::Unavailable => {
                tokio::time::sleep(Duration::from_millis(500)).await;
                submit().await
            }
            other => other,
        }
    }

    /// Deletes a task. Tells it as it is while something of it still runs.
    pub async fn delete_task(&self, id: TaskId) -> anyhow::Result<Option<TaskSummary>> {
        let response = self.send(self.request(Method::DELETE, &format!("v1/tasks/{id}"))).await?;
        match response.status() {
            StatusCode::NO_CONTENT => Ok(None),
            _ => self.read(response).await.map(Some),
        }
    }

    async fn answer<T: DeserializeOwned>(&self, request: RequestBuilder) -> anyhow::Result<T> {
        let response = self.send(request).await?;
        self.read(response).await
    }

    async fn read<T: DeserializeOwned>(&self, response: Response) -> anyhow::Result<T> {
        let path = response.url().path().to_owned();
        let bytes = self.body(response, &path).await?;
        serde_json::from_slice(&bytes).map_err(|error| self.not_understood(&path, &error))
    }

    /// The whole body, as far as it is one that an orchestrator sends.
    async fn body(&self, mut response: Response, path: &str) -> anyhow::Result<Vec<u8>> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(&error))? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_ANSWER_BYTES {
                let mebibytes = MAX_ANSWER_BYTES >> 20;
                return Err(self.not_understood(path, &format!("it has more than {mebibytes} MiB")));
            }
        }
        Ok(body)
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

    fn not_understood(&self, path: &str, error: &dyn std::fmt::Display) -> anyhow::Error {
        let message = format!("the answer of {} to {path} is not what was expected: {error}", self.url);
        let remedy = "check that the URL is an orchestrator's, and that `lode` is of its version";
        Failure::coded(Kind::Failed, "api/not-understood", message, remedy).into()
    }
}

fn token_of(global: &Global) -> anyhow::Result<Option<Token>> {
    if let Some(file) = &global.token_file {
        return Ok(Some(Token::new(&lode_files::read_secret_text(file)?)));
    }
    Ok(std::env::var("LODE_TOKEN").ok().filter(|token| !token.is_empty()).map(|token| Token::new(&token)))
}

/// A refusal in the server's own words, with the exit code of its sort.
fn refused(status: StatusCode, body: &[u8]) -> Failure {
    let kind = match status.as_u16() {
        401 | 403 => Kind::Denied,
        404 | 410 => Kind::NotFound,
        400 | 413 | 415 | 422 => Kind::Usage,
        409 => Kind::Conflict,
        429 | 502..=504 => Kind::Unavailable,
        _ => Kind::Failed,
    };
    // Whatever stands between us and the orchestrator answers in its own way.
    let problem = serde_json::from_slice::<Problem>(body).ok();
    let (code, mut message, mut remedy) = match &problem {
        Some(Problem { code, title, detail, remedy, .. }) => {
            let message = if detail.is_empty() { title.clone() } else { format!("{title}: {detail}") };
            (Some(code.to_string()), message, remedy.clone())
        }
        None => (None, format!("the orchestrator answered with HTTP status {status}"), String::new()),
    };
    for problem in problem.into_iter().flat_map(|problem| problem.fields.problems.unwrap_or_default()) {
        message.push_str(&format!("\n  {}: {}", problem.field, problem.message));
    }
    if remedy.is_empty() && kind == Kind::Denied {
        "check the token: `lode context set NAME --url URL --token-file FILE`".clone_into(&mut remedy);
    }
    Failure { kind, code, message, remedy, refusal: None }
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
