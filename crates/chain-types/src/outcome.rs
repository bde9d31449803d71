//! How an intent ends: what was mined, or why not.

use std::fmt;

use lode_protocol::hash::Digest;
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::event::LoggedEvent;
use crate::refusal::Revert;

/// Names an intent in its outbox.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode, Serialize, Deserialize,
)]
#[cbor(transparent)]
#[serde(transparent)]
pub struct IntentId(#[n(0)] pub u64);

impl fmt::Display for IntentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A mined transaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Receipt {
    /// Its hash.
    pub transaction: Digest,
    /// Number of its block.
    pub block: u64,
    /// Hash of its block.
    pub block_hash: Digest,
    /// Whether it did what it says; a failed transaction costs gas and changes nothing.
    pub succeeded: bool,
    /// Gas used.
    pub gas_used: u64,
    /// What it made happen in our contracts, in order.
    pub events: Vec<LoggedEvent>,
}

/// How an intent ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It is mined and succeeded. Items of a batch may have been refused: see the receipt's events.
    Confirmed(Receipt),
    /// What it wanted is so already.
    AlreadyDone(Revert),
    /// The contract refuses it.
    Reverted {
        /// By which error.
        error: Revert,
        /// The transaction that failed; `None` when the simulation failed and nothing was sent.
        transaction: Option<Digest>,
    },
}

impl Outcome {
    /// Short name for logs and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Outcome::Confirmed(_) => "confirmed",
            Outcome::AlreadyDone(_) => "already-done",
            Outcome::Reverted { .. } => "reverted",
        }
    }
}
