//! Why an event was not accepted. The core's state is unchanged then.

use lode_protocol::error_code::ErrorCode;
use lode_protocol::ids::NodeId;
use lode_protocol::units::Timestamp;

/// A refused event.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Rejected {
    /// A descriptor whose time is over.
    #[error("the descriptor of node {node} expired at {expired_at}")]
    Expired {
        /// Whose.
        node: NodeId,
        /// When.
        expired_at: Timestamp,
    },
    /// As many nodes are known as may be.
    #[error("node {node} is one too many: {limit} nodes are known")]
    TooManyNodes {
        /// The one too many.
        node: NodeId,
        /// How many may be known.
        limit: usize,
    },
}

impl Rejected {
    /// The stable code.
    pub fn code(&self) -> ErrorCode {
        ErrorCode::new(match self {
            Self::Expired { .. } => "descriptor/expired",
            Self::TooManyNodes { .. } => "validator/too-many-nodes",
        })
    }
}
