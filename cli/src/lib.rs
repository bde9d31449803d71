//! The command line of Lode: pools, nodes and tasks for people, and `lode dev`, a whole pool on this machine.
//!
//! Owns what a person sees: arguments, tables, words of errors, exit codes ([`failure`]). Does not own any decision:
//! the orchestrator, the contracts and the programs that `lode dev` starts make those.

mod api;
pub mod arguments;
mod commands;
pub mod context;
pub mod dev;
pub mod failure;
mod keys;
pub mod output;
mod refusal;
mod wallet;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use tokio::signal::unix::{SignalKind, signal};

use crate::arguments::{Arguments, Command};
use crate::failure::{Kind, report};

/// Runs the command that this process was started with.
pub fn main() -> ExitCode {
    lode_program::install_crypto_provider();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version arrive here too; they are no failure. What cannot be printed cannot be reported either.
            let _ = error.print();
            return if error.use_stderr() { Kind::Usage.into() } else { ExitCode::SUCCESS };
        }
    };
    let format = arguments.global.output;
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report(&anyhow::Error::from(error).context("cannot start the runtime"), format),
    };
    let result = runtime.block_on(run(arguments));
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&error, format),
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    if let Command::Dev(dev) = &arguments.command
        && dev.action.is_none()
    {
        // It takes its signals itself: there is much to clean up.
        return dev::up(dev).await;
    }
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for signals")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for signals")?;
    tokio::select! {
        result = commands::run(arguments) => result,
        _ = interrupt.recv() => Err(Kind::Interrupted.because("interrupted")),
        _ = terminate.recv() => Err(Kind::Interrupted.because("interrupted")),
    }
}
