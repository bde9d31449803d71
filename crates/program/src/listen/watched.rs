//! What HTTP reads and writes: first the head that is here already, then the stream; and its place learns when all is
//! written.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::places::Place;

/// A stream above TLS, where there is any.
#[derive(Debug)]
pub(super) struct Watched<S> {
    stream: S,
    place: Arc<Place>,
    /// What was read of it before.
    begin: io::Cursor<Vec<u8>>,
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S, place: Arc<Place>, begin: Vec<u8>) -> Self {
        Self { stream, place, begin: io::Cursor::new(begin) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let at = usize::try_from(self.begin.position()).unwrap_or(usize::MAX);
        let begin = self.begin.get_ref().get(at..).unwrap_or_default();
        if begin.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let piece = begin.len().min(buffer.remaining());
        buffer.put_slice(begin.get(..piece).unwrap_or_default());
        if piece == begin.len() {
            self.begin = io::Cursor::default();
        } else {
            self.begin.set_position((at + piece) as u64);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// HTTP flushes only when it holds nothing back itself.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flush = Pin::new(&mut self.stream).poll_flush(cx);
        if let Poll::Ready(Ok(())) = flush {
            self.place.flushed();
        }
        flush
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
