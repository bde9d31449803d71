//! Why an event was not accepted. The core's state is unchanged then.

use lode_protocol::error_code::ErrorCode;

/// A refused event. A message or result that merely comes late is not refused: it changes nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Rejected {
    /// Something came before [`crate::event::Event::Started`].
    #[error("the worker has not started yet")]
    NotStarted,
    /// Only a member can leave.
    #[error("this node is not a member of the pool")]
    NotMember,
    /// The chain has never answered: nobody knows which membership to end.
    #[error("the chain has never answered, so that nobody knows which membership to end")]
    ChainUnknown,
}

impl Rejected {
    /// Stable code.
    pub fn code(self) -> ErrorCode {
        match self {
            Self::NotStarted => ErrorCode::new("worker/not-started"),
            Self::NotMember => ErrorCode::new("leave/not-member"),
            Self::ChainUnknown => ErrorCode::new("leave/chain-unknown"),
        }
    }
}
