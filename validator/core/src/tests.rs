//! The core against a simple world: a chain that mines what is submitted, and nodes that compute real proofs.

use std::collections::{BTreeMap, BTreeSet};

use lode_chain_types::{
    Amount, BlockRef, Epoch, EpochTiming, Intent, IntentId, Outcome, ProvenRecord, Receipt, Revert,
    ValidatorsCall, timestamp_of_seconds,
};
use lode_gpu_proof::attacks::{Forgery, ForgingProver};
use lode_gpu_proof::evidence::verify_evidence;
use lode_gpu_proof::{Commit, CpuProver, EpochVerifier, FreivaldsSecret, ProofClass, Prover, SessionInputs};
use lode_protocol::envelope::{self, Addressing, Audience, Realm};
use lode_protocol::error_code::ErrorCode;
use lode_protocol::hash::{Digest, keccak256};
use lode_protocol::ids::{
    AccusationId, Address, BootCounter, ChainId, GpuUuid, NodeId, Nonce, PoolId, ProviderId, ValidatorId,
};
use lode_protocol::keys::SigningKey;
use lode_protocol::proof::{Answer, Challenge, GpuOpening, GpuVerdict, Phase, ProofFailure};
use lode_protocol::time::Now;
use lode_protocol::units::{Millis, Timestamp};
use proptest::prelude::*;

use super::*;

mod attesting;
mod judging;
mod strangers;

const EPOCH_SECONDS: u64 = 10;
const TIMING: EpochTiming = EpochTiming { epoch_seconds: EPOCH_SECONDS, max_validity_epochs: 100 };
const REALM: Realm = Realm { chain: ChainId(31_337), deployment: Address([0xa3; 20]), pool: PoolId(0) };
const SLASHING: Address = Address([0xa5; 20]);
const PROVIDER: ProviderId = ProviderId(Address([0xbb; 20]));

fn validator() -> ValidatorId {
    ValidatorId(key(200).address())
}

fn settings() -> Settings {
    Settings {
        validator: validator(),
        realm: REALM,
        slashing: SLASHING,
        class: ProofClass::TINY,
        validity_epochs: 0,
        retry: Millis::seconds(5),
        concurrent_runs: 4,
        concurrent_audits: 2,
        accusing: None,
    }
}

fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32]).unwrap()
}

fn node(number: u8) -> NodeId {
    NodeId(key(number).address())
}

fn gpus(number: u8, count: usize) -> Vec<GpuUuid> {
    (0..count).map(|index| format!("GPU-{number}-{index}").parse().unwrap()).collect()
}

fn description(number: u8, count: usize) -> Description {
    Description {
        node: node(number),
        public_key: key(number).public(),
        gpus: gpus(number, count),
        version: (BootCounter(1), 1),
        expires_at: Timestamp(u64::MAX),
    }
}

/// How a node of the world behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Conduct {
    Honest,
    /// Is ready and then says nothing.
    SilentAfterStart,
    /// Commits and never shows anything.
    NeverOpens,
    /// Shows something else than it committed to.
    OtherOpening,
    /// Did the work for another session.
    OtherSession,
    /// Leaves out half of the product.
    SkipsRows,
    /// Commits to one walk, and to the product of another.
    TwoWalks,
    /// Does not say what it answers.
    Unbound,
    Busy,
}

/// A world of one validator.
struct World {
    core: Core,
    monotonic: Millis,
    second: u64,
    block: u64,
    conduct: BTreeMap<NodeId, Conduct>,
    keys: BTreeMap<NodeId, u8>,
    provers: BTreeMap<GpuUuid, Box<dyn Prover>>,
    beacons: BTreeMap<Epoch, Digest>,
    /// Nodes that this validator is not drawn for.
    others: BTreeSet<NodeId>,
    files: Vec<Vec<u8>>,
    asked_in: BTreeMap<NodeId, Epoch>,
    prepare: BTreeMap<NodeId, Digest>,
    start: BTreeMap<NodeId, Digest>,
    started: BTreeSet<Nonce>,
    results: BTreeMap<NodeId, NodeResult>,
    attestation: Option<Attestation>,
    roots: BTreeMap<Epoch, Digest>,
    proven: BTreeMap<NodeId, ProvenRecord>,
    judged: Vec<(NodeId, Vec<GpuVerdict>)>,
    prepared: Vec<NodeId>,
    submitted: Vec<Intent>,
    intents: u64,
    chain_works: bool,
    checks_crash: bool,
    restarts: u8,
}

impl World {
    fn new() -> Self {
        let mut world = World {
            core: Core::new(settings(), Secret::new([7; 32]), Loaded::default()),
            monotonic: Millis(1_000),
            second: 1_000,
            block: 1,
            conduct: BTreeMap::new(),
            keys: BTreeMap::new(),
            provers: BTreeMap::new(),
            beacons: BTreeMap::new(),
            others: BTreeSet::new(),
            files: Vec::new(),
            asked_in: BTreeMap::new(),
            prepare: BTreeMap::new(),
            start: BTreeMap::new(),
            started: BTreeSet::new(),
            results: BTreeMap::new(),
            attestation: None,
            roots: BTreeMap::new(),
            proven: BTreeMap::new(),
            judged: Vec::new(),
            prepared: Vec::new(),
            submitted: Vec::new(),
            intents: 0,
            chain_works: true,
            checks_crash: false,
            restarts: 100,
        };
        world.give(Event::Timing(TIMING));
        world
    }

    fn join(&mut self, number: u8, count: usize, conduct: Conduct) {
        self.conduct.insert(node(number), conduct);
        self.keys.insert(node(number), number);
        self.give(Event::Described(description(number, count)));
        self.give(Event::Connected(node(number)));
    }

    fn restart(&mut self) {
        let loaded = Loaded {
            results: self.results.values().cloned().collect(),
            attestation: self.attestation.clone(),
            ..Loaded::default()
        };
        self.restarts += 1;
        self.core = Core::new(settings(), Secret::new([self.restarts; 32]), loaded);
        self.give(Event::Timing(TIMING));
        let nodes: Vec<(NodeId, u8)> = self.keys.iter().map(|(node, number)| (*node, *number)).collect();
        for (node, number) in nodes {
            self.give(Event::Described(description(number, 2)));
            self.give(Event::Connected(node));
        }
    }

    /// One second: ticks, and a block.
    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            for _ in 0..4 {
                self.monotonic = self.monotonic.plus(Millis(250));
                self.give(Event::Tick);
            }
            self.second += 1;
            self.block += 1;
            if self.chain_works {
                let head = BlockRef {
                    number: self.block,
                    hash: keccak256(&self.block.to_be_bytes()),
                    timestamp: timestamp_of_seconds(self.second),
                };
                self.give(Event::Head(head));
            }
        }
    }

    fn epoch(&self) -> Epoch {
        TIMING.epoch_at(timestamp_of_seconds(self.second))
    }

    fn now(&self) -> Now {
        Now { wall: Timestamp(self.second * 1_000), monotonic: self.monotonic }
    }

    fn give(&mut self, event: Event) {
        let mut events = std::collections::VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let effects = self.core.step(self.now(), event).unwrap();
            let (saves, others): (Vec<_>, Vec<_>) =
                effects.into_iter().partition(|effect| matches!(effect, Effect::Save(_)));
            for effect in saves {
                if let Effect::Save(change) = effect {
                    self.save(change);
                }
            }
            for effect in others {
                events.extend(self.carry_out(effect));
            }
        }
    }

    fn save(&mut self, change: Change) {
        match change {
            Change::PutResult(result) => drop(self.results.insert(result.node, result)),
            Change::DeleteResult(node) => drop(self.results.remove(&node)),
            Change::PutAttestation(attestation) => self.attestation = Some(attestation),
            Change::PutFile { bytes, .. } => self.files.push(bytes),
            Change::DeleteFile { .. } => {}
            other => panic!("nobody accuses or judges here: {other:?}"),
        }
    }

    fn carry_out(&mut self, effect: Effect) -> Vec<Event> {
        match effect {
            Effect::Save(_)
            | Effect::Acknowledge(_)
            | Effect::Raise(_)
            | Effect::Clear(..)
            | Effect::Report(_) => Vec::new(),
            Effect::Send { node, challenge } => {
                let sealed = self.seal(200, node.0, &challenge);
                let (digest, sealed) = (sealed.digest, sealed.bytes);
                let mut events = vec![Event::Sent { node, challenge: challenge.clone(), digest, sealed }];
                events.extend(self.hear(node, challenge, digest));
                events
            }
            Effect::Verify(job) => {
                if self.checks_crash {
                    return vec![Event::Verified {
                        node: job.node,
                        run: job.run,
                        gpu: job.gpu,
                        verdict: RunVerdict::Crashed,
                    }];
                }
                let verifier =
                    EpochVerifier::new(job.class.params, &job.inputs, FreivaldsSecret::new([3; 32])).unwrap();
                let verdict = match verifier.verify_bytes(&job.seed, &job.commit, &job.choice, &job.opening) {
                    Ok(()) => RunVerdict::Passed,
                    Err(error) => {
                        let (rows, walkers) = (job.choice.rows(), job.choice.walkers());
                        let record = job.record.clone().expect("every message was kept");
                        let file = record.evidence(job.class.params, &error, rows, &walkers);
                        let file = verify_evidence(&file).is_guilty().then_some(file);
                        let code = ErrorCode::new(error.code());
                        RunVerdict::Failed {
                            failure: ProofFailure { code, message: error.to_string() },
                            file,
                        }
                    }
                };
                vec![Event::Verified { node: job.node, run: job.run, gpu: job.gpu, verdict }]
            }
            Effect::Submit(intent) => self.mine(intent),
            Effect::ReadFacts(nodes) if self.chain_works => nodes
                .into_iter()
                .map(|node| {
                    let facts = Facts { provider: Some(PROVIDER), proven: self.proven.get(&node).cloned() };
                    Event::Facts { node, facts }
                })
                .collect(),
            Effect::ReadStanding(epoch) if self.chain_works => {
                vec![Event::Standing { epoch, own: Amount::tokens(1), total: Amount::tokens(1) }]
            }
            Effect::ReadRoot(epoch) if self.chain_works => {
                vec![Event::Root { epoch, root: self.roots.get(&epoch).copied() }]
            }
            Effect::ReadBeacon(epoch) if self.chain_works => {
                vec![Event::Beacon { epoch, beacon: self.beacons.get(&epoch).copied() }]
            }
            Effect::ReadDrawn(epoch, nodes) if self.chain_works => {
                let drawn = |node: NodeId| Event::Drawn { epoch, node, drawn: !self.others.contains(&node) };
                nodes.into_iter().map(drawn).collect()
            }
            Effect::ReadFacts(_)
            | Effect::ReadStanding(_)
            | Effect::ReadRoot(_)
            | Effect::ReadBeacon(_)
            | Effect::ReadDrawn(..) => Vec::new(),
            other @ (Effect::ReadAccusation(_)
            | Effect::ReadPrice { .. }
            | Effect::Examine(_)
            | Effect::ShowAnswer { .. }
            | Effect::Audit(..)) => panic!("nobody is accused here: {other:?}"),
            Effect::Judged { node, gpus } => {
                self.judged.push((node, gpus));
                Vec::new()
            }
        }
    }

    /// Does what the contract does, at once.
    fn mine(&mut self, intent: Intent) -> Vec<Event> {
        let refused = |name: &str| Outcome::Reverted {
            error: Revert { name: name.to_owned(), detail: String::new() },
            transaction: None,
        };
        let confirmed = Outcome::Confirmed(Receipt {
            transaction: Digest::default(),
            block: self.block,
            block_hash: Digest::default(),
            succeeded: true,
            gas_used: 1,
            events: Vec::new(),
        });
        let into = self.second % EPOCH_SECONDS;
        let outcome = match &intent {
            Intent::Validators(ValidatorsCall::Commit { epoch, .. }) => {
                let saved = self
                    .attestation
                    .as_ref()
                    .expect("the attestation is saved before its commitment is sent");
                assert_eq!(saved.epoch, *epoch);
                if *epoch == self.epoch() && into < EPOCH_SECONDS / 2 {
                    confirmed
                } else {
                    refused("WrongEpoch")
                }
            }
            Intent::Validators(ValidatorsCall::Reveal { epoch, root, salt }) => {
                let saved = self.attestation.as_ref().expect("an attestation that is revealed is saved");
                assert_eq!((saved.root(), saved.salt), (*root, *salt));
                if *epoch == self.epoch() && into >= EPOCH_SECONDS / 2 {
                    self.roots.insert(*epoch, *root);
                    confirmed
                } else {
                    refused("WrongEpoch")
                }
            }
            Intent::Validators(ValidatorsCall::DrawBeacon { epoch }) => {
                if *epoch == self.epoch() && into < EPOCH_SECONDS / 2 {
                    self.beacons.insert(*epoch, keccak256(&epoch.0.to_be_bytes()));
                    confirmed
                } else {
                    refused("CommitPhaseOver")
                }
            }
            Intent::Validators(ValidatorsCall::ProveBatch { epoch, items }) => {
                for item in items {
                    assert!(lode_chain_types::verify_path(self.roots[epoch], &item.leaf, &item.path));
                    let leaf = item.leaf;
                    let record = ProvenRecord {
                        class: leaf.class,
                        gpu_count: leaf.gpu_count,
                        vram_gib: leaf.vram_gib,
                        walk_score: leaf.walk_score,
                        gemm_score: leaf.gemm_score,
                        proven_epoch: *epoch,
                        expiry_epoch: leaf.expiry_epoch,
                        registration: 1,
                        current: leaf.pass,
                    };
                    self.proven.insert(leaf.node, record);
                }
                confirmed
            }
            other => panic!("a validator does not submit {other:?}"),
        };
        self.submitted.push(intent.clone());
        self.intents += 1;
        vec![Event::Settled { id: IntentId(self.intents), intent, outcome }]
    }

    fn seal<T: envelope::Signable>(&self, from: u8, to: Address, body: &T) -> envelope::Sealed {
        let addressing = Addressing {
            audience: Audience::Peer(to),
            realm: REALM,
            now: Timestamp(self.second * 1_000),
            lifetime: Millis::seconds(60),
        };
        envelope::seal(&key(from), addressing, body)
    }

    fn prover(&self, conduct: Conduct, gpu: &GpuUuid) -> Box<dyn Prover> {
        match conduct {
            Conduct::SkipsRows => Box::new(ForgingProver::new(Forgery::SkippedRows, gpu.as_str().to_owned())),
            Conduct::Honest
            | Conduct::SilentAfterStart
            | Conduct::NeverOpens
            | Conduct::OtherOpening
            | Conduct::OtherSession
            | Conduct::TwoWalks
            | Conduct::Unbound
            | Conduct::Busy => Box::new(CpuProver::new(gpu.as_str().to_owned())),
        }
    }

    /// A node answers.
    fn hear(&mut self, node: NodeId, challenge: Challenge, digest: Digest) -> Vec<Event> {
        let answers = self.answer(node, challenge, digest);
        let number = self.keys[&node];
        let heard = |answer: Answer| {
            let sealed = self.seal(number, key(200).address(), &answer).bytes;
            Event::Answered { node, heard: Heard { at: self.monotonic, answer, sealed } }
        };
        answers.into_iter().map(heard).collect()
    }

    fn answer(&mut self, node: NodeId, challenge: Challenge, digest: Digest) -> Vec<Answer> {
        let conduct = self.conduct[&node];
        let number = self.keys[&node];
        match challenge {
            Challenge::Prepare { run, epoch, gpus, .. } => {
                self.asked_in.insert(node, Epoch(epoch));
                self.prepared.push(node);
                self.prepare.insert(node, digest);
                if conduct == Conduct::Busy {
                    return vec![Answer::Busy { run, assignments: Vec::new() }];
                }
                for gpu in gpus {
                    let mut prover = self.prover(conduct, &gpu);
                    prover.prepare(&ProofClass::TINY.params).unwrap();
                    self.provers.insert(gpu, prover);
                }
                vec![Answer::Ready { run }]
            }
            Challenge::Start { run, beacon, nonce, prepare } => {
                assert!(self.started.insert(run), "a run starts once");
                assert_eq!(prepare.as_ref(), self.prepare.get(&node), "a start names its preparation");
                let epoch = self.asked_in[&node];
                assert_eq!(Some(&beacon), self.beacons.get(&epoch), "the beacon of the run's epoch");
                self.start.insert(node, digest);
                if conduct == Conduct::SilentAfterStart {
                    return Vec::new();
                }
                let start = (conduct != Conduct::Unbound).then_some(digest);
                let mut answers = Vec::new();
                for (gpu, prover) in self.provers.iter_mut().filter(|(gpu, _)| owner(gpu) == number) {
                    let other = conduct == Conduct::OtherSession;
                    let nonce = if other { Digest([9; 32]) } else { nonce };
                    let (node, key) = (NodeId(key(number).address()), key(number).public());
                    let session = SessionInputs::of(REALM, (node, key), gpu, beacon, nonce);
                    let commit: Commit = prover.start(&session, &mut |_| ()).unwrap();
                    let (walk, product) = (Digest::from(commit.walk_root), Digest::from(commit.gemm_root));
                    let said = if conduct == Conduct::TwoWalks { Digest([8; 32]) } else { walk };
                    for (phase, root, walk) in
                        [(Phase::Walk, walk, None), (Phase::Product, product, Some(said))]
                    {
                        answers.push(Answer::Committed { run, gpu: gpu.clone(), phase, root, start, walk });
                    }
                }
                answers
            }
            Challenge::Open { run, selections } => {
                if conduct == Conduct::NeverOpens {
                    return Vec::new();
                }
                let mut answers = Vec::new();
                for mut selection in selections {
                    if conduct == Conduct::OtherOpening {
                        selection.rows.reverse();
                    }
                    let prover = self.provers.get_mut(&selection.gpu).unwrap();
                    let opening = prover.open(&selection.rows, &selection.walkers).unwrap().to_bytes();
                    let opening = GpuOpening { gpu: selection.gpu, opening };
                    let (start, demand) = (self.start.get(&node).copied(), Some(digest));
                    answers.push(Answer::Opened { run, opening, start, demand });
                }
                answers
            }
            Challenge::Verdict { run, .. } => {
                assert!(self.started.contains(&run), "nobody is judged who was not started");
                Vec::new()
            }
        }
    }
}

fn owner(gpu: &GpuUuid) -> u8 {
    gpu.as_str().split('-').nth(1).unwrap().parse().unwrap()
}

fn failures(verdicts: &[GpuVerdict]) -> Vec<String> {
    verdicts.iter().filter_map(|verdict| Some(verdict.failure.as_ref()?.code.as_str().to_owned())).collect()
}

#[test]
fn honest_nodes_are_proven_on_chain_within_two_epochs_and_not_proven_again() {
    let mut world = World::new();
    world.join(1, 2, Conduct::Honest);
    world.join(2, 1, Conduct::Honest);
    world.pass(2 * EPOCH_SECONDS);
    assert_eq!(world.proven[&node(1)].gpu_count, 2);
    assert_eq!(world.proven[&node(2)].gpu_count, 1);
    let over = |attestation: &Attestation| attestation.stage == Stage::Over;
    assert!(world.attestation.as_ref().is_some_and(over) && world.results.is_empty());
    let runs = world.prepared.len();
    world.pass(5 * EPOCH_SECONDS);
    assert_eq!(world.prepared.len(), runs, "a proof that counts is not made again");
}

#[test]
fn a_proof_is_renewed_before_it_ends() {
    let mut world = World::new();
    world.join(1, 1, Conduct::Honest);
    world.pass(2 * EPOCH_SECONDS);
    let first = world.proven[&node(1)].proven_epoch;
    world.pass(60 * EPOCH_SECONDS);
    assert!(world.proven[&node(1)].proven_epoch > first);
}

#[test]
fn every_cheater_is_told_the_check_that_failed_and_is_not_proven() {
    for (conduct, code, is_evidence) in [
        (Conduct::SilentAfterStart, "proof/walk-late", false),
        (Conduct::NeverOpens, "proof/no-opening", false),
        (Conduct::Unbound, "proof/unbound-answer", false),
        (Conduct::OtherOpening, "proof/opening-index", true),
        (Conduct::OtherSession, "proof/row-merkle", true),
        (Conduct::SkipsRows, "proof/freivalds", true),
        (Conduct::TwoWalks, "proof/two-commits", true),
    ] {
        let mut world = World::new();
        world.join(1, 1, conduct);
        world.pass(100);
        let (judged, verdicts) = world.judged.first().unwrap_or_else(|| panic!("{conduct:?} was not judged"));
        assert_eq!(*judged, node(1));
        assert_eq!(failures(verdicts), [code], "{conduct:?}");
        let only_beacons = world
            .submitted
            .iter()
            .all(|intent| matches!(intent, Intent::Validators(ValidatorsCall::DrawBeacon { .. })));
        assert!(world.proven.is_empty() && only_beacons);
        // Being late or silent leaves nothing behind; what was signed and is false convinces everybody.
        assert_eq!(!world.files.is_empty(), is_evidence, "{conduct:?}");
        assert!(world.files.iter().all(|file| verify_evidence(file).is_guilty()));
    }
}

#[test]
fn a_node_that_others_are_drawn_for_is_left_to_them() {
    let mut world = World::new();
    world.others.insert(node(1));
    world.join(1, 1, Conduct::Honest);
    world.join(2, 1, Conduct::Honest);
    world.pass(3 * EPOCH_SECONDS);
    assert!(
        world.prepared.iter().all(|prepared| *prepared == node(2)) && world.proven.contains_key(&node(2))
    );
    world.others.clear();
    world.pass(2 * EPOCH_SECONDS);
    assert!(world.proven.contains_key(&node(1)), "another epoch, another draw");
}

#[test]
fn the_beacon_of_each_epoch_is_drawn_once() {
    let mut world = World::new();
    world.join(1, 1, Conduct::Honest);
    world.pass(5 * EPOCH_SECONDS);
    let drawn: Vec<Epoch> = world
        .submitted
        .iter()
        .filter_map(|intent| match intent {
            Intent::Validators(ValidatorsCall::DrawBeacon { epoch }) => Some(*epoch),
            _ => None,
        })
        .collect();
    let distinct: BTreeSet<Epoch> = drawn.iter().copied().collect();
    assert_eq!(drawn.len(), distinct.len());
    assert!(drawn.len() >= 5, "{drawn:?}");
}

#[test]
fn a_node_that_was_proven_and_fails_is_unproven() {
    let mut world = World::new();
    world.join(1, 1, Conduct::Honest);
    world.pass(2 * EPOCH_SECONDS);
    assert!(world.proven[&node(1)].current);
    world.conduct.insert(node(1), Conduct::SilentAfterStart);
    world.pass(60 * EPOCH_SECONDS);
    assert!(!world.proven[&node(1)].current);
}

#[test]
fn a_lost_connection_and_a_crashed_check_are_no_verdict() {
    let mut world = World::new();
    world.checks_crash = true;
    world.join(1, 1, Conduct::Honest);
    world.join(2, 1, Conduct::NeverOpens);
    world.pass(3);
    world.give(Event::Disconnected(node(2)));
    world.pass(60);
    assert!(world.judged.is_empty() && world.files.is_empty());
    world.checks_crash = false;
    world.pass(60);
    assert!(world.proven.contains_key(&node(1)), "it is tried again");
}

#[test]
fn a_busy_node_is_asked_again_and_not_blamed() {
    let mut world = World::new();
    world.join(1, 1, Conduct::Busy);
    world.pass(20);
    assert!(world.judged.is_empty() && world.prepared.len() >= 3);
    world.conduct.insert(node(1), Conduct::Honest);
    world.pass(30);
    assert!(world.proven.contains_key(&node(1)));
}

#[test]
fn a_restart_between_commit_and_reveal_reveals_the_same_root() {
    let mut world = World::new();
    world.join(1, 2, Conduct::Honest);
    while !world
        .submitted
        .iter()
        .any(|intent| matches!(intent, Intent::Validators(ValidatorsCall::Commit { .. })))
    {
        world.pass(1);
    }
    world.restart();
    world.pass(EPOCH_SECONDS);
    assert!(world.proven.contains_key(&node(1)));
    let commits = world
        .submitted
        .iter()
        .filter(|intent| matches!(intent, Intent::Validators(ValidatorsCall::Commit { .. })))
        .count();
    assert_eq!(commits, 1);
}

#[test]
fn an_outage_of_the_chain_loses_no_result() {
    let mut world = World::new();
    world.join(1, 1, Conduct::Honest);
    while world.results.is_empty() {
        world.pass(1);
    }
    world.chain_works = false;
    world.pass(5 * EPOCH_SECONDS);
    assert!(!world.results.is_empty() && world.proven.is_empty());
    world.chain_works = true;
    world.pass(2 * EPOCH_SECONDS);
    assert!(world.proven.contains_key(&node(1)));
    assert_eq!(world.judged.len(), 1, "it was measured once");
}

#[test]
fn a_descriptor_that_has_expired_by_the_time_of_its_event_is_refused_and_changes_nothing() {
    let mut world = World::new();
    let expired_at = Timestamp(world.second * 1_000 - 1);
    let expired = Description { expires_at: expired_at, ..description(1, 1) };
    let refused = world.core.step(world.now(), Event::Described(expired)).unwrap_err();
    assert_eq!(refused, Rejected::Expired { node: node(1), expired_at });
    assert_eq!(refused.code(), "descriptor/expired");
    assert!(world.core.status().nodes.is_empty());
}

#[test]
fn strangers_that_connect_and_leave_are_not_remembered() {
    let mut world = World::new();
    world.join(1, 1, Conduct::Honest);
    let before = format!("{:?}", world.core);
    for number in 100..150 {
        world.give(Event::Connected(node(number)));
        world.give(Event::Disconnected(node(number)));
    }
    world.pass(1);
    world.give(Event::Disconnected(node(1)));
    let known = format!("{:?}", world.core);
    assert!(known.contains(&node(1).to_string()) && before.contains(&node(1).to_string()));
    assert!((100..150).all(|number| !known.contains(&node(number).to_string())));
}

#[test]
fn a_node_without_gpus_is_never_challenged() {
    let mut world = World::new();
    world.join(1, 0, Conduct::Honest);
    world.pass(30);
    assert!(world.prepared.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// The world's own assertions hold whatever happens: saved before sent, started once, judged only when started.
    #[test]
    fn whatever_happens_the_invariants_hold_and_honest_nodes_are_proven_in_the_end(
        happenings in proptest::collection::vec((0u8..6, 1u64..15), 0..20),
    ) {
        let mut world = World::new();
        world.join(1, 2, Conduct::Honest);
        world.join(2, 2, Conduct::SilentAfterStart);
        for (what, seconds) in happenings {
            match what {
                0 => {
                    world.give(Event::Disconnected(node(1)));
                    world.give(Event::Connected(node(1)));
                }
                1 => world.chain_works = !world.chain_works,
                2 => world.restart(),
                3 => world.give(Event::Resync),
                4 => world.checks_crash = !world.checks_crash,
                _ => {}
            }
            world.pass(seconds);
        }
        (world.chain_works, world.checks_crash) = (true, false);
        world.give(Event::Resync);
        world.pass(400);
        prop_assert!(world.proven.get(&node(1)).is_some_and(|proven| proven.current));
        prop_assert!(!world.proven.contains_key(&node(2)));
    }
}

#[test]
fn only_a_node_that_is_listed_and_registered_has_standing() {
    let mut core = Core::new(settings(), Secret::new([7; 32]), Loaded::default());
    let at = Now { wall: Timestamp(1), monotonic: Millis(1) };
    let facts =
        |number, provider| Event::Facts { node: node(number), facts: Facts { provider, proven: None } };
    for (event, number, has_standing) in [
        (Event::Connected(node(1)), 1, false),
        (Event::Described(description(1, 1)), 1, false),
        (facts(1, None), 1, false),
        (facts(1, Some(PROVIDER)), 1, true),
        (Event::Disconnected(node(1)), 1, true),
        (Event::Connected(node(2)), 2, false),
        (facts(2, Some(PROVIDER)), 2, false),
    ] {
        let what = format!("{event:?}");
        core.step(at, event).unwrap();
        assert_eq!(core.has_standing(&node(number)), has_standing, "{what}");
    }
}
