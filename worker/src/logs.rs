//! A task's output on its way to the orchestrator: over a stream that the orchestrator opened, or posted over HTTPS
//! where there is none.
//!
//! Only requests signed by the pool's orchestrator are answered. Streams are bounded in number; lines are sent in
//! batches, soon after they were written; a reader that is slow holds back only its own stream. What the orchestrator does not
//! take yet waits, and is lost by nobody: it is in files.

mod batch;
mod post;

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use batch::{BATCH_BYTES, BATCH_RECORDS, Batches};
use lode_network::{FramedStream, IncomingStreams, PeerClient};
use lode_program::{Clock, TaskGroup};
use lode_protocol::envelope::{Addressing, Audience, Expectation, open, seal};
use lode_protocol::error_code::ErrorCode;
use lode_protocol::ids::Address;
use lode_protocol::logs::{LogBatch, LogEnd, LogRequest};
use lode_protocol::units::{Millis, Timestamp};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::identity::Identity;
use crate::output::{Containers, KeptOutput, OutputQuery, OutputReader};

/// Streams at one time. Each holds one batch and the buffer of one file, less than a megabyte.
const MOST_STREAMS: usize = 64;
/// Between two batches of output that is read as fast as it is written.
const LINGER: Duration = Duration::from_millis(50);
/// Time a request may take to arrive on its stream, and a batch to be taken.
const PATIENCE: Duration = Duration::from_secs(30);
/// Time that reading a container's output may take to begin, or to end behind its container: less than the silence that
/// an orchestrator bears.
const CATCHING_UP: Duration = Duration::from_secs(20);
/// How long a batch is posted again that the orchestrator does not take yet: it reads no more of one node than that may
/// send, and no more than is read there.
const HELD_BACK: Duration = Duration::from_secs(120);
/// How long a batch counts.
const LIFETIME: Millis = Millis::seconds(60);

/// Answers requests for output.
#[derive(Clone, Debug)]
pub struct LogServer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    identity: Identity,
    kept: KeptOutput,
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
    /// Serves what is kept of `containers`, and of those that are gone, to whoever is the orchestrator.
    pub fn new(
        identity: Identity,
        kept: KeptOutput,
        containers: watch::Receiver<Containers>,
        orchestrator: watch::Receiver<Option<Address>>,
        clock: Clock,
        tasks: TaskGroup,
    ) -> Self {
        let inner = Inner {
            identity,
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
        let mut batches = Batches::new(request.stream);
        let end = match self.source(&request).await {
            Ok(source) => match self.copy(&request, source, &mut batches, &mut sink).await {
                Some(end) => end,
                None => return,
            },
            Err(end) => end,
        };
        if self.send(batches.end(end), &mut sink).await
            && let Sink::Stream(stream) = sink
            && let Err(error) = stream.close(PATIENCE).await
        {
            tracing::debug!(%error, "a log stream did not close");
        }
    }

    /// The output that is asked for.
    async fn source(&self, request: &LogRequest) -> Result<OutputReader, LogEnd> {
        let query = query_of(request);
        let deadline = Instant::now() + CATCHING_UP;
        let mut containers = self.containers.clone();
        loop {
            let place = containers.borrow_and_update().get(&request.assignment).cloned();
            let is_known = place.is_some();
            let kept = self.kept.read(&request.assignment, query).await;
            match (kept, place) {
                (Some(source), _) if source.is_complete_or_written() || !request.follow => return Ok(source),
                (None, None) => {
                    return Err(failed(
                        "logs/unknown-assignment",
                        "this node has no output of the assignment, or no longer keeps it",
                    ));
                }
                (None, Some(place)) if place.container.is_none() => {
                    return Err(failed(
                        "logs/not-started",
                        "the container has not been created yet; ask again later",
                    ));
                }
                (Some(_) | None, _) => {}
            }
            // Reading it from the engine is about to begin, or ended when this worker did.
            if !is_known || Instant::now() >= deadline {
                return Err(failed("logs/not-read", "the node does not read this output now; ask again"));
            }
            tokio::time::sleep(LINGER).await;
        }
    }

    /// Copies records until the end; `None` if nobody listens any more.
    async fn copy(
        &self,
        request: &LogRequest,
        mut source: OutputReader,
        batches: &mut Batches,
        sink: &mut Sink,
    ) -> Option<LogEnd> {
        if !request.follow {
            self.catch_up(request, &mut source).await;
            // The last lines are counted from the end as it is now.
            source = self.kept.read(&request.assignment, query_of(request)).await.unwrap_or(source);
        }
        // What had been written when the stream was opened.
        let head = source.progress().next;
        let mut is_live = !request.follow;
        loop {
            let progress = source.progress();
            let records = match source.read(progress.next, (BATCH_RECORDS, BATCH_BYTES)).await {
                Ok(records) => records,
                Err(error) => return Some(unreadable(&error)),
            };
            let becomes_live = !is_live && source.position() >= head;
            is_live |= becomes_live;
            let is_behind = source.position() < progress.next;
            if (becomes_live || !records.is_empty())
                && !self.send(batches.next(records, becomes_live), sink).await
            {
                return None;
            }
            if is_behind {
                continue;
            }
            if progress.ended {
                return Some(LogEnd::Complete);
            }
            if !request.follow && self.has_ended(request) {
                return Some(failed(
                    "logs/not-read",
                    "the rest is still being read from the engine; ask again",
                ));
            }
            if !request.follow {
                return Some(LogEnd::Complete);
            }
            if !source.changed().await && !source.progress().ended {
                return Some(failed("logs/not-read", "the node stopped reading this output; ask again"));
            }
            tokio::time::sleep(LINGER).await;
        }
    }

    /// Whether the container that is meant is there, has ended, and is not started again.
    fn has_ended(&self, request: &LogRequest) -> bool {
        self.containers.borrow().get(&request.assignment).is_some_and(|place| place.has_ended)
    }

    /// Waits until what the engine has was read, and of an ended container everything.
    async fn catch_up(&self, request: &LogRequest, source: &mut OutputReader) {
        let has_ended = self.has_ended(request);
        let reading = async {
            loop {
                let progress = source.progress();
                let is_enough = progress.ended || (progress.has_caught_up && !has_ended);
                if is_enough || !source.changed().await {
                    return;
                }
            }
        };
        // What is there by then is given.
        let _ = tokio::time::timeout(CATCHING_UP, reading).await;
    }

    /// Sends a batch; false if nobody listens any more.
    async fn send(&self, batch: LogBatch, sink: &mut Sink) -> bool {
        let Some(orchestrator) = *self.orchestrator.borrow() else { return false };
        let sealed = || {
            let addressing = Addressing {
                audience: Audience::Peer(orchestrator),
                realm: self.identity.realm,
                now: self.now(),
                lifetime: LIFETIME,
            };
            seal(&self.identity.key, addressing, &batch).bytes
        };
        let sent = match sink {
            Sink::Stream(stream) => stream.send(&sealed(), PATIENCE).await.map(|()| true),
            Sink::Post(client) => {
                let client = &*client;
                // Sealed anew each time: what waits for long would not count any more.
                let post = || {
                    let bytes = sealed();
                    async move { client.post_logs(&bytes, PATIENCE).await }
                };
                post::until_taken(HELD_BACK, post).await
            }
        };
        sent.unwrap_or_else(|error| {
            tracing::debug!(%error, "a log stream broke off");
            false
        })
    }
}

fn query_of(request: &LogRequest) -> OutputQuery {
    OutputQuery { tail: request.tail, since: request.since, after: request.after, before: request.before }
}

fn failed(code: &'static str, message: &str) -> LogEnd {
    LogEnd::Failed { code: ErrorCode::new(code), message: message.to_owned() }
}

fn unreadable(error: &io::Error) -> LogEnd {
    failed("logs/unreadable", &format!("what the node keeps of this output cannot be read: {error}"))
}
