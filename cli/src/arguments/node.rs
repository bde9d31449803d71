//! `lode node …`

use clap::Subcommand;

/// `lode node …`
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// List nodes with their GPUs
    #[command(alias = "list")]
    Ls,
    /// Show a node
    #[command(aliases = ["get", "describe"])]
    Show {
        /// Address, or its first digits
        node: String,
    },
    /// Place nothing new on a node, and move its work away
    Drain {
        /// Address, or its first digits
        node: String,
    },
    /// Use a drained node again
    Undrain {
        /// Address, or its first digits
        node: String,
    },
    /// Remove a node from the pool on the chain
    Eject {
        /// Address, or its first digits
        node: String,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
    /// Let an ejected or given-up node try again: the orchestrator invites it anew
    Readmit {
        /// Address, or its first digits
        node: String,
    },
}
