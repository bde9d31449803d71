//! Right proofs from wrong hardware, judged by the clock.
//!
//! What is modelled is time only: the factors by which FILL and WALK, and GEMM, take longer than on the reference
//! GPU of the class, from public figures of the hardware. They say what the limits would do, not what was measured.

use crate::class::{NETWORK_SLACK_MS, ProofClass, ProofScore};
use crate::error::ProofError;

/// One kind of hardware, or of sharing, that is too slow for a class of big GPUs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlowHardware {
    pub name: &'static str,
    /// Time of FILL and WALK against the reference, in percent.
    pub walk_percent: u64,
    /// Time of GEMM against the reference, in percent.
    pub gemm_percent: u64,
    /// The check that must catch it.
    pub caught_by: &'static str,
}

impl SlowHardware {
    /// The known ones.
    pub const ALL: &'static [Self] = &[
        Self {
            name: "one GPU shared by two nodes at once",
            walk_percent: 200,
            gemm_percent: 200,
            caught_by: "proof/walk-late",
        },
        Self {
            name: "15 % of the lines recomputed instead of kept",
            walk_percent: 500,
            gemm_percent: 100,
            caught_by: "proof/walk-late",
        },
        Self {
            name: "two 80 GB GPUs over a fast link",
            walk_percent: 240,
            gemm_percent: 100,
            caught_by: "proof/walk-late",
        },
        Self {
            name: "six 24 GB GPUs over PCIe",
            walk_percent: 2000,
            gemm_percent: 100,
            caught_by: "proof/walk-late",
        },
        Self {
            name: "enough memory, a seventh of the arithmetic",
            walk_percent: 100,
            gemm_percent: 670,
            caught_by: "proof/gemm-late",
        },
    ];

    /// Judges it against a class whose reference GPU needs `walk_share_percent` of its time for FILL and WALK.
    ///
    /// # Errors
    /// The limit it misses. `Ok` means that the limits are too generous.
    pub fn attempt(&self, class: &ProofClass, walk_share_percent: u64) -> Result<ProofScore, ProofError> {
        let walk = class.reference_ms * walk_share_percent / 100;
        let gemm = class.reference_ms.saturating_sub(walk);
        let walk = walk * self.walk_percent / 100 + NETWORK_SLACK_MS;
        class.judge_times(walk, walk + gemm * self.gemm_percent / 100)
    }
}
