//! The Merkle-sum tree of a pool's earnings, as `Rewards` checks it: one leaf per payee, every node carries the sum of
//! the leaves below it.
//!
//! Leaf: keccak256(0x00 ‖ payee ‖ cumulative). Inner node: keccak256(0x01 ‖ left hash ‖ left sum ‖ right hash ‖ right
//! sum), sums of 16 bytes. An empty place is the zero hash with sum zero. Places are for ever: a payee keeps its index
//! in all later trees, so that a root which takes something away is refuted by two paths.

use std::collections::BTreeSet;

use lode_protocol::amount::Amount;
use lode_protocol::hash::{Digest, keccak256_of};
use lode_protocol::ids::Address;
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// Highest tree that is built: more payees than any pool has.
const MAX_DEPTH: u8 = 32;

/// What one payee has earned in a pool so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, Serialize, Deserialize)]
pub struct EarningsLeaf {
    /// Who is paid.
    #[n(0)]
    pub payee: Address,
    /// Everything it has earned, what was paid included.
    #[n(1)]
    pub cumulative: Amount,
}

impl EarningsLeaf {
    /// An empty place.
    pub const NOBODY: EarningsLeaf = EarningsLeaf { payee: Address::ZERO, cumulative: Amount::ZERO };

    /// The hash that stands for it in the tree.
    pub fn hash(&self) -> Digest {
        if *self == Self::NOBODY {
            return Digest::default();
        }
        keccak256_of([&[0u8][..], self.payee.as_bytes(), &self.cumulative.0.to_be_bytes()])
    }
}

/// One element of a path: a sibling on the way to the root, with the sum of the leaves below it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Encode, Decode, Serialize, Deserialize)]
pub struct EarningsSibling {
    /// Its hash.
    #[n(0)]
    pub hash: Digest,
    /// Its sum.
    #[n(1)]
    pub sum: Amount,
}

/// Leaves that make no tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EarningsTreeError {
    /// No leaf.
    #[error("a pool without a single payee has no root of earnings")]
    Empty,
    /// Two leaves of one payee.
    #[error("payee {payee} has two places in one tree")]
    Twice {
        /// The payee.
        payee: Address,
    },
    /// The sum of all leaves is no valid amount.
    #[error("the earnings of all payees together are larger than any amount")]
    Overflow,
    /// More leaves than places.
    #[error("{count} payees are more than one tree holds")]
    TooMany {
        /// How many.
        count: usize,
    },
}

/// A complete tree.
#[derive(Clone, Debug)]
pub struct EarningsTree {
    leaves: Vec<EarningsLeaf>,
    /// From the leaves up to the root alone; what is missing at the end of a level is empty.
    levels: Vec<Vec<EarningsSibling>>,
    /// The node over nothing but empty places, by height.
    empty: Vec<EarningsSibling>,
}

impl EarningsTree {
    /// Builds the tree over payees in the order of their places.
    pub fn new(leaves: Vec<EarningsLeaf>) -> Result<Self, EarningsTreeError> {
        let mut seen = BTreeSet::new();
        if let Some(leaf) = leaves.iter().find(|leaf| !seen.insert(leaf.payee)) {
            return Err(EarningsTreeError::Twice { payee: leaf.payee });
        }
        let mut level: Vec<EarningsSibling> =
            leaves.iter().map(|leaf| EarningsSibling { hash: leaf.hash(), sum: leaf.cumulative }).collect();
        if level.is_empty() {
            return Err(EarningsTreeError::Empty);
        }
        let mut levels = Vec::new();
        let mut empty = vec![EarningsSibling::default()];
        let mut nothing = EarningsSibling::default();
        while level.len() > 1 {
            if levels.len() >= usize::from(MAX_DEPTH) {
                return Err(EarningsTreeError::TooMany { count: leaves.len() });
            }
            let mut above = Vec::with_capacity(level.len().div_ceil(2));
            for pair in level.chunks(2) {
                let left = pair.first().copied().unwrap_or(nothing);
                let right = pair.get(1).copied().unwrap_or(nothing);
                above.push(parent(&left, &right).ok_or(EarningsTreeError::Overflow)?);
            }
            nothing = parent(&nothing, &nothing).ok_or(EarningsTreeError::Overflow)?;
            empty.push(nothing);
            levels.push(std::mem::replace(&mut level, above));
        }
        levels.push(level);
        Ok(Self { leaves, levels, empty })
    }

    /// Hash of the top, as it is posted.
    pub fn root(&self) -> Digest {
        self.top().hash
    }

    /// Sum of all leaves.
    pub fn total(&self) -> Amount {
        self.top().sum
    }

    /// Height: there are 2^depth places.
    pub fn depth(&self) -> u8 {
        // There is one level per height and one for the leaves, and never more than `MAX_DEPTH` heights.
        u8::try_from(self.levels.len().saturating_sub(1)).unwrap_or(MAX_DEPTH)
    }

    /// The leaves, by place.
    pub fn leaves(&self) -> &[EarningsLeaf] {
        &self.leaves
    }

    /// The leaf at a place and the siblings on its way to the root, from the leaf upwards; `None` where nobody is.
    pub fn path(&self, index: u64) -> Option<(EarningsLeaf, Vec<EarningsSibling>)> {
        self.place(index).filter(|(leaf, _)| *leaf != EarningsLeaf::NOBODY)
    }

    /// The same for every place there is: an empty one shows that a payee has vanished from a tree.
    pub fn place(&self, index: u64) -> Option<(EarningsLeaf, Vec<EarningsSibling>)> {
        if index >> self.depth() != 0 {
            return None;
        }
        let mut place = usize::try_from(index).ok()?;
        let leaf = self.leaves.get(place).copied().unwrap_or(EarningsLeaf::NOBODY);
        let mut path = Vec::with_capacity(usize::from(self.depth()));
        for (level, nothing) in self.levels.iter().zip(&self.empty).take(usize::from(self.depth())) {
            path.push(level.get(place ^ 1).copied().unwrap_or(*nothing));
            place /= 2;
        }
        Some((leaf, path))
    }

    fn top(&self) -> EarningsSibling {
        self.levels.last().and_then(|level| level.first()).copied().unwrap_or_default()
    }
}

/// Whether the path leads from the leaf at this place to the root and its total.
pub fn verify_earnings_path(
    root: Digest,
    total: Amount,
    index: u64,
    leaf: &EarningsLeaf,
    path: &[EarningsSibling],
) -> bool {
    let mut place = index;
    let mut node = EarningsSibling { hash: leaf.hash(), sum: leaf.cumulative };
    for sibling in path {
        let above = if place & 1 == 0 { parent(&node, sibling) } else { parent(sibling, &node) };
        let Some(above) = above else { return false };
        node = above;
        place >>= 1;
    }
    // What is left of the index would name a place beside the tree.
    place == 0 && node == EarningsSibling { hash: root, sum: total }
}

/// The path as the contract reads it: 48 bytes an element.
pub fn path_bytes(path: &[EarningsSibling]) -> Vec<u8> {
    path.iter().flat_map(|sibling| sibling.hash.0.into_iter().chain(sibling.sum.0.to_be_bytes())).collect()
}

/// The node over two; `None` when its sum is no valid amount.
fn parent(left: &EarningsSibling, right: &EarningsSibling) -> Option<EarningsSibling> {
    let sum = Amount(left.sum.0.checked_add(right.sum.0)?);
    let (left_sum, right_sum) = (left.sum.0.to_be_bytes(), right.sum.0.to_be_bytes());
    let hash = keccak256_of([&[1u8][..], &left.hash.0, &left_sum, &right.hash.0, &right_sum]);
    Some(EarningsSibling { hash, sum })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn leaf(number: u32) -> EarningsLeaf {
        let mut payee = Address([0xaa; 20]);
        payee.0[..4].copy_from_slice(&number.to_be_bytes());
        EarningsLeaf { payee, cumulative: Amount(u128::from(number) * 1_000) }
    }

    fn tree(count: u32) -> EarningsTree {
        EarningsTree::new((0..count).map(leaf).collect()).unwrap()
    }

    #[test]
    fn every_leaf_of_every_size_of_tree_proves_itself_and_nothing_else() {
        for count in 1..=17u32 {
            let tree = tree(count);
            assert_eq!(tree.total(), Amount((0..count).map(|number| u128::from(number) * 1_000).sum()));
            assert!(
                1u32 << tree.depth() >= count && (tree.depth() == 0 || 1u32 << (tree.depth() - 1) < count)
            );
            for index in 0..u64::from(count) {
                let (leaf, path) = tree.path(index).unwrap();
                assert_eq!(path.len(), usize::from(tree.depth()));
                let verify = |index, leaf: &EarningsLeaf, total| {
                    verify_earnings_path(tree.root(), total, index, leaf, &path)
                };
                assert!(verify(index, &leaf, tree.total()), "{index} of {count}");
                let more = EarningsLeaf { cumulative: Amount(leaf.cumulative.0 + 1), ..leaf };
                assert!(!verify(index, &more, tree.total()));
                assert!(!verify(index, &leaf, Amount(tree.total().0 + 1)));
                assert!(!verify(index + (1 << tree.depth()), &leaf, tree.total()));
                if tree.depth() > 0 {
                    assert!(!verify(index ^ 1, &leaf, tree.total()));
                }
            }
            assert!(tree.path(u64::from(count)).is_none());
            for index in u64::from(count)..1 << tree.depth() {
                let (nobody, path) = tree.place(index).unwrap();
                assert_eq!(nobody, EarningsLeaf::NOBODY);
                assert!(verify_earnings_path(tree.root(), tree.total(), index, &nobody, &path));
            }
            assert!(tree.place(1 << tree.depth()).is_none());
        }
    }

    #[test]
    fn a_tree_of_four_is_hashed_as_the_interface_says() {
        let tree = tree(3);
        let bytes = |parts: &[&[u8]]| keccak256_of(parts.iter().copied());
        let hash_of = |number: u32| {
            let leaf = leaf(number);
            bytes(&[&[0], &leaf.payee.0, &leaf.cumulative.0.to_be_bytes()])
        };
        let sum = |value: u128| value.to_be_bytes();
        let left = bytes(&[&[1], &hash_of(0).0, &sum(0), &hash_of(1).0, &sum(1_000)]);
        let right = bytes(&[&[1], &hash_of(2).0, &sum(2_000), &[0; 32], &sum(0)]);
        let root = bytes(&[&[1], &left.0, &sum(1_000), &right.0, &sum(2_000)]);
        assert_eq!((tree.root(), tree.depth()), (root, 2));
        let (_, path) = tree.path(2).unwrap();
        let encoded = path_bytes(&path);
        assert_eq!(encoded.len(), 2 * 48);
        assert_eq!(encoded[..48], [0; 48], "an empty place is the zero hash with sum zero");
        assert_eq!(encoded[48..80], left.0);
        assert_eq!(encoded[80..], sum(1_000));
    }

    #[test]
    fn no_payee_a_doubled_payee_and_an_impossible_sum_make_no_tree() {
        assert_eq!(EarningsTree::new(vec![]).unwrap_err(), EarningsTreeError::Empty);
        let twice = EarningsTree::new(vec![leaf(1), leaf(2), leaf(1)]).unwrap_err();
        assert_eq!(twice, EarningsTreeError::Twice { payee: leaf(1).payee });
        let rich = EarningsLeaf { cumulative: Amount::MAX, ..leaf(1) };
        assert_eq!(EarningsTree::new(vec![rich]).unwrap().total(), Amount::MAX);
        let error = EarningsTree::new(vec![rich, leaf(2)]).unwrap_err();
        assert_eq!(error, EarningsTreeError::Overflow);
    }

    proptest! {
        #[test]
        fn a_path_survives_no_change(
            count in 1u32..200,
            pick in any::<prop::sample::Index>(),
            element in any::<prop::sample::Index>(),
            byte in 0usize..48,
            flip in 1u8..,
        ) {
            let tree = tree(count);
            let index = pick.index(count as usize) as u64;
            let (leaf, path) = tree.path(index).unwrap();
            prop_assert!(verify_earnings_path(tree.root(), tree.total(), index, &leaf, &path));
            if !path.is_empty() {
                let mut bent = path.clone();
                let sibling = &mut bent[element.index(path.len())];
                if byte < 32 {
                    sibling.hash.0[byte] ^= flip;
                } else {
                    sibling.sum.0 ^= u128::from(flip) << (8 * (byte - 32));
                }
                prop_assert!(!verify_earnings_path(tree.root(), tree.total(), index, &leaf, &bent));
                let shorter = &path[..path.len() - 1];
                prop_assert!(!verify_earnings_path(tree.root(), tree.total(), index, &leaf, shorter));
            }
        }
    }
}
