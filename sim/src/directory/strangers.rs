//! What strangers try with the directory: names that are not theirs, what others signed, too much of everything.

use lode_protocol::descriptor::NodeDescriptor;
use lode_protocol::hardware::NodeSpecs;
use lode_protocol::hash::keccak256;
use lode_protocol::ids::{BootCounter, NodeId};
use lode_protocol::units::{Millis, Timestamp};

use super::publishing::{LIFETIME, Publication, sealed};
use super::{DirectoryHappening, HOSTILE_NODES};
use crate::happening::Happening;
use crate::world::{World, key};

/// Copies of one message that are thrown at the directory.
const FLOOD: usize = 60;
/// Descriptors that one stranger signs at a time.
const SERIES: usize = 8;
/// More labels than a descriptor may have.
const TOO_MANY_LABELS: usize = 200;

impl World {
    /// Whether the key is that of a stranger's registered node.
    pub(crate) fn is_hostile(&self, node: &NodeId) -> bool {
        (0..HOSTILE_NODES).any(|number| key(0x60, number).address() == node.0)
    }

    /// Somebody publishes who should not, or not so.
    pub fn impostor_publishes(&mut self) {
        let wall = self.clocks(0, self.directory.skew).wall;
        let victim = self.nodes[self.dice.below(self.nodes.len())].id;
        let stranger = key(0x90, self.dice.below(40));
        let owner = key(0x60, self.dice.below(HOSTILE_NODES));
        match self.dice.between(0, 7) {
            0 => {
                let descriptor = self.plain(NodeId(stranger.address()), wall);
                self.throw(sealed(&stranger, &descriptor, wall), 1);
            }
            // Somebody else's name under one's own signature.
            1 => {
                let mut descriptor = self.plain(victim, wall);
                descriptor.boot = BootCounter(1_000);
                self.throw(sealed(&owner, &descriptor, wall), 1);
            }
            // What the directory tells everybody, again and again.
            2 => {
                let listed = self.directory.core.as_ref().and_then(|core| core.listing().get(&victim));
                if let Some(listed) = listed.map(|listed| listed.descriptor.sealed().to_vec()) {
                    self.throw(listed, FLOOD);
                }
            }
            // What somebody signed once.
            3 | 4 => {
                let count = self.signed.all.len();
                if count > 0 {
                    let (_, old) = self.signed.all[self.dice.below(count)].clone();
                    self.throw(old, 2);
                }
            }
            5 => {
                let mut descriptor = self.plain(NodeId(owner.address()), wall);
                let labels = (0..TOO_MANY_LABELS).map(|number| (number.to_string(), "x".repeat(60)));
                descriptor.specs.labels = labels.collect();
                self.throw(sealed(&owner, &descriptor, wall), 1);
            }
            // A registered node that has always something new.
            6 => {
                for _ in 0..SERIES {
                    let descriptor = self.plain(NodeId(owner.address()), wall);
                    let sealed = sealed(&owner, &descriptor, wall);
                    let version = descriptor.version();
                    self.signed.by_hash.insert(keccak256(&sealed), (descriptor.node, version));
                    self.throw(sealed, 1);
                }
            }
            _ => {
                let count = self.signed.all.len();
                if count > 0 {
                    let (_, mut forged) = self.signed.all[self.dice.below(count)].clone();
                    let place = self.dice.below(forged.len());
                    forged[place] ^= 1;
                    self.throw(forged, 1);
                }
            }
        }
    }

    fn plain(&mut self, node: NodeId, now: Timestamp) -> NodeDescriptor {
        self.strangers += 1;
        NodeDescriptor {
            node,
            specs: NodeSpecs::default(),
            addresses: vec![],
            sealing_key: None,
            agent_version: "0.1.0".to_owned(),
            boot: BootCounter(1),
            sequence: self.strangers,
            issued_at: now.minus(Millis(1)),
            expires_at: now.plus(LIFETIME),
        }
    }

    fn throw(&mut self, sealed: Vec<u8>, times: usize) {
        let publication = Box::new(Publication { from: None, sealed });
        for _ in 0..times {
            let after = self.dice.between(1, 200);
            let arrives = DirectoryHappening::Publication(publication.clone());
            self.after(after, Happening::Directory(arrives));
        }
    }
}
