use std::net::Ipv4Addr;

use axum::routing::{get, post};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::shutdown::Cause;

const DEADLINE: Duration = Duration::from_secs(20);

struct Running {
    address: SocketAddr,
    shutdown: Shutdown,
    server: tokio::task::JoinHandle<()>,
}

async fn start(limits: ServeLimits) -> Running {
    let router = Router::new()
        .route(
            "/peer",
            get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.ip().to_string() }),
        )
        .route("/echo", post(|body: String| async move { body }))
        .route("/endless", get(std::future::pending::<()>));
    let shutdown = Shutdown::new();
    let bound = bind("test", SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.expect("bound");
    let address = bound.address;
    assert_ne!(address.port(), 0);
    let server = tokio::spawn(serve(router, bound, limits, None, shutdown.clone()));
    Running { address, shutdown, server }
}

impl Running {
    /// Sends bytes and returns everything until the server closes.
    async fn exchange(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.expect("connected");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = Vec::new();
        let read =
            tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer)).await.expect("closed in time");
        // A reset is a way of closing, too.
        drop(read);
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn stop(self) {
        self.shutdown.request(Cause::Requested("test is over".into()));
        tokio::time::timeout(DEADLINE, self.server).await.expect("stopped in time").expect("no panic");
    }
}

fn short() -> ServeLimits {
    let brief = Duration::from_millis(50);
    ServeLimits { header_timeout: brief, body_timeout: brief, drain_timeout: brief, ..ServeLimits::default() }
}

#[tokio::test]
async fn handlers_learn_the_address_of_their_peer() {
    let running = start(ServeLimits::default()).await;
    let answer = running.exchange("GET /peer HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("127.0.0.1"), "{answer}");
    running.stop().await;
}

#[tokio::test]
async fn a_client_that_never_finishes_its_head_or_body_is_cut_off() {
    let running = start(short()).await;
    assert_eq!(running.exchange("GET /peer HTTP/1.1\r\nHost:").await.find("200"), None);
    let answer = running.exchange("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc").await;
    assert!(!answer.contains(" 200 "), "{answer}");
    running.stop().await;
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let running = start(ServeLimits { max_body_bytes: 8, ..ServeLimits::default() }).await;
    let request = "POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 9\r\n\r\n123456789";
    let answer = running.exchange(request).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    running.stop().await;
}

#[tokio::test]
async fn shutdown_ends_even_with_a_request_that_never_ends() {
    let running = start(short()).await;
    let mut stream = TcpStream::connect(running.address).await.expect("connected");
    stream.write_all(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("sent");
    running.stop().await;
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut rest)).await.expect("closed in time");
}

#[tokio::test]
async fn a_taken_port_is_named_in_the_error() {
    let first = bind("first", SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.expect("bound");
    let error = bind("second", first.address).await.expect_err("taken").to_string();
    assert!(error.contains("second") && error.contains(&first.address.to_string()), "{error}");
}
