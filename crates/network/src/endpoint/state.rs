//! What the rest of the crate knows about one connection, shared between the task that owns the swarm and the streams.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use lode_protocol::ids::Address;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::error::NetworkError;

/// How bytes travel.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Transport {
    /// Noise and yamux over TCP; the peer's key is proven.
    Libp2p,
    /// The fallback; who speaks is known from envelopes only.
    Https,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Transport::Libp2p => "libp2p",
            Transport::Https => "https",
        })
    }
}

/// Names a connection (over HTTPS: one request) within this process; never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnectionId {
    transport: Transport,
    number: u64,
}

impl ConnectionId {
    pub(crate) fn next(transport: Transport) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        Self { transport, number: NUMBER.fetch_add(1, Ordering::Relaxed) }
    }

    /// How it is reached.
    pub fn transport(self) -> Transport {
        self.transport
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.transport, self.number)
    }
}

/// One libp2p connection.
#[derive(Debug)]
pub(crate) struct ConnectionState {
    pub(crate) id: ConnectionId,
    pub(crate) peer: Address,
    vouched: AtomicBool,
    used: AtomicBool,
    cause: OnceLock<NetworkError>,
    ending: CancellationToken,
}

impl ConnectionState {
    pub(crate) fn new(peer: Address) -> Arc<Self> {
        Arc::new(Self {
            id: ConnectionId::next(Transport::Libp2p),
            peer,
            vouched: AtomicBool::new(false),
            used: AtomicBool::new(false),
            cause: OnceLock::new(),
            ending: CancellationToken::new(),
        })
    }

    pub(crate) fn vouch(&self) {
        self.vouched.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_vouched(&self) -> bool {
        self.vouched.load(Ordering::Relaxed)
    }

    /// A stream was opened on it.
    pub(crate) fn mark_used(&self) {
        self.used.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_used(&self) -> bool {
        self.used.load(Ordering::Relaxed)
    }

    /// Why we close it. The first cause stays; returns whether this was it.
    pub(crate) fn close_for(&self, cause: NetworkError) -> bool {
        let first = self.cause.set(cause).is_ok();
        self.ending.cancel();
        first
    }

    /// Resolves when the connection ends or is about to. A graceful close waits for the socket, and the socket of a
    /// peer that vanished may take minutes: whoever waits for data must not.
    pub(crate) async fn ending(&self) {
        self.ending.cancelled().await;
    }

    pub(crate) fn cause(&self) -> Option<NetworkError> {
        self.cause.get().cloned()
    }

    /// The cause that we know, or what a stream saw.
    pub(crate) fn explain(&self, seen: impl ToString) -> NetworkError {
        self.cause().unwrap_or_else(|| NetworkError::closed(seen))
    }
}

/// All open connections by their id, and the way to have one closed.
#[derive(Debug)]
pub(crate) struct Connections {
    open: Mutex<HashMap<ConnectionId, Arc<ConnectionState>>>,
    /// Unbounded, but every connection is sent at most once in its life (`close_for`).
    closing: mpsc::UnboundedSender<ConnectionId>,
}

impl Connections {
    pub(crate) fn new() -> (Arc<Self>, mpsc::UnboundedReceiver<ConnectionId>) {
        let (closing, requests) = mpsc::unbounded_channel();
        (Arc::new(Self { open: Mutex::default(), closing }), requests)
    }

    fn open(&self) -> MutexGuard<'_, HashMap<ConnectionId, Arc<ConnectionState>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn insert(&self, state: Arc<ConnectionState>) {
        self.open().insert(state.id, state);
    }

    pub(crate) fn remove(&self, id: ConnectionId) {
        self.open().remove(&id);
    }

    pub(crate) fn get(&self, id: ConnectionId) -> Option<Arc<ConnectionState>> {
        self.open().get(&id).cloned()
    }

    pub(crate) fn count(&self) -> usize {
        self.open().len()
    }

    /// Asks for a connection to be closed; does nothing when it is gone or closing.
    pub(crate) fn close(&self, id: ConnectionId, cause: NetworkError) {
        if self.get(id).is_some_and(|state| state.close_for(cause)) {
            // Fails only when the owner is gone, and then nothing is open any more.
            let _ = self.closing.send(id);
        }
    }

    /// Everything ends: streams still held by somebody learn why.
    pub(crate) fn close_all(&self, cause: &NetworkError) {
        for (_, state) in self.open().drain() {
            state.close_for(cause.clone());
        }
    }
}
