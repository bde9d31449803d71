//! One run with one node.
//!
//! | state | leaves it by |
//! |---|---|
//! | `Preparing` | `Ready` → `Proving`; `Busy`, `Declined`, silence → no verdict |
//! | `Proving` | all committed, or the class's limit is over → `Awaiting`; none in time → judged |
//! | `Awaiting` | a block younger than the commits → `Opening`; no block for long → no verdict |
//! | `Opening` | every GPU checked, or silent for too long → judged |
//!
//! A connection that breaks, and a check that crashes, end the run without a verdict.

use std::collections::{BTreeMap, BTreeSet};

use lode_contracts::{BlockRef, Epoch};
use lode_gpu_proof::{
    Challenge as Choice, Commit, Digest as ProofDigest, EpochInputs, ProofClass, ProofError, SessionInputs,
    SessionSeed,
};
use lode_protocol::error_code::ErrorCode;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{GpuUuid, NodeId, Nonce};
use lode_protocol::proof::{Answer, Challenge, GpuVerdict, Phase, ProofClassId, ProofFailure, Selection};
use lode_protocol::units::{Millis, Timestamp};

use super::draw::Secret;
use super::event::{Description, Effect, Moment, RunVerdict, Settings, VerifyJob};

/// Time a node gets from `Prepare` to `Ready`.
const PREPARING: Millis = Millis::seconds(45);
/// What a commit on its way may be late beyond the class's limit and still be told so.
const GRACE: Millis = Millis::seconds(2);
/// Time without a new block after which a run is given up.
const AWAITING: Millis = Millis::seconds(30);
/// Time a node gets from `Open` to its last opening.
const OPENING: Millis = Millis::seconds(60);

/// How a run ended.
#[derive(Debug, PartialEq)]
pub(super) enum End {
    /// One judgement per GPU.
    Judged(Vec<GpuVerdict>),
    /// Nothing is known; `busy` if the node works for its pool.
    NoVerdict { code: ErrorCode, message: String, busy: bool },
}

#[derive(Debug)]
enum State {
    Preparing { until: Moment },
    Proving { until: Moment },
    Awaiting { after: u64, until: Moment },
    Opening { waiting: BTreeMap<GpuUuid, (Commit, Choice)>, checking: BTreeSet<GpuUuid>, until: Moment },
}

/// Arrival and root of the two commits.
#[derive(Debug, Default)]
struct Commits {
    walk: Option<(Moment, Digest)>,
    product: Option<(Moment, Digest)>,
}

/// A run under way.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) id: Nonce,
    pub(super) epoch: Epoch,
    node: NodeId,
    class: ProofClass,
    beacon: Digest,
    nonce: Digest,
    seeds: BTreeMap<GpuUuid, SessionSeed>,
    inputs: EpochInputs,
    started: Moment,
    commits: BTreeMap<GpuUuid, Commits>,
    judged: BTreeMap<GpuUuid, GpuVerdict>,
    state: State,
}

impl Run {
    /// Begins a run and says `Prepare`.
    pub(super) fn begin(
        now: Moment,
        settings: &Settings,
        description: &Description,
        (epoch, beacon): (Epoch, Digest),
        start_at: Timestamp,
        secret: &mut Secret,
    ) -> (Self, Effect) {
        let (id, nonce) = (secret.nonce(), secret.digest());
        let class = settings.class;
        let inputs = EpochInputs { chain_id: settings.chain.0, beacon: ProofDigest(beacon.0) };
        let seeds = description.gpus.iter().map(|gpu| {
            let session = session(settings, description, gpu, beacon, nonce);
            (gpu.clone(), session.seed(&class.params))
        });
        let run = Run {
            id,
            epoch,
            node: description.node,
            class,
            beacon,
            nonce,
            seeds: seeds.collect(),
            inputs,
            started: now,
            commits: BTreeMap::new(),
            judged: BTreeMap::new(),
            state: State::Preparing { until: now.plus(PREPARING) },
        };
        let challenge = Challenge::Prepare {
            run: id,
            epoch: epoch.0,
            class: ProofClassId(class.id.0),
            parameters: Digest(class.params.hash().0),
            gpus: description.gpus.clone(),
            start_at,
        };
        let send = Effect::Send { node: description.node, challenge };
        (run, send)
    }

    /// The node spoke. Answers of other runs, and such that are not due, change nothing.
    pub(super) fn on_answer(
        &mut self,
        now: Moment,
        at: Moment,
        head: u64,
        answer: Answer,
        effects: &mut Vec<Effect>,
    ) -> Option<End> {
        match (answer, &mut self.state) {
            (Answer::Ready { run }, State::Preparing { .. }) if run == self.id => {
                self.started = now;
                self.state =
                    State::Proving { until: now.plus(Millis(self.class.total_limit_ms)).plus(GRACE) };
                let challenge = Challenge::Start { run, beacon: self.beacon, nonce: self.nonce };
                effects.push(Effect::Send { node: self.node, challenge });
                None
            }
            (Answer::Busy { run, assignments }, State::Preparing { .. }) if run == self.id => {
                Some(End::NoVerdict {
                    code: ErrorCode::new("proof/busy"),
                    message: format!("its GPUs work for {} assignments", assignments.len()),
                    busy: true,
                })
            }
            (Answer::Declined { run, failure }, State::Preparing { .. }) if run == self.id => {
                let busy = failure.code == "proof/other-run";
                Some(End::NoVerdict { code: failure.code, message: failure.message, busy })
            }
            (Answer::Committed { run, gpu, phase, root }, State::Proving { .. })
                if run == self.id && self.seeds.contains_key(&gpu) =>
            {
                let commits = self.commits.entry(gpu).or_default();
                let place = match phase {
                    Phase::Walk => &mut commits.walk,
                    Phase::Product => &mut commits.product,
                };
                // The first one is final.
                place.get_or_insert((at, root));
                let all = self.commits.len() == self.seeds.len()
                    && self
                        .commits
                        .values()
                        .all(|commits| commits.walk.is_some() && commits.product.is_some());
                if all { self.judge_times(now, head) } else { None }
            }
            (Answer::Opened { run, opening }, State::Opening { waiting, checking, .. }) if run == self.id => {
                let (commit, choice) = waiting.remove(&opening.gpu)?;
                let seed = *self.seeds.get(&opening.gpu)?;
                checking.insert(opening.gpu.clone());
                effects.push(Effect::Verify(Box::new(VerifyJob {
                    node: self.node,
                    run,
                    gpu: opening.gpu,
                    class: self.class,
                    inputs: self.inputs,
                    seed,
                    commit,
                    choice,
                    opening: opening.opening,
                })));
                None
            }
            _ => None,
        }
    }

    /// Time passed.
    pub(super) fn on_time(&mut self, now: Moment, head: u64) -> Option<End> {
        match &mut self.state {
            State::Preparing { until } if *until <= now => {
                Some(no_verdict("proof/silent", "it did not get ready in time"))
            }
            State::Proving { until } if *until <= now => self.judge_times(now, head),
            State::Awaiting { until, .. } if *until <= now => Some(no_verdict(
                "chain/unreachable",
                "no block came after its commits: nothing could be drawn",
            )),
            State::Opening { waiting, until, .. } if *until <= now => {
                let silent = std::mem::take(waiting);
                for gpu in silent.into_keys() {
                    self.fail(
                        gpu,
                        "proof/no-opening",
                        "what it committed to was not shown in time".to_owned(),
                    );
                }
                self.finished()
            }
            State::Preparing { .. }
            | State::Proving { .. }
            | State::Awaiting { .. }
            | State::Opening { .. } => None,
        }
    }

    /// A block was found: randomness that nobody knew when the node committed itself.
    pub(super) fn on_head(&mut self, now: Moment, head: &BlockRef, secret: &mut Secret) -> Option<Effect> {
        let State::Awaiting { after, .. } = self.state else { return None };
        if head.number <= after {
            return None;
        }
        let opening_secret = secret.opening();
        let mut waiting = BTreeMap::new();
        let mut selections = Vec::new();
        for (gpu, commits) in &self.commits {
            let (Some((_, walk)), Some((_, product))) = (commits.walk, commits.product) else { continue };
            let Some(seed) = self.seeds.get(gpu).filter(|_| !self.judged.contains_key(gpu)) else { continue };
            let commit = Commit {
                session_seed: *seed,
                walk_root: ProofDigest(walk.0),
                gemm_root: ProofDigest(product.0),
            };
            let choice =
                Choice::derive(&self.class.params, &opening_secret, &commit, &ProofDigest(head.hash.0));
            let (rows, walkers) = (choice.rows().to_vec(), choice.walkers());
            selections.push(Selection { gpu: gpu.clone(), rows, walkers });
            waiting.insert(gpu.clone(), (commit, choice));
        }
        self.state = State::Opening { waiting, checking: BTreeSet::new(), until: now.plus(OPENING) };
        Some(Effect::Send { node: self.node, challenge: Challenge::Open { run: self.id, selections } })
    }

    /// An opening was checked.
    pub(super) fn on_verified(&mut self, gpu: GpuUuid, verdict: RunVerdict) -> Option<End> {
        let State::Opening { checking, .. } = &mut self.state else { return None };
        if !checking.remove(&gpu) {
            return None;
        }
        match verdict {
            RunVerdict::Passed => {
                let elapsed = self.elapsed(&gpu);
                self.judged.insert(gpu.clone(), GpuVerdict { gpu, failure: None, elapsed });
            }
            RunVerdict::Failed(failure) => {
                let elapsed = self.elapsed(&gpu);
                self.judged.insert(gpu.clone(), GpuVerdict { gpu, failure: Some(failure), elapsed });
            }
            RunVerdict::Crashed => {
                return Some(no_verdict("proof/check-crashed", "this validator's check broke off"));
            }
        }
        self.finished()
    }

    /// Judges the arrival times; who was in time goes on.
    fn judge_times(&mut self, now: Moment, head: u64) -> Option<End> {
        let started = self.started;
        let waited = now.since(started).0;
        let gpus: Vec<GpuUuid> = self.seeds.keys().cloned().collect();
        for gpu in gpus {
            let commits = self.commits.get(&gpu);
            let taken = |commit: Option<(Moment, Digest)>| commit.map(|(at, _)| at.since(started).0);
            let walk = commits.and_then(|commits| taken(commits.walk));
            let product = commits.and_then(|commits| taken(commits.product));
            let judged = match (walk, product) {
                (Some(walk), Some(product)) => self.class.judge_times(walk, product).map(drop),
                (None, _) => {
                    Err(ProofError::WalkLate { taken_ms: waited, limit_ms: self.class.walk_limit_ms })
                }
                (Some(_), None) => {
                    Err(ProofError::GemmLate { taken_ms: waited, limit_ms: self.class.total_limit_ms })
                }
            };
            if let Err(error) = judged {
                self.fail(gpu, error.code(), format!("{error}: {}", error.remedy()));
            }
        }
        self.state = State::Awaiting { after: head, until: now.plus(AWAITING) };
        (self.judged.len() == self.seeds.len()).then(|| self.verdicts())
    }

    fn fail(&mut self, gpu: GpuUuid, code: &'static str, message: String) {
        let elapsed = self.elapsed(&gpu);
        let failure = Some(ProofFailure { code: ErrorCode::new(code), message });
        self.judged.insert(gpu.clone(), GpuVerdict { gpu, failure, elapsed });
    }

    /// From the start to the last commit.
    fn elapsed(&self, gpu: &GpuUuid) -> Millis {
        let last = self.commits.get(gpu).and_then(|commits| commits.product.or(commits.walk));
        last.map_or(Millis::default(), |(at, _)| at.since(self.started))
    }

    fn finished(&self) -> Option<End> {
        (self.judged.len() == self.seeds.len()).then(|| self.verdicts())
    }

    fn verdicts(&self) -> End {
        End::Judged(self.judged.values().cloned().collect())
    }
}

fn no_verdict(code: &'static str, message: &str) -> End {
    End::NoVerdict { code: ErrorCode::new(code), message: message.to_owned(), busy: false }
}

/// What the worker derives too: its chain, its deployment, its key, its GPU, and what `Start` said.
fn session(
    settings: &Settings,
    description: &Description,
    gpu: &GpuUuid,
    beacon: Digest,
    nonce: Digest,
) -> SessionInputs {
    let mut deployment = [0; 32];
    for (to, from) in deployment.iter_mut().rev().zip(settings.deployment.0.iter().rev()) {
        *to = *from;
    }
    SessionInputs {
        epoch_beacon: ProofDigest(beacon.0),
        validator_nonce: ProofDigest(nonce.0),
        chain_id: settings.chain.0,
        pool: ProofDigest(deployment),
        node_address: description.node.0.0,
        node_public_key: description.public_key.0,
        gpu_uuid: gpu.as_str().to_owned(),
    }
}
