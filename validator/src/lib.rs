//! The program that checks: proves nodes' GPUs and attests on chain what it found; judges accusations by their evidence,
//! and vetoes what pools promise and cannot show.
//!
//! [`core`] decides, [`driver`] owns the core and does what it decides, [`app`] wires the parts together.

pub use lode_validator_core as core;

pub mod api;
pub mod app;
pub mod chain;
mod checks;
pub mod config;
pub mod directory;
pub mod driver;
pub mod inquiry;
pub mod metrics;
pub mod report;
pub mod storage;
pub mod verify;
