//! Following a task's logs over a connection that may break: each line once, in order.

use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;

use super::Api;
use super::sse::SseParser;
use crate::failure::{Failure, Kind, classify};

/// Silence (not even a keep-alive) after which the connection counts as broken.
const SILENCE: Duration = Duration::from_secs(60);
/// How long an orchestrator may be away before following gives up.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two tries.
const RETRY: Duration = Duration::from_millis(500);

/// What is wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogRequest {
    pub(crate) task: String,
    pub(crate) replica: u32,
    pub(crate) tail: Option<u64>,
    /// Wait for a container that is not there yet.
    pub(crate) wait_for_start: bool,
}

/// A line of output.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct LogLine {
    pub(crate) source: String,
    pub(crate) at: String,
    pub(crate) text: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LogEnd {
    status: String,
    code: Option<String>,
    message: String,
}

/// Where the stream is: after a reconnect, lines up to here are skipped.
#[derive(Debug, Default)]
struct Position {
    at: Option<String>,
    seen_at: usize,
    to_skip: usize,
}

impl Position {
    /// Whether the line is new.
    fn take(&mut self, line: &LogLine) -> bool {
        if self.at.as_deref() == Some(line.at.as_str()) {
            if self.to_skip > 0 {
                self.to_skip -= 1;
                return false;
            }
            self.seen_at += 1;
            return true;
        }
        // The server may round `since` down.
        if self.at.as_deref().is_some_and(|at| line.at.as_str() < at) {
            return false;
        }
        self.at = Some(line.at.clone());
        self.seen_at = 1;
        self.to_skip = 0;
        true
    }

    fn reconnect(&mut self) {
        self.to_skip = self.seen_at;
    }
}

/// Gives every line to `show` until the output ends.
pub(crate) async fn follow_logs(
    api: &Api,
    request: &LogRequest,
    mut show: impl FnMut(&LogLine) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut position = Position::default();
    let mut last_success = Instant::now();
    loop {
        let before = position.seen_at;
        match follow_once(api, request, &mut position, &mut show, &mut last_success).await {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(error) => {
                let (kind, code, _) = classify(&error);
                let not_started = code.as_deref() == Some("logs/no-container");
                let retried = kind == Kind::Unavailable || (not_started && request.wait_for_start);
                // Waiting for a container to start has no end of its own: whoever waits decides.
                let patient = last_success.elapsed() < PATIENCE || (not_started && request.wait_for_start);
                if !retried || !patient {
                    return Err(error);
                }
            }
        }
        if position.seen_at != before {
            last_success = Instant::now();
        }
        position.reconnect();
        tokio::time::sleep(RETRY).await;
    }
}

/// One connection. True: the output has ended.
async fn follow_once(
    api: &Api,
    request: &LogRequest,
    position: &mut Position,
    show: &mut impl FnMut(&LogLine) -> anyhow::Result<()>,
    last_success: &mut Instant,
) -> anyhow::Result<bool> {
    let mut query = vec![("follow", "true".to_owned()), ("replica", request.replica.to_string())];
    match (&position.at, request.tail) {
        (Some(at), _) => query.push(("since", at.clone())),
        (None, Some(tail)) => query.push(("tail", tail.to_string())),
        (None, None) => {}
    }
    let path = format!("v1/tasks/{}/logs", request.task);
    let mut response = api.events(&path, &query, None).await?;
    *last_success = Instant::now();
    let mut parser = SseParser::default();
    loop {
        let chunk = match tokio::time::timeout(SILENCE, response.chunk()).await {
            Ok(Ok(Some(chunk))) => chunk,
            // Silence, a broken connection, or an end without the event that says so.
            Ok(Ok(None) | Err(_)) | Err(_) => return Ok(false),
        };
        for event in parser.push(&chunk)? {
            match event.kind.as_str() {
                "line" => {
                    let line: LogLine = serde_json::from_str(&event.data)?;
                    if position.take(&line) {
                        show(&line)?;
                    }
                }
                "end" => {
                    let end: LogEnd = serde_json::from_str(&event.data)?;
                    if end.status == "complete" {
                        return Ok(true);
                    }
                    return Err(Failure {
                        kind: Kind::Unavailable,
                        code: end.code,
                        message: format!("the output broke off: {}", end.message),
                        remedy: "run the command again; `lode task show` says where the task stands"
                            .to_owned(),
                        refusal: None,
                    }
                    .into());
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(at: &str, text: &str) -> LogLine {
        LogLine { source: "stdout".to_owned(), at: at.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn after_a_reconnect_each_line_is_shown_once_even_within_one_instant() {
        let mut position = Position::default();
        let first = [line("1", "a"), line("2", "b"), line("2", "c")];
        assert!(first.iter().all(|line| position.take(line)));
        position.reconnect();
        // The server sends again from instant 2 on, with one line more of that instant.
        let again = [line("2", "b"), line("2", "c"), line("2", "d"), line("3", "e")];
        let shown: Vec<bool> = again.iter().map(|line| position.take(line)).collect();
        assert_eq!(shown, [false, false, true, true]);
        position.reconnect();
        let third = [line("2", "d"), line("3", "e"), line("4", "f")];
        let shown: Vec<bool> = third.iter().map(|line| position.take(line)).collect();
        assert_eq!(shown, [false, false, true]);
    }
}
