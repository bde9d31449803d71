//! What registries of all kinds can do to a pull by the real engine: where they lie, where they send their readers, how
//! they refuse.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use lode_protocol::task::PullPolicy;
use lode_protocol::units::Millis;
use lode_worker::core::effect::WantedImage;
use lode_worker::core::event::EngineFailure;
use lode_worker::docker::{DockerEngine, ImageAccess};
use lode_worker::engine::Engine as _;

use super::support::{Node, wanted};

/// What is said nowhere but by the registry.
const CANARY: &str = "CANARY-SECRET-42";
const KIND: &str = "application/vnd.docker.distribution.manifest.v2+json";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Habit {
    /// Has answered enough for an hour.
    Limited,
    /// Plays a service inside that says no.
    Forbids,
    /// Wants a token that is to be had from another service.
    TokensAt(SocketAddr),
    /// Says that its content lies at another service.
    ContentAt(SocketAddr),
    /// Has deleted all content but what the tag `1` names now.
    Moved,
}

#[derive(Clone)]
struct Behaviour {
    habit: Habit,
    asked: Arc<Mutex<Vec<String>>>,
}

struct Stub {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Stub {
    async fn start(habit: Habit) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let router =
            Router::new().fallback(answer).with_state(Behaviour { habit, asked: Arc::clone(&asked) });
        // Ends with the test's runtime.
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    fn image(&self) -> String {
        format!("{}/team/app:1", self.address)
    }

    /// An engine whose owner trusts this registry and no other.
    fn trusted_by(&self, node: &Node) -> DockerEngine {
        let mut config = node.engine.config().clone();
        config.images =
            ImageAccess { insecure_registries: vec![self.address.to_string()], ..ImageAccess::default() };
        DockerEngine::new(config)
    }
}

fn digest(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}

fn says(status: StatusCode, code: &str) -> Response {
    let body = format!("{{\"errors\":[{{\"code\":\"{code}\",\"message\":\"{CANARY}\"}}]}}");
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

async fn answer(State(Behaviour { habit, asked }): State<Behaviour>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    asked.lock().unwrap().push(format!("{} {path}", request.method()));
    if path == "/v2/" {
        return StatusCode::OK.into_response();
    }
    match habit {
        Habit::Limited => {
            let mut refusal = says(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS");
            refusal.headers_mut().insert(header::RETRY_AFTER, "3600".parse().unwrap());
            refusal
        }
        Habit::Forbids => says(StatusCode::FORBIDDEN, CANARY),
        Habit::TokensAt(service) => {
            let realm = format!("Bearer realm=\"http://{service}/admin/secret\",service=\"x\"");
            (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, realm)]).into_response()
        }
        Habit::ContentAt(service) => {
            let target = format!("http://{service}/admin/secret");
            (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, target)]).into_response()
        }
        Habit::Moved if path.ends_with("/manifests/1") => {
            let headers = [("content-type", KIND.to_owned()), ("docker-content-digest", digest('b'))];
            (headers, "{}").into_response()
        }
        Habit::Moved => says(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_engine_is_not_sent_to_a_registry_on_this_host_unless_the_owner_lists_it() {
    let (node, inside) = (Node::new(), Stub::start(Habit::Forbids).await);
    let mut config = node.engine.config().clone();
    config.images = ImageAccess::default();
    let engine = DockerEngine::new(config);
    for image in [inside.image(), format!("localhost:{}/admin:v1", inside.address.port())] {
        let refused = engine.pull(&wanted(&image, PullPolicy::Always)).await.unwrap_err();
        assert!(matches!(refused, EngineFailure::RegistryNotAllowed(_)), "{image}: {refused:?}");
        assert!(refused.detail().contains("insecure_registries"), "{refused:?}");
    }
    assert_eq!(inside.asked(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_registry_answers_is_not_read_back_through_the_task() {
    let (node, registry) = (Node::new(), Stub::start(Habit::Forbids).await);
    let refused = registry.trusted_by(&node).pull(&wanted(&registry.image(), PullPolicy::Always)).await;
    let refused = refused.unwrap_err();
    assert!(!format!("{refused:?}").contains(CANARY), "{refused:?}");
    assert!(registry.asked().len() > 1, "the engine asked, too: {:?}", registry.asked());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trusted_registry_cannot_send_the_engine_to_another_service_of_this_host() {
    let (node, inside) = (Node::new(), Stub::start(Habit::Forbids).await);
    for habit in [Habit::TokensAt(inside.address), Habit::ContentAt(inside.address)] {
        let registry = Stub::start(habit).await;
        let refused = registry.trusted_by(&node).pull(&wanted(&registry.image(), PullPolicy::Always)).await;
        let refused = refused.unwrap_err();
        assert!(matches!(refused, EngineFailure::RegistryNotAllowed(_)), "{habit:?}: {refused:?}");
        assert_eq!(registry.asked(), ["HEAD /v2/team/app/manifests/1"], "by the worker alone");
    }
    assert_eq!(inside.asked(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_at_its_limit_is_asked_once_whatever_is_wanted_of_it_and_the_limit_is_told() {
    let (node, registry) = (Node::new(), Stub::start(Habit::Limited).await);
    let engine = registry.trusted_by(&node);
    let other = format!("{}/other:2", registry.address);
    for image in [registry.image(), registry.image(), other] {
        match engine.pull(&wanted(&image, PullPolicy::Missing)).await.unwrap_err() {
            EngineFailure::RegistryLimit { detail, retry_after: Some(wait) } => {
                assert!(wait > Millis::seconds(3_000) && wait <= Millis::seconds(3_600), "{wait:?}");
                assert!(detail.contains("429") && detail.contains("registry-mirrors"), "{detail}");
                assert!(!detail.contains(CANARY), "{detail}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(registry.asked(), ["HEAD /v2/team/app/manifests/1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pinned_content_that_was_deleted_is_told_with_what_the_tag_names_now_and_what_to_do() {
    let (node, registry) = (Node::new(), Stub::start(Habit::Moved).await);
    let pinned = format!("{}/team/app@{}", registry.address, digest('a'));
    let gone = WantedImage {
        image: pinned.parse().unwrap(),
        named: registry.image().parse().unwrap(),
        policy: PullPolicy::Always,
    };
    let engine = registry.trusted_by(&node);
    match engine.pull(&gone).await.unwrap_err() {
        EngineFailure::PinnedImageGone(detail) => {
            assert!(detail.contains(&digest('a')) && detail.contains(&digest('b')), "{detail}");
            assert!(detail.contains("Submit the task again"), "{detail}");
            assert!(!detail.contains(CANARY), "{detail}");
        }
        other => panic!("{other:?}"),
    }
    // Who names a digest himself has no tag that could mean something else.
    let named = engine.pull(&wanted(&pinned, PullPolicy::Missing)).await.unwrap_err();
    assert!(matches!(named, EngineFailure::ImageNotFound(_)), "{named:?}");
}
