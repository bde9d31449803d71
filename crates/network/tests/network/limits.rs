//! Limits on incoming connections, and who gives way.

use std::net::Ipv4Addr;
use std::time::Duration;

use lode_network::{ConnectionLimits, EndpointConfig, NetworkError, Protocol, ServerConfig, StrangerLimits};
use lode_protocol::units::Millis;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

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

#[tokio::test]
async fn a_newcomer_displaces_the_oldest_connection_that_nobody_vouched_for() {
    let orchestrator = limited(ConnectionLimits { incoming: 2, ..ConnectionLimits::default() }).await;
    let (_first, mut first) = session(&orchestrator, 11).await;
    orchestrator.server.vouch(orchestrator.opened()[0]);
    let (_second, mut second) = session(&orchestrator, 12).await;
    let (_third, mut third) = session(&orchestrator, 13).await;
    let evicted = NetworkError::Evicted { reason: "all-places-taken" };
    eventually("one gave way", || orchestrator.reasons() == [evicted.clone()]).await;
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
    let limits = ConnectionLimits { incoming: 2, ..ConnectionLimits::default() };
    let strangers = StrangerLimits { first_frame: Millis::seconds(3), ..StrangerLimits::default() };
    let config = EndpointConfig { limits, strangers, ..listening() };
    let orchestrator = Orchestrator::start(key(1), config, ServerConfig::default()).await;
    let (_first, mut first) = session(&orchestrator, 11).await;
    let idle = endpoint(&key(12), EndpointConfig::default()).await;
    idle.endpoint.connect(orchestrator.address(), None, DEADLINE).await.unwrap();
    eventually("both are connected", || orchestrator.running.endpoint.connection_count() == 2).await;
    // That somebody opens no stream shows in time only.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let (_third, _stream) = session(&orchestrator, 13).await;
    eventually("the idle one is gone", || idle.endpoint.connection_count() == 0).await;
    first.send(b"still", DEADLINE).await.unwrap();
    assert_eq!(first.receive(DEADLINE).await.unwrap().unwrap(), b"re:still");
}

#[tokio::test]
async fn whoever_has_just_come_is_not_the_first_to_give_way() {
    let limits = ConnectionLimits { incoming: 2, ..ConnectionLimits::default() };
    // Nobody is idle within this test.
    let strangers = StrangerLimits { first_frame: Millis::seconds(600), ..StrangerLimits::default() };
    let config = EndpointConfig { limits, strangers, ..listening() };
    let orchestrator = Orchestrator::start(key(1), config, ServerConfig::default()).await;
    let (_first, _stream) = session(&orchestrator, 11).await;
    let fresh = endpoint(&key(12), EndpointConfig::default()).await;
    let connection = fresh.endpoint.connect(orchestrator.address(), None, DEADLINE).await.unwrap();
    eventually("both are connected", || orchestrator.running.endpoint.connection_count() == 2).await;
    let (_third, _other) = session(&orchestrator, 13).await;
    let evicted = NetworkError::Evicted { reason: "all-places-taken" };
    eventually("the oldest gave way", || orchestrator.reasons() == [evicted.clone()]).await;
    let mut stream = fresh.endpoint.open(connection.id, Protocol::Session, DEADLINE).await.unwrap();
    stream.send(b"hello", DEADLINE).await.unwrap();
    assert_eq!(stream.receive(DEADLINE).await.unwrap().unwrap(), b"re:hello");
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
    eventually("the server knows why", || orchestrator.reasons() == [evicted.clone()]).await;
}

#[tokio::test]
async fn one_address_cannot_take_all_places() {
    let orchestrator = limited(ConnectionLimits { per_address: 2, ..ConnectionLimits::default() }).await;
    let (_first, _one) = session(&orchestrator, 11).await;
    let (_second, _two) = session(&orchestrator, 12).await;
    for connection in orchestrator.opened() {
        orchestrator.server.vouch(connection);
    }
    let late = endpoint(&key(13), EndpointConfig::default()).await;
    // The refusal may come during or right after the handshake.
    if let Ok(connection) = late.endpoint.connect(orchestrator.address(), None, DEADLINE).await {
        assert!(late.endpoint.open(connection.id, Protocol::Session, DEADLINE).await.is_err());
    }
    assert_eq!(orchestrator.opened().len(), 2);
    assert!(orchestrator.reasons().is_empty(), "nobody who was vouched for gave way");
}

#[tokio::test]
async fn strangers_at_ones_address_do_not_take_its_places() {
    let orchestrator = limited(ConnectionLimits { per_address: 2, ..ConnectionLimits::default() }).await;
    let (_first, mut first) = session(&orchestrator, 11).await;
    orchestrator.server.vouch(orchestrator.opened()[0]);
    let (_second, _stranger) = session(&orchestrator, 12).await;
    let (_third, _stream) = session(&orchestrator, 13).await;
    let gave_way = NetworkError::Evicted { reason: "too-many-of-one-address" };
    eventually("the stranger gave way", || orchestrator.reasons() == [gave_way.clone()]).await;
    first.send(b"still", DEADLINE).await.unwrap();
    assert_eq!(first.receive(DEADLINE).await.unwrap().unwrap(), b"re:still");
}

fn few_handshakes(handshakes: usize, handshakes_per_network: usize) -> EndpointConfig {
    // Silence alone ends none of them.
    let handshake_timeout = Millis::seconds(3_600);
    let limits = StrangerLimits::default();
    let strangers = StrangerLimits { handshakes, handshakes_per_network, handshake_timeout, ..limits };
    EndpointConfig { strangers, ..listening() }
}

/// A connection on which nothing is ever said, from another network than everybody else's.
async fn silent(orchestrator: &lode_network::PeerAddress, network: u8) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::new(127, 1, network, 1), 0).into()).unwrap();
    socket.connect(orchestrator.socket_address().unwrap()).await.unwrap()
}

#[tokio::test]
async fn silent_handshakes_do_not_lock_out_an_honest_dial() {
    // With the oldest of all, or of the honest one's own network.
    for (per_network, oldest) in [(8, 0), (2, 1)] {
        let config = few_handshakes(8, per_network);
        let orchestrator = Orchestrator::start(key(1), config, ServerConfig::default()).await;
        let place = orchestrator.address().socket_address().unwrap();
        let mut held = Vec::new();
        for network in 0..20 {
            held.push(silent(orchestrator.address(), network).await);
            held.push(TcpStream::connect(place).await.unwrap());
        }
        // Those who have just come are given half a second. After that at the first attempt.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let (_honest, _stream) = session(&orchestrator, 12).await;
        let first = &mut held[oldest];
        let end = timeout(DEADLINE, first.read(&mut [0; 64])).await.unwrap();
        assert!(matches!(end, Ok(0) | Err(_)), "the oldest was ended: {end:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_had_a_session_comes_back_through_a_flood() {
    let config = few_handshakes(4, 4);
    let orchestrator = Orchestrator::start(key(1), config, ServerConfig::default()).await;
    let (member, stream) = session(&orchestrator, 11).await;
    orchestrator.vouch_for(key(11).address()).await;
    drop(stream);
    member.stop().await;
    eventually("it is gone", || orchestrator.running.endpoint.connection_count() == 0).await;

    let (stop, address) = (CancellationToken::new(), orchestrator.address().clone());
    let flood = |network: u8| {
        let (stop, address) = (stop.clone(), address.clone());
        async move {
            while !stop.is_cancelled() {
                let (mut stream, mut byte) = (silent(&address, network).await, [0; 1]);
                // The next one when this one has been ended: what overflows the kernel's queue of connections is lost
                // before the gate, the member's too.
                tokio::select! {
                    _ = stream.read(&mut byte) => {}
                    () = stop.cancelled() => {}
                }
            }
        }
    };
    let flooding: Vec<_> = (0..32).map(|network| tokio::spawn(flood(network))).collect();
    // However fast strangers come, they displace each other.
    let (_member, mut stream) = session(&orchestrator, 11).await;
    stream.send(b"back", DEADLINE).await.unwrap();
    assert_eq!(stream.receive(DEADLINE).await.unwrap().unwrap(), b"re:back");
    stop.cancel();
    for flood in flooding {
        flood.await.unwrap();
    }
}

#[tokio::test]
async fn handshakes_that_never_end_free_their_places() {
    let strangers = StrangerLimits { handshake_timeout: Millis(100), ..StrangerLimits::default() };
    let config = EndpointConfig { strangers, ..listening() };
    let orchestrator = Orchestrator::start(key(1), config, ServerConfig::default()).await;
    let mut held = TcpStream::connect(orchestrator.address().socket_address().unwrap()).await.unwrap();
    let end = timeout(DEADLINE, held.read_to_end(&mut Vec::new())).await;
    assert!(end.is_ok(), "it is ended although nobody needs its place");
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
