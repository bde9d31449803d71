//! A program's presence in the peer-to-peer network: one key, its listeners and its connections.
//!
//! [`Endpoint`] is a cheap handle; [`EndpointTask`] owns the swarm and must run for anything to happen.

mod admission;
mod dial;
mod gate;
mod limits;
mod owner;
mod range;
mod regulars;
mod state;
mod substreams;
mod transport;
mod watchdog;

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lode_address::PeerAddress;
use lode_protocol::ids::Address;
use lode_protocol::keys::SigningKey;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

pub use limits::{ConnectionLimits, FramePace, StrangerLimits};
pub use owner::EndpointTask;
pub use state::{ConnectionId, Transport};
pub(crate) use state::{ConnectionState, Connections};

use crate::error::NetworkError;
use crate::frame::{Carrier as _, FrameTerms, FramedStream, Side, Unfinished};
use crate::metrics::NetworkMetrics;
use crate::multiaddress::places;
use crate::protocol::Protocol;
use owner::Command;
use regulars::Regulars;

/// Commands that wait for the owner; a full queue makes callers wait within their deadlines.
const COMMAND_QUEUE: usize = 1024;
/// Accepted streams that wait for the program. A burst of a whole fleet reconnecting fits; what does not is dropped
/// and counted, and its peer tries again.
const ACCEPT_QUEUE: usize = 4096;

/// Settings of an endpoint.
#[derive(Clone, Debug)]
pub struct EndpointConfig {
    /// Where to listen; port 0 takes a free one. Empty: outbound only.
    pub listen: Vec<PeerAddress>,
    /// Limits on incoming connections.
    pub limits: ConnectionLimits,
    /// What is borne of peers that nobody has vouched for.
    pub strangers: StrangerLimits,
    /// How slow frames may be.
    pub frame_pace: FramePace,
    /// Longest time for a connection of ours to be made, handshake included.
    pub dial_timeout: Duration,
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
            strangers: StrangerLimits::default(),
            frame_pace: FramePace::default(),
            dial_timeout: Duration::from_secs(10),
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
    /// The IP address at the other end.
    pub remote: Option<IpAddr>,
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

/// What the handles and the owner share.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    connections: Arc<Connections>,
    regulars: Arc<Regulars>,
    terms: FrameTerms,
}

/// Handle of a program's endpoint; clones are the same endpoint.
#[derive(Clone, Debug)]
pub struct Endpoint {
    commands: mpsc::Sender<Command>,
    shared: Shared,
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
        let budget = usize::try_from(config.strangers.unfinished_frames.0).unwrap_or(usize::MAX);
        let shared = Shared {
            regulars: Arc::new(Regulars::new(config.strangers.remembered_addresses)),
            terms: FrameTerms {
                pace: config.frame_pace,
                first_frame: config.strangers.first_frame.to_duration(),
                unfinished: Unfinished::new(budget, Arc::clone(&connections), metrics.clone()),
            },
            connections,
        };
        let task =
            EndpointTask::bind(&config, key, metrics.clone(), receiver, shared.clone(), closing).await?;
        let endpoint = Endpoint {
            commands,
            shared,
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
        self.shared.connections.count()
    }

    /// Memory that unfinished frames of peers without standing hold.
    pub fn unfinished_frame_bytes(&self) -> usize {
        self.shared.terms.unfinished.bytes()
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
        self.connect_where(address, expected, deadline, |_| true).await
    }

    /// The same, to none but the `allowed` addresses of a name.
    pub(crate) async fn connect_where(
        &self,
        address: &PeerAddress,
        expected: Option<Address>,
        deadline: Duration,
        allowed: fn(IpAddr) -> bool,
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
        let result = timeout(after, self.dial(address, expected, allowed)).await;
        let result =
            result.unwrap_or_else(|_| Err(NetworkError::DialTimeout { address: address.to_string(), after }));
        if result.is_err() {
            self.metrics.dial_failures.inc();
        }
        result
    }

    /// Dials where the address leads, one place after the other until one answers.
    async fn dial(
        &self,
        address: &PeerAddress,
        expected: Address,
        allowed: fn(IpAddr) -> bool,
    ) -> Result<Connection, NetworkError> {
        let mut outcome = Err(NetworkError::Dial {
            address: address.to_string(),
            reason: "the name has no address that may be dialled".to_owned(),
        });
        for place in places(address, allowed).await? {
            let (reply, answer) = oneshot::channel();
            let command = Command::Dial { address: address.clone(), place, expected, reply };
            self.commands.send(command).await.map_err(|_| ended())?;
            outcome = answer.await.map_err(|_| ended())?;
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    /// Opens a stream on a connection, whoever made it.
    pub async fn open(
        &self,
        connection: ConnectionId,
        protocol: Protocol,
        deadline: Duration,
    ) -> Result<FramedStream, NetworkError> {
        let state = self.shared.connections.get(connection).ok_or(NetworkError::NotConnected)?;
        let (reply, answer) = oneshot::channel();
        let exchange = async {
            self.commands.send(Command::Open { connection, protocol, reply }).await.map_err(|_| ended())?;
            answer.await.map_err(|_| state.explain(&"it ended before the stream was open"))?
        };
        let stream = timeout(deadline, exchange).await;
        let stream = stream.map_err(|_| NetworkError::OpenTimeout { after: deadline })??;
        Ok(FramedStream::new(stream, protocol, Side::Opener, state, &self.shared.terms))
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

    /// The program knows and accepts who this is: the connection has standing. It no longer gives way to newcomers, its
    /// frames may be large, and its address is remembered.
    pub fn vouch(&self, connection: ConnectionId) {
        if let Some(state) = self.shared.connections.get(connection)
            && state.vouch()
            && let Some(place) = state.place
        {
            self.shared.regulars.remember(place);
        }
    }

    /// Closes a connection; streams on it end with [`NetworkError::Closed`] and this reason.
    pub fn disconnect(&self, connection: ConnectionId, reason: &'static str) {
        self.close(connection, NetworkError::closed(reason));
    }

    pub(crate) fn close(&self, connection: ConnectionId, cause: NetworkError) {
        self.shared.connections.close(connection, cause);
    }
}

fn ended() -> NetworkError {
    NetworkError::closed("the endpoint has ended")
}
