//! Peers that speak libp2p but not our rules.

use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, StreamProtocol, identity};
use lode_network::{EndpointConfig, FramePace, NetworkError, Protocol, ServerConfig, StrangerLimits};
use lode_protocol::ids::Address;
use lode_protocol::keys::PublicKey;
use lode_protocol::units::{Bytes, Millis};
use tokio::time::timeout;

use crate::support::*;

/// A bare libp2p peer with a session stream open on which anything may be written.
async fn raw_stream(orchestrator: &Orchestrator) -> libp2p::Stream {
    raw_stream_of(orchestrator, identity::Keypair::generate_secp256k1()).await
}

async fn raw_stream_of(orchestrator: &Orchestrator, keypair: identity::Keypair) -> libp2p::Stream {
    let mut swarm = libp2p::SwarmBuilder::with_existing_identity(keypair)
        .with_tokio()
        .with_tcp(libp2p::tcp::Config::default(), libp2p::noise::Config::new, libp2p::yamux::Config::default)
        .unwrap()
        .with_behaviour(|_| libp2p_stream::Behaviour::new())
        .unwrap()
        .build();
    let mut control = swarm.behaviour().new_control();
    let address: Multiaddr = orchestrator.address().to_string().parse().unwrap();
    swarm.dial(address).unwrap();
    let peer = timeout(DEADLINE, async {
        loop {
            if let SwarmEvent::ConnectionEstablished { peer_id, .. } = swarm.select_next_some().await {
                break peer_id;
            }
        }
    });
    let peer = peer.await.unwrap();
    tokio::spawn(async move {
        loop {
            swarm.select_next_some().await;
        }
    });
    let protocol = StreamProtocol::new("/lode/session/1");
    timeout(DEADLINE, control.open_stream(peer, protocol)).await.unwrap().unwrap()
}

fn close_reason(orchestrator: &Orchestrator) -> Option<NetworkError> {
    orchestrator.reasons().into_iter().next()
}

#[tokio::test]
async fn an_oversized_frame_is_refused_before_its_body() {
    let orchestrator = Orchestrator::usual(1).await;
    let mut stream = raw_stream(&orchestrator).await;
    let size = Protocol::Session.stranger_limit() as u32 + 1;
    // The header alone: whoever waited for the body would wait for ever.
    stream.write_all(&size.to_be_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    eventually("the peer is disconnected", || close_reason(&orchestrator).is_some()).await;
    let limit = Protocol::Session.stranger_limit();
    assert_eq!(
        close_reason(&orchestrator),
        Some(NetworkError::FrameTooLarge { size: u64::from(size), limit })
    );
    let ended = timeout(DEADLINE, stream.read(&mut [0; 1])).await.unwrap();
    assert!(matches!(ended, Ok(0) | Err(_)));
}

#[tokio::test]
async fn an_empty_frame_ends_the_session() {
    let orchestrator = Orchestrator::usual(1).await;
    let mut stream = raw_stream(&orchestrator).await;
    stream.write_all(&[0; 4]).await.unwrap();
    stream.flush().await.unwrap();
    eventually("the peer is disconnected", || close_reason(&orchestrator) == Some(NetworkError::FrameEmpty))
        .await;
}

#[tokio::test]
async fn a_frame_that_breaks_off_is_not_delivered() {
    let orchestrator = Orchestrator::usual(1).await;
    let mut stream = raw_stream(&orchestrator).await;
    stream.write_all(&[0, 0, 0, 9, b'h', b'a', b'l', b'f']).await.unwrap();
    stream.close().await.unwrap();
    eventually("the peer is disconnected", || close_reason(&orchestrator).is_some()).await;
    assert_eq!(close_reason(&orchestrator).unwrap().code(), "network/closed");
    assert!(!orchestrator.seen().iter().any(|seen| matches!(seen, Seen::Frame(..))));
}

#[tokio::test]
async fn a_frame_that_comes_byte_by_byte_is_whole() {
    let orchestrator = Orchestrator::usual(1).await;
    let mut stream = raw_stream(&orchestrator).await;
    for byte in [0, 0, 0, 2, b'o', b'k', 0, 0, 0, 1, b'!'] {
        stream.write_all(&[byte]).await.unwrap();
        stream.flush().await.unwrap();
    }
    let mut answer = [0; 9];
    timeout(DEADLINE, stream.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"\0\0\0\x05re:ok");
}

fn frame(body: &[u8]) -> Vec<u8> {
    [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], body].concat()
}

async fn demanding(strangers: StrangerLimits, frame_pace: FramePace) -> Orchestrator {
    let config = EndpointConfig { strangers, frame_pace, ..listening() };
    Orchestrator::start(key(1), config, ServerConfig::default()).await
}

#[tokio::test]
async fn unfinished_frames_of_one_address_hold_no_memory_beyond_the_budget() {
    const BUDGET: usize = 256 << 10;
    let strangers = StrangerLimits { unfinished_frames: Bytes(BUDGET as u64), ..StrangerLimits::default() };
    // Only the budget ends frames here.
    let pace = FramePace { grace: Millis::seconds(600), ..FramePace::default() };
    let orchestrator = demanding(strangers, pace).await;
    let held = || orchestrator.running.endpoint.unfinished_frame_bytes();

    // Somebody with a session is in the middle of a frame larger than the whole budget when the attack begins.
    let keypair = identity::Keypair::generate_secp256k1();
    let member = address_of(&keypair);
    let mut session = raw_stream_of(&orchestrator, keypair).await;
    session.write_all(&frame(b"hello")).await.unwrap();
    let mut answer = [0; 12];
    timeout(DEADLINE, session.read_exact(&mut answer)).await.unwrap().unwrap();
    orchestrator.vouch_for(member).await;
    let beat = vec![b'!'; 2 * BUDGET];
    let sent = frame(&beat);
    let (first, second) = sent.split_at(BUDGET);
    session.write_all(first).await.unwrap();
    session.flush().await.unwrap();

    let half = frame(&[7; 70_000])[..60_000].to_vec();
    let mut streams = Vec::new();
    for _ in 0..20 {
        let mut stream = raw_stream(&orchestrator).await;
        stream.write_all(&half).await.unwrap();
        stream.flush().await.unwrap();
        streams.push(stream);
        assert!(held() <= BUDGET, "{} bytes are held", held());
    }
    // Of twenty at most four fit at 64 KiB each.
    let full = NetworkError::Evicted { reason: "unfinished-frames" };
    eventually("the others gave way", || {
        assert!(held() <= BUDGET, "{} bytes are held", held());
        orchestrator.reasons().len() >= 16
    })
    .await;
    assert!(orchestrator.reasons().iter().all(|reason| *reason == full), "{:?}", orchestrator.reasons());

    session.write_all(second).await.unwrap();
    session.flush().await.unwrap();
    let is_beat =
        |seen: &Seen| matches!(seen, Seen::Frame(Some(who), _, bytes) if *who == member && *bytes == beat);
    let whole = || orchestrator.seen().iter().any(is_beat);
    eventually("the one with a session was heard", whole).await;
    drop(streams);
    eventually("what is gone holds nothing", || held() == 0).await;
}

fn address_of(keypair: &identity::Keypair) -> Address {
    let key = keypair.public().try_into_secp256k1().unwrap().to_bytes();
    PublicKey(key).address().unwrap()
}

#[tokio::test]
async fn a_stream_that_never_says_hello_is_closed() {
    let strangers = StrangerLimits { first_frame: Millis(200), ..StrangerLimits::default() };
    let orchestrator = demanding(strangers, FramePace::default()).await;
    let mut stream = raw_stream(&orchestrator).await;
    // The protocol is agreed on lazily: without this nothing would be opened at all.
    stream.flush().await.unwrap();
    eventually("it is closed", || close_reason(&orchestrator).is_some()).await;
    assert_eq!(close_reason(&orchestrator), Some(NetworkError::NoFirstFrame));
}

#[tokio::test]
async fn a_frame_that_stops_half_way_is_closed_by_its_deadline() {
    let pace = FramePace { grace: Millis(200), slowest: Bytes(1 << 30) };
    let orchestrator = demanding(StrangerLimits::default(), pace).await;
    let mut stream = raw_stream(&orchestrator).await;
    stream.write_all(&[0, 0, 4, 0, 1, 2, 3]).await.unwrap();
    stream.flush().await.unwrap();
    eventually("it is closed", || close_reason(&orchestrator).is_some()).await;
    let late = NetworkError::FrameTooSlow { received: 3, announced: 1024 };
    assert_eq!(close_reason(&orchestrator), Some(late));
}

#[tokio::test]
async fn whoever_nobody_vouches_for_is_sent_away_although_there_is_room() {
    let strangers = StrangerLimits { patience: Millis::seconds(10), ..StrangerLimits::default() };
    let orchestrator = demanding(strangers, FramePace::default()).await;
    let known = endpoint(&key(11), EndpointConfig::default()).await;
    let stranger = endpoint(&key(12), EndpointConfig::default()).await;
    let mut streams = Vec::new();
    for running in [&known, &stranger] {
        let connection = running.endpoint.connect(orchestrator.address(), None, DEADLINE).await.unwrap();
        let mut stream = running.endpoint.open(connection.id, Protocol::Session, DEADLINE).await.unwrap();
        stream.send(b"hello", DEADLINE).await.unwrap();
        assert_eq!(stream.receive(DEADLINE).await.unwrap().unwrap(), b"re:hello");
        streams.push(stream);
        if streams.len() == 1 {
            orchestrator.vouch_for(key(11).address()).await;
        }
    }
    eventually("the stranger is gone", || !orchestrator.reasons().is_empty()).await;
    assert_eq!(orchestrator.reasons(), [NetworkError::Evicted { reason: "nobody-vouched-for-it" }]);
    let stream = streams.first_mut().unwrap();
    stream.send(b"still", DEADLINE).await.unwrap();
    assert_eq!(stream.receive(DEADLINE).await.unwrap().unwrap(), b"re:still");
    eventually("only one is there", || orchestrator.running.endpoint.connection_count() == 1).await;
}
