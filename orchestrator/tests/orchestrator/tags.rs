//! Answers without news are tagged with a key of the session, for workers that take them so; news is signed.

use lode_protocol::envelope::{EnvelopeError, Purpose};
use lode_protocol::session::Desired;
use serde_json::json;

use crate::pool::{Pool, key};
use crate::worker::FakeWorker;

async fn only_what_brings_no_news_is_tagged(prefix: &str) {
    let pool = Pool::start().await;
    let mut worker = FakeWorker::member(&pool, key(0x31), prefix).await;
    // What the join left to say comes first.
    while worker.last_purpose != Some(Purpose::Acknowledgement) {
        worker.beat().await;
    }
    assert_eq!(worker.beat().await.desired, Desired::Unchanged);
    assert_eq!(worker.last_purpose, Some(Purpose::Acknowledgement));

    let body = json!({ "name": "t", "kind": "service", "image": "i:1", "resources": { "gpus": 1 } });
    pool.submit(body).await;
    let order = worker.order().await;
    assert_eq!(order.gpus.len(), 1);
    if prefix == "http" {
        assert_eq!(worker.last_purpose, Some(Purpose::Instruction), "a set is signed");
    }
    worker.beat().await;
    worker.beat().await;
    assert_eq!(worker.last_purpose, Some(Purpose::Acknowledgement), "it is known now");

    // The same key in a new session without tags: everything is signed.
    worker.takes_tags = false;
    worker.hello().await;
    for _ in 0..3 {
        worker.beat().await;
        assert_eq!(worker.last_purpose, Some(Purpose::Instruction));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_brings_no_news_is_tagged_over_libp2p() {
    only_what_brings_no_news_is_tagged("/ip4").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_brings_no_news_is_tagged_over_https() {
    only_what_brings_no_news_is_tagged("http").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tagged_answer_counts_in_its_own_session_only() {
    let pool = Pool::start().await;
    let mut worker = FakeWorker::member(&pool, key(0x31), "http").await;
    while worker.last_purpose != Some(Purpose::Acknowledgement) {
        worker.beat().await;
    }
    let beat = worker.beat_body();
    let bytes = worker.seal(&beat);
    worker.client.send(bytes).unwrap();
    let answer = worker.frame().await;
    worker.session_key().open(&answer, &worker.expectation()).unwrap();
    worker.hello().await;
    let refused = worker.session_key().open(&answer, &worker.expectation()).unwrap_err();
    assert_eq!(refused, EnvelopeError::BadTag);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tagged_message_is_nothing_that_a_worker_may_send() {
    let pool = Pool::start().await;
    let mut worker = FakeWorker::member(&pool, key(0x31), "/ip4").await;
    while worker.last_purpose != Some(Purpose::Acknowledgement) {
        worker.beat().await;
    }
    let beat = worker.beat_body();
    worker.client.send(worker.seal(&beat)).unwrap();
    let answer = worker.frame().await;
    assert_eq!(worker.say(answer).await.code(), "envelope/wrong-purpose");
}
