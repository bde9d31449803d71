//! What can be wrong with an address, with a stable code and what to do about it.

use lode_protocol::error_code::ErrorCode;

/// Not an address, or one that must not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not a multiaddress that can be dialled or listened on.
    #[error(
        "{text:?} is not a usable address: {reason}; write it like /ip4/203.0.113.7/tcp/7000/p2p/16Uiu2HA…"
    )]
    BadAddress {
        /// The text (cut to 200 characters).
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Not an URL of an orchestrator.
    #[error("{text:?} is not a usable URL: {reason}")]
    BadUrl {
        /// The text (cut to 200 characters).
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Plain HTTP to another machine.
    #[error(
        "{url} is plain HTTP to another machine, which anybody on the way can read and change; use https:// \
         (a self-signed certificate is pinned by #sha256=…), or a loopback address"
    )]
    PlainHttp {
        /// The URL.
        url: String,
    },
    /// Not the fingerprint of a certificate.
    #[error("{text:?} is no fingerprint of a certificate; it has 64 hexadecimal digits")]
    BadFingerprint {
        /// The text (cut to 200 characters).
        text: String,
    },
    /// No HTTP client can be made for the URL.
    #[error("cannot reach {url}: the HTTP client cannot be made: {reason}")]
    Client {
        /// The URL.
        url: String,
        /// What the libraries said.
        reason: String,
    },
}

impl AddressError {
    /// The stable code of this error.
    pub fn code(&self) -> ErrorCode {
        ErrorCode::new(match self {
            AddressError::BadAddress { .. } => "network/bad-address",
            AddressError::BadUrl { .. } => "network/bad-url",
            AddressError::PlainHttp { .. } => "network/plain-http",
            AddressError::BadFingerprint { .. } => "network/bad-certificate",
            AddressError::Client { .. } => "network/http-failed",
        })
    }

    /// Whether the same attempt may succeed later without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            AddressError::BadAddress { .. }
            | AddressError::BadUrl { .. }
            | AddressError::PlainHttp { .. }
            | AddressError::BadFingerprint { .. } => false,
            AddressError::Client { .. } => true,
        }
    }
}

/// The first 200 characters: what somebody else wrote never fills our logs.
pub(crate) fn cut(text: &str) -> String {
    text.chars().take(200).collect()
}
