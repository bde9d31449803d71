//! Attacks and honest requests on real sockets. What is measured in time has wide margins: a limit that must not be the
//! one that strikes is far longer than the test waits.

use std::convert::Infallible;
use std::net::Ipv4Addr;

use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use axum::http::StatusCode;
use axum::routing::{get, post};
use futures::StreamExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::*;
use crate::shutdown::Cause;

const DEADLINE: Duration = Duration::from_secs(20);
/// Longer than any test waits.
const NEVER: Duration = Duration::from_secs(600);
const BRIEF: Duration = Duration::from_millis(50);
const LARGE: usize = 8 << 20;
const PEER: &str = "GET /peer HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
const GET_LARGE: &[u8] = b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n";

struct Running {
    address: SocketAddr,
    shutdown: Shutdown,
    places: Arc<Places>,
    /// Lets the stream of events say its second.
    event: Arc<Notify>,
    server: tokio::task::JoinHandle<()>,
}

async fn start(limits: ServeLimits) -> Running {
    let event = Arc::new(Notify::new());
    let events = Arc::clone(&event);
    let router = Router::new()
        .route(
            "/peer",
            get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.ip().to_string() }),
        )
        .route("/token", axum::routing::any(async || StatusCode::UNAUTHORIZED))
        .route("/often", get(async || StatusCode::TOO_MANY_REQUESTS))
        .route("/echo", post(|body: String| async move { body }))
        .route("/endless", get(std::future::pending::<()>))
        .route("/large", get(async || vec![b'x'; LARGE]))
        .route(
            "/events",
            get(move || {
                let events = Arc::clone(&events);
                let second = async move {
                    events.notified().await;
                    Bytes::from_static(b"second")
                };
                let first = futures::stream::iter([Bytes::from_static(b"first")]);
                let pieces = first.chain(futures::stream::once(second)).map(Ok::<_, Infallible>);
                std::future::ready(Body::from_stream(pieces))
            }),
        );
    let shutdown = Shutdown::new();
    let bound = bind("test", SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.expect("bound");
    let address = bound.address;
    assert_ne!(address.port(), 0);
    let (places, drain) = (Places::counting_loopback(&limits), limits.drain_timeout);
    let server = Server::new(router, None, Hosts::new([], "test.hosts"), limits);
    let serving = accept_all(server, Arc::clone(&places), bound, drain, shutdown.clone());
    Running { address, shutdown, places, event, server: tokio::spawn(serving) }
}

impl Running {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("connected")
    }

    /// Sends bytes and returns everything until the server closes.
    async fn exchange(&self, request: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.expect("sent");
        String::from_utf8_lossy(&rest_of(&mut stream).await).into_owned()
    }

    /// Sends `begin`, then one byte after the other, until the server closes; what it said.
    async fn drip(&self, begin: &str) -> String {
        let (mut reader, mut writer) = self.connect().await.into_split();
        writer.write_all(begin.as_bytes()).await.expect("sent");
        let drops = async {
            while writer.write_all(b"x").await.is_ok() {
                tokio::time::sleep(BRIEF / 5).await;
            }
            std::future::pending::<()>().await;
        };
        let mut answer = Vec::new();
        tokio::select! {
            read = tokio::time::timeout(DEADLINE, reader.read_to_end(&mut answer)) => drop(read.expect("closed in time")),
            () = drops => {}
        }
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn stop(self) {
        self.shutdown.request(Cause::Requested("test is over".into()));
        tokio::time::timeout(DEADLINE, self.server).await.expect("stopped in time").expect("no panic");
    }
}

async fn rest_of(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    let read = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut rest)).await.expect("closed in time");
    // A reset is a way of closing, too.
    drop(read);
    rest
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(DEADLINE, waiting).await.expect(what);
}

/// No limit in time strikes within a test.
fn patient() -> ServeLimits {
    ServeLimits {
        first_byte_timeout: NEVER,
        header_timeout: NEVER,
        body_timeout: NEVER,
        whole_body_timeout: NEVER,
        write_timeout: NEVER,
        drain_timeout: BRIEF,
        ..ServeLimits::default()
    }
}

#[tokio::test]
async fn handlers_learn_the_address_of_their_peer() {
    let running = start(ServeLimits::default()).await;
    let answer = running.exchange(PEER).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("127.0.0.1"), "{answer}");
    running.stop().await;
}

#[tokio::test]
async fn a_silent_connection_is_closed() {
    let running = start(ServeLimits { first_byte_timeout: BRIEF, ..patient() }).await;
    assert_eq!(running.exchange("").await, "");
    running.stop().await;
}

#[tokio::test]
async fn a_connection_that_says_one_letter_is_closed() {
    let running = start(ServeLimits { header_timeout: BRIEF, ..patient() }).await;
    let answer = running.exchange("P").await;
    assert!(!answer.contains(" 200 "), "{answer}");
    running.stop().await;
}

#[tokio::test]
async fn the_preface_of_http_2_is_closed_at_once() {
    let running = start(patient()).await;
    let settings = "\0\0\0\x04\0\0\0\0\0";
    let answer = running.exchange(&format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{settings}")).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer:?}");
    running.stop().await;
}

#[tokio::test]
async fn a_head_that_comes_byte_by_byte_is_cut_off() {
    let running = start(ServeLimits { header_timeout: BRIEF * 2, ..patient() }).await;
    let answer = running.drip("GET /peer HTTP/1.1\r\nHost: localhost\r\nX: ").await;
    assert!(!answer.contains(" 200 "), "{answer}");
    running.stop().await;
}

#[tokio::test]
async fn a_keep_alive_connection_has_to_send_its_next_head_in_time() {
    let running = start(ServeLimits { header_timeout: BRIEF * 60, ..patient() }).await;
    for next in ["", "G"] {
        let answer = running.exchange(&format!("GET /peer HTTP/1.1\r\nHost: localhost\r\n\r\n{next}")).await;
        assert_eq!(answer.matches(" 200 ").count(), 1, "{answer}");
    }
    running.stop().await;
}

#[tokio::test]
async fn a_body_that_stays_away_or_comes_byte_by_byte_is_cut_off() {
    let head = "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n";
    let running = start(ServeLimits { body_timeout: BRIEF, ..patient() }).await;
    let answer = running.exchange(&format!("{head}abc")).await;
    assert!(!answer.contains(" 200 "), "{answer}");
    running.stop().await;
    let running = start(ServeLimits { whole_body_timeout: BRIEF * 2, ..patient() }).await;
    let answer = running.drip(head).await;
    assert!(!answer.contains(" 200 "), "{answer}");
    running.stop().await;
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let running = start(ServeLimits { max_body_bytes: 8, ..ServeLimits::default() }).await;
    let request =
        "POST /echo HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 9\r\n\r\n123456789";
    let answer = running.exchange(request).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    running.stop().await;
}

#[tokio::test]
async fn whose_body_was_not_read_is_told_that_the_connection_closes_and_others_keep_it() {
    let running = start(patient()).await;
    let post =
        |path: &str| format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody");
    let (read, unread) = (post("/echo"), post("/token"));
    let answers = running.exchange(&format!("{read}{read}{unread}")).await;
    let heads: Vec<&str> = answers.split("HTTP/1.1 ").skip(1).collect();
    assert_eq!(heads.len(), 3, "{answers}");
    assert!(heads[2].starts_with("401") && heads[2].contains("connection: close"), "{answers}");
    assert!(
        heads[..2].iter().all(|head| head.starts_with("200") && !head.contains("connection: close")),
        "{answers}"
    );
    running.stop().await;
}

#[tokio::test]
async fn who_is_refused_often_waits_for_it_and_keeps_nobody_out_meanwhile() {
    let limits = ServeLimits {
        max_connections: 2,
        refusals_per_second: 1,
        refusal_burst: 1,
        refusal_delay: NEVER,
        ..patient()
    };
    let running = start(limits).await;
    let refused = "GET /token HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert!(running.exchange(refused).await.starts_with("HTTP/1.1 401"), "the first is answered at once");
    assert!(running.exchange(PEER).await.starts_with("HTTP/1.1 200"), "nor does what is no refusal wait");
    running.places.refuse(Ipv4Addr::LOCALHOST.into(), 500);
    let mut waiting = Vec::new();
    for path in ["/token", "/often"] {
        let mut stream = running.connect().await;
        stream.write_all(refused.replace("/token", path).as_bytes()).await.expect("sent");
        waiting.push(stream);
    }
    until("both have places", || running.places.taken() == 2).await;
    assert!(running.exchange(PEER).await.starts_with("HTTP/1.1 200"), "the oldest gives way");
    assert!(rest_of(&mut waiting[0]).await.is_empty());
    drop(waiting);
    running.stop().await;
}

#[tokio::test]
async fn a_silent_connection_does_not_hold_up_the_end() {
    let running = start(ServeLimits { drain_timeout: NEVER, ..patient() }).await;
    let mut held = Vec::new();
    for begun in ["", "G", "GET /peer HTTP/1.1\r\nHost: localhost\r\n"] {
        let mut stream = running.connect().await;
        stream.write_all(begun.as_bytes()).await.expect("sent");
        held.push(stream);
    }
    until("they have places", || running.places.taken() == 3).await;
    running.stop().await;
}

#[tokio::test]
async fn a_head_without_end_is_refused_before_it_is_large() {
    let running = start(patient()).await;
    let mut stream = running.connect().await;
    let head = format!("GET /peer HTTP/1.1\r\nHost: localhost\r\nX: {}", "x".repeat(1 << 20));
    // The server may close before it has read everything.
    drop(stream.write_all(head.as_bytes()).await);
    let answer = String::from_utf8_lossy(&rest_of(&mut stream).await).into_owned();
    assert!(!answer.contains(" 200 "), "{answer}");
    running.stop().await;
}

#[tokio::test]
async fn a_reader_that_never_reads_is_cut_off_and_holds_nothing_after() {
    let running = start(ServeLimits { write_timeout: BRIEF, ..patient() }).await;
    let mut stream = running.connect().await;
    until("it has a place", || running.places.taken() == 1).await;
    stream.write_all(GET_LARGE).await.expect("sent");
    // Nothing is read until the server has let go.
    until("its place is free", || running.places.taken() == 0).await;
    assert_eq!(running.places.unsent_bytes(), 0);
    assert!(rest_of(&mut stream).await.len() < LARGE);
    running.stop().await;
}

#[tokio::test]
async fn what_a_slow_reader_has_asked_for_is_counted_and_has_a_limit() {
    let limits = ServeLimits { max_unsent_per_address: LARGE as u64, ..patient() };
    let running = start(limits).await;
    let mut slow = running.connect().await;
    slow.write_all(GET_LARGE).await.expect("sent");
    until("the answer is counted", || running.places.unsent_bytes() == LARGE).await;
    let refused =
        running.exchange("GET /large HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("http/too-much-unsent"), "{refused}");
    assert!(running.exchange(PEER).await.starts_with("HTTP/1.1 200"), "small answers need no room");
    drop(slow);
    until("what is dropped is not counted", || running.places.unsent_bytes() == 0).await;
    // Who reads what it asked for gets all of it, as often as it likes.
    for _ in 0..3 {
        let mut stream = running.connect().await;
        stream
            .write_all(b"GET /large HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .await
            .expect("sent");
        assert!(rest_of(&mut stream).await.len() > LARGE);
        until("what is sent is not counted", || running.places.unsent_bytes() == 0).await;
    }
    running.stop().await;
}

#[tokio::test]
async fn a_stream_that_has_nothing_to_say_stays_open() {
    let running = start(ServeLimits { write_timeout: BRIEF, ..patient() }).await;
    let mut stream = running.connect().await;
    stream
        .write_all(b"GET /events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await
        .expect("sent");
    let mut answer = Vec::new();
    while !String::from_utf8_lossy(&answer).contains("first") {
        assert_ne!(stream.read_buf(&mut answer).await.expect("open"), 0, "closed");
    }
    // Time is what is tried here: several times what a stalled writer gets.
    tokio::time::sleep(BRIEF * 6).await;
    running.event.notify_one();
    let rest = String::from_utf8_lossy(&rest_of(&mut stream).await).into_owned();
    assert!(rest.contains("second"), "{rest}");
    running.stop().await;
}

#[tokio::test]
async fn an_honest_request_gets_through_when_silent_connections_hold_all_places() {
    let running = start(ServeLimits { max_connections: 4, ..patient() }).await;
    let mut silent = Vec::new();
    for _ in 0..4 {
        silent.push(running.connect().await);
    }
    until("all places are taken", || running.places.taken() == 4).await;
    let answer = running.exchange(PEER).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(rest_of(&mut silent[0]).await.is_empty(), "the oldest was closed");
    let mut third = silent.swap_remove(2);
    third.write_all(PEER.as_bytes()).await.expect("sent");
    assert!(!rest_of(&mut third).await.is_empty(), "a younger one is served");
    running.stop().await;
}

#[tokio::test]
async fn one_address_has_no_more_connections_than_its_share() {
    let running = start(ServeLimits { max_connections_per_address: 1, ..patient() }).await;
    let mut first = running.connect().await;
    until("it has a place", || running.places.taken() == 1).await;
    assert_eq!(running.exchange("").await, "");
    first.write_all(PEER.as_bytes()).await.expect("sent");
    assert!(!rest_of(&mut first).await.is_empty());
    running.stop().await;
}

#[tokio::test]
async fn a_page_of_elsewhere_whose_name_leads_here_reads_nothing() {
    let running = start(patient()).await;
    for (head, status) in [
        ("GET /peer HTTP/1.1\r\nHost: evil.example", "403"),
        ("GET /peer HTTP/1.1\r\nHost: localhost\r\nHost: evil.example", "400"),
        ("GET http://evil.example/peer HTTP/1.1\r\nHost: localhost", "400"),
        ("GET /peer HTTP/1.0", "400"),
    ] {
        let answer = running.exchange(&format!("{head}\r\nConnection: close\r\n\r\n")).await;
        assert!(answer.contains(&format!(" {status} ")), "{head}: {answer}");
        assert!(answer.contains("api/host-refused") && answer.contains("test.hosts"), "{head}: {answer}");
    }
    running.stop().await;
}

#[tokio::test]
async fn shutdown_ends_even_with_a_request_that_never_ends() {
    let running = start(patient()).await;
    let mut stream = running.connect().await;
    stream.write_all(b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("sent");
    until("it is served", || running.places.taken() == 1).await;
    running.stop().await;
    rest_of(&mut stream).await;
}

#[tokio::test]
async fn connections_end_with_the_task_that_accepted_them() {
    let running = start(patient()).await;
    let mut stream = running.connect().await;
    until("it has a place", || running.places.taken() == 1).await;
    running.server.abort();
    assert!(rest_of(&mut stream).await.is_empty());
}

#[tokio::test]
async fn a_taken_port_is_named_in_the_error() {
    let first = bind("first", SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.expect("bound");
    let error = bind("second", first.address).await.expect_err("taken").to_string();
    assert!(error.contains("second") && error.contains(&first.address.to_string()), "{error}");
}
