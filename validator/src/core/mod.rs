//! The heart of a validator: which nodes to prove, how a run is judged, how results reach the chain, whom it accuses,
//! how it votes, and which promises of pools it vetoes.
//!
//! Pure: no clock, no I/O, no randomness of its own. [`Core::step`] takes what happened and says what to do; `Save`
//! effects are durable before anything else of the same step happens.
//!
//! Invariants:
//! * a node is judged only on what it did: a crash, a lost connection or a silent chain is no verdict;
//! * a root and its salt are saved before the commitment that hides them is sent, so that a restart can reveal;
//! * one run per node at a time, and no new run while a result of the node waits to be attested;
//! * openings are chosen after the commitments, from a secret the node does not know;
//! * nobody is accused, and nobody found guilty, but by evidence that anybody can judge: never for being late;
//! * a file is saved before anybody is accused by it; an accusation is voted on once.

mod accuser;
mod archive;
mod attestation;
mod auditor;
mod committee;
mod draw;
mod effect;
mod event;
mod juror;
mod leaf;
mod node;
mod opinion;
mod proving;
mod run;
mod settings;
mod status;
#[cfg(test)]
mod tests;
mod validator;

pub use accuser::{Stage as AccusationStage, Suspicion};
pub use attestation::{Attestation, Stage};
pub use auditor::{Audit, Matter, PostedRoot, Regress, RequestedRedemption};
pub use draw::Secret;
pub use effect::{Change, Effect, Price, VerifyJob};
pub use event::{Description, Event, Facts, RunVerdict};
pub use leaf::NodeResult;
pub use opinion::{Charge, Examination, Judgement, Opinion};
pub use run::{Heard, OpeningRecord};
pub use settings::{Accusing, Moment, Settings};
pub use status::{NodeStatus, Status};
pub use validator::{Core, Loaded};
