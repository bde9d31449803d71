//! Links that stay up by themselves, and what they tell when they cannot.

use std::time::Duration;

use lode_network::{
    ClientConfig, ClientEvent, EndpointConfig, NetworkError, PeerAddress, Protocol, ServerConfig, Transport,
};
use lode_testkit::proxy::{Fault, FaultProxy};
use tokio::net::TcpListener;

use crate::support::*;

#[tokio::test]
async fn somebody_else_at_the_address_is_refused() {
    let impostor = Orchestrator::usual(1).await;
    let place = impostor.address().socket_address().unwrap();
    let wanted = key(9);
    // By its peer id in the address, and by its address alone.
    for address in [PeerAddress::tcp(place).with_peer(&wanted.public()).unwrap(), PeerAddress::tcp(place)] {
        let mut worker = Worker::start(2, quick(&wanted, vec![peer(&address)])).await;
        match worker.next().await {
            ClientEvent::ConnectFailed {
                error: NetworkError::PeerMismatch { expected, got, .. }, ..
            } => {
                assert_eq!(got, key(1).address().to_string());
                assert_ne!(expected, got);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(impostor.opened().is_empty(), "no stream was opened to it");
}

#[tokio::test]
async fn nobody_is_dialled_without_saying_who() {
    let orchestrator = Orchestrator::usual(1).await;
    let dialler = endpoint(&key(2), EndpointConfig::default()).await;
    let anonymous = PeerAddress::tcp(orchestrator.address().socket_address().unwrap());
    let error = dialler.endpoint.connect(&anonymous, None, DEADLINE).await.unwrap_err();
    assert_eq!(error.code(), "network/no-expected-peer");
    let contradiction =
        dialler.endpoint.connect(orchestrator.address(), Some(key(5).address()), DEADLINE).await;
    assert_eq!(contradiction.unwrap_err().code(), "network/peer-mismatch");
}

#[tokio::test]
async fn a_name_is_resolved_by_the_system_and_dialled() {
    let orchestrator = Orchestrator::usual(1).await;
    let dialler = endpoint(&key(2), EndpointConfig::default()).await;
    for name in ["/dns/localhost", "/dns4/localhost"] {
        let named = orchestrator.address().to_string().replacen("/ip4/127.0.0.1", name, 1);
        let connection = dialler.endpoint.connect(&named.parse().unwrap(), None, DEADLINE).await.unwrap();
        assert_eq!(connection.peer, key(1).address());
    }
}

#[tokio::test]
async fn a_silent_peer_hits_its_deadline_and_the_failure_is_delivered() {
    // Accepts and never says a word, whatever is spoken to it.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = silent.local_addr().unwrap();
    let deadline = Duration::from_millis(300);
    let config = ClientConfig {
        connect_timeout: deadline,
        request_timeout: deadline,
        ..quick(&key(1), vec![peer(&PeerAddress::tcp(place)), http(place)])
    };
    let mut worker = Worker::start(2, config).await;
    match worker.next().await {
        ClientEvent::ConnectFailed { error: NetworkError::DialTimeout { after, .. }, retry_in, .. } => {
            assert_eq!((after, retry_in), (deadline, Duration::ZERO));
        }
        other => panic!("{other:?}"),
    }
    match worker.next().await {
        ClientEvent::ConnectFailed { error: NetworkError::HttpTimeout { after, .. }, retry_in, .. } => {
            assert_eq!(after, deadline);
            assert!(retry_in > Duration::ZERO);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_peer_that_falls_silent_later_is_noticed_by_keep_alive() {
    let orchestrator = Orchestrator::usual(1).await;
    let proxy = FaultProxy::start(orchestrator.address().socket_address().unwrap()).await.unwrap();
    let config = EndpointConfig {
        ping_interval: Duration::from_millis(50),
        ping_timeout: Duration::from_millis(300),
        ..EndpointConfig::default()
    };
    let running = endpoint(&key(2), config).await;
    let address = orchestrator.address_at(proxy.address());
    let client = ClientConfig {
        connect_timeout: Duration::from_millis(500),
        ..quick(&orchestrator.key, vec![peer(&address)])
    };
    let mut worker = Worker::start_on(running, client);
    worker.connected().await;
    worker.round_trip(b"alive").await;
    proxy.set(Fault::BlackHole);
    assert_eq!(worker.disconnected().await, NetworkError::KeepaliveFailed);
    proxy.set(Fault::Pass);
    assert_eq!(worker.connected_at_last().await, Transport::Libp2p);
    worker.round_trip(b"back").await;
}

#[tokio::test]
async fn a_link_survives_a_restart_of_its_server() {
    let orchestrator = Orchestrator::usual(1).await;
    let address = orchestrator.address().clone();
    let mut worker = Worker::start(2, quick(&orchestrator.key, vec![peer(&address)])).await;
    worker.connected().await;
    worker.round_trip(b"one").await;
    orchestrator.running.stop().await;
    worker.disconnected().await;
    assert_eq!(worker.client.send(b"into the void".to_vec()), Err(NetworkError::NotConnected));
    let again = PeerAddress::tcp(address.socket_address().unwrap());
    let config = EndpointConfig { listen: vec![again], ..EndpointConfig::default() };
    let orchestrator = Orchestrator::start(key(1), config, ServerConfig::default()).await;
    assert_eq!(orchestrator.address(), &address);
    worker.connected_at_last().await;
    worker.round_trip(b"two").await;
    let frames: Vec<Seen> =
        orchestrator.seen().into_iter().filter(|seen| matches!(seen, Seen::Frame(..))).collect();
    assert_eq!(frames, [Seen::Frame(Some(key(2).address()), Transport::Libp2p, b"two".to_vec())]);
}

#[tokio::test]
async fn blocked_libp2p_falls_back_to_https_and_returns_when_it_can() {
    let orchestrator = Orchestrator::usual(1).await;
    let url = http(orchestrator.serve_http().await);
    let proxy = FaultProxy::start(orchestrator.address().socket_address().unwrap()).await.unwrap();
    proxy.set(Fault::Drop);
    let blocked = peer(&orchestrator.address_at(proxy.address()));
    let mut worker = Worker::start(2, quick(&orchestrator.key, vec![url, blocked.clone()])).await;
    match worker.next().await {
        ClientEvent::ConnectFailed { endpoint, error, retry_in } => {
            assert_eq!((endpoint, retry_in), (blocked, Duration::ZERO), "libp2p is tried first");
            assert_eq!(error.code(), "network/dial-failed");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(worker.connected().await, Transport::Https);
    assert_eq!(worker.client.transport(), Some(Transport::Https));
    worker.client.send(b"over https".to_vec()).unwrap();
    loop {
        match worker.next().await {
            ClientEvent::Frame(frame) => break assert_eq!(frame, b"re:over https"),
            ClientEvent::ConnectFailed { .. } => {} // libp2p is tried meanwhile
            other => panic!("{other:?}"),
        }
    }
    proxy.set(Fault::Pass);
    loop {
        match worker.next().await {
            ClientEvent::Disconnected { reason } => break assert_eq!(reason, NetworkError::Superseded),
            ClientEvent::ConnectFailed { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(worker.connected().await, Transport::Libp2p);
    worker.round_trip(b"over libp2p").await;
    // And when it is blocked again, HTTPS serves again.
    proxy.set(Fault::Drop);
    worker.disconnected().await;
    assert_eq!(worker.connected_at_last().await, Transport::Https);
}

#[tokio::test]
async fn a_link_is_renewed_when_the_program_asks() {
    let orchestrator = Orchestrator::usual(1).await;
    let mut worker = Worker::start(2, quick(&orchestrator.key, vec![peer(orchestrator.address())])).await;
    worker.connected().await;
    worker.client.reconnect();
    assert_eq!(worker.disconnected().await, NetworkError::Reconnecting);
    worker.connected().await;
    worker.round_trip(b"fresh").await;
    assert_eq!(orchestrator.opened().len(), 2);
}

#[tokio::test]
async fn new_endpoints_are_used_at_the_next_attempt() {
    let orchestrator = Orchestrator::usual(1).await;
    let config = ClientConfig {
        backoff_initial: DEADLINE * 10,
        backoff_max: DEADLINE * 10,
        ..quick(&orchestrator.key, vec![])
    };
    let mut worker = Worker::start(2, config).await;
    worker.client.set_endpoints(vec![peer(orchestrator.address())]);
    assert_eq!(worker.connected().await, Transport::Libp2p);
}

#[tokio::test]
async fn a_second_stream_on_one_connection_is_refused() {
    let orchestrator = Orchestrator::usual(1).await;
    let dialler = endpoint(&key(2), EndpointConfig::default()).await;
    let connection = dialler.endpoint.connect(orchestrator.address(), None, DEADLINE).await.unwrap();
    let mut first = dialler.endpoint.open(connection.id, Protocol::Session, DEADLINE).await.unwrap();
    first.send(b"one", DEADLINE).await.unwrap();
    assert_eq!(first.receive(DEADLINE).await.unwrap().unwrap(), b"re:one");
    let mut second = dialler.endpoint.open(connection.id, Protocol::Session, DEADLINE).await.unwrap();
    assert!(matches!(second.receive(DEADLINE).await, Ok(None) | Err(NetworkError::Closed { .. })));
    first.send(b"two", DEADLINE).await.unwrap();
    assert_eq!(first.receive(DEADLINE).await.unwrap().unwrap(), b"re:two");
}

#[tokio::test]
async fn a_name_that_has_to_be_public_leads_to_nothing_inside() {
    let inside = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = inside.local_addr().unwrap().port();
    let pin = "ab".repeat(32);
    let endpoints = vec![
        format!("/dns4/localhost/tcp/{port}").parse().unwrap(),
        format!("https://localhost:{port}/#sha256={pin}").parse().unwrap(),
    ];
    let config = ClientConfig { public_names_only: true, ..quick(&key(1), endpoints) };
    let mut worker = Worker::start(2, config).await;
    for reason in ["no address that may be dialled", "no public address"] {
        match worker.next().await {
            ClientEvent::ConnectFailed { error, .. } => {
                assert!(error.to_string().contains(reason), "{error}");
            }
            other => panic!("{other:?}"),
        }
    }
    let dialled = tokio::time::timeout(Duration::from_millis(50), inside.accept()).await;
    assert!(dialled.is_err(), "nobody came");
}
