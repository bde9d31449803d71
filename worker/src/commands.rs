//! What a person types: one module per subcommand.

pub mod check;
pub mod gpu;
pub mod init;
pub mod leave;
pub mod receipts;
pub mod run;
pub mod status;

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use lode_program::telemetry::LogArgs;

use crate::config::Config;

/// Lends this machine's GPUs to a pool and runs the pool's tasks on them.
#[derive(Debug, Parser)]
#[command(name = "lode-worker", version, max_term_width = 100)]
pub struct Arguments {
    /// Configuration file (TOML). Without it: environment and flags only.
    #[arg(long, short, global = true, env = "LODE_WORKER_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Directory for what the worker must remember; overrides `data_dir`.
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Logging.
    #[command(flatten)]
    pub log: LogArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Says whether this machine can lend its GPUs, and what is in the way. Changes nothing.
    Check(check::CheckArguments),
    /// Creates the node's key and says how its provider authorises it.
    Init(init::InitArguments),
    /// Joins the pool and runs its tasks, until stopped. Tasks go on while the worker is away.
    Run(run::RunArguments),
    /// Asks the worker that runs on this machine how it is doing.
    Status(status::StatusArguments),
    /// Prints the receipts for this node's work that both sides signed, as JSON.
    Receipts,
    /// Has the worker that runs on this machine use a GPU again that it holds back.
    Gpu(gpu::GpuArguments),
    /// Ends this node's membership of the pool.
    Leave(leave::LeaveArguments),
}

impl Arguments {
    /// Reads and validates the configuration.
    pub fn load_config(&self) -> anyhow::Result<Config> {
        let mut flags = toml::Table::new();
        if let Some(directory) = &self.data_dir {
            flags.insert("data_dir".to_owned(), directory.display().to_string().into());
        }
        let config = Config::load(self.config.as_deref(), flags)?;
        config.validate()?;
        Ok(config)
    }
}
