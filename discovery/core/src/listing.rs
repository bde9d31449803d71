//! Known descriptors: of two of a node the one with the higher (boot, sequence) counts; each leaves when it expires.
//!
//! While the chain does not vouch for a node, its descriptor is kept aside: nobody sees it. When the chain vouches again
//! (stake was added, a block was replaced), it is listed again, and the node need not say anything.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lode_protocol::cursor::Cursor;
use lode_protocol::descriptor::VerifiedDescriptor;
use lode_protocol::directory::{ChangesPage, DirectoryChange, DirectoryEntry};
use lode_protocol::ids::{NodeId, ProviderId};
use lode_protocol::units::{Bytes, Timestamp};

use crate::effect::Stored;
use crate::index::{Candidates, Index};
use crate::log::{ChangeLog, Since};
use crate::query::Query;
use crate::rejected::Rejected;

/// A listed node.
#[derive(Debug)]
pub struct Listed {
    /// What it says.
    pub descriptor: VerifiedDescriptor,
    /// Its provider, by the chain.
    pub provider: ProviderId,
    /// Model and memory of each GPU, as they are looked for.
    pub(crate) gpus: Vec<(Option<Arc<str>>, Bytes)>,
}

/// How a descriptor relates to what is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Novelty {
    /// It is of a node that is not known.
    Unknown,
    /// It is newer than what is known.
    Newer,
    /// It is what is listed.
    Listed,
    /// It is what is kept aside.
    Aside,
}

/// All known descriptors.
#[derive(Debug)]
pub struct Listing {
    nodes: BTreeMap<NodeId, Listed>,
    aside: BTreeMap<NodeId, Listed>,
    // Of listed nodes and of those aside.
    by_expiry: BTreeSet<(Timestamp, NodeId)>,
    by_provider: BTreeSet<(ProviderId, NodeId)>,
    // Of listed nodes.
    index: Index,
    log: ChangeLog,
}

impl Listing {
    /// Nothing; see [`ChangeLog::new`].
    pub(crate) fn new(incarnation: u64, retention: usize) -> Self {
        Self {
            nodes: BTreeMap::new(),
            aside: BTreeMap::new(),
            by_expiry: BTreeSet::new(),
            by_provider: BTreeSet::new(),
            index: Index::default(),
            log: ChangeLog::new(incarnation, retention),
        }
    }

    /// Number of listed nodes.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether nothing is listed.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Where the log of changes ends.
    pub fn cursor(&self) -> Cursor {
        self.log.cursor()
    }

    /// One listed node.
    pub fn get(&self, node: &NodeId) -> Option<&Listed> {
        self.nodes.get(node)
    }

    /// Listed nodes after `after`, in the order of their ids.
    pub fn after(&self, after: Option<NodeId>) -> impl Iterator<Item = (&NodeId, &Listed)> {
        use std::ops::Bound;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.nodes.range((from, Bound::Unbounded))
    }

    /// The fewest nodes that have all that match a query among them.
    pub(crate) fn candidates(&self, query: &Query) -> Candidates<'_> {
        self.index.candidates(query, self.nodes.len())
    }

    /// Listed nodes and those aside.
    pub fn known(&self) -> impl Iterator<Item = NodeId> {
        self.by_expiry.iter().map(|(_, node)| *node)
    }

    /// Whether a node is listed or aside.
    pub fn knows(&self, node: &NodeId) -> bool {
        self.held(node).is_some()
    }

    fn held(&self, node: &NodeId) -> Option<&Listed> {
        self.nodes.get(node).or_else(|| self.aside.get(node))
    }

    /// Number of listed nodes and those aside.
    pub fn count_known(&self) -> usize {
        self.by_expiry.len()
    }

    /// Whether nothing is kept aside: then no room can be made.
    pub(crate) fn none_aside(&self) -> bool {
        self.aside.is_empty()
    }

    /// The provider of a node that is listed or aside, by the chain's word of then.
    pub fn provider_of(&self, node: &NodeId) -> Option<ProviderId> {
        self.held(node).map(|held| held.provider)
    }

    /// A provider's nodes, listed and aside.
    pub fn nodes_of(&self, provider: ProviderId) -> Vec<NodeId> {
        let from = (provider, NodeId::default());
        let range = self.by_provider.range(from..).take_while(|(of, _)| *of == provider);
        range.map(|(_, node)| *node).collect()
    }

    /// What is stored of a node.
    pub(crate) fn row(&self, node: &NodeId) -> Stored {
        match self.held(node) {
            Some(held) => Stored::Put {
                node: *node,
                provider: held.provider,
                sealed: held.descriptor.sealed().to_vec(),
            },
            None => Stored::Delete(*node),
        }
    }

    /// How a descriptor relates to what is known; older ones are refused.
    pub(crate) fn compare(&self, descriptor: &VerifiedDescriptor) -> Result<Novelty, Rejected> {
        let node = descriptor.node();
        let Some(held) = self.held(&node) else { return Ok(Novelty::Unknown) };
        let known = held.descriptor.body().version();
        if descriptor.body().version() > known {
            return Ok(Novelty::Newer);
        }
        if descriptor.sealed() != held.descriptor.sealed() {
            return Err(Rejected::Stale { boot: known.0.0, sequence: known.1 });
        }
        Ok(if self.nodes.contains_key(&node) { Novelty::Listed } else { Novelty::Aside })
    }

    /// Lists a descriptor in the place of the node's older one.
    pub(crate) fn put(&mut self, descriptor: VerifiedDescriptor, provider: ProviderId) {
        let node = descriptor.node();
        self.take_out(&node);
        let gpus = self.index.gpus_of(&descriptor);
        self.insert(node, Listed { descriptor, provider, gpus });
    }

    fn insert(&mut self, node: NodeId, listed: Listed) {
        self.by_expiry.insert((listed.descriptor.expires_at(), node));
        self.by_provider.insert((listed.provider, node));
        self.index.insert(node, &listed);
        self.nodes.insert(node, listed);
        self.log.push(node, None);
    }

    /// Removes what has expired.
    pub(crate) fn expire(&mut self, now: Timestamp) -> Vec<NodeId> {
        let mut removed = Vec::new();
        while let Some((expires_at, node)) = self.by_expiry.first().copied() {
            if expires_at > now {
                break;
            }
            self.forget(node);
            removed.push(node);
        }
        removed
    }

    fn forget(&mut self, node: NodeId) {
        let was_listed = self.nodes.contains_key(&node);
        self.take_out(&node);
        if was_listed {
            self.log.push(node, Some("expired"));
        }
    }

    /// Makes room: of those aside, the one that expires first is forgotten. `None` when nothing is aside.
    pub(crate) fn forget_aside(&mut self) -> Option<NodeId> {
        let node = self.known().find(|node| self.aside.contains_key(node))?;
        self.forget(node);
        Some(node)
    }

    /// The chain knows this node, as this provider's, with enough stake. Whether that changed anything.
    pub(crate) fn vouched(&mut self, node: NodeId, provider: ProviderId) -> bool {
        if self.nodes.get(&node).is_some_and(|listed| listed.provider == provider) {
            return false;
        }
        let Some(listed) = self.take_out(&node) else { return false };
        self.insert(node, Listed { provider, ..listed });
        true
    }

    /// The chain does not know this node, or its stake is short. Whether that changed anything.
    pub(crate) fn disowned(&mut self, node: NodeId) -> bool {
        let Some(listed) = self.nodes.remove(&node) else { return false };
        self.index.remove(node, &listed);
        self.aside.insert(node, listed);
        self.log.push(node, Some("deregistered"));
        true
    }

    fn take_out(&mut self, node: &NodeId) -> Option<Listed> {
        let held = match self.nodes.remove(node) {
            Some(listed) => {
                self.index.remove(*node, &listed);
                listed
            }
            None => self.aside.remove(node)?,
        };
        self.by_expiry.remove(&(held.descriptor.expires_at(), *node));
        self.by_provider.remove(&(held.provider, *node));
        Some(held)
    }

    /// Changes after a cursor, each node as it is now: at most `limit`, of so many bytes together, about, but always one.
    pub fn changes(&self, after: Option<Cursor>, limit: usize, most_bytes: usize) -> ChangesPage {
        match after.map(|cursor| self.log.since(cursor, limit)) {
            None | Some(Since::Resync) => {
                ChangesPage { changes: Vec::new(), cursor: self.cursor(), resync: true }
            }
            Some(Since::Changes(logged, end)) => {
                let (mut changes, mut left, mut cursor) = (Vec::new(), most_bytes, end);
                // Those that do not fit are told next time.
                cursor.position -= u64::try_from(logged.len()).unwrap_or(cursor.position);
                for change in logged {
                    let told = match (change.removed, self.nodes.get(&change.node)) {
                        (_, Some(listed)) => {
                            let size = listed.told_bytes();
                            if size > left && !changes.is_empty() {
                                break;
                            }
                            left = left.saturating_sub(size);
                            Some(DirectoryChange::Updated { entry: Box::new(listed.entry()) })
                        }
                        (Some(reason), None) => {
                            Some(DirectoryChange::Removed { node: change.node, reason: reason.to_owned() })
                        }
                        // Updated and removed since: the removal follows in the log.
                        (None, None) => None,
                    };
                    changes.extend(told);
                    cursor.position = change.position;
                }
                ChangesPage { changes, cursor, resync: false }
            }
        }
    }

    /// Whether what is kept twice agrees: for tests.
    #[cfg(test)]
    pub(crate) fn check(&self) {
        let held = || self.nodes.iter().chain(&self.aside);
        assert!(self.nodes.keys().all(|node| !self.aside.contains_key(node)));
        let by_expiry: BTreeSet<_> =
            held().map(|(node, held)| (held.descriptor.expires_at(), *node)).collect();
        let by_provider: BTreeSet<_> = held().map(|(node, held)| (held.provider, *node)).collect();
        assert_eq!((&self.by_expiry, &self.by_provider), (&by_expiry, &by_provider));
        self.index.check(&self.nodes);
    }
}

impl Listed {
    /// Bytes that it has when it is told: no fewer than it comes to, whatever signs its models have.
    pub(crate) fn told_bytes(&self) -> usize {
        let models: usize =
            self.gpus.iter().filter_map(|(model, _)| model.as_ref()).map(|model| model.len()).sum();
        2 * self.descriptor.sealed().len() + 6 * models + 512
    }

    /// As it is told over HTTP.
    pub fn entry(&self) -> DirectoryEntry {
        let body = self.descriptor.body();
        let gpus = &body.specs.gpus;
        let mut models: Vec<String> = gpus.iter().filter_map(|gpu| gpu.model.clone()).collect();
        models.sort_unstable();
        models.dedup();
        DirectoryEntry {
            node: body.node,
            provider: self.provider,
            pool: self.descriptor.pool(),
            gpu_models: models,
            gpus: u32::try_from(gpus.len()).unwrap_or(u32::MAX),
            gpu_memory: gpus.iter().filter_map(|gpu| gpu.memory).min().unwrap_or(Bytes(0)),
            boot: body.boot,
            sequence: body.sequence,
            expires_at: self.descriptor.expires_at(),
            descriptor: self.descriptor.sealed().to_vec(),
        }
    }
}
