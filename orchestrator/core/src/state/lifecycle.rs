//! Where a node stands with the pool, and whether it is heard.
//!
//! Standings change by [`super::node::Node::enter`], which knows this table and nothing else:
//!
//! | standing | next |
//! |---|---|
//! | `Joining` | `Joining` (tried anew), `Member` (on chain), `Ejected` |
//! | `Member` | `Draining`, `Leaving`, `Ejected`, `Gone`, `Joining` (never beat: ejected on chain, put aside) |
//! | `Draining` | `Draining` (another treatment of batch work), `Member` (undrain), `Leaving`, `Ejected`, `Gone` |
//! | `Leaving` | `Leaving` (another signature), `Gone` (on chain), `Ejected` |
//! | `Ejected` | `Ejected` (banned, or ordered as well), `Joining` (readmitted), `Member` (on chain, where nobody here ordered to eject it) |
//! | `Gone` | `Joining` (says hello again, readmitted), `Member` (on chain), `Ejected` |

use lode_protocol::session::Leave;
use lode_protocol::units::Timestamp;
use minicbor::{Decode, Encode};

use super::admission::Admission;

/// Whether a new member has shown that it works.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub(crate) enum Probation {
    /// Its first complete beat as a member is awaited.
    #[n(0)]
    Awaited {
        #[n(0)]
        since: Timestamp,
        #[n(1)]
        attempts: u32,
    },
    /// It has beaten.
    #[n(1)]
    Passed,
}

/// What the pool and the node agreed.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub(crate) enum NodeLifecycle {
    #[n(0)]
    Joining(#[n(0)] Admission),
    #[n(1)]
    Member(#[n(0)] Probation),
    #[n(2)]
    Draining {
        #[n(0)]
        move_batch: bool,
    },
    #[n(3)]
    Leaving {
        #[n(0)]
        leave: Leave,
        #[n(1)]
        submitted: bool,
    },
    #[n(4)]
    Ejected {
        #[n(0)]
        message: String,
        #[n(1)]
        at: Timestamp,
        /// Whether it was ordered here. Otherwise the chain said so, and may say otherwise when blocks are replaced.
        #[cbor(n(2), default)]
        ordered: bool,
    },
    #[n(5)]
    Gone,
}

impl NodeLifecycle {
    /// The table of this file.
    pub(super) fn may_become(&self, next: &NodeLifecycle) -> bool {
        use NodeLifecycle::{Draining, Ejected, Gone, Joining, Leaving, Member};
        match (self, next) {
            (Joining(_), Joining(_) | Member(_) | Ejected { .. }) => true,
            (Joining(_), Draining { .. } | Leaving { .. } | Gone) => false,
            (Member(_), Draining { .. } | Leaving { .. } | Ejected { .. } | Gone | Joining(_)) => true,
            (Member(_), Member(_)) => false,
            (Draining { .. }, Draining { .. } | Member(_) | Leaving { .. } | Ejected { .. } | Gone) => true,
            (Draining { .. }, Joining(_)) => false,
            (Leaving { .. }, Leaving { .. } | Gone | Ejected { .. }) => true,
            (Leaving { .. }, Joining(_) | Member(_) | Draining { .. }) => false,
            (Ejected { .. }, Ejected { .. } | Joining(_)) => true,
            (Ejected { ordered, .. }, Member(_)) => !ordered,
            (Ejected { .. }, Draining { .. } | Leaving { .. } | Gone) => false,
            (Gone, Joining(_) | Member(_) | Ejected { .. }) => true,
            (Gone, Draining { .. } | Leaving { .. } | Gone) => false,
        }
    }
}

/// Whether a node is heard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Liveness {
    /// Heard in time.
    Alive,
    /// Silent for a while.
    Suspect,
    /// Silent for a lease, or never heard.
    Lost,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_ordered_to_go_does_not_come_back_by_a_block_that_was_replaced() {
        let ejected = |ordered| NodeLifecycle::Ejected { message: String::new(), at: Timestamp(0), ordered };
        let member = NodeLifecycle::Member(Probation::Passed);
        assert!(ejected(false).may_become(&member));
        assert!(!ejected(true).may_become(&member));
        assert!(!NodeLifecycle::Gone.may_become(&NodeLifecycle::Draining { move_batch: false }));
        assert!(!member.may_become(&member));
    }
}
