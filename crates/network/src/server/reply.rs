//! Handles to answer one frame with.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{Hub, Peer};
use crate::error::NetworkError;
use crate::frame::check_size;

/// Answers one frame. Dropped without an answer, nothing is sent over libp2p, and an HTTPS request ends with 503.
#[derive(Debug)]
pub struct ReplyHandle(Way);

#[derive(Debug)]
enum Way {
    Stream { hub: Arc<Hub>, peer: Arc<Peer>, _unanswered: OwnedSemaphorePermit },
    Http { answer: oneshot::Sender<Vec<u8>>, limit: usize },
}

impl ReplyHandle {
    pub(super) fn stream(hub: Arc<Hub>, peer: Arc<Peer>, unanswered: OwnedSemaphorePermit) -> Self {
        Self(Way::Stream { hub, peer, _unanswered: unanswered })
    }

    pub(super) fn http(answer: oneshot::Sender<Vec<u8>>, limit: usize) -> Self {
        Self(Way::Http { answer, limit })
    }

    /// Sends the answer. Never waits.
    pub fn send(self, bytes: Vec<u8>) -> Result<(), NetworkError> {
        match self.0 {
            Way::Stream { hub, peer, .. } => hub.enqueue(&peer, bytes),
            Way::Http { answer, limit } => {
                check_size(&bytes, limit)?;
                answer.send(bytes).map_err(|_| NetworkError::NotConnected)
            }
        }
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
