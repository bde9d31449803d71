//! A keyed BLAKE3 Merkle tree.
//!
//! Leaf = `BLAKE3_keyed(σ, data)`; node = `BLAKE3_keyed(σ, 0x01 ‖ left ‖ right)`. A node's input has 65 bytes and
//! a leaf's a multiple of 16, so one can never be taken for the other. A tree whose number of leaves is not a
//! power of two is filled up with all-zero hashes, which are no leaf of anything; indexes beyond the real leaves
//! are refused.

use crate::digest::Digest;
use crate::seed::SessionSeed;

/// The hash of a leaf.
#[must_use]
pub fn leaf_hash(seed: &SessionSeed, data: &[u8]) -> Digest {
    Digest(*blake3::keyed_hash(seed.0.as_bytes(), data).as_bytes())
}

fn node_hash(seed: &SessionSeed, left: &Digest, right: &Digest) -> Digest {
    let mut input = [1; 65];
    input[1..33].copy_from_slice(left.as_bytes());
    input[33..].copy_from_slice(right.as_bytes());
    Digest(*blake3::keyed_hash(seed.0.as_bytes(), &input).as_bytes())
}

/// The length of a path in a tree of so many leaves (0 for a single leaf).
#[must_use]
pub const fn path_length(leaves: u64) -> usize {
    match leaves {
        0 | 1 => 0,
        more => (u64::BITS - (more - 1).leading_zeros()) as usize,
    }
}

/// A whole tree, as a prover keeps it.
#[derive(Clone, Debug)]
pub struct MerkleTree {
    /// `levels[0]` are the leaves; a level may end where only filling follows.
    levels: Vec<Vec<Digest>>,
    /// The hash of an all-filling subtree at each level.
    filling: Vec<Digest>,
    root: Digest,
}

impl MerkleTree {
    /// A tree over these leaf hashes. Without any leaf its root is [`Digest::ZERO`].
    #[must_use]
    pub fn new(seed: &SessionSeed, leaves: Vec<Digest>) -> Self {
        let height = path_length(leaves.len() as u64);
        let mut tree = Self { levels: Vec::with_capacity(height), filling: Vec::new(), root: Digest::ZERO };
        let (mut level, mut fill) = (leaves, Digest::ZERO);
        for _ in 0..height {
            let parents = level
                .chunks(2)
                .map(|pair| match pair {
                    [left, right] => node_hash(seed, left, right),
                    [left, ..] => node_hash(seed, left, &fill),
                    [] => fill,
                })
                .collect();
            tree.levels.push(level);
            tree.filling.push(fill);
            level = parents;
            fill = node_hash(seed, &fill, &fill);
        }
        tree.root = level.first().copied().unwrap_or(Digest::ZERO);
        tree
    }

    /// The root.
    #[must_use]
    pub const fn root(&self) -> Digest {
        self.root
    }

    /// The siblings from a leaf up to below the root.
    #[must_use]
    pub fn path(&self, leaf: usize) -> Vec<Digest> {
        self.levels
            .iter()
            .zip(&self.filling)
            .enumerate()
            .map(|(height, (level, fill))| level.get((leaf >> height) ^ 1).copied().unwrap_or(*fill))
            .collect()
    }
}

/// Whether `leaf` stands at `index` of a tree with `leaves` leaves and this root.
#[must_use]
pub fn path_leads_to(
    seed: &SessionSeed,
    root: &Digest,
    leaves: u64,
    index: u64,
    leaf: Digest,
    path: &[Digest],
) -> bool {
    if index >= leaves || path.len() != path_length(leaves) {
        return false;
    }
    let top = path.iter().enumerate().fold(leaf, |hash, (height, sibling)| match (index >> height) & 1 {
        0 => node_hash(seed, &hash, sibling),
        _ => node_hash(seed, sibling, &hash),
    });
    top == *root
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: SessionSeed = SessionSeed(Digest([6; 32]));

    fn leaves(count: u8) -> Vec<Digest> {
        (0..count).map(|i| leaf_hash(&SEED, &[i; 16])).collect()
    }

    #[test]
    fn every_leaf_has_a_path_and_no_other_place_accepts_it() {
        for count in 1..=33 {
            let hashes = leaves(count);
            let tree = MerkleTree::new(&SEED, hashes.clone());
            let total = u64::from(count);
            for (index, leaf) in hashes.iter().enumerate() {
                let path = tree.path(index);
                for place in 0..total + 2 {
                    let accepted = path_leads_to(&SEED, &tree.root(), total, place, *leaf, &path);
                    assert_eq!(accepted, place == index as u64, "{count} leaves, leaf {index} at {place}");
                }
            }
        }
    }

    #[test]
    fn a_path_that_is_too_short_or_too_long_is_refused() {
        let tree = MerkleTree::new(&SEED, leaves(8));
        let (leaf, mut path) = (leaves(8)[2], tree.path(2));
        path.push(Digest::ZERO);
        assert!(!path_leads_to(&SEED, &tree.root(), 8, 2, leaf, &path));
        path.truncate(2);
        assert!(!path_leads_to(&SEED, &tree.root(), 8, 2, leaf, &path));
        // an inner node is not accepted as a leaf of a smaller tree by cutting the path
        let inner = node_hash(&SEED, &leaves(8)[2], &leaves(8)[3]);
        assert!(!path_leads_to(&SEED, &tree.root(), 8, 1, inner, &tree.path(2)[1..]));
    }

    #[test]
    fn the_filling_of_an_odd_tree_cannot_be_opened() {
        let tree = MerkleTree::new(&SEED, leaves(5));
        assert!(!path_leads_to(&SEED, &tree.root(), 5, 5, Digest::ZERO, &tree.path(5)));
    }

    #[test]
    fn path_lengths_are_the_logarithm_rounded_up() {
        assert_eq!([1, 2, 3, 4, 5, 1 << 23, 4_718_592].map(path_length), [0, 1, 2, 2, 3, 23, 23]);
    }
}
