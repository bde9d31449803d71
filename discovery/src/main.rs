//! The directory's program: arguments → configuration → [`lode_discovery::app`].

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use lode_discovery::{app, config};
use lode_program::telemetry::{self, LogArgs};

/// Public directory of Lode nodes.
#[derive(Debug, Parser)]
#[command(name = "lode-discovery", version, about)]
struct Arguments {
    /// Configuration file (TOML). Environment variables LODE_DISCOVERY__… override it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    log: LogArgs,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    lode_program::run_program("lode-discovery", |program| async move {
        let config = config::load(arguments.config.as_deref())?;
        let telemetry = telemetry::init(program.name, &arguments.log)?;
        app::run(program, config, telemetry).await
    })
}
