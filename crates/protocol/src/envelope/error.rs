//! Why an envelope was refused.

use super::{Audience, OuterForm, Purpose, Realm, WIRE_VERSION};
use crate::error_code::ErrorCode;
use crate::ids::Address;
use crate::units::{Millis, Timestamp};

/// Why an envelope was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Larger than its purpose allows.
    #[error("the message has {size} bytes; at most {limit} are accepted")]
    TooLarge {
        /// Bytes received.
        size: usize,
        /// Bytes accepted.
        limit: usize,
    },
    /// Not an envelope, or a body that is not of its type.
    #[error("the message cannot be decoded: {0}")]
    Malformed(String),
    /// Another spelling of the outer form than the one that is accepted.
    #[error("the message has {0}; send it as it was sealed: its outer form has one spelling")]
    NotCanonical(OuterForm),
    /// Another protocol version.
    #[error("the message speaks wire version {got}; this program speaks version {WIRE_VERSION}")]
    UnsupportedVersion {
        /// Version received.
        got: u8,
    },
    /// Signed for something else.
    #[error("the message was signed as {got:?}, expected {expected:?}")]
    WrongPurpose {
        /// Purpose expected.
        expected: Purpose,
        /// Purpose received.
        got: Purpose,
    },
    /// Over before it began.
    #[error(
        "the message was issued at {issued_at} and expired before, at {expires_at}: seal it with a lifetime"
    )]
    ExpiresBeforeIssue {
        /// When it says it was signed.
        issued_at: Timestamp,
        /// End of its validity.
        expires_at: Timestamp,
    },
    /// A copy of it would be of use for too long.
    #[error(
        "the message counts for {validity}; as {purpose:?} it may count for {limit}: seal it anew when it is sent"
    )]
    CountsTooLong {
        /// What it is for.
        purpose: Purpose,
        /// From issue to expiry.
        validity: Millis,
        /// The longest that is accepted.
        limit: Millis,
    },
    /// Too old.
    #[error(
        "the message was issued at {issued_at} and expired at {expired_at}, it is {now}: it was long under way, or the \
         sender's clock is {} the receiver's",
        ClockDifference::between(*issued_at, *now)
    )]
    Expired {
        /// When it says it was signed.
        issued_at: Timestamp,
        /// End of its validity.
        expired_at: Timestamp,
        /// The receiver's time.
        now: Timestamp,
    },
    /// From the future.
    #[error(
        "the message was issued at {issued_at}, it is only {now}: the sender's clock is {} the receiver's",
        ClockDifference::between(*issued_at, *now)
    )]
    NotYetValid {
        /// When it says it was signed.
        issued_at: Timestamp,
        /// The receiver's time.
        now: Timestamp,
    },
    /// Meant for whoever gets hold of it.
    #[error("the message is addressed to anybody; as {purpose:?} it must name who it is for")]
    NotAddressed {
        /// What it is for.
        purpose: Purpose,
    },
    /// Meant for somebody else.
    #[error("the message is addressed to {got:?}, not to {expected}")]
    WrongAudience {
        /// The receiver.
        expected: Address,
        /// Who was addressed.
        got: Audience,
    },
    /// Of another chain, deployment or pool.
    #[error("the message belongs to pool {got:?}, this is pool {expected:?}")]
    WrongRealm {
        /// The receiver's realm.
        expected: Realm,
        /// The message's realm.
        got: Realm,
    },
    /// Signed by somebody else than expected.
    #[error("the message was signed by {got}, expected {expected}")]
    WrongSigner {
        /// Who should have signed.
        expected: Address,
        /// Who signed.
        got: Address,
    },
    /// The signature does not verify.
    #[error("the signature does not verify")]
    BadSignature,
    /// The tag is not this session's.
    #[error("the answer was not made with the key of this session")]
    BadTag,
}

impl EnvelopeError {
    /// The stable code of this error.
    pub fn code(&self) -> ErrorCode {
        ErrorCode::new(match self {
            EnvelopeError::TooLarge { .. } => "envelope/too-large",
            EnvelopeError::Malformed(_) => "envelope/malformed",
            EnvelopeError::NotCanonical(OuterForm::Indefinite) => "envelope/indefinite-length",
            EnvelopeError::NotCanonical(OuterForm::ExtraElements) => "envelope/extra-elements",
            EnvelopeError::NotCanonical(OuterForm::LongLength) => "envelope/long-length",
            EnvelopeError::UnsupportedVersion { .. } => "envelope/unsupported-version",
            EnvelopeError::WrongPurpose { .. } => "envelope/wrong-purpose",
            EnvelopeError::ExpiresBeforeIssue { .. } => "envelope/expires-before-issue",
            EnvelopeError::CountsTooLong { .. } => "envelope/counts-too-long",
            EnvelopeError::NotAddressed { .. } => "envelope/not-addressed",
            EnvelopeError::Expired { .. } => "envelope/expired",
            EnvelopeError::NotYetValid { .. } => "envelope/not-yet-valid",
            EnvelopeError::WrongAudience { .. } => "envelope/wrong-audience",
            EnvelopeError::WrongRealm { .. } => "envelope/wrong-pool",
            EnvelopeError::WrongSigner { .. } => "envelope/wrong-signer",
            EnvelopeError::BadSignature => "envelope/bad-signature",
            EnvelopeError::BadTag => "envelope/bad-tag",
        })
    }
}

/// How a sender's clock differs from the receiver's, as far as a message tells that has only just been sent. As text: `45s
/// ahead of`, `2m behind`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClockDifference {
    /// The sender's is ahead; else it is behind.
    pub ahead: bool,
    /// By so much, in whole seconds.
    pub by: Millis,
}

impl ClockDifference {
    fn between(sent: Timestamp, received: Timestamp) -> Self {
        let seconds = sent.0.abs_diff(received.0).saturating_add(500) / 1_000;
        Self { ahead: sent > received, by: Millis::seconds(seconds) }
    }
}

impl std::fmt::Display for ClockDifference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.by, if self.ahead { "ahead of" } else { "behind" })
    }
}

impl EnvelopeError {
    /// How the sender's clock differs from ours, where that is what is wrong.
    pub fn clock_difference(&self) -> Option<ClockDifference> {
        match self {
            EnvelopeError::Expired { issued_at, now, .. } | EnvelopeError::NotYetValid { issued_at, now } => {
                Some(ClockDifference::between(*issued_at, *now))
            }
            _ => None,
        }
    }
}
