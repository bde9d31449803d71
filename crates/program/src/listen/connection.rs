//! One connection, from the handshake to its end. HTTP/1 and nothing else: nothing here needs more, and every further
//! version would need limits of its own.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, DefaultBodyLimit};
use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use axum::response::IntoResponse as _;
use axum::{Extension, Router};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::Watcher;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::opening::{self, first_head};
use super::patient::Patient;
use super::places::Place;
use super::request_body::{ReadToItsEnd, RequestBody};
use super::unsent::Counted;
use super::watched::Watched;
use super::{Hosts, Refused, ServeLimits};

/// Most that one connection buffers in each direction, besides one piece of a body.
const BUFFER: usize = opening::LARGEST;
/// Most that the kernel takes without having sent it. Without it the kernel takes up to some megabytes, and a reader that
/// is slow and steady looks like one that has stopped until a good part of that has gone.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNSENT_IN_KERNEL: u32 = 128 << 10;

/// What all connections of a listener share.
pub(super) struct Server {
    router: Router,
    tls: Option<TlsAcceptor>,
    hosts: Hosts,
    limits: ServeLimits,
}

/// Who is at the other end.
#[derive(Debug)]
struct Caller {
    peer: SocketAddr,
    /// The name that the TLS handshake asked for.
    asked_by_tls: Option<String>,
    place: Arc<Place>,
}

/// How a connection ends with its listener.
#[derive(Debug)]
pub(super) struct Watching {
    /// Lets a request that runs finish.
    pub(super) watcher: Watcher,
    /// Ends what has not begun.
    pub(super) stopped: CancellationToken,
}

impl Watching {
    async fn unless_stopped<T>(&self, what: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        let stopped = || io::Error::new(io::ErrorKind::Interrupted, "the listener is closed");
        self.stopped.run_until_cancelled(what).await.unwrap_or_else(|| Err(stopped()))
    }
}

/// Tells the place when an answer's body is gone: hyper has all of it.
#[derive(Debug)]
pub(super) struct Answering(Arc<Place>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.answered();
    }
}

impl Server {
    pub(super) fn new(
        router: Router,
        tls: Option<Arc<rustls::ServerConfig>>,
        hosts: Hosts,
        limits: ServeLimits,
    ) -> Arc<Self> {
        let router = router.layer(DefaultBodyLimit::max(limits.max_body_bytes));
        Arc::new(Self { router, tls: tls.map(TlsAcceptor::from), hosts, limits })
    }

    /// Serves until the connection ends. What is not needed before the other side has spoken is made afterwards.
    pub(super) async fn connection(
        self: Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        place: Arc<Place>,
        watching: Watching,
    ) {
        if let Err(error) = self.begin(stream, peer, place, watching).await {
            // Peers hang up all the time: nobody has to act.
            tracing::debug!(%peer, %error, "connection ended");
        }
    }

    async fn begin(
        self: Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        place: Arc<Place>,
        watching: Watching,
    ) -> io::Result<()> {
        prepare(&stream)?;
        if self.tls.is_some() {
            let mut byte = [0];
            let spoken = tokio::time::timeout(self.limits.first_byte_timeout, stream.peek(&mut byte));
            watching.unless_stopped(async { spoken.await? }).await?;
            return Box::pin(self.secured(stream, peer, place, watching)).await;
        }
        let stream = Patient::new(stream, self.limits.write_timeout);
        self.opened(stream, Caller { peer, asked_by_tls: None, place }, watching).await
    }

    async fn secured(
        self: Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        place: Arc<Place>,
        watching: Watching,
    ) -> io::Result<()> {
        let Some(acceptor) = &self.tls else { return Ok(()) };
        let stream = Patient::new(stream, self.limits.write_timeout);
        let handshake = tokio::time::timeout(self.limits.handshake_timeout, acceptor.accept(stream));
        let stream = watching.unless_stopped(async { handshake.await? }).await?;
        let asked_by_tls = stream.get_ref().1.server_name().map(ToOwned::to_owned);
        self.opened(stream, Caller { peer, asked_by_tls, place }, watching).await
    }

    async fn opened<S>(self: Arc<Self>, mut stream: S, caller: Caller, watching: Watching) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (room, limits) = (caller.place.room_for_head(), &self.limits);
        let head = first_head(&mut stream, room, limits.first_byte_timeout, limits.header_timeout);
        let head = watching.unless_stopped(head).await?;
        let stream = Watched::new(stream, Arc::clone(&caller.place), head);
        Box::pin(self.requests(stream, caller, watching.watcher)).await
    }

    async fn requests<S>(
        self: Arc<Self>,
        stream: Watched<S>,
        caller: Caller,
        watcher: Watcher,
    ) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (server, caller) = (Arc::clone(&self), Arc::new(caller));
        let service = service_fn(move |request| {
            caller.place.head_arrived();
            Arc::clone(&server).answer(request, Arc::clone(&caller))
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.header_timeout)
            .max_buf_size(BUFFER)
            // Pieces of answers are written from where they are, and dropped when they are written: that is what
            // `unsent` counts by.
            .writev(true)
            .serve_connection(TokioIo::new(stream), service);
        watcher.watch(connection).await.map_err(io::Error::other)
    }

    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        caller: Arc<Caller>,
    ) -> Result<Response<Counted<Answering>>, Infallible> {
        let response = match self.hosts.judge(&request, caller.asked_by_tls.as_deref()) {
            Err(problem) => (Extension(Refused), problem).into_response(),
            Ok(()) => {
                let read = ReadToItsEnd::of(request.body());
                let mut request =
                    request.map(|body| Body::new(RequestBody::new(body, &self.limits, read.clone())));
                request.extensions_mut().insert(ConnectInfo(caller.peer));
                let mut response = match self.router.clone().oneshot(request).await {
                    Ok(response) => response,
                    Err(never) => match never {},
                };
                if !read.is_so() {
                    // What is left of the body nobody reads, so nothing can follow it: whoever is told so does not send
                    // the next request where it would be lost.
                    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                response
            }
        };
        if is_refusal(&response) {
            caller.place.refused().await;
        }
        Ok(caller.place.account().count(response, Answering(Arc::clone(&caller.place))))
    }
}

/// Whether whoever asked has no standing, or asks too much.
fn is_refusal<B>(response: &Response<B>) -> bool {
    matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::TOO_MANY_REQUESTS)
        || response.extensions().get::<Refused>().is_some()
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Err(error) = socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_IN_KERNEL) {
        // A sandbox may not know it: then only very slow readers are cut off too early.
        tracing::trace!(%error, "the kernel's queue has its usual size");
    }
    Ok(())
}
