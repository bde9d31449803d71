//! Output through the relay.

use std::time::Duration;

use futures::StreamExt as _;
use lode_protocol::assignment::{AssignmentState, Reason};
use lode_protocol::ids::Nonce;
use lode_protocol::logs::{
    EngineTime, LineEnd, LogBatch, LogEnd, LogLine, LogPosition, LogRecord, LogRequest, LogSource,
};
use serde_json::json;

use crate::pool::{DEADLINE, Pool, key};
use crate::worker::{FakeWorker, now};

const WAIT: Duration = Duration::from_secs(10);

/// Each batch has its own thousand of ordinals.
pub(crate) fn batch(stream: Nonce, index: u64, lines: &[&str], end: Option<LogEnd>) -> LogBatch {
    let records = lines.iter().zip(index * 1_000..).map(|(text, ordinal)| line(ordinal, text)).collect();
    LogBatch { stream, index, end, live: None, records }
}

fn line(ordinal: u64, text: &str) -> LogRecord {
    let position = LogPosition { ordinal, at: EngineTime(now().0 * 1_000_000) };
    let (source, end) = (LogSource::Stdout, LineEnd::Newline);
    LogRecord::Line(LogLine { position, source, bytes: text.as_bytes().to_vec(), end })
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
            .authorised("GET", &format!("/v1/tasks/{id}/logs?follow=true&tail=5&assignment={id}.0.1"))
            .header("accept", accept)
            .send();
        let served = async {
            let mut stream = worker.log_streams.next().await.unwrap().stream;
            let request: LogRequest = worker.open(&stream.receive(WAIT).await.unwrap().unwrap());
            assert_eq!(
                (request.follow, request.tail),
                (true, Some(500)),
                "a stream that all followers share"
            );
            let first = LogBatch { live: Some(true), ..batch(request.stream, 0, &["one"], None) };
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
        let first = LogBatch { live: Some(true), ..batch(request.stream, 0, &["one"], None) };
        stream.send(&worker.seal(&first), WAIT).await.unwrap();
        stream
    };
    let (response, stream) = tokio::join!(asked, served);
    let mut body = response.unwrap().bytes_stream();
    let mut first = String::new();
    while !first.contains("one") {
        let piece = tokio::time::timeout(DEADLINE, body.next()).await.unwrap().unwrap().unwrap();
        first.push_str(&String::from_utf8_lossy(&piece));
    }
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

/// Opens so many followers and reads each to its end, all at once.
async fn follow(pool: &Pool, id: &str, query: &str, readers: usize) -> Vec<String> {
    let path = format!("/v1/tasks/{id}/logs?follow=true&assignment={id}.0.1{query}");
    let reads = (0..readers).map(|_| async {
        let response = pool.authorised("GET", &path).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 200);
        whole(response).await
    });
    futures::future::join_all(reads).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_followers_of_one_task_share_one_stream_of_its_node() {
    let pool = Pool::start().await;
    let mut worker = FakeWorker::member(&pool, key(0x31), "/ip4").await;
    let id = running_task(&pool, &mut worker).await;
    let served = async {
        let mut stream = worker.log_streams.next().await.unwrap().stream;
        let request: LogRequest = worker.open(&stream.receive(WAIT).await.unwrap().unwrap());
        let first = LogBatch { live: Some(true), ..batch(request.stream, 0, &["one", "two"], None) };
        stream.send(&worker.seal(&first), WAIT).await.unwrap();
        // The end comes when everybody has had time to come in; whoever is late reads it all the same.
        let more = tokio::time::timeout(Duration::from_secs(1), worker.log_streams.next()).await;
        assert!(more.is_err(), "a second stream was opened");
        let last = batch(request.stream, 1, &["three"], Some(LogEnd::Complete));
        stream.send(&worker.seal(&last), WAIT).await.unwrap();
        stream.close(WAIT).await.unwrap();
    };
    let (all, tails, ()) =
        tokio::join!(follow(&pool, &id, "", 90), follow(&pool, &id, "&tail=1", 10), served);
    assert!(all.iter().all(|text| text == "one\ntwo\nthree\n"), "{all:?}");
    assert!(tails.iter().all(|text| text == "two\nthree\n"), "{tails:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_who_asks_for_all_of_a_long_output_reads_by_itself_and_then_joins_the_others() {
    let pool = Pool::start().await;
    let mut worker = FakeWorker::member(&pool, key(0x31), "/ip4").await;
    let id = running_task(&pool, &mut worker).await;
    let lines = |stream, index, numbers: std::ops::Range<u64>| LogBatch {
        records: numbers.map(|number| line(number, &format!("line {number}"))).collect(),
        ..batch(stream, index, &[], None)
    };
    let served = async {
        // The shared stream begins with the newest lines: there were more.
        let mut shared = worker.log_streams.next().await.unwrap().stream;
        let request: LogRequest = worker.open(&shared.receive(WAIT).await.unwrap().unwrap());
        assert_eq!(request.tail, Some(500));
        let newest = LogBatch { live: Some(true), ..lines(request.stream, 0, 1_500..2_000) };
        shared.send(&worker.seal(&newest), WAIT).await.unwrap();
        // So it is asked once more for all of them.
        let mut own = worker.log_streams.next().await.unwrap().stream;
        let asked: LogRequest = worker.open(&own.receive(WAIT).await.unwrap().unwrap());
        assert_eq!((asked.tail, asked.follow), (None, true));
        for index in 0..2u64 {
            let part = lines(asked.stream, index, index * 800..(index + 1) * 800);
            own.send(&worker.seal(&part), WAIT).await.unwrap();
        }
        // It has caught up and leaves its own stream.
        let left = own.receive(WAIT).await;
        assert!(matches!(left, Ok(None) | Err(_)), "{left:?}");
        let last = LogBatch { end: Some(LogEnd::Complete), ..lines(request.stream, 1, 2_000..2_010) };
        shared.send(&worker.seal(&last), WAIT).await.unwrap();
        shared.close(WAIT).await.unwrap();
    };
    let (read, ()) = tokio::join!(follow(&pool, &id, "", 1), served);
    let expected: String = (0..2_010).map(|number| format!("line {number}\n")).collect();
    assert!(read[0] == expected, "{} bytes of {}", read[0].len(), expected.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_who_does_not_read_is_dropped_with_a_clear_end_and_slows_nobody() {
    let pool = Pool::start().await;
    let mut worker = FakeWorker::member(&pool, key(0x31), "/ip4").await;
    let id = running_task(&pool, &mut worker).await;
    let path = format!("/v1/tasks/{id}/logs?follow=true&assignment={id}.0.1");
    let asked = async {
        let lazy = pool.authorised("GET", &path).header("accept", "text/event-stream").send().await.unwrap();
        let eager = pool.authorised("GET", &path).send().await.unwrap();
        (lazy, eager)
    };
    let opened = async {
        let mut stream = worker.log_streams.next().await.unwrap().stream;
        let request: LogRequest = worker.open(&stream.receive(WAIT).await.unwrap().unwrap());
        let first = LogBatch { live: Some(true), ..batch(request.stream, 0, &["first"], None) };
        stream.send(&worker.seal(&first), WAIT).await.unwrap();
        (stream, request)
    };
    let ((lazy, eager), (mut stream, request)) = tokio::join!(asked, opened);
    // Far more than sockets, buffers and the shared window hold.
    let megabytes = 48u64;
    let text = "x".repeat(15_000);
    let reading = tokio::spawn(whole(eager));
    for index in 1..=megabytes * 4 {
        let part = batch(request.stream, index, &[text.as_str(); 16], None);
        stream.send(&worker.seal(&part), WAIT).await.unwrap();
    }
    let last = batch(request.stream, megabytes * 4 + 1, &["last"], Some(LogEnd::Complete));
    stream.send(&worker.seal(&last), WAIT).await.unwrap();
    let read = reading.await.unwrap();
    assert!(read.ends_with("last\n"), "the one who reads has it all: {} bytes", read.len());
    assert_eq!(read.lines().count() as u64, megabytes * 4 * 16 + 2);
    let read = whole(lazy).await;
    assert!(read.contains("logs/slow-reader") && read.contains("behind record"), "{} bytes", read.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_back_with_a_position_gets_what_is_behind_it_and_nothing_twice() {
    let pool = Pool::start().await;
    let mut worker = FakeWorker::member(&pool, key(0x31), "/ip4").await;
    let id = running_task(&pool, &mut worker).await;
    let asked = async {
        let path = format!("/v1/tasks/{id}/logs?since=1970-01-01T00:00:00Z");
        let asked = pool.authorised("GET", &path).header("accept", "text/event-stream");
        whole(asked.header("last-event-id", "1.42").send().await.unwrap()).await
    };
    let served = async {
        let mut stream = worker.log_streams.next().await.unwrap().stream;
        let request: LogRequest = worker.open(&stream.receive(WAIT).await.unwrap().unwrap());
        assert_eq!((request.after, request.tail, request.follow), (Some(41), None, false));
        let records = vec![line(42, "next")];
        let last = LogBatch { records, ..batch(request.stream, 0, &[], Some(LogEnd::Complete)) };
        stream.send(&worker.seal(&last), WAIT).await.unwrap();
        stream.close(WAIT).await.unwrap();
    };
    let (text, ()) = tokio::join!(asked, served);
    assert!(text.contains("id: 1.43\n") && text.contains("\"position\":\"1.43\""), "{text}");
    let refused =
        pool.authorised("GET", &format!("/v1/tasks/{id}/logs?after=yesterday")).send().await.unwrap();
    assert_eq!(refused.status().as_u16(), 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_before_a_position_is_what_comes_before_it_and_nothing_else_is_taken() {
    let pool = Pool::start().await;
    let mut worker = FakeWorker::member(&pool, key(0x31), "/ip4").await;
    let id = running_task(&pool, &mut worker).await;
    let path = format!("/v1/tasks/{id}/logs?before=1.42");
    for (ordinal, expected) in [(40, "\"status\":\"complete\""), (41, "logs/bad-batch")] {
        let asked = async {
            let asked =
                pool.authorised("GET", &format!("{path}&tail=5")).header("accept", "text/event-stream");
            whole(asked.send().await.unwrap()).await
        };
        let served = async {
            let mut stream = worker.log_streams.next().await.unwrap().stream;
            let request: LogRequest = worker.open(&stream.receive(WAIT).await.unwrap().unwrap());
            assert_eq!((request.before, request.after, request.tail), (Some(41), None, Some(5)));
            let records = vec![line(ordinal, "page")];
            let last = LogBatch { records, ..batch(request.stream, 0, &[], Some(LogEnd::Complete)) };
            stream.send(&worker.seal(&last), WAIT).await.unwrap();
            stream
        };
        let (text, _stream) = tokio::join!(asked, served);
        assert!(text.contains(expected), "{ordinal}: {text}");
        assert_eq!(text.contains("\"page\""), ordinal == 40, "{text}");
    }
    for (more, status) in [("&follow=true", 400), ("&after=x", 400)] {
        let refused = pool.authorised("GET", &format!("{path}{more}")).send().await.unwrap();
        assert_eq!(refused.status().as_u16(), status, "{more}");
    }
    let other = pool.authorised("GET", &format!("/v1/tasks/{id}/logs?before=9.1")).send().await.unwrap();
    assert_eq!(other.status().as_u16(), 404, "there was no such placement");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_goes_on_with_the_next_placement_of_a_replica_until_its_end() {
    let pool = Pool::start().await;
    let mut worker = FakeWorker::member(&pool, key(0x31), "/ip4").await;
    let id = running_task(&pool, &mut worker).await;
    let first = worker.order().await;
    let asked = async {
        let path = format!("/v1/tasks/{id}/logs?follow=true");
        whole(pool.authorised("GET", &path).header("accept", "text/event-stream").send().await.unwrap()).await
    };
    let served = async {
        let mut order = first;
        for (text, state) in [("one", AssignmentState::Failed), ("two", AssignmentState::Succeeded)] {
            let mut stream = worker.log_streams.next().await.unwrap().stream;
            let request: LogRequest = worker.open(&stream.receive(WAIT).await.unwrap().unwrap());
            assert_eq!(request.assignment, order.id);
            let all =
                LogBatch { live: Some(true), ..batch(request.stream, 0, &[text], Some(LogEnd::Complete)) };
            stream.send(&worker.seal(&all), WAIT).await.unwrap();
            stream.close(WAIT).await.unwrap();
            let mut report = FakeWorker::report(&order, state);
            report.reason = (state == AssignmentState::Failed).then_some(Reason::PullFailed);
            worker.beat_with(|beat| beat.assignments = vec![report]).await.instruction();
            if state == AssignmentState::Succeeded {
                return;
            }
            let started = std::time::Instant::now();
            while worker.orders.first().is_none_or(|next| next.id == order.id) {
                assert!(started.elapsed() < DEADLINE, "it is not placed again");
                worker.beat().await;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            order = worker.orders.first().cloned().unwrap();
        }
    };
    let (text, ()) = tokio::join!(asked, served);
    let place = |what: &str| text.find(what).unwrap_or_else(|| panic!("no {what} in {text}"));
    assert!(
        place("\"one\"") < place("event: restart") && place("event: restart") < place("\"two\""),
        "{text}"
    );
    assert!(text.contains("id: 2.0\n") && text.contains("\"status\":\"complete\""), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn text_that_breaks_off_is_a_broken_transfer_and_has_nothing_of_ours_in_it() {
    let pool = Pool::start().await;
    let mut worker = FakeWorker::member(&pool, key(0x31), "/ip4").await;
    let id = running_task(&pool, &mut worker).await;
    let asked = pool.authorised("GET", &format!("/v1/tasks/{id}/logs")).send();
    let served = async {
        let mut stream = worker.log_streams.next().await.unwrap().stream;
        let request: LogRequest = worker.open(&stream.receive(WAIT).await.unwrap().unwrap());
        stream.send(&worker.seal(&batch(request.stream, 0, &["one"], None)), WAIT).await.unwrap();
        stream
    };
    let (response, stream) = tokio::join!(asked, served);
    let mut body = response.unwrap().bytes_stream();
    assert_eq!(body.next().await.unwrap().unwrap(), "one\n".as_bytes());
    worker.die();
    drop(stream);
    let rest = tokio::time::timeout(DEADLINE, body.next()).await.expect("the transfer ends");
    assert!(matches!(rest, Some(Err(_))), "{rest:?}");
}

/// Six megabytes at one in a second: nothing is lost, and nothing comes sooner than it may.
const METERED: &str =
    "[limits]\nmessage_burst = 10000\noutput_bytes_per_second = \"1MiB\"\noutput_bytes_burst = \"1MiB\"\n";
const METERED_BATCHES: u64 = 25;

fn metered_batch(stream: Nonce, index: u64) -> LogBatch {
    let end = (index == METERED_BATCHES - 1).then_some(LogEnd::Complete);
    batch(stream, index, &["x".repeat(15_000).as_str(); 16], end)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_sends_output_faster_than_it_may_is_held_back_and_loses_nothing() {
    let pool = Pool::start_with(METERED).await;
    let mut worker = FakeWorker::member(&pool, key(0x31), "/ip4").await;
    let id = running_task(&pool, &mut worker).await;
    let began = std::time::Instant::now();
    let asked =
        async { whole(pool.authorised("GET", &format!("/v1/tasks/{id}/logs")).send().await.unwrap()).await };
    let served = async {
        let mut stream = worker.log_streams.next().await.unwrap().stream;
        let request: LogRequest = worker.open(&stream.receive(WAIT).await.unwrap().unwrap());
        for index in 0..METERED_BATCHES {
            stream.send(&worker.seal(&metered_batch(request.stream, index)), DEADLINE).await.unwrap();
        }
        stream.close(DEADLINE).await.unwrap();
    };
    let (text, ()) = tokio::join!(asked, served);
    assert_eq!(text.lines().count() as u64, METERED_BATCHES * 16);
    assert!(began.elapsed() >= Duration::from_secs(4), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn output_that_is_posted_faster_than_a_node_may_comes_again_and_is_told_once() {
    let pool = Pool::start_with(METERED).await;
    let mut worker = FakeWorker::member(&pool, key(0x31), "http").await;
    let id = running_task(&pool, &mut worker).await;
    let began = std::time::Instant::now();
    let asked =
        async { whole(pool.authorised("GET", &format!("/v1/tasks/{id}/logs")).send().await.unwrap()).await };
    let served = async {
        let request: LogRequest = loop {
            let instruction = worker.beat().await;
            if let Some(sealed) = instruction.log_requests.first() {
                break worker.open(&sealed.0);
            }
            assert!(began.elapsed() < DEADLINE, "never asked for output");
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        let mut held_back = 0;
        for index in 0..METERED_BATCHES {
            // As if the answer to the first one had been lost.
            for _ in 0..if index == 0 { 2 } else { 1 } {
                let sealed = worker.seal(&metered_batch(request.stream, index));
                loop {
                    match worker.client.post_logs(&sealed, WAIT).await {
                        Ok(answer) => {
                            assert_eq!(answer, lode_network::LogPost::Accepted);
                            break;
                        }
                        Err(error) => assert!(error.is_transient(), "{error}"),
                    }
                    assert!(began.elapsed() < 2 * DEADLINE, "it is never taken");
                    held_back += 1;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        held_back
    };
    let (text, held_back) = tokio::join!(asked, served);
    assert_eq!(text.lines().count() as u64, METERED_BATCHES * 16);
    assert!(held_back > 0 && began.elapsed() >= Duration::from_secs(4), "{:?}", began.elapsed());
}
