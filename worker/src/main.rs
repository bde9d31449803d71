//! The worker's program: arguments → configuration → [`lode_worker::app`].

use std::process::ExitCode;

use clap::Parser;
use lode_program::run::run_command;
use lode_program::run::run_program_with_threads;
use lode_worker::commands::{Arguments, Command, check, gpu, init, leave, receipts, run, status};

/// A worker waits most of its time; the host's memory belongs to its tasks.
const THREADS: usize = 2;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match &arguments.command {
        Command::Run(flags) if !flags.dry_run => {
            run_program_with_threads("lode-worker", Some(THREADS), |program| run::run(program, arguments))
        }
        Command::Run(_) => run_command("lode-worker", || async move { run::dry_run(&arguments).await }),
        Command::Check(_)
        | Command::Init(_)
        | Command::Status(_)
        | Command::Receipts
        | Command::Gpu(_)
        | Command::Leave(_) => run_command("lode-worker", || async move { dispatch(&arguments).await }),
    }
}

async fn dispatch(arguments: &Arguments) -> anyhow::Result<()> {
    match &arguments.command {
        Command::Check(flags) => check::check(arguments, flags).await,
        Command::Init(flags) => init::init(arguments, flags).await,
        Command::Status(flags) => status::status(arguments, flags).await,
        Command::Receipts => receipts::receipts(arguments).await,
        Command::Gpu(flags) => gpu::gpu(arguments, flags).await,
        Command::Leave(flags) => leave::leave(arguments, flags).await,
        Command::Run(_) => run::dry_run(arguments).await,
    }
}
