//! Enrolled nodes that hold a session, each with its own key and its own link, which reconnects as a worker's does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lode_network::{
    ClientConfig, ClientEvent, Endpoint, EndpointConfig, EndpointUrl, NetworkMetrics, PeerAddress, PeerClient,
};
use lode_protocol::descriptor::NodeDescriptor;
use lode_protocol::envelope::{
    Addressing, Audience, Expectation, Opened, Purpose, claimed_purpose, open, seal,
};
use lode_protocol::ids::{BootCounter, NodeId, Nonce};
use lode_protocol::keys::SigningKey;
use lode_protocol::session::{Granted, Hello};
use lode_protocol::units::Millis;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::process::Place;
use crate::worker::{FakeWorker, now};

/// After a refusal. (The first hello of a node has the chain asked.)
const ASKS_AGAIN: Duration = Duration::from_secs(1);
/// Between two looks at how many there are.
const LOOK: Duration = Duration::from_millis(50);
const BOOT: BootCounter = BootCounter(1);
/// No session.
const NONE: u64 = 0;

/// The key of a node by its number.
pub(super) fn key_of(number: u32) -> SigningKey {
    let mut bytes = [0x51; 32];
    bytes[28..].copy_from_slice(&number.to_be_bytes());
    SigningKey::from_bytes(&bytes).unwrap()
}

/// A hello of this key; each is another one.
pub(super) fn hello(key: &SigningKey, place: &Place, count: u64) -> Vec<u8> {
    let addressing =
        |audience| Addressing { audience, realm: place.realm, now: now(), lifetime: Millis::seconds(60) };
    let descriptor = NodeDescriptor {
        node: NodeId(key.address()),
        specs: FakeWorker::specs_of(key),
        addresses: Vec::new(),
        sealing_key: None,
        agent_version: "0.1.0".to_owned(),
        boot: BOOT,
        sequence: 1,
        issued_at: now(),
        expires_at: now().plus(Millis::seconds(3_600)),
    };
    let mut nonce = [0; 16];
    nonce[..8].copy_from_slice(&now().0.to_be_bytes());
    nonce[8..].copy_from_slice(&count.to_be_bytes());
    let hello = Hello {
        boot: BOOT,
        nonce: Nonce(nonce),
        agent_version: "0.1.0".to_owned(),
        descriptor: seal(key, addressing(Audience::Any), &descriptor).bytes,
        takes_tags: Some(true),
    };
    seal(key, addressing(Audience::Peer(place.orchestrator)), &hello).bytes
}

/// All nodes; they go on until this is dropped.
pub(super) struct Fleet {
    /// The term of each node's session.
    terms: Arc<[AtomicU64]>,
    _stop: DropGuard,
}

impl Fleet {
    /// Nodes come through these entrances by turns.
    pub(super) async fn start(nodes: u32, place: &Place, entrances: &[SocketAddr]) -> Self {
        let stop = CancellationToken::new();
        let terms: Arc<[AtomicU64]> = (0..nodes).map(|_| AtomicU64::new(NONE)).collect();
        for (number, entrance) in (0..nodes).zip(entrances.iter().cycle()) {
            let key = key_of(number);
            let (endpoint, task) =
                Endpoint::bind(EndpointConfig::default(), &key, NetworkMetrics::default()).await.unwrap();
            tokio::spawn(task.run(stop.clone()));
            let endpoints = vec![EndpointUrl::Peer(PeerAddress::tcp(*entrance))];
            let config = ClientConfig::new(place.orchestrator, endpoints);
            let (client, task, events) = PeerClient::session(endpoint, config);
            tokio::spawn(task.run(stop.clone()));
            let node = Node { number, key, place: place.clone(), client, terms: Arc::clone(&terms) };
            tokio::spawn(node.hold_a_session(events));
        }
        Fleet { terms, _stop: stop.drop_guard() }
    }

    /// How many have a session of this term.
    pub(super) fn in_term(&self, term: u64) -> u32 {
        let of_term = self.terms.iter().filter(|one| one.load(Ordering::Relaxed) == term);
        u32::try_from(of_term.count()).unwrap()
    }

    /// Waits until all have one, and says how long that took; none if it takes longer than this.
    pub(super) async fn all_in_term(&self, term: u64, patience: Duration) -> Option<Duration> {
        let began = Instant::now();
        while began.elapsed() <= patience {
            if usize::try_from(self.in_term(term)).unwrap() == self.terms.len() {
                return Some(began.elapsed());
            }
            tokio::time::sleep(LOOK).await;
        }
        None
    }
}

struct Node {
    number: u32,
    key: SigningKey,
    place: Place,
    client: PeerClient,
    terms: Arc<[AtomicU64]>,
}

impl Node {
    /// Says hello on each connection until it is granted a session.
    async fn hold_a_session(self, mut events: mpsc::Receiver<ClientEvent>) {
        let mut count = 0;
        while let Some(event) = events.recv().await {
            let says_hello = match event {
                ClientEvent::Connected { .. } => true,
                ClientEvent::Disconnected { .. } => {
                    self.note(NONE);
                    false
                }
                ClientEvent::ConnectFailed { .. } => false,
                ClientEvent::Frame(bytes) => match claimed_purpose(&bytes).unwrap() {
                    Purpose::Granted => {
                        self.note(self.read(&bytes).epoch.0);
                        false
                    }
                    Purpose::Refusal => {
                        tokio::time::sleep(ASKS_AGAIN).await;
                        true
                    }
                    _ => false,
                },
            };
            if says_hello {
                count += 1;
                // If the connection is gone, the next one is greeted again.
                let _ = self.client.send(hello(&self.key, &self.place, count));
            }
        }
    }

    fn note(&self, term: u64) {
        if let Some(own) = self.terms.get(usize::try_from(self.number).unwrap()) {
            own.store(term, Ordering::Relaxed);
        }
    }

    /// Nothing counts that the orchestrator's key did not sign for this node.
    fn read(&self, bytes: &[u8]) -> Granted {
        let expected = Expectation {
            recipient: Some(self.key.address()),
            realm: self.place.realm,
            now: now(),
            signer: Some(self.place.orchestrator),
        };
        let opened: Opened<Granted> = open(bytes, &expected).unwrap();
        opened.body
    }
}
