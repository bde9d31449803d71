//! The heart of a validator: which nodes to prove, how a run is judged, and how results reach the chain.
//!
//! Pure: no clock, no I/O, no randomness of its own. [`Core::step`] takes what happened and says what to do; `Save`
//! effects are durable before anything else of the same step happens.
//!
//! Invariants:
//! * a node is judged only on what it did: a crash, a lost connection or a silent chain is no verdict;
//! * a root and its salt are saved before the commitment that hides them is sent, so that a restart can reveal;
//! * one run per node at a time, and no new run while a result of the node waits to be attested;
//! * openings are chosen after the commitments, from a secret the node does not know.

mod attestation;
mod draw;
mod event;
mod leaf;
mod node;
mod run;
#[cfg(test)]
mod tests;
mod validator;

pub use attestation::{Attestation, Stage};
pub use draw::Secret;
pub use event::{
    Change, Description, Effect, Event, Facts, Moment, NodeStatus, RunVerdict, Settings, Status, VerifyJob,
};
pub use leaf::NodeResult;
pub use validator::{Core, Loaded};
