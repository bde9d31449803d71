//! The worker's heart: which containers should exist, which do, and what to do about the difference.
//!
//! Pure and synchronous. [`assignments`] reconciles the desired set with the engine, [`session`] holds the
//! conversation with the orchestrator. Drivers feed events in, commit [`effect::JournalChange`]s, *then* let the other
//! effects out.

pub mod assignment;
pub mod assignments;
pub mod effect;
pub mod event;
pub mod journal;
pub mod ports;
pub mod receipts;
pub mod restart;
pub mod session;

#[cfg(test)]
mod tests;
