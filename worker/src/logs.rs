//! A task's output on its way to the orchestrator: over a stream that the orchestrator opened, or posted over HTTPS
//! where there is none.
//!
//! Only requests signed by the pool's orchestrator are answered. Streams are bounded in number; lines are sent in
//! batches, soon after they were written; a reader that is slow holds back only its own stream.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use lode_network::{FramedStream, IncomingStreams, LogPost, PeerClient};
use lode_program::{Clock, TaskGroup};
use lode_protocol::envelope::{Addressing, Audience, Expectation, open, seal};
use lode_protocol::error_code::ErrorCode;
use lode_protocol::ids::{Address, AssignmentId, Nonce};
use lode_protocol::logs::{LogBatch, LogEnd, LogLine, LogRequest};
use lode_protocol::units::{Millis, Timestamp};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::core::event::{ContainerId, EngineFailure};
use crate::engine::{Engine, LogQuery};
use crate::identity::Identity;
use crate::output::KeptOutput;

/// Streams at one time.
const MOST_STREAMS: usize = 64;
/// A batch is sent when it has so many bytes of text.
const BATCH_BYTES: usize = 128 << 10;
/// … or so many lines.
const BATCH_LINES: usize = 1_000;
/// … or when its first line has waited for this long.
const LINGER: Duration = Duration::from_millis(100);
/// Time a request may take to arrive on its stream, and a batch to be taken.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a batch counts.
const LIFETIME: Millis = Millis::seconds(60);

/// Containers by assignment, as the driver knows them.
pub type Containers = BTreeMap<AssignmentId, Option<ContainerId>>;

/// Answers requests for output.
#[derive(Clone, Debug)]
pub struct LogServer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    identity: Identity,
    engine: Arc<dyn Engine>,
    kept: KeptOutput,
    containers: watch::Receiver<Containers>,
    orchestrator: watch::Receiver<Option<Address>>,
    clock: Clock,
    tasks: TaskGroup,
    slots: Arc<Semaphore>,
    /// Requests that are being answered over HTTPS: they are repeated until the orchestrator has its answer.
    posting: Mutex<BTreeSet<[u8; 16]>>,
}

/// Output, line by line.
struct Output {
    lines: BoxStream<'static, Result<LogLine, EngineFailure>>,
    /// Whose, if it is not what is kept of one that has ended.
    container: Option<ContainerId>,
}

/// The newest line of a container.
#[derive(PartialEq, Eq)]
enum Newest {
    Unknown,
    Nothing,
    Line(LogLine),
}

impl Newest {
    /// Whether a line is this one, or comes after it.
    fn is_reached_by(&self, line: &LogLine) -> bool {
        match self {
            Newest::Line(newest) => line == newest || line.at > newest.at,
            Newest::Unknown | Newest::Nothing => false,
        }
    }
}

/// Where batches go.
enum Sink {
    Stream(Box<FramedStream>),
    Post(PeerClient),
}

impl LogServer {
    /// Serves the output of `containers`, and what is kept of those that are gone, to whoever is the orchestrator.
    pub fn new(
        identity: Identity,
        (engine, kept): (Arc<dyn Engine>, KeptOutput),
        containers: watch::Receiver<Containers>,
        orchestrator: watch::Receiver<Option<Address>>,
        clock: Clock,
        tasks: TaskGroup,
    ) -> Self {
        let inner = Inner {
            identity,
            engine,
            kept,
            containers,
            orchestrator,
            clock,
            tasks,
            slots: Arc::new(Semaphore::new(MOST_STREAMS)),
            posting: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Takes streams that the orchestrator opens, until shutdown.
    pub async fn run(self, mut incoming: IncomingStreams, shutdown: CancellationToken) {
        loop {
            let stream = tokio::select! {
                () = shutdown.cancelled() => return,
                stream = incoming.next() => stream,
            };
            let Some(incoming) = stream else { return };
            if Some(incoming.peer) != *self.inner.orchestrator.borrow() {
                tracing::warn!(peer = %incoming.peer, "a log stream of somebody who is not the orchestrator was closed");
                continue;
            }
            let Ok(slot) = Arc::clone(&self.inner.slots).try_acquire_owned() else {
                tracing::warn!("too many log streams; one was closed");
                continue;
            };
            let (inner, shutdown) = (Arc::clone(&self.inner), shutdown.clone());
            self.inner.tasks.once("log-stream", async move {
                let _slot = slot;
                tokio::select! {
                    () = shutdown.cancelled() => {}
                    () = inner.serve_stream(incoming.stream) => {}
                }
                Ok::<(), anyhow::Error>(())
            });
        }
    }

    /// Answers a sealed request by posting batches over HTTPS. A request that is being answered is not answered twice.
    pub fn post(&self, sealed: &[u8], client: PeerClient) {
        let Some(request) = self.inner.open(sealed) else { return };
        let Ok(slot) = Arc::clone(&self.inner.slots).try_acquire_owned() else { return };
        if !self.inner.posting().insert(request.stream.0) {
            return;
        }
        let inner = Arc::clone(&self.inner);
        let shutdown = inner.tasks.shutdown().token();
        self.inner.tasks.once("log-post", async move {
            let _slot = slot;
            let name = request.stream.0;
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = inner.answer(request, Sink::Post(client)) => {}
            }
            inner.posting().remove(&name);
            Ok::<(), anyhow::Error>(())
        });
    }
}

impl Inner {
    fn posting(&self) -> std::sync::MutexGuard<'_, BTreeSet<[u8; 16]>> {
        self.posting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Timestamp {
        Timestamp(self.clock.wall_millis())
    }

    fn open(&self, sealed: &[u8]) -> Option<LogRequest> {
        let orchestrator = (*self.orchestrator.borrow())?;
        let expected = Expectation {
            recipient: Some(self.identity.address()),
            realm: self.identity.realm,
            now: self.now(),
            signer: Some(orchestrator),
        };
        match open::<LogRequest>(sealed, &expected) {
            Ok(opened) => Some(opened.body),
            Err(error) => {
                tracing::warn!(code = %error.code(), %error, "a request for output was refused");
                None
            }
        }
    }

    async fn serve_stream(&self, mut stream: FramedStream) {
        match stream.receive(PATIENCE).await {
            Ok(Some(sealed)) => {
                if let Some(request) = self.open(&sealed) {
                    self.answer(request, Sink::Stream(Box::new(stream))).await;
                }
            }
            Ok(None) => {}
            Err(error) => tracing::debug!(%error, "no request came on a log stream"),
        }
    }

    async fn answer(&self, request: LogRequest, mut sink: Sink) {
        let mut writer = Writer::new(request.stream);
        let end = match self.source(&request).await {
            Ok(source) => match self.copy(&request, source, &mut writer, &mut sink).await {
                Some(end) => end,
                None => return,
            },
            Err(end) => end,
        };
        if self.send(&mut writer, Some(end), &mut sink).await
            && let Sink::Stream(stream) = sink
            && let Err(error) = stream.close(PATIENCE).await
        {
            tracing::debug!(%error, "a log stream did not close");
        }
    }

    /// The output that is asked for: what is kept is whole, and its container is on its way out or gone.
    async fn source(&self, request: &LogRequest) -> Result<Output, LogEnd> {
        if let Some(lines) = self.kept.read(&request.assignment, query_of(request)).await {
            return Ok(Output { lines, container: None });
        }
        let container = self.containers.borrow().get(&request.assignment).cloned();
        match container {
            Some(Some(container)) => {
                let lines = self.engine.logs(&container, query_of(request));
                Ok(Output { lines, container: Some(container) })
            }
            Some(None) => {
                Err(failed("logs/not-started", "the container has not been created yet; ask again later"))
            }
            None => Err(failed(
                "logs/unknown-assignment",
                "this node has no output of the assignment, or no longer keeps it",
            )),
        }
    }

    /// The newest line that a container has written. To be asked once the stream that follows is open: then that is
    /// certain to send it.
    async fn newest(&self, request: &LogRequest, container: &ContainerId) -> Newest {
        let query = LogQuery { follow: false, tail: Some(1), since: request.since };
        let mut lines = self.engine.logs(container, query);
        let mut newest = Newest::Nothing;
        while let Some(line) = lines.next().await {
            match line {
                Ok(line) => newest = Newest::Line(line),
                Err(_) => return Newest::Unknown,
            }
        }
        newest
    }

    /// Copies lines until the end; `None` if nobody listens any more.
    async fn copy(
        &self,
        request: &LogRequest,
        Output { mut lines, container }: Output,
        writer: &mut Writer,
        sink: &mut Sink,
    ) -> Option<LogEnd> {
        let mut first = true;
        // Who follows is told when history is over.
        let mut early = None;
        let mut history = Newest::Unknown;
        if let Some(container) = container.filter(|_| request.follow) {
            early = tokio::time::timeout(LINGER, lines.next()).await.ok();
            history = self.newest(request, &container).await;
            let nothing = history == Newest::Nothing || request.tail == Some(0);
            if nothing {
                history = Newest::Unknown;
                writer.live = Some(true);
            }
            if nothing && early.is_none() && !self.send(writer, None, sink).await {
                return None;
            }
        }
        let mut due = Instant::now();
        loop {
            let waiting = !(writer.lines.is_empty() && writer.live.is_none());
            let next = match early.take() {
                Some(next) => Ok(next),
                // Without waiting lines there is no hurry: the next line, whenever it comes.
                None if !waiting => Ok(lines.next().await),
                None => tokio::time::timeout_at(due, lines.next()).await,
            };
            if !waiting {
                due = Instant::now() + LINGER;
            }
            let flush = match next {
                Ok(Some(Ok(line))) => {
                    if history.is_reached_by(&line) {
                        history = Newest::Unknown;
                        writer.live = Some(true);
                    }
                    writer.take(line) || writer.live.is_some()
                }
                Ok(Some(Err(failure))) => {
                    // The container may have been removed between the look for it and its first line.
                    let kept = match first {
                        true => self.kept.read(&request.assignment, query_of(request)).await,
                        false => None,
                    };
                    lines = match kept {
                        Some(kept) => kept,
                        None => return Some(broken(&failure)),
                    };
                    false
                }
                Ok(None) => return Some(LogEnd::Complete),
                Err(_) => true,
            };
            first = false;
            if flush && !self.send(writer, None, sink).await {
                return None;
            }
        }
    }

    /// Sends what has gathered; false if nobody listens any more.
    async fn send(&self, writer: &mut Writer, end: Option<LogEnd>, sink: &mut Sink) -> bool {
        let Some(orchestrator) = *self.orchestrator.borrow() else { return false };
        let addressing = Addressing {
            audience: Audience::Peer(orchestrator),
            realm: self.identity.realm,
            now: self.now(),
            lifetime: LIFETIME,
        };
        let sealed = seal(&self.identity.key, addressing, &writer.next_batch(end));
        let sent = match sink {
            Sink::Stream(stream) => stream.send(&sealed.bytes, PATIENCE).await.map(|()| true),
            Sink::Post(client) => {
                client.post_logs(&sealed.bytes, PATIENCE).await.map(|answer| answer == LogPost::Accepted)
            }
        };
        sent.unwrap_or_else(|error| {
            tracing::debug!(%error, "a log stream broke off");
            false
        })
    }
}

fn query_of(request: &LogRequest) -> LogQuery {
    LogQuery { follow: request.follow, tail: request.tail, since: request.since }
}

fn failed(code: &'static str, message: &str) -> LogEnd {
    LogEnd::Failed { code: ErrorCode::new(code), message: message.to_owned() }
}

fn broken(failure: &EngineFailure) -> LogEnd {
    let message = match failure {
        EngineFailure::Unavailable(detail) | EngineFailure::Other(detail) => detail.clone(),
        other => format!("{other:?}"),
    };
    LogEnd::Failed { code: ErrorCode::new("logs/engine"), message }
}

/// Gathers lines into numbered batches.
struct Writer {
    stream: Nonce,
    index: u64,
    lines: Vec<LogLine>,
    bytes: usize,
    live: Option<bool>,
}

impl Writer {
    fn new(stream: Nonce) -> Self {
        Self { stream, index: 0, lines: Vec::new(), bytes: 0, live: None }
    }

    /// Takes a line; true if it is time to send.
    fn take(&mut self, line: LogLine) -> bool {
        self.bytes += line.text.len();
        self.lines.push(line);
        self.bytes >= BATCH_BYTES || self.lines.len() >= BATCH_LINES
    }

    fn next_batch(&mut self, end: Option<LogEnd>) -> LogBatch {
        let batch = LogBatch {
            stream: self.stream,
            index: self.index,
            lines: std::mem::take(&mut self.lines),
            end,
            live: self.live.take(),
        };
        self.index += 1;
        self.bytes = 0;
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lode_protocol::envelope::{Signable, encode};
    use lode_protocol::logs::LogSource;

    #[test]
    fn the_largest_batch_fits_its_envelope() {
        let mut writer = Writer { index: u64::MAX - 2, live: Some(true), ..Writer::new(Nonce::default()) };
        let line =
            |length| LogLine { source: LogSource::Stdout, at: Timestamp(u64::MAX), text: "x".repeat(length) };
        while !writer.take(line(LogLine::MAX_BYTES)) {}
        assert!(encode(&writer.next_batch(Some(LogEnd::Complete))).len() < LogBatch::MAX_BYTES);
        while !writer.take(line(0)) {}
        assert!(encode(&writer.next_batch(None)).len() < LogBatch::MAX_BYTES);
    }
}
