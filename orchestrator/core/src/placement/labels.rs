//! Ordered sets of the nodes that have a label, and of those that have it with one value; providers are a label too.

use std::collections::BTreeMap;

use lode_protocol::task::{Constraint, ConstraintOperator};

use super::super::node::Node;
use super::places::{Place, Places};

/// The key of a node's provider. What nodes call so by themselves does not count.
pub(super) const PROVIDER: &str = "provider";

/// Names a set; the generation tells it from an earlier one in the same slot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct SetId {
    slot: u32,
    generation: u32,
}

#[derive(Clone, Debug)]
struct Slot {
    generation: u32,
    key: String,
    /// `None`: whatever the value is.
    value: Option<String>,
    places: Places,
}

#[derive(Clone, Debug, Default)]
struct Key {
    any: Option<SetId>,
    values: BTreeMap<String, SetId>,
}

/// What a constraint says about a node's sets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Clause {
    /// The node is in one of these, which have no node in common.
    In(Vec<SetId>),
    /// The node is in none of these.
    NotIn(Vec<SetId>),
}

impl Clause {
    pub(super) fn holds(&self, sets: &[SetId]) -> bool {
        match self {
            Clause::In(wanted) => wanted.iter().any(|set| sets.contains(set)),
            Clause::NotIn(unwanted) => !unwanted.iter().any(|set| sets.contains(set)),
        }
    }
}

/// All sets. An empty one is forgotten.
#[derive(Clone, Debug, Default)]
pub(super) struct Labels {
    keys: BTreeMap<String, Key>,
    slots: Vec<Slot>,
    unused: Vec<u32>,
}

/// Whether a key means something else than a label.
pub(super) fn is_reserved(key: &str) -> bool {
    matches!(key, "node" | PROVIDER | "architecture" | "os") || Constraint::is_version(key)
}

/// A node's provider as constraints are compared with it.
pub(super) fn provider(node: &Node) -> Option<String> {
    Some(node.facts.registration()?.provider.to_string().to_ascii_lowercase())
}

impl Labels {
    /// Puts a node into the sets of its labels.
    pub(super) fn enter(&mut self, node: &Node, place: Place) -> Box<[SetId]> {
        let mut sets = Vec::new();
        for (key, value) in node.hardware.labels.iter().filter(|(key, _)| !is_reserved(key)) {
            sets.push(self.set(key, None));
            sets.push(self.set(key, Some(value)));
        }
        if let Some(provider) = provider(node) {
            sets.push(self.set(PROVIDER, Some(&provider)));
        }
        for set in &sets {
            if let Some(slot) = self.slot_mut(*set) {
                slot.places.insert(place);
            }
        }
        sets.into_boxed_slice()
    }

    /// A node of these sets stands elsewhere now.
    pub(super) fn shift(&mut self, sets: &[SetId], from: &Place, to: Place) {
        for set in sets {
            if let Some(slot) = self.slot_mut(*set) {
                slot.places.remove(from);
                slot.places.insert(to);
            }
        }
    }

    /// Takes a node out of its sets.
    pub(super) fn leave(&mut self, sets: &[SetId], place: &Place) {
        for set in sets {
            let Some(slot) = self.slot_mut(*set) else { continue };
            slot.places.remove(place);
            if slot.places.len() == 0 {
                self.forget(*set);
            }
        }
    }

    /// The places of a set; `None`: it is not any more.
    pub(super) fn places(&self, set: SetId) -> Option<&Places> {
        let slot = self.slots.get(usize::try_from(set.slot).ok()?)?;
        (slot.generation == set.generation).then_some(&slot.places)
    }

    /// What a constraint asks of the sets; `None`: nothing, or it is not about labels.
    pub(super) fn clause(&self, constraint: &Constraint) -> Option<Clause> {
        let key = constraint.key.as_str();
        if is_reserved(key) && key != PROVIDER {
            return None;
        }
        let known = self.keys.get(key);
        let any = || known.and_then(|known| known.any).into_iter().collect::<Vec<_>>();
        let values = || {
            let named = constraint.values.iter().filter_map(|value| {
                let known = known?;
                let address = key == PROVIDER;
                let set = if address {
                    known.values.get(&value.to_ascii_lowercase())
                } else {
                    known.values.get(value)
                };
                set.copied()
            });
            let mut sets: Vec<SetId> = named.collect();
            sets.sort_unstable();
            sets.dedup();
            sets
        };
        match constraint.operator {
            ConstraintOperator::In => Some(Clause::In(values())),
            ConstraintOperator::NotIn => {
                Some(Clause::NotIn(values())).filter(|clause| *clause != Clause::NotIn(vec![]))
            }
            // Every member has a provider: there is no set of them all.
            ConstraintOperator::Exists | ConstraintOperator::NotExists if key == PROVIDER => None,
            ConstraintOperator::AtLeast => None,
            ConstraintOperator::Exists => Some(Clause::In(any())),
            ConstraintOperator::NotExists => {
                Some(Clause::NotIn(any())).filter(|clause| *clause != Clause::NotIn(vec![]))
            }
        }
    }

    fn slot_mut(&mut self, set: SetId) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(usize::try_from(set.slot).ok()?)?;
        (slot.generation == set.generation).then_some(slot)
    }

    fn set(&mut self, key: &str, value: Option<&str>) -> SetId {
        let known = self.keys.get(key).and_then(|known| match value {
            Some(value) => known.values.get(value).copied(),
            None => known.any,
        });
        if let Some(known) = known {
            return known;
        }
        let set = self.fresh(key, value);
        let names = self.keys.entry(key.to_owned()).or_default();
        match value {
            Some(value) => {
                names.values.insert(value.to_owned(), set);
            }
            None => names.any = Some(set),
        }
        set
    }

    fn fresh(&mut self, key: &str, value: Option<&str>) -> SetId {
        let (key, value) = (key.to_owned(), value.map(str::to_owned));
        let unused = self.unused.pop();
        let slot = unused.unwrap_or_else(|| u32::try_from(self.slots.len()).unwrap_or(u32::MAX));
        let places = Places::default();
        match usize::try_from(slot).ok().and_then(|index| self.slots.get_mut(index)) {
            Some(slot) => *slot = Slot { generation: slot.generation, key, value, places },
            None => self.slots.push(Slot { generation: 0, key, value, places }),
        }
        let generation = usize::try_from(slot)
            .ok()
            .and_then(|index| self.slots.get(index))
            .map_or(0, |slot| slot.generation);
        SetId { slot, generation }
    }

    fn forget(&mut self, set: SetId) {
        let Some(slot) = self.slot_mut(set) else { return };
        slot.generation = slot.generation.wrapping_add(1);
        let (key, value) = (std::mem::take(&mut slot.key), slot.value.take());
        slot.places = Places::default();
        self.unused.push(set.slot);
        let Some(names) = self.keys.get_mut(&key) else { return };
        match value {
            Some(value) => {
                names.values.remove(&value);
            }
            None => names.any = None,
        }
        if names.any.is_none() && names.values.is_empty() {
            self.keys.remove(&key);
        }
    }
}
