//! `lode-worker run`.

use crate::app;
use crate::commands::{Arguments, check};
use lode_program::{Program, service};

/// Flags of `run`.
#[derive(Debug, clap::Args)]
pub struct RunArguments {
    /// Do all checks and show what would be sent; send nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// Runs the worker until it is told to stop.
pub async fn run(program: Program, arguments: Arguments) -> anyhow::Result<()> {
    let (config, telemetry) = service::begin(&program, &arguments.log, || arguments.load_config())?;
    app::run(program, config, telemetry).await
}

/// Checks and shows; nothing leaves this machine.
pub async fn dry_run(arguments: &Arguments) -> anyhow::Result<()> {
    check::dry_run(arguments).await
}
