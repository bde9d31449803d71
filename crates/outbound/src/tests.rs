//! On hostile servers. The test's "public internet" is 127.0.0.2: the rest of the loopback network is private to it.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use futures::future::BoxFuture;
use futures::{StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use lode_program::listen::{Hosts, ServeLimits, bind, serve};
use lode_program::{Shutdown, install_crypto_provider};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_util::sync::DropGuard;

use super::*;

const PUBLIC: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const PRIVATE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Far longer than anything takes; reaching it is a failure.
const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(300);

/// What a server was asked.
#[derive(Clone, Debug, Default)]
struct Seen {
    secrets: Arc<AtomicUsize>,
    /// Whether credentials came with each question who it is.
    credentials: Arc<Mutex<Vec<bool>>>,
}

struct Server {
    address: SocketAddr,
    /// Empty: plain HTTP.
    pin: String,
    seen: Seen,
    _stop: DropGuard,
}

impl Server {
    async fn start(ip: IpAddr) -> Server {
        Self::serve(ip, Some(self_signed(ip))).await
    }

    async fn serve(ip: IpAddr, identity: Option<(Fingerprint, Arc<ServerConfig>)>) -> Server {
        install_crypto_provider();
        let bound = bind("hostile", SocketAddr::new(ip, 0)).await.unwrap();
        let (address, seen) = (bound.address, Seen::default());
        let router = Router::new()
            .route("/hello", get(async || "hello"))
            .route("/query", get(async |uri: Uri| uri.query().unwrap_or_default().to_owned()))
            .route("/gone", get(async || StatusCode::GONE))
            .route("/slow-head", get(async || -> &'static str { std::future::pending().await }))
            .route("/slow-body", get(async || streamed(stream::iter([piece(1)]).chain(stream::pending()))))
            .route("/drip", get(async || streamed(stream::unfold((), drip))))
            .route("/endless", get(async || streamed(stream::repeat_with(|| piece(1_024)))))
            .route("/announced", get(announced))
            .route("/round", get(async || moved("/round")))
            .route("/to", get(async |uri: Uri| moved(uri.query().unwrap_or_default())))
            .route("/secret", get(secret))
            .route("/whoami", get(whoami))
            .with_state(seen.clone());
        let pin = identity.as_ref().map(|(fingerprint, _)| format!("#sha256={fingerprint}"));
        let tls = identity.map(|(_, config)| config);
        let stop = Shutdown::new();
        // Ends with the guard.
        let (hosts, limits) = (Hosts::new([], "none"), ServeLimits::default());
        tokio::spawn(serve(router, bound, hosts, limits, tls, stop.clone()));
        Server { address, pin: pin.unwrap_or_default(), seen, _stop: stop.token().drop_guard() }
    }

    fn base(&self) -> String {
        format!("{}://{}", if self.pin.is_empty() { "http" } else { "https" }, self.address)
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}{}", self.base(), self.pin)
    }

    /// Under a name that a resolver knows.
    fn url_of(&self, host: &str, path: &str) -> String {
        format!("https://{host}:{}{path}{}", self.address.port(), self.pin)
    }
}

/// A certificate that nobody knows but who pins it.
fn self_signed(ip: IpAddr) -> (Fingerprint, Arc<ServerConfig>) {
    let made = rcgen::generate_simple_self_signed([ip.to_string()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let certificate = made.cert.der().clone();
    let fingerprint = Fingerprint::of(certificate.as_ref());
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    (fingerprint, Arc::new(config))
}

fn piece(bytes: usize) -> io::Result<Bytes> {
    Ok(Bytes::from(vec![b'x'; bytes]))
}

fn streamed(pieces: impl futures::Stream<Item = io::Result<Bytes>> + Send + 'static) -> Response {
    Body::from_stream(pieces).into_response()
}

async fn drip((): ()) -> Option<(io::Result<Bytes>, ())> {
    tokio::time::sleep(Duration::from_millis(20)).await;
    Some((piece(1), ()))
}

/// Says how much will come, and sends none of it.
async fn announced() -> Response {
    let mut response = streamed(stream::pending());
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("1000000"));
    response
}

fn moved(to: &str) -> Response {
    (StatusCode::FOUND, [(header::LOCATION, to.to_owned())]).into_response()
}

async fn secret(State(seen): State<Seen>) -> &'static str {
    seen.secrets.fetch_add(1, Ordering::Relaxed);
    "secret"
}

async fn whoami(State(seen): State<Seen>, headers: HeaderMap) {
    seen.credentials.lock().unwrap().push(headers.contains_key(header::AUTHORIZATION));
}

/// Answers in turn; the last one again and again.
#[derive(Debug)]
struct Names(Mutex<VecDeque<Vec<IpAddr>>>);

impl Resolver for Names {
    fn resolve(&self, _: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let mut answers = self.0.lock().unwrap();
        let answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        Box::pin(async move { answer.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound)) })
    }
}

fn outbound(names: &[&[IpAddr]]) -> Outbound {
    let resolver = Arc::new(Names(Mutex::new(names.iter().map(|ips| ips.to_vec()).collect())));
    guarded(resolver, None)
}

fn guarded(resolver: Arc<Names>, proxy: Option<ProxyUrl>) -> Outbound {
    let guard = Guard { agent: "test".to_owned(), resolver, allowed: |ip| ip == PUBLIC, proxy };
    Outbound::guarded_by(guard).unwrap()
}

static NOBODY: Trust = Trust::everybody(Reach::Public);
static INSECURE: Trust = Trust::everybody(Reach::Insecure);

fn request(url: &str) -> OutboundRequest<'_> {
    OutboundRequest {
        method: Method::GET,
        url,
        query: &[],
        headers: HeaderMap::new(),
        trust: &NOBODY,
        redirects: 5,
        limits: OutboundLimits::new(64 << 10, LONG),
    }
}

async fn read(outbound: &Outbound, request: OutboundRequest<'_>) -> Result<Vec<u8>, OutboundError> {
    outbound.ask(request).await?.body().await
}

async fn refused(outbound: &Outbound, url: &str) -> String {
    read(outbound, request(url)).await.unwrap_err().code().to_string()
}

#[tokio::test]
async fn a_good_server_is_read() {
    let server = Server::start(PUBLIC).await;
    let outbound = outbound(&[&[PUBLIC]]);
    assert_eq!(read(&outbound, request(&server.url("/hello"))).await.unwrap(), b"hello");
    assert_eq!(read(&outbound, request(&server.url_of("good.example", "/hello"))).await.unwrap(), b"hello");
    let url = server.url("/query?a=1");
    let asked = OutboundRequest { query: &[("b", "2 3")], ..request(&url) };
    assert_eq!(read(&outbound, asked).await.unwrap(), b"a=1&b=2+3");
    assert_eq!(read(&outbound, request(&server.url("/to?/hello"))).await.unwrap(), b"hello");
    let gone = outbound.ask(request(&server.url("/gone"))).await.unwrap();
    assert_eq!(gone.status(), StatusCode::GONE, "a no is an answer");
}

#[tokio::test]
async fn another_certificate_than_the_pinned_one_is_refused() {
    let (server, other) = (Server::start(PUBLIC).await, Server::start(PUBLIC).await);
    let url = format!("{}/hello{}", server.base(), other.pin);
    assert_eq!(refused(&outbound(&[]), &url).await, "fetch/unreachable");
}

#[tokio::test]
async fn a_server_that_is_slow_is_left_at_each_step() {
    let server = Server::start(PUBLIC).await;
    let outbound = outbound(&[]);
    let awaited = async |path: &str, limits: OutboundLimits| {
        let url = server.url(path);
        read(&outbound, OutboundRequest { limits, ..request(&url) }).await.unwrap_err()
    };
    let limits = OutboundLimits::new(64 << 10, LONG);
    let cases = [
        ("/slow-head", OutboundLimits { head: SHORT, ..limits }, Awaited::Head, SHORT),
        ("/slow-head", OutboundLimits { whole: SHORT, ..limits }, Awaited::End, SHORT),
        ("/slow-body", OutboundLimits { idle: SHORT, ..limits }, Awaited::More, SHORT),
        ("/drip", OutboundLimits { whole: SHORT, ..limits }, Awaited::End, SHORT),
    ];
    for (path, limits, expected, deadline) in cases {
        let host = PUBLIC.to_string();
        let error = awaited(path, limits).await;
        assert_eq!(error, OutboundError::Timeout { host, awaited: expected, after: deadline }, "{path}");
    }
    let dripping = awaited("/drip", OutboundLimits { grace: SHORT, ..limits }).await;
    assert_eq!(dripping.code(), "fetch/too-slow");
    let patient = OutboundLimits { grace: SHORT, least_rate: 1, whole: SHORT * 3, ..limits };
    assert_eq!(awaited("/drip", patient).await.code(), "fetch/timeout", "as slow as it may be");
}

#[tokio::test]
async fn no_more_is_read_than_was_allowed() {
    let server = Server::start(PUBLIC).await;
    let outbound = outbound(&[]);
    assert_eq!(refused(&outbound, &server.url("/endless")).await, "fetch/too-large");
    assert_eq!(
        refused(&outbound, &server.url("/announced")).await,
        "fetch/too-large",
        "and none is waited for"
    );
    let url = server.url("/hello");
    let of = |most| OutboundRequest { limits: OutboundLimits::new(most, LONG), ..request(&url) };
    assert_eq!(read(&outbound, of(5)).await.unwrap(), b"hello");
    assert_eq!(read(&outbound, of(4)).await.unwrap_err().code(), "fetch/too-large");
}

#[tokio::test]
async fn a_redirect_into_a_private_network_is_not_followed() {
    let (server, inside) = (Server::start(PUBLIC).await, Server::start(PRIVATE).await);
    let outbound = outbound(&[&[PRIVATE]]);
    for target in [
        format!("{}/secret", inside.base()),
        format!("https://inside.example:{}/secret", inside.address.port()),
        format!("https://[::ffff:127.0.0.1]:{}/secret", inside.address.port()),
    ] {
        let url = server.url(&format!("/to?{target}"));
        assert_eq!(refused(&outbound, &url).await, "fetch/not-public", "{target}");
    }
    assert_eq!(refused(&outbound, &server.url("/to?http://127.0.0.2/")).await, "fetch/bad-url");
    assert_eq!(inside.seen.secrets.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_name_that_leads_elsewhere_a_moment_later_gains_nothing() {
    let (server, inside) = (Server::start(PUBLIC).await, Server::start(PRIVATE).await);
    let outbound = outbound(&[&[PUBLIC], &[PRIVATE], &[PRIVATE, PUBLIC], &[]]);
    let hello = server.url_of("turns.example", "/hello");
    assert_eq!(read(&outbound, request(&hello)).await.unwrap(), b"hello");
    let secret = inside.url_of("turns.example", "/secret");
    assert_eq!(refused(&outbound, &secret).await, "fetch/not-public");
    assert_eq!(
        read(&outbound, request(&hello)).await.unwrap(),
        b"hello",
        "only its public address is dialled"
    );
    assert_eq!(refused(&outbound, &hello).await, "fetch/not-public", "no address is none that is public");
    assert_eq!(inside.seen.secrets.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn redirects_end() {
    let server = Server::start(PUBLIC).await;
    let outbound = outbound(&[]);
    let url = server.url("/round");
    assert_eq!(refused(&outbound, &url).await, "fetch/too-many-redirects");
    let unfollowed = outbound.ask(OutboundRequest { redirects: 0, ..request(&url) }).await.unwrap();
    assert_eq!(unfollowed.status(), StatusCode::FOUND);
}

#[tokio::test]
async fn credentials_stay_with_their_host() {
    let (server, other) = (Server::serve(PUBLIC, None).await, Server::serve(PUBLIC, None).await);
    let outbound = outbound(&[]);
    let headers = HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_static("Bearer x"))]);
    for target in ["/whoami".to_owned(), other.url("/whoami")] {
        let url = server.url(&format!("/to?{target}"));
        let asked = OutboundRequest { headers: headers.clone(), trust: &INSECURE, ..request(&url) };
        assert_eq!(outbound.ask(asked).await.unwrap().status(), StatusCode::OK);
    }
    assert_eq!(*server.seen.credentials.lock().unwrap(), [true]);
    assert_eq!(*other.seen.credentials.lock().unwrap(), [false]);
}

fn policy(private_addresses: bool) -> FetchPolicy {
    FetchPolicy { private_addresses, timeout: LONG, least_rate: 64 << 10, grace: Duration::from_secs(10) }
}

#[tokio::test]
async fn a_server_that_drips_a_document_is_left_long_before_the_deadline() {
    let server = Server::start(PRIVATE).await;
    let fetcher = Fetcher::new("test", FetchPolicy { grace: SHORT, ..policy(true) });
    let error = fetcher.get(&server.url("/drip"), 1 << 20).await.unwrap_err();
    assert_eq!(error, OutboundError::TooSlow { host: PRIVATE.to_string(), least: 64 << 10 });
}

#[tokio::test]
async fn a_trusted_host_cannot_send_its_reader_to_another_internal_one() {
    let (registry, inside) = (Server::serve(PRIVATE, None).await, Server::serve(PRIVATE, None).await);
    let outbound = outbound(&[]);
    let trust = Trust::hosts(&[], &[registry.address.to_string()]);
    let own = registry.url("/to?/hello");
    assert_eq!(read(&outbound, OutboundRequest { trust: &trust, ..request(&own) }).await.unwrap(), b"hello");
    let url = registry.url(&format!("/to?{}", inside.url("/secret")));
    let asked = OutboundRequest { trust: &trust, ..request(&url) };
    assert_eq!(read(&outbound, asked).await.unwrap_err().code(), "fetch/bad-url");
    let url = inside.url("/secret");
    let asked = OutboundRequest { trust: &trust, ..request(&url) };
    assert_eq!(read(&outbound, asked).await.unwrap_err().code(), "fetch/bad-url");
    assert_eq!(inside.seen.secrets.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_document_is_fetched_whole_or_not_at_all() {
    let server = Server::start(PRIVATE).await;
    let open = Fetcher::new("test", policy(true));
    assert_eq!(open.get(&server.url("/hello"), 100).await.unwrap(), b"hello");
    let address: lode_address::HttpsAddress = format!("{}{}", server.base(), server.pin).parse().unwrap();
    assert_eq!(open.get_below(&address, "query?a=1", 100).await.unwrap(), b"a=1");
    for (path, code) in
        [("/gone", "fetch/refused"), ("/to?/hello", "fetch/refused"), ("/endless", "fetch/too-large")]
    {
        assert_eq!(open.get(&server.url(path), 100).await.unwrap_err().code(), code, "{path}");
    }
    let plain = Server::serve(PRIVATE, None).await;
    assert_eq!(open.get(&plain.url("/hello"), 100).await.unwrap(), b"hello");
    assert_eq!(open.get("http://192.0.2.1/x", 100).await.unwrap_err().code(), "fetch/bad-url");
    let guarded = Fetcher::new("test", policy(false));
    assert_eq!(guarded.get(&server.url("/hello"), 100).await.unwrap_err().code(), "fetch/not-public");
    assert_eq!(guarded.get("https://localhost:1/x", 100).await.unwrap_err().code(), "fetch/not-public");
}

/// Answers the first line of each request that comes to it with that line.
async fn echoing_proxy() -> ProxyUrl {
    let listener = TcpListener::bind((PRIVATE, 0)).await.unwrap();
    let proxy = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (mut head, mut buffer) = (Vec::new(), [0; 1_024]);
            while !head.windows(4).any(|window| window == b"\r\n\r\n") {
                match stream.read(&mut buffer).await {
                    Ok(0) | Err(_) => break,
                    Ok(read) => head.extend_from_slice(&buffer[..read]),
                }
            }
            let text = String::from_utf8_lossy(&head).into_owned();
            let line = text.lines().next().unwrap_or_default();
            // A tunnel is none of its business.
            let status = if line.starts_with("CONNECT") { "407 No" } else { "200 OK" };
            let length = line.len();
            let answer =
                format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{line}");
            // Whoever has gone does not want it.
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    proxy
}

#[tokio::test]
async fn only_hosts_that_nobody_trusts_are_asked_by_the_operators_proxy_and_no_inside_address_is() {
    let proxy = echoing_proxy().await;
    // Nobody knows the names here: the proxy does.
    let outbound = guarded(Arc::new(Names(Mutex::default())), Some(proxy));
    let error = read(&outbound, request("https://registry.example/v2/")).await.unwrap_err();
    assert_eq!(error.code(), "fetch/unreachable", "it came to the proxy, which makes no tunnel: {error}");
    for inside in ["https://127.0.0.1/secret", "https://10.0.0.1/secret", "https://[::1]/secret"] {
        assert_eq!(refused(&outbound, inside).await, "fetch/not-public", "{inside}");
    }
    let own = Server::serve(PRIVATE, None).await;
    let url = own.url("/hello");
    let asked = OutboundRequest { trust: &INSECURE, ..request(&url) };
    assert_eq!(read(&outbound, asked).await.unwrap(), b"hello", "a host that is trusted is asked directly");
}
