//! Deadlines in their order. A timer is never cancelled: whoever is woken looks whether the reason still holds.

use std::collections::BTreeSet;

use lode_protocol::ids::{AssignmentId, NodeId, ReplicaId};
use lode_protocol::units::Millis;

/// Why the core wants to be woken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Timer {
    /// A node's lease may have run out.
    Lease(NodeId),
    /// A step of a node's admission, or its first beat, may be overdue.
    Admission(NodeId),
    /// A node's conflict may have healed.
    Conflict(NodeId),
    /// Something that must not run should have gone from a node.
    Orphans(NodeId),
    /// A leave must go to the chain before its signature expires.
    Leave(NodeId),
    /// A replica's back-off is over.
    Retry(ReplicaId),
    /// An assignment should have been reported on.
    Start(AssignmentId),
    /// An assignment should have stopped.
    Stop(AssignmentId),
    /// A node that failed may be tried again.
    Trial(NodeId),
    /// A node's usage should be durable.
    Checkpoint(NodeId),
    /// More of the epoch's usage becomes receipts.
    Close,
}

/// All deadlines.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timers(BTreeSet<(Millis, Timer)>);

impl Timers {
    pub(crate) fn set(&mut self, due: Millis, timer: Timer) {
        self.0.insert((due, timer));
    }

    pub(crate) fn next_due(&self) -> Option<Millis> {
        self.0.first().map(|(due, _)| *due)
    }

    pub(crate) fn pop_due(&mut self, now: Millis) -> Option<(Millis, Timer)> {
        if self.next_due()? > now {
            return None;
        }
        self.0.pop_first()
    }
}

/// A moment `wait` after `now`.
pub(crate) fn after(now: Millis, wait: Millis) -> Millis {
    Millis(now.0.saturating_add(wait.0))
}
