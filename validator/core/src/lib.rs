//! The heart of a validator: which nodes to prove, how a run is judged, how results reach the chain, whom it accuses,
//! how it votes, and which promises of pools it vetoes.
//!
//! Pure: no clock, no I/O, no randomness of its own, no log. [`Core::step`] takes the time and what happened and says
//! what to do; `Save` effects are durable before anything else of the same step happens; a refused event changes nothing.
//!
//! Invariants:
//! * a node is judged only on what it did: a crash, a lost connection or a silent chain is no verdict;
//! * a root and its salt are saved before the commitment that hides them is sent, so that a restart can reveal;
//! * one run per node at a time, and no new run while a result of the node waits that has not failed to find a quorum;
//! * openings are chosen after the commitments, from a secret the node does not know;
//! * nobody is accused, and nobody found guilty, but by evidence that anybody can judge: never for being late;
//! * a file is saved before anybody is accused by it; an accusation is voted on once;
//! * a root of a pool that was not looked at to the end before its window closes is vetoed, not let pass;
//! * nothing is kept of whoever connects and is not described.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))] // pure: see clippy.toml
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr, clippy::dbg_macro))] // nor does it print

mod accuser;
mod archive;
mod attestation;
mod attestor;
mod auditor;
mod committee;
mod docket;
mod draw;
mod effect;
mod event;
mod juror;
mod leaf;
mod matter;
mod node;
mod opening;
mod opinion;
mod proving;
mod rejected;
mod report;
mod run;
mod settings;
mod status;
mod suspicion;
#[cfg(test)]
mod tests;
mod validator;

pub use attestation::{Attestation, Stage};
pub use draw::Secret;
pub use effect::{Change, Effect, Effects, VerifyJob};
pub use event::{Description, Event, Facts, Heard, Price, RunVerdict};
pub use leaf::NodeResult;
pub use matter::{Audit, Look, Matter, PostedRoot, Regress, RequestedRedemption};
pub use opening::OpeningRecord;
pub use opinion::{Charge, Examination, Judgement, Opinion};
pub use rejected::Rejected;
pub use report::Report;
pub use settings::{Accusing, Settings};
pub use status::{NodeStatus, Status};
pub use suspicion::{Stage as AccusationStage, Suspicion};
pub use validator::{Core, Loaded};
