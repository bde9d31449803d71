//! `lode dev …`

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `lode dev …`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct DevArguments {
    /// On a pool that runs.
    #[command(subcommand)]
    pub action: Option<DevAction>,
    /// End when the examples have succeeded, and leave nothing behind
    #[arg(long)]
    pub once: bool,
    /// Keep the pool in this folder and continue it next time (default: a temporary folder)
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Do not remove the temporary folder at the end
    #[arg(long)]
    pub keep: bool,
    /// Simulate GPUs even where there is an NVIDIA driver
    #[arg(long)]
    pub simulate_gpus: bool,
    /// Do not run the examples
    #[arg(long, conflicts_with = "once")]
    pub no_examples: bool,
}

/// On a pool that runs.
#[derive(Debug, Subcommand)]
pub enum DevAction {
    /// Stop one of its programs until it is started again
    Stop {
        /// anvil, discovery, orchestrator, validator, worker-1 or worker-2
        name: String,
        /// Kill it (SIGKILL) instead of asking it to end
        #[arg(long)]
        kill: bool,
        /// Which pool.
        #[command(flatten)]
        pool: DevPool,
    },
    /// Start one of its programs again, with the same ports and data
    Start {
        /// anvil, discovery, orchestrator, validator, worker-1 or worker-2
        name: String,
        /// Which pool.
        #[command(flatten)]
        pool: DevPool,
    },
    /// List its programs
    Ps {
        /// Which pool.
        #[command(flatten)]
        pool: DevPool,
    },
    /// Print the end of a program's log
    Logs {
        /// anvil, discovery, orchestrator, validator, worker-1 or worker-2
        name: String,
        /// How many lines
        #[arg(long, default_value_t = 50)]
        tail: usize,
        /// Which pool.
        #[command(flatten)]
        pool: DevPool,
    },
}

/// Which `lode dev` pool is meant.
#[derive(Clone, Debug, Args)]
pub struct DevPool {
    /// The pool's folder (default: the context's)
    #[arg(long, env = "LODE_DEV_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}
