//! Limits on incoming connections, and who gives way.

use std::time::Duration;

use lode_network::{ConnectionLimits, EndpointConfig, NetworkError, Protocol, ServerConfig};
use tokio::net::TcpStream;

use crate::support::*;

async fn limited(limits: ConnectionLimits) -> Orchestrator {
    Orchestrator::start(key(1), EndpointConfig { limits, ..listening() }, ServerConfig::default()).await
}

async fn session(orchestrator: &Orchestrator, number: u16) -> (Running, lode_network::FramedStream) {
    let running = endpoint(&key(number), EndpointConfig::default()).await;
    let connection = running.endpoint.connect(orchestrator.address(), None, DEADLINE).await.unwrap();
    let mut stream = running.endpoint.open(connection.id, Protocol::Session, DEADLINE).await.unwrap();
    stream.send(b"hello", DEADLINE).await.unwrap();
    assert_eq!(stream.receive(DEADLINE).await.unwrap().unwrap(), b"re:hello");
    (running, stream)
}

fn reasons(orchestrator: &Orchestrator) -> Vec<NetworkError> {
    let reason = |seen| match seen {
        Seen::Closed(_, reason) => Some(reason),
        _ => None,
    };
    orchestrator.seen().into_iter().filter_map(reason).collect()
}

#[tokio::test]
async fn a_newcomer_displaces_the_oldest_connection_that_nobody_vouched_for() {
    let orchestrator = limited(ConnectionLimits { incoming: 2, ..ConnectionLimits::default() }).await;
    let (_first, mut first) = session(&orchestrator, 11).await;
    orchestrator.server.vouch(orchestrator.opened()[0]);
    let (_second, mut second) = session(&orchestrator, 12).await;
    let (_third, mut third) = session(&orchestrator, 13).await;
    let evicted = NetworkError::Evicted { reason: "all-places-taken" };
    eventually("one gave way", || reasons(&orchestrator) == [evicted.clone()]).await;
    assert!(
        matches!(second.receive(DEADLINE).await, Ok(None) | Err(NetworkError::Closed { .. })),
        "it was the second"
    );
    for stream in [&mut first, &mut third] {
        stream.send(b"still", DEADLINE).await.unwrap();
        assert_eq!(stream.receive(DEADLINE).await.unwrap().unwrap(), b"re:still");
    }
    assert_eq!(orchestrator.running.endpoint.connection_count(), 2);
}

#[tokio::test]
async fn idle_connections_give_way_before_older_ones_that_are_used() {
    let orchestrator = limited(ConnectionLimits { incoming: 2, ..ConnectionLimits::default() }).await;
    let (_first, mut first) = session(&orchestrator, 11).await;
    let idle = endpoint(&key(12), EndpointConfig::default()).await;
    idle.endpoint.connect(orchestrator.address(), None, DEADLINE).await.unwrap();
    eventually("both are connected", || orchestrator.running.endpoint.connection_count() == 2).await;
    let (_third, _stream) = session(&orchestrator, 13).await;
    eventually("the idle one is gone", || idle.endpoint.connection_count() == 0).await;
    first.send(b"still", DEADLINE).await.unwrap();
    assert_eq!(first.receive(DEADLINE).await.unwrap().unwrap(), b"re:still");
}

#[tokio::test]
async fn when_all_are_vouched_for_the_newcomer_is_refused() {
    let orchestrator = limited(ConnectionLimits { incoming: 1, ..ConnectionLimits::default() }).await;
    let (_first, mut first) = session(&orchestrator, 11).await;
    orchestrator.server.vouch(orchestrator.opened()[0]);
    let late = endpoint(&key(12), EndpointConfig::default()).await;
    // The refusal may come during or right after the handshake.
    if let Ok(connection) = late.endpoint.connect(orchestrator.address(), None, DEADLINE).await {
        assert!(late.endpoint.open(connection.id, Protocol::Session, DEADLINE).await.is_err());
    }
    first.send(b"still", DEADLINE).await.unwrap();
    assert_eq!(first.receive(DEADLINE).await.unwrap().unwrap(), b"re:still");
    assert_eq!(orchestrator.opened().len(), 1);
}

#[tokio::test]
async fn of_one_peers_connections_the_oldest_gives_way() {
    let orchestrator = limited(ConnectionLimits { per_peer: 1, ..ConnectionLimits::default() }).await;
    let (_before, mut before) = session(&orchestrator, 11).await;
    orchestrator.server.vouch(orchestrator.opened()[0]);
    let (_after, mut after) = session(&orchestrator, 11).await;
    assert!(
        before.receive(DEADLINE).await.is_ok_and(|end| end.is_none())
            || before.receive(DEADLINE).await.is_err()
    );
    after.send(b"living", DEADLINE).await.unwrap();
    assert_eq!(after.receive(DEADLINE).await.unwrap().unwrap(), b"re:living");
    let evicted = NetworkError::Evicted { reason: "newer-connection-of-the-same-peer" };
    eventually("the server knows why", || reasons(&orchestrator) == [evicted.clone()]).await;
}

#[tokio::test]
async fn one_address_cannot_take_all_places() {
    let orchestrator = limited(ConnectionLimits { per_address: 2, ..ConnectionLimits::default() }).await;
    // Silent TCP connections count from the first byte on: no handshake is needed to hold a place, or to be refused one.
    let place = orchestrator.address().socket_address().unwrap();
    let _held = [TcpStream::connect(place).await.unwrap(), TcpStream::connect(place).await.unwrap()];
    let late = endpoint(&key(12), EndpointConfig::default()).await;
    let error = late.endpoint.connect(orchestrator.address(), None, DEADLINE).await.unwrap_err();
    assert_eq!(error.code(), "network/dial-failed");
}

#[tokio::test]
async fn handshakes_that_never_end_free_their_places() {
    let limits = ConnectionLimits { per_address: 1, ..ConnectionLimits::default() };
    let config = EndpointConfig { limits, handshake_timeout: Duration::from_millis(100), ..listening() };
    let orchestrator = Orchestrator::start(key(1), config, ServerConfig::default()).await;
    let _held = TcpStream::connect(orchestrator.address().socket_address().unwrap()).await.unwrap();
    let mut worker = Worker::start(2, quick(&orchestrator.key, vec![peer(orchestrator.address())])).await;
    worker.connected_at_last().await;
    worker.round_trip(b"room").await;
}

#[tokio::test]
async fn a_connection_without_streams_is_closed_after_its_idle_time() {
    let config = EndpointConfig { idle_timeout: Duration::from_millis(100), ..listening() };
    let orchestrator = Orchestrator::start(key(1), config, ServerConfig::default()).await;
    let (_busy, mut busy) = session(&orchestrator, 11).await;
    let idle = endpoint(&key(12), EndpointConfig::default()).await;
    idle.endpoint.connect(orchestrator.address(), None, DEADLINE).await.unwrap();
    eventually("the idle one is gone", || idle.endpoint.connection_count() == 0).await;
    busy.send(b"still", DEADLINE).await.unwrap();
    assert_eq!(busy.receive(DEADLINE).await.unwrap().unwrap(), b"re:still");
}

#[tokio::test]
async fn the_counters_are_visible() {
    let orchestrator = Orchestrator::usual(1).await;
    let (_peer, _stream) = session(&orchestrator, 11).await;
    let mut registry = prometheus_client::registry::Registry::default();
    orchestrator.running.metrics.register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    assert!(text.contains(r#"network_connections{direction="Incoming"} 1"#), "{text}");
    assert!(text.contains(r#"network_frames_total{direction="Incoming"} 1"#), "{text}");
}
