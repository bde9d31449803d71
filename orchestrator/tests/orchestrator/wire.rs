//! The conversation of honest workers, over both transports, across restarts.

use lode_protocol::assignment::{AssignmentState, Reason};
use lode_protocol::session::Membership;
use serde_json::json;

use crate::pool::{Pool, eventually, key};
use crate::worker::FakeWorker;

async fn a_worker_joins_and_runs_a_task(prefix: &str) {
    let pool = Pool::start().await;
    let mut worker = FakeWorker::member(&pool, key(0x31), prefix).await;
    let nodes = pool.get("/v1/nodes").await;
    assert_eq!(nodes["items"][0]["state"], "alive", "{nodes}");
    let first = nodes["items"][0]["gpus"][0]["uuid"].as_str().unwrap_or_default();
    assert!(first.starts_with("GPU-00000001-"), "{first}");

    let id = pool
        .submit(json!({ "name": "t", "kind": "batch", "image": "i:1", "resources": { "gpus": 1 } }))
        .await;
    let order = worker.order().await;
    assert_eq!(order.gpus.len(), 1);
    assert_eq!(order.id.replica.task.to_string(), id);
    let running = FakeWorker::report(&order, AssignmentState::Running);
    worker.beat_with(|beat| beat.assignments = vec![running]).await.instruction();
    assert_eq!(pool.get(&format!("/v1/tasks/{id}")).await["state"], "running");

    let mut done = FakeWorker::report(&order, AssignmentState::Succeeded);
    done.exit_code = Some(0);
    done.reason = Some(Reason::Completed);
    worker.beat_with(|beat| beat.assignments = vec![done]).await.instruction();
    let task = pool.get(&format!("/v1/tasks/{id}")).await;
    assert_eq!(
        (task["state"].as_str(), task["assignments"][0]["exit_code"].as_i64()),
        (Some("succeeded"), Some(0))
    );
    let events = pool.get(&format!("/v1/tasks/{id}/events")).await;
    let states: Vec<&str> = events["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["type"] == "task")
        .map(|row| row["to"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["pending", "running", "succeeded"], "{events}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_joins_and_runs_a_task_over_libp2p() {
    a_worker_joins_and_runs_a_task("/ip4").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_joins_and_runs_a_task_over_https() {
    a_worker_joins_and_runs_a_task("http").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_is_pushed_to_a_worker_that_can_be_pushed_to() {
    let pool = Pool::start().await;
    let mut worker = FakeWorker::member(&pool, key(0x31), "/ip4").await;
    worker.beat().await;
    pool.submit(json!({ "name": "t", "kind": "batch", "image": "i:1" })).await;
    // No beat: what comes is a push.
    let frame = worker.frame().await;
    let instruction = worker.read(&frame).instruction();
    assert!(matches!(instruction.channel, lode_protocol::session::Channel::Push { .. }), "{instruction:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_keeps_tasks_nodes_and_what_runs() {
    let mut pool = Pool::start().await;
    let secret = key(0x31);
    let mut worker = FakeWorker::member(&pool, secret.clone(), "/ip4").await;
    let id = pool
        .submit(json!({ "name": "s", "kind": "service", "image": "i:1", "resources": { "gpus": 2 } }))
        .await;
    let order = worker.order().await;
    let running = FakeWorker::report(&order, AssignmentState::Running);
    worker.beat_with(|beat| beat.assignments = vec![running.clone()]).await.instruction();
    let before = pool.get(&format!("/v1/tasks/{id}")).await;
    let epoch = pool.get("/v1/pool").await["term"].as_u64().unwrap();
    pool.stop().await;
    worker.die();

    pool.start_again().await;
    assert!(pool.get("/v1/pool").await["term"].as_u64().unwrap() > epoch, "a term is used once");
    let after = pool.get(&format!("/v1/tasks/{id}")).await;
    assert_eq!(after["state"], before["state"]);
    assert_eq!(after["assignments"][0]["id"], before["assignments"][0]["id"], "nothing was placed anew");
    let mut worker = FakeWorker::connect(&pool, secret, 2, "/ip4").await;
    assert_eq!(worker.hello().await.membership, Membership::Member);
    let instruction = worker.beat_with(|beat| beat.assignments = vec![running]).await.instruction();
    match instruction.desired {
        lode_protocol::session::Desired::Full { orders, .. } => assert_eq!(orders, [order]),
        lode_protocol::session::Desired::Unchanged => panic!("a new session is told everything"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreachable_chain_makes_the_view_stale_and_stops_nothing() {
    let pool = Pool::start_with("").await;
    let mut worker = FakeWorker::member(&pool, key(0x31), "/ip4").await;
    pool.chain.set_reachable(false);
    let stale = || async {
        let status = pool.get("/v1/status").await;
        status["chain"]["failure"]["code"].as_str().map(ToOwned::to_owned)
    };
    assert_eq!(eventually("the failure shows", stale).await, "chain/unreachable");
    assert_eq!(worker.beat().await.membership, Membership::Member, "unknown is not a no");
    pool.chain.set_reachable(true);
    eventually("the view is fresh again", || async {
        let status = pool.get("/v1/status").await;
        (status["chain"]["fresh"] == true && status["chain"]["failure"].is_null()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_starts_from_the_store_when_the_chain_is_down() {
    let mut pool = Pool::start().await;
    pool.submit(json!({ "name": "t", "kind": "batch", "image": "i:1" })).await;
    pool.stop().await;
    pool.chain.set_reachable(false);
    pool.start_again().await;
    assert_eq!(pool.get("/v1/tasks").await["items"].as_array().unwrap().len(), 1);
    assert_eq!(pool.get("/v1/pool").await["chain_fresh"], false);
    pool.chain.set_reachable(true);
    eventually("the view is fresh", || async {
        (pool.get("/v1/pool").await["chain_fresh"] == true).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ejected_node_leaves_the_chain_and_is_refused() {
    let pool = Pool::start().await;
    let mut worker = FakeWorker::member(&pool, key(0x31), "/ip4").await;
    let node = worker.node();
    let (status, body) =
        pool.call("POST", &format!("/v1/nodes/{node}/eject"), Some(json!({ "message": "enough" }))).await;
    assert_eq!(status, 202, "{body}");
    let chain = &pool.chain;
    eventually("the chain knows", || async {
        let record =
            lode_contracts::ChainReader::membership(chain.as_ref(), pool.realm.pool, node).await.unwrap();
        (record.state == lode_contracts::MembershipState::Ejected).then_some(())
    })
    .await;
    let hello = worker.hello_body();
    let bytes = worker.seal(&hello);
    assert_eq!(worker.say(bytes).await.code(), "node/ejected");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_not_the_pools_and_a_second_process_are_refused_at_start() {
    let pool = Pool::start().await;
    let error = pool.try_config(&pool.with_key(&key(0x77))).await.unwrap_err();
    assert_eq!(lode_program::Exit::of(&error), lode_program::Exit::BadConfig, "{error:#}");
    let error = pool.try_second().await.unwrap_err();
    assert_eq!(lode_program::Exit::of(&error), lode_program::Exit::DataDir, "{error:#}");
}
