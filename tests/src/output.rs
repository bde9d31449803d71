//! A task's output as its readers get it: through the command line, and as the events of the API.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use serde_json::Value;

use crate::api::Api;
use crate::pool::Pool;
use crate::programs;

/// The longest that reading one output may take.
const READING: Duration = Duration::from_secs(3_600);

/// One event of a stream of output.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// `begin`, `line`, `gap`, `restart` or `end`.
    pub kind: &'a str,
    /// Where the output goes on behind it.
    pub id: Option<&'a str>,
    /// JSON.
    pub data: &'a str,
}

impl Event<'_> {
    /// Its data.
    ///
    /// # Errors
    /// When they are no JSON.
    pub fn value(&self) -> anyhow::Result<Value> {
        serde_json::from_str(self.data).with_context(|| format!("no JSON: {}", self.data))
    }
}

/// A stream of events over one connection.
pub struct Events {
    chunks: BoxStream<'static, reqwest::Result<Vec<u8>>>,
    pending: Vec<u8>,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").field("pending", &self.pending.len()).finish_non_exhaustive()
    }
}

impl Events {
    /// Gives the events that come next; false when the connection has ended, in order or not.
    ///
    /// # Errors
    /// When what comes is no event, or `each` fails.
    pub async fn next(
        &mut self,
        mut each: impl FnMut(Event<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<bool> {
        let Some(Ok(chunk)) = self.chunks.next().await else { return Ok(false) };
        self.pending.extend_from_slice(&chunk);
        let whole = self.pending.windows(2).rposition(|pair| pair == b"\n\n").map_or(0, |end| end + 2);
        let text = std::str::from_utf8(self.pending.get(..whole).unwrap_or_default())?;
        for event in text.split_terminator("\n\n") {
            let mut found = Event { kind: "", id: None, data: "" };
            for field in event.lines() {
                match field.split_once(": ") {
                    Some(("event", kind)) => found.kind = kind,
                    Some(("id", id)) => found.id = Some(id),
                    Some(("data", data)) => found.data = data,
                    _ => ensure!(field.starts_with(':'), "no field of an event: {field}"),
                }
            }
            if !found.kind.is_empty() {
                each(found)?;
            }
        }
        self.pending.drain(..whole);
        Ok(true)
    }
}

impl Api {
    /// Opens a task's output as events, behind a position. The connection is this call's own.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn events(&self, task: &str, query: &str, after: Option<&str>) -> anyhow::Result<Events> {
        // A client of its own: a reader that is cut off must not leave another a half-read connection.
        let client = reqwest::Client::builder().no_proxy().build()?;
        let mut request = client
            .get(format!("{}/v1/tasks/{task}/logs?{query}", self.url()))
            .bearer_auth(self.token())
            .header("accept", "text/event-stream")
            .timeout(READING);
        if let Some(after) = after {
            request = request.header("last-event-id", after);
        }
        let answer = request.send().await?;
        let status = answer.status();
        if !status.is_success() {
            anyhow::bail!("output of {task}: {status}: {}", answer.text().await?);
        }
        let chunks = answer.bytes_stream().map(|chunk| chunk.map(|chunk| chunk.to_vec())).boxed();
        Ok(Events { chunks, pending: Vec::new() })
    }
}

impl Pool {
    /// Starts the command line on this pool, or on another way to its API; with pipes for what it prints.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_lode(&self, arguments: &[&str], url: Option<&str>) -> anyhow::Result<tokio::process::Child> {
        let mut command = tokio::process::Command::new(programs::path("lode")?);
        match url {
            Some(url) => command.args(["--url", url]).env("LODE_TOKEN", self.api().token()),
            None => command.env("LODE_CONTEXTS", self.root().join("contexts.toml")),
        };
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.kill_on_drop(true).spawn().context("starting `lode`")
    }
}
