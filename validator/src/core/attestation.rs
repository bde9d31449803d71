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
//! agree once all of them hold the same results; one that never finds a quorum is measured anew.

use std::collections::BTreeMap;

use lode_contracts::{
    Amount, BlockRef, Epoch, EpochPhase, EpochTiming, EpochTree, Intent, Leaf, Outcome, ProofItem, commitment,
};
use lode_gpu_proof::ProofClass;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{NodeId, ValidatorId};
use lode_protocol::units::Millis;
use minicbor::{Decode, Encode};

use super::draw::Secret;
use super::effect::{Change, Effect};
use super::leaf::NodeResult;

/// Leaves shown in one transaction.
const BATCH: usize = 50;
/// A commitment needs so much of the first half to be mined.
const COMMIT_MARGIN: Millis = Millis::seconds(2);
/// Epochs without a quorum after which a result is measured anew.
const MOST_ATTEMPTS: u8 = 3;

/// How far an attestation is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum Stage {
    /// The commitment is on its way.
    #[n(0)]
    Committing,
    /// It is mined.
    #[n(1)]
    Committed,
    /// The reveal is on its way.
    #[n(2)]
    Revealing,
    /// It is mined.
    #[n(3)]
    Revealed,
    /// The leaves are being shown.
    #[n(4)]
    Proving,
}

/// One epoch's attestation. Saved before its commitment is sent.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Attestation {
    /// The epoch.
    #[n(0)]
    pub epoch: Epoch,
    /// Hides the root until it is revealed.
    #[n(1)]
    pub salt: Digest,
    /// What is attested.
    #[n(2)]
    pub leaves: Vec<Leaf>,
    /// How far it is.
    #[n(3)]
    pub stage: Stage,
}

impl Attestation {
    fn tree(&self) -> Option<EpochTree> {
        EpochTree::new(self.leaves.clone()).ok()
    }

    /// The root; zero only for an attestation without leaves, which is never made.
    pub fn root(&self) -> Digest {
        self.tree().map(|tree| tree.root()).unwrap_or_default()
    }
}

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
        Self { results, current, tried, ..Self::default() }
    }

    pub(super) fn pending(&self) -> usize {
        self.results.len()
    }

    pub(super) fn current(&self) -> Option<&Attestation> {
        self.current.as_ref()
    }

    pub(super) fn waits(&self, node: &NodeId) -> bool {
        self.results.contains_key(node)
    }

    /// Takes a result.
    pub(super) fn add(&mut self, result: NodeResult, effects: &mut Vec<Effect>) {
        effects.push(Effect::Save(Change::PutResult(result.clone())));
        self.results.insert(result.node, result);
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
                effects.push(Effect::Submit(Intent::Commit { epoch: attestation.epoch, commitment }));
                self.submitted = true;
            }
            Stage::Committed if phase == EpochPhase::Reveal => {
                attestation.stage = Stage::Revealing;
                effects.push(Effect::Save(Change::PutAttestation(attestation.clone())));
                self.reveal(effects);
            }
            Stage::Revealing if !self.submitted => self.reveal(effects),
            // The chain is asked also when the epoch is over: the quorum may have come in its last block.
            Stage::Revealed => effects.push(Effect::ReadRoot(attestation.epoch)),
            Stage::Proving if !self.submitted => self.prove(effects),
            Stage::Committing | Stage::Committed | Stage::Revealing | Stage::Proving => {}
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
        if phase != EpochPhase::Commit || left < margin || own == Amount::ZERO || self.tried == Some(epoch) {
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
        effects.push(Effect::Submit(Intent::Commit { epoch, commitment }));
        self.current = Some(attestation);
        self.submitted = true;
    }

    fn reveal(&mut self, effects: &mut Vec<Effect>) {
        let Some(attestation) = &self.current else { return };
        let (epoch, root, salt) = (attestation.epoch, attestation.root(), attestation.salt);
        effects.push(Effect::Submit(Intent::Reveal { epoch, root, salt }));
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
            effects
                .push(Effect::Submit(Intent::ProveBatch { epoch: attestation.epoch, items: batch.to_vec() }));
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
        let revealed = matches!(outcome, Outcome::Reverted { error, .. } if error.name == "NotCommitted");
        let next = match (intent, attestation.stage) {
            (Intent::Commit { epoch, .. }, Stage::Committing) if *epoch == attestation.epoch => {
                done.then_some(Stage::Committed)
            }
            (Intent::Reveal { epoch, .. }, Stage::Revealing) if *epoch == attestation.epoch => {
                (done || revealed).then_some(Stage::Revealed)
            }
            (Intent::ProveBatch { epoch, .. }, Stage::Proving) if *epoch == attestation.epoch => {
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
        self.current = None;
        self.submitted = false;
        effects.push(Effect::Save(Change::DeleteAttestation));
        Vec::new()
    }

    fn no_quorum(&mut self, effects: &mut Vec<Effect>) -> Vec<NodeId> {
        let leaves = self.current.take().map(|attestation| attestation.leaves).unwrap_or_default();
        self.submitted = false;
        effects.push(Effect::Save(Change::DeleteAttestation));
        let mut anew = Vec::new();
        for leaf in leaves {
            let Some(result) = self.results.get_mut(&leaf.node) else { continue };
            result.attempts = result.attempts.saturating_add(1);
            if result.attempts >= MOST_ATTEMPTS {
                self.results.remove(&leaf.node);
                effects.push(Effect::Save(Change::DeleteResult(leaf.node)));
                anew.push(leaf.node);
            } else {
                effects.push(Effect::Save(Change::PutResult(result.clone())));
            }
        }
        anew
    }

    fn finish(&mut self, effects: &mut Vec<Effect>) -> Vec<NodeId> {
        let leaves = self.current.take().map(|attestation| attestation.leaves).unwrap_or_default();
        self.submitted = false;
        effects.push(Effect::Save(Change::DeleteAttestation));
        let nodes: Vec<NodeId> = leaves.iter().map(|leaf| leaf.node).collect();
        for node in &nodes {
            self.results.remove(node);
            effects.push(Effect::Save(Change::DeleteResult(*node)));
        }
        nodes
    }
}
