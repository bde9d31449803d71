//! Nodes that the chain did not vouch for a moment ago.
//!
//! Anybody can make a key and publish by it, so the chain is asked about each once in a while and no more: what it said
//! stands until something happens on chain to the node or its provider, or until it is over by time. Only as many are
//! remembered as there is room for; beyond that the oldest goes, and costs one question more.

use std::collections::{BTreeMap, BTreeSet};

use lode_protocol::ids::{NodeId, ProviderId};
use lode_protocol::units::Millis;

use crate::event::ChainWord;
use crate::rejected::Rejected;

/// Nodes that are remembered: each costs some two hundred bytes.
const MOST: usize = 65_536;

/// What the chain said, until when it stands.
#[derive(Debug)]
pub(crate) struct Refusals {
    stand_for: Millis,
    by_node: BTreeMap<NodeId, (Millis, Option<ProviderId>)>,
    by_end: BTreeSet<(Millis, NodeId)>,
    by_provider: BTreeSet<(ProviderId, NodeId)>,
}

impl Refusals {
    pub(crate) fn new(stand_for: Millis) -> Self {
        let (by_node, by_end, by_provider) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        Self { stand_for, by_node, by_end, by_provider }
    }

    /// What a node is refused with, if the chain need not be asked again.
    pub(crate) fn get(&self, node: &NodeId, now: Millis) -> Option<Rejected> {
        let (_, provider) = self.by_node.get(node).filter(|(end, _)| now < *end)?;
        Some(match provider {
            None => Rejected::NotRegistered(*node),
            Some(_) => Rejected::NotEligible(*node),
        })
    }

    /// The chain said this just now.
    pub(crate) fn heard(&mut self, node: NodeId, word: ChainWord, now: Millis) {
        self.forget(&node);
        let provider = match word {
            ChainWord::Vouched(_) => return,
            ChainWord::NotRegistered => None,
            ChainWord::NotEligible(provider) => Some(provider),
        };
        if self.by_node.len() >= MOST
            && let Some((_, oldest)) = self.by_end.first().copied()
        {
            self.forget(&oldest);
        }
        let end = now.plus(self.stand_for);
        self.by_node.insert(node, (end, provider));
        self.by_end.insert((end, node));
        self.by_provider.extend(provider.map(|provider| (provider, node)));
    }

    /// Something may have happened to a node.
    pub(crate) fn forget(&mut self, node: &NodeId) {
        if let Some((end, provider)) = self.by_node.remove(node) {
            self.by_end.remove(&(end, *node));
            if let Some(provider) = provider {
                self.by_provider.remove(&(provider, *node));
            }
        }
    }

    /// Something may have happened to a provider.
    pub(crate) fn forget_provider(&mut self, provider: ProviderId) {
        let from = (provider, NodeId::default());
        let of = self.by_provider.range(from..).take_while(|(of, _)| *of == provider);
        for node in of.map(|(_, node)| *node).collect::<Vec<NodeId>>() {
            self.forget(&node);
        }
    }

    /// Anything may have happened.
    pub(crate) fn forget_all(&mut self) {
        *self = Self::new(self.stand_for);
    }

    /// Forgets what is over.
    pub(crate) fn expire(&mut self, now: Millis) {
        while let Some((_, node)) = self.by_end.first().copied().filter(|(end, _)| *end <= now) {
            self.forget(&node);
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        assert_eq!(self.by_end.len(), self.by_node.len());
        assert!(self.by_provider.len() <= self.by_node.len());
        self.by_node.len()
    }
}

#[cfg(test)]
mod tests {
    use lode_protocol::ids::Address;

    use super::*;

    fn node(number: u32) -> NodeId {
        let mut address = [0; 20];
        address[..4].copy_from_slice(&number.to_be_bytes());
        NodeId(Address(address))
    }

    #[test]
    fn a_refusal_stands_for_a_while_and_only_as_long_as_nothing_happens() {
        let mut refusals = Refusals::new(Millis(60));
        let provider = ProviderId(Address([7; 20]));
        refusals.heard(node(1), ChainWord::NotRegistered, Millis(0));
        refusals.heard(node(2), ChainWord::NotEligible(provider), Millis(0));
        assert_eq!(refusals.get(&node(1), Millis(59)), Some(Rejected::NotRegistered(node(1))));
        assert_eq!(refusals.get(&node(2), Millis(59)), Some(Rejected::NotEligible(node(2))));
        assert_eq!(refusals.get(&node(1), Millis(60)), None);
        refusals.forget_provider(provider);
        assert_eq!((refusals.get(&node(2), Millis(1)), refusals.len()), (None, 1));
        refusals.heard(node(1), ChainWord::Vouched(provider), Millis(1));
        assert_eq!(refusals.len(), 0);
        refusals.heard(node(3), ChainWord::NotRegistered, Millis(1));
        refusals.expire(Millis(60));
        assert_eq!(refusals.len(), 1);
        refusals.expire(Millis(61));
        assert_eq!(refusals.len(), 0);
    }

    #[test]
    fn as_many_strangers_as_there_are_take_no_more_than_their_room() {
        let mut refusals = Refusals::new(Millis(1_000_000));
        for number in 0..100_000 {
            refusals.heard(node(number), ChainWord::NotRegistered, Millis(u64::from(number)));
        }
        assert_eq!(refusals.len(), MOST);
        assert_eq!(refusals.get(&node(0), Millis(100_000)), None);
        assert!(refusals.get(&node(99_999), Millis(100_000)).is_some());
    }
}
