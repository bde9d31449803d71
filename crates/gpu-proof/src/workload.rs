//! The phases of a proof on a CPU, one by one. [`crate::CpuProver`] runs them in order; [`crate::attacks`] runs
//! them dishonestly.

use crate::digest::Digest;
use crate::lines::{Line, vectorized};
use crate::matrix::{extend_padded, product_row, row_bytes, transposed_matrix};
use crate::merkle::{MerkleTree, leaf_hash};
use crate::params::Params;
use crate::seed::{SessionInputs, SessionSeed};
use crate::transcript::{Opening, RowOpening, WalkOpening, state_bytes};
use crate::walk::{WalkState, walk};

/// A filled dataset and the epoch's matrix. Its parameters have been checked.
#[derive(Debug)]
pub(crate) struct Workload {
    pub(crate) params: Params,
    pub(crate) seed: SessionSeed,
    lines: Vec<Line>,
    transposed: Vec<u8>,
}

impl Workload {
    /// FILL.
    pub(crate) fn fill(params: Params, session: &SessionInputs) -> Self {
        let seed = session.seed(&params);
        let mut lines = Vec::with_capacity(params.lines() as usize);
        vectorized(
            #[inline(always)]
            || {
                seed.line_key().for_each(0, params.lines(), params.line_rounds, |line| lines.push(*line));
            },
        );
        let transposed = transposed_matrix(&params, &session.epoch().matrix_key(&params));
        Self { params, seed, lines, transposed }
    }

    /// WALK: the end states of every walker.
    pub(crate) fn walks(&self) -> Vec<Vec<WalkState>> {
        // an address is below the number of lines, by the high half of a product with it
        let read = |address: u64| self.lines[address as usize];
        (0..self.params.walkers).map(|walker| walk(&self.params, &self.seed, walker, read)).collect()
    }

    /// The WALK commitment.
    pub(crate) fn walk_tree(&self, walks: &[Vec<WalkState>]) -> MerkleTree {
        let leaves = walks.iter().map(|states| leaf_hash(&self.seed, &state_bytes(states))).collect();
        MerkleTree::new(&self.seed, leaves)
    }

    /// GEMM: one row of the product. `row` is below `params.rows`.
    pub(crate) fn product(&self, pad: &[u8; 64], row: u64) -> Vec<i32> {
        let lines_per_row = self.params.lines_per_row() as usize;
        let mut factors = Vec::with_capacity(self.params.depth as usize);
        for line in self.lines.iter().skip(row as usize * lines_per_row).take(lines_per_row) {
            extend_padded(&mut factors, line, pad);
        }
        vectorized(
            #[inline(always)]
            || product_row(&factors, &self.transposed),
        )
    }

    /// The hash of a row of the product.
    pub(crate) fn row_leaf(&self, entries: &[i32]) -> Digest {
        leaf_hash(&self.seed, &row_bytes(entries))
    }

    /// OPEN, with rows as `product` gives them. Every index must have been checked.
    pub(crate) fn open(
        rows: &[u64],
        walkers: &[u64],
        gemm_tree: &MerkleTree,
        walk_tree: &MerkleTree,
        product: impl Fn(u64) -> Vec<i32>,
        states: impl Fn(u64) -> Vec<WalkState>,
    ) -> Opening {
        Opening {
            rows: rows
                .iter()
                .map(|&row| RowOpening { row, entries: product(row), path: gemm_tree.path(row as usize) })
                .collect(),
            walks: walkers
                .iter()
                .map(|&walker| WalkOpening {
                    walker,
                    states: states(walker),
                    path: walk_tree.path(walker as usize),
                })
                .collect(),
        }
    }
}
