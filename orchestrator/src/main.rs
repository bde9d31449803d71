//! The orchestrator's program: arguments → configuration → [`lode_orchestrator::app`].

use std::process::ExitCode;

use clap::Parser;
use lode_orchestrator::config::{Arguments, Command};
use lode_program::run::run_command;
use lode_program::run_program;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.command {
        None | Some(Command::Run) => {
            run_program("lode-orchestrator", |program| lode_orchestrator::app::run(program, arguments))
        }
        Some(Command::Openapi) => run_command("lode-orchestrator", || async move {
            println!("{}", lode_orchestrator::api::openapi_json()?);
            Ok(())
        }),
    }
}
