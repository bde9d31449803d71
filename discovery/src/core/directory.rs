//! Listed descriptors: of two descriptors of a node the one with the higher (boot, sequence) counts; each leaves when
//! it expires.
//!
//! While the chain does not vouch for a node, its descriptor is kept aside: nobody sees it. When the chain vouches again
//! (stake was added, a block was replaced), it is listed again, and the node need not say anything.

use std::collections::{BTreeMap, BTreeSet};

use lode_protocol::cursor::Cursor;
use lode_protocol::descriptor::{MAX_DESCRIPTOR_LIFETIME, NodeDescriptor};
use lode_protocol::directory::{ChangesPage, DirectoryChange, DirectoryEntry};
use lode_protocol::ids::{NodeId, PoolId, ProviderId};
use lode_protocol::units::{Bytes, Timestamp};

use super::log::{ChangeLog, Since};

/// A descriptor whose signature was verified and whose node the chain knows.
#[derive(Clone, Debug)]
pub struct Verified {
    /// The descriptor.
    pub descriptor: NodeDescriptor,
    /// As it was signed.
    pub sealed: Vec<u8>,
    /// Pool that it is meant for.
    pub pool: PoolId,
    /// The node's provider, by the chain.
    pub provider: ProviderId,
}

/// A listed node.
#[derive(Clone, Debug)]
pub struct Listed {
    /// What was verified.
    pub verified: Verified,
    /// When it leaves.
    pub expires_at: Timestamp,
}

/// Why a descriptor was not listed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotListed {
    /// A newer one, or another one of the same version, is listed.
    #[error(
        "a descriptor of boot {boot}, sequence {sequence} is listed already: publish one with a higher sequence"
    )]
    Stale {
        /// Boot of the listed one.
        boot: u64,
        /// Sequence of the listed one.
        sequence: u64,
    },
    /// It expires too late, or before it was issued, or has expired.
    #[error("the descriptor's lifetime is not acceptable: it must end in the future, within 24 hours")]
    Lifetime,
}

/// What has to be made durable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stored {
    /// This node's sealed descriptor.
    Put(NodeId, Vec<u8>),
    /// No longer this node's.
    Delete(NodeId),
}

/// The directory.
#[derive(Clone, Debug)]
pub struct Directory {
    nodes: BTreeMap<NodeId, Listed>,
    aside: BTreeMap<NodeId, Listed>,
    // Of listed nodes and of those aside.
    by_expiry: BTreeSet<(Timestamp, NodeId)>,
    by_provider: BTreeSet<(ProviderId, NodeId)>,
    log: ChangeLog,
}

impl Directory {
    /// An empty directory; see [`ChangeLog::new`].
    pub fn new(incarnation: u64, retention: usize) -> Self {
        Self {
            nodes: BTreeMap::new(),
            aside: BTreeMap::new(),
            by_expiry: BTreeSet::new(),
            by_provider: BTreeSet::new(),
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

    /// One node.
    pub fn get(&self, node: &NodeId) -> Option<&Listed> {
        self.nodes.get(node)
    }

    /// Nodes after `after`, in the order of their ids.
    pub fn after(&self, after: Option<NodeId>) -> impl Iterator<Item = (&NodeId, &Listed)> {
        use std::ops::Bound;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.nodes.range((from, Bound::Unbounded))
    }

    /// Listed nodes and those aside.
    pub fn known(&self) -> Vec<NodeId> {
        self.nodes.keys().chain(self.aside.keys()).copied().collect()
    }

    /// Whether a node is listed or aside.
    pub fn knows(&self, node: &NodeId) -> bool {
        self.nodes.contains_key(node) || self.aside.contains_key(node)
    }

    /// Number of descriptors held.
    pub fn held(&self) -> usize {
        self.nodes.len() + self.aside.len()
    }

    /// Nodes of a provider, listed or aside.
    pub fn nodes_of(&self, provider: ProviderId) -> Vec<NodeId> {
        let first = (provider, NodeId::default());
        self.by_provider
            .range(first..)
            .take_while(|(owner, _)| *owner == provider)
            .map(|(_, node)| *node)
            .collect()
    }

    /// Lists a descriptor. The same one again changes nothing.
    pub fn publish(&mut self, now: Timestamp, verified: Verified) -> Result<Option<Stored>, NotListed> {
        let descriptor = &verified.descriptor;
        let expires_at = descriptor.expires_at;
        if expires_at <= now || expires_at > now.plus(MAX_DESCRIPTOR_LIFETIME) {
            return Err(NotListed::Lifetime);
        }
        let node = descriptor.node;
        if let Some(known) = self.nodes.get(&node).or_else(|| self.aside.get(&node)) {
            let version = known.verified.descriptor.version();
            if known.verified.sealed == verified.sealed {
                self.vouched(node, verified.provider);
                return Ok(None);
            }
            if descriptor.version() <= version {
                return Err(NotListed::Stale { boot: version.0.0, sequence: version.1 });
            }
        }
        self.take_out(&node);
        self.by_expiry.insert((expires_at, node));
        self.by_provider.insert((verified.provider, node));
        let stored = Stored::Put(node, verified.sealed.clone());
        self.nodes.insert(node, Listed { verified, expires_at });
        self.log.push(node, None);
        Ok(Some(stored))
    }

    /// Removes what has expired.
    pub fn expire(&mut self, now: Timestamp) -> Vec<Stored> {
        let mut removed = Vec::new();
        while let Some((expires_at, node)) = self.by_expiry.first().copied() {
            if expires_at > now {
                break;
            }
            removed.extend(self.forget(node));
        }
        removed
    }

    fn forget(&mut self, node: NodeId) -> Option<Stored> {
        let was_listed = self.nodes.contains_key(&node);
        self.take_out(&node)?;
        if was_listed {
            self.log.push(node, Some("expired"));
        }
        Some(Stored::Delete(node))
    }

    /// Makes room: of those aside, the one that expires first is forgotten. `None` when nothing is aside.
    pub fn forget_aside(&mut self) -> Option<Stored> {
        let node = self.by_expiry.iter().map(|(_, node)| *node).find(|node| self.aside.contains_key(node))?;
        self.forget(node)
    }

    /// When the next descriptor expires.
    pub fn next_expiry(&self) -> Option<Timestamp> {
        self.by_expiry.first().map(|(at, _)| *at)
    }

    /// The chain knows this node, as this provider's, with enough stake. Whether that changed anything.
    pub fn vouched(&mut self, node: NodeId, provider: ProviderId) -> bool {
        let is_as_listed =
            |listed: Option<&Listed>| listed.is_some_and(|listed| listed.verified.provider == provider);
        if is_as_listed(self.nodes.get(&node)) {
            return false;
        }
        let Some(mut listed) = self.take_out(&node) else { return false };
        listed.verified.provider = provider;
        self.by_expiry.insert((listed.expires_at, node));
        self.by_provider.insert((provider, node));
        self.nodes.insert(node, listed);
        self.log.push(node, None);
        true
    }

    /// The chain does not know this node, or its stake is short. Whether that changed anything.
    pub fn disowned(&mut self, node: NodeId) -> bool {
        let Some(listed) = self.nodes.remove(&node) else { return false };
        self.aside.insert(node, listed);
        self.log.push(node, Some("deregistered"));
        true
    }

    fn take_out(&mut self, node: &NodeId) -> Option<Listed> {
        let listed = self.nodes.remove(node).or_else(|| self.aside.remove(node))?;
        self.by_expiry.remove(&(listed.expires_at, *node));
        self.by_provider.remove(&(listed.verified.provider, *node));
        Some(listed)
    }

    /// Changes after a cursor, each node as it is now.
    pub fn changes(&self, after: Option<Cursor>, limit: usize) -> ChangesPage {
        match after.map(|cursor| self.log.since(cursor, limit)) {
            None | Some(Since::Resync) => {
                ChangesPage { changes: Vec::new(), cursor: self.cursor(), resync: true }
            }
            Some(Since::Changes(logged, cursor)) => {
                let changes = logged.into_iter().filter_map(|change| {
                    match (change.removed, self.nodes.get(&change.node)) {
                        (_, Some(listed)) => {
                            Some(DirectoryChange::Updated { entry: Box::new(listed.entry()) })
                        }
                        (Some(reason), None) => {
                            Some(DirectoryChange::Removed { node: change.node, reason: reason.to_owned() })
                        }
                        // Updated and removed since: the removal follows in the log.
                        (None, None) => None,
                    }
                });
                ChangesPage { changes: changes.collect(), cursor, resync: false }
            }
        }
    }
}

impl Listed {
    /// As it is told over HTTP.
    pub fn entry(&self) -> DirectoryEntry {
        let Verified { descriptor, sealed, pool, provider } = &self.verified;
        let gpus = &descriptor.specs.gpus;
        let mut models: Vec<String> = gpus.iter().filter_map(|gpu| gpu.model.clone()).collect();
        models.sort_unstable();
        models.dedup();
        DirectoryEntry {
            node: descriptor.node,
            provider: *provider,
            pool: *pool,
            gpu_models: models,
            gpus: u32::try_from(gpus.len()).unwrap_or(u32::MAX),
            gpu_memory: gpus.iter().filter_map(|gpu| gpu.memory).min().unwrap_or(Bytes(0)),
            boot: descriptor.boot,
            sequence: descriptor.sequence,
            expires_at: self.expires_at,
            descriptor: sealed.clone(),
        }
    }
}
