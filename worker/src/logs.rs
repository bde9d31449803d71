//! A task's output on its way to the orchestrator: over a stream that the orchestrator opened, or posted over HTTPS
//! where there is none.
//!
//! Only requests signed by the pool's orchestrator are answered. Streams are bounded in number; lines are sent in
//! batches, soon after they were written; a reader that is slow holds back only its own stream.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use lode_network::{FramedStream, IncomingStreams, LogPost, PeerClient};
use lode_program::{Clock, TaskGroup};
use lode_protocol::envelope::{Addressing, Audience, Expectation, open, seal};
use lode_protocol::error_code::ErrorCode;
use lode_protocol::ids::{Address, AssignmentId, Nonce};
use lode_protocol::logs::{LogBatch, LogEnd, LogLine, LogRequest};
use lode_protocol::units::{Millis, Timestamp};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::core::event::{ContainerId, EngineFailure};
use crate::engine::{Engine, LogQuery};
use crate::identity::Identity;

/// Streams at one time.
const MOST_STREAMS: usize = 64;
/// A batch is sent when it has so many bytes of text.
const BATCH_BYTES: usize = 128 << 10;
/// … or so many lines.
const BATCH_LINES: usize = 1_000;
/// … or when no line came for this long.
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
    containers: watch::Receiver<Containers>,
    orchestrator: watch::Receiver<Option<Address>>,
    clock: Clock,
    tasks: TaskGroup,
    slots: Arc<Semaphore>,
    /// Requests that are being answered over HTTPS: they are repeated until the orchestrator has its answer.
    posting: Mutex<BTreeSet<[u8; 16]>>,
}

/// Where batches go.
enum Sink {
    Stream(Box<FramedStream>),
    Post(PeerClient),
}

impl LogServer {
    /// Serves the output of `containers` to whoever is the orchestrator.
    pub fn new(
        identity: Identity,
        engine: Arc<dyn Engine>,
        containers: watch::Receiver<Containers>,
        orchestrator: watch::Receiver<Option<Address>>,
        clock: Clock,
        tasks: TaskGroup,
    ) -> Self {
        let inner = Inner {
            identity,
            engine,
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
        let container = self.containers.borrow().get(&request.assignment).cloned();
        let mut writer = Writer { stream: request.stream, index: 0, lines: Vec::new(), bytes: 0 };
        let end = match container {
            Some(Some(container)) => match self.copy(&request, &container, &mut writer, &mut sink).await {
                Some(end) => end,
                None => return,
            },
            Some(None) => {
                failed("logs/not-started", "the container has not been created yet; ask again later")
            }
            None => failed("logs/unknown-assignment", "this node does not know the assignment"),
        };
        if self.send(&mut writer, Some(end), &mut sink).await
            && let Sink::Stream(stream) = sink
            && let Err(error) = stream.close(PATIENCE).await
        {
            tracing::debug!(%error, "a log stream did not close");
        }
    }

    /// Copies lines until the end; `None` if nobody listens any more.
    async fn copy(
        &self,
        request: &LogRequest,
        container: &ContainerId,
        writer: &mut Writer,
        sink: &mut Sink,
    ) -> Option<LogEnd> {
        let query = LogQuery { follow: request.follow, tail: request.tail, since: request.since };
        let mut lines = self.engine.logs(container, query);
        loop {
            // Without waiting lines there is no hurry: the next line, whenever it comes.
            let next = match writer.lines.is_empty() {
                true => Ok(lines.next().await),
                false => tokio::time::timeout(LINGER, lines.next()).await,
            };
            let flush = match next {
                Ok(Some(Ok(line))) => writer.take(line),
                Ok(Some(Err(failure))) => return Some(broken(&failure)),
                Ok(None) => return Some(LogEnd::Complete),
                Err(_) => true,
            };
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
}

impl Writer {
    /// Takes a line; true if it is time to send.
    fn take(&mut self, line: LogLine) -> bool {
        self.bytes += line.text.len();
        self.lines.push(line);
        self.bytes >= BATCH_BYTES || self.lines.len() >= BATCH_LINES
    }

    fn next_batch(&mut self, end: Option<LogEnd>) -> LogBatch {
        let batch =
            LogBatch { stream: self.stream, index: self.index, lines: std::mem::take(&mut self.lines), end };
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
        let mut writer =
            Writer { stream: Nonce::default(), index: u64::MAX - 2, lines: Vec::new(), bytes: 0 };
        let line =
            |length| LogLine { source: LogSource::Stdout, at: Timestamp(u64::MAX), text: "x".repeat(length) };
        while !writer.take(line(LogLine::MAX_BYTES)) {}
        assert!(encode(&writer.next_batch(Some(LogEnd::Complete))).len() < LogBatch::MAX_BYTES);
        while !writer.take(line(0)) {}
        assert!(encode(&writer.next_batch(None)).len() < LogBatch::MAX_BYTES);
    }
}
