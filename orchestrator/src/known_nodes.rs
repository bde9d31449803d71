//! Keys of nodes that hold a session: checked once, not at every beat.
//!
//! Only nodes to whom a session was granted are kept, so that the core's own limits bound who gets in. What falls out of
//! the cache costs time and nothing else: its key is checked again at each beat, its answers are signed until the next
//! session, and a beat too large for a stranger makes it open one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use lode_protocol::acknowledgement::PeerSecret;
use lode_protocol::keys::{KeyError, PublicKey, SigningKey, VerifyingKey};

/// Parts with a lock of their own: streams are served in parallel.
const SHARDS: usize = 16;
/// Keys of one generation of a shard. Two generations of all shards together hold 262,144.
const GENERATION: usize = 8_192;

/// What is known of a node besides what it says.
#[derive(Debug)]
pub struct KnownNode {
    /// Its key as it is written.
    pub public: PublicKey,
    /// Its key, ready to verify with.
    pub key: VerifyingKey,
    /// What its key and ours agree on, if it takes tagged answers.
    pub secret: Option<PeerSecret>,
}

impl KnownNode {
    /// Checks the key, and agrees with it on a secret if the node takes tagged answers.
    pub fn new(own: &SigningKey, public: PublicKey, takes_tags: bool) -> Result<Self, KeyError> {
        let secret = takes_tags.then(|| PeerSecret::agree(own, &public)).transpose()?;
        Ok(KnownNode { public, key: public.check()?, secret })
    }
}

/// The cache; clones are the same one. What was used lately stays: a full generation makes the one before it go, and what
/// is found in the older one moves to the younger.
#[derive(Clone, Debug, Default)]
pub struct KnownNodes(Arc<[Mutex<Shard>; SHARDS]>);

#[derive(Debug, Default)]
struct Shard {
    young: HashMap<PublicKey, Arc<KnownNode>>,
    old: HashMap<PublicKey, Arc<KnownNode>>,
}

impl KnownNodes {
    fn shard(&self, key: &PublicKey) -> Option<std::sync::MutexGuard<'_, Shard>> {
        // The last byte of a point is as good as random.
        let index = key.as_bytes().last().map_or(0, |byte| usize::from(*byte) % SHARDS);
        Some(self.0.get(index)?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A node that holds a session.
    pub fn get(&self, key: &PublicKey) -> Option<Arc<KnownNode>> {
        let mut shard = self.shard(key)?;
        if let Some(known) = shard.young.get(key) {
            return Some(Arc::clone(known));
        }
        let known = shard.old.remove(key)?;
        shard.put(Arc::clone(&known));
        Some(known)
    }

    /// A node was granted a session.
    pub fn put(&self, known: Arc<KnownNode>) {
        if let Some(mut shard) = self.shard(&known.public) {
            // It may take tags now where it did not before.
            shard.old.remove(&known.public);
            shard.put(known);
        }
    }
}

impl Shard {
    fn put(&mut self, known: Arc<KnownNode>) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(known.public, known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u32) -> SigningKey {
        let mut bytes = [7; 32];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        SigningKey::from_bytes(&bytes).unwrap()
    }

    fn known(number: u32) -> Arc<KnownNode> {
        Arc::new(KnownNode::new(&key(0), key(number).public(), false).unwrap())
    }

    #[test]
    fn it_holds_so_many_and_those_that_are_used_stay() {
        let nodes = KnownNodes::default();
        let favourite = known(1);
        nodes.put(Arc::clone(&favourite));
        // Other keys of the same shard, with a key that is not theirs: the cache does not look.
        let mut public = favourite.public;
        for number in 0..3 * u32::try_from(GENERATION).unwrap() {
            public.0[1..5].copy_from_slice(&number.to_be_bytes());
            nodes.put(Arc::new(KnownNode { public, key: favourite.key, secret: None }));
            assert!(nodes.get(&favourite.public).is_some(), "it is used all the time: {number}");
        }
        let shard = nodes.shard(&favourite.public).unwrap();
        assert!(shard.young.len() + shard.old.len() <= 2 * GENERATION);
    }

    #[test]
    fn a_node_that_takes_tags_since_its_last_session_is_known_so() {
        let nodes = KnownNodes::default();
        nodes.put(known(1));
        assert!(nodes.get(&key(1).public()).unwrap().secret.is_none());
        nodes.put(Arc::new(KnownNode::new(&key(0), key(1).public(), true).unwrap()));
        assert!(nodes.get(&key(1).public()).unwrap().secret.is_some());
        assert!(nodes.get(&key(2).public()).is_none());
    }
}
