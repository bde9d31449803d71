//! Handles to answer one frame with.

use std::fmt;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{Hub, Peer};
use crate::error::NetworkError;
use crate::frame::check_size;

/// What comes after an answer to a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Afterwards {
    /// The connection stays for the next request.
    Stay,
    /// It is closed: whoever was refused is not kept a place for.
    Close,
}

/// A frame on its way to a peer.
pub(super) enum Outgoing {
    /// The bytes.
    Made(Vec<u8>),
    /// Made in the peer's own task, when it is written.
    Later(Box<dyn FnOnce() -> Vec<u8> + Send>),
}

impl Outgoing {
    /// The bytes, if they are what may be sent. A frame that was promised and cannot be sent is a fault of the program:
    /// it is told, and the peer asks again.
    pub(super) fn make(self, limit: usize) -> Option<Vec<u8>> {
        let bytes = match self {
            Outgoing::Made(bytes) => return Some(bytes),
            Outgoing::Later(make) => make(),
        };
        match check_size(&bytes, limit) {
            Ok(()) => Some(bytes),
            Err(error) => {
                tracing::error!(code = %error.code(), %error, "an answer cannot be sent");
                None
            }
        }
    }
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outgoing::Made(bytes) => write!(f, "Made({} bytes)", bytes.len()),
            Outgoing::Later(_) => f.write_str("Later"),
        }
    }
}

/// What comes back to a request.
pub(super) type HttpAnswer = Result<(Outgoing, Afterwards), TooOften>;

/// The message came too often to be looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TooOften;

/// Answers one frame. Dropped without an answer, nothing is sent over libp2p, and an HTTPS request ends with 503.
#[derive(Debug)]
pub struct ReplyHandle(Way);

#[derive(Debug)]
enum Way {
    Stream { hub: Arc<Hub>, peer: Arc<Peer>, _unanswered: OwnedSemaphorePermit },
    Http { answer: oneshot::Sender<HttpAnswer>, limit: usize },
}

impl ReplyHandle {
    pub(super) fn stream(hub: Arc<Hub>, peer: Arc<Peer>, unanswered: OwnedSemaphorePermit) -> Self {
        Self(Way::Stream { hub, peer, _unanswered: unanswered })
    }

    pub(super) fn http(answer: oneshot::Sender<HttpAnswer>, limit: usize) -> Self {
        Self(Way::Http { answer, limit })
    }

    /// Sends the answer. Never waits.
    pub fn send(self, bytes: Vec<u8>) -> Result<(), NetworkError> {
        if let Way::Http { limit, .. } = &self.0 {
            check_size(&bytes, *limit)?;
        }
        self.send_frame(Outgoing::Made(bytes), Afterwards::Stay)
    }

    /// Sends an answer that is made when it is written, in the peer's own task. Never waits.
    pub fn send_with(self, make: impl FnOnce() -> Vec<u8> + Send + 'static) -> Result<(), NetworkError> {
        self.send_frame(Outgoing::Later(Box::new(make)), Afterwards::Stay)
    }

    /// As [`Self::send_with`], for a refusal: a connection that carries one request after the other ends with it.
    pub fn refuse_with(self, make: impl FnOnce() -> Vec<u8> + Send + 'static) -> Result<(), NetworkError> {
        self.send_frame(Outgoing::Later(Box::new(make)), Afterwards::Close)
    }

    fn send_frame(self, frame: Outgoing, afterwards: Afterwards) -> Result<(), NetworkError> {
        match self.0 {
            Way::Stream { hub, peer, .. } => hub.enqueue(&peer, frame),
            Way::Http { answer, .. } => {
                answer.send(Ok((frame, afterwards))).map_err(|_| NetworkError::NotConnected)
            }
        }
    }

    /// Refuses a request unread: 429 and a code, without a signature, which would cost more than it says. It is a refusal as
    /// others are: its connection ends, and whoever is refused often waits for it. Over a stream nothing is sent.
    pub fn too_often(self) {
        if let Way::Http { answer, .. } = self.0 {
            // Whoever asked may have gone.
            let _ = answer.send(Err(TooOften));
        }
    }

    /// Whether the peer can be told nothing but this answer: it came with a request of its own, not over a stream.
    pub fn is_request(&self) -> bool {
        matches!(self.0, Way::Http { .. })
    }
}

/// What becomes of a piece of output that came over HTTPS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum LogVerdict {
    Accepted,
    NotWanted,
}

/// Answers a piece of output. Dropped without an answer, the request ends with 503 and the worker tries again.
#[derive(Debug)]
pub struct LogReply(pub(super) oneshot::Sender<LogVerdict>);

impl LogReply {
    /// It was taken; the next may come.
    pub fn accept(self) {
        // The worker may have gone meanwhile; it sends the piece again if it still can.
        let _ = self.0.send(LogVerdict::Accepted);
    }

    /// Nobody reads this stream (any more): the worker stops sending it.
    pub fn not_wanted(self) {
        let _ = self.0.send(LogVerdict::NotWanted);
    }
}
