//! Sessions over both transports.

use std::time::Duration;

use lode_network::{
    ClientEvent, NetworkError, PeerClient, PeerServer, Protocol, ServerConfig, ServerEvent, Transport,
};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::support::*;

#[tokio::test]
async fn the_same_bytes_travel_over_both_transports() {
    let orchestrator = Orchestrator::usual(1).await;
    let url = http(orchestrator.serve_http().await);
    let frame: Vec<u8> = (0..100_000u32).map(|index| (index % 251) as u8).collect();
    let mut direct = Worker::start(2, quick(&orchestrator.key, vec![peer(orchestrator.address())])).await;
    let mut fallback = Worker::start(3, quick(&orchestrator.key, vec![url])).await;
    assert_eq!(direct.connected().await, Transport::Libp2p);
    assert_eq!(fallback.connected().await, Transport::Https);
    orchestrator.vouch_for(key(2).address()).await;
    direct.round_trip(&frame).await;
    fallback.round_trip(&frame).await;
    let seen = orchestrator.seen();
    assert!(seen.contains(&Seen::Frame(Some(key(2).address()), Transport::Libp2p, frame.clone())));
    assert!(seen.contains(&Seen::Frame(None, Transport::Https, frame)));
}

#[tokio::test]
async fn frames_arrive_in_order_and_pushes_come_between() {
    let orchestrator = Orchestrator::usual(1).await;
    let mut worker = Worker::start(2, quick(&orchestrator.key, vec![peer(orchestrator.address())])).await;
    worker.connected().await;
    for number in 0..30u8 {
        worker.client.send(vec![number]).unwrap();
    }
    for number in 0..30u8 {
        assert_eq!(worker.frame().await, [b"re:".as_slice(), &[number]].concat());
    }
    let connection = orchestrator.opened()[0];
    orchestrator.server.push(connection, b"push".to_vec()).unwrap();
    assert_eq!(worker.frame().await, b"push");
    orchestrator.server.disconnect(connection, "the test says so");
    assert_eq!(worker.disconnected().await.code(), "network/closed");
    let closed = Seen::Closed(connection, NetworkError::Closed { reason: "the test says so".to_owned() });
    eventually("the server tells the close once", || orchestrator.seen().contains(&closed)).await;
    assert_eq!(orchestrator.server.push(connection, b"x".to_vec()), Err(NetworkError::NotConnected));
    worker.connected_at_last().await;
    worker.round_trip(b"again").await;
}

#[tokio::test]
async fn the_largest_instruction_and_the_largest_beat_pass() {
    let orchestrator = Orchestrator::usual(1).await;
    let mut worker = Worker::start(2, quick(&orchestrator.key, vec![peer(orchestrator.address())])).await;
    worker.connected().await;
    orchestrator.vouch_for(key(2).address()).await;
    let beat = vec![1; Protocol::Session.opener_limit()];
    worker.client.send(beat.clone()).unwrap();
    assert_eq!(worker.frame().await.len(), beat.len() + 3);
    let instruction = vec![2; Protocol::Session.accepter_limit()];
    orchestrator.server.push(orchestrator.opened()[0], instruction.clone()).unwrap();
    assert_eq!(worker.frame().await, instruction);
    let error = worker.client.send(vec![1; Protocol::Session.opener_limit() + 1]).unwrap_err();
    assert_eq!(error.code(), "network/frame-too-large");
    assert_eq!(worker.client.send(Vec::new()), Err(NetworkError::FrameEmpty));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_sessions_live_at_once() {
    let orchestrator = Orchestrator::usual(1).await;
    let mut starting = JoinSet::new();
    for number in 0..200u16 {
        let config = quick(&orchestrator.key, vec![peer(orchestrator.address())]);
        starting.spawn(async move {
            let mut worker = Worker::start(100 + number, config).await;
            worker.connected_at_last().await;
            worker
        });
    }
    let mut workers = Vec::new();
    while let Some(worker) = timeout(DEADLINE, starting.join_next()).await.unwrap() {
        workers.push(worker.unwrap());
    }
    assert_eq!(workers.len(), 200);
    for worker in &workers {
        let own = worker.running.endpoint.address();
        worker.client.send([b"I am ", own.as_bytes().as_slice()].concat()).unwrap();
    }
    for worker in &mut workers {
        let own = worker.running.endpoint.address();
        assert_eq!(worker.frame().await, [b"re:I am ", own.as_bytes().as_slice()].concat());
    }
    assert_eq!(orchestrator.server.open_count(), 200);
    // Every frame came from the peer that it says.
    for seen in orchestrator.seen() {
        if let Seen::Frame(peer, _, bytes) = seen {
            assert_eq!([b"I am ", peer.unwrap().as_bytes().as_slice()].concat(), bytes);
        }
    }
}

#[tokio::test]
async fn a_slow_reader_is_dropped_and_blocks_nobody() {
    let config = ServerConfig { frames_per_connection: 4, ..ServerConfig::default() };
    let orchestrator = Orchestrator::start(key(1), listening(), config).await;
    let mut worker = Worker::start(2, quick(&orchestrator.key, vec![peer(orchestrator.address())])).await;
    worker.connected().await;
    let lazy = endpoint(&key(3), Default::default()).await;
    let connection = lazy.endpoint.connect(orchestrator.address(), None, DEADLINE).await.unwrap();
    let stream = lazy.endpoint.open(connection.id, Protocol::Session, DEADLINE).await.unwrap();
    eventually("both are open", || orchestrator.opened().len() == 2).await;
    let lazy_connection = orchestrator.opened()[1];
    let mut pushed = 0;
    let refused = loop {
        match orchestrator.server.push(lazy_connection, vec![9; 4 << 20]) {
            Ok(()) => pushed += 1,
            Err(error) => break error,
        }
        assert!(pushed < 1000, "memory would grow without end");
        worker.round_trip(b"meanwhile").await;
    };
    assert_eq!(refused, NetworkError::SlowReader);
    let closed = Seen::Closed(lazy_connection, NetworkError::SlowReader);
    eventually("the slow reader is gone", || orchestrator.seen().contains(&closed)).await;
    worker.round_trip(b"still here").await;
    drop(stream);
}

#[tokio::test]
async fn a_peer_that_never_waits_for_answers_leaves_room_for_others() {
    let running = endpoint(&key(1), listening()).await;
    let config = ServerConfig { unanswered_per_connection: 3, event_queue: 64, ..ServerConfig::default() };
    let (_server, task, mut events) = PeerServer::sessions(running.endpoint.clone(), config).await.unwrap();
    tokio::spawn(task.run(running.shutdown.clone()));
    let place = peer(&running.endpoint.addresses()[0]);
    let mut flooder = Worker::start(2, quick(&key(1), vec![place.clone()])).await;
    flooder.connected().await;
    for number in 0..60 {
        flooder.client.send(vec![b'f', number]).unwrap();
    }
    let mut held = Vec::new();
    while held.len() < 3 {
        if let ServerEvent::Frame(frame) = timeout(DEADLINE, events.recv()).await.unwrap().unwrap() {
            held.push(frame);
        }
    }
    let mut other = Worker::start(3, quick(&key(1), vec![place])).await;
    other.connected().await;
    other.client.send(b"other".to_vec()).unwrap();
    loop {
        match timeout(DEADLINE, events.recv()).await.unwrap().unwrap() {
            ServerEvent::Frame(frame) => {
                assert_eq!(frame.bytes, b"other", "the flooder's fourth frame is not even read");
                break;
            }
            ServerEvent::Opened { .. } => {}
            unexpected => panic!("{unexpected:?}"),
        }
    }
    // An answer makes room for the next frame.
    held.remove(0).reply.send(b"answer".to_vec()).unwrap();
    assert_eq!(flooder.frame().await, b"answer");
    let ServerEvent::Frame(next) = timeout(DEADLINE, events.recv()).await.unwrap().unwrap() else { panic!() };
    assert_eq!(next.bytes, [b'f', 3]);
    // Its end is told although three of its frames are still unanswered and nothing of it is being read.
    drop(flooder);
    let end = timeout(DEADLINE, events.recv()).await.unwrap().unwrap();
    assert!(matches!(end, ServerEvent::Closed { peer, .. } if peer == key(2).address()), "{end:?}");
    drop((held, next));
}

#[tokio::test]
async fn validators_and_nodes_talk_over_their_own_protocol() {
    let validator = endpoint(&key(1), listening()).await;
    let (server, task, mut events) =
        PeerServer::proofs(validator.endpoint.clone(), ServerConfig::default()).await.unwrap();
    tokio::spawn(task.run(validator.shutdown.clone()));
    let node = endpoint(&key(2), Default::default()).await;
    let config = quick(&key(1), vec![peer(&validator.endpoint.addresses()[0])]);
    let (client, task, mut heard) = PeerClient::proof(node.endpoint.clone(), config);
    tokio::spawn(task.run(node.shutdown.clone()));
    let opened = timeout(DEADLINE, events.recv()).await.unwrap().unwrap();
    let ServerEvent::Opened { connection, peer } = opened else { panic!("{opened:?}") };
    assert_eq!(peer, key(2).address());
    server.vouch(connection);
    server.push(connection, b"challenge".to_vec()).unwrap();
    let connected = timeout(DEADLINE, heard.recv()).await.unwrap().unwrap();
    assert!(matches!(connected, ClientEvent::Connected { .. }), "{connected:?}");
    let challenge = timeout(DEADLINE, heard.recv()).await.unwrap().unwrap();
    assert_eq!(challenge, ClientEvent::Frame(b"challenge".to_vec()));
    // An opening of a GPU is large.
    let answer = vec![3; 8 << 20];
    client.send(answer.clone()).unwrap();
    let ServerEvent::Frame(frame) = timeout(DEADLINE, events.recv()).await.unwrap().unwrap() else {
        panic!()
    };
    assert_eq!(frame.bytes, answer);
    // A worker that mistakes a validator for an orchestrator learns it.
    let mut lost = Worker::start(3, quick(&key(1), vec![peer_of(&validator)])).await;
    match lost.next().await {
        ClientEvent::ConnectFailed { error, .. } => assert_eq!(error.code(), "network/unsupported-protocol"),
        other => panic!("{other:?}"),
    }
}

fn peer_of(running: &Running) -> lode_network::EndpointUrl {
    peer(&running.endpoint.addresses()[0])
}

#[tokio::test]
async fn a_protocol_is_accepted_in_one_place() {
    let running = endpoint(&key(1), listening()).await;
    let first = running.endpoint.accept(Protocol::Logs).await.unwrap();
    let error = running.endpoint.accept(Protocol::Logs).await.unwrap_err();
    assert_eq!(error.code(), "network/already-accepting");
    drop(first);
    running.endpoint.accept(Protocol::Logs).await.unwrap();
}

#[tokio::test]
async fn a_clean_end_is_no_failure_and_a_wait_loses_nothing() {
    let acceptor = endpoint(&key(1), listening()).await;
    let mut incoming = acceptor.endpoint.accept(Protocol::Logs).await.unwrap();
    let dialler = endpoint(&key(2), Default::default()).await;
    let address = &acceptor.endpoint.addresses()[0];
    let connection = dialler.endpoint.connect(address, None, DEADLINE).await.unwrap();
    let mut ours = dialler.endpoint.open(connection.id, Protocol::Logs, DEADLINE).await.unwrap();
    ours.send(b"request", DEADLINE).await.unwrap();
    let mut theirs = timeout(DEADLINE, incoming.next()).await.unwrap().unwrap().stream;
    assert_eq!(theirs.receive(DEADLINE).await.unwrap().unwrap(), b"request");
    let short = Duration::from_millis(20);
    assert_eq!(theirs.receive(short).await, Err(NetworkError::ReceiveTimeout { after: short }));
    ours.send(b"more", DEADLINE).await.unwrap();
    assert_eq!(theirs.receive(DEADLINE).await.unwrap().unwrap(), b"more");
    ours.close(DEADLINE).await.unwrap();
    assert_eq!(theirs.receive(DEADLINE).await, Ok(None));
}
