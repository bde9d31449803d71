//! A program's presence in the peer-to-peer network: one key, its listeners and its connections.
//!
//! [`Endpoint`] is a cheap handle; [`EndpointTask`] owns the swarm and must run for anything to happen.

mod admission;
mod dial;
mod owner;
mod state;
mod substreams;
mod transport;
mod watchdog;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lode_protocol::ids::Address;
use lode_protocol::keys::SigningKey;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

pub use owner::EndpointTask;
pub use state::{ConnectionId, Transport};
pub(crate) use state::{ConnectionState, Connections};

use crate::address::PeerAddress;
use crate::error::NetworkError;
use crate::frame::{FramedStream, Side};
use crate::metrics::NetworkMetrics;
use crate::protocol::Protocol;
use owner::Command;

/// Commands that wait for the owner; a full queue makes callers wait within their deadlines.
const COMMAND_QUEUE: usize = 1024;
/// Accepted streams that wait for the program. A burst of a whole fleet reconnecting fits; what does not is dropped
/// and counted, and its peer tries again.
const ACCEPT_QUEUE: usize = 4096;

/// How many incoming connections are borne.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnectionLimits {
    /// Established incoming connections.
    pub incoming: usize,
    /// Incoming connections whose handshake has not ended.
    pub pending_incoming: usize,
    /// Incoming connections of one IP address, handshakes included.
    pub per_address: usize,
    /// Incoming connections of one peer.
    pub per_peer: usize,
    /// Streams open at once on one connection, in both directions together.
    pub streams_per_connection: usize,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            incoming: 10_000,
            pending_incoming: 512,
            per_address: 256,
            per_peer: 4,
            streams_per_connection: 64,
        }
    }
}

/// Settings of an endpoint.
#[derive(Clone, Debug)]
pub struct EndpointConfig {
    /// Where to listen; port 0 takes a free one. Empty: outbound only.
    pub listen: Vec<PeerAddress>,
    /// Limits on incoming connections.
    pub limits: ConnectionLimits,
    /// Longest time for a connection of ours to be made, handshake included.
    pub dial_timeout: Duration,
    /// Longest time for the handshake of an incoming connection.
    pub handshake_timeout: Duration,
    /// Time between keep-alives on each connection.
    pub ping_interval: Duration,
    /// A keep-alive unanswered for so long ends the connection: at the latest `ping_interval + ping_timeout` after the
    /// last sign of life.
    pub ping_timeout: Duration,
    /// A connection without streams is closed after this time.
    pub idle_timeout: Duration,
    /// What peers are told this program is, like `lode-worker/0.1.0`.
    pub agent: String,
}

impl Default for EndpointConfig {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            limits: ConnectionLimits::default(),
            dial_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(10),
            ping_interval: Duration::from_secs(15),
            ping_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            agent: concat!("lode/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

/// A connection that was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Connection {
    /// Its name.
    pub id: ConnectionId,
    /// The address of the key that the peer proved to hold.
    pub peer: Address,
}

/// A stream that a peer opened.
#[derive(Debug)]
pub struct IncomingStream {
    /// The address of the key that the peer proved to hold.
    pub peer: Address,
    /// The connection that carries it.
    pub connection: ConnectionId,
    /// The stream.
    pub stream: FramedStream,
}

/// The streams of one protocol that peers open. Dropping it stops accepting them.
#[derive(Debug)]
pub struct IncomingStreams {
    queue: mpsc::Receiver<IncomingStream>,
    registration: Registration,
}

impl IncomingStreams {
    /// The next stream; `None` when the endpoint has ended. May be cancelled without loss.
    pub async fn next(&mut self) -> Option<IncomingStream> {
        self.queue.recv().await
    }

    /// The protocol that is accepted.
    pub fn protocol(&self) -> Protocol {
        self.registration.protocol
    }
}

/// Frees the protocol when its receiver is dropped.
#[derive(Debug)]
struct Registration {
    protocol: Protocol,
    taken: Arc<Mutex<HashSet<Protocol>>>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.protocol);
    }
}

/// Handle of a program's endpoint; clones are the same endpoint.
#[derive(Clone, Debug)]
pub struct Endpoint {
    commands: mpsc::Sender<Command>,
    connections: Arc<Connections>,
    taken: Arc<Mutex<HashSet<Protocol>>>,
    addresses: Arc<[PeerAddress]>,
    address: Address,
    dial_timeout: Duration,
    metrics: NetworkMetrics,
}

impl Endpoint {
    /// Opens all listeners. The endpoint works while the returned task runs.
    pub async fn bind(
        config: EndpointConfig,
        key: &SigningKey,
        metrics: NetworkMetrics,
    ) -> Result<(Endpoint, EndpointTask), NetworkError> {
        let (commands, receiver) = mpsc::channel(COMMAND_QUEUE);
        let (connections, closing) = Connections::new();
        let task =
            EndpointTask::bind(&config, key, metrics.clone(), receiver, connections.clone(), closing).await?;
        let endpoint = Endpoint {
            commands,
            connections,
            taken: Arc::default(),
            addresses: task.addresses().into(),
            address: key.address(),
            dial_timeout: config.dial_timeout,
            metrics,
        };
        Ok((endpoint, task))
    }

    /// Where this endpoint listens, with real ports and its own `/p2p/` part.
    pub fn addresses(&self) -> &[PeerAddress] {
        &self.addresses
    }

    /// The address of this endpoint's key.
    pub fn address(&self) -> Address {
        self.address
    }

    /// How many connections are open.
    pub fn connection_count(&self) -> usize {
        self.connections.count()
    }

    pub(crate) fn metrics(&self) -> &NetworkMetrics {
        &self.metrics
    }

    /// Makes a new connection. `expected` or the address itself must say who has to answer; anybody else is refused.
    /// The deadline is capped by the configured dial timeout.
    pub async fn connect(
        &self,
        address: &PeerAddress,
        expected: Option<Address>,
        deadline: Duration,
    ) -> Result<Connection, NetworkError> {
        let expected = match (expected, address.expected()) {
            (Some(wanted), Some(named)) if wanted != named => {
                return Err(NetworkError::PeerMismatch {
                    address: address.to_string(),
                    expected: wanted.to_string(),
                    got: format!("{named} by its /p2p/ part"),
                });
            }
            (Some(expected), _) | (None, Some(expected)) => expected,
            (None, None) => return Err(NetworkError::NoExpectedPeer { address: address.to_string() }),
        };
        let after = deadline.min(self.dial_timeout);
        let (reply, answer) = oneshot::channel();
        let exchange = async {
            let command = Command::Dial { address: address.clone(), expected, reply };
            self.commands.send(command).await.map_err(|_| ended())?;
            answer.await.map_err(|_| ended())?
        };
        let result = timeout(after, exchange).await;
        let result =
            result.unwrap_or_else(|_| Err(NetworkError::DialTimeout { address: address.to_string(), after }));
        if result.is_err() {
            self.metrics.dial_failures.inc();
        }
        result
    }

    /// Opens a stream on a connection, whoever made it.
    pub async fn open(
        &self,
        connection: ConnectionId,
        protocol: Protocol,
        deadline: Duration,
    ) -> Result<FramedStream, NetworkError> {
        let state = self.connections.get(connection).ok_or(NetworkError::NotConnected)?;
        let (reply, answer) = oneshot::channel();
        let exchange = async {
            self.commands.send(Command::Open { connection, protocol, reply }).await.map_err(|_| ended())?;
            answer.await.map_err(|_| state.explain("it ended before the stream was open"))?
        };
        let stream = timeout(deadline, exchange).await;
        let stream = stream.map_err(|_| NetworkError::OpenTimeout { after: deadline })??;
        Ok(FramedStream::new(stream, protocol, Side::Opener, state))
    }

    /// Accepts streams of a protocol, on present and future connections. One receiver per protocol.
    pub async fn accept(&self, protocol: Protocol) -> Result<IncomingStreams, NetworkError> {
        if !self.taken.lock().unwrap_or_else(PoisonError::into_inner).insert(protocol) {
            return Err(NetworkError::AlreadyAccepting { protocol: protocol.name() });
        }
        let registration = Registration { protocol, taken: self.taken.clone() };
        let (sender, queue) = mpsc::channel(ACCEPT_QUEUE);
        self.commands.send(Command::Accept { protocol, sender }).await.map_err(|_| ended())?;
        Ok(IncomingStreams { queue, registration })
    }

    /// The program knows and accepts who this is: the connection no longer gives way to newcomers.
    pub fn vouch(&self, connection: ConnectionId) {
        if let Some(state) = self.connections.get(connection) {
            state.vouch();
        }
    }

    /// Closes a connection; streams on it end with [`NetworkError::Closed`] and this reason.
    pub fn disconnect(&self, connection: ConnectionId, reason: &'static str) {
        self.close(connection, NetworkError::closed(reason));
    }

    pub(crate) fn close(&self, connection: ConnectionId, cause: NetworkError) {
        self.connections.close(connection, cause);
    }
}

fn ended() -> NetworkError {
    NetworkError::closed("the endpoint has ended")
}
