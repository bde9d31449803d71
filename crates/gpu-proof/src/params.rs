//! The sizes of a proof and their canonical hash.
//!
//! Invariant: after [`Params::check`] every product of two fields used in this crate fits its type, the int32
//! product cannot overflow (`k · 2^14 ≤ 2^30`) and no Merkle leaf has the length of a node (65 bytes).

use crate::digest::{Digest, derive};
use crate::error::ProofError;
use minicbor::{Decode, Encode};

/// Bytes of one dataset line.
const LINE_BYTES: u64 = 64;

/// The sizes of one proof; what [`Params::hash`] covers is registered on chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(array)]
pub struct Params {
    /// Rows of A and C. The dataset has `rows · depth` bytes.
    #[n(0)]
    pub rows: u64,
    /// Columns of A, inner dimension of the product (k), in int8 entries.
    #[n(1)]
    pub depth: u32,
    /// Columns of C (n), in int32 entries.
    #[n(2)]
    pub width: u32,
    /// How often the ChaCha8 core is applied to make one line (h).
    #[n(3)]
    pub line_rounds: u32,
    /// Independent walks.
    #[n(4)]
    pub walkers: u64,
    /// Recorded intervals of each walk.
    #[n(5)]
    pub intervals: u32,
    /// Steps (64-byte reads) of each interval.
    #[n(6)]
    pub steps: u32,
    /// Rows that are opened.
    #[n(7)]
    pub row_openings: u32,
    /// Walks that are opened, of each of which one interval is replayed.
    #[n(8)]
    pub walk_openings: u32,
}

impl Params {
    /// For continuous integration and pools without real GPUs: some ten milliseconds on one CPU core.
    pub const TINY: Self = Self {
        rows: 256,
        depth: 128,
        width: 256,
        line_rounds: 4,
        walkers: 64,
        intervals: 8,
        steps: 64,
        row_openings: 64,
        walk_openings: 40,
    };

    /// 128 GiB of dataset for a GPU with 141 GB.
    pub const H200_141: Self = Self {
        rows: 1 << 23,
        depth: 16_384,
        width: 16_384,
        line_rounds: 32,
        walkers: 1 << 18,
        intervals: 64,
        steps: 4096,
        row_openings: 64,
        walk_openings: 40,
    };

    /// 72 GiB of dataset for a GPU with 80 GB. Not a power of two: its tree is padded (see [`crate::merkle`]).
    pub const H100_80: Self = Self { rows: 4_718_592, ..Self::H200_141 };

    /// Refuses sizes that the arithmetic, the encodings or a verifier cannot bear.
    ///
    /// # Errors
    /// [`ProofError::Params`] names the first field out of range.
    pub fn check(&self) -> Result<(), ProofError> {
        let within = |field, value: u64, low: u64, high: u64, rule| {
            if (low..=high).contains(&value) {
                Ok(())
            } else {
                Err(ProofError::Params { field, value, rule })
            }
        };
        let multiple = |field, value: u32, of: u32, rule| {
            if value.is_multiple_of(of) {
                Ok(())
            } else {
                Err(ProofError::Params { field, value: value.into(), rule })
            }
        };
        within("rows", self.rows, 1, 1 << 32, "1 to 2^32")?;
        within("depth", self.depth.into(), 64, 1 << 16, "64 to 65536")?;
        multiple("depth", self.depth, 64, "a multiple of 64, so that a row is whole lines")?;
        within("width", self.width.into(), 16, 1 << 16, "16 to 65536")?;
        multiple("width", self.width, 16, "a multiple of 16, which int8 tensor cores need")?;
        within("line_rounds", self.line_rounds.into(), 1, 1024, "1 to 1024")?;
        within("walkers", self.walkers, 1, 1 << 24, "1 to 2^24")?;
        within("intervals", self.intervals.into(), 1, 1024, "1 to 1024")?;
        within("steps", self.steps.into(), 1, 1 << 16, "1 to 65536")?;
        within(
            "row_openings",
            self.row_openings.into(),
            1,
            self.rows.min(1024),
            "1 to 1024, at most all rows",
        )?;
        within(
            "walk_openings",
            self.walk_openings.into(),
            1,
            self.walkers.min(1024),
            "1 to 1024, at most all walkers",
        )
    }

    /// The hash registered on chain: `derive_key("gpu-proof v1 params", …)` over the fields in the order of
    /// their numbers, each a length-prefixed u64 in little-endian form.
    #[must_use]
    pub fn hash(&self) -> Digest {
        let fields = [
            self.rows,
            self.depth.into(),
            self.width.into(),
            self.line_rounds.into(),
            self.walkers,
            self.intervals.into(),
            self.steps.into(),
            self.row_openings.into(),
            self.walk_openings.into(),
        ]
        .map(u64::to_le_bytes);
        derive("gpu-proof v1 params", &fields.each_ref().map(|field| field.as_slice()))
    }

    /// Lines in one row of A.
    #[must_use]
    pub const fn lines_per_row(&self) -> u64 {
        self.depth as u64 / LINE_BYTES
    }

    /// Lines in the dataset.
    #[must_use]
    pub const fn lines(&self) -> u64 {
        self.rows.saturating_mul(self.lines_per_row())
    }

    /// Bytes of the dataset: the GPU memory this proof shows.
    #[must_use]
    pub const fn dataset_bytes(&self) -> u64 {
        self.lines().saturating_mul(LINE_BYTES)
    }

    /// Random 64-byte reads of the WALK phase.
    #[must_use]
    pub const fn walk_reads(&self) -> u64 {
        self.walkers.saturating_mul(self.intervals as u64).saturating_mul(self.steps as u64)
    }

    /// Integer operations of the GEMM phase (a multiplication and an addition count as two).
    #[must_use]
    pub const fn gemm_operations(&self) -> u64 {
        self.rows.saturating_mul(2).saturating_mul(self.depth as u64).saturating_mul(self.width as u64)
    }

    /// Bytes of one row of C.
    #[must_use]
    pub const fn row_bytes(&self) -> usize {
        self.width as usize * 4
    }

    /// Bytes of the end states of one walk.
    #[must_use]
    pub const fn walk_bytes(&self) -> usize {
        self.intervals as usize * 16
    }

    /// The largest absolute value an entry of C can have: `k · 2^14`.
    #[must_use]
    pub const fn entry_limit(&self) -> i32 {
        // depth ≤ 2^16, so this is at most 2^30
        (self.depth as i32) << 14
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_named_parameters_are_valid_and_have_the_documented_sizes() {
        for params in [Params::TINY, Params::H200_141, Params::H100_80] {
            params.check().unwrap();
        }
        assert_eq!(Params::H200_141.dataset_bytes(), 128 << 30);
        assert_eq!(Params::H200_141.gemm_operations(), 1 << 52);
        assert_eq!(Params::H200_141.walk_reads(), 1 << 36);
        assert_eq!(Params::H100_80.dataset_bytes(), 72 << 30);
    }

    #[test]
    fn every_field_changes_the_hash() {
        let tiny = Params::TINY;
        let changed = [
            Params { rows: 257, ..tiny },
            Params { depth: 192, ..tiny },
            Params { width: 272, ..tiny },
            Params { line_rounds: 5, ..tiny },
            Params { walkers: 65, ..tiny },
            Params { intervals: 9, ..tiny },
            Params { steps: 65, ..tiny },
            Params { row_openings: 63, ..tiny },
            Params { walk_openings: 41, ..tiny },
        ];
        for other in changed {
            assert_ne!(other.hash(), tiny.hash(), "{other:?}");
        }
    }

    #[test]
    fn sizes_out_of_range_are_named() {
        let tiny = Params::TINY;
        for (params, name) in [
            (Params { rows: 0, ..tiny }, "rows"),
            (Params { rows: u64::MAX, ..tiny }, "rows"),
            (Params { depth: 0, ..tiny }, "depth"),
            (Params { depth: 65, ..tiny }, "depth"),
            (Params { depth: 1 << 17, ..tiny }, "depth"),
            (Params { width: 17, ..tiny }, "width"),
            (Params { line_rounds: 0, ..tiny }, "line_rounds"),
            (Params { walkers: 1 << 33, ..tiny }, "walkers"),
            (Params { intervals: 0, ..tiny }, "intervals"),
            (Params { steps: 0, ..tiny }, "steps"),
            (Params { row_openings: 257, ..tiny }, "row_openings"),
            (Params { row_openings: 0, ..tiny }, "row_openings"),
            (Params { walk_openings: 65, ..tiny }, "walk_openings"),
        ] {
            match params.check() {
                Err(ProofError::Params { field, .. }) => assert_eq!(field, name),
                other => panic!("{name}: {other:?}"),
            }
        }
    }
}
