//! What a stranger sends to an HTTP listener: the real one, over a real socket.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown as Half, SocketAddr, TcpStream};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use lode_program::listen::{Hosts, ServeLimits, bind, serve};
use lode_program::shutdown::Shutdown;
use socket2::{Domain, Socket, Type};
use tokio::runtime::Runtime;

const DEADLINE: Duration = Duration::from_secs(30);
const HONEST: &[u8] = b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

/// A listener as every program has them, for as long as the process lives.
struct Listener {
    address: SocketAddr,
    /// What it runs on.
    _runtime: Runtime,
}

static LISTENER: LazyLock<Listener> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let bound =
        runtime.block_on(bind("fuzz", (Ipv4Addr::LOCALHOST, 0).into())).expect("a free port of loopback");
    let address = bound.address;
    let router = Router::new()
        .route("/livez", get(|| async { "alive" }))
        .route("/echo", post(|body: String| async { body }));
    let hosts = Hosts::new([], "health.hosts");
    runtime.spawn(serve(router, bound, hosts, ServeLimits::default(), None, Shutdown::new()));
    Listener { address, _runtime: runtime }
});

/// From ever another address of loopback: ports of ended connections rest for a minute, and a fuzzer is quick.
fn connect() -> TcpStream {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let [high, low] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let from = SocketAddr::from((Ipv4Addr::new(127, 1, high, low), 0));
    socket.bind(&from.into()).expect("all of 127.0.0.0/8 is loopback");
    socket.connect(&LISTENER.address.into()).expect("the listener takes connections");
    socket.into()
}

/// Whether more is sent on a connection, or this was all.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Said,
    Left,
}

/// All that comes back until the listener ends the connection; none where it reset it.
fn answer(request: &[u8], end: End) -> Vec<u8> {
    let mut stream = connect();
    stream.set_read_timeout(Some(DEADLINE)).expect("a time");
    stream.set_write_timeout(Some(DEADLINE)).expect("a time");
    // It may have ended the connection before all was sent.
    let sent = stream.write_all(request);
    if end == End::Said {
        let _ = sent.and_then(|()| stream.shutdown(Half::Write));
    }
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        let waits = matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut);
        assert!(!waits, "the connection does not end");
    }
    answer
}

/// Whatever is sent, the connection ends, what comes back is HTTP/1 and no failure of ours, and the next one is served.
pub(super) fn http(bytes: &[u8]) {
    let said = answer(bytes, End::Said);
    assert!(said.is_empty() || said.starts_with(b"HTTP/1."), "{}", String::from_utf8_lossy(&said));
    assert!(!said.starts_with(b"HTTP/1.1 5"), "{}", String::from_utf8_lossy(&said));
    let honest = answer(HONEST, End::Left);
    assert!(honest.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&honest));
}
