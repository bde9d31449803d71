//! A validator's outbox: what it wants on chain, sent in order while its program runs and the chain answers, told of until
//! it is acknowledged. It has a store of its own, so that a crash loses nothing of it.

use std::collections::BTreeMap;

use lode_chain_types::{Intent, IntentId, Outcome, Receipt, Revert};
use lode_protocol::hash::Digest;
use lode_validator_core::Event;

use crate::chain::{Fate, Transaction};
use crate::world::World;

/// Of 1,000 submissions, how many the outbox cannot keep while things go wrong.
const NOT_KEPT: u32 = 10;

/// What it holds.
#[derive(Clone, Debug, Default)]
pub struct Outbox {
    entries: BTreeMap<u64, (Intent, Option<Fate>)>,
    last: u64,
}

impl Outbox {
    /// Takes an intent; the same one that still waits is not taken twice.
    fn submit(&mut self, intent: Intent) {
        let waits = |(known, fate): &(Intent, Option<Fate>)| fate.is_none() && *known == intent;
        if intent.adds_up() || !self.entries.values().any(waits) {
            self.last += 1;
            self.entries.insert(self.last, (intent, None));
        }
    }

    /// The core has dealt with an outcome.
    pub fn acknowledge(&mut self, id: IntentId) {
        self.entries.remove(&id.0);
    }
}

impl World {
    /// A validator wants something on chain.
    pub(crate) fn validator_submits(&mut self, number: usize, intent: Intent) -> Option<Event> {
        if self.chaos() && self.dice.chance(NOT_KEPT) {
            self.validators[number].diary.is_able_from(self.now);
            return Some(Event::NotSubmitted);
        }
        self.note(|| format!("validator {number} wants {}", intent.name()));
        self.intent_is_right(number, &intent);
        self.validators[number].outbox.submit(intent);
        None
    }

    /// Everything that waits in outboxes of running programs goes to the chain.
    pub(crate) fn outboxes_send(&mut self) {
        if !self.chain.answers {
            return;
        }
        for validator in self.validators.iter().filter(|validator| validator.core.is_some()) {
            for (id, (intent, fate)) in &validator.outbox.entries {
                if fate.is_none() && self.chain.fate(validator.id, *id).is_none() {
                    let intent = Box::new(intent.clone());
                    self.chain.submit(Transaction::Intent(validator.id, *id, intent));
                }
            }
        }
    }

    /// What became of a validator's intents since it last looked.
    pub(crate) fn outcomes(&mut self, number: usize) -> Vec<Event> {
        let (chain, validator) = (&self.chain, &mut self.validators[number]);
        let mut settled = Vec::new();
        for (id, (intent, known)) in &mut validator.outbox.entries {
            if known.is_some() {
                continue;
            }
            let Some(fate) = chain.fate(validator.id, *id) else { continue };
            *known = Some(fate);
            settled.push(told(*id, intent, fate));
        }
        settled
    }

    /// Outcomes that were not acknowledged before a restart come again.
    pub(crate) fn outcomes_again(&self, number: usize) -> Vec<Event> {
        let entries = self.validators[number].outbox.entries.iter();
        entries.filter_map(|(id, (intent, fate))| Some(told(*id, intent, (*fate)?))).collect()
    }
}

fn told(id: u64, intent: &Intent, fate: Fate) -> Event {
    let outcome = match fate {
        Fate::Confirmed => Outcome::Confirmed(Receipt {
            transaction: Digest::default(),
            block: 0,
            block_hash: Digest::default(),
            succeeded: true,
            gas_used: 1,
            events: Vec::new(),
        }),
        Fate::Refused(name) => {
            let error = Revert { name: name.to_owned(), detail: name.to_owned() };
            if intent.is_fulfilled_by(&error) {
                Outcome::AlreadyDone(error)
            } else {
                Outcome::Reverted { error, transaction: None }
            }
        }
    };
    Event::Settled { id: IntentId(id), intent: intent.clone(), outcome }
}
