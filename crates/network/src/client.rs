//! The dialling side: a worker's link to its orchestrator or to a validator, which stays up by itself.
//!
//! libp2p is preferred; when no libp2p endpoint can be reached, HTTPS carries the same bytes, and libp2p is tried again
//! from time to time. Frames go in and come out as bytes; every failure comes out as an event, in the order in which
//! things happened. A frame is never carried over from one connection to the next: the core that owns the session
//! decides what to say again.

mod https;
mod link;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lode_address::EndpointUrl;
use lode_protocol::ids::Address;
use tokio::sync::{Notify, mpsc};

use crate::endpoint::{Endpoint, Transport};
use crate::error::NetworkError;
use crate::frame::check_size;
use crate::protocol::Protocol;
use https::HttpsLink;
pub use https::LogPost;
pub use link::PeerClientTask;

/// Frames that wait to be sent. A worker says little: a full queue means that the link is stuck.
const OUTGOING_QUEUE: usize = 64;
/// Events that wait for the program; when full, reading stops and the peer waits.
const EVENT_QUEUE: usize = 256;

/// Settings of a link.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Who has to be at the other end.
    pub peer: Address,
    /// Where it may be reached; libp2p ones are tried first, each kind in this order.
    pub endpoints: Vec<EndpointUrl>,
    /// Of a name only public addresses are dialled, and no proxy of the system is used, which would resolve it anew. For
    /// endpoints that others name. Addresses that are written as such are dialled as they are.
    pub public_names_only: bool,
    /// Longest time for one attempt over libp2p, stream included.
    pub connect_timeout: Duration,
    /// A write over libp2p that takes longer ends the connection.
    pub write_timeout: Duration,
    /// Longest time for one HTTPS exchange.
    pub request_timeout: Duration,
    /// While on HTTPS: time after which libp2p is tried again (up to a quarter more, so that a fleet spreads out).
    pub primary_retry: Duration,
    /// First wait after a failure.
    pub backoff_initial: Duration,
    /// Longest wait after many failures; a connection that lived this long starts the waits afresh.
    pub backoff_max: Duration,
}

impl ClientConfig {
    /// Usual settings.
    pub fn new(peer: Address, endpoints: Vec<EndpointUrl>) -> Self {
        Self {
            peer,
            endpoints,
            public_names_only: false,
            connect_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(15),
            primary_retry: Duration::from_secs(60),
            backoff_initial: Duration::from_millis(200),
            backoff_max: Duration::from_secs(30),
        }
    }
}

/// What happens to a link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ClientEvent {
    /// Frames can be sent.
    Connected {
        /// How.
        transport: Transport,
        /// Where.
        endpoint: EndpointUrl,
        /// The address that the peer proved; `None` over HTTPS, where only envelopes prove who it is.
        peer: Option<Address>,
    },
    /// A frame arrived.
    Frame(Vec<u8>),
    /// Frames can no longer be sent; those that had not left are lost.
    Disconnected {
        /// Why.
        reason: NetworkError,
    },
    /// An attempt failed.
    ConnectFailed {
        /// Where.
        endpoint: EndpointUrl,
        /// Why.
        error: NetworkError,
        /// Until the next attempt, perhaps at another endpoint; zero when it follows at once.
        retry_in: Duration,
    },
}

/// Where frames go at the moment.
#[derive(Debug)]
enum Current {
    Nowhere,
    Stream { outgoing: mpsc::Sender<Vec<u8>> },
    Https { outgoing: mpsc::Sender<Vec<u8>>, link: HttpsLink },
}

#[derive(Debug)]
struct Shared {
    protocol: Protocol,
    current: Mutex<Current>,
    endpoints: Mutex<Vec<EndpointUrl>>,
    /// Wakes the task: reconnect, or try now instead of after the wait.
    nudge: Notify,
}

impl Shared {
    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn endpoints(&self) -> MutexGuard<'_, Vec<EndpointUrl>> {
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Handle of a link; clones are the same link.
#[derive(Clone, Debug)]
pub struct PeerClient {
    shared: Arc<Shared>,
}

impl PeerClient {
    /// A worker's link to its orchestrator.
    pub fn session(
        endpoint: Endpoint,
        config: ClientConfig,
    ) -> (PeerClient, PeerClientTask, mpsc::Receiver<ClientEvent>) {
        Self::start(endpoint, config, Protocol::Session)
    }

    /// A worker's link to a validator; HTTPS endpoints are not used.
    pub fn proof(
        endpoint: Endpoint,
        config: ClientConfig,
    ) -> (PeerClient, PeerClientTask, mpsc::Receiver<ClientEvent>) {
        Self::start(endpoint, config, Protocol::Proof)
    }

    fn start(
        endpoint: Endpoint,
        config: ClientConfig,
        protocol: Protocol,
    ) -> (PeerClient, PeerClientTask, mpsc::Receiver<ClientEvent>) {
        let (events, receiver) = mpsc::channel(EVENT_QUEUE);
        let shared = Arc::new(Shared {
            protocol,
            current: Mutex::new(Current::Nowhere),
            endpoints: Mutex::new(config.endpoints.clone()),
            nudge: Notify::new(),
        });
        let task = PeerClientTask::new(endpoint, config, shared.clone(), events);
        (PeerClient { shared }, task, receiver)
    }

    /// Sends a frame over the present connection. Never waits, never keeps it for a later connection.
    pub fn send(&self, frame: Vec<u8>) -> Result<(), NetworkError> {
        check_size(&frame, self.shared.protocol.opener_limit())?;
        let current = self.shared.current();
        let outgoing = match &*current {
            Current::Nowhere => return Err(NetworkError::NotConnected),
            Current::Stream { outgoing } | Current::Https { outgoing, .. } => outgoing,
        };
        outgoing.try_send(frame).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => NetworkError::QueueFull,
            mpsc::error::TrySendError::Closed(_) => NetworkError::NotConnected,
        })
    }

    /// How frames go at the moment.
    pub fn transport(&self) -> Option<Transport> {
        match &*self.shared.current() {
            Current::Nowhere => None,
            Current::Stream { .. } => Some(Transport::Libp2p),
            Current::Https { .. } => Some(Transport::Https),
        }
    }

    /// Gives the present connection up for a new one, or tries at once when there is none. For when the transport
    /// lives but answers stay out.
    pub fn reconnect(&self) {
        self.shared.nudge.notify_one();
    }

    /// Replaces the endpoints; they count from the next attempt on.
    pub fn set_endpoints(&self, endpoints: Vec<EndpointUrl>) {
        *self.shared.endpoints() = endpoints;
        if matches!(*self.shared.current(), Current::Nowhere) {
            self.shared.nudge.notify_one();
        }
    }

    /// Sends a sealed piece of a task's output over HTTPS. [`NetworkError::NotConnected`] while the link is not on
    /// HTTPS: over libp2p the orchestrator opens a stream instead.
    pub async fn post_logs(&self, batch: &[u8], deadline: Duration) -> Result<LogPost, NetworkError> {
        check_size(batch, Protocol::Logs.accepter_limit())?;
        let link = match &*self.shared.current() {
            Current::Https { link, .. } => link.clone(),
            Current::Nowhere | Current::Stream { .. } => return Err(NetworkError::NotConnected),
        };
        link.post_logs(batch.to_vec(), deadline).await
    }
}
