//! The validators' contract: beacons, commitments, reveals, roots that more than two thirds agree on, proofs of nodes.
//! Every validator weighs the same, and all are drawn for every node.

use std::collections::{BTreeMap, BTreeSet};

use lode_chain_types::{
    EpochPhase, EpochTiming, Leaf, ProofItem, ProvenRecord, Refusal, ValidatorsCall, ValidatorsEvent,
    commitment, verify_path,
};
use lode_protocol::amount::Amount;
use lode_protocol::hash::{Digest, keccak256};
use lode_protocol::ids::{Epoch, NodeId, ValidatorId};
use lode_protocol::proof::ProofClassId;
use lode_protocol::units::Timestamp;

/// Times of the validators' epochs, which are shorter here than the pool's.
pub const TIMING: EpochTiming = EpochTiming { epoch_seconds: 12, max_validity_epochs: 12 };
/// Past epochs that anybody still asks for.
const REMEMBERED: u64 = 8;

/// The contract.
#[derive(Clone, Debug, Default)]
pub struct ValidatorSet {
    validators: BTreeSet<ValidatorId>,
    commitments: BTreeMap<(Epoch, ValidatorId), Digest>,
    votes: BTreeMap<(Epoch, Digest), u64>,
    roots: BTreeMap<Epoch, Digest>,
    beacons: BTreeMap<Epoch, Digest>,
    proven: BTreeMap<NodeId, ProvenRecord>,
}

impl ValidatorSet {
    /// Of these validators.
    pub fn new(validators: BTreeSet<ValidatorId>) -> Self {
        ValidatorSet { validators, ..ValidatorSet::default() }
    }

    /// A node was proven before the run began.
    pub fn was_proven(&mut self, node: NodeId, gpu_count: u16, expiry_epoch: Epoch) {
        let record = ProvenRecord {
            class: ProofClassId(1),
            gpu_count,
            vram_gib: 0,
            walk_score: 10_000,
            gemm_score: 10_000,
            proven_epoch: Epoch(0),
            expiry_epoch,
            registration: 1,
            current: true,
        };
        self.proven.insert(node, record);
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        u64::try_from(self.validators.len()).unwrap_or(u64::MAX)
    }

    /// The root of an epoch.
    pub fn root(&self, epoch: Epoch) -> Option<Digest> {
        self.roots.get(&epoch).copied()
    }

    /// The randomness of an epoch.
    pub fn beacon(&self, epoch: Epoch) -> Option<Digest> {
        self.beacons.get(&epoch).copied()
    }

    /// The latest proof of a node with this registration (0: none).
    pub fn proven(&self, node: &NodeId, registration: u64, at: Timestamp) -> Option<ProvenRecord> {
        let record = self.proven.get(node)?;
        let same = registration != 0 && record.registration == registration;
        let current = same && record.expiry_epoch >= TIMING.epoch_at(at);
        Some(ProvenRecord { current, ..*record })
    }

    /// Forgets what nobody asks for any more.
    pub fn forget(&mut self, at: Timestamp) {
        let oldest = Epoch(TIMING.epoch_at(at).0.saturating_sub(REMEMBERED));
        self.commitments.retain(|(epoch, _), _| *epoch >= oldest);
        self.votes.retain(|(epoch, _), _| *epoch >= oldest);
        self.roots.retain(|epoch, _| *epoch >= oldest);
        self.beacons.retain(|epoch, _| *epoch >= oldest);
    }

    /// A call by a validator in a block of this time; `block` differs for every block, `registrations` are those of
    /// registered nodes.
    ///
    /// # Errors
    /// The contract's error.
    pub fn call(
        &mut self,
        from: ValidatorId,
        call: &ValidatorsCall,
        (at, block): (Timestamp, Digest),
        registrations: &BTreeMap<NodeId, u64>,
    ) -> Result<Vec<ValidatorsEvent>, &'static str> {
        let (running, phase) = (TIMING.epoch_at(at), TIMING.phase_at(at));
        let commits = |epoch: Epoch| match phase {
            _ if epoch != running => Err("WrongEpoch"),
            EpochPhase::Reveal => Err("CommitPhaseOver"),
            EpochPhase::Commit => Ok(()),
        };
        match call {
            ValidatorsCall::Commit { epoch, commitment } => {
                commits(*epoch)?;
                if self.commitments.contains_key(&(*epoch, from)) {
                    return Err("AlreadyCommitted");
                }
                self.commitments.insert((*epoch, from), *commitment);
                let (epoch, commitment) = (*epoch, *commitment);
                Ok(vec![ValidatorsEvent::Committed { epoch, validator: from, commitment }])
            }
            ValidatorsCall::Reveal { epoch, root, salt } => match phase {
                _ if *epoch != running => Err("WrongEpoch"),
                EpochPhase::Commit => Err("RevealPhaseNotBegun"),
                EpochPhase::Reveal => self.reveal(from, *epoch, *root, *salt),
            },
            ValidatorsCall::DrawBeacon { epoch } => {
                commits(*epoch)?;
                if self.beacons.contains_key(epoch) {
                    return Err("BeaconAlreadyDrawn");
                }
                let beacon = keccak256(&block.0);
                self.beacons.insert(*epoch, beacon);
                Ok(vec![ValidatorsEvent::BeaconDrawn { epoch: *epoch, beacon }])
            }
            ValidatorsCall::PenalizeMissedReveal { epoch, validator } => {
                if *epoch >= running {
                    return Err("EpochNotOver");
                }
                self.commitments.remove(&(*epoch, *validator)).ok_or("NotCommitted")?;
                let (epoch, validator) = (*epoch, *validator);
                let (amount, stake) = (Amount::ZERO, Amount::tokens(1));
                Ok(vec![ValidatorsEvent::RevealMissed { epoch, validator, amount, stake }])
            }
            ValidatorsCall::ProveBatch { epoch, items } => {
                Ok(items.iter().map(|item| self.prove(*epoch, item, running, registrations)).collect())
            }
            ValidatorsCall::RegisterValidator { .. }
            | ValidatorsCall::StakeValidator { .. }
            | ValidatorsCall::SetValidatorEndpoint { .. }
            | ValidatorsCall::RequestExit
            | ValidatorsCall::WithdrawValidator => Err("NotSimulated"),
        }
    }

    fn reveal(
        &mut self,
        from: ValidatorId,
        epoch: Epoch,
        root: Digest,
        salt: Digest,
    ) -> Result<Vec<ValidatorsEvent>, &'static str> {
        let committed = *self.commitments.get(&(epoch, from)).ok_or("NotCommitted")?;
        if commitment(from, epoch, salt, root) != committed {
            return Err("WrongReveal");
        }
        self.commitments.remove(&(epoch, from));
        let votes = self.votes.entry((epoch, root)).or_default();
        *votes += 1;
        let (votes, total) = (*votes, self.count());
        let weight = Amount::tokens(1);
        let mut events = vec![ValidatorsEvent::Revealed { epoch, validator: from, root, weight }];
        if votes * 3 > total * 2 && !self.roots.contains_key(&epoch) {
            self.roots.insert(epoch, root);
            let (weight, total_weight) = (Amount::tokens(votes), Amount::tokens(total));
            events.push(ValidatorsEvent::RootAccepted { epoch, root, weight, total_weight });
        }
        Ok(events)
    }

    fn prove(
        &mut self,
        epoch: Epoch,
        item: &ProofItem,
        running: Epoch,
        registrations: &BTreeMap<NodeId, u64>,
    ) -> ValidatorsEvent {
        let ProofItem { leaf, path } = item;
        match self.provable(epoch, leaf, path, running, registrations) {
            Ok(registration) => self.record(epoch, leaf, registration),
            Err(name) => {
                let reason = Refusal { selector: [0; 4], name: Some(name.to_owned()) };
                ValidatorsEvent::ProofFailed { epoch, node: leaf.node, reason }
            }
        }
    }

    fn provable(
        &self,
        epoch: Epoch,
        leaf: &Leaf,
        path: &[Digest],
        running: Epoch,
        registrations: &BTreeMap<NodeId, u64>,
    ) -> Result<u64, &'static str> {
        let root = self.root(epoch).ok_or("RootNotAccepted")?;
        if !verify_path(root, leaf, path) {
            return Err("InvalidProof");
        }
        if self.proven.get(&leaf.node).is_some_and(|known| known.proven_epoch >= epoch) {
            return Err("StaleProof");
        }
        if leaf.pass && leaf.expiry_epoch < running {
            return Err("ProofExpired");
        }
        if leaf.pass && leaf.expiry_epoch > epoch.plus(TIMING.max_validity_epochs) {
            return Err("ExpiryTooFar");
        }
        registrations.get(&leaf.node).copied().ok_or("NodeNotRegistered")
    }

    fn record(&mut self, epoch: Epoch, leaf: &Leaf, registration: u64) -> ValidatorsEvent {
        let expiry_epoch = if leaf.pass { leaf.expiry_epoch } else { Epoch(0) };
        let record = ProvenRecord {
            class: leaf.class,
            gpu_count: leaf.gpu_count,
            vram_gib: leaf.vram_gib,
            walk_score: leaf.walk_score,
            gemm_score: leaf.gemm_score,
            proven_epoch: epoch,
            expiry_epoch,
            registration,
            current: leaf.pass,
        };
        self.proven.insert(leaf.node, record);
        if !leaf.pass {
            return ValidatorsEvent::NodeUnproven { epoch, node: leaf.node };
        }
        let (node, class, gpu_count, vram_gib) = (leaf.node, leaf.class, leaf.gpu_count, leaf.vram_gib);
        ValidatorsEvent::NodeProven { epoch, node, class, gpu_count, vram_gib, expiry_epoch }
    }
}
