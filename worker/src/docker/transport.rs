//! The way to the engine: one connection of its socket for each request, and a bound on what comes back. An engine's
//! answers hold what images and tasks say of themselves, so that no answer is collected whatever its size.

use std::fmt;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bollard::errors::Error;
use http::{HeaderValue, Request, Response, Uri, header};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;

/// Bytes of an answer that is collected before it is read. Lists repeat what images say of themselves: of as many
/// containers as a host can have they have less, because [`IMAGE`] holds for each.
const MOST: u64 = 64 << 20;
/// Bytes of what an engine knows of one image. Those of common frameworks have a tenth.
pub(super) const IMAGE: u64 = 512 << 10;

/// How much of an answer is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Bound {
    /// So many bytes.
    Bytes(u64),
    /// All that comes: it is read piece by piece.
    Streamed,
}

impl Bound {
    /// That of a request, by the path of its answer.
    pub(super) fn of(path: &str) -> Self {
        let is_streamed = path.ends_with("/logs")
            || path.ends_with("/attach")
            || (path.contains("/exec/") && path.ends_with("/start"));
        let is_image = path.contains("/images/") && path.ends_with("/json");
        match (is_streamed, is_image) {
            (true, _) => Bound::Streamed,
            (false, true) => Bound::Bytes(IMAGE),
            (false, false) => Bound::Bytes(MOST),
        }
    }
}

/// An answer had more bytes than anybody reads.
#[derive(Debug)]
pub(super) struct TooLarge(u64);

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the engine's answer has more than {} bytes", self.0)
    }
}

impl std::error::Error for TooLarge {}

/// Whether an error is that an answer was too large.
pub(super) fn is_too_large(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(next) = cause {
        let inner = next.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if next.is::<TooLarge>() || inner.is_some_and(|inner| inner.is::<TooLarge>()) {
            return true;
        }
        cause = next.source();
    }
    false
}

/// Sends a request; the body of the answer is still to be read.
pub(super) async fn send<B>(
    socket: &Path,
    mut request: Request<B>,
    bound: Bound,
) -> Result<Response<Incoming>, Error>
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let path: Uri = request.uri().path_and_query().map_or("/", |path| path.as_str()).parse()?;
    *request.uri_mut() = path;
    request.headers_mut().insert(header::HOST, HeaderValue::from_static("docker"));
    let stream = Bounded { stream: UnixStream::connect(socket).await?, bound, read: 0 };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the answer's body, or with whoever reads it.
    tokio::spawn(connection.with_upgrades());
    Ok(sender.send_request(request).await?)
}

/// A connection that breaks off when more comes than is taken.
#[derive(Debug)]
struct Bounded {
    stream: UnixStream,
    bound: Bound,
    read: u64,
}

impl AsyncRead for Bounded {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Bound::Bytes(most) = this.bound
            && this.read > most
        {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, TooLarge(most))));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        let came = buffer.filled().len().saturating_sub(before);
        this.read = this.read.saturating_add(u64::try_from(came).unwrap_or(u64::MAX));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Bounded {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_read_piece_by_piece_has_no_bound() {
        for path in ["/v1.41/containers/ab/logs", "/v1.41/exec/ab/start", "/containers/ab/attach"] {
            assert_eq!(Bound::of(path), Bound::Streamed, "{path}");
        }
        for path in ["/v1.41/containers/ab/start", "/v1.41/containers/json", "/containers/ab/wait", "/info"] {
            assert_eq!(Bound::of(path), Bound::Bytes(MOST), "{path}");
        }
        assert_eq!(Bound::of("/v1.41/images/a/b:1/json"), Bound::Bytes(IMAGE));
    }
}
