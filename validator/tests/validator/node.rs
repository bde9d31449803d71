//! Nodes that a validator proves: honest ones and others.

use std::sync::{Arc, Mutex};

use lode_gpu_proof::{CpuProver, Digest as ProofDigest, ProofClass, Prover, SessionInputs};
use lode_network::{
    ClientConfig, ClientEvent, Endpoint, EndpointConfig, EndpointUrl, NetworkMetrics, PeerClient,
};
use lode_program::Clock;
use lode_protocol::envelope::{self, Addressing, Audience, Expectation, Realm};
use lode_protocol::hash::Digest;
use lode_protocol::ids::Address;
use lode_protocol::keys::SigningKey;
use lode_protocol::proof::{Answer, Challenge, GpuOpening, Phase};
use lode_protocol::units::{Millis, Timestamp};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::world::{Validator, gpus, key};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Conduct {
    Honest,
    /// Proves another session's work.
    OtherSession,
    /// Shows other rows than were asked for.
    OtherRows,
}

/// A node; stops when it is dropped.
pub(crate) struct TestNode {
    verdict: Arc<Mutex<Option<Vec<String>>>>,
    _stop: DropGuard,
}

impl TestNode {
    pub(crate) async fn start(number: u8, count: usize, conduct: Conduct, validator: &Validator) -> Self {
        let key = key(number);
        let stop = CancellationToken::new();
        let (endpoint, task) =
            Endpoint::bind(EndpointConfig::default(), &key, NetworkMetrics::default()).await.unwrap();
        tokio::spawn(task.run(stop.clone()));
        let place = vec![EndpointUrl::Peer(validator.address())];
        let (client, task, events) =
            PeerClient::proof(endpoint, ClientConfig::new(validator.key.address(), place));
        tokio::spawn(task.run(stop.clone()));
        let verdict = Arc::new(Mutex::new(None));
        let provers =
            gpus(number, count).into_iter().map(|gpu| CpuProver::new(gpu.as_str().to_owned())).collect();
        let (realm, validator) = (validator.realm, validator.key.address());
        let answering =
            Answering { realm, validator, key, conduct, client, provers, verdict: verdict.clone() };
        tokio::spawn(answering.run(events));
        Self { verdict, _stop: stop.drop_guard() }
    }

    /// Codes of the GPUs that failed, once a verdict was heard.
    pub(crate) fn verdict(&self) -> Option<Vec<String>> {
        self.verdict.lock().unwrap().clone()
    }
}

struct Answering {
    realm: Realm,
    validator: Address,
    key: SigningKey,
    conduct: Conduct,
    client: PeerClient,
    provers: Vec<CpuProver>,
    verdict: Arc<Mutex<Option<Vec<String>>>>,
}

impl Answering {
    async fn run(mut self, mut events: mpsc::Receiver<ClientEvent>) {
        while let Some(event) = events.recv().await {
            let ClientEvent::Frame(bytes) = event else { continue };
            let expected = Expectation {
                recipient: Some(self.key.address()),
                realm: self.realm,
                now: now(),
                signer: Some(self.validator),
            };
            let challenge = envelope::open::<Challenge>(&bytes, &expected).unwrap().body;
            tokio::task::block_in_place(|| self.hear(challenge));
        }
    }

    fn hear(&mut self, challenge: Challenge) {
        match challenge {
            Challenge::Prepare { run, .. } => {
                for prover in &mut self.provers {
                    prover.prepare(&ProofClass::TINY.params).unwrap();
                }
                self.say(&Answer::Ready { run });
            }
            Challenge::Start { run, beacon, nonce } => {
                let mut roots = Vec::new();
                for prover in &mut self.provers {
                    let uuid = prover.gpu_uuid().to_owned();
                    let nonce = if self.conduct == Conduct::OtherSession { Digest([1; 32]) } else { nonce };
                    let commit = prover
                        .start(&session(self.realm, &self.key, &uuid, beacon, nonce), &mut |_| ())
                        .unwrap();
                    roots.push((uuid.clone(), Phase::Walk, commit.walk_root));
                    roots.push((uuid, Phase::Product, commit.gemm_root));
                }
                for (uuid, phase, root) in roots {
                    let (gpu, root) = (uuid.parse().unwrap(), Digest(root.0));
                    self.say(&Answer::Committed { run, gpu, phase, root });
                }
            }
            Challenge::Open { run, selections } => {
                for mut selection in selections {
                    if self.conduct == Conduct::OtherRows {
                        selection.rows.reverse();
                    }
                    let named = |prover: &&mut CpuProver| prover.gpu_uuid() == selection.gpu.as_str();
                    let prover = self.provers.iter_mut().find(named).unwrap();
                    let opening = prover.open(&selection.rows, &selection.walkers).unwrap().to_bytes();
                    self.say(&Answer::Opened { run, opening: GpuOpening { gpu: selection.gpu, opening } });
                }
            }
            Challenge::Verdict { gpus, .. } => {
                let codes =
                    gpus.iter().filter_map(|gpu| Some(gpu.failure.as_ref()?.code.as_str().to_owned()));
                *self.verdict.lock().unwrap() = Some(codes.collect());
            }
        }
    }

    fn say(&self, answer: &Answer) {
        let addressing = Addressing {
            audience: Audience::Peer(self.validator),
            realm: self.realm,
            now: now(),
            lifetime: Millis::seconds(60),
        };
        self.client.send(envelope::seal(&self.key, addressing, answer).bytes).unwrap();
    }
}

fn now() -> Timestamp {
    Timestamp(Clock::system().wall_millis())
}

fn session(realm: Realm, key: &SigningKey, uuid: &str, beacon: Digest, nonce: Digest) -> SessionInputs {
    let mut pool = [0; 32];
    pool[12..].copy_from_slice(&realm.deployment.0);
    SessionInputs {
        epoch_beacon: ProofDigest(beacon.0),
        validator_nonce: ProofDigest(nonce.0),
        chain_id: realm.chain.0,
        pool: ProofDigest(pool),
        node_address: key.address().0,
        node_public_key: key.public().0,
        gpu_uuid: uuid.to_owned(),
    }
}
