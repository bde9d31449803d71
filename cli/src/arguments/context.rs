//! `lode context …`

use std::path::PathBuf;

use clap::Subcommand;
use lode_protocol::ids::PoolId;

/// `lode context …`
#[derive(Debug, Subcommand)]
pub enum ContextCommand {
    /// List contexts
    Ls,
    /// Make a context the current one
    Use {
        /// Its name
        name: String,
    },
    /// Add a context, or change it. The URL and the token file are those of the flags --url and --token-file
    Set {
        /// Its name
        name: String,
        /// Deployment file of the pool's contracts
        #[arg(long, value_name = "FILE")]
        deployment: Option<PathBuf>,
        /// JSON-RPC of the chain
        #[arg(long, value_name = "URL")]
        rpc_url: Option<String>,
        /// The pool's number
        #[arg(long)]
        pool: Option<PoolId>,
        /// Also make it the current one
        #[arg(long)]
        current: bool,
    },
    /// Remove a context
    Rm {
        /// Its name
        name: String,
    },
}
