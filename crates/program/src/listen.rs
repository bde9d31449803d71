//! Binding and serving HTTP with limits: every connection is counted, every wait has an end.
//!
//! Limits apply before any byte is believed: connections in all and per address, time for the TLS handshake, for a
//! request's head, for each silence within its body, and the body's size. Idle keep-alive connections fall to the
//! head's limit. At shutdown no new connection is taken, running requests may finish within `drain_timeout`, then
//! what is left (an event stream never ends by itself) is closed.

mod connections;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, DefaultBodyLimit};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;
use tower_http::timeout::RequestBodyTimeoutLayer;

use crate::config::duration;
use crate::shutdown::Shutdown;
use connections::Connections;

/// How long to wait before accepting again when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Limits of one listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServeLimits {
    /// Connections at one time; further ones wait in the backlog.
    pub max_connections: usize,
    /// Connections at one time from one IP address; further ones are closed at once.
    pub max_connections_per_address: usize,
    /// For a TLS handshake.
    #[serde(with = "duration")]
    pub handshake_timeout: Duration,
    /// For a request's head to arrive, also on an idle keep-alive connection.
    #[serde(with = "duration")]
    pub header_timeout: Duration,
    /// For each silence within a request's body.
    #[serde(with = "duration")]
    pub body_timeout: Duration,
    /// For running requests to finish at shutdown.
    #[serde(with = "duration")]
    pub drain_timeout: Duration,
    /// Largest request body, in bytes, unless a route sets its own limit.
    pub max_body_bytes: usize,
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self {
            max_connections: 4096,
            max_connections_per_address: 1024,
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(15),
            drain_timeout: Duration::from_secs(5),
            max_body_bytes: 1 << 20,
        }
    }
}

/// Why a listener could not be made.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address} for {name}: {source}; choose a free address or port (port 0 takes any free one)"
)]
pub struct BindError {
    name: String,
    address: SocketAddr,
    #[source]
    source: io::Error,
}

/// A listener, and where it really is.
#[derive(Debug)]
pub struct Bound {
    /// What it is for, as in the log.
    pub name: String,
    /// The address with the port that was taken.
    pub address: SocketAddr,
    /// The socket.
    pub listener: TcpListener,
}

/// Binds; port 0 takes any free one. Bind everything before spawning anything, so that a taken port is a clean
/// error and not half a program.
pub async fn bind(name: impl Into<String>, address: SocketAddr) -> Result<Bound, BindError> {
    let name = name.into();
    let bound = TcpListener::bind(address).await.and_then(|listener| Ok((listener.local_addr()?, listener)));
    match bound {
        Ok((address, listener)) => {
            tracing::info!(listener = %name, %address, "listening");
            Ok(Bound { name, address, listener })
        }
        Err(source) => Err(BindError { name, address, source }),
    }
}

/// Serves the router until shutdown is requested. Handlers may extract `ConnectInfo<SocketAddr>`. With `tls`, plain
/// connections are refused.
pub async fn serve(
    router: Router,
    bound: Bound,
    limits: ServeLimits,
    tls: Option<Arc<rustls::ServerConfig>>,
    shutdown: Shutdown,
) {
    let server = Arc::new(Server {
        router: router
            .layer(DefaultBodyLimit::max(limits.max_body_bytes))
            .layer(RequestBodyTimeoutLayer::new(limits.body_timeout)),
        tls: tls.map(TlsAcceptor::from),
        limits,
    });
    let connections =
        Connections::new(server.limits.max_connections, server.limits.max_connections_per_address);
    let graceful = GracefulShutdown::new();
    let mut running = JoinSet::new();
    let mut stop = std::pin::pin!(shutdown.requested());
    loop {
        // The permit comes first: over the limit, clients wait in the kernel's backlog and cost us nothing.
        let accepted = async {
            let permit = connections.permit().await;
            (permit, bound.listener.accept().await)
        };
        tokio::select! {
            () = &mut stop => break,
            Some(_) = running.join_next(), if !running.is_empty() => {}
            (permit, result) = accepted => match result {
                Ok((stream, peer)) => match connections.admit(permit, peer.ip()) {
                    Some(admitted) => {
                        let (server, watcher) = (Arc::clone(&server), graceful.watcher());
                        running.spawn(async move {
                            let _admitted = admitted;
                            server.connection(stream, peer, watcher).await;
                        });
                    }
                    None => tracing::debug!(%peer, listener = %bound.name, "too many connections of one address"),
                },
                Err(error) if is_about_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, listener = %bound.name, "cannot accept connections");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    drop(bound);
    if tokio::time::timeout(server.limits.drain_timeout, graceful.shutdown()).await.is_err() {
        tracing::debug!(open = running.len(), "closing connections that did not end");
    }
    // Also those that are still in their handshake.
    running.shutdown().await;
}

struct Server {
    router: Router,
    tls: Option<TlsAcceptor>,
    limits: ServeLimits,
}

impl Server {
    async fn connection(&self, stream: TcpStream, peer: SocketAddr, watcher: Watcher) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "connection ended before it began");
            return;
        }
        match &self.tls {
            None => self.requests(stream, peer, watcher).await,
            Some(acceptor) => {
                match tokio::time::timeout(self.limits.handshake_timeout, acceptor.accept(stream)).await {
                    Ok(Ok(stream)) => self.requests(stream, peer, watcher).await,
                    Ok(Err(error)) => tracing::debug!(%peer, %error, "TLS handshake failed"),
                    Err(_) => tracing::debug!(%peer, "TLS handshake timed out"),
                }
            }
        }
    }

    async fn requests<I>(&self, stream: I, peer: SocketAddr, watcher: Watcher)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = self.router.clone().map_request(move |mut request: axum::http::Request<_>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            request
        });
        // HTTP/1 only: sniffing the version would wait for bytes without a limit.
        let mut builder = auto::Builder::new(TokioExecutor::new()).http1_only();
        builder.http1().timer(TokioTimer::new()).header_read_timeout(self.limits.header_timeout);
        let connection = builder
            .serve_connection_with_upgrades(TokioIo::new(stream), TowerToHyperService::new(service))
            .into_owned();
        if let Err(error) = watcher.watch(connection).await {
            // Peers hang up all the time: nobody has to act.
            tracing::debug!(%peer, %error, "connection ended");
        }
    }
}

/// Errors of accept(2) that concern the connection that was to be accepted, not the listener.
fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}

#[cfg(test)]
mod tests;
