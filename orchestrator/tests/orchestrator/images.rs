//! Tags become content when a task is submitted, by what registries of all kinds answer.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use lode_protocol::assignment::AssignmentState;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::pool::{Pool, key};
use crate::worker::FakeWorker;

const MANIFEST: &str = "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.index.v1+json\"}";

/// How a registry behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Habit {
    /// Names the digest in answer to HEAD.
    Modern,
    /// Gives nothing without a token, which anybody may have.
    Tokens,
    /// Knows neither HEAD nor the digest's header.
    Old,
    /// Wants a name and password.
    Credentials,
    /// Has no such image.
    Empty,
    /// Sends everybody to another machine.
    Redirects,
    /// Sends more than a manifest.
    Floods,
    /// Takes the question and never answers.
    Silent,
    /// Says that its tokens are to be had from another service inside.
    TokensInside(std::net::SocketAddr),
    /// Says that its content lies at another service inside.
    ContentInside(std::net::SocketAddr),
    /// Has answered enough for an hour.
    Limited,
    /// Has a manifest of schema 1, and names its digest.
    SchemaOne,
    /// Has something under the name that is no image, and names its digest.
    Chart,
    /// Says of its manifest only that it is JSON; that is one of schema 1.
    OldJson,
}

struct Registry {
    address: std::net::SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

#[derive(Clone)]
struct Behaviour {
    habit: Habit,
    address: std::net::SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Registry {
    async fn start(habit: Habit) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::default();
        let state = Behaviour { habit, address, asked: Arc::clone(&asked) };
        let router = Router::new().fallback(answer).with_state(state);
        // Ends with the test's runtime.
        tokio::spawn(async move { axum::serve(listener, router).await });
        Registry { address, asked }
    }

    fn image(&self) -> String {
        format!("{}/team/app:v1", self.address)
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn digest() -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(MANIFEST)))
}

async fn answer(State(registry): State<Behaviour>, request: Request) -> Response {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    registry.asked.lock().unwrap().push(format!("{method} {uri}"));
    if uri.path() == "/token" {
        let query = uri.query().unwrap_or_default();
        assert!(
            query.contains("scope=repository%3Ateam%2Fapp%3Apull") && query.contains("service=fake"),
            "{query}"
        );
        return json!({ "token": "anybody" }).to_string().into_response();
    }
    assert_eq!(uri.path(), "/v2/team/app/manifests/v1");
    let accepted = request.headers()[header::ACCEPT].to_str().unwrap();
    assert!(accepted.contains("image.index.v1") && accepted.contains("manifest.list.v2"), "{accepted}");
    manifest(&registry, &method, request.headers()).await
}

async fn manifest(registry: &Behaviour, method: &Method, headers: &HeaderMap) -> Response {
    let found = || ([("docker-content-digest", digest())], MANIFEST).into_response();
    let of_type = |kind: &'static str, body: &'static str| {
        let digest = format!("sha256:{}", hex::encode(Sha256::digest(body)));
        ([("docker-content-digest", digest), ("content-type", kind.to_owned())], body).into_response()
    };
    match registry.habit {
        Habit::Modern => found(),
        Habit::Tokens
            if headers.get(header::AUTHORIZATION).is_some_and(|value| value == "Bearer anybody") =>
        {
            found()
        }
        Habit::Tokens => {
            let challenge = format!("Bearer realm=\"http://{}/token\",service=\"fake\"", registry.address);
            (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)]).into_response()
        }
        Habit::Old if method == Method::HEAD => StatusCode::METHOD_NOT_ALLOWED.into_response(),
        Habit::Old => MANIFEST.into_response(),
        Habit::Credentials => {
            (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Basic realm=\"x\"")]).into_response()
        }
        Habit::Empty => StatusCode::NOT_FOUND.into_response(),
        Habit::Limited => {
            let told = [("retry-after", "3600"), ("ratelimit-limit", "100;w=21600")];
            (StatusCode::TOO_MANY_REQUESTS, told, "words of the registry").into_response()
        }
        Habit::SchemaOne => of_type("application/vnd.docker.distribution.manifest.v1+prettyjws", MANIFEST),
        Habit::Chart => of_type("application/vnd.cncf.helm.chart.v1+json", MANIFEST),
        Habit::OldJson => of_type("application/json", "{\"schemaVersion\":1,\"name\":\"team/app\"}"),
        Habit::Redirects => {
            (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, "ftp://elsewhere/")]).into_response()
        }
        Habit::Floods if method == Method::HEAD => StatusCode::OK.into_response(),
        Habit::Floods => Body::from(vec![b' '; 5 << 20]).into_response(),
        Habit::Silent => std::future::pending::<Response>().await,
        Habit::TokensInside(service) => {
            let challenge = format!("Bearer realm=\"http://{service}/admin/secret\",service=\"fake\"");
            (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)]).into_response()
        }
        Habit::ContentInside(service) => {
            let target = format!("http://{service}/admin/secret");
            (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, target)]).into_response()
        }
    }
}

/// The operator trusts registries on this machine.
fn images(timeout: &str) -> String {
    format!("[images]\ntimeout = \"{timeout}\"\ninsecure_registries = [\"127.0.0.1:*\"]\n")
}

async fn submit(pool: &Pool, image: &str) -> Value {
    let spec = json!({ "name": "t", "kind": "batch", "image": image });
    let (status, task) = pool.post_task(spec).await;
    assert_eq!(status, 201, "{task}");
    task
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tag_is_resolved_when_the_task_is_submitted_whatever_way_the_registry_has() {
    let pool = Pool::start_with(&images("10s")).await;
    let mut worker = FakeWorker::member(&pool, key(0x31), "/ip4").await;
    for habit in [Habit::Modern, Habit::Tokens, Habit::Old] {
        let registry = Registry::start(habit).await;
        let task = submit(&pool, &registry.image()).await;
        let pinned = format!("{}/team/app@{}", registry.address, digest());
        assert_eq!(task["pinned_image"], pinned.as_str(), "{habit:?}: {:?}", registry.asked());
        assert_eq!(task["warnings"], json!([]), "{habit:?}");
        let order = worker.order().await;
        assert_eq!(
            order.pinned_image,
            Some(pinned.parse().unwrap()),
            "{habit:?}: the very first order names the content"
        );
        let id = task["id"].as_str().unwrap();
        let events = pool.get(&format!("/v1/tasks/{id}/events")).await;
        assert!(events.to_string().contains("image-pinned"), "{events}");
        pool.call("DELETE", &format!("/v1/tasks/{id}"), None).await;
        worker.beat().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_that_does_not_help_is_told_and_costs_the_task_nothing() {
    let pool = Pool::start_with(&images("10s")).await;
    for (habit, code) in [
        (Habit::Credentials, "image/credentials-needed"),
        (Habit::Empty, "image/not-found"),
        (Habit::Redirects, "image/registry-unreachable"),
        (Habit::Floods, "image/registry-unreachable"),
        (Habit::SchemaOne, "image/not-pinnable"),
        (Habit::Chart, "image/not-pinnable"),
        (Habit::OldJson, "image/not-pinnable"),
        (Habit::Limited, "image/rate-limited"),
    ] {
        let registry = Registry::start(habit).await;
        let task = submit(&pool, &registry.image()).await;
        assert_eq!(task["pinned_image"], Value::Null, "{habit:?}");
        assert_eq!(task["warnings"][0]["code"], code, "{habit:?}: {task}");
        let id = task["id"].as_str().unwrap();
        let events = pool.get(&format!("/v1/tasks/{id}/events")).await;
        assert!(
            events.to_string().contains("image-unpinned") && events.to_string().contains(code),
            "{events}"
        );
    }
    // A name that leads to this machine is none that the operator has listed.
    let registry = Registry::start(Habit::Modern).await;
    let task = submit(&pool, &format!("localhost:{}/team/app:v1", registry.address.port())).await;
    assert_eq!(task["warnings"][0]["code"], "image/registry-not-public", "{task}");
    assert!(registry.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loopback_registry_cannot_send_the_resolver_to_another_internal_address() {
    let inside = Registry::start(Habit::Modern).await;
    let tokens = Registry::start(Habit::TokensInside(inside.address)).await;
    let content = Registry::start(Habit::ContentInside(inside.address)).await;
    let listed = format!("[\"{}\", \"{}\"]", tokens.address, content.address);
    let extra = format!("[images]\ntimeout = \"10s\"\ninsecure_registries = {listed}\n");
    let pool = Pool::start_with(&extra).await;
    for registry in [&tokens, &content] {
        let task = submit(&pool, &registry.image()).await;
        assert_eq!(registry.asked().len(), 1, "{task}");
        assert_eq!(task["warnings"][0]["code"], "image/registry-unreachable", "{task}");
    }
    // Nor can a tenant name it itself: that it is on this machine is no reason to trust it.
    let task = submit(&pool, &inside.image()).await;
    assert_eq!(task["warnings"][0]["code"], "image/registry-not-public", "{task}");
    assert_eq!(inside.asked(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_registry_holds_a_submission_up_no_longer_than_configured_and_only_once() {
    let pool = Pool::start_with(&images("300ms")).await;
    let registry = Registry::start(Habit::Silent).await;
    for expected in ["within 300ms", "a moment ago"] {
        let task = submit(&pool, &registry.image()).await;
        let warning = &task["warnings"][0];
        assert_eq!(warning["code"], "image/registry-unreachable");
        assert!(warning["message"].as_str().unwrap().contains(expected), "{warning}");
    }
    assert_eq!(registry.asked().len(), 1);
    // Others are asked all the same.
    let other = Registry::start(Habit::Modern).await;
    let started = Instant::now();
    assert!(submit(&pool, &other.image()).await["pinned_image"].is_string());
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_that_takes_no_more_requests_is_asked_once_and_left_alone_by_its_own_word() {
    let pool = Pool::start_with(&images("10s")).await;
    let registry = Registry::start(Habit::Limited).await;
    for _ in 0..3 {
        let task = submit(&pool, &registry.image()).await;
        let warning = &task["warnings"][0];
        assert_eq!(warning["code"], "image/rate-limited", "{task}");
        let message = warning["message"].as_str().unwrap();
        assert!(message.contains("100 requests in 21600 s"), "{message}");
        assert!(message.contains("come again in 3600 s"), "{message}");
        assert!(!message.contains("words of the registry"), "{message}");
    }
    assert_eq!(registry.asked().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_could_lead_an_engine_s_request_elsewhere_is_refused_when_it_is_submitted() {
    let pool = Pool::start().await;
    for image in [
        "../containers/json?all=1&x=",
        "../images/get?names=big:1&x=",
        "a/../../containers/json",
        "./a",
        "r.example/a?x=1",
        "r.example/a#x",
        "r.example:+80/a",
        "user:pw@r.example/a",
        "a%2e%2e/b",
        "a:..",
        "App",
    ] {
        let spec = json!({ "name": "t", "kind": "batch", "image": image, "pull": "never" });
        let (status, problem) = pool.post_task(spec).await;
        assert_eq!(status, 422, "{image}: {problem}");
        assert_eq!(problem["code"], "task/spec-invalid", "{image}: {problem}");
        assert_eq!(problem["fields"]["problems"][0]["field"], "image", "{image}: {problem}");
    }
    assert_eq!(pool.get("/v1/tasks").await["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_node_that_says_what_it_runs_pins_a_task_that_could_not_be_resolved() {
    let pool = Pool::start().await;
    let mut worker = FakeWorker::member(&pool, key(0x31), "/ip4").await;
    let spec =
        json!({ "name": "t", "kind": "service", "image": "local/app:v1", "pull": "never", "replicas": 2 });
    let (_, task) = pool.post_task(spec).await;
    assert_eq!(task["warnings"][0]["code"], "image/never-pulled", "{task}");
    let order = worker.order().await;
    assert_eq!(order.pinned_image, None);
    let content = format!("local/app@{}", digest());
    let mut report = FakeWorker::report(&order, AssignmentState::Running);
    report.image = Some(content.clone());
    worker.beat_with(|beat| beat.assignments = vec![report]).await.instruction();
    let id = task["id"].as_str().unwrap();
    assert_eq!(pool.get(&format!("/v1/tasks/{id}")).await["pinned_image"], content.as_str());
}
