//! The responder over real connections, with real prover processes and an in-test validator.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lode_contracts::{Amount, ChainReader as _, Operator};
use lode_gpu_proof::evidence::{Evidence, Exhibit, Suspect, Verdict, verify_evidence};
use lode_gpu_proof::{
    Challenge as Choice, Commit, Digest as ProofDigest, EpochInputs, EpochVerifier, FreivaldsSecret,
    OpeningSecret, ProofClass, SessionInputs,
};
use lode_network::{
    ConnectionId, Endpoint, EndpointConfig, NetworkMetrics, PeerAddress, PeerServer, ServerConfig,
    ServerEvent,
};
use lode_program::{Clock, FindingSet, Shutdown, TaskGroup};
use lode_protocol::envelope::{self, Addressing, Audience, Expectation, Opened, Realm, Sealed};
use lode_protocol::error_code::ErrorCode;
use lode_protocol::hardware::GpuSpec;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{AssignmentId, GpuUuid, Incarnation, NodeId, Nonce, PoolId, ReplicaId, TaskId};
use lode_protocol::keys::SigningKey;
use lode_protocol::proof::{Answer, Challenge, GpuVerdict, Phase, ProofClassId, ProofFailure, Selection};
use lode_protocol::units::{Millis, Timestamp};
use lode_testkit::chain::FakeChain;
use lode_worker::endpoints::EndpointPolicy;
use lode_worker::gpus::{GpuView, Offered, ProofEnded};
use lode_worker::proof::{ProofContext, respond};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Far longer than anything takes; reaching it is a failure.
const DEADLINE: Duration = Duration::from_secs(60);
const BEACON: Digest = Digest([1; 32]);
const START_NONCE: Digest = Digest([2; 32]);

fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32]).unwrap()
}

fn gpu(number: u8) -> GpuUuid {
    format!("GPU-{number}").parse().unwrap()
}

fn now() -> Timestamp {
    Timestamp(Clock::system().wall_millis())
}

/// The prover is a program of another room: the test runner builds it, see `scripts/test`.
fn prover() -> Vec<String> {
    vec![program("lode-prove-cpu")]
}

/// One that forges.
fn forger(forgery: &str) -> Vec<String> {
    vec![program("lode-prove-forged"), "--forgery".to_owned(), forgery.to_owned()]
}

fn program(name: &str) -> String {
    let mut path: PathBuf = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.push(name);
    assert!(path.exists(), "{} is missing: cargo build --release --workspace", path.display());
    path.display().to_string()
}

/// A validator, and a worker's responder that knows it from the chain.
struct World {
    server: PeerServer,
    peers: mpsc::Receiver<ServerEvent>,
    connection: Option<ConnectionId>,
    realm: Realm,
    holders: watch::Sender<BTreeMap<GpuUuid, AssignmentId>>,
    gpus: watch::Sender<Arc<GpuView>>,
    proofs: mpsc::Receiver<ProofEnded>,
    findings: FindingSet,
    _stop: DropGuard,
}

impl World {
    async fn start(gpus: &[u8], command: Vec<String>) -> Self {
        Self::checking(gpus, command, true).await
    }

    async fn checking(gpus: &[u8], command: Vec<String>, self_check: bool) -> Self {
        let stop = CancellationToken::new();
        let config = EndpointConfig { listen: vec![PeerAddress::loopback(0)], ..EndpointConfig::default() };
        let (endpoint, task) = Endpoint::bind(config, &key(200), NetworkMetrics::default()).await.unwrap();
        tokio::spawn(task.run(stop.clone()));
        let place = endpoint.addresses()[0].to_string();
        let (server, task, peers) = PeerServer::proofs(endpoint, ServerConfig::default()).await.unwrap();
        tokio::spawn(task.run(stop.clone()));

        let chain = FakeChain::new();
        chain.fund(key(200).address(), Amount::tokens(1_000), Amount::tokens(100_000));
        Operator::new(chain.clone(), key(200))
            .register_validator(Amount::tokens(1_000), &place)
            .await
            .unwrap();
        let realm = chain.deployment().realm(PoolId(1));

        let (endpoint, task) =
            Endpoint::bind(EndpointConfig::default(), &key(1), NetworkMetrics::default()).await.unwrap();
        tokio::spawn(task.run(stop.clone()));
        let specs = gpus.iter().map(|number| GpuSpec {
            uuid: gpu(*number),
            model: None,
            memory: None,
            compute_capability: None,
            pci_bus_id: None,
            parent: None,
        });
        let (gpus_sender, gpus) = watch::channel(Arc::new(GpuView {
            offered: Offered { gpus: specs.collect(), ..Offered::default() },
            ..GpuView::default()
        }));
        let (holders, held) = watch::channel(BTreeMap::new());
        let (proofs, proofs_ended) = mpsc::channel(64);
        let findings = FindingSet::new(Clock::system());
        let context = ProofContext {
            endpoint,
            reader: chain,
            key: key(1),
            realm,
            gpus,
            proofs,
            holders: held,
            command,
            self_check,
            policy: EndpointPolicy::Anywhere,
            findings: findings.clone(),
            tasks: TaskGroup::new(Shutdown::new()),
        };
        let token = stop.clone();
        tokio::spawn(async move { respond(context, token).await.unwrap() });
        World {
            server,
            peers,
            connection: None,
            realm: realm.without_pool(),
            holders,
            gpus: gpus_sender,
            proofs: proofs_ended,
            findings,
            _stop: stop.drop_guard(),
        }
    }

    fn say(&self, challenge: &Challenge) -> Sealed {
        let addressing = Addressing {
            audience: Audience::Peer(key(1).address()),
            realm: self.realm,
            now: now(),
            lifetime: Millis::seconds(60),
        };
        let sealed = envelope::seal(&key(200), addressing, challenge);
        self.server.push(self.connection.expect("the worker has dialled"), sealed.bytes.clone()).unwrap();
        sealed
    }

    async fn dialled(&mut self) {
        let event = tokio::time::timeout(DEADLINE, self.peers.recv()).await.unwrap().unwrap();
        let ServerEvent::Opened { connection, peer } = event else { panic!("{event:?}") };
        assert_eq!(peer, key(1).address());
        self.server.vouch(connection);
        self.connection = Some(connection);
    }

    async fn hear(&mut self) -> Answer {
        self.hear_sealed().await.0.body
    }

    /// The next answer, and the bytes in which it came.
    async fn hear_sealed(&mut self) -> (Opened<Answer>, Vec<u8>) {
        let event = tokio::time::timeout(DEADLINE, self.peers.recv()).await.unwrap().unwrap();
        let ServerEvent::Frame(frame) = event else { panic!("{event:?}") };
        let expected = Expectation {
            recipient: Some(key(200).address()),
            realm: self.realm,
            now: now(),
            signer: Some(key(1).address()),
        };
        (envelope::open::<Answer>(&frame.bytes, &expected).unwrap(), frame.bytes.to_vec())
    }

    fn prepare(&self, run: Nonce, gpus: &[u8]) -> Sealed {
        let class = ProofClass::TINY;
        self.say(&Challenge::Prepare {
            run,
            epoch: 1,
            class: ProofClassId(class.id.0),
            parameters: Digest(class.params.hash().0),
            gpus: gpus.iter().map(|number| gpu(*number)).collect(),
            start_at: now(),
        })
    }

    /// Brings a run to the commits of all GPUs.
    async fn commits(&mut self, run: Nonce, gpus: &[u8]) -> BTreeMap<GpuUuid, Commit> {
        let prepare = self.prepare(run, gpus);
        assert_eq!(self.hear().await, Answer::Ready { run });
        let start = self.begin(run, Some(prepare.digest));
        let mut commits: BTreeMap<GpuUuid, Commit> = gpus
            .iter()
            .map(|number| {
                let session_seed = self.session(*number).seed(&ProofClass::TINY.params);
                let zero = ProofDigest::ZERO;
                (gpu(*number), Commit { session_seed, walk_root: zero, gemm_root: zero })
            })
            .collect();
        for _ in 0..2 * gpus.len() {
            let Answer::Committed { run: of, gpu, phase, root, start: answered, walk } = self.hear().await
            else {
                panic!("no commit")
            };
            assert_eq!((of, answered), (run, Some(start.digest)));
            let commit = commits.get_mut(&gpu).unwrap();
            match phase {
                Phase::Walk => commit.walk_root = root.into(),
                Phase::Product => {
                    assert_eq!(walk, Some(Digest::from(commit.walk_root)), "the product names its walk");
                    commit.gemm_root = root.into();
                }
            }
        }
        commits
    }

    fn begin(&self, run: Nonce, prepare: Option<Digest>) -> Sealed {
        self.say(&Challenge::Start { run, beacon: BEACON, nonce: START_NONCE, prepare })
    }

    fn session(&self, number: u8) -> SessionInputs {
        let node = (NodeId(key(1).address()), key(1).public());
        SessionInputs::of(self.realm, node, &gpu(number), BEACON, START_NONCE)
    }
}

fn selections(commits: &BTreeMap<GpuUuid, Commit>) -> (Vec<Selection>, BTreeMap<GpuUuid, Choice>) {
    let secret = OpeningSecret::new([3; 32]);
    let choices: BTreeMap<GpuUuid, Choice> = commits
        .iter()
        .map(|(gpu, commit)| {
            (gpu.clone(), Choice::derive(&ProofClass::TINY.params, &secret, commit, &ProofDigest([4; 32])))
        })
        .collect();
    let selections = choices
        .iter()
        .map(|(gpu, choice)| Selection {
            gpu: gpu.clone(),
            rows: choice.rows().to_vec(),
            walkers: choice.walkers(),
        })
        .collect();
    (selections, choices)
}

#[tokio::test(flavor = "multi_thread")]
async fn all_gpus_are_proven_at_once_by_real_provers_and_the_verdict_reaches_the_owner() {
    let mut world = World::start(&[1, 2], prover()).await;
    world.dialled().await;
    let run = Nonce([5; 16]);
    let commits = world.commits(run, &[1, 2]).await;
    let (selections, choices) = selections(&commits);
    let demand = world.say(&Challenge::Open { run, selections: selections.clone() });
    let params = ProofClass::TINY.params;
    let inputs = EpochInputs { chain_id: world.realm.chain.0, beacon: ProofDigest(BEACON.0) };
    let verifier = EpochVerifier::new(params, &inputs, FreivaldsSecret::new([6; 32])).unwrap();
    for _ in 0..2 {
        let Answer::Opened { opening, start, demand: answered, .. } = world.hear().await else {
            panic!("nothing was opened")
        };
        assert!(start.is_some());
        assert_eq!(answered, Some(demand.digest));
        let commit = &commits[&opening.gpu];
        let choice = &choices[&opening.gpu];
        verifier.verify_bytes(&commit.session_seed, commit, choice, &opening.opening).unwrap();
    }

    // Who asks twice gets nothing: the next thing heard is the answer to another run.
    world.say(&Challenge::Open { run, selections });
    let failure =
        ProofFailure { code: ErrorCode::new("proof/freivalds"), message: "a wrong product".to_owned() };
    let verdict = |number, failure| GpuVerdict { gpu: gpu(number), failure, elapsed: Millis(1) };
    world.say(&Challenge::Verdict { run, gpus: vec![verdict(1, None), verdict(2, Some(failure))] });
    let next = Nonce([6; 16]);
    world.prepare(next, &[1]);
    assert_eq!(world.hear().await, Answer::Ready { run: next });
    let found = world.findings.list();
    let failed = found.iter().find(|current| current.finding.code.as_str() == "proof/failed").unwrap();
    assert_eq!(failed.finding.subject, "GPU-2");
    assert!(failed.finding.message.contains("proof/freivalds"));
}

#[tokio::test(flavor = "multi_thread")]
async fn gpus_that_work_for_the_pool_are_busy_and_foreign_gpus_and_other_parameters_are_declined() {
    let mut world = World::start(&[1, 2], prover()).await;
    world.dialled().await;
    let assignment = AssignmentId {
        replica: ReplicaId { task: TaskId::default(), replica: 0 },
        incarnation: Incarnation(1),
    };
    world.holders.send_replace(BTreeMap::from([(gpu(2), assignment)]));
    let run = Nonce([5; 16]);
    world.prepare(run, &[1, 2]);
    assert_eq!(world.hear().await, Answer::Busy { run, assignments: vec![assignment] });

    world.prepare(run, &[1, 9]);
    let Answer::Declined { failure, .. } = world.hear().await else { panic!("not declined") };
    assert_eq!(failure.code, "proof/unknown-gpu");

    world.say(&Challenge::Prepare {
        run,
        epoch: 1,
        class: ProofClassId(1),
        parameters: Digest([9; 32]),
        gpus: vec![gpu(1)],
        start_at: now(),
    });
    let Answer::Declined { failure, .. } = world.hear().await else { panic!("not declined") };
    assert_eq!(failure.code, "proof/params");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prover_that_does_not_start_or_dies_is_told_and_the_worker_goes_on() {
    for command in [vec!["/nonexistent/prover".to_owned()], vec!["false".to_owned()]] {
        let mut world = World::start(&[1], command).await;
        world.dialled().await;
        for run in [Nonce([5; 16]), Nonce([6; 16])] {
            world.prepare(run, &[1]);
            let Answer::Declined { failure, run: of } = world.hear().await else { panic!("not declined") };
            assert_eq!((failure.code.as_str(), of), ("prover/failed", run));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gpu_that_the_driver_does_not_show_is_not_proven_and_the_others_are() {
    let mut world = World::start(&[1, 2], prover()).await;
    world.dialled().await;
    world.gpus.send_modify(|view| Arc::make_mut(view).absent = BTreeSet::from([gpu(2)]));
    let run = Nonce([5; 16]);
    world.prepare(run, &[2]);
    let Answer::Declined { failure, .. } = world.hear().await else { panic!("not declined") };
    assert!(failure.message.contains("does not show"), "{}", failure.message);
    let run = Nonce([6; 16]);
    let prepare = world.prepare(run, &[1, 2]);
    assert_eq!(world.hear().await, Answer::Ready { run });
    world.begin(run, Some(prepare.digest));
    for _ in 0..2 {
        let Answer::Committed { gpu: proven, .. } = world.hear().await else { panic!("no commit") };
        assert_eq!(proven, gpu(1));
    }
    // What is heard next is the answer to another run: nothing comes of the other GPU.
    let next = Nonce([7; 16]);
    world.prepare(next, &[1]);
    assert_eq!(world.hear().await, Answer::Ready { run: next });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_does_not_name_its_preparation_is_not_answered() {
    let mut world = World::start(&[1], prover()).await;
    world.dialled().await;
    for (number, prepare) in [(5, None), (6, Some(Digest([9; 32])))] {
        let run = Nonce([number; 16]);
        world.prepare(run, &[1]);
        assert_eq!(world.hear().await, Answer::Ready { run });
        world.begin(run, prepare);
        let Answer::Declined { failure, run: of } = world.hear().await else { panic!("not declined") };
        assert_eq!((failure.code.as_str(), of), ("proof/unbound-start", run));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prover_that_works_on_another_session_is_not_signed_for() {
    let mut world = World::start(&[1], forger("replayed-session")).await;
    world.dialled().await;
    let run = Nonce([5; 16]);
    let prepare = world.prepare(run, &[1]);
    assert_eq!(world.hear().await, Answer::Ready { run });
    world.begin(run, Some(prepare.digest));
    // Nothing is signed: the next thing heard is the answer to another run.
    let next = Nonce([6; 16]);
    world.prepare(next, &[1]);
    assert_eq!(world.hear().await, Answer::Ready { run: next });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gpu_that_computes_wrongly_is_told_to_its_owner_and_not_signed_for() {
    let mut world = World::start(&[1], forger("flipped-entry")).await;
    world.dialled().await;
    let run = Nonce([5; 16]);
    let commits = world.commits(run, &[1]).await;
    let (selections, _) = selections(&commits);
    world.say(&Challenge::Open { run, selections });
    let told = tokio::time::timeout(DEADLINE, async {
        while !world.findings.list().iter().any(|found| found.finding.code.as_str() == "proof/self-check") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    told.await.expect("the owner is told");
    assert_eq!(world.proofs.recv().await, Some(ProofEnded { gpu: gpu(1), passed: false }), "its health too");
    // Nothing was opened: the next thing heard is the answer to another run.
    let next = Nonce([6; 16]);
    world.prepare(next, &[1]);
    assert_eq!(world.hear().await, Answer::Ready { run: next });
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_worker_signs_for_a_forging_prover_convicts_it_and_for_an_honest_one_does_not() {
    for (command, guilty) in [(forger("skipped-rows"), true), (prover(), false)] {
        // A cheating host checks nothing.
        let mut world = World::checking(&[1], command, !guilty).await;
        world.dialled().await;
        let run = Nonce([5; 16]);
        let prepare = world.prepare(run, &[1]);
        assert_eq!(world.hear().await, Answer::Ready { run });
        let start = world.begin(run, Some(prepare.digest));
        let mut commit =
            Commit { session_seed: world.session(1).seed(&ProofClass::TINY.params), ..ZERO_COMMIT };
        let mut product = Vec::new();
        for _ in 0..2 {
            let (opened, sealed) = world.hear_sealed().await;
            let Answer::Committed { phase, root, .. } = opened.body else { panic!("no commit") };
            match phase {
                Phase::Walk => commit.walk_root = root.into(),
                Phase::Product => (commit.gemm_root, product) = (root.into(), sealed),
            }
        }
        let (selections, choices) = selections(&BTreeMap::from([(gpu(1), commit)]));
        let demand = world.say(&Challenge::Open { run, selections });
        let (_, opened) = world.hear_sealed().await;
        let position = choices[&gpu(1)].rows().iter().position(|row| row % 2 == 0).unwrap();
        let exhibit = Exhibit::Opening {
            product,
            demand: demand.bytes,
            opened,
            suspect: Some(Suspect::Row { position: u32::try_from(position).unwrap() }),
        };
        let evidence = Evidence::new(ProofClass::TINY.params, prepare.bytes, start.bytes, exhibit);
        match verify_evidence(&evidence.to_bytes()) {
            Verdict::Guilty { deed, .. } => assert!(guilty && deed.node == NodeId(key(1).address())),
            Verdict::Innocent(acquittal) => assert!(!guilty, "{acquittal}"),
        }
    }
}

const ZERO_COMMIT: Commit = Commit {
    session_seed: lode_gpu_proof::SessionSeed(ProofDigest::ZERO),
    walk_root: ProofDigest::ZERO,
    gemm_root: ProofDigest::ZERO,
};
