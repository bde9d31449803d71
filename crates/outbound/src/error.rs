//! Why there is no answer.

use std::time::Duration;

use lode_protocol::error_code::ErrorCode;

/// What was waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Awaited {
    /// A connection.
    Connection,
    /// The head of the answer.
    Head,
    /// More of its body.
    More,
    /// The end of it.
    End,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutboundError {
    /// Not a URL that may be asked at all.
    #[error("{url} cannot be asked: {reason}")]
    BadUrl {
        /// The URL, cut.
        url: String,
        /// Why not.
        reason: String,
    },
    /// It leads into a network that is not public.
    #[error("{host} has no public address, and this program was not told to trust it")]
    NotPublic {
        /// The host.
        host: String,
    },
    /// Nobody answers, or it broke off.
    #[error("{host} cannot be reached: {reason}")]
    Unreachable {
        /// The host.
        host: String,
        /// In words.
        reason: String,
    },
    /// Out of time.
    #[error("{host} did not {} within {after:?}", match awaited {
        Awaited::Connection => "take a connection",
        Awaited::Head => "send the head of its answer",
        Awaited::More => "send more of its answer",
        Awaited::End => "send all of its answer",
    })]
    Timeout {
        /// The host.
        host: String,
        /// What was waited for.
        awaited: Awaited,
        /// The deadline.
        after: Duration,
    },
    /// It sends next to nothing.
    #[error("{host} sends less than {least} bytes a second")]
    TooSlow {
        /// The host.
        host: String,
        /// Bytes a second that are asked of it.
        least: u64,
    },
    /// Too much.
    #[error("the answer of {host} has more than {limit} bytes")]
    TooLarge {
        /// The host.
        host: String,
        /// Bytes accepted.
        limit: usize,
    },
    /// Sent around.
    #[error("{host} redirects too often")]
    TooManyRedirects {
        /// The host that was asked first.
        host: String,
    },
    /// It answered something else than 200.
    #[error("{host} answered {status}")]
    Refused {
        /// The host.
        host: String,
        /// HTTP status.
        status: u16,
    },
}

impl OutboundError {
    /// Stable code.
    pub fn code(&self) -> ErrorCode {
        ErrorCode::new(match self {
            OutboundError::BadUrl { .. } => "fetch/bad-url",
            OutboundError::NotPublic { .. } => "fetch/not-public",
            OutboundError::Unreachable { .. } => "fetch/unreachable",
            OutboundError::Timeout { .. } => "fetch/timeout",
            OutboundError::TooSlow { .. } => "fetch/too-slow",
            OutboundError::TooLarge { .. } => "fetch/too-large",
            OutboundError::TooManyRedirects { .. } => "fetch/too-many-redirects",
            OutboundError::Refused { .. } => "fetch/refused",
        })
    }
}
