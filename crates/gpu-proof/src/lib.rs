//! Proof of GPU, version 1: FILL → WALK → GEMM → COMMIT → OPEN.
//!
//! A prover fills the GPU's memory with lines that only it can know ([`lines`]), walks through them at random
//! addresses ([`walk`]), multiplies them as int8 matrices ([`matrix`]) and commits to both results with one
//! Merkle root each ([`Commit`]). The verifier then chooses rows and walks ([`Challenge`]), receives them
//! ([`Opening`]) and checks them on a CPU ([`EpochVerifier`]). Everything is exact integer arithmetic, so the
//! same session gives the same roots on every kind of hardware.
//!
//! This crate owns the arithmetic, the encodings, the checks and the protocol between a worker and the prover
//! process, and it judges evidence: only [`evidence`] looks at who signed what. It has no clock (callers measure
//! arrival times and ask [`ProofClass::judge_times`]), opens no socket, holds no key and reads no chain. What pure computation cannot show: that a GPU is not
//! reached through a proxy, that it stays exclusive between epochs, and which physical die it is.
//!
//! Invariants:
//! * the verifier chooses what is opened and checks counts before anything else;
//! * nothing that a peer sent is used as a size, an index or a modulus before it was range checked;
//! * the verifier's Freivalds secret never leaves [`EpochVerifier`].

#![forbid(unsafe_code)]

pub mod attacks;
mod challenge;
mod checks;
mod class;
mod digest;
mod encoding;
mod error;
pub mod evidence;
pub mod lines;
pub mod matrix;
pub mod merkle;
mod params;
mod prover;
pub mod prover_protocol;
pub mod prover_server;
mod seed;
mod transcript;
mod verifier;
pub mod walk;
mod workload;

pub use challenge::{Challenge, OpeningSecret, WalkQuery};
pub use class::{ClassId, NETWORK_SLACK_MS, ProofClass, ProofScore, SCORE_CAP_BASIS_POINTS};
pub use digest::Digest;
pub use error::{ProofError, ProverError};
pub use params::Params;
pub use prover::{CpuProver, Prover, ProverEvent};
pub use seed::{EpochInputs, SessionInputs, SessionSeed};
pub use transcript::{Commit, Opening, RowOpening, WalkOpening};
pub use verifier::{EpochVerifier, FreivaldsSecret};
