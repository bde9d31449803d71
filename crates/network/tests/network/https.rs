//! The HTTPS fallback: certificates and trouble of the transport.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use lode_network::{
    ClientEvent, NetworkError, PeerServer, Protocol, ServerConfig, ServerIdentity, Transport,
};
use lode_program::listen::{Hosts, ServeLimits, bind, serve};
use lode_program::shutdown::Shutdown;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::support::*;

async fn serve_tls(orchestrator: &Orchestrator, identity: &ServerIdentity) -> (SocketAddr, Shutdown) {
    serve_wire(orchestrator, Some(identity)).await
}

/// As programs serve it, so that requests tell where they come from.
async fn serve_wire(
    orchestrator: &Orchestrator,
    identity: Option<&ServerIdentity>,
) -> (SocketAddr, Shutdown) {
    let bound = bind("wire", "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = bound.address;
    let shutdown = Shutdown::new();
    let patience = Duration::from_secs(600);
    let limits = ServeLimits {
        max_body_bytes: 2 << 20,
        body_timeout: patience,
        whole_body_timeout: patience,
        ..ServeLimits::default()
    };
    let routes = orchestrator.server.wire_routes(axum::Router::new());
    let hosts = Hosts::new([], "wire.hosts");
    let tls = identity.map(ServerIdentity::server_config);
    tokio::spawn(serve(routes, bound, hosts, limits, tls, shutdown.clone()));
    (address, shutdown)
}

#[tokio::test]
async fn a_pinned_certificate_is_accepted_and_no_other() {
    let orchestrator = Orchestrator::usual(1).await;
    let (identity, _) = ServerIdentity::self_signed(&["127.0.0.1".to_owned()]).unwrap();
    let (other, _) = ServerIdentity::self_signed(&["127.0.0.1".to_owned()]).unwrap();
    let (address, _serving) = serve_tls(&orchestrator, &identity).await;
    let pinned = |identity: &ServerIdentity| {
        format!("https://{address}#sha256={}", identity.fingerprint()).parse().unwrap()
    };
    let mut worker = Worker::start(2, quick(&orchestrator.key, vec![pinned(&identity)])).await;
    assert_eq!(worker.connected().await, Transport::Https);
    worker.round_trip(b"sealed").await;
    let mut deceived = Worker::start(3, quick(&orchestrator.key, vec![pinned(&other)])).await;
    match deceived.next().await {
        ClientEvent::ConnectFailed { error, .. } => {
            assert_eq!(error.code(), "network/pin-mismatch", "{error}")
        }
        unexpected => panic!("{unexpected:?}"),
    }
}

#[tokio::test]
async fn a_self_signed_certificate_without_a_pin_is_refused() {
    lode_program::install_crypto_provider();
    let orchestrator = Orchestrator::usual(1).await;
    let (identity, _) = ServerIdentity::self_signed(&["127.0.0.1".to_owned()]).unwrap();
    let (address, _serving) = serve_tls(&orchestrator, &identity).await;
    let url = format!("https://{address}").parse().unwrap();
    let mut worker = Worker::start(2, quick(&orchestrator.key, vec![url])).await;
    match worker.next().await {
        ClientEvent::ConnectFailed { error, .. } => {
            assert_eq!(error.code(), "network/http-failed", "{error}")
        }
        unexpected => panic!("{unexpected:?}"),
    }
    assert!(orchestrator.seen().is_empty());
}

/// Sends raw bytes and returns what comes back until the server closes or the answer's head is complete.
async fn raw(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    let read = timeout(DEADLINE, async {
        while !String::from_utf8_lossy(&answer).contains("\"code\"") {
            if stream.read_buf(&mut answer).await.unwrap() == 0 {
                break;
            }
        }
    });
    read.await.expect("an answer, although the body never came");
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn an_oversized_body_is_refused_before_it_is_read() {
    let orchestrator = Orchestrator::usual(1).await;
    let address = orchestrator.serve_http().await;
    let limit = Protocol::Session.opener_limit();
    let announced = format!(
        "POST /wire/v1 HTTP/1.1\r\nhost: x\r\ncontent-type: application/cbor\r\ncontent-length: {}\r\n\r\n",
        limit + 1
    );
    let answer = raw(address, announced.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.contains("wire/too-large") && answer.contains("application/problem+json"), "{answer}");
    // Without an announcement it is refused when the cap is passed, not when the body ends: this one never ends.
    let mut endless = b"POST /wire/v1 HTTP/1.1\r\nhost: x\r\ncontent-type: application/cbor\r\n\
        transfer-encoding: chunked\r\n\r\n"
        .to_vec();
    endless.extend_from_slice(format!("{:x}\r\n", limit + 1).as_bytes());
    endless.resize(endless.len() + limit + 1, b'x');
    let answer = raw(address, &endless).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(orchestrator.seen().is_empty(), "no byte of it reached the program");
}

#[tokio::test]
async fn trouble_of_the_transport_has_a_code() {
    let config = ServerConfig { body_timeout: Duration::from_millis(100), ..ServerConfig::default() };
    let orchestrator = Orchestrator::start(key(1), listening(), config).await;
    let address = orchestrator.serve_http().await;
    for (request, status, code) in [
        ("content-type: text/plain\r\ncontent-length: 1\r\n\r\nx", "415", "wire/media-type"),
        ("content-type: application/cbor\r\ncontent-length: 0\r\n\r\n", "400", "wire/empty"),
        ("content-type: application/cbor\r\ncontent-length: 5\r\n\r\nx", "408", "wire/body-timeout"),
        ("content-type: application/cbor\r\ncontent-length: 1\r\n\r\n!", "503", "wire/no-answer"),
    ] {
        let answer = raw(address, format!("POST /wire/v1 HTTP/1.1\r\nhost: x\r\n{request}").as_bytes()).await;
        assert!(answer.contains(&format!(" {status} ")) && answer.contains(code), "{code}: {answer}");
    }
}

#[tokio::test]
async fn a_connection_stays_after_what_was_taken_and_after_nothing_else() {
    let orchestrator = Orchestrator::usual(1).await;
    let (address, _serving) = serve_wire(&orchestrator, None).await;
    let post = |path: &str, body: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/cbor\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let taken = [post("/wire/v1", "sealed"), post("/wire/v1/logs", "wanted")].concat();
    for (last, status) in [
        (post("/wire/v1", "?refused"), "200"),
        (post("/wire/v1", "%too often"), "429"),
        (post("/wire/v1/logs", "not that"), "410"),
        ("GET /wire/v1 HTTP/1.1\r\nhost: localhost\r\n\r\n".to_owned(), "204"),
        ("GET /elsewhere HTTP/1.1\r\nhost: localhost\r\n\r\n".to_owned(), "404"),
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("{taken}{last}").as_bytes()).await.unwrap();
        let mut answers = String::new();
        let closed = timeout(DEADLINE, stream.read_to_string(&mut answers)).await.expect("closed");
        closed.unwrap();
        let heads: Vec<&str> = answers.split("HTTP/1.1 ").skip(1).collect();
        assert_eq!(heads.len(), 3, "{answers}");
        assert!(heads[2].starts_with(status) && heads[2].contains("connection: close"), "{answers}");
        assert!(heads[..2].iter().all(|head| !head.contains("connection: close")), "{answers}");
    }
}

#[tokio::test]
async fn an_unanswered_request_ends_the_link_with_its_code() {
    let orchestrator = Orchestrator::usual(1).await;
    let url = http(orchestrator.serve_http().await);
    let mut worker = Worker::start(2, quick(&orchestrator.key, vec![url])).await;
    worker.connected().await;
    worker.client.send(b"!unanswered".to_vec()).unwrap();
    match worker.disconnected().await {
        NetworkError::HttpRefused { status: 503, code, .. } => assert_eq!(code, "wire/no-answer"),
        other => panic!("{other:?}"),
    }
    worker.connected_at_last().await;
    worker.round_trip(b"next").await;
}

#[tokio::test]
async fn more_requests_than_places_are_refused_at_once() {
    let running = endpoint(&key(1), listening()).await;
    let config = ServerConfig { http_requests: 1, ..ServerConfig::default() };
    let (server, task, mut events) = PeerServer::sessions(running.endpoint.clone(), config).await.unwrap();
    tokio::spawn(task.run(running.shutdown.clone()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(axum::serve(listener, server.wire_routes::<()>(axum::Router::new())).into_future());
    let request =
        b"POST /wire/v1 HTTP/1.1\r\nhost: x\r\ncontent-type: application/cbor\r\ncontent-length: 1\r\n\r\nx";
    let mut first = TcpStream::connect(address).await.unwrap();
    first.write_all(request).await.unwrap();
    let held = timeout(DEADLINE, events.recv()).await.unwrap().unwrap();
    let answer = raw(address, request).await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("wire/busy"), "{answer}");
    assert!(answer.to_lowercase().contains("retry-after: 1"), "{answer}");
    drop(held);
}

/// A connection from one of loopback's addresses.
async fn from(last: u8, address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::new(127, 0, 0, last), 0).into()).unwrap();
    timeout(DEADLINE, socket.connect(address)).await.unwrap().unwrap()
}

/// A request whose body is being waited for and never comes.
async fn silent_body(last: u8, address: SocketAddr) -> TcpStream {
    let mut stream = from(last, address).await;
    let head = b"POST /wire/v1 HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/cbor\r\n\
        content-length: 5\r\nexpect: 100-continue\r\n\r\n";
    stream.write_all(head).await.unwrap();
    let mut answer = vec![0; b"HTTP/1.1 100".len()];
    timeout(DEADLINE, stream.read_exact(&mut answer)).await.expect("the body is asked for").unwrap();
    assert_eq!(answer, b"HTTP/1.1 100");
    stream
}

/// Everything that is answered to a whole request.
async fn post(last: u8, address: SocketAddr, path: &str, body: &str) -> String {
    let mut stream = from(last, address).await;
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/cbor\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = timeout(DEADLINE, stream.read_to_end(&mut answer)).await.expect("an answer");
    // A reset is a way of closing, too.
    drop(read);
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn bodies_that_never_come_take_the_share_of_their_address_and_no_more() {
    for loopback_has_all in [false, true] {
        let config = ServerConfig {
            http_requests: 4,
            http_requests_per_address: 2,
            http_loopback_has_all: loopback_has_all,
            body_timeout: Duration::from_secs(600),
            ..ServerConfig::default()
        };
        let orchestrator = Orchestrator::start(key(1), listening(), config).await;
        let (address, _serving) = serve_wire(&orchestrator, None).await;
        let held = [silent_body(1, address).await, silent_body(1, address).await];
        // Answered over another address, and over their own where it may stand for many.
        let answered = if loopback_has_all { [2, 1] } else { [2, 3] };
        for last in answered {
            let answer = post(last, address, "/wire/v1", "sealed").await;
            assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("re:sealed"), "{last}: {answer}");
        }
        if !loopback_has_all {
            for path in ["/wire/v1", "/wire/v1/logs"] {
                let answer = post(1, address, path, "wanted").await;
                assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
                assert!(answer.contains("wire/too-many-of-one-address"), "{answer}");
            }
        }
        // Whoever goes frees its place.
        drop(held);
        let again = timeout(DEADLINE, async {
            while !post(1, address, "/wire/v1/logs", "wanted").await.starts_with("HTTP/1.1 204") {}
        });
        again.await.expect("the places are free again");
    }
}
