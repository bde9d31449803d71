//! What the chain says about a node, as far as it was heard.

use crate::event::{ChainMembership, MembershipState, Proof, Registration};

/// Something that an outside authority knows and the core may not have heard yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Known<T> {
    /// Not heard yet. Never the same as "no".
    Unknown,
    /// Heard.
    Is(T),
}

/// What the chain says about a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ChainFacts {
    pub(crate) registration: Known<Option<Registration>>,
    pub(crate) membership: Known<ChainMembership>,
    pub(crate) proof: Known<Option<Proof>>,
}

impl ChainFacts {
    pub(crate) const UNKNOWN: ChainFacts =
        ChainFacts { registration: Known::Unknown, membership: Known::Unknown, proof: Known::Unknown };

    pub(crate) fn registration(&self) -> Option<Registration> {
        match self.registration {
            Known::Unknown | Known::Is(None) => None,
            Known::Is(Some(registration)) => Some(registration),
        }
    }

    /// Whether the contract counts the node as a member now.
    pub(crate) fn is_active_member(&self) -> bool {
        match self.membership {
            Known::Unknown => false,
            Known::Is(membership) => membership.state == MembershipState::Member { active: true },
        }
    }

    /// Whether the contract has the node as a member, active or not.
    pub(crate) fn is_member(&self) -> bool {
        match self.membership {
            Known::Unknown => false,
            Known::Is(membership) => matches!(membership.state, MembershipState::Member { .. }),
        }
    }

    /// The proof that counts now.
    pub(crate) fn proof(&self) -> Option<Proof> {
        match self.proof {
            Known::Unknown => None,
            Known::Is(proof) => proof,
        }
    }

    pub(crate) fn proven_class(&self) -> Option<u32> {
        self.proof().map(|proof| proof.class)
    }
}
