//! Frames: a `u32` big-endian length, then so many bytes.
//!
//! A frame's length is checked against the stream's cap before a byte of its body is read, and memory grows with what
//! arrives, not with what is announced. Waiting costs no buffer. Reading may be cancelled at any time: what was read
//! stays and the next call goes on. A write that was cut short leaves half a frame behind, so that the writer refuses
//! all further ones.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BufMut as _;
use libp2p::Stream;
use lode_protocol::ids::Address;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::time::timeout;
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt as _};

use crate::endpoint::ConnectionState;
use crate::error::NetworkError;
use crate::protocol::Protocol;

const HEADER: usize = 4;
/// Memory reserved on the word of a header alone.
const FIRST_RESERVE: usize = 16 << 10;
/// Small frames are joined into writes of about this size.
const JOINED_WRITE: usize = 64 << 10;

type Raw = Compat<Stream>;

/// Who opened the stream decides which cap counts in which direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    Opener,
    Accepter,
}

/// A stream of frames to one peer.
#[derive(Debug)]
pub struct FramedStream {
    reader: FrameReader,
    writer: FrameWriter,
}

impl FramedStream {
    pub(crate) fn new(
        stream: Stream,
        protocol: Protocol,
        side: Side,
        connection: Arc<ConnectionState>,
    ) -> Self {
        let (incoming, outgoing) = match side {
            Side::Opener => (protocol.accepter_limit(), protocol.opener_limit()),
            Side::Accepter => (protocol.opener_limit(), protocol.accepter_limit()),
        };
        let (read, write) = tokio::io::split(stream.compat());
        Self {
            reader: FrameReader {
                raw: read,
                limit: incoming,
                header: Vec::with_capacity(HEADER),
                body: Vec::new(),
                connection: connection.clone(),
            },
            writer: FrameWriter { raw: write, limit: outgoing, state: WriteState::Whole, connection },
        }
    }

    /// The address of the key that the peer proved to hold.
    pub fn peer(&self) -> Address {
        self.reader.connection.peer
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

/// The receiving direction of a [`FramedStream`].
#[derive(Debug)]
pub struct FrameReader {
    raw: ReadHalf<Raw>,
    limit: usize,
    header: Vec<u8>,
    body: Vec<u8>,
    connection: Arc<ConnectionState>,
}

impl FrameReader {
    /// As [`FramedStream::receive`].
    pub async fn receive(&mut self, deadline: Duration) -> Result<Option<Vec<u8>>, NetworkError> {
        match timeout(deadline, self.next()).await {
            Ok(result) => result,
            Err(_) => Err(NetworkError::ReceiveTimeout { after: deadline }),
        }
    }

    /// The next frame, however long it takes. May be cancelled without loss.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<u8>>, NetworkError> {
        let connection = self.connection.clone();
        tokio::select! {
            // What has arrived is read before an end is noticed.
            biased;
            frame = self.read_frame() => frame,
            () = connection.ending() => Err(connection.explain("the connection ended")),
        }
    }

    /// Resolves with the cause when the connection ends or is about to.
    pub(crate) async fn ended(&mut self) -> NetworkError {
        self.connection.ending().await;
        self.connection.explain("the connection ended")
    }

    async fn read_frame(&mut self) -> Result<Option<Vec<u8>>, NetworkError> {
        while self.header.len() < HEADER {
            let missing = HEADER - self.header.len();
            let read = self.raw.read_buf(&mut (&mut self.header).limit(missing)).await;
            match read {
                Ok(0) if self.header.is_empty() => return self.clean_end(),
                Ok(0) => return Err(self.connection.explain("the stream ended within a frame")),
                Ok(_) => {}
                Err(error) => return Err(self.broken(&error)),
            }
        }
        let announced = self.header.iter().fold(0u32, |length, byte| length << 8 | u32::from(*byte));
        let length = usize::try_from(announced).unwrap_or(usize::MAX);
        if length == 0 {
            return Err(NetworkError::FrameEmpty);
        }
        if length > self.limit {
            return Err(NetworkError::FrameTooLarge { size: u64::from(announced), limit: self.limit });
        }
        while self.body.len() < length {
            let missing = length - self.body.len();
            if self.body.capacity() == self.body.len() {
                self.body.reserve_exact(missing.min(self.body.len().max(FIRST_RESERVE)));
            }
            match self.raw.read_buf(&mut (&mut self.body).limit(missing)).await {
                Ok(0) => return Err(self.connection.explain("the stream ended within a frame")),
                Ok(_) => {}
                Err(error) => return Err(self.broken(&error)),
            }
        }
        self.header.clear();
        Ok(Some(std::mem::take(&mut self.body)))
    }

    fn clean_end(&self) -> Result<Option<Vec<u8>>, NetworkError> {
        // An end that we caused ourselves (eviction, keep-alive) is told as what it is.
        self.connection.cause().map_or(Ok(None), Err)
    }

    fn broken(&self, error: &io::Error) -> NetworkError {
        self.connection.explain(error)
    }
}

/// Whether the last write left whole frames behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum WriteState {
    Whole,
    CutShort,
}

/// The sending direction of a [`FramedStream`].
#[derive(Debug)]
pub struct FrameWriter {
    raw: WriteHalf<Raw>,
    limit: usize,
    state: WriteState,
    connection: Arc<ConnectionState>,
}

impl FrameWriter {
    /// As [`FramedStream::send`].
    pub async fn send(&mut self, frame: &[u8], deadline: Duration) -> Result<(), NetworkError> {
        self.send_all(std::slice::from_ref(&frame), deadline).await
    }

    /// Sends frames in order with as few writes as possible; all of them or none when one is over the cap.
    pub(crate) async fn send_all<F: AsRef<[u8]>>(
        &mut self,
        frames: &[F],
        deadline: Duration,
    ) -> Result<(), NetworkError> {
        for frame in frames {
            check_size(frame.as_ref(), self.limit)?;
        }
        if self.state == WriteState::CutShort {
            return Err(self.connection.explain("an earlier write was cut short"));
        }
        self.state = WriteState::CutShort;
        match timeout(deadline, self.write_frames(frames)).await {
            Ok(Ok(())) => {
                self.state = WriteState::Whole;
                Ok(())
            }
            Ok(Err(error)) => Err(self.connection.explain(error)),
            Err(_) => Err(NetworkError::WriteTimeout { after: deadline }),
        }
    }

    async fn write_frames<F: AsRef<[u8]>>(&mut self, frames: &[F]) -> io::Result<()> {
        let mut joined = Vec::new();
        for frame in frames {
            let frame = frame.as_ref();
            let length = u32::try_from(frame.len()).map_err(io::Error::other)?;
            joined.extend_from_slice(&length.to_be_bytes());
            if frame.len() >= JOINED_WRITE {
                self.raw.write_all(&joined).await?;
                joined.clear();
                self.raw.write_all(frame).await?;
            } else {
                joined.extend_from_slice(frame);
                if joined.len() >= JOINED_WRITE {
                    self.raw.write_all(&joined).await?;
                    joined.clear();
                }
            }
        }
        self.raw.write_all(&joined).await?;
        self.raw.flush().await
    }

    /// As [`FramedStream::close`].
    pub async fn close(mut self, deadline: Duration) -> Result<(), NetworkError> {
        match timeout(deadline, self.raw.shutdown()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.connection.explain(error)),
            Err(_) => Err(NetworkError::WriteTimeout { after: deadline }),
        }
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
