//! What must be read again, and when.
//!
//! Events are hints: each marks the nodes (or the pool) whose facts may have changed. Nothing is taken from an event
//! itself.

use std::collections::{BTreeMap, BTreeSet};

use lode_contracts::{
    ChainEvent, ChainView as FollowerView, Epoch, EpochTiming, FollowerEvent, PoolsEvent, RegistryEvent,
    ValidatorsEvent,
};
use lode_protocol::hash::Digest;
use lode_protocol::ids::{NodeId, PoolId, ProviderId};

use super::Following;
use super::questions::Questions;
use super::settling::Settling;
use crate::core::event::ChainView;

/// What is known of a followed node besides what the core was told.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known {
    pub(super) provider: Option<ProviderId>,
    /// Last epoch in which its proof counts.
    pub(super) expiry: Option<Epoch>,
}

/// Mutable part of the watch.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) pool: PoolId,
    pub(super) followed: BTreeMap<NodeId, Known>,
    pub(super) dirty: BTreeSet<NodeId>,
    /// Strangers that the core asks about.
    pub(super) asked: Questions,
    pub(super) pool_dirty: bool,
    pub(super) following: bool,
    pub(super) timing: Option<EpochTiming>,
    pub(super) epoch: Option<Epoch>,
    pub(super) told: Option<ChainView>,
    /// Tunables that the store and the core know.
    pub(super) terms: Option<Digest>,
    /// Money and roots.
    pub(super) settling: Settling,
}

impl Reading {
    pub(super) fn has_work(&self) -> bool {
        self.pool_dirty || !self.dirty.is_empty() || self.settling.is_dirty()
    }

    /// Whether strangers may be looked up: the pool's own facts are read first.
    pub(super) fn has_questions(&self) -> bool {
        !self.has_work() && !self.asked.is_empty()
    }

    /// The core asks whether a stranger is registered. What is followed is told anyway.
    pub(super) fn ask(&mut self, node: NodeId) {
        if !self.followed.contains_key(&node) {
            self.asked.of_stranger(node);
        }
    }

    /// A worker with this key may have been refused for want of what has happened now.
    fn ask_after_event(&mut self, node: NodeId) {
        if !self.followed.contains_key(&node) {
            self.asked.of_event(node);
        }
    }

    pub(super) fn order(&mut self, order: Following) {
        match order {
            Following::Yes(node) => {
                self.followed.entry(node).or_default();
                self.dirty.insert(node);
            }
            Following::Again(node) => self.mark(node),
            Following::Root(epoch) => self.settling.follow(epoch),
            Following::Budget => self.settling.mark(),
            Following::No(node) => {
                self.followed.remove(&node);
                self.dirty.remove(&node);
            }
        }
    }

    fn mark(&mut self, node: NodeId) {
        if self.followed.contains_key(&node) {
            self.dirty.insert(node);
        }
    }

    fn mark_provider(&mut self, provider: ProviderId) {
        let theirs = self.followed.iter().filter(|(_, known)| known.provider == Some(provider));
        let nodes: Vec<NodeId> = theirs.map(|(node, _)| *node).collect();
        self.dirty.extend(nodes);
    }

    pub(super) fn mark_all(&mut self) {
        self.pool_dirty = true;
        self.settling.look_again();
        self.dirty.extend(self.followed.keys().copied());
    }

    pub(super) fn event(&mut self, event: FollowerEvent) {
        match event {
            // Facts are read at the head: a replaced block may have changed any of them.
            FollowerEvent::Resync { .. } | FollowerEvent::Rollback { .. } => {
                self.epoch = None;
                self.mark_all();
            }
            FollowerEvent::Events { events, .. } => {
                for logged in events {
                    self.happened(&logged.event);
                }
            }
        }
    }

    /// What an event makes worth reading again.
    fn happened(&mut self, event: &ChainEvent) {
        self.settling.happened(event, self.pool);
        match event {
            ChainEvent::Registry(RegistryEvent::ProviderRegistered { provider, .. })
            | ChainEvent::Registry(RegistryEvent::Staked { provider, .. })
            | ChainEvent::Registry(RegistryEvent::UnstakeRequested { provider, .. })
            | ChainEvent::Registry(RegistryEvent::Withdrawn { provider, .. })
            | ChainEvent::Pools(PoolsEvent::ProviderBanned { provider, .. })
            | ChainEvent::Pools(PoolsEvent::ProviderUnbanned { provider, .. })
            | ChainEvent::Pools(PoolsEvent::PoolApprovalChanged { provider, .. })
            | ChainEvent::Registry(RegistryEvent::Slashed { provider, .. }) => self.mark_provider(*provider),
            ChainEvent::Registry(RegistryEvent::NodeAdded { provider, node, .. })
            | ChainEvent::Registry(RegistryEvent::NodeRemoved { provider, node, .. }) => {
                // The stake must cover all units: one more or less concerns every node of the provider.
                self.mark_provider(*provider);
                self.mark(*node);
                self.ask_after_event(*node);
            }
            ChainEvent::Registry(RegistryEvent::NodeReplaced { provider, old, new, .. }) => {
                self.mark_provider(*provider);
                self.mark(*old);
                self.mark(*new);
                self.ask_after_event(*new);
            }
            ChainEvent::Pools(PoolsEvent::NodeJoined { node, .. })
            | ChainEvent::Pools(PoolsEvent::NodeAlreadyMember { node, .. })
            | ChainEvent::Pools(PoolsEvent::NodeLeft { node, .. })
            | ChainEvent::Pools(PoolsEvent::NodeEjected { node, .. }) => {
                self.pool_dirty = true;
                self.mark(*node);
            }
            ChainEvent::Pools(PoolsEvent::JoinFailed { node, .. })
            | ChainEvent::Pools(PoolsEvent::NodeBanned { node, .. })
            | ChainEvent::Pools(PoolsEvent::NodeUnbanned { node, .. })
            | ChainEvent::Validators(ValidatorsEvent::NodeProven { node, .. })
            | ChainEvent::Validators(ValidatorsEvent::NodeUnproven { node, .. })
            | ChainEvent::Validators(ValidatorsEvent::ProofFailed { node, .. }) => self.mark(*node),
            ChainEvent::Pools(PoolsEvent::PoolStarted { .. })
            | ChainEvent::Pools(PoolsEvent::PoolEnded { .. })
            | ChainEvent::Pools(PoolsEvent::OrchestratorChanged { .. })
            | ChainEvent::Pools(PoolsEvent::EndpointsChanged { .. })
            | ChainEvent::Pools(PoolsEvent::RequirementsChanged { .. })
            | ChainEvent::Pools(PoolsEvent::OwnershipTransferred { .. })
            | ChainEvent::Pools(PoolsEvent::PoolCreated { .. }) => self.pool_dirty = true,
            _ => {}
        }
    }

    /// Proofs run out by time, without an event.
    pub(super) fn expire(&mut self, view: &FollowerView) {
        let (Some(timing), Some(head)) = (self.timing, view.head) else { return };
        let epoch = timing.epoch_at(head.timestamp);
        self.settling.at(epoch, head.timestamp, timing.ends(epoch));
        if self.epoch.replace(epoch) == Some(epoch) {
            return;
        }
        let over: Vec<NodeId> = self
            .followed
            .iter()
            .filter(|(_, known)| known.expiry.is_some_and(|expiry| expiry < epoch))
            .map(|(node, _)| *node)
            .collect();
        self.dirty.extend(over);
    }
}

#[cfg(test)]
mod tests {
    use super::super::questions::{FOR_EVENTS, MOST_ASKED};
    use super::*;
    use lode_protocol::ids::Address;
    use lode_protocol::units::Timestamp;

    fn node(number: u8) -> NodeId {
        NodeId(Address([number; 20]))
    }

    fn reading() -> Reading {
        let mut reading = Reading::default();
        for number in 1..=3 {
            let provider = Some(ProviderId(Address([if number == 3 { 9 } else { 8 }; 20])));
            reading.followed.insert(node(number), Known { provider, expiry: Some(Epoch(u64::from(number))) });
        }
        reading
    }

    #[test]
    fn stake_concerns_all_nodes_of_its_provider_and_no_others() {
        let mut reading = reading();
        let provider = ProviderId(Address([8; 20]));
        reading.happened(&ChainEvent::Registry(RegistryEvent::NodeRemoved {
            provider,
            node: node(7),
            registration: 1,
        }));
        assert_eq!(reading.dirty, BTreeSet::from([node(1), node(2)]));
    }

    #[test]
    fn a_proof_is_read_again_when_its_last_epoch_is_over() {
        let mut reading = reading();
        reading.timing = Some(EpochTiming { epoch_seconds: 10, max_validity_epochs: 3 });
        let block = |seconds: u64| lode_contracts::BlockRef {
            number: seconds,
            hash: Digest::default(),
            timestamp: Timestamp(seconds * 1_000),
        };
        reading.expire(&FollowerView { head: Some(block(15)), ..FollowerView::default() });
        assert!(reading.dirty.is_empty(), "it counts in its last epoch");
        reading.expire(&FollowerView { head: Some(block(20)), ..FollowerView::default() });
        assert_eq!(reading.dirty, BTreeSet::from([node(1)]));
    }

    #[test]
    fn any_number_of_strangers_waits_in_bounded_room_and_leaves_the_view_fresh() {
        let mut reading = reading();
        reading.ask(node(1));
        assert!(reading.asked.is_empty(), "what is followed is told anyway");
        for number in 0..100_000_u32 {
            let mut address = [9; 20];
            address[..4].copy_from_slice(&number.to_be_bytes());
            reading.ask(NodeId(Address(address)));
        }
        let waiting = reading.asked.longest(usize::MAX).len();
        assert_eq!(waiting, MOST_ASKED - FOR_EVENTS);
        assert!(!reading.has_work());
        let provider = ProviderId(Address([8; 20]));
        let added = RegistryEvent::NodeAdded { provider, node: node(7), units: 1, registration: 1 };
        reading.happened(&ChainEvent::Registry(added));
        assert_eq!(reading.asked.longest(usize::MAX).len(), waiting + 1, "the chain's own events have room");
    }

    #[test]
    fn after_a_resync_everything_is_read_again() {
        let mut reading = reading();
        reading.mark_all();
        assert!(reading.pool_dirty && reading.dirty.len() == 3);
        reading.order(Following::No(node(2)));
        assert_eq!(reading.dirty.len(), 2);
    }
}
