//! Why a file shows no guilt.

use lode_protocol::envelope::EnvelopeError;
use thiserror::Error;

use crate::error::ProofError;

/// The largest file that is looked at. The largest answer of a node, and the demands around it, fit.
pub const MAX_EVIDENCE_BYTES: usize = 9 << 20;

/// Why the node is innocent as far as this file goes.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Acquittal {
    /// Not looked at.
    #[error("the file has {bytes} bytes, at most {MAX_EVIDENCE_BYTES} are looked at")]
    TooLarge { bytes: usize },
    /// Not a file of evidence.
    #[error("the file cannot be read as evidence: {0}")]
    Malformed(String),
    /// The parameters are none, or others than the challenge's.
    #[error("the parameters are not those of the challenge: {0}")]
    Params(String),
    /// A message in it is not what it should be, or its signature does not verify.
    #[error("{what} does not count: {error}")]
    Message { what: &'static str, error: EnvelopeError },
    /// The messages are not of one conversation between the same two.
    #[error("{what} is of another conversation: {reason}")]
    Unbound { what: &'static str, reason: &'static str },
    /// The node's message counts for so long that it does not say when it was given.
    #[error("{what} does not say when it was given")]
    NoTime { what: &'static str },
    /// The demand is not one that a validator may make.
    #[error("the validator asked for something it may not ask for: {0}")]
    UnlawfulDemand(&'static str),
    /// The node's bytes are no opening. Whoever says nothing says nothing false.
    #[error("what the node opened cannot be read, so it says nothing false: {0}")]
    Unreadable(ProofError),
    /// Everything that was checked is true.
    #[error("nothing in it is false")]
    NothingFalse,
}

impl Acquittal {
    /// The stable code, `evidence/reason`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "evidence/too-large",
            Self::Malformed(_) => "evidence/malformed",
            Self::Params(_) => "evidence/params",
            Self::Message { .. } => "evidence/bad-message",
            Self::Unbound { .. } => "evidence/unbound",
            Self::NoTime { .. } => "evidence/no-time",
            Self::UnlawfulDemand(_) => "evidence/unlawful-demand",
            Self::Unreadable(_) => "evidence/unreadable-opening",
            Self::NothingFalse => "evidence/nothing-false",
        }
    }
}
