//! The Merkle tree of one epoch's leaves, as `ValidatorSet` checks it: inner node = keccak256 of the two children,
//! smaller first; an odd last node moves up unchanged.
//!
//! Validators must build the same tree from the same leaves: leaves are sorted by node, one per node.

use lode_protocol::hash::{Digest, keccak256_of};
use lode_protocol::ids::NodeId;

use crate::leaf::Leaf;

/// A complete tree.
#[derive(Clone, Debug)]
pub struct EpochTree {
    leaves: Vec<Leaf>,
    /// From the leaves' hashes up to the root alone.
    levels: Vec<Vec<Digest>>,
}

/// Leaves that make no tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EpochTreeError {
    /// No leaf.
    #[error("an epoch without a single leaf has no root")]
    Empty,
    /// Two leaves of one node.
    #[error("node {node} has two leaves in one epoch")]
    Twice {
        /// The node.
        node: NodeId,
    },
}

impl EpochTree {
    /// Builds the tree, in whatever order the leaves come.
    pub fn new(mut leaves: Vec<Leaf>) -> Result<Self, EpochTreeError> {
        leaves.sort_by_key(|leaf| leaf.node);
        let twice = leaves.iter().zip(leaves.iter().skip(1)).find(|(left, right)| left.node == right.node);
        if let Some((leaf, _)) = twice {
            return Err(EpochTreeError::Twice { node: leaf.node });
        }
        let mut level: Vec<Digest> = leaves.iter().map(Leaf::hash).collect();
        if level.is_empty() {
            return Err(EpochTreeError::Empty);
        }
        let mut levels = Vec::new();
        while level.len() > 1 {
            let above = level
                .chunks(2)
                .map(|pair| match pair {
                    [left, right] => parent(left, right),
                    [alone] => *alone,
                    _ => Digest::default(), // chunks of two have one or two items
                })
                .collect();
            levels.push(std::mem::replace(&mut level, above));
        }
        levels.push(level);
        Ok(Self { leaves, levels })
    }

    /// The root that the validators reveal.
    pub fn root(&self) -> Digest {
        self.levels.last().and_then(|level| level.first()).copied().unwrap_or_default()
    }

    /// The leaves, sorted by node.
    pub fn leaves(&self) -> &[Leaf] {
        &self.leaves
    }

    /// A node's leaf and the siblings on its way to the root; `None` when the node has no leaf.
    pub fn path(&self, node: NodeId) -> Option<(Leaf, Vec<Digest>)> {
        let mut index = self.leaves.binary_search_by_key(&node, |leaf| leaf.node).ok()?;
        let leaf = *self.leaves.get(index)?;
        let mut path = Vec::new();
        for level in &self.levels {
            if let Some(sibling) = level.get(index ^ 1) {
                path.push(*sibling);
            }
            index /= 2;
        }
        Some((leaf, path))
    }
}

/// Whether the path leads from the leaf to the root.
pub fn verify_path(root: Digest, leaf: &Leaf, path: &[Digest]) -> bool {
    path.iter().fold(leaf.hash(), |below, sibling| parent(&below, sibling)) == root
}

fn parent(left: &Digest, right: &Digest) -> Digest {
    let (smaller, larger) = if left.0 <= right.0 { (left, right) } else { (right, left) };
    keccak256_of([&smaller.0[..], &larger.0])
}

#[cfg(test)]
mod tests {
    use lode_protocol::ids::Address;
    use lode_protocol::proof::ProofClassId;

    use super::*;
    use crate::epoch::Epoch;

    fn leaf(byte: u8) -> Leaf {
        Leaf {
            node: NodeId(Address([byte; 20])),
            class: ProofClassId(1),
            gpu_count: 8,
            uuid_set: Digest([2; 32]),
            vram_gib: 141,
            walk_score: 10_000,
            gemm_score: 9_900,
            median_millis: 812,
            pass: true,
            transcript: Digest([byte; 32]),
            expiry_epoch: Epoch(9),
        }
    }

    #[test]
    fn every_leaf_of_every_size_of_tree_proves_itself_and_nothing_else() {
        for size in 1..=17u8 {
            let tree = EpochTree::new((1..=size).rev().map(leaf).collect()).unwrap();
            for byte in 1..=size {
                let (found, path) = tree.path(leaf(byte).node).unwrap();
                assert_eq!(found, leaf(byte));
                assert!(verify_path(tree.root(), &found, &path), "{byte} of {size}");
                let forged = Leaf { gpu_count: 9, ..found };
                assert!(!verify_path(tree.root(), &forged, &path));
            }
            assert!(tree.path(leaf(size + 1).node).is_none());
        }
    }

    #[test]
    fn the_root_does_not_depend_on_the_order_of_the_leaves() {
        let forth = EpochTree::new((1..=7).map(leaf).collect()).unwrap();
        let back = EpochTree::new((1..=7).rev().map(leaf).collect()).unwrap();
        assert_eq!(forth.root(), back.root());
    }

    #[test]
    fn an_empty_epoch_and_a_doubled_node_make_no_tree() {
        assert_eq!(EpochTree::new(vec![]).unwrap_err(), EpochTreeError::Empty);
        let error = EpochTree::new(vec![leaf(1), leaf(2), leaf(1)]).unwrap_err();
        assert_eq!(error, EpochTreeError::Twice { node: leaf(1).node });
    }
}
