//! Proof classes as data: which sizes, which time limits, what was shown.
//!
//! A class is what was proven, never a product name that a node reported. Times are measured by the validator
//! from the instant it let the session start; nothing a node can influence is subtracted from them.

use crate::error::ProofError;
use crate::params::Params;
use std::fmt;

/// The number of a class, as registered on chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClassId(pub u32);

impl fmt::Display for ClassId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One class of proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProofClass {
    pub id: ClassId,
    pub name: &'static str,
    pub params: Params,
    /// T1: latest arrival of the WALK root after the start, in milliseconds.
    pub walk_limit_ms: u64,
    /// T2: latest arrival of the GEMM root after the start, in milliseconds.
    pub total_limit_ms: u64,
    /// Compute time that scores 1.00, in milliseconds.
    pub reference_ms: u64,
    /// Whether the limits come from reference runs; otherwise they are estimates from public figures.
    pub calibrated: bool,
}

/// The part of every limit that pays for the network, the same for all nodes, in milliseconds.
pub const NETWORK_SLACK_MS: u64 = 300;

/// The highest score: a GPU better than its class is not worth more than this, in basis points.
pub const SCORE_CAP_BASIS_POINTS: u32 = 10_500;

/// What a passed proof showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProofScore {
    /// Reference time over the time taken, 10 000 = as fast as the reference, at most 10 500.
    pub score_basis_points: u32,
    /// GPU memory that held the dataset, in GiB (rounded down).
    pub memory_gib: u64,
    /// Random 64-byte reads per second until the WALK root (FILL included), in millions.
    pub million_lines_per_second: u64,
    /// int8 operations per second between the two roots, in 10⁹.
    pub billion_operations_per_second: u64,
}

impl ProofClass {
    /// Every class this release knows.
    pub const ALL: &'static [Self] = &[Self::TINY, Self::H200_141, Self::H100_80];

    /// For tests and pools without GPUs. Its limits only catch a prover that hangs.
    pub const TINY: Self = Self {
        id: ClassId(1),
        name: "tiny",
        params: Params::TINY,
        walk_limit_ms: 10_000,
        total_limit_ms: 15_000,
        reference_ms: 1_000,
        calibrated: false,
    };

    /// An H200 with 141 GB, or better.
    pub const H200_141: Self = Self {
        id: ClassId(2),
        name: "h200-141",
        params: Params::H200_141,
        walk_limit_ms: 4_200,
        total_limit_ms: 8_200,
        reference_ms: 6_500,
        calibrated: false,
    };

    /// An H100 with 80 GB, or better.
    pub const H100_80: Self = Self {
        id: ClassId(3),
        name: "h100-80",
        params: Params::H100_80,
        walk_limit_ms: 4_500,
        total_limit_ms: 6_900,
        reference_ms: 5_400,
        calibrated: false,
    };

    /// The class with this number.
    #[must_use]
    pub fn by_id(id: ClassId) -> Option<Self> {
        Self::ALL.iter().copied().find(|class| class.id == id)
    }

    /// The class with this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|class| class.name == name)
    }

    /// Judges the arrival times of the two roots, in milliseconds after the start by the validator's own clock.
    ///
    /// # Errors
    /// [`ProofError::WalkLate`], [`ProofError::GemmLate`], or [`ProofError::RootOrder`] when the second root is
    /// said to have come before the first.
    pub fn judge_times(&self, walk_root_ms: u64, gemm_root_ms: u64) -> Result<ProofScore, ProofError> {
        if gemm_root_ms < walk_root_ms {
            return Err(ProofError::RootOrder { walk_ms: walk_root_ms, total_ms: gemm_root_ms });
        }
        if walk_root_ms > self.walk_limit_ms {
            return Err(ProofError::WalkLate { taken_ms: walk_root_ms, limit_ms: self.walk_limit_ms });
        }
        if gemm_root_ms > self.total_limit_ms {
            return Err(ProofError::GemmLate { taken_ms: gemm_root_ms, limit_ms: self.total_limit_ms });
        }
        let compute_ms = gemm_root_ms.saturating_sub(NETWORK_SLACK_MS).max(1);
        let score = self.reference_ms.saturating_mul(10_000) / compute_ms;
        Ok(ProofScore {
            score_basis_points: u32::try_from(score).unwrap_or(u32::MAX).min(SCORE_CAP_BASIS_POINTS),
            memory_gib: self.params.dataset_bytes() >> 30,
            million_lines_per_second: self.params.walk_reads() / walk_root_ms.max(1) / 1_000,
            billion_operations_per_second: self.params.gemm_operations()
                / gemm_root_ms.saturating_sub(walk_root_ms).max(1)
                / 1_000_000,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn class_ids_and_names_are_unique_and_found() {
        for (index, class) in ProofClass::ALL.iter().enumerate() {
            class.params.check().unwrap();
            assert_eq!(ProofClass::by_id(class.id), Some(*class));
            assert_eq!(ProofClass::by_name(class.name), Some(*class));
            assert!(class.walk_limit_ms < class.total_limit_ms);
            for other in &ProofClass::ALL[index + 1..] {
                assert!(other.id != class.id && other.name != class.name);
            }
        }
        assert_eq!(ProofClass::by_id(ClassId(0)), None);
    }

    #[test]
    fn a_root_one_millisecond_late_fails_and_one_in_time_passes() {
        let class = ProofClass::H200_141;
        assert!(class.judge_times(4_200, 8_200).is_ok());
        assert_eq!(class.judge_times(4_201, 8_200).unwrap_err().code(), "proof/walk-late");
        assert_eq!(class.judge_times(4_200, 8_201).unwrap_err().code(), "proof/gemm-late");
        assert_eq!(class.judge_times(4_200, 4_199).unwrap_err().code(), "proof/root-order");
    }

    #[test]
    fn the_score_is_the_reference_over_the_compute_time_and_is_capped() {
        let class = ProofClass::H200_141;
        assert_eq!(class.judge_times(3_500, 6_800).unwrap().score_basis_points, 10_000);
        assert_eq!(class.judge_times(1, 2).unwrap().score_basis_points, SCORE_CAP_BASIS_POINTS);
        assert_eq!(class.judge_times(0, 0).unwrap().score_basis_points, SCORE_CAP_BASIS_POINTS);
        let score = class.judge_times(3_500, 6_800).unwrap();
        assert_eq!(score.memory_gib, 128);
        assert_eq!(score.million_lines_per_second, 19_634);
        assert_eq!(score.billion_operations_per_second, 1_364_727);
    }
}
