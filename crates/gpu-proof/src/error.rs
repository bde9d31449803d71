//! What can go wrong, each with a stable code.
//!
//! A failing node is told the code and the text of [`ProofError`]; codes are never reused.

use thiserror::Error;

/// Why a proof was refused. The first failing check in the order of [`crate::EpochVerifier::verify`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProofError {
    /// Parameters outside the ranges of [`crate::Params::check`].
    #[error("parameter `{field}` is {value}: {rule}")]
    Params { field: &'static str, value: u64, rule: &'static str },
    /// More bytes than the parameters allow; nothing was decoded.
    #[error("{what} has {bytes} bytes, at most {limit} are allowed")]
    Size { what: &'static str, bytes: u64, limit: u64 },
    /// The bytes are not the encoding of the message.
    #[error("{what} is not well-formed: {reason}")]
    Encoding { what: &'static str, reason: String },
    /// The commitment belongs to another session: another epoch, nonce, pool, node, key or GPU.
    #[error("the commitment is for session {found}, this session is {expected}")]
    SessionSeed { expected: String, found: String },
    /// Not as many openings as were asked for.
    #[error("{found} {what} were opened, {expected} were asked for")]
    OpeningCount { what: &'static str, expected: u64, found: u64 },
    /// An opening of something that was not asked for at that place.
    #[error("opening {position} of the {what} is number {found}, number {expected} was asked for")]
    OpeningIndex { what: &'static str, position: usize, expected: u64, found: u64 },
    /// An opened row, state list or Merkle path has the wrong length.
    #[error("{what} of opening {position} has {found} bytes, {expected} are due")]
    OpeningShape { what: &'static str, position: usize, expected: u64, found: u64 },
    /// An entry no product of int8 matrices of this depth can have.
    #[error("row {row} holds an entry beyond ±{limit}")]
    RowRange { row: u64, limit: u64 },
    /// The row is not the one under the committed GEMM root.
    #[error("row {row} is not under the committed GEMM root")]
    RowMerkle { row: u64 },
    /// The row is committed, and it is not the product of the two matrices.
    #[error("row {row} is not the product of the session's dataset and the epoch's matrix")]
    Freivalds { row: u64 },
    /// The states are not the ones under the committed WALK root.
    #[error("walk {walker} is not under the committed WALK root")]
    WalkMerkle { walker: u64 },
    /// The states are committed, and replaying one interval gives others.
    #[error("interval {interval} of walk {walker} ends in another state when it is replayed")]
    WalkReplay { walker: u64, interval: u32 },
    /// The WALK root came after the class's limit.
    #[error("the WALK root took {taken_ms} ms, the class allows {limit_ms} ms")]
    WalkLate { taken_ms: u64, limit_ms: u64 },
    /// The GEMM root came after the class's limit.
    #[error("the GEMM root took {taken_ms} ms, the class allows {limit_ms} ms")]
    GemmLate { taken_ms: u64, limit_ms: u64 },
    /// The roots arrived in an order that cannot happen.
    #[error("the GEMM root arrived after {total_ms} ms, before the WALK root ({walk_ms} ms)")]
    RootOrder { walk_ms: u64, total_ms: u64 },
}

impl ProofError {
    /// The stable code, `proof/reason`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Params { .. } => "proof/params",
            Self::Size { .. } => "proof/size",
            Self::Encoding { .. } => "proof/encoding",
            Self::SessionSeed { .. } => "proof/session-seed",
            Self::OpeningCount { .. } => "proof/opening-count",
            Self::OpeningIndex { .. } => "proof/opening-index",
            Self::OpeningShape { .. } => "proof/opening-shape",
            Self::RowRange { .. } => "proof/row-range",
            Self::RowMerkle { .. } => "proof/row-merkle",
            Self::Freivalds { .. } => "proof/freivalds",
            Self::WalkMerkle { .. } => "proof/walk-merkle",
            Self::WalkReplay { .. } => "proof/walk-replay",
            Self::WalkLate { .. } => "proof/walk-late",
            Self::GemmLate { .. } => "proof/gemm-late",
            Self::RootOrder { .. } => "proof/root-order",
        }
    }

    /// What the owner of the node can do about it.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Params { .. } => "ask the pool's operator: the proof class is misconfigured",
            Self::Size { .. } | Self::Encoding { .. } => {
                "run the same release of the worker and its prover; update if the pool is newer"
            }
            Self::SessionSeed { .. } => {
                "restart the worker so that its prover starts a session of its own; check that no other node \
                 uses this node's key or prover"
            }
            Self::OpeningCount { .. } | Self::OpeningIndex { .. } | Self::OpeningShape { .. } => {
                "the prover answered something else than was asked: update or reinstall it"
            }
            Self::RowRange { .. } | Self::RowMerkle { .. } | Self::Freivalds { .. } => {
                "the GPU computed a wrong product: run the prover's self-test, check ECC errors, XID events and \
                 overclocking"
            }
            Self::WalkMerkle { .. } | Self::WalkReplay { .. } => {
                "the GPU read wrong data from its memory: run the prover's self-test, check ECC and remapped rows"
            }
            Self::WalkLate { .. } | Self::GemmLate { .. } => {
                "the GPU was slower than its class: free it of other work, check power limit, clocks and heat, \
                 or claim a smaller class"
            }
            Self::RootOrder { .. } => "the roots were sent in the wrong order: update the worker",
        }
    }
}

/// Why the prover could not do what it was asked to.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProverError {
    #[error("prepare the prover before starting a session")]
    NotPrepared,
    #[error("start a session before asking for openings")]
    NotStarted,
    #[error("the session is for GPU {session}, this prover owns {own}")]
    WrongGpu { session: String, own: String },
    #[error("the class needs {needed} bytes of memory, this prover may use {limit}")]
    TooLarge { needed: u64, limit: u64 },
    #[error("the request asks for {what} {index}, there are {count}")]
    NoSuchIndex { what: &'static str, index: u64, count: u64 },
    #[error("the request asks for {found} {what}, the class opens at most {limit}")]
    TooManyOpenings { what: &'static str, found: u64, limit: u64 },
    #[error("the GPU or its driver failed: {reason}")]
    Device { reason: String },
    #[error("invalid parameters: {0}")]
    Params(#[from] ProofError),
}

impl ProverError {
    /// The stable code, `prover/reason` (or the code of the [`ProofError`] inside).
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotPrepared => "prover/not-prepared",
            Self::NotStarted => "prover/not-started",
            Self::WrongGpu { .. } => "prover/wrong-gpu",
            Self::TooLarge { .. } => "prover/too-large",
            Self::NoSuchIndex { .. } => "prover/no-such-index",
            Self::TooManyOpenings { .. } => "prover/too-many-openings",
            Self::Device { .. } => "prover/device",
            Self::Params(inner) => inner.code(),
        }
    }
}
