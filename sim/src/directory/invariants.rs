//! What must hold of the directory after every step, whoever publishes what, and at the end.

use std::collections::BTreeMap;

use lode_discovery_core::{ChainWord, Rejected};
use lode_protocol::cursor::Cursor;
use lode_protocol::hash::keccak256;
use lode_protocol::ids::{Address, NodeId};
use lode_protocol::units::Timestamp;

use super::HOSTILE_NODES;
use super::publishing::{Publication, Version};
use crate::invariants::Broken;
use crate::world::World;

/// How long a node that is not vouched for may stay listed where nothing goes wrong: a block, a look, a question that
/// is put again because of what happened meanwhile.
const PATIENCE: u64 = 15_000;
/// Wall clocks that differ by less accept each other's descriptors.
const CLOSE: i64 = 25_000;

/// What was seen.
#[derive(Debug, Default)]
pub struct Books {
    /// The latest time that the directory's wall clock has shown.
    latest: Timestamp,
    /// The newest acknowledged descriptor of each node, and when it expires.
    acknowledged: BTreeMap<NodeId, (Version, Timestamp)>,
    /// What was listed of each node last, in this boot.
    listed: BTreeMap<NodeId, Version>,
    checked: Option<Cursor>,
    unvouched: BTreeMap<NodeId, u64>,
    /// Since when nothing keeps it from knowing what the chain says.
    able_since: u64,
}

impl Books {
    /// Its wall clock shows this.
    pub fn saw(&mut self, now: Timestamp) {
        self.latest = self.latest.max(now);
    }

    /// Something keeps it from knowing what the chain says.
    pub fn is_kept_from_the_chain(&mut self, now: u64) {
        self.able_since = now;
    }
}

impl World {
    pub(crate) fn listing_starts(&mut self) {
        let now = self.now;
        let books = &mut self.directory.books;
        books.listed.clear();
        books.checked = None;
        books.is_kept_from_the_chain(now);
    }

    /// By its clock a stored row does not count: it is nobody's promise any more.
    pub(crate) fn listing_drops(&mut self, key: &[u8]) {
        if let Ok(node) = key.try_into() {
            self.directory.books.acknowledged.remove(&NodeId(Address(node)));
        }
    }

    /// After every step.
    pub(crate) fn check_listing(&mut self) {
        let Some(core) = &self.directory.core else { return };
        let listing = core.listing();
        let (books, limit) = (&self.directory.books, self.nodes.len() + HOSTILE_NODES);
        if books.checked == Some(listing.cursor()) {
            return;
        }
        let mut broken = None;
        let mut listed = BTreeMap::new();
        for (node, entry) in listing.after(None) {
            let version = entry.descriptor.body().version();
            let signed = self.signed.by_hash.get(&keccak256(entry.descriptor.sealed()));
            if signed != Some(&(*node, version)) {
                let seen = format!("{node} never signed what is listed of it");
                broken = Some(("a stranger changes nobody's entry", seen));
            }
            if books.listed.get(node).is_some_and(|before| *before > version) {
                let seen = format!("{node}: {version:?} is listed after {:?}", books.listed.get(node));
                broken = Some(("an older descriptor never replaces a newer one", seen));
            }
            if self.number_of(*node).is_none() && !self.is_hostile(node) {
                broken = Some(("only registered nodes are listed", format!("{node} is listed")));
            }
            listed.insert(*node, version);
        }
        for (node, (version, expires_at)) in &books.acknowledged {
            let lost = !listing.knows(node) || listed.get(node).is_some_and(|listed| listed < version);
            if lost && *expires_at > books.latest {
                let seen =
                    format!("{version:?} of {node} was acknowledged, {:?} is listed", listed.get(node));
                broken = Some(("what was acknowledged is listed until it expires", seen));
            }
        }
        if listing.count_known() > limit {
            let seen = format!("{} nodes are known, {limit} may be", listing.count_known());
            broken = Some(("the directory is as large as it may be", seen));
        }
        let cursor = listing.cursor();
        self.directory.books.checked = Some(cursor);
        self.directory.books.listed.extend(listed);
        if let Some((invariant, seen)) = broken {
            self.witness.breaks(invariant, seen);
        }
    }

    /// From time to time: the chain's word counts.
    pub(crate) fn watch_listing(&mut self) {
        let Some(core) = &self.directory.core else { return };
        let listed = core.listing().after(None).map(|(node, _)| *node);
        let disowned = |node: &NodeId| !matches!(self.word(node), ChainWord::Vouched(_));
        let disowned: Vec<NodeId> = listed.filter(disowned).collect();
        if !self.chain.answers {
            self.directory.books.is_kept_from_the_chain(self.now);
        }
        let (now, books) = (self.now, &mut self.directory.books);
        books.unvouched.retain(|node, _| disowned.contains(node));
        for node in disowned {
            let since = *books.unvouched.entry(node).or_insert(now);
            if now > since.max(books.able_since) + PATIENCE {
                let seen = format!("{node} is listed, and the chain has not vouched for it since {since} ms");
                self.witness.breaks("nobody is listed for whom the chain does not vouch", seen);
                return;
            }
        }
    }

    /// Somebody was told that his descriptor is listed and durable.
    pub(crate) fn is_acknowledged(&mut self, publication: &Publication) {
        let Some((node, version)) = self.signed.by_hash.get(&keccak256(&publication.sealed)).copied() else {
            let seen = "a forged descriptor was taken".to_owned();
            return self.witness.breaks("a stranger changes nobody's entry", seen);
        };
        let wall = self.directory_clocks().wall;
        let Some(descriptor) = self.open(&publication.sealed, wall) else { return };
        let expires_at = descriptor.expires_at();
        let row = self.directory.disk.rows.get(&((), node.0.0.to_vec()));
        let stored = row.and_then(|row| self.signed.by_hash.get(&keccak256(row.get(20..)?)));
        if stored.is_none_or(|(_, stored)| *stored < version) {
            let seen = format!("{version:?} of {node} is acknowledged, {stored:?} is stored");
            self.witness.breaks("what is acknowledged is durable", seen);
        }
        let known = self.directory.books.acknowledged.entry(node).or_insert((version, expires_at));
        *known = (*known).max((version, expires_at));
    }

    /// A node's own publication was refused. What is known already may be repeated only so often: that costs it nothing.
    pub(crate) fn is_refused(&mut self, node: usize, publication: &Publication, rejected: &Rejected) {
        let listing = self.directory.core.as_ref().map(lode_discovery_core::Core::listing);
        let id = self.nodes[node].id;
        let is_news = listing.is_some_and(|listing| match listing.get(&id) {
            Some(listed) => listed.descriptor.sealed() != publication.sealed,
            // What is kept aside is nobody's to see.
            None => !listing.knows(&id),
        });
        match rejected {
            Rejected::TooOften { .. } if !is_news => {}
            Rejected::TooOften { .. } | Rejected::Full | Rejected::Busy => {
                let seen = format!("node {node} was refused: {rejected}");
                self.witness.breaks("no stranger keeps a node from publishing", seen);
            }
            Rejected::Stale { .. }
            | Rejected::Expired { .. }
            | Rejected::NotRegistered(_)
            | Rejected::NotEligible(_)
            | Rejected::ChainUnknown(_)
            | Rejected::NotStored(_) => {}
        }
    }

    /// A message that is no descriptor, or none now.
    pub(crate) fn does_not_pass(&mut self, publication: &Publication) {
        if let Some((node, _, _)) = publication.from
            && self.signed.is_current(&publication.sealed, self.directory_clocks().wall)
        {
            let seen = format!("a descriptor of node {node} is refused");
            self.witness.breaks("what a node signs passes the check", seen);
        }
    }

    /// Whether two wall clocks are so close that each accepts what the other dates.
    pub(crate) fn agree(&self, one: i64, other: i64) -> bool {
        (one - other).abs() < CLOSE
    }

    /// When nothing has gone wrong for long, who publishes is listed.
    pub(crate) fn directory_unsettled(&self) -> Option<Broken> {
        let broken = |invariant, seen| Some(Broken { invariant, seen });
        let Some(core) = &self.directory.core else {
            return broken("the directory runs in the end", "it does not".to_owned());
        };
        for (number, node) in self.nodes.iter().enumerate() {
            let vouched = matches!(self.word(&node.id), ChainWord::Vouched(_));
            let listed = core.listing().get(&node.id).is_some();
            if vouched && !listed && node.core.is_some() && self.agree(node.skew, self.directory.skew) {
                return broken("who publishes is listed in the end", format!("node {number} is not"));
            }
            if !vouched && listed {
                let seen = format!("node {number} is listed");
                return broken("nobody is listed for whom the chain does not vouch", seen);
            }
        }
        None
    }
}
