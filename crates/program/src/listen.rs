//! Binding and serving HTTP with limits: every connection is counted, every wait has an end.
//!
//! Limits apply before any byte is believed ([`ServeLimits`]): places in all and per address, and who gives way when all
//! are taken (`places`); time for the TLS handshake, the first byte, a request's head (`opening`, hyper) and bytes of heads
//! that are unfinished (`heads`); each silence within a body and all of it (`request_body`), each time in which the other side takes nothing (`patient`); bytes that
//! wait to be sent (`unsent`); how often one is refused at once ([`Refused`]); and the names under which anybody is answered at all ([`Hosts`]). At shutdown no new
//! connection is taken, running requests may finish within `drain_timeout`, then what is left (an event stream never
//! ends by itself) is closed.

mod connection;
mod heads;
mod hosts;
mod limits;
mod local;
mod opening;
mod patient;
mod places;
mod request_body;
mod unsent;
mod watched;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use futures::future::BoxFuture;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::shutdown::Shutdown;
use connection::{Server, Watching};
use places::Places;

pub use hosts::Hosts;
pub use limits::ServeLimits;
pub use local::{LocalLimits, serve_local};
pub use unsent::Resident;

/// Extension of an answer that refuses, whatever its status says. Whoever is refused often waits for it.
#[derive(Debug, Clone, Copy)]
pub struct Refused;

/// How long to wait before accepting again when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

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

/// Serves the router until shutdown is requested, under the names of `hosts`. Handlers may extract
/// `ConnectInfo<SocketAddr>`. With `tls`, plain connections are refused.
///
/// Boxed, so that the HTTP server is compiled here and not again by every program.
pub fn serve(
    router: Router,
    bound: Bound,
    hosts: Hosts,
    limits: ServeLimits,
    tls: Option<Arc<rustls::ServerConfig>>,
    shutdown: Shutdown,
) -> BoxFuture<'static, ()> {
    let places = Places::new(&limits);
    let drain = limits.drain_timeout;
    let server = Server::new(router, tls, hosts, limits);
    Box::pin(accept_all(server, places, bound, drain, shutdown))
}

async fn accept_all(
    server: Arc<Server>,
    places: Arc<Places>,
    bound: Bound,
    drain: Duration,
    shutdown: Shutdown,
) {
    let graceful = GracefulShutdown::new();
    let (running, end, stopped) = (TaskTracker::new(), CancellationToken::new(), CancellationToken::new());
    // Also when nobody waits for this task any more.
    let _end = end.clone().drop_guard();
    let mut stop = std::pin::pin!(shutdown.requested());
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = bound.listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_about_one_connection(&error) => continue,
            Err(error) => {
                tracing::warn!(%error, listener = %bound.name, "cannot accept connections");
                tokio::select! {
                    () = &mut stop => break,
                    () = tokio::time::sleep(ACCEPT_PAUSE) => continue,
                }
            }
        };
        // While this newcomer waits for a place, further ones wait in the kernel's backlog and cost us nothing.
        let gives_way = end.child_token();
        let place = tokio::select! {
            () = &mut stop => break,
            place = places.take(peer.ip(), gives_way.clone()) => place,
        };
        let Some(place) = place else {
            tracing::debug!(%peer, listener = %bound.name, "too many connections of one address");
            continue;
        };
        let (server, place) = (Arc::clone(&server), Arc::new(place));
        let watching = Watching { watcher: graceful.watcher(), stopped: stopped.clone() };
        running.spawn(async move {
            // The place is the last to go: it comes free when the socket has.
            let served = server.connection(stream, peer, Arc::clone(&place), watching);
            if gives_way.run_until_cancelled(served).await.is_none() {
                tracing::debug!(%peer, "connection gives way");
            }
            drop(place);
        });
    }
    drop(bound);
    stopped.cancel();
    running.close();
    if tokio::time::timeout(drain, graceful.shutdown()).await.is_err() {
        tracing::debug!(open = running.len(), "closing connections that did not end");
    }
    // Also those that are still in their handshake.
    end.cancel();
    running.wait().await;
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
