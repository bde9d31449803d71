//! What a pool promises, and what came of looking at it. What is done about it: [`super::auditor`].

use lode_chain_types::{Amount, Epoch, Intent, ProvenEarnings, RewardsCall};
use lode_protocol::error_code::ErrorCode;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{Address, NodeId, PoolId};
use lode_protocol::units::Timestamp;
use serde::Serialize;

/// A root in its veto window.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct PostedRoot {
    /// The pool.
    pub pool: PoolId,
    /// The epoch.
    pub epoch: Epoch,
    /// Hash of the tree's top.
    pub root: Digest,
    /// Sum of all leaves.
    pub total: Amount,
    /// Height of the tree.
    pub depth: u8,
    /// When the window closes.
    pub final_at: Timestamp,
}

/// A receipt that is to be paid.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct RequestedRedemption {
    /// The pool.
    pub pool: PoolId,
    /// Who is to be paid.
    pub payee: Address,
    /// Whose work it was.
    pub node: NodeId,
    /// When it was done.
    pub epoch: Epoch,
    /// Everything that the payee has earned by the receipt's word.
    pub cumulative: Amount,
    /// When the window closes.
    pub payable_at: Timestamp,
}

/// What is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Matter {
    /// A root.
    Root(PostedRoot),
    /// A redemption.
    Redemption(RequestedRedemption),
}

impl Matter {
    /// When its veto window is over.
    pub(super) fn closes_at(&self) -> Timestamp {
        match self {
            Matter::Root(posted) => posted.final_at,
            Matter::Redemption(request) => request.payable_at,
        }
    }

    /// What vetoes it.
    pub(super) fn veto(&self, evidence: Digest) -> Intent {
        match self {
            Matter::Root(PostedRoot { pool, epoch, .. }) => {
                Intent::Rewards(RewardsCall::VetoRoot { pool: *pool, epoch: *epoch, evidence })
            }
            Matter::Redemption(RequestedRedemption { pool, payee, .. }) => {
                Intent::Rewards(RewardsCall::VetoRedemption { pool: *pool, payee: *payee, evidence })
            }
        }
    }
}

/// Which look at a matter it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Look {
    /// None has come to its end before. It is to be short: whoever answers slowly must not hold up those whose books are
    /// there at once.
    First,
    /// One could not see everything.
    Again,
}

/// What came of a look.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Audit {
    /// It adds up.
    Right,
    /// It does not.
    Wrong {
        /// Stable code.
        code: ErrorCode,
        /// In words.
        message: String,
    },
    /// It takes something away from the payee at a place.
    Regress(Box<Regress>),
    /// What is needed to see is not there.
    Unavailable {
        /// In words.
        message: String,
    },
}

/// Two paths that refute a root.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Regress {
    /// The place.
    pub index: u64,
    /// What the final root gives.
    pub proven: ProvenEarnings,
    /// What the pending root gives.
    pub other: ProvenEarnings,
}
