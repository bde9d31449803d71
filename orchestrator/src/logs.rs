//! A task's output on its way from the worker to its readers.
//!
//! Over libp2p the orchestrator opens a stream on the worker's connection, sends a signed `LogRequest` and reads signed
//! `LogBatch`es. Over HTTPS the request waits for the answer to the node's next beat, and the worker posts the batches.
//! Either way every batch is verified: signed by the node, for us, of this stream, in order ([`stream`]). A worker that
//! dies or falls silent ends the stream with a reason; it never hangs it.
//!
//! What one node may send has a rate ([`Buckets`]). What is beyond is not read: it waits in the connection, then at the
//! worker, which keeps output in files and says what of it had to go.
//!
//! All who follow one assignment share one stream of its node ([`feed`]): a reader that is slower than the output is
//! dropped with a clear end, and never slows another. Whoever asks for more than the shared part holds begins with a
//! stream of its own and joins the others when it has caught up ([`reader`]).

mod feed;
mod place;
mod reader;
mod stream;
mod window;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use lode_network::{NetworkError, PeerServer};
use lode_program::TaskGroup;
use lode_protocol::envelope::peek;
use lode_protocol::error_code::ErrorCode;
use lode_protocol::ids::{AssignmentId, NodeId, Nonce};
use lode_protocol::logs::{LogBatch, LogRecord, LogRequest};
use lode_protocol::session::SealedBytes;
use lode_protocol::units::{Millis, Timestamp};
use rand::RngCore as _;
use tokio::sync::{Notify, OnceCell, mpsc};

use crate::buckets::{Buckets, Pace};
use crate::core::event::ConnectionId;
use crate::identity::Identity;
use crate::log_requests::{LogRequests, PostedLogs};
use feed::LogBuffer;
use place::StreamPermit;
pub use reader::LogReader;
use stream::{LogStream, Source};

/// How long a request counts: over HTTPS it waits for a beat.
const REQUEST_LIFETIME: Millis = Millis::seconds(120);
/// Time to open a stream and send the request.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// Batches that wait for a slow reader over HTTPS; beyond it the worker is told to try again.
const POSTED: usize = 8;
/// Nodes whose output is counted, in one generation.
const NODES: usize = 65_536;
/// Records that a shared stream begins with.
const SHARED_TAIL: u32 = 500;

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
    /// Only records behind the one with this ordinal.
    pub after: Option<u64>,
    /// Only records before the one with this ordinal; not with `follow`.
    pub before: Option<u64>,
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

pub(crate) fn failure(code: &'static str, message: impl Into<String>) -> LogFailure {
    LogFailure { code: ErrorCode::new(code), message: message.into() }
}

/// What a reader gets next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Piece {
    /// Records, in order; shared among readers.
    Lines(Vec<Arc<LogRecord>>),
    /// The end; nothing follows.
    End(Result<(), LogFailure>),
}

/// Opens streams, lets readers share them, and finds the one a posted batch belongs to. Clones are the same.
#[derive(Clone, Debug)]
pub struct LogHub {
    identity: Identity,
    server: PeerServer,
    requests: LogRequests,
    tasks: TaskGroup,
    /// What each node may send, on all of its streams together.
    output: Arc<Buckets<NodeId>>,
    state: Arc<Mutex<State>>,
    /// A stream has ended: there may be a place for another one.
    freed: Arc<Notify>,
}

/// Where those who follow one assignment meet. It lives as long as one of them does.
#[derive(Debug, Default)]
struct SharedStream {
    feed: OnceCell<Arc<LogBuffer>>,
}

#[derive(Debug, Default)]
struct State {
    /// Streams over HTTPS.
    posted: HashMap<Nonce, Rendezvous>,
    /// Open streams per node, of both kinds.
    open: HashMap<NodeId, usize>,
    meetings: HashMap<AssignmentId, Weak<SharedStream>>,
}

#[derive(Debug)]
struct Rendezvous {
    node: NodeId,
    batches: mpsc::Sender<LogBatch>,
    /// Index of the next batch. What was taken before is taken again, and dropped: its answer was lost.
    next: u64,
}

impl LogHub {
    /// A hub without streams; shared streams are read on `tasks`. `output`: how much is taken of one node; what is more
    /// waits there.
    pub fn new(
        identity: Identity,
        server: PeerServer,
        requests: LogRequests,
        tasks: TaskGroup,
        output: Pace,
    ) -> Self {
        let output = Arc::new(Buckets::new(output, NODES));
        LogHub { identity, server, requests, tasks, output, state: Arc::default(), freed: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Output of a node's assignment. `connection` is the node's stream, if it has one.
    ///
    /// # Errors
    /// When the node cannot be asked.
    pub async fn open(
        &self,
        node: NodeId,
        connection: Option<ConnectionId>,
        query: LogQuery,
    ) -> Result<LogReader, LogFailure> {
        let question = Question { hub: self.clone(), node, connection, query };
        if !query.follow {
            return Ok(LogReader::alone(question.ask().await?));
        }
        let meeting = self.meeting(query.assignment);
        let shared = question.shared();
        let feed = meeting.feed.get_or_try_init(async || {
            Ok::<_, LogFailure>(LogBuffer::start(shared.ask().await?, &self.tasks))
        });
        let feed = Arc::clone(feed.await?);
        Ok(LogReader::joining(question, meeting, feed))
    }

    /// Where the followers of an assignment meet; a new place if what they shared has ended.
    fn meeting(&self, assignment: AssignmentId) -> Arc<SharedStream> {
        let mut state = self.state();
        let known = state.meetings.get(&assignment).and_then(Weak::upgrade);
        let open = known.filter(|meeting| meeting.feed.get().is_none_or(|feed| !feed.has_ended()));
        open.unwrap_or_else(|| {
            state.meetings.retain(|_, meeting| meeting.strong_count() > 0);
            let meeting = Arc::new(SharedStream::default());
            state.meetings.insert(assignment, Arc::downgrade(&meeting));
            meeting
        })
    }

    /// Takes the batches that are posted, until nothing is posted any more.
    pub async fn run(self, mut posted: mpsc::Receiver<PostedLogs>) {
        while let Some(batch) = posted.recv().await {
            self.deliver(batch);
        }
    }

    /// Before a signature is looked at: a batch of a node that was asked for none is not wanted, and one of a node that has
    /// sent more than it may comes again later. What is taken was signed by its node.
    fn deliver(&self, PostedLogs { bytes, reply }: PostedLogs) {
        let now = Instant::now();
        let claimed = peek(&bytes).ok().and_then(|header| header.signer.address().ok()).map(NodeId);
        let Some(node) = claimed.filter(|node| self.state().posted.values().any(|meant| meant.node == *node))
        else {
            return reply.not_wanted();
        };
        if self.output.owes(&node, now).is_some() {
            // Without an answer: the worker sends it again.
            drop(reply);
            return;
        }
        let opened = match self.identity.open::<LogBatch>(&bytes, None) {
            Ok(opened) => opened,
            Err(error) => {
                tracing::debug!(code = %error.code(), "a posted piece of output was refused: {error}");
                return reply.not_wanted();
            }
        };
        self.output.charge(node, bytes.len() as u64, now);
        let mut state = self.state();
        let meant = state.posted.get_mut(&opened.body.stream).filter(|meant| meant.node.0 == opened.signer);
        let Some(meant) = meant else { return reply.not_wanted() };
        let index = opened.body.index;
        if index < meant.next {
            return reply.accept();
        }
        match meant.batches.try_send(opened.body) {
            Ok(()) => {
                meant.next = index.saturating_add(1);
                reply.accept();
            }
            // Dropped without an answer: the worker sends it again.
            Err(mpsc::error::TrySendError::Full(_)) => drop(reply),
            Err(mpsc::error::TrySendError::Closed(_)) => reply.not_wanted(),
        }
    }
}

/// What is asked of which node.
#[derive(Clone, Debug)]
struct Question {
    hub: LogHub,
    node: NodeId,
    connection: Option<ConnectionId>,
    query: LogQuery,
}

impl Question {
    /// The question that all followers share: the newest lines, and then everything that follows.
    fn shared(&self) -> Self {
        Question {
            query: LogQuery { tail: Some(SHARED_TAIL), since: None, after: None, before: None, ..self.query },
            ..self.clone()
        }
    }

    /// A stream of its own for this question.
    async fn ask(&self) -> Result<LogStream, LogFailure> {
        let (hub, node) = (&self.hub, self.node);
        let mut stream = Nonce::default();
        rand::rng().fill_bytes(&mut stream.0);
        let LogQuery { assignment, follow, tail, since, after, before } = self.query;
        let place = StreamPermit::take(hub, node, stream).await?;
        let request = LogRequest { stream, assignment, follow, tail, since, after, before };
        let sealed = hub.identity.seal(Some(node.0), REQUEST_LIFETIME, &request);
        let transport = self.connection.map(|connection| lode_network::ConnectionId::libp2p(connection.0));
        let source = match transport {
            Some(transport) => {
                let unreachable = |error: NetworkError| {
                    failure(
                        "logs/node-unreachable",
                        format!("node {node} cannot be asked ({}): {error}", error.code()),
                    )
                };
                let mut framed = hub.server.open_logs(transport, OPEN_TIMEOUT).await.map_err(unreachable)?;
                framed.send(&sealed, OPEN_TIMEOUT).await.map_err(unreachable)?;
                Source::Stream(framed)
            }
            None => {
                let (batches, posted) = mpsc::channel(POSTED);
                hub.state().posted.insert(stream, Rendezvous { node, batches, next: 0 });
                hub.requests.put(node, stream, SealedBytes(sealed));
                Source::Posted(posted)
            }
        };
        let identity = hub.identity.clone();
        Ok(LogStream::new(identity, node, stream, &self.query, source, Arc::clone(&hub.output), place))
    }
}
