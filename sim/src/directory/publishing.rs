//! How nodes describe themselves to the directory: signed, renewed at half their time, again until it is acknowledged.

use std::collections::BTreeMap;

use lode_discovery_core::Rejected;
use lode_protocol::descriptor::{NodeDescriptor, Scope, VerifiedDescriptor, open};
use lode_protocol::envelope::{Addressing, Audience, Realm, seal};
use lode_protocol::hash::{Digest, keccak256};
use lode_protocol::ids::{BootCounter, NodeId};
use lode_protocol::keys::SigningKey;
use lode_protocol::units::{Millis, Timestamp};

use super::DirectoryHappening;
use crate::happening::Happening;
use crate::world::{CHAIN, POOL, POOLS, World};

/// How long a descriptor counts.
pub const LIFETIME: Millis = Millis::seconds(60);
/// Between two looks whether to publish.
const LOOK: u64 = 3_000;
/// Where descriptors count.
pub const REALM: Realm = Realm { chain: CHAIN, deployment: POOLS, pool: POOL };

/// Boot and sequence.
pub type Version = (BootCounter, u64);

/// A descriptor on its way to the directory.
#[derive(Clone, Debug)]
pub struct Publication {
    /// Node, boot and number, where somebody waits for the answer.
    pub from: Option<(usize, u64, u64)>,
    /// As it was signed.
    pub sealed: Vec<u8>,
}

/// A node's side.
#[derive(Clone, Debug, Default)]
pub struct Publisher {
    sequence: u64,
    /// The present descriptor, and when it was signed by the node's clock.
    current: Option<(Vec<u8>, Timestamp)>,
    /// Whether the directory has acknowledged it.
    pub acknowledged: bool,
}

impl Publisher {
    /// Its worker is started: what was signed before is not known any more.
    pub(crate) fn begin(&mut self) {
        self.current = None;
        self.acknowledged = false;
    }
}

/// Every descriptor that a node has ever signed.
#[derive(Debug, Default)]
pub struct Signed {
    /// Whose, and which, by the hash of the message.
    pub by_hash: BTreeMap<Digest, (NodeId, Version)>,
    /// In the order in which they were signed.
    pub all: Vec<(NodeId, Vec<u8>)>,
    /// When, by their signers' clocks.
    dated: BTreeMap<Digest, Timestamp>,
    opened: BTreeMap<Digest, VerifiedDescriptor>,
}

impl Signed {
    /// Whether a message would count now, by this clock.
    pub(crate) fn is_current(&self, sealed: &[u8], now: Timestamp) -> bool {
        let dated = self.dated.get(&keccak256(sealed));
        dated.is_some_and(|dated| *dated <= now && now < dated.plus(LIFETIME))
    }
}

/// Seals a descriptor for the pool.
pub(crate) fn sealed(key: &SigningKey, descriptor: &NodeDescriptor, now: Timestamp) -> Vec<u8> {
    let addressing = Addressing { audience: Audience::Any, realm: REALM, now, lifetime: LIFETIME };
    seal(key, addressing, descriptor).bytes
}

impl World {
    /// The one check of descriptors. Of a message that passed it once, only the time is looked at again.
    pub(crate) fn open(&mut self, sealed: &[u8], now: Timestamp) -> Option<VerifiedDescriptor> {
        let hash = keccak256(sealed);
        if let Some(known) = self.signed.opened.get(&hash)
            && known.body().issued_at <= now
            && now < known.expires_at()
        {
            return Some(known.clone());
        }
        let opened = open(sealed, Scope::Deployment(REALM), None, now).ok()?;
        self.signed.opened.insert(hash, opened.clone());
        Some(opened)
    }

    /// A worker looks whether to publish.
    pub fn publish(&mut self, number: usize, boot: u64) {
        let node = &self.nodes[number];
        if boot != node.boot || node.core.is_none() {
            return;
        }
        self.after(LOOK, Happening::Publish(number, boot));
        let now = self.clocks(0, self.nodes[number].skew).wall;
        let half = Millis(LIFETIME.0 / 2);
        let publisher = &self.nodes[number].publisher;
        let fresh = |signed: &Timestamp| *signed <= now && now.since(*signed) < half;
        if publisher.current.as_ref().is_none_or(|(_, signed)| !fresh(signed)) {
            self.describe_anew(number, now);
        }
        let node = &self.nodes[number];
        let Some((sealed, _)) = node.publisher.current.clone().filter(|_| !node.publisher.acknowledged)
        else {
            return;
        };
        if node.no_way_up {
            return;
        }
        let from = Some((number, boot, node.publisher.sequence));
        let publication = Box::new(Publication { from, sealed });
        for takes in self.journeys() {
            let arrives = DirectoryHappening::Publication(publication.clone());
            self.after(takes, Happening::Directory(arrives));
        }
    }

    fn describe_anew(&mut self, number: usize, now: Timestamp) {
        let node = &mut self.nodes[number];
        node.publisher.sequence += 1;
        node.publisher.acknowledged = false;
        let descriptor = NodeDescriptor {
            boot: BootCounter(node.boot),
            sequence: node.publisher.sequence,
            issued_at: now,
            expires_at: now.plus(LIFETIME),
            ..node.descriptor()
        };
        let sealed = sealed(&node.key, &descriptor, now);
        node.publisher.current = Some((sealed.clone(), now));
        let (id, version) = (node.id, descriptor.version());
        self.signed.by_hash.insert(keccak256(&sealed), (id, version));
        self.signed.dated.insert(keccak256(&sealed), now);
        self.signed.all.push((id, sealed));
    }

    /// The directory has decided on a publication.
    pub(crate) fn directory_answers(&mut self, publication: &Publication, outcome: &Result<(), Rejected>) {
        if outcome.is_ok() {
            self.is_acknowledged(publication);
        }
        let Some((node, boot, number)) = publication.from else { return };
        if let Err(rejected) = outcome {
            self.note(|| format!("directory refuses node {node}: {rejected}"));
            self.is_refused(node, publication, rejected);
        }
        if self.nodes[node].no_way_down {
            return;
        }
        for takes in self.journeys() {
            self.after(takes, Happening::Answered(node, boot, number, outcome.is_ok()));
        }
    }

    /// The directory's answer has come.
    pub fn publication_answered(&mut self, number: usize, boot: u64, sequence: u64, taken: bool) {
        let node = &mut self.nodes[number];
        if node.boot == boot && node.publisher.sequence == sequence && taken {
            node.publisher.acknowledged = true;
        }
    }
}
