//! One budget for the unfinished frames of all peers without standing.
//!
//! A frame that never ends costs its sender nothing, and its receiver a buffer. So buffers grow with what has arrived, and
//! when all of them together reach the budget, the frame that was begun first gives way with its connection, and then the
//! next. Whoever has standing is not counted here and never gives way.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::endpoint::{ConnectionState, Connections};
use crate::metrics::NetworkMetrics;

/// The reason under which it is counted and told.
const FULL: &str = "unfinished-frames";

/// The budget, and what is taken of it.
#[derive(Debug)]
pub(crate) struct Unfinished {
    budget: usize,
    connections: Arc<Connections>,
    metrics: NetworkMetrics,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    bytes: usize,
    number: u64,
    /// By the order in which the frames were begun.
    frames: BTreeMap<u64, Frame>,
}

#[derive(Debug)]
struct Frame {
    bytes: usize,
    state: Arc<ConnectionState>,
}

/// What one frame takes; dropped with it.
#[derive(Debug)]
pub(crate) struct Share {
    unfinished: Arc<Unfinished>,
    state: Arc<ConnectionState>,
    number: u64,
}

impl Unfinished {
    pub(crate) fn new(budget: usize, connections: Arc<Connections>, metrics: NetworkMetrics) -> Arc<Self> {
        Arc::new(Self { budget, connections, metrics, held: Mutex::default() })
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that are reserved for unfinished frames of peers without standing.
    pub(crate) fn bytes(&self) -> usize {
        self.held().bytes
    }

    /// A frame is begun.
    pub(crate) fn begin(self: &Arc<Self>, state: &Arc<ConnectionState>) -> Share {
        let mut held = self.held();
        held.number += 1;
        let number = held.number;
        held.frames.insert(number, Frame { bytes: 0, state: Arc::clone(state) });
        Share { unfinished: Arc::clone(self), state: Arc::clone(state), number }
    }

    fn release(&self, held: &mut Held, number: u64) -> Option<Arc<ConnectionState>> {
        let frame = held.frames.remove(&number)?;
        held.bytes -= frame.bytes;
        self.metrics.unfinished.set(i64::try_from(held.bytes).unwrap_or(i64::MAX));
        Some(frame.state)
    }
}

impl Share {
    /// Takes room for so many bytes of this frame in all; others give way for it. False: this frame itself has given way.
    pub(crate) fn grow(&self, bytes: usize) -> bool {
        let unfinished = &self.unfinished;
        let mut held = unfinished.held();
        loop {
            // Vouched for between the caller's look and this one, it counts no longer.
            let Some(own) = held.frames.get(&self.number) else { return self.state.has_standing() };
            let others = held.bytes - own.bytes;
            if others.saturating_add(bytes) <= unfinished.budget {
                break;
            }
            let oldest = held.frames.keys().next().copied();
            let Some((oldest, state)) =
                oldest.and_then(|oldest| Some((oldest, unfinished.release(&mut held, oldest)?)))
            else {
                return self.state.has_standing();
            };
            if unfinished.connections.give_way(&state, FULL) {
                unfinished.metrics.evict(FULL);
            }
            if oldest == self.number {
                // Vouched for at this moment: it counts no longer.
                return state.has_standing();
            }
        }
        let mut before = 0;
        if let Some(own) = held.frames.get_mut(&self.number) {
            before = std::mem::replace(&mut own.bytes, bytes);
        }
        held.bytes = held.bytes - before + bytes;
        unfinished.metrics.unfinished.set(i64::try_from(held.bytes).unwrap_or(i64::MAX));
        true
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.unfinished.held();
        // Gone already if it gave way.
        self.unfinished.release(&mut held, self.number);
    }
}

#[cfg(test)]
mod tests {
    use lode_protocol::ids::Address;
    use tokio::sync::mpsc;

    use super::*;
    use crate::endpoint::ConnectionId;
    use crate::error::NetworkError;
    use crate::frame::Carrier as _;

    const BUDGET: usize = 1_000;

    struct Bench {
        unfinished: Arc<Unfinished>,
        closing: mpsc::UnboundedReceiver<ConnectionId>,
    }

    impl Bench {
        fn new() -> Self {
            let (connections, closing) = Connections::new();
            Self { unfinished: Unfinished::new(BUDGET, connections, NetworkMetrics::default()), closing }
        }

        fn begin(&self) -> (Arc<ConnectionState>, Share) {
            let state = ConnectionState::incoming(Address::ZERO, None, false);
            let share = self.unfinished.begin(&state);
            (state, share)
        }
    }

    #[test]
    fn of_unfinished_frames_the_oldest_gives_way_and_the_budget_is_never_exceeded() {
        let mut bench = Bench::new();
        let frames: Vec<_> = (0..10).map(|_| bench.begin()).collect();
        for (_, share) in &frames {
            assert!(share.grow(300));
            assert!(bench.unfinished.bytes() <= BUDGET);
        }
        for (number, (state, share)) in frames.iter().enumerate() {
            let gave_way = number < 7;
            assert_eq!(state.cause().is_some(), gave_way, "{number}");
            assert_eq!(share.grow(300), !gave_way, "whoever gave way gets nothing more");
        }
        let closed: Vec<ConnectionId> = std::iter::from_fn(|| bench.closing.try_recv().ok()).collect();
        let oldest: Vec<ConnectionId> = frames.iter().take(7).map(|(state, _)| state.id).collect();
        assert_eq!(closed, oldest, "their connections are closed, each once");
        drop(frames);
        assert_eq!(bench.unfinished.bytes(), 0);
    }

    #[test]
    fn whoever_was_vouched_for_is_never_the_one_that_gives_way() {
        let mut bench = Bench::new();
        let (vouched, oldest) = bench.begin();
        assert!(oldest.grow(900));
        assert!(vouched.vouch());
        let (second, share) = bench.begin();
        assert!(share.grow(600), "what the vouched one holds counts no longer");
        assert!(oldest.grow(950), "nor does it have to ask any more");
        let (third, newest) = bench.begin();
        assert!(newest.grow(600));
        assert_eq!(vouched.cause(), None);
        assert_eq!(second.cause(), Some(NetworkError::Evicted { reason: FULL }));
        assert!(!second.vouch(), "vouching comes too late");
        assert_eq!(third.cause(), None);
        assert_eq!(bench.closing.try_recv().ok(), Some(second.id));
        assert!(bench.closing.try_recv().is_err());
    }

    #[test]
    fn a_frame_beyond_the_whole_budget_gives_way_itself() {
        let bench = Bench::new();
        let (state, share) = bench.begin();
        assert!(share.grow(BUDGET));
        assert!(!share.grow(BUDGET + 1));
        assert!(state.cause().is_some());
        assert_eq!(bench.unfinished.bytes(), 0);
    }
}
