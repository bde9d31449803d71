//! Serving HTTP on a socket of this machine, for whoever may open it.
//!
//! Its callers are few and known to the file system, so that its limits are no settings: one request a connection, a time for
//! its head, for each pause in which the caller takes nothing, and for all of it; so many connections, of which the oldest
//! gives way to a newcomer. Who hangs on it, by a defect or by intent, holds little of the program and keeps nobody out.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::DefaultBodyLimit;
use axum::response::Response;
use futures::future::BoxFuture;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::patient::Patient;
use super::{ACCEPT_PAUSE, is_about_one_connection};

/// What its callers may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LocalLimits {
    /// Connections at one time.
    pub connections: usize,
    /// For a request's head.
    pub head: Duration,
    /// For each time in which there is something to send and the caller takes nothing.
    pub write: Duration,
    /// For a connection, from its first byte to its last.
    pub whole: Duration,
    /// Largest request body, in bytes.
    pub body: usize,
}

impl Default for LocalLimits {
    fn default() -> Self {
        LocalLimits {
            connections: 16,
            head: Duration::from_secs(5),
            write: Duration::from_secs(10),
            whole: Duration::from_secs(60),
            body: 64 << 10,
        }
    }
}

/// Bytes of a head.
const HEAD_BYTES: usize = 16 << 10;

/// Serves the router until shutdown; what is being answered then ends with the program.
///
/// Boxed, so that the HTTP server is compiled here and not again by every program.
pub fn serve_local(
    router: Router,
    listener: UnixListener,
    limits: LocalLimits,
    shutdown: CancellationToken,
) -> BoxFuture<'static, ()> {
    let router = router.layer(DefaultBodyLimit::max(limits.body));
    Box::pin(async move {
        let mut running = JoinSet::new();
        let mut oldest: VecDeque<AbortHandle> = VecDeque::new();
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => break,
                _ = running.join_next(), if !running.is_empty() => continue,
                accepted = listener.accept() => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) if is_about_one_connection(&error) => continue,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections of this machine");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            oldest.retain(|connection| !connection.is_finished());
            while oldest.len() >= limits.connections.max(1) {
                let Some(connection) = oldest.pop_front() else { break };
                tracing::debug!("a connection of this machine gives way");
                connection.abort();
            }
            oldest.push_back(running.spawn(connection(router.clone(), stream, limits)));
        }
        // What is answered now may end.
        let rest = async { while running.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(limits.head, rest).await;
    })
}

async fn connection(router: Router, stream: UnixStream, limits: LocalLimits) {
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let router = router.clone();
        async move {
            let answer = match router.oneshot(request.map(Body::new)).await {
                Ok(answer) => answer,
                Err(never) => match never {},
            };
            Ok::<Response, Infallible>(answer)
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(HEAD_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(Patient::new(stream, limits.write)), service);
    match tokio::time::timeout(limits.whole, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection of this machine ended"),
        Err(_) => tracing::debug!("a connection of this machine took too long"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use axum::routing::{get, post};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(60);

    struct Socket {
        path: PathBuf,
        _folder: tempfile::TempDir,
        _shutdown: tokio_util::sync::DropGuard,
    }

    fn start(limits: LocalLimits) -> Socket {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).expect("a socket");
        let router = Router::new()
            .route("/status", get(|| async { "well" }))
            .route("/large", get(|| async { vec![b'x'; 32 << 20] }))
            .route("/echo", post(|body: String| async { body }));
        let shutdown = CancellationToken::new();
        tokio::spawn(serve_local(router, listener, limits, shutdown.clone()));
        Socket { path, _folder: folder, _shutdown: shutdown.drop_guard() }
    }

    async fn connect(path: &Path, says: &str) -> UnixStream {
        let mut stream = UnixStream::connect(path).await.expect("it listens");
        stream.write_all(says.as_bytes()).await.expect("it takes what is said");
        stream
    }

    /// All that comes until the connection ends, as it must.
    async fn end_of(mut stream: UnixStream) -> String {
        let mut said = Vec::new();
        let read = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut said)).await;
        // Reset or ended: it is over.
        let _ = read.expect("the connection ends by itself");
        String::from_utf8_lossy(&said).into_owned()
    }

    async fn asks(path: &Path) -> String {
        end_of(connect(path, "GET /status HTTP/1.1\r\nhost: worker\r\n\r\n").await).await
    }

    #[tokio::test]
    async fn a_request_is_answered_and_its_connection_ends_with_it() {
        let socket = start(LocalLimits::default());
        let answer = asks(&socket.path).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("well"), "{answer}");
    }

    #[tokio::test]
    async fn who_says_nothing_or_half_a_head_or_half_a_body_is_cut_off_in_time() {
        let short = Duration::from_millis(100);
        let socket = start(LocalLimits { head: short, whole: 5 * short, ..LocalLimits::default() });
        for half in ["", "GET /sta", "POST /echo HTTP/1.1\r\nhost: worker\r\ncontent-length: 9\r\n\r\nhalf"] {
            let answer = end_of(connect(&socket.path, half).await).await;
            assert!(!answer.contains("200"), "{half:?}: {answer}");
        }
    }

    #[tokio::test]
    async fn who_takes_nothing_of_a_large_answer_is_cut_off() {
        let short = Duration::from_millis(100);
        let socket = start(LocalLimits { write: short, ..LocalLimits::default() });
        let mut stream = connect(&socket.path, "GET /large HTTP/1.1\r\nhost: worker\r\n\r\n").await;
        let mut first = [0; 1];
        stream.read_exact(&mut first).await.expect("the answer begins");
        // The far end is gone when nothing can be sent to it any more.
        let gone = async {
            while stream.write_all(b"x").await.is_ok() {
                tokio::time::sleep(short).await;
            }
        };
        tokio::time::timeout(DEADLINE, gone).await.expect("the connection ends by itself");
        assert!(end_of(stream).await.len() < 32 << 20);
    }

    #[tokio::test]
    async fn two_hundred_silent_connections_keep_nobody_out_and_only_sixteen_are_held() {
        let socket = start(LocalLimits { head: DEADLINE, whole: DEADLINE, ..LocalLimits::default() });
        let mut silent = Vec::new();
        for _ in 0..200 {
            silent.push(connect(&socket.path, "").await);
            if silent.len() % 50 == 0 {
                assert!(asks(&socket.path).await.starts_with("HTTP/1.1 200"));
            }
        }
        // All but the youngest have given way.
        silent.truncate(200 - 16);
        for stream in silent {
            assert_eq!(end_of(stream).await, "");
        }
    }

    #[tokio::test]
    async fn a_body_or_a_head_that_is_too_large_is_refused() {
        let socket = start(LocalLimits::default());
        let body = "x".repeat(65 << 10);
        let head = format!("POST /echo HTTP/1.1\r\nhost: worker\r\ncontent-length: {}\r\n\r\n", body.len());
        let mut stream = connect(&socket.path, &head).await;
        // It may be refused before all of it is there.
        let _ = stream.write_all(body.as_bytes()).await;
        assert!(!end_of(stream).await.starts_with("HTTP/1.1 200"));
        let mut stream = UnixStream::connect(&socket.path).await.expect("it listens");
        let head = format!("GET /status HTTP/1.1\r\nhost: worker\r\nx: {}\r\n\r\n", "x".repeat(64 << 10));
        let _ = stream.write_all(head.as_bytes()).await;
        assert!(!end_of(stream).await.starts_with("HTTP/1.1 200"));
    }
}
