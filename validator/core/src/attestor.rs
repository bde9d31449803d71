//! From results to an accepted root: commit, reveal, prove.
//!
//! | stage | leaves it by |
//! |---|---|
//! | `Committing` | commitment mined → `Committed`; refused, or the epoch's first half over → dropped |
//! | `Committed` | second half begins → `Revealing` |
//! | `Revealing` | reveal mined → `Revealed`; refused → dropped |
//! | `Revealed` | the quorum's root is ours → `Proving`; it is another, or the epoch is over → dropped |
//! | `Proving` | all leaves shown → done |
//!
//! An attestation that is dropped leaves its results: the next epoch takes them up. With several validators the roots
//! agree once all of them hold the same results. One that finds no quorum is measured anew and stands meanwhile: if it
//! were gone until then, each validator would miss others at other times, and their roots would never agree.

use std::collections::BTreeMap;

use lode_chain_types::{
    Amount, BlockRef, Epoch, EpochPhase, EpochTiming, Intent, Leaf, Outcome, ProofItem, RevertReason,
    ValidatorsCall, commitment,
};
use lode_gpu_proof::ProofClass;
use lode_protocol::hardware::uuid_set_hash;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{NodeId, ValidatorId};
use lode_protocol::units::Millis;

use super::attestation::{Attestation, Stage};
use super::draw::Secret;
use super::effect::{Change, Effect};
use super::leaf::NodeResult;

/// Leaves shown in one transaction.
const BATCH: usize = 50;
/// A commitment needs so much of the first half to be mined.
const COMMIT_MARGIN: Millis = Millis::seconds(2);
/// Epochs without a quorum after which a result is measured anew.
const MOST_ATTEMPTS: u8 = 3;
/// Epochs without a quorum after which a result is dropped that could not be measured anew.
const LAST_ATTEMPT: u8 = 2 * MOST_ATTEMPTS;

/// What the attestor has to know about the moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times<'a> {
    pub(super) head: &'a BlockRef,
    pub(super) timing: &'a EpochTiming,
    pub(super) validator: ValidatorId,
    pub(super) class: &'a ProofClass,
    pub(super) validity: u64,
    /// Own and total weight of the running epoch, once known.
    pub(super) standing: Option<(Amount, Amount)>,
}

/// The results that wait, and the attestation under way.
#[derive(Debug, Default)]
pub(super) struct Attestor {
    results: BTreeMap<NodeId, NodeResult>,
    current: Option<Attestation>,
    /// The intent of the present stage is in the outbox.
    submitted: bool,
    batches_left: usize,
    tried: Option<Epoch>,
}

impl Attestor {
    pub(super) fn load(results: Vec<NodeResult>, current: Option<Attestation>) -> Self {
        let results = results.into_iter().map(|result| (result.node, result)).collect();
        let tried = current.as_ref().map(|attestation| attestation.epoch);
        let current = current.filter(|attestation| attestation.stage != Stage::Over);
        Self { results, current, tried, ..Self::default() }
    }

    pub(super) fn pending(&self) -> usize {
        self.results.len()
    }

    pub(super) fn current(&self) -> Option<&Attestation> {
        self.current.as_ref()
    }

    /// Whether a result of the node waits that need not be measured anew.
    pub(super) fn waits(&self, node: &NodeId) -> bool {
        self.results.get(node).is_some_and(|result| result.attempts < MOST_ATTEMPTS)
    }

    /// How many GPUs passed, by the result of the node that waits.
    pub(super) fn passed(&self, node: &NodeId) -> Option<usize> {
        self.results.get(node).map(|result| result.passed.len())
    }

    /// Takes a result. One that says the same as the one before is as old: its leaf is the same.
    pub(super) fn add(&mut self, mut result: NodeResult, effects: &mut Vec<Effect>) {
        if let Some(before) = self.results.get(&result.node).filter(|before| before.passed == result.passed) {
            result.judged_in = before.judged_in;
        }
        effects.push(Effect::Save(Change::PutResult(result.clone())));
        self.results.insert(result.node, result);
    }

    /// There is nothing to attest of a node: what waits is outdated.
    pub(super) fn outdated(&mut self, node: NodeId, effects: &mut Vec<Effect>) {
        if self.results.remove(&node).is_some() {
            effects.push(Effect::Save(Change::DeleteResult(node)));
        }
    }

    /// Does what is due; nodes whose results were given up come back.
    pub(super) fn advance(
        &mut self,
        times: Times<'_>,
        secret: &mut Secret,
        effects: &mut Vec<Effect>,
    ) -> Vec<NodeId> {
        let epoch = times.timing.epoch_at(times.head.timestamp);
        let phase = times.timing.phase_at(times.head.timestamp);
        let Some(attestation) = &mut self.current else {
            self.begin(epoch, phase, times, secret, effects);
            return Vec::new();
        };
        if epoch < attestation.epoch {
            // Blocks were replaced, and its epoch is still to come: what is revealed now would help others to commit.
            return Vec::new();
        }
        let over = attestation.epoch < epoch;
        match attestation.stage {
            Stage::Committing | Stage::Committed | Stage::Revealing if over => return self.drop_it(effects),
            // After a restart nobody knows whether the commitment was mined: the reveal finds out.
            Stage::Committing if phase == EpochPhase::Reveal && !self.submitted => {
                attestation.stage = Stage::Revealing;
                effects.push(Effect::Save(Change::PutAttestation(attestation.clone())));
                self.reveal(effects);
            }
            Stage::Committing if !self.submitted => {
                let commitment =
                    commitment(times.validator, attestation.epoch, attestation.salt, attestation.root());
                effects.push(Effect::Submit(Intent::Validators(ValidatorsCall::Commit {
                    epoch: attestation.epoch,
                    commitment,
                })));
                self.submitted = true;
            }
            Stage::Committed if phase == EpochPhase::Reveal => {
                attestation.stage = Stage::Revealing;
                effects.push(Effect::Save(Change::PutAttestation(attestation.clone())));
                self.reveal(effects);
            }
            // Also here blocks may have been replaced, so that others may commit again.
            Stage::Revealing if phase == EpochPhase::Reveal && !self.submitted => self.reveal(effects),
            // The chain is asked also when the epoch is over: the quorum may have come in its last block.
            Stage::Revealed => effects.push(Effect::ReadRoot(attestation.epoch)),
            Stage::Proving if !self.submitted => self.prove(effects),
            Stage::Committing | Stage::Committed | Stage::Revealing | Stage::Proving | Stage::Over => {}
        }
        Vec::new()
    }

    fn begin(
        &mut self,
        epoch: Epoch,
        phase: EpochPhase,
        times: Times<'_>,
        secret: &mut Secret,
        effects: &mut Vec<Effect>,
    ) {
        let Some((own, total)) = times.standing else { return };
        let left = times.timing.reveal_from(epoch).since(times.head.timestamp);
        let margin = COMMIT_MARGIN.min(Millis::seconds(times.timing.epoch_seconds / 2));
        if phase != EpochPhase::Commit
            || left < margin
            || own == Amount::ZERO
            || self.tried.is_some_and(|tried| tried >= epoch)
        {
            return;
        }
        // Several validators agree more often on results that all of them had before the epoch began.
        let alone = own == total;
        let leaves: Vec<Leaf> = self
            .results
            .values()
            .filter(|result| alone || result.judged_in < epoch)
            .map(|result| result.leaf(times.class, epoch, times.validity))
            .collect();
        if leaves.is_empty() {
            return;
        }
        self.tried = Some(epoch);
        let attestation = Attestation { epoch, salt: secret.digest(), leaves, stage: Stage::Committing };
        effects.push(Effect::Save(Change::PutAttestation(attestation.clone())));
        let commitment = commitment(times.validator, epoch, attestation.salt, attestation.root());
        effects.push(Effect::Submit(Intent::Validators(ValidatorsCall::Commit { epoch, commitment })));
        self.current = Some(attestation);
        self.submitted = true;
    }

    fn reveal(&mut self, effects: &mut Vec<Effect>) {
        let Some(attestation) = &self.current else { return };
        let (epoch, root, salt) = (attestation.epoch, attestation.root(), attestation.salt);
        effects.push(Effect::Submit(Intent::Validators(ValidatorsCall::Reveal { epoch, root, salt })));
        self.submitted = true;
    }

    fn prove(&mut self, effects: &mut Vec<Effect>) {
        let Some(attestation) = &self.current else { return };
        let Some(tree) = attestation.tree() else { return };
        let items: Vec<ProofItem> = attestation
            .leaves
            .iter()
            .filter_map(|leaf| tree.path(leaf.node))
            .map(|(leaf, path)| ProofItem { leaf, path })
            .collect();
        self.batches_left = 0;
        for batch in items.chunks(BATCH) {
            self.batches_left = self.batches_left.saturating_add(1);
            effects.push(Effect::Submit(Intent::Validators(ValidatorsCall::ProveBatch {
                epoch: attestation.epoch,
                items: batch.to_vec(),
            })));
        }
        self.submitted = true;
    }

    /// The quorum's root of an epoch, or that there is none yet. Returns nodes to be measured anew.
    pub(super) fn on_root(
        &mut self,
        epoch: Epoch,
        root: Option<Digest>,
        running: Epoch,
        effects: &mut Vec<Effect>,
    ) -> Vec<NodeId> {
        let Some(attestation) = &mut self.current else { return Vec::new() };
        if attestation.epoch != epoch || attestation.stage != Stage::Revealed {
            return Vec::new();
        }
        match root {
            Some(root) if root == attestation.root() => {
                attestation.stage = Stage::Proving;
                effects.push(Effect::Save(Change::PutAttestation(attestation.clone())));
                self.prove(effects);
                Vec::new()
            }
            None if running <= epoch => Vec::new(),
            Some(_) | None => self.no_quorum(effects),
        }
    }

    /// An intent reached its end. Returns nodes that may be looked at anew.
    pub(super) fn on_outcome(
        &mut self,
        intent: &Intent,
        outcome: &Outcome,
        effects: &mut Vec<Effect>,
    ) -> Vec<NodeId> {
        let Some(attestation) = &mut self.current else { return Vec::new() };
        let done = match outcome {
            Outcome::Confirmed(_) | Outcome::AlreadyDone(_) => true,
            Outcome::Reverted { .. } => false,
        };
        // A reveal that is repeated after a restart finds no commitment any more: the chain's root tells the rest.
        let revealed = matches!(outcome, Outcome::Reverted { error, .. } if error.reason() == RevertReason::NotCommitted);
        let next = match (intent, attestation.stage) {
            (Intent::Validators(ValidatorsCall::Commit { epoch, .. }), Stage::Committing)
                if *epoch == attestation.epoch =>
            {
                done.then_some(Stage::Committed)
            }
            (Intent::Validators(ValidatorsCall::Reveal { epoch, .. }), Stage::Revealing)
                if *epoch == attestation.epoch =>
            {
                (done || revealed).then_some(Stage::Revealed)
            }
            (Intent::Validators(ValidatorsCall::ProveBatch { epoch, .. }), Stage::Proving)
                if *epoch == attestation.epoch =>
            {
                self.batches_left = self.batches_left.saturating_sub(1);
                return if self.batches_left == 0 { self.finish(effects) } else { Vec::new() };
            }
            _ => return Vec::new(),
        };
        match next {
            Some(stage) => {
                attestation.stage = stage;
                self.submitted = false;
                effects.push(Effect::Save(Change::PutAttestation(attestation.clone())));
                if stage == Stage::Revealed {
                    effects.push(Effect::ReadRoot(attestation.epoch));
                }
                Vec::new()
            }
            None => self.drop_it(effects),
        }
    }

    /// An intent could not be kept: it is submitted again.
    pub(super) fn on_not_submitted(&mut self) {
        self.submitted = false;
    }

    fn drop_it(&mut self, effects: &mut Vec<Effect>) -> Vec<NodeId> {
        self.take(effects);
        Vec::new()
    }

    /// It is over, and what remains is that its epoch was attested: blocks may be replaced back into it, and nobody commits
    /// twice in one epoch.
    fn take(&mut self, effects: &mut Vec<Effect>) -> Vec<Leaf> {
        self.submitted = false;
        let Some(Attestation { epoch, leaves, .. }) = self.current.take() else { return Vec::new() };
        let over = Attestation { epoch, salt: Digest::default(), leaves: Vec::new(), stage: Stage::Over };
        effects.push(Effect::Save(Change::PutAttestation(over)));
        leaves
    }

    fn no_quorum(&mut self, effects: &mut Vec<Effect>) -> Vec<NodeId> {
        let leaves = self.take(effects);
        let mut anew = Vec::new();
        for leaf in leaves {
            let Some(result) = self.results.get_mut(&leaf.node) else { continue };
            result.attempts = result.attempts.saturating_add(1);
            if result.attempts >= MOST_ATTEMPTS {
                anew.push(leaf.node);
            }
            if result.attempts >= LAST_ATTEMPT {
                self.results.remove(&leaf.node);
                effects.push(Effect::Save(Change::DeleteResult(leaf.node)));
            } else {
                effects.push(Effect::Save(Change::PutResult(result.clone())));
            }
        }
        anew
    }

    fn finish(&mut self, effects: &mut Vec<Effect>) -> Vec<NodeId> {
        let leaves = self.take(effects);
        for leaf in &leaves {
            // It may have been measured anew meanwhile, and otherwise.
            let shown = |result: &NodeResult| uuid_set_hash(&result.passed) == leaf.uuid_set;
            if self.results.get(&leaf.node).is_some_and(shown) {
                self.results.remove(&leaf.node);
                effects.push(Effect::Save(Change::DeleteResult(leaf.node)));
            }
        }
        leaves.iter().map(|leaf| leaf.node).collect()
    }
}
