//! An engine that answers oddly: what that means for one task, and for the node.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use futures::StreamExt as _;
use lode_protocol::task::PullPolicy;
use lode_worker::core::event::{EngineFailure, ObservedState, Origin};
use lode_worker::docker::DockerEngine;
use lode_worker::engine::Engine as _;
use tokio::sync::watch;

use super::support::{Node, wanted};

const IMAGE: &str = "127.0.0.1:1/odd:1";
/// Silence after which a pull is given up: soon, and late enough for any machine to have answered.
const SOON: Duration = Duration::from_millis(300);
const LATE: Duration = Duration::from_secs(3);

/// What is odd.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Oddity {
    /// Answers a question about an image with something else.
    Nonsense,
    /// Never stops answering it.
    Endless,
    /// Says no to it.
    Refuses,
    /// Says nothing while it does this with a layer, until it was asked twice whether it lives.
    Quiet(&'static str),
    /// An error of a registry that has no end.
    EndlessError,
}

#[derive(Clone)]
struct Behaviour {
    oddity: Oddity,
    /// How often it was asked for its version.
    pings: watch::Sender<u32>,
    fetched: Arc<AtomicU32>,
}

struct Stub {
    engine: DockerEngine,
    _folder: tempfile::TempDir,
    _node: Node,
}

async fn start(oddity: Oddity, silence: Duration) -> Stub {
    let folder = tempfile::tempdir().unwrap();
    let socket: PathBuf = folder.path().join("engine.sock");
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let state = Behaviour { oddity, pings: watch::channel(0).0, fetched: Arc::default() };
    let router = Router::new().fallback(answer).with_state(state);
    // Ends with the test's runtime.
    tokio::spawn(async move { axum::serve(listener, router).await });
    let node = Node::new();
    let mut config = node.engine.config().clone();
    config.socket = socket;
    config.images.pull_silence = silence;
    Stub { engine: DockerEngine::new(config), _folder: folder, _node: node }
}

fn endless(first: &'static str) -> Body {
    let more = futures::stream::repeat_with(|| Bytes::from_static(&[b'x'; 1 << 16]));
    let all = futures::stream::iter([Bytes::from_static(first.as_bytes())]).chain(more);
    Body::from_stream(all.map(Ok::<_, std::io::Error>))
}

async fn answer(State(stub): State<Behaviour>, request: Request) -> Response {
    let path = request.uri().path();
    if path.ends_with("/version") {
        stub.pings.send_modify(|pings| *pings += 1);
        return "{\"Version\":\"20.10.24\",\"ApiVersion\":\"1.41\"}".into_response();
    }
    if path.ends_with("/containers/json") {
        return "[{\"Id\":\"c1\",\"State\":\"running\",\"Labels\":{}}]".into_response();
    }
    let missing = || (StatusCode::NOT_FOUND, "{\"message\":\"No such image\"}").into_response();
    if path == "/images/create" {
        return pull(stub);
    }
    match stub.oddity {
        Oddity::Nonsense => "[1, 2, 3]".into_response(),
        Oddity::Endless => endless("{\"Id\":\"").into_response(),
        Oddity::Refuses => (StatusCode::BAD_REQUEST, "{\"message\":\"CANARY\"}").into_response(),
        Oddity::Quiet(_) | Oddity::EndlessError if stub.fetched.load(Ordering::SeqCst) == 0 => missing(),
        Oddity::Quiet(_) | Oddity::EndlessError => {
            format!("{{\"Id\":\"sha256:{}\",\"RepoDigests\":[]}}", "1".repeat(64)).into_response()
        }
    }
}

fn pull(stub: Behaviour) -> Response {
    let Oddity::Quiet(status) = stub.oddity else {
        return endless("{\"errorDetail\":{\"message\":\"toomanyrequests CANARY ").into_response();
    };
    let begun = format!("{{\"status\":\"{status}\",\"id\":\"a\"}}\n");
    let before = *stub.pings.borrow();
    let quiet = async move {
        let mut pings = stub.pings.subscribe();
        pings.wait_for(|pings| *pings >= before + 2).await.unwrap();
        stub.fetched.store(1, Ordering::SeqCst);
        Bytes::from_static(b"{\"status\":\"Pull complete\",\"id\":\"a\"}\n")
    };
    let all = futures::stream::iter([Bytes::from(begun)]).chain(futures::stream::once(quiet));
    Body::from_stream(all.map(Ok::<_, std::io::Error>)).into_response()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_odd_or_endless_is_one_task_s_trouble_and_the_engine_is_not_lost() {
    for oddity in [Oddity::Nonsense, Oddity::Endless, Oddity::Refuses] {
        let stub = start(oddity, LATE).await;
        let failed = stub.engine.pull(&wanted(IMAGE, PullPolicy::Never)).await.unwrap_err();
        let expected = match oddity {
            Oddity::Endless => matches!(failed, EngineFailure::CannotStart(_)),
            _ => matches!(failed, EngineFailure::Other(_)),
        };
        assert!(expected, "{oddity:?}: {failed:?}");
        assert!(!failed.detail().contains("CANARY"), "{failed:?}");
        // Nor does what cannot be read of one container hide the others.
        let listed = stub.engine.list().await.unwrap();
        let states: Vec<_> = listed.iter().map(|seen| seen.state.clone()).collect();
        assert_eq!(states, [ObservedState::Running], "{oddity:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_unpacks_in_silence_is_given_time_as_long_as_it_answers() {
    for status in ["Extracting", "Verifying Checksum"] {
        let stub = start(Oddity::Quiet(status), LATE).await;
        let pulled = stub.engine.pull(&wanted(IMAGE, PullPolicy::Missing)).await.unwrap();
        assert!(
            pulled.origin == Origin::Fetched && pulled.name.starts_with("sha256:"),
            "{status}: {pulled:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_that_falls_silent_ends_the_pull_after_the_time_that_is_configured() {
    let stub = start(Oddity::Quiet("Downloading"), SOON).await;
    let silent = stub.engine.pull(&wanted(IMAGE, PullPolicy::Missing)).await.unwrap_err();
    assert!(matches!(silent, EngineFailure::PullFailed(_)), "{silent:?}");
    assert!(silent.detail().contains("300ms"), "{silent:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_of_a_registry_that_has_no_end_is_cut_and_never_repeated() {
    let stub = start(Oddity::EndlessError, LATE).await;
    let wanted = wanted(IMAGE, PullPolicy::Missing);
    let failed = tokio::time::timeout(Duration::from_secs(60), stub.engine.pull(&wanted));
    let failed = failed.await.expect("nobody reads it to an end").unwrap_err();
    assert!(!format!("{failed:?}").contains("CANARY"), "{failed:?}");
}
