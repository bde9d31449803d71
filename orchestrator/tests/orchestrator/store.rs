//! A store that fails: the process stays up, says so, and goes on by itself.

use lode_store::Fault;
use serde_json::json;

use crate::pool::{Pool, eventually, key};
use crate::worker::FakeWorker;

fn spec() -> serde_json::Value {
    json!({ "name": "t", "kind": "batch", "image": "i:1" })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_writes_serves_reads_and_ends_by_itself() {
    let pool = Pool::start().await;
    let mut worker = FakeWorker::member(&pool, key(0x31), "/ip4").await;
    pool.store.set_fault(Some(Fault::Full));
    let (status, problem) = pool.post_task(spec()).await;
    assert_eq!((status, problem["code"].as_str()), (503, Some("store/full")), "{problem}");
    assert_eq!(problem["fields"]["undecided"], true, "{problem}");
    let (status, problem) = pool.post_task(spec()).await;
    assert_eq!((status, problem["code"].as_str()), (503, Some("store/full")));
    assert_eq!(problem["fields"]["undecided"], false, "{problem}");
    let status = pool.get("/v1/status").await;
    assert_eq!(
        (status["store"]["ok"].as_bool(), status["store"]["code"].as_str()),
        (Some(false), Some("store/full"))
    );
    assert!(
        status["findings"].as_array().unwrap().iter().any(|row| row["code"] == "store/unwritable"),
        "{status}"
    );
    let text = problem.to_string();
    assert!(!text.contains("/data"), "no path of the host leaks: {text}");
    // A beat gets no answer, and nothing is stopped by that.
    let beat = worker.beat_body();
    let bytes = worker.seal(&beat);
    worker.client.send(bytes.clone()).unwrap();

    pool.store.set_fault(None);
    eventually("it goes on", || async {
        (pool.get("/v1/status").await["store"]["ok"] == true).then_some(())
    })
    .await;
    // Dropped while the disk was full, or answered after it: the same beat is answered now.
    worker.say(bytes).await.instruction();
    let (status, _) = pool.post_task(spec()).await;
    assert_eq!(status, 201);
    let tasks = pool.get("/v1/tasks").await;
    assert_eq!(
        tasks["items"].as_array().unwrap().len(),
        2,
        "the undecided one took effect, the refused one did not"
    );
    let findings = pool.get("/v1/status").await["findings"].clone();
    assert!(!findings.to_string().contains("store/unwritable"), "{findings}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_failed_though_it_was_applied_is_repeated_without_harm() {
    let mut pool = Pool::start().await;
    pool.store.fail_next_commit(Fault::IoButApplied);
    let (status, _) = pool.post_task(spec()).await;
    assert!(status == 503 || status == 201, "{status}");
    eventually("it goes on", || async {
        (pool.get("/v1/status").await["store"]["ok"] == true).then_some(())
    })
    .await;
    let before = pool.get("/v1/tasks").await;
    pool.stop().await;
    pool.start_again().await;
    assert_eq!(pool.get("/v1/tasks").await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_usual_beat_costs_no_commit() {
    use lode_store::Store as _;
    let pool = Pool::start().await;
    let mut worker = FakeWorker::member(&pool, key(0x31), "/ip4").await;
    // The join's own traces (the outbox forgets it, the chain is read again) may take a moment to be written.
    for _ in 0..50 {
        let before = pool.store.version().unwrap();
        for _ in 0..20 {
            worker.beat().await;
        }
        if pool.store.version().unwrap() == before {
            return;
        }
    }
    panic!("twenty beats that change nothing always came with a commit");
}
