//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use lode_program::telemetry::LogArgs;

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "lode-orchestrator",
    version,
    about = "Admits nodes to a pool, places its tasks, keeps them running."
)]
pub struct Arguments {
    /// Configuration file (TOML).
    #[arg(long, env = "LODE_ORCHESTRATOR_CONFIG", global = true)]
    pub config: Option<PathBuf>,
    /// Data directory, over the configuration's.
    #[arg(long, global = true)]
    pub data_dir: Option<PathBuf>,
    /// Logging.
    #[command(flatten)]
    pub log: LogArgs,
    /// What to do; `run` if left out.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Subcommand)]
pub enum Command {
    /// Run until stopped.
    Run,
    /// Print the API's OpenAPI description.
    Openapi,
}
