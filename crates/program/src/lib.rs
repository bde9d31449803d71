//! What every Lode program shares, so that whoever knows one program knows all of them.
//!
//! Owns: configuration loading, logs, the health endpoints, supervised tasks and shutdown, exit codes,
//! findings, listeners, the limit on open files, and the clock that feeds the pure cores. Files and texts come from the two rooms below it, which
//! the command line needs as well. Does not own: anything about pools, nodes or tasks.

pub mod backoff;
pub mod clock;
pub mod config;
mod core_dumps;
pub mod exit;
pub mod finding;
pub mod health;
pub mod listen;
pub mod open_files;
pub mod pace;
pub mod problem;
pub mod run;
pub mod service;
pub mod shutdown;
pub mod tasks;
pub mod telemetry;

pub use lode_files as files;
pub use lode_protocol::text;

pub use backoff::{Backoff, BackoffPolicy};
pub use clock::Clock;
pub use exit::{Exit, ExitError};
pub use finding::{Finding, FindingSet, Severity};
pub use health::{Condition, Health, Pulse};
pub use problem::Problem;
pub use run::{Program, install_crypto_provider, run_program};
pub use service::{Service, run_service};
pub use shutdown::{Cause, Shutdown};
pub use tasks::TaskGroup;
