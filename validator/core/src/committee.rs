//! The epoch's beacon, who is drawn by it, and who of the validators broke a promise.
//!
//! The beacon is drawn once per epoch, in its first half, by whoever is first; without it nobody is drawn and nothing is
//! proven, until the next epoch. Whoever committed and never revealed pays for it when somebody says so: this validator
//! says so once, and does not mind if another was faster.

use std::collections::{BTreeMap, BTreeSet};

use lode_chain_types::{ChainEvent, Epoch, EpochPhase, Intent, ValidatorsCall, ValidatorsEvent};
use lode_protocol::hash::Digest;
use lode_protocol::ids::{NodeId, ValidatorId};

use super::effect::Effect;

/// Past epochs whose commitments are remembered.
const REMEMBERED: u64 = 4;
/// Most validators that are denounced for one epoch.
const MOST_DENOUNCED: usize = 16;

/// Who promised a root in an epoch, and who kept the promise.
#[derive(Debug, Default)]
struct Promises {
    committed: BTreeSet<ValidatorId>,
    kept: BTreeSet<ValidatorId>,
}

/// What is known of the running epoch's draw, and of the latest promises.
#[derive(Debug, Default)]
pub(super) struct Committee {
    beacon: Option<(Epoch, Digest)>,
    /// The epoch whose beacon this validator has drawn, or tried to.
    tried: Option<Epoch>,
    drawn: BTreeMap<NodeId, bool>,
    promises: BTreeMap<Epoch, Promises>,
}

impl Committee {
    /// The epoch's randomness, once it is known.
    pub(super) fn beacon(&self, epoch: Epoch) -> Option<Digest> {
        self.beacon.filter(|(known, _)| *known == epoch).map(|(_, beacon)| beacon)
    }

    /// Whether this validator checks the node in the beacon's epoch; `None` while nobody knows.
    pub(super) fn is_drawn(&self, node: &NodeId) -> Option<bool> {
        self.drawn.get(node).copied()
    }

    /// Nothing that was read counts any more.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Takes in what others did.
    pub(super) fn on_event(&mut self, event: &ChainEvent) {
        match event {
            ChainEvent::Validators(ValidatorsEvent::Committed { epoch, validator, .. }) => {
                self.promises.entry(*epoch).or_default().committed.insert(*validator);
            }
            ChainEvent::Validators(ValidatorsEvent::Revealed { epoch, validator, .. })
            | ChainEvent::Validators(ValidatorsEvent::RevealMissed { epoch, validator, .. }) => {
                self.promises.entry(*epoch).or_default().kept.insert(*validator);
            }
            _ => {}
        }
    }

    /// A block: asks for the beacon while it is unknown, and denounces who broke a promise in an epoch that is over.
    pub(super) fn on_head(&mut self, epoch: Epoch, own: ValidatorId, effects: &mut Vec<Effect>) {
        if self.beacon(epoch).is_none() {
            effects.push(Effect::ReadBeacon(epoch));
        }
        let running = self.promises.split_off(&epoch);
        let over = std::mem::replace(&mut self.promises, running);
        for (past, promises) in over {
            if past.plus(REMEMBERED) < epoch {
                continue;
            }
            let broken = promises.committed.difference(&promises.kept).filter(|validator| **validator != own);
            for validator in broken.take(MOST_DENOUNCED) {
                let intent = Intent::Validators(ValidatorsCall::PenalizeMissedReveal {
                    epoch: past,
                    validator: *validator,
                });
                effects.push(Effect::Submit(intent));
            }
        }
    }

    /// What the chain says of an epoch's beacon. True if it is news.
    pub(super) fn on_beacon(
        &mut self,
        epoch: Epoch,
        beacon: Option<Digest>,
        running: (Epoch, EpochPhase),
        effects: &mut Vec<Effect>,
    ) -> bool {
        match beacon {
            Some(beacon) if epoch == running.0 && self.beacon != Some((epoch, beacon)) => {
                self.beacon = Some((epoch, beacon));
                self.drawn.clear();
                true
            }
            None if running == (epoch, EpochPhase::Commit) && self.tried != Some(epoch) => {
                self.tried = Some(epoch);
                effects.push(Effect::Submit(Intent::Validators(ValidatorsCall::DrawBeacon { epoch })));
                false
            }
            Some(_) | None => false,
        }
    }

    /// What the chain says of a node in an epoch's draw. True if it is of the beacon that counts.
    pub(super) fn on_drawn(&mut self, epoch: Epoch, node: NodeId, drawn: bool) -> bool {
        let counts = self.beacon.is_some_and(|(known, _)| known == epoch);
        if counts {
            self.drawn.insert(node, drawn);
        }
        counts
    }

    /// The draw could not be kept: it is tried again with the next block.
    pub(super) fn on_not_submitted(&mut self) {
        self.tried = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lode_chain_types::Amount;
    use lode_protocol::ids::Address;

    const OWN: ValidatorId = ValidatorId(Address([1; 20]));
    const OTHER: ValidatorId = ValidatorId(Address([2; 20]));

    fn committed(epoch: u64, validator: ValidatorId) -> ChainEvent {
        ChainEvent::Validators(ValidatorsEvent::Committed {
            epoch: Epoch(epoch),
            validator,
            commitment: Digest([3; 32]),
        })
    }

    fn revealed(epoch: u64, validator: ValidatorId) -> ChainEvent {
        let (root, weight) = (Digest([4; 32]), Amount::tokens(1));
        ChainEvent::Validators(ValidatorsEvent::Revealed { epoch: Epoch(epoch), validator, root, weight })
    }

    fn submitted(effects: &[Effect]) -> Vec<&Intent> {
        fn of(effect: &Effect) -> Option<&Intent> {
            match effect {
                Effect::Submit(intent) => Some(intent),
                _ => None,
            }
        }
        effects.iter().filter_map(of).collect()
    }

    #[test]
    fn whoever_commits_and_never_reveals_is_denounced_once_when_the_epoch_is_over() {
        let mut committee = Committee::default();
        for validator in [OWN, OTHER, ValidatorId(Address([3; 20]))] {
            committee.on_event(&committed(5, validator));
        }
        committee.on_event(&revealed(5, ValidatorId(Address([3; 20]))));
        let mut effects = Vec::new();
        committee.on_head(Epoch(5), OWN, &mut effects);
        assert!(submitted(&effects).is_empty(), "the epoch is not over");
        committee.on_head(Epoch(6), OWN, &mut effects);
        let penalty =
            Intent::Validators(ValidatorsCall::PenalizeMissedReveal { epoch: Epoch(5), validator: OTHER });
        assert_eq!(submitted(&effects), [&penalty]);
        committee.on_head(Epoch(6), OWN, &mut effects);
        assert_eq!(submitted(&effects).len(), 1);
    }

    #[test]
    fn a_penalty_that_was_paid_is_not_asked_for_again() {
        let mut committee = Committee::default();
        committee.on_event(&committed(5, OTHER));
        let (amount, stake) = (Amount::tokens(1), Amount::tokens(9));
        committee.on_event(&ChainEvent::Validators(ValidatorsEvent::RevealMissed {
            epoch: Epoch(5),
            validator: OTHER,
            amount,
            stake,
        }));
        let mut effects = Vec::new();
        committee.on_head(Epoch(6), OWN, &mut effects);
        assert!(submitted(&effects).is_empty());
    }

    #[test]
    fn the_beacon_is_drawn_once_in_the_first_half_of_its_epoch() {
        let mut committee = Committee::default();
        let mut effects = Vec::new();
        let late = (Epoch(5), EpochPhase::Reveal);
        assert!(!committee.on_beacon(Epoch(5), None, late, &mut effects));
        assert!(submitted(&effects).is_empty());
        let running = (Epoch(6), EpochPhase::Commit);
        for _ in 0..2 {
            assert!(!committee.on_beacon(Epoch(6), None, running, &mut effects));
        }
        assert_eq!(
            submitted(&effects),
            [&Intent::Validators(ValidatorsCall::DrawBeacon { epoch: Epoch(6) })]
        );
        assert!(committee.on_beacon(Epoch(6), Some(Digest([1; 32])), running, &mut effects));
        assert!(!committee.on_beacon(Epoch(6), Some(Digest([1; 32])), running, &mut effects));
        assert_eq!(committee.beacon(Epoch(6)), Some(Digest([1; 32])));
        assert_eq!(committee.beacon(Epoch(7)), None);
    }

    #[test]
    fn a_draw_counts_for_the_beacon_that_is_known() {
        let mut committee = Committee::default();
        let node = NodeId(Address([9; 20]));
        assert!(!committee.on_drawn(Epoch(6), node, true));
        committee.on_beacon(Epoch(6), Some(Digest([1; 32])), (Epoch(6), EpochPhase::Commit), &mut Vec::new());
        assert!(committee.on_drawn(Epoch(6), node, true));
        assert_eq!(committee.is_drawn(&node), Some(true));
        committee.on_beacon(Epoch(7), Some(Digest([2; 32])), (Epoch(7), EpochPhase::Commit), &mut Vec::new());
        assert_eq!(committee.is_drawn(&node), None, "another epoch, another draw");
    }
}
