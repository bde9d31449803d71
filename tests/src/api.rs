//! The orchestrator's API, as a test speaks to it.

use std::time::Duration;

use anyhow::{Context as _, bail};
use futures::StreamExt as _;
use reqwest::{Method, StatusCode};
use serde_json::Value;

/// A client with the pool's token.
#[derive(Clone, Debug)]
pub struct Api {
    client: reqwest::Client,
    url: String,
    token: String,
}

/// A refusal: status and problem.
#[derive(Clone, PartialEq, Debug)]
pub struct Problem {
    /// HTTP status.
    pub status: u16,
    /// Stable code.
    pub code: String,
    /// All of it.
    pub body: Value,
}

impl Api {
    /// Asks `url` with `token`.
    ///
    /// # Errors
    /// When no client can be made.
    pub fn new(url: &str, token: &str) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(15)).no_proxy().build()?;
        Ok(Api { client, url: url.to_owned(), token: token.to_owned() })
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What it is asked with.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Sends a request; the answer may be a refusal.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Result<Value, Problem>> {
        let mut request = self.client.request(method, format!("{}{path}", self.url)).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        let body: Value = match text.is_empty() {
            true => Value::Null,
            false => serde_json::from_str(&text).with_context(|| format!("{status}: {text}"))?,
        };
        if status.is_success() {
            return Ok(Ok(body));
        }
        let code = body["code"].as_str().unwrap_or_default().to_owned();
        Ok(Err(Problem { status: status.as_u16(), code, body }))
    }

    /// Gets something.
    ///
    /// # Errors
    /// When there is no answer, or a refusal.
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.call(Method::GET, path, None).await
    }

    /// Posts something.
    ///
    /// # Errors
    /// When there is no answer, or a refusal.
    pub async fn post(&self, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        self.call(Method::POST, path, body).await
    }

    /// Deletes something.
    ///
    /// # Errors
    /// When there is no answer, or a refusal.
    pub async fn delete(&self, path: &str) -> anyhow::Result<Value> {
        self.call(Method::DELETE, path, None).await
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        match self.ask(method.clone(), path, body).await? {
            Ok(value) => Ok(value),
            Err(problem) => bail!("{method} {path}: {} {}", problem.status, problem.body),
        }
    }

    /// All output of a task so far.
    ///
    /// # Errors
    /// When there is none to be had.
    pub async fn logs(&self, task: &str) -> anyhow::Result<String> {
        let answer = self.logs_request(task, false).send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        anyhow::ensure!(status == StatusCode::OK, "logs of {task}: {status}: {text}");
        Ok(text)
    }

    /// Follows a task's output until a line satisfies `wanted`.
    ///
    /// # Errors
    /// When the output ends before, or `patience` does.
    pub async fn follow_until(
        &self,
        task: &str,
        patience: Duration,
        wanted: impl Fn(&str) -> bool,
    ) -> anyhow::Result<String> {
        let follow = async {
            let answer = self.logs_request(task, true).timeout(patience).send().await?;
            let status = answer.status();
            anyhow::ensure!(status == StatusCode::OK, "logs of {task}: {status}: {}", answer.text().await?);
            let mut chunks = answer.bytes_stream();
            let mut text = String::new();
            while let Some(chunk) = chunks.next().await {
                text.push_str(&String::from_utf8_lossy(&chunk?));
                let whole = text.rfind('\n').map_or("", |end| &text[..end]);
                if let Some(line) = whole.lines().find(|line| wanted(line)) {
                    return Ok(line.to_owned());
                }
            }
            bail!("the output ended without the line:\n{text}")
        };
        tokio::time::timeout(patience, follow).await.context("no such line in time")?
    }

    fn logs_request(&self, task: &str, follow: bool) -> reqwest::RequestBuilder {
        let url = format!("{}/v1/tasks/{task}/logs?follow={follow}", self.url);
        self.client.get(url).bearer_auth(&self.token)
    }
}
