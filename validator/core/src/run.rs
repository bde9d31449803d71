//! One run with one node.
//!
//! | state | leaves it by |
//! |---|---|
//! | `Preparing` | `Ready` → `Proving`; `Busy`, `Declined`, silence → no verdict |
//! | `Proving` | all committed, or the class's limit is over → `Awaiting`; none in time → judged |
//! | `Awaiting` | a block younger than the commits → `Opening`; no block for long → no verdict |
//! | `Opening` | every GPU checked, or silent for too long → judged |
//!
//! A connection that breaks, and a check that crashes, end the run without a verdict. An answer counts only if it names
//! what it answers: then it can be shown to others ([`record`]). What a node signed that is false becomes a file of
//! evidence; being late or silent never does.

mod commits;
mod record;

use std::collections::{BTreeMap, BTreeSet};

use lode_chain_types::{BlockRef, Epoch};
use lode_gpu_proof::{
    Challenge as Choice, Commit as ProofCommit, Digest as ProofDigest, EpochInputs, ProofClass, ProofError,
    SessionInputs, SessionSeed,
};
use lode_protocol::error_code::ErrorCode;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{GpuUuid, NodeId, Nonce};
use lode_protocol::proof::{Answer, Challenge, GpuVerdict, Phase, ProofClassId, ProofFailure, Selection};
use lode_protocol::units::{Millis, Timestamp};

use self::commits::{Commit, Commits, Taken};
use self::record::{Asked, Files, opening_record};
use super::draw::Secret;
use super::effect::{Effect, VerifyJob};
use super::event::{Description, Heard, RunVerdict};
use super::settings::Settings;

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
    /// One judgement per GPU, and files of evidence about those that signed something false.
    Judged { gpus: Vec<GpuVerdict>, files: Files },
    /// Nothing is known; `busy` if the node works for its pool.
    NoVerdict { code: ErrorCode, message: String, busy: bool },
}

#[derive(Debug)]
enum State {
    Preparing { until: Millis },
    Proving { until: Millis },
    Awaiting { after: u64, until: Millis },
    Opening { waiting: BTreeMap<GpuUuid, (ProofCommit, Choice)>, checking: BTreeSet<GpuUuid>, until: Millis },
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
    started: Millis,
    asked: Asked,
    commits: BTreeMap<GpuUuid, Commits>,
    judged: BTreeMap<GpuUuid, GpuVerdict>,
    files: Files,
    state: State,
}

impl Run {
    /// Begins a run and says `Prepare`.
    pub(super) fn begin(
        now: Millis,
        settings: &Settings,
        description: &Description,
        (epoch, beacon): (Epoch, Digest),
        start_at: Timestamp,
        secret: &mut Secret,
    ) -> (Self, Effect) {
        let (id, nonce) = (secret.nonce(), secret.digest());
        let class = settings.class;
        let inputs = EpochInputs { chain_id: settings.realm.chain.0, beacon: beacon.into() };
        let node = (description.node, description.public_key);
        let seeds = description.gpus.iter().map(|gpu| {
            let session = SessionInputs::of(settings.realm, node, gpu, beacon, nonce);
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
            asked: Asked::default(),
            commits: BTreeMap::new(),
            judged: BTreeMap::new(),
            files: Files::new(),
            state: State::Preparing { until: now.plus(PREPARING) },
        };
        let challenge = Challenge::Prepare {
            run: id,
            epoch: epoch.0,
            class: ProofClassId(class.id.0),
            parameters: class.params.hash().into(),
            gpus: description.gpus.clone(),
            start_at,
        };
        let send = Effect::Send { node: description.node, challenge };
        (run, send)
    }

    /// A challenge of this validator was signed and sent.
    pub(super) fn on_sent(&mut self, challenge: &Challenge, digest: Digest, sealed: Vec<u8>) {
        let run = match challenge {
            Challenge::Prepare { run, .. }
            | Challenge::Start { run, .. }
            | Challenge::Open { run, .. }
            | Challenge::Verdict { run, .. } => *run,
        };
        if run == self.id {
            self.asked.keep(challenge, digest, sealed);
        }
    }

    /// The node spoke. Answers of other runs, and such that are not due, change nothing.
    pub(super) fn on_answer(
        &mut self,
        now: Millis,
        head: u64,
        heard: Heard,
        effects: &mut Vec<Effect>,
    ) -> Option<End> {
        let Heard { at, answer, sealed } = heard;
        match (answer, &self.state) {
            (Answer::Ready { run }, State::Preparing { .. }) if run == self.id => {
                let prepare = self.asked.prepare.as_ref()?.digest;
                self.started = now;
                self.state =
                    State::Proving { until: now.plus(Millis(self.class.total_limit_ms)).plus(GRACE) };
                let (beacon, nonce, prepare) = (self.beacon, self.nonce, Some(prepare));
                let challenge = Challenge::Start { run, beacon, nonce, prepare };
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
            (Answer::Committed { run, gpu, phase, root, start, walk }, State::Proving { .. })
                if run == self.id && self.seeds.contains_key(&gpu) =>
            {
                let bound = start.is_some() && start == self.asked.start_digest();
                self.on_commit(gpu, phase, bound.then_some(walk), Commit { at, root, sealed });
                let done = |gpu| {
                    self.judged.contains_key(gpu) || self.commits.get(gpu).is_some_and(Commits::is_complete)
                };
                if self.seeds.keys().all(done) { self.judge_times(now, head) } else { None }
            }
            (Answer::Opened { run, opening, start, demand }, State::Opening { .. }) if run == self.id => {
                let bound = start.is_some()
                    && start == self.asked.start_digest()
                    && demand.is_some()
                    && demand == self.asked.demand_digest();
                self.on_opening(opening.gpu, opening.opening, bound.then_some(sealed), effects)
            }
            (
                Answer::Ready { .. }
                | Answer::Busy { .. }
                | Answer::Declined { .. }
                | Answer::Committed { .. }
                | Answer::Opened { .. },
                State::Preparing { .. }
                | State::Proving { .. }
                | State::Awaiting { .. }
                | State::Opening { .. },
            ) => None,
        }
    }

    /// A commit to this start; `None` as walk: it does not say to which start.
    fn on_commit(&mut self, gpu: GpuUuid, phase: Phase, walk: Option<Option<Digest>>, commit: Commit) {
        if self.judged.contains_key(&gpu) {
            return;
        }
        let Some(walk) = walk else { return self.unbound(gpu) };
        let sealed = commit.sealed.clone();
        match self.commits.entry(gpu.clone()).or_default().take(phase, walk, commit) {
            Taken::Fine => {}
            Taken::Incomplete => self.unbound(gpu),
            Taken::Excludes(other) => {
                let file = self.asked.two_commits(self.class.params, &other, &sealed);
                self.files.extend(file.map(|file| (gpu.clone(), file)));
                self.fail(gpu, "proof/two-commits", "it committed to two different things".to_owned());
            }
        }
    }

    /// What a node showed; `None` as message: it does not say on which demand.
    fn on_opening(
        &mut self,
        gpu: GpuUuid,
        opening: Vec<u8>,
        sealed: Option<Vec<u8>>,
        effects: &mut Vec<Effect>,
    ) -> Option<End> {
        let State::Opening { waiting, checking, .. } = &mut self.state else { return None };
        let (commit, choice) = waiting.remove(&gpu)?;
        let Some(sealed) = sealed else {
            self.unbound(gpu);
            return self.finished();
        };
        checking.insert(gpu.clone());
        let commits = self.commits.get(&gpu)?;
        effects.push(Effect::Verify(Box::new(VerifyJob {
            node: self.node,
            run: self.id,
            class: self.class,
            inputs: self.inputs,
            seed: *self.seeds.get(&gpu)?,
            gpu,
            commit,
            choice,
            opening,
            record: opening_record(&self.asked, commits, sealed),
        })));
        None
    }

    /// Time passed.
    pub(super) fn on_time(&mut self, now: Millis, head: u64) -> Option<End> {
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
                    let message = "what it committed to was not shown in time".to_owned();
                    self.fail(gpu, "proof/no-opening", message);
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
    pub(super) fn on_head(&mut self, now: Millis, head: &BlockRef, secret: &mut Secret) -> Option<Effect> {
        let State::Awaiting { after, .. } = self.state else { return None };
        if head.number <= after {
            return None;
        }
        let opening_secret = secret.opening();
        let mut waiting = BTreeMap::new();
        let mut selections = Vec::new();
        for (gpu, commits) in &self.commits {
            let (Some(walk), Some(product)) = (&commits.walk, &commits.product) else { continue };
            let Some(seed) = self.seeds.get(gpu).filter(|_| !self.judged.contains_key(gpu)) else { continue };
            let commit = ProofCommit {
                session_seed: *seed,
                walk_root: walk.root.into(),
                gemm_root: product.root.into(),
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
        let failure = match verdict {
            RunVerdict::Passed => None,
            RunVerdict::Failed { failure, file } => {
                self.files.extend(file.map(|file| (gpu.clone(), file)));
                Some(failure)
            }
            RunVerdict::Crashed => {
                return Some(no_verdict("proof/check-crashed", "this validator's check broke off"));
            }
        };
        let elapsed = self.elapsed(&gpu);
        self.judged.insert(gpu.clone(), GpuVerdict { gpu, failure, elapsed });
        self.finished()
    }

    /// Judges the arrival times; who was in time goes on.
    fn judge_times(&mut self, now: Millis, head: u64) -> Option<End> {
        let started = self.started;
        let waited = now.since(started).0;
        let gpus: Vec<GpuUuid> =
            self.seeds.keys().filter(|gpu| !self.judged.contains_key(*gpu)).cloned().collect();
        for gpu in gpus {
            let commits = self.commits.get(&gpu);
            let taken = |commit: &Option<Commit>| commit.as_ref().map(|commit| commit.at.since(started).0);
            let walk = commits.and_then(|commits| taken(&commits.walk));
            let product = commits.and_then(|commits| taken(&commits.product));
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
        self.finished()
    }

    /// An answer that does not name its question proves nothing to anybody.
    fn unbound(&mut self, gpu: GpuUuid) {
        let message = "the answer does not name the challenge that it answers: update the worker".to_owned();
        self.fail(gpu, "proof/unbound-answer", message);
    }

    fn fail(&mut self, gpu: GpuUuid, code: &'static str, message: String) {
        let elapsed = self.elapsed(&gpu);
        let failure = Some(ProofFailure { code: ErrorCode::new(code), message });
        self.judged.insert(gpu.clone(), GpuVerdict { gpu, failure, elapsed });
    }

    /// From the start to the last commit.
    fn elapsed(&self, gpu: &GpuUuid) -> Millis {
        let last = self.commits.get(gpu).and_then(Commits::last);
        last.map_or(Millis::default(), |at| at.since(self.started))
    }

    fn finished(&mut self) -> Option<End> {
        let all = self.judged.len() == self.seeds.len();
        all.then(|| End::Judged {
            gpus: self.judged.values().cloned().collect(),
            files: std::mem::take(&mut self.files),
        })
    }
}

fn no_verdict(code: &'static str, message: &str) -> End {
    End::NoVerdict { code: ErrorCode::new(code), message: message.to_owned(), busy: false }
}
