//! A task's output over a connection that may break: each record once, in order, by its position.

use std::borrow::Cow;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::Api;
use super::sse::SseParser;
use crate::failure::{Failure, Kind};
use crate::report::classify;

/// Silence (not even a keep-alive) after which the connection counts as broken.
const SILENCE: Duration = Duration::from_secs(60);
/// What is printed may wait for more for so long.
const IDLE: Duration = Duration::from_millis(50);
/// How long an orchestrator or a node may be away before following gives up.
const PATIENCE: Duration = Duration::from_secs(120);
/// … and reading what there is.
const PATIENCE_FOR_THE_PAST: Duration = Duration::from_secs(15);
/// Between two tries.
const RETRY: Duration = Duration::from_millis(500);

/// What is wanted.
#[derive(Clone, Debug, Default)]
pub struct LogRequest {
    pub task: String,
    pub replica: u32,
    pub follow: bool,
    pub tail: Option<u64>,
    /// RFC 3339.
    pub since: Option<String>,
    /// Wait for a container that is not there yet.
    pub wait_for_start: bool,
}

/// A line of output, or a piece of a long one.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct LogLine<'a> {
    #[serde(borrow)]
    pub source: Cow<'a, str>,
    #[serde(borrow)]
    pub at: Cow<'a, str>,
    #[serde(borrow, default)]
    pub text: Option<Cow<'a, str>>,
    /// In place of the text where that is no UTF-8: base64.
    #[serde(borrow, default)]
    pub bytes: Option<Cow<'a, str>>,
    /// Without it a line feed follows.
    #[serde(borrow, default)]
    pub end: Option<Cow<'a, str>>,
}

/// Whose output it is.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct LogBegin {
    pub assignment: String,
    pub replica: u32,
    pub replicas: u32,
}

/// Something is missing.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct LogGap {
    pub records: Option<u64>,
    pub bytes: Option<u64>,
    pub reason: String,
}

/// The next start's output follows.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct LogRestart {
    pub assignment: String,
    pub node: Option<String>,
}

/// What there is to show.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LogEvent<'a> {
    Begin(LogBegin),
    Line(LogLine<'a>),
    Gap(LogGap),
    Restart(LogRestart),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LogEnd {
    status: String,
    code: Option<String>,
    message: String,
}

/// Shows it.
pub trait LogSink {
    /// What came; `data` is its JSON.
    fn show(&mut self, event: &LogEvent<'_>, data: &str) -> anyhow::Result<()>;

    /// Nothing more is there at present.
    fn idle(&mut self) -> anyhow::Result<()> {
        Ok(())
    }
}

impl<F: FnMut(&LogEvent<'_>) -> anyhow::Result<()>> LogSink for F {
    fn show(&mut self, event: &LogEvent<'_>, _: &str) -> anyhow::Result<()> {
        self(event)
    }
}

/// Where the stream is.
#[derive(Debug, Default)]
struct Progress {
    /// The id of the last event that has one: it goes on behind it.
    position: Option<String>,
    has_begun: bool,
    /// When it was last known to go on: something came, and was shown.
    went_on: Option<Instant>,
}

impl Progress {
    /// How long nothing has come, be it that nobody answers or that every try breaks off at once.
    fn silence(&self) -> Duration {
        self.went_on.map_or(Duration::ZERO, |at| at.elapsed())
    }
}

/// Gives everything to `sink` until the output ends.
pub async fn read_logs(api: &Api, request: &LogRequest, sink: &mut impl LogSink) -> anyhow::Result<()> {
    let mut progress = Progress { went_on: Some(Instant::now()), ..Progress::default() };
    let patience = if request.follow { PATIENCE } else { PATIENCE_FOR_THE_PAST };
    loop {
        match read_once(api, request, &mut progress, sink).await {
            Ok(true) => return sink.idle(),
            Ok(false) if progress.silence() >= patience => {
                sink.idle()?;
                return Err(breaks_off(progress.silence()));
            }
            Ok(false) => {}
            Err(error) => {
                let (kind, code, _) = classify(&error);
                let not_started = code.as_deref() == Some("logs/no-container");
                let waits = not_started && request.wait_for_start;
                // Waiting for a container to start has no end of its own: whoever waits decides.
                if !waits && (kind != Kind::Unavailable || progress.silence() >= patience) {
                    sink.idle()?;
                    return Err(error);
                }
            }
        }
        sink.idle()?;
        tokio::time::sleep(RETRY).await;
    }
}

/// One connection. True: the output has ended.
async fn read_once(
    api: &Api,
    request: &LogRequest,
    progress: &mut Progress,
    sink: &mut impl LogSink,
) -> anyhow::Result<bool> {
    let mut query = vec![("follow", request.follow.to_string()), ("replica", request.replica.to_string())];
    query.extend(request.since.clone().map(|since| ("since", since)));
    // Who goes on has had the beginning of what was asked for.
    let tail = request.tail.filter(|_| progress.position.is_none());
    query.extend(tail.map(|tail| ("tail", tail.to_string())));
    let path = format!("v1/tasks/{}/logs", request.task);
    let mut response = api.events(&path, &query, progress.position.as_deref()).await?;
    let mut parser = SseParser::default();
    let mut is_open = false;
    loop {
        let chunk = {
            let mut next = std::pin::pin!(response.chunk());
            match tokio::time::timeout(IDLE, &mut next).await {
                Ok(chunk) => chunk,
                Err(_) => {
                    sink.idle()?;
                    match tokio::time::timeout(SILENCE, next).await {
                        Ok(chunk) => chunk,
                        Err(_) => return Ok(false),
                    }
                }
            }
        };
        // A broken connection, or an end without the event that says so.
        let Ok(Some(chunk)) = chunk else { return Ok(false) };
        let events = parser.push(&chunk)?;
        if is_open && events.is_empty() {
            // Part of an event, or a sign of life.
            progress.went_on = Some(Instant::now());
        }
        is_open |= !events.is_empty();
        for event in events {
            let data = event.data.as_str();
            let shown = match event.kind.as_str() {
                "line" => Some(LogEvent::Line(serde_json::from_str(data)?)),
                "gap" => Some(LogEvent::Gap(owned(data)?)),
                "restart" => Some(LogEvent::Restart(owned(data)?)),
                // Said once; who goes on knows it.
                "begin" if std::mem::replace(&mut progress.has_begun, true) => None,
                "begin" => Some(LogEvent::Begin(owned(data)?)),
                "end" => return ended(owned(data)?).map(|()| true),
                _ => None,
            };
            if let Some(shown) = shown {
                sink.show(&shown, data)?;
                if event.kind != "begin" {
                    // Now: showing it may have taken long, if somebody reads it page by page.
                    progress.went_on = Some(Instant::now());
                }
            }
            progress.position = event.id.or_else(|| progress.position.take());
        }
    }
}

/// Every try is taken, and ends without a word: no error says so, and nothing else ends the tries.
fn breaks_off(silence: Duration) -> anyhow::Error {
    let message = format!("the output breaks off at every try; nothing came for {} s", silence.as_secs());
    let remedy = "run the command again; look at the orchestrator, or at the proxy before it";
    Failure::coded(Kind::Unavailable, "logs/connection-lost", message, remedy).into()
}

fn owned<T: DeserializeOwned>(data: &str) -> anyhow::Result<T> {
    Ok(serde_json::from_str(data)?)
}

fn ended(end: LogEnd) -> anyhow::Result<()> {
    if end.status == "complete" {
        return Ok(());
    }
    let is_gone = matches!(end.code.as_deref(), Some("logs/unknown-assignment" | "logs/no-node"));
    Err(Failure {
        kind: if is_gone { Kind::NotFound } else { Kind::Unavailable },
        code: end.code,
        message: format!("the output broke off: {}", end.message),
        remedy: "run the command again; `lode task show` says where the task stands".to_owned(),
        refusal: None,
    }
    .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_that_broke_off_is_a_failure_and_output_that_ended_is_none() {
        let end = |text: &str| ended(owned(text).unwrap());
        assert!(end(r#"{"status":"complete"}"#).is_ok());
        let broke = end(r#"{"status":"failed","code":"logs/node-gone","message":"m"}"#).unwrap_err();
        let (kind, code, _) = classify(&broke);
        assert_eq!((kind, code.as_deref()), (Kind::Unavailable, Some("logs/node-gone")));
        let lost = end(r#"{"status":"failed","code":"logs/no-node","message":"m"}"#).unwrap_err();
        assert_eq!(classify(&lost).0, Kind::NotFound, "asking again does not help");
    }
}
