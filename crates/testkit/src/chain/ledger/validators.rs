//! ValidatorSet.

use lode_contracts::{
    Amount, ChainEvent, Epoch, EpochTiming, Intent, Leaf, ProofItem, Revert, ValidatorsCall, ValidatorsEvent,
    commitment, seconds_of_timestamp, timestamp_of_seconds, verify_path,
};
use lode_protocol::hash::{Digest, keccak256_of};
use lode_protocol::ids::{Address, NodeId, ValidatorId};

use super::{Ledger, item_refusal, refuse};

#[derive(Clone, Debug)]
pub(in crate::chain) struct Validator {
    pub(in crate::chain) stake: Amount,
    pub(in crate::chain) exit_at: u64,
    pub(in crate::chain) endpoint: String,
}

#[derive(Clone, Debug)]
pub(in crate::chain) struct Proof {
    pub(in crate::chain) leaf: Option<Leaf>,
    pub(in crate::chain) epoch: Epoch,
    pub(in crate::chain) registration: u64,
}

impl Ledger {
    pub(in crate::chain) fn timing(&self) -> EpochTiming {
        EpochTiming {
            epoch_seconds: self.parameters.epoch_seconds,
            max_validity_epochs: self.parameters.max_validity_epochs,
        }
    }

    pub(in crate::chain) fn epoch(&self) -> Epoch {
        self.timing().epoch_at(timestamp_of_seconds(self.now))
    }

    pub(in crate::chain) fn weight(&self, validator: ValidatorId, epoch: Epoch) -> Amount {
        self.weights
            .get(&validator)
            .and_then(|steps| steps.range(..=epoch).next_back())
            .map_or(Amount::ZERO, |(_, weight)| *weight)
    }

    pub(in crate::chain) fn total_weight(&self, epoch: Epoch) -> Amount {
        self.weights.keys().fold(Amount::ZERO, |sum, id| sum.saturating_add(self.weight(*id, epoch)))
    }

    pub(in crate::chain) fn votes(&self, epoch: Epoch, root: Digest) -> Amount {
        self.reveals
            .iter()
            .filter(|((of, _), revealed)| *of == epoch && **revealed == root)
            .fold(Amount::ZERO, |sum, ((_, id), _)| sum.saturating_add(self.weight(*id, epoch)))
    }

    fn set_next_weight(&mut self, validator: ValidatorId, weight: Amount) -> Epoch {
        let from = self.epoch().plus(1);
        self.weights.entry(validator).or_default().insert(from, weight);
        from
    }

    fn active(&mut self, validator: ValidatorId) -> Result<&mut Validator, Revert> {
        match self.validators.get_mut(&validator) {
            None => refuse("ValidatorNotRegistered"),
            Some(record) if record.exit_at != 0 => refuse("ValidatorExiting"),
            Some(record) => Ok(record),
        }
    }

    pub(super) fn validators_call(
        &mut self,
        sender: Address,
        intent: &Intent,
    ) -> Result<Vec<ChainEvent>, Revert> {
        let validator = ValidatorId(sender);
        let set = self.deployment.validators;
        let event = match intent {
            Intent::Validators(ValidatorsCall::RegisterValidator { amount, permit, endpoint }) => {
                if self.validators.contains_key(&validator) {
                    return refuse("ValidatorAlreadyRegistered");
                }
                if *amount < self.parameters.validator_min_stake {
                    return refuse("InsufficientStake");
                }
                if endpoint.len() > 512 {
                    return refuse("TextTooLong");
                }
                let record = Validator { stake: *amount, exit_at: 0, endpoint: endpoint.clone() };
                self.validators.insert(validator, record);
                let active_from = self.set_next_weight(validator, *amount);
                self.pull_with_permit(sender, set, *amount, permit.as_ref())?;
                let endpoint = endpoint.clone();
                ChainEvent::Validators(ValidatorsEvent::ValidatorRegistered {
                    validator,
                    stake: *amount,
                    active_from,
                    endpoint,
                })
            }
            Intent::Validators(ValidatorsCall::StakeValidator { amount }) => {
                let record = self.active(validator)?;
                if *amount == Amount::ZERO {
                    return refuse("ZeroAmount");
                }
                record.stake = record.stake.saturating_add(*amount);
                let stake = record.stake;
                let active_from = self.set_next_weight(validator, stake);
                self.pull(sender, set, *amount)?;
                ChainEvent::Validators(ValidatorsEvent::ValidatorStaked {
                    validator,
                    amount: *amount,
                    stake,
                    active_from,
                })
            }
            Intent::Validators(ValidatorsCall::SetValidatorEndpoint { endpoint }) => {
                self.active(validator)?.endpoint.clone_from(endpoint);
                ChainEvent::Validators(ValidatorsEvent::ValidatorEndpointChanged {
                    validator,
                    endpoint: endpoint.clone(),
                })
            }
            Intent::Validators(ValidatorsCall::RequestExit) => {
                let exit_at = self.now + self.parameters.validator_exit_seconds;
                self.active(validator)?.exit_at = exit_at;
                let inactive_from = self.set_next_weight(validator, Amount::ZERO);
                let active_until = Epoch(inactive_from.0 - 1);
                let exit_at = timestamp_of_seconds(exit_at);
                ChainEvent::Validators(ValidatorsEvent::ValidatorExitRequested {
                    validator,
                    active_until,
                    exit_at,
                })
            }
            Intent::Validators(ValidatorsCall::WithdrawValidator) => {
                let Some(record) = self.validators.get(&validator) else {
                    return refuse("ValidatorNotRegistered");
                };
                let (amount, exit_at) = (record.stake, record.exit_at);
                if exit_at == 0 {
                    return refuse("NotExiting");
                }
                if self.now < exit_at {
                    return refuse("StillBonded");
                }
                self.validators.remove(&validator);
                self.move_tokens(set, sender, amount)?;
                ChainEvent::Validators(ValidatorsEvent::ValidatorWithdrawn { validator, amount })
            }
            Intent::Validators(ValidatorsCall::DrawBeacon { epoch }) => {
                self.check_commit_phase(*epoch)?;
                if self.beacons.contains_key(epoch) {
                    return refuse("BeaconAlreadyDrawn");
                }
                let beacon = keccak256_of([&epoch.0.to_be_bytes()[..], &self.parent.0]);
                self.beacons.insert(*epoch, beacon);
                ChainEvent::Validators(ValidatorsEvent::BeaconDrawn { epoch: *epoch, beacon })
            }
            Intent::Validators(ValidatorsCall::PenalizeMissedReveal { epoch, validator }) => {
                self.penalize(*epoch, *validator)?
            }
            Intent::Validators(ValidatorsCall::Commit { epoch, commitment }) => {
                self.commit(validator, *epoch, *commitment)?
            }
            Intent::Validators(ValidatorsCall::Reveal { epoch, root, salt }) => {
                return self.reveal(validator, *epoch, *root, *salt);
            }
            Intent::Validators(ValidatorsCall::ProveBatch { epoch, items }) => {
                return Ok(items
                    .iter()
                    .map(|item| match self.prove(*epoch, item) {
                        Ok(event) => event,
                        Err(revert) => ChainEvent::Validators(ValidatorsEvent::ProofFailed {
                            epoch: *epoch,
                            node: item.leaf.node,
                            reason: item_refusal(&revert),
                        }),
                    })
                    .collect());
            }
            other => unreachable!("{} is no call of the validator set", other.name()),
        };
        Ok(vec![event])
    }

    fn commit(
        &mut self,
        validator: ValidatorId,
        epoch: Epoch,
        commitment: Digest,
    ) -> Result<ChainEvent, Revert> {
        self.check_commit_phase(epoch)?;
        if commitment == Digest::default() {
            return refuse("ZeroDigest");
        }
        if self.weight(validator, epoch) == Amount::ZERO {
            return refuse("NoWeight");
        }
        if self.commitments.contains_key(&(epoch, validator)) {
            return refuse("AlreadyCommitted");
        }
        self.commitments.insert((epoch, validator), commitment);
        Ok(ChainEvent::Validators(ValidatorsEvent::Committed { epoch, validator, commitment }))
    }

    fn check_commit_phase(&self, epoch: Epoch) -> Result<(), Revert> {
        if epoch != self.epoch() {
            return refuse("WrongEpoch");
        }
        if self.now >= seconds_of_timestamp(self.timing().reveal_from(epoch)) {
            return refuse("CommitPhaseOver");
        }
        Ok(())
    }

    fn penalize(&mut self, epoch: Epoch, validator: ValidatorId) -> Result<ChainEvent, Revert> {
        if epoch >= self.epoch() {
            return refuse("EpochNotOver");
        }
        if !self.commitments.contains_key(&(epoch, validator)) {
            return refuse("NotCommitted");
        }
        let share = u128::from(self.parameters.missed_reveal_basis_points);
        let Some(record) = self.validators.get_mut(&validator) else {
            return refuse("ValidatorNotRegistered");
        };
        let amount = Amount(record.stake.0 * share / 10_000);
        record.stake = record.stake.checked_sub(amount).unwrap_or_default();
        let (stake, staying) = (record.stake, record.exit_at == 0);
        if staying {
            self.set_next_weight(validator, stake);
        }
        self.commitments.remove(&(epoch, validator));
        self.move_tokens(self.deployment.validators, self.treasury(), amount)?;
        Ok(ChainEvent::Validators(ValidatorsEvent::RevealMissed { epoch, validator, amount, stake }))
    }

    /// Whether the epoch's beacon draws the validator for the node; refused while there is no beacon.
    pub(in crate::chain) fn is_drawn(
        &self,
        epoch: Epoch,
        node: NodeId,
        validator: ValidatorId,
    ) -> Result<bool, Revert> {
        let Some(beacon) = self.beacons.get(&epoch) else { return refuse("NoBeacon") };
        let weight = self.weight(validator, epoch);
        if weight == Amount::ZERO {
            return Ok(false);
        }
        let committee = self.parameters.committee_size;
        let weighty = self.weights.keys().filter(|id| self.weight(**id, epoch) != Amount::ZERO).count();
        let (share, total) = (weight.saturating_mul(committee), self.total_weight(epoch));
        if weighty as u64 <= committee || share >= total {
            return Ok(true);
        }
        let word = |address: &Address| [&[0u8; 12][..], address.as_bytes()].concat();
        let hash = keccak256_of([&beacon.0[..], &word(&node.0), &word(&validator.0)]);
        let (_, low) = hash.0.split_at(16);
        let ticket = u128::from_be_bytes(low.try_into().expect("half of a digest has 16 bytes"));
        // ticket < floor(share · 2¹²⁸ / total), that is (ticket + 1) · total ≤ share · 2¹²⁸.
        let Some(next) = ticket.checked_add(1) else { return Ok(false) };
        let (high, low) = wide_product(next, total.0);
        Ok(high < share.0 || (high == share.0 && low == 0))
    }

    fn reveal(
        &mut self,
        validator: ValidatorId,
        epoch: Epoch,
        root: Digest,
        salt: Digest,
    ) -> Result<Vec<ChainEvent>, Revert> {
        if epoch != self.epoch() {
            return refuse("WrongEpoch");
        }
        if self.now < seconds_of_timestamp(self.timing().reveal_from(epoch)) {
            return refuse("RevealPhaseNotBegun");
        }
        if root == Digest::default() {
            return refuse("ZeroDigest");
        }
        let Some(committed) = self.commitments.get(&(epoch, validator)) else {
            return refuse("NotCommitted");
        };
        if commitment(validator, epoch, salt, root) != *committed {
            return refuse("WrongReveal");
        }
        self.commitments.remove(&(epoch, validator));
        self.reveals.insert((epoch, validator), root);
        let weight = self.weight(validator, epoch);
        let mut events =
            vec![ChainEvent::Validators(ValidatorsEvent::Revealed { epoch, validator, root, weight })];
        let (votes, total_weight) = (self.votes(epoch, root), self.total_weight(epoch));
        if !self.roots.contains_key(&epoch) && votes.saturating_mul(3) > total_weight.saturating_mul(2) {
            self.roots.insert(epoch, root);
            events.push(ChainEvent::Validators(ValidatorsEvent::RootAccepted {
                epoch,
                root,
                weight: votes,
                total_weight,
            }));
        }
        Ok(events)
    }

    fn prove(&mut self, epoch: Epoch, item: &ProofItem) -> Result<ChainEvent, Revert> {
        let leaf = item.leaf;
        let Some(root) = self.roots.get(&epoch) else { return refuse("RootNotAccepted") };
        if !verify_path(*root, &leaf, &item.path) {
            return refuse("InvalidProof");
        }
        if self.proofs.get(&leaf.node).is_some_and(|proof| epoch <= proof.epoch) {
            return refuse("StaleProof");
        }
        if leaf.pass && leaf.expiry_epoch < self.epoch() {
            return refuse("ProofExpired");
        }
        if leaf.pass && leaf.expiry_epoch > epoch.plus(self.parameters.max_validity_epochs) {
            return refuse("ExpiryTooFar");
        }
        let Some((_, registration, _)) = self.standing(leaf.node) else { return refuse("NodeNotRegistered") };
        let proof = Proof { leaf: leaf.pass.then_some(leaf), epoch, registration };
        self.proofs.insert(leaf.node, proof);
        if !leaf.pass {
            return Ok(ChainEvent::Validators(ValidatorsEvent::NodeUnproven { epoch, node: leaf.node }));
        }
        Ok(ChainEvent::Validators(ValidatorsEvent::NodeProven {
            epoch,
            node: leaf.node,
            class: leaf.class,
            gpu_count: leaf.gpu_count,
            vram_gib: leaf.vram_gib,
            expiry_epoch: leaf.expiry_epoch,
        }))
    }
}

/// A product of 256 bits: its high and its low half.
fn wide_product(left: u128, right: u128) -> (u128, u128) {
    const LOW: u128 = u64::MAX as u128;
    let (left_high, left_low) = (left >> 64, left & LOW);
    let (right_high, right_low) = (right >> 64, right & LOW);
    let low = left_low * right_low;
    let first = left_high * right_low + (low >> 64);
    let second = left_low * right_high + (first & LOW);
    (left_high * right_high + (first >> 64) + (second >> 64), (second << 64) | (low & LOW))
}
