//! Frames: a `u32` big-endian length, then so many bytes, over anything that bytes can be read from and written to.
//!
//! A frame's length is checked against the stream's cap before a byte of its body is read, and memory grows with what
//! arrives, not with what is announced. Waiting costs no buffer. A frame that has begun must end in a time that follows
//! from its size. Peers without standing send small frames only, and what all of them together have begun and not ended has
//! one budget. Reading may be cancelled at any time: what was read stays and the next call goes on. A write that was cut
//! short leaves half a frame behind, so that the writer refuses all further ones.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod intake;
mod reader;
mod unfinished;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use libp2p::Stream;
use lode_protocol::ids::Address;
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt as _};
use tokio_util::sync::CancellationToken;

use crate::endpoint::ConnectionState;
use crate::error::NetworkError;
use crate::protocol::Protocol;
pub(crate) use intake::FrameTerms;
use intake::Intake;
pub use reader::FrameReader;
pub(crate) use unfinished::Unfinished;
pub use writer::FrameWriter;

const HEADER: usize = 4;

type Raw = Compat<Stream>;

/// What carries a stream, and what is known about its end.
pub(crate) trait Carrier: std::fmt::Debug + Send + Sync {
    /// Cancelled when the carrier ends or is about to.
    fn ending(&self) -> &CancellationToken;
    /// Why we ended it, if we did.
    fn cause(&self) -> Option<NetworkError>;

    /// The cause that is known, or what the stream saw.
    fn explain(&self, seen: &dyn std::fmt::Display) -> NetworkError {
        self.cause().unwrap_or_else(|| NetworkError::closed(seen))
    }
}

/// Who opened the stream decides which cap counts in which direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    Opener,
    Accepter,
}

/// A stream of frames to one peer.
#[derive(Debug)]
pub struct FramedStream {
    peer: Address,
    reader: FrameReader,
    writer: FrameWriter,
}

impl FramedStream {
    pub(crate) fn new(
        stream: Stream,
        protocol: Protocol,
        side: Side,
        state: Arc<ConnectionState>,
        terms: &FrameTerms,
    ) -> Self {
        let outgoing = match side {
            Side::Opener => protocol.opener_limit(),
            Side::Accepter => protocol.accepter_limit(),
        };
        let intake = Intake::of(protocol, side, &state, terms);
        let (read, write) = tokio::io::split(stream.compat());
        Self {
            peer: state.peer,
            reader: FrameReader::new(read, intake, state.clone()),
            writer: FrameWriter::new(write, outgoing, state),
        }
    }

    /// The address of the key that the peer proved to hold.
    pub fn peer(&self) -> Address {
        self.peer
    }

    /// Sends one frame; it has left our buffers when this returns.
    pub async fn send(&mut self, frame: &[u8], deadline: Duration) -> Result<(), NetworkError> {
        self.writer.send(frame, deadline).await
    }

    /// The next frame; `None` when the peer ended the stream between two frames. After
    /// [`NetworkError::ReceiveTimeout`] the wait may be repeated.
    pub async fn receive(&mut self, deadline: Duration) -> Result<Option<Vec<u8>>, NetworkError> {
        self.reader.receive(deadline).await
    }

    /// Ends the stream: the peer sees a clean end behind the last frame.
    pub async fn close(self, deadline: Duration) -> Result<(), NetworkError> {
        self.writer.close(deadline).await
    }

    /// Both directions apart.
    pub fn split(self) -> (FrameReader, FrameWriter) {
        (self.reader, self.writer)
    }
}

pub(crate) fn check_size(frame: &[u8], limit: usize) -> Result<(), NetworkError> {
    if frame.is_empty() {
        return Err(NetworkError::FrameEmpty);
    }
    if frame.len() > limit {
        return Err(NetworkError::FrameTooLarge { size: frame.len() as u64, limit });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
