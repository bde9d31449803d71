//! The sending direction of a stream.

use std::io;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt as _, WriteHalf};
use tokio::time::timeout;

use super::{Carrier, HEADER, Raw, check_size};
use crate::error::NetworkError;

/// Small frames are joined into writes of about this size.
const JOINED_WRITE: usize = 64 << 10;

/// Whether the last write left whole frames behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum WriteState {
    Whole,
    CutShort,
}

/// The sending direction of a [`super::FramedStream`].
#[derive(Debug)]
pub struct FrameWriter<W = WriteHalf<Raw>> {
    raw: W,
    limit: usize,
    state: WriteState,
    carrier: Arc<dyn Carrier>,
}

impl<W: AsyncWrite + Unpin> FrameWriter<W> {
    pub(super) fn new(raw: W, limit: usize, carrier: Arc<dyn Carrier>) -> Self {
        Self { raw, limit, state: WriteState::Whole, carrier }
    }

    /// As [`super::FramedStream::send`].
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
            return Err(self.carrier.explain(&"an earlier write was cut short"));
        }
        self.state = WriteState::CutShort;
        // The timer is made only for a write that has to wait.
        let written = {
            let mut writing = std::pin::pin!(self.write_frames(frames));
            match futures::poll!(writing.as_mut()) {
                Poll::Ready(written) => Ok(written),
                Poll::Pending => timeout(deadline, writing).await,
            }
        };
        match written {
            Ok(Ok(())) => {
                self.state = WriteState::Whole;
                Ok(())
            }
            Ok(Err(error)) => Err(self.carrier.explain(&error)),
            Err(_) => Err(NetworkError::WriteTimeout { after: deadline }),
        }
    }

    async fn write_frames<F: AsRef<[u8]>>(&mut self, frames: &[F]) -> io::Result<()> {
        let whole: usize = frames.iter().map(|frame| HEADER + frame.as_ref().len()).sum();
        let mut joined = Vec::with_capacity(whole.min(JOINED_WRITE));
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

    /// As [`super::FramedStream::close`].
    pub async fn close(mut self, deadline: Duration) -> Result<(), NetworkError> {
        match timeout(deadline, self.raw.shutdown()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.carrier.explain(&error)),
            Err(_) => Err(NetworkError::WriteTimeout { after: deadline }),
        }
    }
}
