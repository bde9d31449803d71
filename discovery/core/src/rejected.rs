//! Why an event was not accepted. The core's state is unchanged then.

use lode_protocol::error_code::ErrorCode;
use lode_protocol::ids::NodeId;
use lode_protocol::units::{Millis, Timestamp};

/// A refusal: of an event at once, or of a publication later.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Rejected {
    /// A newer one, or another one of the same version, is known.
    #[error(
        "a descriptor of boot {boot}, sequence {sequence} is known already: publish one with a higher sequence"
    )]
    Stale {
        /// Boot of the known one.
        boot: u64,
        /// Sequence of the known one.
        sequence: u64,
    },
    /// Its time is over.
    #[error("the descriptor expired at {expired_at}")]
    Expired {
        /// When.
        expired_at: Timestamp,
    },
    /// The chain does not know the node.
    #[error("node {0} is not registered on chain")]
    NotRegistered(NodeId),
    /// The node's provider has too little stake.
    #[error("the stake of node {0}'s provider does not cover its nodes")]
    NotEligible(NodeId),
    /// The chain cannot be asked: nothing is known, which is not a no.
    #[error("the chain cannot be asked whether the node is registered: {0}")]
    ChainUnknown(String),
    /// The node publishes too often.
    #[error("too many publications of this node; the next one is taken in {retry_after}")]
    TooOften {
        /// When the next one is taken.
        retry_after: Millis,
    },
    /// As many publications as may wait are waiting for the chain or the disk.
    #[error("too many publications wait")]
    Busy,
    /// The directory holds as many nodes as it may.
    #[error("the directory is full")]
    Full,
    /// It is listed, and was not made durable.
    #[error("the descriptor cannot be stored: {0}")]
    NotStored(String),
}

impl Rejected {
    /// The stable code.
    pub fn code(&self) -> ErrorCode {
        ErrorCode::new(match self {
            Self::Stale { .. } => "descriptor/stale",
            Self::Expired { .. } => "descriptor/expired",
            Self::NotRegistered(_) => "node/not-registered",
            Self::NotEligible(_) => "node/not-eligible",
            Self::ChainUnknown(_) => "chain/unreachable",
            Self::TooOften { .. } => "limit/too-many-publications",
            Self::Busy => "limit/directory-busy",
            Self::Full => "limit/directory-full",
            Self::NotStored(_) => "store/behind",
        })
    }
}
