//! Output through the relay.

use std::time::Duration;

use futures::StreamExt as _;
use lode_protocol::assignment::AssignmentState;
use lode_protocol::ids::Nonce;
use lode_protocol::logs::{LogBatch, LogEnd, LogLine, LogRequest, LogSource};
use serde_json::json;

use crate::pool::{DEADLINE, Pool, key};
use crate::worker::{FakeWorker, now};

const WAIT: Duration = Duration::from_secs(10);

fn batch(stream: Nonce, index: u64, lines: &[&str], end: Option<LogEnd>) -> LogBatch {
    let lines = lines
        .iter()
        .map(|text| LogLine { source: LogSource::Stdout, at: now(), text: (*text).to_owned() })
        .collect();
    LogBatch { stream, index, lines, end }
}

async fn running_task(pool: &Pool, worker: &mut FakeWorker) -> String {
    let id = pool.submit(json!({ "name": "t", "kind": "batch", "image": "i:1" })).await;
    let order = worker.order().await;
    let report = FakeWorker::report(&order, AssignmentState::Running);
    worker.beat_with(|beat| beat.assignments = vec![report]).await.instruction();
    id
}

/// Reads a response's body until it ends.
async fn whole(response: reqwest::Response) -> String {
    tokio::time::timeout(DEADLINE, response.text()).await.expect("the stream ends").unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn output_is_relayed_as_text_and_as_events_and_ends_clearly() {
    let pool = Pool::start().await;
    let mut worker = FakeWorker::member(&pool, key(0x31), "/ip4").await;
    let id = running_task(&pool, &mut worker).await;
    for (accept, expected) in [("text/plain", "one\ntwo\n"), ("text/event-stream", "\"status\":\"complete\"")]
    {
        let asked = pool
            .authorised("GET", &format!("/v1/tasks/{id}/logs?follow=true&tail=5"))
            .header("accept", accept)
            .send();
        let served = async {
            let mut stream = worker.log_streams.next().await.unwrap().stream;
            let request: LogRequest = worker.open(&stream.receive(WAIT).await.unwrap().unwrap());
            assert_eq!((request.follow, request.tail), (true, Some(5)));
            let first = batch(request.stream, 0, &["one"], None);
            stream.send(&worker.seal(&first), WAIT).await.unwrap();
            let last = batch(request.stream, 1, &["two"], Some(LogEnd::Complete));
            stream.send(&worker.seal(&last), WAIT).await.unwrap();
            stream.close(WAIT).await.unwrap();
        };
        let (response, ()) = tokio::join!(asked, served);
        let response = response.unwrap();
        assert_eq!(response.status().as_u16(), 200);
        let text = whole(response).await;
        assert!(text.contains(expected), "{accept}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_dies_mid_stream_ends_the_stream_with_a_reason() {
    let pool = Pool::start().await;
    let mut worker = FakeWorker::member(&pool, key(0x31), "/ip4").await;
    let id = running_task(&pool, &mut worker).await;
    let asked = pool
        .authorised("GET", &format!("/v1/tasks/{id}/logs?follow=true"))
        .header("accept", "text/event-stream")
        .send();
    let served = async {
        let mut stream = worker.log_streams.next().await.unwrap().stream;
        let request: LogRequest = worker.open(&stream.receive(WAIT).await.unwrap().unwrap());
        stream.send(&worker.seal(&batch(request.stream, 0, &["one"], None)), WAIT).await.unwrap();
        stream
    };
    let (response, stream) = tokio::join!(asked, served);
    let mut body = response.unwrap().bytes_stream();
    let first = tokio::time::timeout(DEADLINE, body.next()).await.unwrap().unwrap().unwrap();
    assert!(String::from_utf8_lossy(&first).contains("one"));
    worker.die();
    drop(stream);
    let mut text = String::new();
    while let Some(chunk) = tokio::time::timeout(DEADLINE, body.next()).await.expect("the stream ends") {
        text.push_str(&String::from_utf8_lossy(&chunk.unwrap()));
    }
    assert!(text.contains("event: end") && text.contains("\"status\":\"failed\""), "{text}");
    assert_eq!(pool.get("/v1/status").await["ready"], true, "the server lives on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn output_that_the_node_did_not_sign_or_that_has_gaps_is_refused() {
    let pool = Pool::start().await;
    let mut worker = FakeWorker::member(&pool, key(0x31), "/ip4").await;
    let id = running_task(&pool, &mut worker).await;
    let liar = FakeWorker::connect(&pool, key(0x32), 1, "/ip4").await;
    for case in ["foreign", "gap"] {
        let asked = pool.authorised("GET", &format!("/v1/tasks/{id}/logs")).send();
        let served = async {
            let mut stream = worker.log_streams.next().await.unwrap().stream;
            let request: LogRequest = worker.open(&stream.receive(WAIT).await.unwrap().unwrap());
            let bytes = match case {
                "foreign" => liar.seal(&batch(request.stream, 0, &["lie"], None)),
                _ => worker.seal(&batch(request.stream, 1, &["later"], None)),
            };
            stream.send(&bytes, WAIT).await.unwrap();
            stream
        };
        let (response, _stream) = tokio::join!(asked, served);
        let text = whole(response.unwrap()).await;
        assert!(text.contains("logs/bad-batch") && !text.contains("lie"), "{case}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn output_of_a_worker_on_https_comes_by_its_posts() {
    let pool = Pool::start().await;
    let mut worker = FakeWorker::member(&pool, key(0x31), "http").await;
    let id = running_task(&pool, &mut worker).await;
    let asked =
        async { whole(pool.authorised("GET", &format!("/v1/tasks/{id}/logs")).send().await.unwrap()).await };
    let served = async {
        let started = std::time::Instant::now();
        let request: LogRequest = loop {
            let instruction = worker.beat().await;
            if let Some(sealed) = instruction.log_requests.first() {
                break worker.open(&sealed.0);
            }
            assert!(started.elapsed() < DEADLINE, "never asked for output");
        };
        let last = worker.seal(&batch(request.stream, 0, &["posted"], Some(LogEnd::Complete)));
        let posted = worker.client.post_logs(&last, WAIT).await.unwrap();
        assert_eq!(posted, lode_network::LogPost::Accepted);
        let stray = worker.seal(&batch(Nonce([9; 16]), 0, &["stray"], None));
        assert_eq!(worker.client.post_logs(&stray, WAIT).await.unwrap(), lode_network::LogPost::NotWanted);
    };
    let (text, ()) = tokio::join!(asked, served);
    assert_eq!(text, "posted\n");
}
