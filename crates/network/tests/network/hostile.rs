//! Peers that speak libp2p but not our rules.

use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, StreamProtocol, identity};
use lode_network::{NetworkError, Protocol};
use tokio::time::timeout;

use crate::support::*;

/// A bare libp2p peer with a session stream open on which anything may be written.
async fn raw_stream(orchestrator: &Orchestrator) -> libp2p::Stream {
    let keypair = identity::Keypair::generate_secp256k1();
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
    orchestrator.seen().into_iter().find_map(|seen| match seen {
        Seen::Closed(_, reason) => Some(reason),
        _ => None,
    })
}

#[tokio::test]
async fn an_oversized_frame_is_refused_before_its_body() {
    let orchestrator = Orchestrator::usual(1).await;
    let mut stream = raw_stream(&orchestrator).await;
    let size = Protocol::Session.opener_limit() as u32 + 1;
    // The header alone: whoever waited for the body would wait for ever.
    stream.write_all(&size.to_be_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    eventually("the peer is disconnected", || close_reason(&orchestrator).is_some()).await;
    let limit = Protocol::Session.opener_limit();
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
