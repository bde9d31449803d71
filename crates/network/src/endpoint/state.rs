//! What the rest of the crate knows about one connection, shared between the task that owns the swarm and the streams.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use lode_protocol::ids::Address;
use lode_protocol::origin::Origin;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::error::NetworkError;
use crate::frame::Carrier;

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

    /// Its number, which no other connection has, over whatever transport.
    pub fn number(self) -> u64 {
        self.number
    }

    /// The libp2p connection of this number. If there is none, it is as one that has been closed.
    pub fn libp2p(number: u64) -> Self {
        Self { transport: Transport::Libp2p, number }
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

/// Nobody has vouched for it.
const STRANGER: u8 = 0;
/// It never has to make room.
const VOUCHED: u8 = 1;
/// It makes room for others; vouching comes too late.
const GIVING_WAY: u8 = 2;

/// One libp2p connection.
#[derive(Debug)]
pub(crate) struct ConnectionState {
    pub(crate) id: ConnectionId,
    pub(crate) peer: Address,
    /// Where it came from, if it is incoming.
    pub(crate) place: Option<Origin>,
    /// Whether somebody with standing came from there before.
    pub(crate) is_regular: bool,
    /// Changes once: whoever makes room is not vouched for, and whoever is vouched for does not make room.
    standing: AtomicU8,
    used: AtomicBool,
    cause: OnceLock<NetworkError>,
    ending: CancellationToken,
}

impl ConnectionState {
    fn new(peer: Address, place: Option<Origin>, is_regular: bool, standing: u8) -> Arc<Self> {
        Arc::new(Self {
            id: ConnectionId::next(Transport::Libp2p),
            peer,
            place,
            is_regular,
            standing: AtomicU8::new(standing),
            used: AtomicBool::new(false),
            cause: OnceLock::new(),
            ending: CancellationToken::new(),
        })
    }

    /// Somebody came.
    pub(crate) fn incoming(peer: Address, place: Option<Origin>, is_regular: bool) -> Arc<Self> {
        Self::new(peer, place, is_regular, STRANGER)
    }

    /// Our own choice.
    pub(crate) fn dialled(peer: Address) -> Arc<Self> {
        Self::new(peer, None, false, VOUCHED)
    }

    /// Whether this gave it its standing.
    pub(crate) fn vouch(&self) -> bool {
        self.standing.compare_exchange(STRANGER, VOUCHED, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    pub(crate) fn has_standing(&self) -> bool {
        self.standing.load(Ordering::Acquire) == VOUCHED
    }

    /// Whether it can be asked to make room.
    pub(crate) fn is_stranger(&self) -> bool {
        self.standing.load(Ordering::Acquire) == STRANGER
    }

    /// Closes it to make room, unless it has standing. Returns whether this was what closed it.
    pub(crate) fn give_way(&self, reason: &'static str) -> bool {
        let gives = self.standing.compare_exchange(STRANGER, GIVING_WAY, Ordering::AcqRel, Ordering::Acquire);
        gives.is_ok() && self.close_for(NetworkError::Evicted { reason })
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
}

/// A graceful close waits for the socket, and the socket of a peer that vanished may take minutes: whoever waits for
/// data is told before.
impl Carrier for ConnectionState {
    fn ending(&self) -> &CancellationToken {
        &self.ending
    }

    fn cause(&self) -> Option<NetworkError> {
        self.cause.get().cloned()
    }
}

/// All open connections by their id, and the way to have one closed.
#[derive(Debug)]
pub(crate) struct Connections {
    open: Mutex<HashMap<ConnectionId, Arc<ConnectionState>>>,
    /// Unbounded, but every connection is sent at most once in its life (`close_for` is true once).
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

    /// Has a connection closed to make room, unless it has standing. Returns whether this was what closed it.
    pub(crate) fn give_way(&self, state: &ConnectionState, reason: &'static str) -> bool {
        let gives = state.give_way(reason);
        if gives {
            // As above.
            let _ = self.closing.send(state.id);
        }
        gives
    }

    /// Everything ends: streams still held by somebody learn why.
    pub(crate) fn close_all(&self, cause: &NetworkError) {
        for (_, state) in self.open().drain() {
            state.close_for(cause.clone());
        }
    }
}
