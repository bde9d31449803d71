//! Forgers that this validator met itself: keep the evidence, and accuse, if the operator wants that.
//!
//! | stage | leaves it by |
//! |---|---|
//! | `Found` | what it costs is known → `Approving`, or `Accusing` where the allowance suffices; it cannot be → dropped |
//! | `Approving` | the allowance is mined → `Accusing` |
//! | `Accusing` | mined → `Open`; refused → dropped |
//! | `Open` | guilty → dropped; acquitted → `Lost` |
//! | `Lost` | never: whoever was acquitted is not accused again by itself |
//!
//! One accusation per node at a time, and one on its way to the chain at a time: the allowance is for that one. Each
//! stage is stored before its transaction is sent; doing one again after a crash is refused by the contract by name.

use std::collections::BTreeMap;

use lode_chain_types::{
    AccusationPhase, AccusationRecord, Amount, ChainEvent, Intent, Offence, Outcome, RevertReason,
    SlashingCall, SlashingEvent, TokenCall,
};
use lode_protocol::finding::Finding;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{AccusationId, Address, NodeId, ProviderId, ValidatorId};

use super::archive::Archive;
use super::effect::{Change, Effect};
use super::event::Price;
use super::report::Report;
use super::settings::{Accusing, Settings};
use super::suspicion::{Stage, Suspicion};

/// Blocks between two looks at a price that cannot be paid.
const LOOK_AGAIN: u64 = 30;

/// Forgers, and how far this validator is with them.
#[derive(Debug)]
pub(super) struct Accuser {
    own: ValidatorId,
    slashing: Address,
    accusing: Option<Accusing>,
    suspicions: BTreeMap<NodeId, Suspicion>,
    /// Whether accusations of an earlier run of the program were asked after: their verdicts may be old.
    caught_up: bool,
    /// The present stage's intent, or question, is under way.
    busy: bool,
    /// No look at a price before this block.
    look_from: u64,
}

impl Accuser {
    pub(super) fn load(settings: &Settings, suspicions: Vec<Suspicion>) -> Self {
        Self {
            own: settings.validator,
            slashing: settings.slashing,
            accusing: settings.accusing.clone(),
            suspicions: suspicions.into_iter().map(|suspicion| (suspicion.node, suspicion)).collect(),
            caught_up: false,
            busy: false,
            look_from: 0,
        }
    }

    /// Files that somebody may still ask for.
    pub(super) fn needed(&self) -> Vec<Digest> {
        let on_trial = |suspicion: &&Suspicion| !matches!(suspicion.stage, Stage::Lost(_));
        self.suspicions.values().filter(on_trial).map(|suspicion| suspicion.evidence).collect()
    }

    /// A node of a provider signed something false.
    pub(super) fn on_file(
        &mut self,
        node: NodeId,
        provider: Option<ProviderId>,
        file: Vec<u8>,
        archive: &mut Archive,
        effects: &mut Vec<Effect>,
    ) {
        let evidence = archive.keep(file, &self.needed(), effects);
        effects.push(Effect::Report(Report::ForgedProof { node, evidence }));
        let (Some(accusing), Some(provider)) = (&self.accusing, provider) else {
            let text = format!("node {node} signed a forged proof; the evidence is kept as {evidence}");
            let remedy = "set accusations.accuse = true to have forgers accused; that takes bonds";
            effects.push(Effect::Raise(
                Finding::warning("validator/forged-proof", text).about(node.to_string()).remedy(remedy),
            ));
            return;
        };
        let under_way =
            self.suspicions.values().filter(|suspicion| !matches!(suspicion.stage, Stage::Lost(_)));
        if self.suspicions.contains_key(&node) || under_way.count() >= accusing.most_open {
            effects.push(Effect::Report(Report::NotAccusedAgain { node }));
            return;
        }
        self.put(Suspicion { node, provider, evidence, stage: Stage::Found }, effects);
    }

    fn put(&mut self, suspicion: Suspicion, effects: &mut Vec<Effect>) {
        effects.push(Effect::Save(Change::PutSuspicion(suspicion.clone())));
        self.suspicions.insert(suspicion.node, suspicion);
    }

    fn remove(&mut self, node: NodeId, effects: &mut Vec<Effect>) {
        self.suspicions.remove(&node);
        effects.push(Effect::Save(Change::DeleteSuspicion(node)));
        effects.push(Effect::Clear("accusation/bond", node.to_string()));
    }

    /// A block: takes the next step of the first accusation that is not on chain yet.
    pub(super) fn advance(&mut self, head: u64, effects: &mut Vec<Effect>) {
        if !self.caught_up {
            self.caught_up = true;
            let open = |suspicion: &Suspicion| match suspicion.stage {
                Stage::Open(id) => Some(Effect::ReadAccusation(id)),
                Stage::Found | Stage::Approving { .. } | Stage::Accusing { .. } | Stage::Lost(_) => None,
            };
            effects.extend(self.suspicions.values().filter_map(open));
        }
        let (Some(accusing), false) = (&self.accusing, self.busy) else { return };
        let waiting = |suspicion: &&Suspicion| match suspicion.stage {
            Stage::Found | Stage::Approving { .. } | Stage::Accusing { .. } => true,
            Stage::Open(_) | Stage::Lost(_) => false,
        };
        let Some(suspicion) = self.suspicions.values().find(waiting).cloned() else { return };
        match suspicion.stage {
            Stage::Found if head < self.look_from => {}
            Stage::Found => {
                self.busy = true;
                let (node, provider, amount) = (suspicion.node, suspicion.provider, accusing.amount);
                effects.push(Effect::ReadPrice { node, provider, amount });
            }
            // After a restart: the allowance may be there, or less than is needed by now.
            Stage::Approving { .. } => self.put(Suspicion { stage: Stage::Found, ..suspicion }, effects),
            Stage::Accusing { amount } => {
                let intent = self.accusation(&suspicion, amount, &accusing.public_url);
                self.busy = true;
                effects.push(Effect::Submit(intent));
            }
            Stage::Open(_) | Stage::Lost(_) => {}
        }
    }

    fn accusation(&self, suspicion: &Suspicion, amount: Amount, public_url: &str) -> Intent {
        Intent::Slashing(SlashingCall::Accuse {
            provider: suspicion.provider,
            node: suspicion.node,
            offence: Offence::ForgedProof,
            amount,
            evidence: suspicion.evidence,
            uri: uri_of(public_url, suspicion.evidence),
        })
    }

    /// What an accusation would take.
    pub(super) fn on_price(&mut self, node: NodeId, price: &Price, head: u64, effects: &mut Vec<Effect>) {
        self.busy = false;
        let Some(suspicion) = self.suspicions.get(&node).cloned() else { return };
        let Some(accusing) = &self.accusing else { return };
        if suspicion.stage != Stage::Found {
            return;
        }
        if let Some(open) = price.open {
            if open.accuser == self.own.0 && open.evidence == suspicion.evidence {
                return self.put(Suspicion { stage: Stage::Open(open.id), ..suspicion }, effects);
            }
            if open.amount >= price.amount {
                effects.push(Effect::Report(Report::AccusedByAnother { node, accusation: open.id }));
                return self.remove(node, effects);
            }
        }
        if price.amount == Amount::ZERO {
            effects.push(Effect::Report(Report::NothingToHold { node }));
            return self.remove(node, effects);
        }
        if price.balance < price.bond {
            let text =
                format!("accusing node {node} takes a bond of {}, there are {}", price.bond, price.balance);
            let remedy = "send tokens to this validator's address";
            effects.push(Effect::Raise(
                Finding::warning("accusation/bond", text).about(node.to_string()).remedy(remedy),
            ));
            self.look_from = head.saturating_add(LOOK_AGAIN);
            return;
        }
        let amount = price.amount;
        let (stage, intent) = if price.allowance < price.bond {
            let approve = Intent::Token(TokenCall::Approve { spender: self.slashing, amount: price.bond });
            (Stage::Approving { amount }, approve)
        } else {
            (Stage::Accusing { amount }, self.accusation(&suspicion, amount, &accusing.public_url))
        };
        self.put(Suspicion { stage, ..suspicion }, effects);
        self.busy = true;
        effects.push(Effect::Submit(intent));
    }

    /// The price could not be read: it is asked for again.
    pub(super) fn on_price_unknown(&mut self) {
        self.busy = false;
    }

    /// An intent could not be kept: it is submitted again.
    pub(super) fn on_not_submitted(&mut self) {
        self.busy = false;
    }

    /// An intent reached its end.
    pub(super) fn on_outcome(&mut self, intent: &Intent, outcome: &Outcome, effects: &mut Vec<Effect>) {
        match intent {
            Intent::Token(TokenCall::Approve { spender, .. }) if *spender == self.slashing => {
                let approving = |suspicion: &&Suspicion| matches!(suspicion.stage, Stage::Approving { .. });
                let Some(suspicion) = self.suspicions.values().find(approving).cloned() else { return };
                let Stage::Approving { amount } = suspicion.stage else { return };
                self.busy = false;
                let stage = match outcome {
                    Outcome::Confirmed(_) | Outcome::AlreadyDone(_) => Stage::Accusing { amount },
                    Outcome::Reverted { .. } => Stage::Found,
                };
                self.put(Suspicion { stage, ..suspicion }, effects);
            }
            Intent::Slashing(SlashingCall::Accuse { node, evidence, .. }) => {
                let Some(suspicion) = self.suspicions.get(node).cloned() else { return };
                if suspicion.evidence != *evidence {
                    return;
                }
                self.busy = false;
                self.accused(suspicion, outcome, effects);
            }
            _ => {}
        }
    }

    fn accused(&mut self, suspicion: Suspicion, outcome: &Outcome, effects: &mut Vec<Effect>) {
        let node = suspicion.node;
        match outcome {
            Outcome::Confirmed(receipt) => {
                let opened = receipt.events.iter().find_map(|logged| match &logged.event {
                    ChainEvent::Slashing(SlashingEvent::Accused { id, evidence, .. })
                        if *evidence == suspicion.evidence =>
                    {
                        Some(*id)
                    }
                    _ => None,
                });
                match opened {
                    Some(id) => {
                        effects.push(Effect::Report(Report::Accused { node, accusation: id }));
                        self.put(Suspicion { stage: Stage::Open(id), ..suspicion }, effects);
                    }
                    // The price tells of an open accusation by this validator.
                    None => self.put(Suspicion { stage: Stage::Found, ..suspicion }, effects),
                }
            }
            Outcome::AlreadyDone(_) => self.put(Suspicion { stage: Stage::Found, ..suspicion }, effects),
            Outcome::Reverted { error, .. } => match error.reason() {
                // It may be the one of before a crash; or stake, bond or allowance changed in between.
                RevertReason::AlreadyAccused
                | RevertReason::AmountTooLarge
                | RevertReason::InsufficientAllowance => {
                    self.put(Suspicion { stage: Stage::Found, ..suspicion }, effects);
                }
                RevertReason::NotCommitted | RevertReason::Other => {
                    effects
                        .push(Effect::Report(Report::AccusationRefused { node, error: error.name.clone() }));
                    self.remove(node, effects);
                }
            },
        }
    }

    /// Something happened on chain.
    pub(super) fn on_event(&mut self, event: &ChainEvent, effects: &mut Vec<Effect>) {
        match event {
            ChainEvent::Slashing(SlashingEvent::FoundGuilty { id, .. }) => self.closed(*id, true, effects),
            ChainEvent::Slashing(SlashingEvent::Acquitted { id, .. }) => self.closed(*id, false, effects),
            _ => {}
        }
    }

    /// The chain was asked about an accusation.
    pub(super) fn on_record(&mut self, record: &AccusationRecord, effects: &mut Vec<Effect>) {
        match record.phase {
            AccusationPhase::Guilty => self.closed(record.id, true, effects),
            AccusationPhase::Acquitted => self.closed(record.id, false, effects),
            AccusationPhase::Evidence
            | AccusationPhase::Answer
            | AccusationPhase::Vote
            | AccusationPhase::Decided => {}
        }
    }

    fn closed(&mut self, id: AccusationId, guilty: bool, effects: &mut Vec<Effect>) {
        let of = |suspicion: &&Suspicion| suspicion.stage == Stage::Open(id);
        let Some(suspicion) = self.suspicions.values().find(of).cloned() else { return };
        let node = suspicion.node;
        if guilty {
            self.remove(node, effects);
            return;
        }
        let text = format!("accusation {id} of node {node} was lost, and its bond");
        let remedy = "see why the others did not find it guilty; the node is not accused again by itself";
        effects.push(Effect::Raise(
            Finding::error("accusation/lost", text).about(node.to_string()).remedy(remedy),
        ));
        self.put(Suspicion { stage: Stage::Lost(id), ..suspicion }, effects);
    }
}

/// Where a file lies, as seen by others. A pinned certificate stays behind the path.
fn uri_of(public_url: &str, evidence: Digest) -> String {
    let (base, pin) = match public_url.split_once('#') {
        Some((base, pin)) => (base, format!("#{pin}")),
        None => (public_url, String::new()),
    };
    format!("{}/evidence/{evidence}{pin}", base.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_file_keeps_the_pin_of_its_server() {
        let hash = Digest([0xab; 32]);
        assert_eq!(uri_of("https://v.example/", hash), format!("https://v.example/evidence/{hash}"));
        let pinned = uri_of("https://v.example:8443#sha256=00", hash);
        assert_eq!(pinned, format!("https://v.example:8443/evidence/{hash}#sha256=00"));
    }
}
