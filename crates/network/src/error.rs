//! Everything that can go wrong between two programs, with a stable code and what to do about it.

use std::time::Duration;

use lode_address::AddressError;
use lode_protocol::error_code::ErrorCode;

/// A failure of the network or of the peer at its other end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// Not an address, or one that must not be used.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A certificate or key that cannot be read or used.
    #[error("the certificate cannot be used: {reason}; give PEM files of a chain and its private key")]
    BadCertificate {
        /// What is wrong with it.
        reason: String,
    },
    /// A listener could not be opened.
    #[error("cannot listen on {address}: {reason}; choose another port or stop the program that holds it")]
    Listen {
        /// Where.
        address: String,
        /// What the system said.
        reason: String,
    },
    /// A dial without saying who is expected.
    #[error("{address} names no peer and none was expected; add /p2p/… to the address")]
    NoExpectedPeer {
        /// The address.
        address: String,
    },
    /// Nobody answered in time.
    #[error("{address} did not answer within {after:?}; check the address, the peer and firewalls")]
    DialTimeout {
        /// The address.
        address: String,
        /// The deadline.
        after: Duration,
    },
    /// The connection could not be made.
    #[error("cannot connect to {address}: {reason}")]
    Dial {
        /// The address.
        address: String,
        /// What happened.
        reason: String,
    },
    /// Somebody else answered.
    #[error(
        "{address} is answered by {got}, expected {expected}: refused; check the address, or somebody is in between"
    )]
    PeerMismatch {
        /// The address.
        address: String,
        /// Who was expected.
        expected: String,
        /// Who answered.
        got: String,
    },
    /// A peer whose identity is not a secp256k1 key.
    #[error("the peer's identity is not a secp256k1 key, so that it has no address: refused")]
    UnsupportedPeer,
    /// Our own limits refuse the connection.
    #[error("the connection was refused: {reason}")]
    Denied {
        /// Which limit.
        reason: String,
    },
    /// A stream was not opened in time.
    #[error("the peer did not open a stream within {after:?}")]
    OpenTimeout {
        /// The deadline.
        after: Duration,
    },
    /// The peer does not speak this protocol.
    #[error("the peer does not speak {protocol}; it may run another version or be another program")]
    UnsupportedProtocol {
        /// Name of the protocol.
        protocol: &'static str,
    },
    /// The program listens for this protocol already.
    #[error("{protocol} is accepted elsewhere in this program")]
    AlreadyAccepting {
        /// Name of the protocol.
        protocol: &'static str,
    },
    /// The connection or stream has ended.
    #[error("the connection was closed: {reason}")]
    Closed {
        /// What is known about why.
        reason: String,
    },
    /// Closed to make room.
    #[error("the connection was closed to make room: {reason}")]
    Evicted {
        /// For what.
        reason: &'static str,
    },
    /// The peer fell silent.
    #[error("the peer answered no keep-alive and was disconnected")]
    KeepaliveFailed,
    /// The peer reads too slowly.
    #[error("the peer does not read what it is sent and was disconnected")]
    SlowReader,
    /// A frame over the cap.
    #[error("a frame of {size} bytes was announced; at most {limit} are accepted")]
    FrameTooLarge {
        /// Bytes announced or given.
        size: u64,
        /// Bytes accepted.
        limit: usize,
    },
    /// A frame without content.
    #[error("an empty frame was received or given; a frame holds one sealed message")]
    FrameEmpty,
    /// A frame was begun and not ended in the time that its size allows.
    #[error(
        "a frame of {announced} bytes was not whole in time, {received} of them came; send frames faster, or allow slower \
         ones"
    )]
    FrameTooSlow {
        /// Bytes of it that came.
        received: usize,
        /// Bytes announced; 0 where not even that was said.
        announced: usize,
    },
    /// Whoever opened the stream did not speak.
    #[error("whoever opened the stream said nothing; the first frame has to follow at once")]
    NoFirstFrame,
    /// A write was not taken in time.
    #[error("the peer did not take the data within {after:?}")]
    WriteTimeout {
        /// The deadline.
        after: Duration,
    },
    /// Nothing came in time. Nothing is lost: the wait may be repeated.
    #[error("nothing was received within {after:?}")]
    ReceiveTimeout {
        /// The deadline.
        after: Duration,
    },
    /// There is no connection to send on.
    #[error("there is no connection to send on; wait for the next Connected event")]
    NotConnected,
    /// Too much waits to be sent.
    #[error("too many frames wait to be sent; send again when some have left")]
    QueueFull,
    /// The HTTPS fallback was left for libp2p.
    #[error("libp2p works again: the HTTPS fallback was left")]
    Superseded,
    /// The program asked for a new connection.
    #[error("the connection was closed for a new one")]
    Reconnecting,
    /// The certificate is not the pinned one.
    #[error(
        "{url} shows another certificate than the pinned one: refused; fetch the pool's current fingerprint"
    )]
    PinMismatch {
        /// The URL.
        url: String,
    },
    /// No HTTP answer in time.
    #[error("{url} did not answer within {after:?}")]
    HttpTimeout {
        /// The URL.
        url: String,
        /// The deadline.
        after: Duration,
    },
    /// The HTTP exchange failed.
    #[error("cannot reach {url}: {reason}")]
    Http {
        /// The URL.
        url: String,
        /// What happened.
        reason: String,
    },
    /// The server refused the transport, not the message.
    #[error("{url} refused with status {status} ({code})")]
    HttpRefused {
        /// The URL.
        url: String,
        /// HTTP status.
        status: u16,
        /// The problem's code, where one was given (cut to 64 characters).
        code: String,
    },
}

impl NetworkError {
    /// The stable code of this error.
    pub fn code(&self) -> ErrorCode {
        ErrorCode::new(match self {
            NetworkError::Address(error) => return error.code(),
            NetworkError::BadCertificate { .. } => "network/bad-certificate",
            NetworkError::Listen { .. } => "network/listen-failed",
            NetworkError::NoExpectedPeer { .. } => "network/no-expected-peer",
            NetworkError::DialTimeout { .. } => "network/dial-timeout",
            NetworkError::Dial { .. } => "network/dial-failed",
            NetworkError::PeerMismatch { .. } => "network/peer-mismatch",
            NetworkError::UnsupportedPeer => "network/unsupported-peer",
            NetworkError::Denied { .. } => "network/denied",
            NetworkError::OpenTimeout { .. } => "network/open-timeout",
            NetworkError::UnsupportedProtocol { .. } => "network/unsupported-protocol",
            NetworkError::AlreadyAccepting { .. } => "network/already-accepting",
            NetworkError::Closed { .. } => "network/closed",
            NetworkError::Evicted { .. } => "network/evicted",
            NetworkError::KeepaliveFailed => "network/keepalive-failed",
            NetworkError::SlowReader => "network/slow-reader",
            NetworkError::FrameTooLarge { .. } => "network/frame-too-large",
            NetworkError::FrameEmpty => "network/frame-empty",
            NetworkError::FrameTooSlow { .. } => "network/frame-too-slow",
            NetworkError::NoFirstFrame => "network/no-first-frame",
            NetworkError::WriteTimeout { .. } => "network/write-timeout",
            NetworkError::ReceiveTimeout { .. } => "network/receive-timeout",
            NetworkError::NotConnected => "network/not-connected",
            NetworkError::QueueFull => "network/queue-full",
            NetworkError::Superseded => "network/superseded",
            NetworkError::Reconnecting => "network/reconnecting",
            NetworkError::PinMismatch { .. } => "network/pin-mismatch",
            NetworkError::HttpTimeout { .. } => "network/http-timeout",
            NetworkError::Http { .. } => "network/http-failed",
            NetworkError::HttpRefused { .. } => "network/http-refused",
        })
    }

    /// Whether the same attempt may succeed later without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            NetworkError::Address(error) => error.is_transient(),
            NetworkError::BadCertificate { .. }
            | NetworkError::NoExpectedPeer { .. }
            | NetworkError::PeerMismatch { .. }
            | NetworkError::UnsupportedPeer
            | NetworkError::UnsupportedProtocol { .. }
            | NetworkError::AlreadyAccepting { .. }
            | NetworkError::FrameTooLarge { .. }
            | NetworkError::FrameEmpty
            | NetworkError::PinMismatch { .. } => false,
            NetworkError::Listen { .. }
            | NetworkError::DialTimeout { .. }
            | NetworkError::Dial { .. }
            | NetworkError::Denied { .. }
            | NetworkError::OpenTimeout { .. }
            | NetworkError::Closed { .. }
            | NetworkError::Evicted { .. }
            | NetworkError::KeepaliveFailed
            | NetworkError::SlowReader
            | NetworkError::FrameTooSlow { .. }
            | NetworkError::NoFirstFrame
            | NetworkError::WriteTimeout { .. }
            | NetworkError::ReceiveTimeout { .. }
            | NetworkError::NotConnected
            | NetworkError::QueueFull
            | NetworkError::Superseded
            | NetworkError::Reconnecting
            | NetworkError::HttpTimeout { .. }
            | NetworkError::Http { .. } => true,
            NetworkError::HttpRefused { status, .. } => *status >= 500 || *status == 408 || *status == 429,
        }
    }

    pub(crate) fn closed(reason: impl ToString) -> Self {
        NetworkError::Closed { reason: cut(&reason.to_string(), 200) }
    }
}

/// The first `limit` characters: text of a peer never fills our logs.
pub(crate) fn cut(text: &str, limit: usize) -> String {
    text.chars().take(limit).collect()
}
