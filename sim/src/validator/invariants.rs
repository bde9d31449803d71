//! What must hold of validators after every step, whatever nodes, disks and chain do, and at the end.

use std::collections::{BTreeMap, BTreeSet};

use lode_chain_types::{Epoch, Intent, ProofItem, ValidatorsCall, commitment};
use lode_protocol::hash::Digest;
use lode_protocol::ids::{GpuUuid, NodeId, Nonce};
use lode_protocol::proof::{Answer, Challenge, GpuVerdict, Phase};
use lode_protocol::units::{Millis, Timestamp};
use lode_validator_core::{Attestation, Change, Matter, Report, Stage};

use super::conduct::Conduct;
use super::storage::{Row, read};
use crate::earnings::{Posting, VETO_SECONDS};
use crate::invariants::Broken;
use crate::validator_set::TIMING;
use crate::world::World;

/// Latest arrivals of the two commits after the start, and of an opening after its demand.
const LIMITS: [Millis; 3] = [Millis(9_990), Millis(14_990), Millis(59_990)];
/// What only a forger is told, with evidence.
const FORGED: [&str; 3] = ["proof/freivalds", "proof/two-commits", "proof/opening-index"];
/// Time within which a validator that is able to has heard of a root and looked at it.
const LOOK: u64 = 2_000;

/// One run, as it truly was.
#[derive(Clone, Debug)]
struct Trial {
    conduct: Option<Conduct>,
    started: Option<Millis>,
    demanded: Option<Millis>,
    arrivals: BTreeMap<GpuUuid, [Option<Millis>; 3]>,
    passed: BTreeSet<GpuUuid>,
}

/// What was seen of one validator.
#[derive(Debug, Default)]
pub struct Diary {
    trials: BTreeMap<Nonce, Trial>,
    /// The run whose verdict was told last.
    verdict: Option<Nonce>,
    committed: BTreeMap<Epoch, Digest>,
    /// GPUs of nodes that have passed at one time.
    shown: BTreeMap<NodeId, usize>,
    forgers: BTreeSet<NodeId>,
    /// Roots that it could not rebuild at some look.
    unavailable: BTreeSet<Digest>,
    able_since: u64,
}

impl Diary {
    /// From now on nothing keeps it from its work.
    pub fn is_able_from(&mut self, now: u64) {
        self.able_since = now;
    }
}

impl Trial {
    /// Whether everything that was asked of this GPU came in time.
    fn is_in_time(&self, gpu: &GpuUuid) -> bool {
        let within = |from: Option<Millis>, at: Option<Millis>, limit: Millis| {
            from.zip(at).is_some_and(|(from, at)| at <= from.plus(limit))
        };
        let [walk_limit, product_limit, opening_limit] = LIMITS;
        let Some([walk, product, opened]) = self.arrivals.get(gpu) else { return false };
        let commits =
            within(self.started, *walk, walk_limit) && within(self.started, *product, product_limit);
        commits && (self.demanded.is_none() || within(self.demanded, *opened, opening_limit))
    }
}

impl World {
    /// A node is asked something.
    pub(crate) fn is_challenged(&mut self, number: usize, challenge: &Challenge) {
        let now = self.validator_clocks(number).monotonic;
        let diary = &mut self.validators[number].diary;
        match challenge {
            Challenge::Prepare { run, .. } => {
                let trial = Trial {
                    conduct: None,
                    started: None,
                    demanded: None,
                    arrivals: BTreeMap::new(),
                    passed: BTreeSet::new(),
                };
                diary.trials.insert(*run, trial);
            }
            Challenge::Start { run, .. } => {
                if let Some(trial) = diary.trials.get_mut(run) {
                    trial.started = Some(now);
                }
            }
            Challenge::Open { run, .. } => {
                if let Some(trial) = diary.trials.get_mut(run) {
                    trial.demanded = Some(now);
                }
            }
            Challenge::Verdict { run, .. } => diary.verdict = Some(*run),
        }
    }

    /// A node decides how it behaves in a run.
    pub(crate) fn conducts(&mut self, number: usize, node: usize, run: Nonce, conduct: Conduct) {
        let id = self.nodes[node].id;
        let diary = &mut self.validators[number].diary;
        if let Some(trial) = diary.trials.get_mut(&run) {
            trial.conduct = Some(conduct);
        }
        if conduct.is_forger() {
            diary.forgers.insert(id);
        }
    }

    /// An answer has arrived.
    pub(crate) fn answer_arrives(&mut self, number: usize, answer: &Answer, at: Millis) {
        let (run, gpu, place) = match answer {
            Answer::Committed { run, gpu, phase: Phase::Walk, .. } => (run, gpu, 0),
            Answer::Committed { run, gpu, phase: Phase::Product, .. } => (run, gpu, 1),
            Answer::Opened { run, opening, .. } => (run, &opening.gpu, 2),
            Answer::Ready { .. } | Answer::Busy { .. } | Answer::Declined { .. } => return,
        };
        if let Some(trial) = self.validators[number].diary.trials.get_mut(run) {
            trial.arrivals.entry(gpu.clone()).or_default()[place].get_or_insert(at);
        }
    }

    /// A check found nothing wrong.
    pub(crate) fn passes(&mut self, number: usize, run: Nonce, gpu: &GpuUuid) {
        if let Some(trial) = self.validators[number].diary.trials.get_mut(&run) {
            trial.passed.insert(gpu.clone());
        }
    }

    /// A validator has judged a node.
    pub(crate) fn node_judged(&mut self, number: usize, node: NodeId, gpus: &[GpuVerdict]) {
        let diary = &mut self.validators[number].diary;
        let trial = diary.verdict.take().and_then(|run| diary.trials.remove(&run));
        let Some((trial, conduct)) = trial.and_then(|trial| Some((trial.clone(), trial.conduct?))) else {
            let seen = format!("validator {number} judges {node}, which was never asked");
            return self.witness.breaks("nobody is judged who was not started", seen);
        };
        let passed = gpus.iter().filter(|verdict| verdict.failure.is_none()).count();
        let shown = diary.shown.entry(node).or_default();
        *shown = passed.max(*shown);
        for verdict in gpus {
            let Some(failure) = &verdict.failure else {
                if !trial.passed.contains(&verdict.gpu) {
                    let seen = format!("{} of {node}", verdict.gpu);
                    self.witness.breaks("no GPU passes without a check", seen);
                }
                continue;
            };
            let seen = format!("{} of {node}, which is {conduct:?}: {}", verdict.gpu, failure.code);
            if conduct == Conduct::Honest && trial.is_in_time(&verdict.gpu) {
                self.witness.breaks("who answers rightly and in time is not failed", seen);
            } else if FORGED.contains(&failure.code.as_str()) && !conduct.is_forger() {
                self.witness.breaks("who is late or silent is not called a forger", seen);
            }
        }
    }

    /// A validator says what it does.
    pub(crate) fn validator_reports(&mut self, number: usize, report: &Report) {
        self.note(|| format!("validator {number}: {report:?}"));
        match report {
            Report::ForgedProof { node, .. } if !self.validators[number].diary.forgers.contains(node) => {
                let seen = format!("validator {number} has evidence against {node}");
                self.witness.breaks("who is late or silent is not called a forger", seen);
            }
            Report::Vetoed { matter: Matter::Root(root), code, .. }
                if self.honest_roots.contains(&root.root) =>
            {
                let diary = &self.validators[number].diary;
                // What it had no time to look at counts as what it could not see.
                let kept_from_it = diary.able_since + VETO_SECONDS * 1_000 + LOOK > self.now;
                let could_not_see = diary.unavailable.contains(&root.root) || kept_from_it;
                if code.as_str() != "settlement/unavailable" || !could_not_see {
                    let seen = format!("validator {number} vetoes the root of epoch {}: {code}", root.epoch);
                    self.witness.breaks("no honest root is vetoed that can be rebuilt", seen);
                }
            }
            _ => {}
        }
    }

    /// A validator looked at a root, and could not see what it is made of.
    pub(crate) fn could_not_rebuild(&mut self, number: usize, root: Digest) {
        self.validators[number].diary.unavailable.insert(root);
    }

    /// A validator is about to store something.
    pub(crate) fn validator_saves(&mut self, number: usize, change: &Change) {
        match change {
            Change::PutResult(result) => {
                let diary = &mut self.validators[number].diary;
                let checked = |trial: &Trial| result.passed.iter().all(|gpu| trial.passed.contains(gpu));
                let is_checked = diary.trials.values().any(checked);
                let shown = diary.shown.entry(result.node).or_default();
                if is_checked {
                    // A crash right after it is stored leaves no word of the verdict.
                    *shown = result.passed.len().max(*shown);
                } else if *shown < result.passed.len() {
                    let seen = format!("validator {number}: {} GPUs of {}", result.passed.len(), result.node);
                    self.witness.breaks("no GPU passes without a check", seen);
                }
                self.note(|| format!("validator {number} keeps {result:?}"));
            }
            Change::DeleteResult(node) => self.note(|| format!("validator {number} has nothing of {node}")),
            Change::PutAttestation(_)
            | Change::PutFile { .. }
            | Change::DeleteFile { .. }
            | Change::PutSuspicion(_)
            | Change::DeleteSuspicion(_)
            | Change::PutOpinion(_)
            | Change::DeleteOpinion(_)
            | Change::PutPunished(..) => {}
        }
    }

    /// A validator puts something on chain.
    pub(crate) fn intent_is_right(&mut self, number: usize, intent: &Intent) {
        let Intent::Validators(call) = intent else { return };
        let broken = match call {
            ValidatorsCall::Commit { epoch, commitment } => self.commit_is_right(number, *epoch, *commitment),
            ValidatorsCall::Reveal { epoch, root, salt } => {
                self.reveal_is_right(number, *epoch, (*root, *salt))
            }
            ValidatorsCall::ProveBatch { epoch, items } => self.proof_is_right(*epoch, items),
            ValidatorsCall::RegisterValidator { .. }
            | ValidatorsCall::StakeValidator { .. }
            | ValidatorsCall::SetValidatorEndpoint { .. }
            | ValidatorsCall::RequestExit
            | ValidatorsCall::WithdrawValidator
            | ValidatorsCall::DrawBeacon { .. }
            | ValidatorsCall::PenalizeMissedReveal { .. } => None,
        };
        if let Some((invariant, seen)) = broken {
            self.witness.breaks(invariant, format!("validator {number}: {seen}"));
        }
    }

    /// The attestation that a restart would find.
    fn stored_attestation(&self, number: usize) -> Option<Attestation> {
        read(self.validators[number].disk.rows.get(&(Row::Attestation, Vec::new()))?).ok()
    }

    fn commit_is_right(
        &mut self,
        number: usize,
        epoch: Epoch,
        promise: Digest,
    ) -> Option<(&'static str, String)> {
        let id = self.validators[number].id;
        let stored = self.stored_attestation(number).filter(|stored| stored.epoch == epoch);
        let promised = stored.map(|stored| commitment(id, epoch, stored.salt, stored.root()));
        if promised != Some(promise) {
            let seen = format!("the commitment of epoch {epoch} is not what is stored");
            return Some(("a root and its salt are durable before their commitment is sent", seen));
        }
        let before = *self.validators[number].diary.committed.entry(epoch).or_insert(promise);
        let seen = || format!("epoch {epoch}: {before} and {promise}");
        (before != promise).then(|| ("nobody commits to two roots in one epoch", seen()))
    }

    fn reveal_is_right(
        &self,
        number: usize,
        epoch: Epoch,
        (root, salt): (Digest, Digest),
    ) -> Option<(&'static str, String)> {
        let validator = &self.validators[number];
        let promise = commitment(validator.id, epoch, salt, root);
        if validator.diary.committed.get(&epoch).is_some_and(|committed| *committed != promise) {
            return Some(("what is revealed is what was committed to", format!("epoch {epoch}: {root}")));
        }
        let early = validator.following.head < TIMING.reveal_from(epoch);
        early.then(|| ("nothing is revealed while others may still commit", format!("epoch {epoch}")))
    }

    fn proof_is_right(&self, epoch: Epoch, items: &[ProofItem]) -> Option<(&'static str, String)> {
        let shown = |node: &NodeId, count: usize| {
            self.validators.iter().any(|known| known.diary.shown.get(node).is_some_and(|most| *most >= count))
        };
        let wrong = items
            .iter()
            .find(|item| item.leaf.pass && !shown(&item.leaf.node, item.leaf.gpu_count.into()))?;
        let seen = format!("{} GPUs of {} in epoch {epoch}", wrong.leaf.gpu_count, wrong.leaf.node);
        Some(("no GPU passes without a check", seen))
    }

    /// After a restart everything that was stored counts.
    pub(crate) fn validator_recovered(&mut self, number: usize) {
        self.validators[number].diary.is_able_from(self.now);
        self.validators[number].diary.trials.clear();
        self.check_validator(number);
    }

    /// From time to time: what waits to be attested is what is stored.
    pub(crate) fn check_validator(&mut self, number: usize) {
        let validator = &self.validators[number];
        let Some(core) = validator.core.as_ref().filter(|_| validator.is_at_rest()) else { return };
        let status = core.status();
        let stored = validator.disk.rows.keys().filter(|(row, _)| *row == Row::Result).count();
        let attesting = self.stored_attestation(number).filter(|stored| stored.stage != Stage::Over);
        let attesting = attesting.map(|stored| (stored.epoch, format!("{:?}", stored.stage)));
        if status.pending != stored || status.attesting != attesting {
            let seen = format!(
                "validator {number}: {} results and {:?}, stored are {stored} and {attesting:?}",
                status.pending, status.attesting
            );
            self.witness.breaks("nothing of a validator is lost over a crash", seen);
        }
    }

    /// The pool posts a root.
    pub(crate) fn posts(&mut self, root: Digest) {
        self.honest_roots.insert(root);
    }

    /// Something keeps those who follow the chain from their work until now.
    pub(crate) fn watchers_start_over(&mut self) {
        let now = self.now;
        self.directory.books.is_kept_from_the_chain(now);
        for validator in &mut self.validators {
            validator.diary.is_able_from(now);
        }
    }

    /// A root can no longer be vetoed.
    pub(crate) fn root_is_final(&mut self, posting: &Posting) {
        let posted_at = self.now.saturating_sub(VETO_SECONDS * 1_000 + LOOK);
        let is_able = |validator: &&super::Validator| {
            validator.core.is_some() && !validator.disk.full && validator.diary.able_since <= posted_at
        };
        let able = self.validators.iter().filter(is_able).count();
        if posting.forged && self.chain.answers && able * 3 > self.validators.len() * 2 {
            let seen = format!("{able} validators let the root of epoch {} pass", posting.epoch);
            self.witness.breaks("a forged root is vetoed in time", seen);
        }
    }

    /// What has not settled although nothing went wrong for long.
    pub(crate) fn validators_unsettled(&self) -> Option<Broken> {
        let broken = |invariant, seen| Some(Broken { invariant, seen });
        for (number, validator) in self.validators.iter().enumerate() {
            if validator.core.is_none() {
                return broken("every validator runs in the end", format!("validator {number} does not"));
            }
            let missing = self.not_followed(number);
            if !missing.is_empty() {
                let seen = format!("validator {number} does not know {missing:?}");
                return broken("whoever follows the directory knows what is listed", seen);
            }
        }
        let head = self.chain.head()?;
        // Several agree sooner or later, and nobody promises when.
        if self.validators.len() == 1 && self.all_see_the_same() {
            for (number, node) in self.nodes.iter().enumerate() {
                if !self.is_proven(number, head.timestamp) {
                    let seen = format!("node {number}, {}", node.id);
                    return broken("an honest node is proven in the end", seen);
                }
            }
        }
        None
    }

    fn is_proven(&self, number: usize, at: Timestamp) -> bool {
        let facts = &self.chain.facts[&number];
        self.chain.set.proven(&facts.id, facts.registration, at).is_some_and(|proven| proven.current)
    }

    /// Whether every validator can check every node.
    fn all_see_the_same(&self) -> bool {
        let nodes = self.nodes.iter().map(|node| node.skew);
        let skews: Vec<i64> = nodes
            .chain(self.validators.iter().map(|known| known.skew))
            .chain([self.directory.skew])
            .collect();
        let agree = skews.iter().all(|one| skews.iter().all(|other| self.agree(*one, *other)));
        agree
            && self.nodes.iter().all(|node| node.core.is_some())
            && self.chain.facts.values().all(|facts| facts.registered)
    }
}
