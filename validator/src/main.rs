//! The validator's program: arguments → configuration → [`lode_validator::app`].

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use lode_program::telemetry::{self, LogArgs};
use lode_validator::{app, config};

/// Proves the GPUs of Lode nodes and attests them on chain.
#[derive(Debug, Parser)]
#[command(name = "lode-validator", version, about)]
struct Arguments {
    /// Configuration file (TOML). Environment variables LODE_VALIDATOR__… override it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    log: LogArgs,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    lode_program::run_program("lode-validator", |program| async move {
        let config = config::load(arguments.config.as_deref())?;
        let telemetry = telemetry::init(program.name, &arguments.log)?;
        app::run(program, config, telemetry).await
    })
}
