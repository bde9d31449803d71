//! What others make of `/openapi.json`: a validator that is not ours, and a client that a generator that is not ours
//! makes of it. `scripts/openapi` installs both; where they are missing these tests fail.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use lode_protocol::assignment::{AssignmentState, Reason};
use lode_protocol::logs::{LogBatch, LogEnd, LogRequest};
use tokio::process::Command;

use crate::logs::batch;
use crate::pool::{Pool, key};
use crate::worker::FakeWorker;

/// Making a client takes a while on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
const WAIT: Duration = Duration::from_secs(30);

fn tools() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("openapi-tools/bin");
    assert!(folder.join("python").exists(), "{} is missing: run scripts/openapi --install", folder.display());
    folder
}

/// Runs one of the tools to its end; gives whether it succeeded, and what it said.
pub(crate) async fn run(tool: &str, arguments: &[&str], folder: &Path) -> (bool, String) {
    let tools = tools();
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap_or_default());
    let ended = Command::new(tools.join(tool))
        .args(arguments)
        .current_dir(folder)
        .env("PATH", path)
        .env("PYTHONPATH", folder)
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE, ended).await.expect("it ends").expect("it starts");
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.success(), said)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_independent_validator_finds_the_description_valid() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("openapi.json");
    let made = lode_orchestrator::api::openapi_json().unwrap();
    std::fs::write(&file, &made).unwrap();
    let (valid, said) = run("openapi-spec-validator", &[file.to_str().unwrap()], folder.path()).await;
    assert!(valid, "{said}");
    // And it is one that can say no.
    let mut broken: serde_json::Value = serde_json::from_str(&made).unwrap();
    broken["paths"]["/v1/tasks"]["get"]["responses"]["200"].as_object_mut().unwrap().remove("description");
    std::fs::write(&file, broken.to_string()).unwrap();
    let (valid, said) = run("openapi-spec-validator", &[file.to_str().unwrap()], folder.path()).await;
    assert!(!valid, "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_generated_client_submits_follows_and_deletes_a_task() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("openapi.json");
    std::fs::write(&file, lode_orchestrator::api::openapi_json().unwrap()).unwrap();
    let arguments = [
        "generate",
        "--path",
        "openapi.json",
        "--output-path",
        "lode_orchestrator_client",
        "--meta",
        "none",
        "--fail-on-warning",
    ];
    let (made, said) = run("openapi-python-client", &arguments, folder.path()).await;
    assert!(made, "{said}");

    let pool = Pool::start().await;
    let mut worker = FakeWorker::member(&pool, key(0x31), "/ip4").await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/openapi/client.py");
    let url = format!("http://{}", pool.running.api);
    let arguments = [script, url.as_str(), pool.token.as_str()];
    let client = run("python", &arguments, folder.path());
    let host = async {
        let order = worker.order().await;
        let running = FakeWorker::report(&order, AssignmentState::Running);
        worker.beat_with(|beat| beat.assignments = vec![running]).await.instruction();
        // Beats while nobody reads: a worker that falls silent is lost.
        let mut stream = loop {
            tokio::select! {
                incoming = worker.log_streams.next() => break incoming.unwrap().stream,
                () = tokio::time::sleep(Duration::from_millis(200)) => {}
            }
            worker.beat().await;
        };
        let request: LogRequest = worker.open(&stream.receive(WAIT).await.unwrap().unwrap());
        let first = LogBatch { live: Some(true), ..batch(request.stream, 0, &["one"], None) };
        stream.send(&worker.seal(&first), WAIT).await.unwrap();
        let last = batch(request.stream, 1, &["two"], Some(LogEnd::Complete));
        stream.send(&worker.seal(&last), WAIT).await.unwrap();
        stream.close(WAIT).await.unwrap();
        let mut ended = FakeWorker::report(&order, AssignmentState::Succeeded);
        ended.reason = Some(Reason::Completed);
        ended.exit_code = Some(0);
        worker.beat_with(|beat| beat.assignments = vec![ended]).await.instruction();
        loop {
            worker.beat().await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let (done, said) = tokio::select! {
        ended = client => ended,
        never = host => never,
    };
    assert!(done && said.contains("submitted, followed, deleted"), "{said}");
}
