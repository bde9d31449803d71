//! Nodes that a validator proves: honest ones and others.

use std::sync::{Arc, Mutex};

use lode_gpu_proof::attacks::{Forgery, ForgingProver};
use lode_gpu_proof::{CpuProver, ProofClass, Prover, SessionInputs};
use lode_network::{
    ClientConfig, ClientEvent, Endpoint, EndpointConfig, EndpointUrl, NetworkMetrics, PeerClient, Protocol,
};
use lode_program::Clock;
use lode_protocol::envelope::{self, Addressing, Audience, Expectation, Realm};
use lode_protocol::hash::Digest;
use lode_protocol::ids::{Address, NodeId};
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
    /// Has a prover that forges, and signs what it says.
    Forger(Forgery),
    /// Does not say what it answers.
    Unbound,
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
        let provers = gpus(number, count).into_iter().map(|gpu| prover(conduct, gpu.as_str().to_owned()));
        let (realm, validator, provers) = (validator.realm, validator.key.address(), provers.collect());
        let said = Said::default();
        let verdict_of = verdict.clone();
        let answering =
            Answering { realm, validator, key, conduct, client, provers, said, verdict: verdict_of };
        tokio::spawn(answering.run(events));
        Self { verdict, _stop: stop.drop_guard() }
    }

    /// Codes of the GPUs that failed, once a verdict was heard.
    pub(crate) fn verdict(&self) -> Option<Vec<String>> {
        self.verdict.lock().unwrap().clone()
    }
}

fn prover(conduct: Conduct, gpu: String) -> Box<dyn Prover + Send> {
    match conduct {
        Conduct::Forger(forgery) => Box::new(ForgingProver::new(forgery, gpu)),
        Conduct::Honest | Conduct::OtherSession | Conduct::OtherRows | Conduct::Unbound => {
            Box::new(CpuProver::new(gpu))
        }
    }
}

/// What the run's messages are named by.
#[derive(Default)]
struct Said {
    prepare: Digest,
    start: Digest,
}

struct Answering {
    realm: Realm,
    validator: Address,
    key: SigningKey,
    conduct: Conduct,
    client: PeerClient,
    provers: Vec<Box<dyn Prover + Send>>,
    said: Said,
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
            let challenge = envelope::open::<Challenge>(&bytes, &expected).unwrap();
            tokio::task::block_in_place(|| self.hear(challenge.body, challenge.digest));
        }
    }

    fn hear(&mut self, challenge: Challenge, digest: Digest) {
        let bound = self.conduct != Conduct::Unbound;
        match challenge {
            Challenge::Prepare { run, .. } => {
                self.said.prepare = digest;
                for prover in &mut self.provers {
                    prover.prepare(&ProofClass::TINY.params).unwrap();
                }
                self.say(&Answer::Ready { run });
            }
            Challenge::Start { run, beacon, nonce, prepare } => {
                assert_eq!(prepare, Some(self.said.prepare), "a start names its preparation");
                self.said.start = digest;
                let mut roots = Vec::new();
                let node = (NodeId(self.key.address()), self.key.public());
                for prover in &mut self.provers {
                    let uuid = prover.gpu_uuid().parse().unwrap();
                    let nonce = if self.conduct == Conduct::OtherSession { Digest([1; 32]) } else { nonce };
                    let session = SessionInputs::of(self.realm, node, &uuid, beacon, nonce);
                    let commit = prover.start(&session, &mut |_| ()).unwrap();
                    let walk = Digest::from(commit.walk_root);
                    roots.push((uuid.clone(), Phase::Walk, walk, None));
                    roots.push((uuid, Phase::Product, Digest::from(commit.gemm_root), Some(walk)));
                }
                let start = bound.then_some(digest);
                for (gpu, phase, root, walk) in roots {
                    self.say(&Answer::Committed { run, gpu, phase, root, start, walk });
                }
            }
            Challenge::Open { run, selections } => {
                for mut selection in selections {
                    if self.conduct == Conduct::OtherRows {
                        selection.rows.reverse();
                    }
                    let named =
                        |prover: &&mut Box<dyn Prover + Send>| prover.gpu_uuid() == selection.gpu.as_str();
                    let prover = self.provers.iter_mut().find(named).unwrap();
                    let opening = prover.open(&selection.rows, &selection.walkers).unwrap().to_bytes();
                    let opening = GpuOpening { gpu: selection.gpu, opening };
                    let (start, demand) = (Some(self.said.start), Some(digest));
                    self.say(&Answer::Opened { run, opening, start, demand });
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

/// Somebody whom neither the chain nor a directory knows connects, says something that is no answer, and goes. Whether he is
/// heard at all is the validator's to say.
pub(crate) async fn stranger_speaks(number: u32, validator: &Validator) {
    let mut secret = [0x66; 32];
    secret[..4].copy_from_slice(&number.to_be_bytes());
    let key = SigningKey::from_bytes(&secret).unwrap();
    let (endpoint, task) =
        Endpoint::bind(EndpointConfig::default(), &key, NetworkMetrics::default()).await.unwrap();
    let stop = CancellationToken::new();
    let running = tokio::spawn(task.run(stop.clone()));
    let limit = std::time::Duration::from_secs(30);
    let expected = Some(validator.key.address());
    if let Ok(connection) = endpoint.connect(&validator.address(), expected, limit).await
        && let Ok(mut stream) = endpoint.open(connection.id, Protocol::Proof, limit).await
    {
        let _ = stream.send(&[7; 4_000], limit).await;
    }
    stop.cancel();
    let _ = running.await;
}
