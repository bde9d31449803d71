//! A task's output on its way from the worker to its reader.
//!
//! Over libp2p the orchestrator opens a stream on the worker's connection, sends a signed `LogRequest` and reads signed
//! `LogBatch`es. Over HTTPS the request waits for the answer to the node's next beat, and the worker posts the batches.
//! Either way every batch is verified: signed by the node, for us, of this stream, in order. A worker that dies or
//! falls silent ends the stream with a reason; it never hangs it. A reader that goes away ends it, too; a reader that
//! is slow slows its own stream only.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lode_network::{FramedStream, LogReply, NetworkError, PeerServer};
use lode_protocol::error_code::ErrorCode;
use lode_protocol::ids::{AssignmentId, NodeId, Nonce};
use lode_protocol::logs::{LogBatch, LogEnd, LogLine, LogRequest};
use lode_protocol::session::SealedBytes;
use lode_protocol::units::{Millis, Timestamp};
use rand::RngCore as _;
use tokio::sync::mpsc;

use crate::core::event::ConnectionId;
use crate::wire::{Identity, Links};

/// How long a request counts: over HTTPS it waits for a beat.
const REQUEST_LIFETIME: Millis = Millis::seconds(120);
/// Time to open a stream and send the request.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// Silence after which a stream that does not follow has failed.
const SILENCE: Duration = Duration::from_secs(30);
/// Time until the first batch over HTTPS: a stretched beat and a post.
const FIRST_POST: Duration = Duration::from_secs(90);
/// Silence after which a followed stream over HTTPS has failed: no connection tells that its worker is gone.
const POSTED_SILENCE: Duration = Duration::from_secs(600);
/// Batches that wait for a slow reader over HTTPS; beyond it the worker is told to try again.
const POSTED: usize = 8;
/// Streams per node: they share its connection with its beats.
const STREAMS_PER_NODE: usize = 32;
/// Lines per batch that are accepted.
const MAX_LINES: usize = 65_536;

/// What a reader wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogQuery {
    /// Whose output.
    pub assignment: AssignmentId,
    /// Whether to go on at the end.
    pub follow: bool,
    /// Only the last so many lines.
    pub tail: Option<u32>,
    /// Only output after this time.
    pub since: Option<Timestamp>,
}

/// Why there is no (more) output.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct LogFailure {
    /// `logs/…`
    pub code: ErrorCode,
    /// In words.
    pub message: String,
}

fn failure(code: &'static str, message: impl Into<String>) -> LogFailure {
    LogFailure { code: ErrorCode::new(code), message: message.into() }
}

/// Opens streams and finds the one a posted batch belongs to. Clones are the same.
#[derive(Clone, Debug)]
pub struct LogHub {
    identity: Identity,
    links: Links,
    server: PeerServer,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Streams over HTTPS.
    posted: HashMap<Nonce, Rendezvous>,
    /// Requests that wait for a node's next beat.
    waiting: HashMap<NodeId, Vec<(Nonce, SealedBytes)>>,
    /// Open streams per node, of both kinds.
    open: HashMap<NodeId, usize>,
}

#[derive(Debug)]
struct Rendezvous {
    node: NodeId,
    batches: mpsc::Sender<LogBatch>,
}

impl LogHub {
    /// A hub without streams.
    pub fn new(identity: Identity, links: Links, server: PeerServer) -> Self {
        LogHub { identity, links, server, state: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks a node for output. `connection` is its stream, if it has one.
    ///
    /// # Errors
    /// When the node cannot be asked.
    pub async fn open(
        &self,
        node: NodeId,
        connection: Option<ConnectionId>,
        query: LogQuery,
    ) -> Result<LogStream, LogFailure> {
        let mut stream = Nonce::default();
        rand::rng().fill_bytes(&mut stream.0);
        let LogQuery { assignment, follow, tail, since } = query;
        let request = LogRequest { stream, assignment, follow, tail, since };
        let sealed = self.identity.seal(Some(node.0), REQUEST_LIFETIME, &request);
        let place = Place::take(self, node, stream)?;
        let transport = connection.and_then(|connection| self.links.transport(connection));
        let source = match transport {
            Some(transport) => {
                let unreachable = |error: NetworkError| {
                    failure(
                        "logs/node-unreachable",
                        format!("node {node} cannot be asked ({}): {error}", error.code()),
                    )
                };
                let mut framed = self.server.open_logs(transport, OPEN_TIMEOUT).await.map_err(unreachable)?;
                framed.send(&sealed, OPEN_TIMEOUT).await.map_err(unreachable)?;
                Source::Stream(framed)
            }
            None => {
                let (batches, posted) = mpsc::channel(POSTED);
                let mut state = self.state();
                state.posted.insert(stream, Rendezvous { node, batches });
                state.waiting.entry(node).or_default().push((stream, SealedBytes(sealed)));
                Source::Posted(posted)
            }
        };
        Ok(LogStream {
            hub: self.clone(),
            node,
            stream,
            follow,
            next: 0,
            source,
            ended: false,
            _place: place,
        })
    }

    /// The requests that wait for this node.
    pub fn take_requests(&self, node: NodeId) -> Vec<SealedBytes> {
        let waiting = self.state().waiting.remove(&node).unwrap_or_default();
        waiting.into_iter().map(|(_, request)| request).collect()
    }

    /// Takes a batch that was posted.
    pub fn deliver(&self, bytes: &[u8], reply: LogReply) {
        let opened = match self.identity.open::<LogBatch>(bytes, None) {
            Ok(opened) => opened,
            Err(error) => {
                tracing::debug!(code = %error.code(), "a posted piece of output was refused: {error}");
                return reply.not_wanted();
            }
        };
        let state = self.state();
        let meant = state.posted.get(&opened.body.stream).filter(|meant| meant.node.0 == opened.signer);
        match meant.map(|meant| meant.batches.try_send(opened.body)) {
            Some(Ok(())) => reply.accept(),
            // Dropped without an answer: the worker sends it again.
            Some(Err(mpsc::error::TrySendError::Full(_))) => drop(reply),
            Some(Err(mpsc::error::TrySendError::Closed(_))) | None => reply.not_wanted(),
        }
    }
}

/// Counts a stream, and forgets it when dropped.
#[derive(Debug)]
struct Place {
    hub: LogHub,
    node: NodeId,
    stream: Nonce,
}

impl Place {
    fn take(hub: &LogHub, node: NodeId, stream: Nonce) -> Result<Self, LogFailure> {
        let mut state = hub.state();
        let open = state.open.entry(node).or_default();
        if *open >= STREAMS_PER_NODE {
            let message =
                format!("{STREAMS_PER_NODE} readers follow output of node {node} already; try again later");
            return Err(failure("logs/too-many-readers", message));
        }
        *open += 1;
        drop(state);
        Ok(Place { hub: hub.clone(), node, stream })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.hub.state();
        state.posted.remove(&self.stream);
        if let Some(waiting) = state.waiting.get_mut(&self.node) {
            waiting.retain(|(stream, _)| *stream != self.stream);
            if waiting.is_empty() {
                state.waiting.remove(&self.node);
            }
        }
        if let Some(open) = state.open.get_mut(&self.node) {
            *open = open.saturating_sub(1);
            if *open == 0 {
                state.open.remove(&self.node);
            }
        }
    }
}

#[derive(Debug)]
enum Source {
    Stream(FramedStream),
    Posted(mpsc::Receiver<LogBatch>),
}

/// What a reader gets next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Piece {
    /// Lines, in order.
    Lines(Vec<LogLine>),
    /// The end; nothing follows.
    End(Result<(), LogFailure>),
}

/// One reader's stream. Dropping it ends it.
#[derive(Debug)]
pub struct LogStream {
    hub: LogHub,
    node: NodeId,
    stream: Nonce,
    follow: bool,
    next: u64,
    source: Source,
    ended: bool,
    _place: Place,
}

impl LogStream {
    /// The next lines, or the end; `None` after the end.
    pub async fn next(&mut self) -> Option<Piece> {
        if self.ended {
            return None;
        }
        let piece = match self.receive().await {
            Ok(batch) => match batch.end {
                // The last lines first; the end comes with the next call.
                Some(end) if batch.lines.is_empty() => Piece::End(ended(end)),
                Some(end) => {
                    self.source = Source::Posted(last(end, self.stream, self.next));
                    Piece::Lines(batch.lines)
                }
                None => Piece::Lines(batch.lines),
            },
            Err(failure) => Piece::End(Err(failure)),
        };
        self.ended = matches!(piece, Piece::End(_));
        Some(piece)
    }

    async fn receive(&mut self) -> Result<LogBatch, LogFailure> {
        let node = self.node;
        let silent = || failure("logs/silent", format!("node {node} sent nothing for a while; ask again"));
        let batch = match &mut self.source {
            Source::Stream(framed) => loop {
                match framed.receive(SILENCE).await {
                    Ok(Some(bytes)) => {
                        let opened = self.hub.identity.open::<LogBatch>(&bytes, Some(node.0));
                        break opened
                            .map_err(|error| {
                                failure(
                                    "logs/bad-batch",
                                    format!("node {node} sent what is no output: {error}"),
                                )
                            })?
                            .body;
                    }
                    Ok(None) => {
                        return Err(failure(
                            "logs/broke-off",
                            format!("node {node} ended the stream without saying why"),
                        ));
                    }
                    // Silence of a task that is followed is no failure: a dead worker's connection ends by itself.
                    Err(NetworkError::ReceiveTimeout { .. }) if self.follow => {}
                    Err(NetworkError::ReceiveTimeout { .. }) => return Err(silent()),
                    Err(error) => {
                        let message =
                            format!("the connection to node {node} is gone ({}): {error}", error.code());
                        return Err(failure("logs/node-gone", message));
                    }
                }
            },
            Source::Posted(posted) => {
                let patience = match (self.next, self.follow) {
                    (0, _) => FIRST_POST,
                    (_, true) => POSTED_SILENCE,
                    (_, false) => SILENCE,
                };
                match tokio::time::timeout(patience, posted.recv()).await {
                    Ok(Some(batch)) => batch,
                    Ok(None) => return Err(failure("logs/broke-off", "the stream was closed")),
                    Err(_) => return Err(silent()),
                }
            }
        };
        if batch.stream != self.stream || batch.index != self.next || batch.lines.len() > MAX_LINES {
            return Err(failure("logs/bad-batch", format!("node {node} sent a piece out of order")));
        }
        self.next += 1;
        Ok(batch)
    }
}

fn ended(end: LogEnd) -> Result<(), LogFailure> {
    match end {
        LogEnd::Complete => Ok(()),
        LogEnd::Failed { code, message } => Err(LogFailure { code, message }),
    }
}

/// A source that holds nothing but the end.
fn last(end: LogEnd, stream: Nonce, index: u64) -> mpsc::Receiver<LogBatch> {
    let (sender, receiver) = mpsc::channel(1);
    // The queue is empty, so that this cannot fail.
    let _ = sender.try_send(LogBatch { stream, index, lines: Vec::new(), end: Some(end) });
    receiver
}
