//! A task's output over both transports.

use lode_network::{LogPost, NetworkError, Protocol};
use tokio::time::timeout;

use crate::support::*;

#[tokio::test]
async fn output_streams_over_the_connection_that_the_worker_opened() {
    let orchestrator = Orchestrator::usual(1).await;
    let mut worker = Worker::start(2, quick(&orchestrator.key, vec![peer(orchestrator.address())])).await;
    let mut requests = worker.running.endpoint.accept(Protocol::Logs).await.unwrap();
    worker.connected().await;
    eventually("the session is open", || orchestrator.opened().len() == 1).await;
    let mut reader = orchestrator.server.open_logs(orchestrator.opened()[0], DEADLINE).await.unwrap();
    reader.send(b"request", DEADLINE).await.unwrap();
    let mut request = timeout(DEADLINE, requests.next()).await.unwrap().unwrap();
    assert_eq!(request.peer, orchestrator.key.address());
    assert_eq!(request.stream.receive(DEADLINE).await.unwrap().unwrap(), b"request");
    for line in 0..100u8 {
        request.stream.send(&[b'l', line], DEADLINE).await.unwrap();
    }
    request.stream.close(DEADLINE).await.unwrap();
    for line in 0..100u8 {
        assert_eq!(reader.receive(DEADLINE).await.unwrap().unwrap(), [b'l', line]);
    }
    assert_eq!(reader.receive(DEADLINE).await, Ok(None));
    // The session does not notice.
    worker.round_trip(b"beat").await;
    let unreachable = worker.client.post_logs(b"wanted", DEADLINE).await;
    assert_eq!(unreachable, Err(NetworkError::NotConnected), "over libp2p nothing is posted");
}

#[tokio::test]
async fn output_is_posted_where_only_https_is_open() {
    let orchestrator = Orchestrator::usual(1).await;
    let url = http(orchestrator.serve_http().await);
    let mut worker = Worker::start(2, quick(&orchestrator.key, vec![url])).await;
    worker.connected().await;
    assert_eq!(worker.client.post_logs(b"wanted 1", DEADLINE).await, Ok(LogPost::Accepted));
    assert_eq!(worker.client.post_logs(b"stale 2", DEADLINE).await, Ok(LogPost::NotWanted));
    assert!(orchestrator.seen().contains(&Seen::Logs(b"wanted 1".to_vec())));
    let large = vec![b'x'; Protocol::Logs.accepter_limit() + 1];
    let error = worker.client.post_logs(&large, DEADLINE).await.unwrap_err();
    assert_eq!(error.code(), "network/frame-too-large");
}
