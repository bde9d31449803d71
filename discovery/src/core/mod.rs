//! The directory itself: which descriptors are listed, and what changed.
//!
//! Pure. Verification of signatures and of the chain happens before: events carry what was verified.

pub mod directory;
pub mod log;
pub mod query;

#[cfg(test)]
mod tests;
