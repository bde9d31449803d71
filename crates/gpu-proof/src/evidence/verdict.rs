//! What comes of evidence.

use std::fmt;

use lode_protocol::envelope::{MAX_CLOCK_SKEW, Purpose, Realm};
use lode_protocol::hash::{Digest, keccak256_of};
use lode_protocol::ids::{GpuUuid, NodeId, ValidatorId};
use lode_protocol::units::{Millis, Timestamp};

use super::acquittal::Acquittal;
use crate::error::ProofError;

/// The judgement of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The node signed something false.
    Guilty {
        /// What it did, and to whom.
        deed: Deed,
        /// What is false.
        guilt: Guilt,
    },
    /// The file shows nothing of the kind.
    Innocent(Acquittal),
}

/// Which proof, of whom, for whom. Whoever judges an accusation compares it with what is accused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deed {
    /// Chain and deployment.
    pub realm: Realm,
    /// Who signed.
    pub node: NodeId,
    /// Whose challenge it was.
    pub validator: ValidatorId,
    /// Which GPU was to be proven.
    pub gpu: GpuUuid,
    /// The challenge's `Start`.
    pub start: Digest,
    /// When it was signed, by the node's clock. A validator takes no answer that is from the future or has expired, nor
    /// one that counts for longer than [`MAX_ANSWER_LIFETIME`]: so the deed was done within [`Deed::span`].
    pub at: Timestamp,
}

/// Longest time that a node's answer may count. One that counts for longer does not say when it was given.
pub const MAX_ANSWER_LIFETIME: Millis = Purpose::Answer.longest_validity();

impl Deed {
    /// The earliest and the latest time at which a validator took the node's answer.
    #[must_use]
    pub fn span(&self) -> (Timestamp, Timestamp) {
        let earliest = self.at.minus(MAX_CLOCK_SKEW);
        (earliest, self.at.plus(MAX_ANSWER_LIFETIME).plus(MAX_CLOCK_SKEW))
    }

    /// The same for all files about one GPU in one challenge: nobody is judged twice for one deed.
    #[must_use]
    pub fn id(&self) -> Digest {
        keccak256_of([
            b"Lode deed v1".as_slice(),
            &self.node.0.0,
            &self.start.0,
            self.gpu.as_str().as_bytes(),
        ])
    }
}

/// What is false.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guilt {
    /// The opening fails this check.
    Opening(ProofError),
    /// The node committed to two different things.
    TwoCommits,
}

impl fmt::Display for Guilt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opening(error) => fmt::Display::fmt(error, f),
            Self::TwoCommits => f.write_str("the node committed to two different things in one challenge"),
        }
    }
}

impl Verdict {
    /// Whether it is guilty.
    #[must_use]
    pub const fn is_guilty(&self) -> bool {
        match self {
            Self::Guilty { .. } => true,
            Self::Innocent(_) => false,
        }
    }
}
