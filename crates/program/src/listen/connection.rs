//! One connection, from the handshake to its end. HTTP/1 and nothing else: nothing here needs more, and every further
//! version would need limits of its own.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, DefaultBodyLimit};
use axum::http::{Request, Response};
use axum::response::IntoResponse as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::Watcher;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use super::patient::Patient;
use super::places::Place;
use super::request_body::RequestBody;
use super::unsent::Counted;
use super::watched::Watched;
use super::{Hosts, ServeLimits};

/// Most that one connection buffers in each direction, besides one piece of a body. A head that is larger is refused.
const BUFFER: usize = 64 << 10;
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

    /// Serves until the connection ends.
    pub(super) async fn connection(
        self: Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        place: Arc<Place>,
        watcher: Watcher,
    ) {
        if let Err(error) = prepare(&stream) {
            tracing::debug!(%peer, %error, "connection ended before it began");
            return;
        }
        let stream = Patient::new(stream, self.limits.write_timeout);
        let Some(acceptor) = &self.tls else {
            return self.requests(stream, Caller { peer, asked_by_tls: None, place }, watcher).await;
        };
        match tokio::time::timeout(self.limits.handshake_timeout, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => {
                let asked_by_tls = stream.get_ref().1.server_name().map(ToOwned::to_owned);
                self.requests(stream, Caller { peer, asked_by_tls, place }, watcher).await;
            }
            Ok(Err(error)) => tracing::debug!(%peer, %error, "TLS handshake failed"),
            Err(_) => tracing::debug!(%peer, "TLS handshake timed out"),
        }
    }

    async fn requests<S>(self: &Arc<Self>, stream: S, caller: Caller, watcher: Watcher)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let stream = Watched::new(stream, Arc::clone(&caller.place), self.limits.first_byte_timeout);
        let (peer, server, caller) = (caller.peer, Arc::clone(self), Arc::new(caller));
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
        if let Err(error) = watcher.watch(connection).await {
            // Peers hang up all the time: nobody has to act.
            tracing::debug!(%peer, %error, "connection ended");
        }
    }

    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        caller: Arc<Caller>,
    ) -> Result<Response<Counted<Answering>>, Infallible> {
        let response = match self.hosts.judge(&request, caller.asked_by_tls.as_deref()) {
            Err(problem) => problem.into_response(),
            Ok(()) => {
                let mut request = request.map(|body| Body::new(RequestBody::new(body, &self.limits)));
                request.extensions_mut().insert(ConnectInfo(caller.peer));
                match self.router.clone().oneshot(request).await {
                    Ok(response) => response,
                    Err(never) => match never {},
                }
            }
        };
        Ok(caller.place.account().count(response, Answering(Arc::clone(&caller.place))))
    }
}

fn prepare(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Err(error) = socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_IN_KERNEL) {
        // A sandbox may not know it: then only very slow readers are cut off too early.
        tracing::trace!(%error, "the kernel's queue has its usual size");
    }
    Ok(())
}
