//! What is known about a second process with a node's key; what follows is in [`crate::conflict`].

use lode_protocol::units::Millis;

/// What is known about a second process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Conflict {
    None,
    Suspected { at: Millis },
    Confirmed { last: Millis },
}

impl Conflict {
    pub(crate) fn is_confirmed(self) -> bool {
        match self {
            Conflict::Confirmed { .. } => true,
            Conflict::None | Conflict::Suspected { .. } => false,
        }
    }

    pub(crate) fn with_evidence(self, now: Millis, lease: Millis) -> Conflict {
        match self {
            Conflict::Suspected { at } if now.0.saturating_sub(at.0) <= lease.0 => {
                Conflict::Confirmed { last: now }
            }
            Conflict::None | Conflict::Suspected { .. } => Conflict::Suspected { at: now },
            Conflict::Confirmed { .. } => Conflict::Confirmed { last: now },
        }
    }
}
