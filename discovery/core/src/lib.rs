//! The heart of the directory: which descriptors are listed, and what changed.
//!
//! Pure: no clock, no I/O, no randomness. [`Core::step`] takes the time and what happened and says what to do; a refused
//! event changes nothing. Signatures and caps are checked outside, by the one check of descriptors: what comes in as a
//! [`lode_protocol::descriptor::VerifiedDescriptor`] has passed it.
//!
//! Invariants:
//! * whatever is listed has not expired by the last tick, and the chain's last word about it is that it is registered
//!   with enough stake;
//! * what the chain said before it moved does not count: it is asked again;
//! * about a node that it does not vouch for it is asked once in a while, whoever publishes how often;
//! * a publication is acknowledged when it is durable, and never before;
//! * of two descriptors of a node the newer counts; the same again changes nothing;
//! * whoever follows the log of changes from any point on ends up with what is listed.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))] // pure: see clippy.toml
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr, clippy::dbg_macro))] // nor does it print

mod core;
mod effect;
mod event;
mod index;
mod listing;
mod log;
mod query;
mod questions;
mod rate;
mod refusals;
mod rejected;
mod saves;
#[cfg(test)]
mod tests;

pub use self::core::{Core, Settings};
pub use effect::{Effect, Effects, Stored};
pub use event::{ChainWord, Event, Moved, QuestionId, RequestId, SaveId};
pub use listing::{Listed, Listing};
pub use log::ChangeLog;
pub use query::{PageBounds, Query};
pub use rejected::Rejected;
