//! Messages of the GPU proof between validators and nodes. What the openings contain is the proof crate's business:
//! here they are bytes.
//!
//! `Prepare → Ready | Busy | Declined`, `Start → Committed (walk) → Committed (product)`, `Open → Opened`, `Verdict`.
//!
//! What a node signs names what it answers, by the digest that the validator signed ([`crate::envelope::Opened::digest`]):
//! `Start` names its `Prepare`, both commits name their `Start`, the product's commit names the walk's root, an opening
//! names its `Start` and its `Open`. So each signature stands in one conversation and in no other: neither side can put
//! another question before an answer afterwards. A node that is asked something unbound does not answer.

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::envelope::{Purpose, Signable};
use crate::error_code::ErrorCode;
use crate::hash::Digest;
use crate::ids::{AssignmentId, GpuUuid, Nonce};
use crate::units::{Millis, Timestamp};

/// Number of a proof class in the class registry.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode, Serialize, Deserialize,
)]
#[cbor(transparent)]
#[serde(transparent)]
pub struct ProofClassId(#[n(0)] pub u32);

/// Rows and walks of one GPU that a validator wants to see.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Selection {
    /// Which GPU.
    #[n(0)]
    pub gpu: GpuUuid,
    /// Rows of the product.
    #[n(1)]
    pub rows: Vec<u64>,
    /// Walks (the interval that is checked stays the validator's secret).
    #[n(2)]
    pub walkers: Vec<u64>,
}

/// What a validator says.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Challenge {
    /// Get ready to prove these GPUs at `start_at`.
    #[n(0)]
    Prepare {
        /// Names this run.
        #[n(0)]
        run: Nonce,
        /// The validators' epoch.
        #[n(1)]
        epoch: u64,
        /// Class to be proven.
        #[n(2)]
        class: ProofClassId,
        /// Hash of the class's parameters: both sides must mean the same.
        #[n(3)]
        parameters: Digest,
        /// GPUs to be proven, all at one instant.
        #[n(4)]
        gpus: Vec<GpuUuid>,
        /// When it will start, by the validator's clock; information only.
        #[n(5)]
        start_at: Timestamp,
    },
    /// Now.
    #[n(1)]
    Start {
        /// The run.
        #[n(0)]
        run: Nonce,
        /// Public randomness of the epoch.
        #[n(1)]
        beacon: Digest,
        /// The committee's randomness.
        #[n(2)]
        nonce: Digest,
        /// The `Prepare` that it follows: class, parameters and GPUs are those. Missing before evidence was kept.
        #[n(3)]
        prepare: Option<Digest>,
    },
    /// Show these rows and walks.
    #[n(2)]
    Open {
        /// The run.
        #[n(0)]
        run: Nonce,
        /// What to show.
        #[n(1)]
        selections: Vec<Selection>,
    },
    /// How it was judged.
    #[n(3)]
    Verdict {
        /// The run.
        #[n(0)]
        run: Nonce,
        /// One judgement per GPU.
        #[n(1)]
        gpus: Vec<GpuVerdict>,
    },
}

/// How one GPU was judged.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, Serialize, Deserialize)]
pub struct GpuVerdict {
    /// Which GPU.
    #[n(0)]
    pub gpu: GpuUuid,
    /// Why it failed: the check and what it saw; `None` is a pass.
    #[n(1)]
    pub failure: Option<ProofFailure>,
    /// Time from start to the last commit, by the validator's clock.
    #[n(2)]
    pub elapsed: Millis,
}

/// Which check failed.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, Serialize, Deserialize)]
pub struct ProofFailure {
    /// Stable code, like `proof/freivalds`.
    #[n(0)]
    pub code: ErrorCode,
    /// In words.
    #[n(1)]
    pub message: String,
}

/// Phase of a commit.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum Phase {
    /// Memory was filled and walked.
    #[n(0)]
    Walk,
    /// The product was computed.
    #[n(1)]
    Product,
}

/// The opened rows and walks of one GPU.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct GpuOpening {
    /// Which GPU.
    #[n(0)]
    pub gpu: GpuUuid,
    /// The opening as the proof crate encodes it.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub opening: Vec<u8>,
}

/// What a node answers.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Answer {
    /// The GPUs are free and the provers wait.
    #[n(0)]
    Ready {
        /// The run.
        #[n(0)]
        run: Nonce,
    },
    /// The GPUs are at work for the pool.
    #[n(1)]
    Busy {
        /// The run.
        #[n(0)]
        run: Nonce,
        /// Assignments that hold GPUs.
        #[n(1)]
        assignments: Vec<AssignmentId>,
    },
    /// The node cannot take part.
    #[n(2)]
    Declined {
        /// The run.
        #[n(0)]
        run: Nonce,
        /// Why.
        #[n(1)]
        failure: ProofFailure,
    },
    /// A commit of one GPU.
    #[n(3)]
    Committed {
        /// The run.
        #[n(0)]
        run: Nonce,
        /// Which GPU.
        #[n(1)]
        gpu: GpuUuid,
        /// Which phase.
        #[n(2)]
        phase: Phase,
        /// Merkle root.
        #[n(3)]
        root: Digest,
        /// The `Start` that it answers. Missing before evidence was kept.
        #[n(4)]
        start: Option<Digest>,
        /// In the product's commit: the root of the walk that the product follows.
        #[n(5)]
        walk: Option<Digest>,
    },
    /// What was asked to be shown.
    #[n(4)]
    Opened {
        /// The run.
        #[n(0)]
        run: Nonce,
        /// One opening; a message holds one GPU's, so that sizes stay bounded.
        #[n(1)]
        opening: GpuOpening,
        /// The `Start` of what is opened. Missing before evidence was kept.
        #[n(2)]
        start: Option<Digest>,
        /// The `Open` that it answers.
        #[n(3)]
        demand: Option<Digest>,
    },
}

impl Signable for Challenge {
    const PURPOSE: Purpose = Purpose::Challenge;
    const MAX_BYTES: usize = 256 << 10;
}

impl Signable for Answer {
    const PURPOSE: Purpose = Purpose::Answer;
    const MAX_BYTES: usize = 8 << 20;
}
