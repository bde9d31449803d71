//! The command line of Lode: pools, nodes and tasks for people.
//!
//! Owns what a person sees: arguments, tables, words of errors, exit codes ([`failure`]). Does not own any decision:
//! the orchestrator and the contracts make those. It links neither a transport to peers nor a store, a container engine
//! or a server (`scripts/lib/links.sh`); `lode dev` is a program of its own, which stands on this library.

pub mod api;
pub mod arguments;
mod commands;
mod companion;
pub mod context;
pub mod failure;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod keys;
pub mod output;
mod platform;
mod refusal;
pub mod report;
pub mod start;
mod wall_clock;
mod wallet;

/// What is done with tasks, for `lode-dev` as for a person.
pub mod tasks {
    pub use crate::commands::task::{Wanted, submit, wait_until, why};
}

use std::process::ExitCode;

/// Runs the command that this process was started with.
pub fn main() -> ExitCode {
    match start::arguments() {
        Ok(arguments) => {
            start::run(arguments.global.output, start::until_interrupted(commands::run(arguments)))
        }
        Err(done) => done,
    }
}
