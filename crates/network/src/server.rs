//! The accepting side of sessions and proofs: an orchestrator's view of its workers, a validator's view of nodes.
//!
//! What happens is handed to the program's [`ServerSink`] in the task of the stream or request on which it happens:
//! frames of different peers are opened in parallel, those of one in order. The simplest sink is a bounded queue. Each
//! frame carries a handle to answer with, and an answer may be made as late as when it is written, in the peer's own
//! task. Nobody can block anybody: a peer that does not read is dropped when its own queue is full or a write of it takes
//! too long, and a peer that sends without waiting for answers is not read further until earlier frames are answered or
//! dropped.
//!
//! Over HTTPS a request is a frame and its answer the response. Such peers cannot be pushed to: they get news with the
//! answer to their next beat.

mod https;
mod places;
mod reply;
mod stream;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use futures::future::BoxFuture;
use lode_protocol::ids::Address;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::endpoint::{ConnectionId, Endpoint, IncomingStreams};
use crate::error::NetworkError;
use crate::frame::{FramedStream, check_size};
use crate::metrics::NetworkMetrics;
use crate::protocol::Protocol;
use places::HttpPlaces;
use reply::Outgoing;
pub use reply::{LogReply, ReplyHandle};

/// Settings of a server.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Events that wait for the program. When full, peers wait: reading stops, nothing is lost.
    pub event_queue: usize,
    /// Frames that wait for one peer to read; one more and it is dropped as a slow reader.
    pub frames_per_connection: usize,
    /// Frames of one peer that may be unanswered; more are not read until some are answered.
    pub unanswered_per_connection: usize,
    /// A write that takes longer drops the peer as a slow reader.
    pub write_timeout: Duration,
    /// Requests of the HTTPS fallback at once.
    pub http_requests: usize,
    /// Of these, from one address: from an IPv4 address, or from an IPv6 /64.
    pub http_requests_per_address: usize,
    /// Whether loopback, where a proxy may stand, may take all of them.
    pub http_loopback_has_all: bool,
    /// Longest time to receive the body of a request.
    pub body_timeout: Duration,
    /// Longest time until the program answers a request.
    pub answer_timeout: Duration,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            event_queue: 4096,
            frames_per_connection: 32,
            unanswered_per_connection: 8,
            write_timeout: Duration::from_secs(10),
            http_requests: 1024,
            http_requests_per_address: 64,
            http_loopback_has_all: true,
            body_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_secs(10),
        }
    }
}

/// A frame that a peer sent.
#[derive(Debug)]
pub struct IncomingFrame {
    /// Who holds the other end; `None` over HTTPS, where only the envelope says who speaks.
    pub peer: Option<Address>,
    /// The connection (over HTTPS: the request).
    pub connection: ConnectionId,
    /// The IP address at the other end: over HTTPS that of a proxy, where one stands before the program.
    pub remote: Option<IpAddr>,
    /// The frame: a sealed envelope.
    pub bytes: Vec<u8>,
    /// When its last byte was there.
    pub received_at: Instant,
    /// For the answer.
    pub reply: ReplyHandle,
}

/// What happens at a server.
#[derive(Debug)]
pub enum ServerEvent {
    /// A peer opened its stream (libp2p only).
    Opened {
        /// The connection.
        connection: ConnectionId,
        /// The address of the key that the peer proved to hold.
        peer: Address,
    },
    /// A frame arrived.
    Frame(IncomingFrame),
    /// The stream ended (libp2p only); exactly once for each `Opened`.
    Closed {
        /// The connection.
        connection: ConnectionId,
        /// Who it was.
        peer: Address,
        /// Why it ended.
        reason: NetworkError,
    },
    /// A piece of a task's output came over HTTPS.
    Logs {
        /// The sealed batch.
        bytes: Vec<u8>,
        /// Whether it is wanted.
        reply: LogReply,
    },
}

/// Takes what happens at a server.
pub trait ServerSink: std::fmt::Debug + Send + Sync + 'static {
    /// Takes one thing, in the task in which it happened; may wait, and then that peer waits. False: nothing is taken any
    /// more, the program ends.
    fn take(&self, event: ServerEvent) -> BoxFuture<'_, bool>;

    /// Whether nothing is taken any more.
    fn is_closed(&self) -> bool;
}

/// One queue for everything.
impl ServerSink for mpsc::Sender<ServerEvent> {
    fn take(&self, event: ServerEvent) -> BoxFuture<'_, bool> {
        Box::pin(async move { self.send(event).await.is_ok() })
    }

    fn is_closed(&self) -> bool {
        mpsc::Sender::is_closed(self)
    }
}

/// One peer with an open stream.
#[derive(Debug)]
struct Peer {
    connection: ConnectionId,
    outgoing: mpsc::Sender<Outgoing>,
    unanswered: Arc<Semaphore>,
}

/// What the handle, the streams and the HTTP routes share.
#[derive(Debug)]
struct Hub {
    endpoint: Endpoint,
    protocol: Protocol,
    config: ServerConfig,
    open: Mutex<HashMap<ConnectionId, Arc<Peer>>>,
    sink: Arc<dyn ServerSink>,
    http: Arc<HttpPlaces>,
    metrics: NetworkMetrics,
}

impl Hub {
    fn open(&self) -> MutexGuard<'_, HashMap<ConnectionId, Arc<Peer>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enqueue(&self, peer: &Peer, frame: Outgoing) -> Result<(), NetworkError> {
        if let Outgoing::Made(bytes) = &frame {
            check_size(bytes, self.protocol.accepter_limit())?;
        }
        match peer.outgoing.try_send(frame) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.drop_slow_reader(peer.connection);
                Err(NetworkError::SlowReader)
            }
            Err(mpsc::error::TrySendError::Closed(_)) => Err(NetworkError::NotConnected),
        }
    }

    fn drop_slow_reader(&self, connection: ConnectionId) {
        self.metrics.slow_readers.inc();
        self.endpoint.close(connection, NetworkError::SlowReader);
    }
}

/// Handle of a server; clones are the same server.
#[derive(Clone, Debug)]
pub struct PeerServer {
    hub: Arc<Hub>,
}

/// Accepts streams; see [`PeerServerTask::run`].
#[derive(Debug)]
#[must_use = "nobody is served unless this task runs"]
pub struct PeerServerTask {
    hub: Arc<Hub>,
    streams: IncomingStreams,
}

/// What starting a server gives.
type Started = (PeerServer, PeerServerTask, mpsc::Receiver<ServerEvent>);

impl PeerServer {
    /// Serves workers' sessions, with one queue for everything.
    pub async fn sessions(endpoint: Endpoint, config: ServerConfig) -> Result<Started, NetworkError> {
        let (events, receiver) = mpsc::channel(config.event_queue.max(1));
        let (server, task) = Self::start(endpoint, config, Protocol::Session, Arc::new(events)).await?;
        Ok((server, task, receiver))
    }

    /// Serves workers' sessions; `sink` takes what happens.
    pub async fn sessions_into(
        endpoint: Endpoint,
        config: ServerConfig,
        sink: Arc<dyn ServerSink>,
    ) -> Result<(PeerServer, PeerServerTask), NetworkError> {
        Self::start(endpoint, config, Protocol::Session, sink).await
    }

    /// Serves nodes that are to be proven, with one queue for everything.
    pub async fn proofs(endpoint: Endpoint, config: ServerConfig) -> Result<Started, NetworkError> {
        let (events, receiver) = mpsc::channel(config.event_queue.max(1));
        let (server, task) = Self::start(endpoint, config, Protocol::Proof, Arc::new(events)).await?;
        Ok((server, task, receiver))
    }

    async fn start(
        endpoint: Endpoint,
        config: ServerConfig,
        protocol: Protocol,
        sink: Arc<dyn ServerSink>,
    ) -> Result<(PeerServer, PeerServerTask), NetworkError> {
        let streams = endpoint.accept(protocol).await?;
        let hub = Arc::new(Hub {
            metrics: endpoint.metrics().clone(),
            http: HttpPlaces::new(&config),
            endpoint,
            protocol,
            config,
            open: Mutex::default(),
            sink,
        });
        Ok((PeerServer { hub: hub.clone() }, PeerServerTask { hub, streams }))
    }

    /// Sends a frame that nobody asked for. Never waits. Peers on HTTPS are never connected in this sense.
    pub fn push(&self, connection: ConnectionId, bytes: Vec<u8>) -> Result<(), NetworkError> {
        self.enqueue(connection, Outgoing::Made(bytes))
    }

    /// The same with a frame that is made when it is written, in the peer's own task.
    pub fn push_with(
        &self,
        connection: ConnectionId,
        make: impl FnOnce() -> Vec<u8> + Send + 'static,
    ) -> Result<(), NetworkError> {
        self.enqueue(connection, Outgoing::Later(Box::new(make)))
    }

    fn enqueue(&self, connection: ConnectionId, frame: Outgoing) -> Result<(), NetworkError> {
        let peer = self.hub.open().get(&connection).cloned().ok_or(NetworkError::NotConnected)?;
        self.hub.enqueue(&peer, frame)
    }

    /// The program knows and accepts who this is: the connection has standing ([`Endpoint::vouch`]).
    pub fn vouch(&self, connection: ConnectionId) {
        self.hub.endpoint.vouch(connection);
    }

    /// Closes a connection.
    pub fn disconnect(&self, connection: ConnectionId, reason: &'static str) {
        self.hub.endpoint.disconnect(connection, reason);
    }

    /// How many peers have their stream open.
    pub fn open_count(&self) -> usize {
        self.hub.open().len()
    }

    /// Opens a stream for a task's output over the worker's connection.
    pub async fn open_logs(
        &self,
        connection: ConnectionId,
        deadline: Duration,
    ) -> Result<FramedStream, NetworkError> {
        self.hub.endpoint.open(connection, Protocol::Logs, deadline).await
    }

    /// The HTTPS fallback, with what else its listener serves: `GET /wire/v1` (204 when it serves), `POST /wire/v1`,
    /// `POST /wire/v1/logs`. A connection stays open after a message that was taken, and after nothing else.
    pub fn wire_routes<S: Clone + Send + Sync + 'static>(&self, beside: Router<S>) -> Router<S> {
        let closes = axum::middleware::map_response(https::close_unless_taken);
        https::routes(self.hub.clone()).merge(beside).layer(closes)
    }
}

impl PeerServerTask {
    /// Serves until `shutdown` or until the endpoint ends.
    ///
    /// Boxed, so that it is compiled here and not again by everybody who spawns it.
    pub fn run(self, shutdown: CancellationToken) -> BoxFuture<'static, ()> {
        Box::pin(self.serve(shutdown))
    }

    async fn serve(mut self, shutdown: CancellationToken) {
        // The set owns every stream's task: they end with this one.
        let mut serving = JoinSet::new();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                incoming = self.streams.next() => match incoming {
                    Some(incoming) => {
                        serving.spawn(stream::serve(self.hub.clone(), incoming));
                    }
                    None => break,
                },
                Some(ended) = serving.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "the task of one peer's stream failed; its connection is gone");
                    }
                }
            }
        }
    }
}
