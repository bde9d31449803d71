//! What a prover commits to and what it opens. Sizes are those of [`Params`](crate::Params); see `encoding` for the bytes.

use crate::digest::Digest;
use crate::seed::SessionSeed;
use crate::walk::WalkState;
use minicbor::{Decode, Encode};

/// What the node signs: the session and both roots. Final once the first one of a session was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(array)]
pub struct Commit {
    #[n(0)]
    pub session_seed: SessionSeed,
    #[n(1)]
    pub walk_root: Digest,
    #[n(2)]
    pub gemm_root: Digest,
}

/// One row of C under the GEMM root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowOpening {
    pub row: u64,
    /// `width` entries.
    pub entries: Vec<i32>,
    /// Siblings from the leaf upwards.
    pub path: Vec<Digest>,
}

/// The end states of one walk under the WALK root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalkOpening {
    pub walker: u64,
    /// One state per interval; the start state is derivable and not part of it.
    pub states: Vec<WalkState>,
    /// Siblings from the leaf upwards.
    pub path: Vec<Digest>,
}

/// Everything a verifier asked for, in the order it asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    pub rows: Vec<RowOpening>,
    pub walks: Vec<WalkOpening>,
}

/// The content of a walk's leaf.
pub(crate) fn state_bytes(states: &[WalkState]) -> Vec<u8> {
    states.iter().flat_map(|state| state.to_bytes()).collect()
}
