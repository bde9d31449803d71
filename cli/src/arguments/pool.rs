//! `lode pool …`

use std::path::PathBuf;

use clap::{ArgGroup, Subcommand};
use lode_protocol::ids::{Address, NodeId, PoolId, ProviderId};

use super::{ChainFlags, SignerFlags, StatementFlags};
use crate::output::Written;

/// `lode pool …`
#[derive(Debug, Subcommand)]
pub enum PoolCommand {
    /// Create a pool and start it; the key becomes its owner
    Create {
        /// Who signs.
        #[command(flatten)]
        signer: SignerFlags,
        /// Address of the orchestrator's key
        #[arg(long)]
        orchestrator: Address,
        /// Where workers reach the orchestrator (multiaddr or https URL); give it several times for several
        #[arg(long = "endpoint", required = true, value_name = "ENDPOINT")]
        endpoints: Vec<lode_address::EndpointUrl>,
        /// Most member nodes; left out: any number
        #[arg(long)]
        max_nodes: Option<u32>,
        /// File with the pool's requirements and terms; its hash goes on the chain
        #[arg(long, value_name = "FILE")]
        requirements: Option<PathBuf>,
        /// Where people can read the requirements
        #[arg(long, default_value = "")]
        uri: String,
        /// Token that the pool pays in: an address, or LODE for the staking token; left out: it pays nothing
        #[arg(long, value_name = "TOKEN")]
        reward_token: Option<RewardToken>,
        /// Do not start it yet
        #[arg(long)]
        stopped: bool,
    },
    /// Start a pool that was created with --stopped: nodes may join from now on
    Start {
        /// Who signs.
        #[command(flatten)]
        signer: SignerFlags,
        /// The pool's number
        pool: PoolId,
    },
    /// End a pool for good
    End {
        /// Who signs.
        #[command(flatten)]
        signer: SignerFlags,
        /// The pool's number
        pool: PoolId,
    },
    /// Show a pool as the chain has it
    Show {
        /// Which chain.
        #[command(flatten)]
        chain: ChainFlags,
        /// The pool's number (default: the context's)
        pool: Option<PoolId>,
    },
    /// List the pools of the chain
    Ls {
        /// Which chain.
        #[command(flatten)]
        chain: ChainFlags,
    },
    /// Say where workers reach the orchestrator
    SetEndpoints {
        /// Who signs: owner or orchestrator.
        #[command(flatten)]
        signer: SignerFlags,
        /// The pool's number
        pool: PoolId,
        /// Multiaddrs or https URLs
        #[arg(required = true)]
        endpoints: Vec<lode_address::EndpointUrl>,
    },
    /// Put another orchestrator key in place; the old one can never return
    SetOrchestrator {
        /// Who signs.
        #[command(flatten)]
        signer: SignerFlags,
        /// The pool's number
        pool: PoolId,
        /// Address of the new key
        orchestrator: Address,
    },
    /// Publish other requirements and terms
    SetRequirements {
        /// Who signs.
        #[command(flatten)]
        signer: SignerFlags,
        /// The pool's number
        pool: PoolId,
        /// File with the requirements; its hash goes on the chain
        #[arg(long, value_name = "FILE")]
        requirements: PathBuf,
        /// Where people can read them
        #[arg(long)]
        uri: String,
    },
    /// Offer the pool to another owner
    Transfer {
        /// Who signs.
        #[command(flatten)]
        signer: SignerFlags,
        /// The pool's number
        pool: PoolId,
        /// To whom
        #[arg(required_unless_present = "cancel")]
        to: Option<Address>,
        /// Take the offer back
        #[arg(long, conflicts_with = "to")]
        cancel: bool,
    },
    /// Take a pool that its owner offered
    Accept {
        /// Who signs.
        #[command(flatten)]
        signer: SignerFlags,
        /// The pool's number
        pool: PoolId,
    },
    /// Its money.
    #[command(flatten)]
    Money(MoneyCommand),
    /// Show whom the orchestrator has invited and what others lack; with a node: invite it again
    Invite {
        /// Address of a node that was ejected or given up, or its first digits
        node: Option<String>,
    },
    /// Who may not be in it.
    #[command(flatten)]
    Members(MemberCommand),
}

/// A pool's money.
#[derive(Debug, Subcommand)]
pub enum MoneyCommand {
    /// Add to a pool's budget, in its reward token; anybody may
    Fund {
        /// Who signs.
        #[command(flatten)]
        signer: SignerFlags,
        /// The permit for the amount.
        #[command(flatten)]
        permit: StatementFlags,
        /// The pool's number
        pool: PoolId,
        /// How much, in whole tokens
        amount: Written,
    },
    /// Say how much of the budget one epoch may promise; zero promises nothing
    SpendCap {
        /// Who signs.
        #[command(flatten)]
        signer: SignerFlags,
        /// The pool's number
        pool: PoolId,
        /// How much an epoch, in whole tokens
        amount: Written,
    },
    /// Take budget back that is not promised: ask for it, and collect it after the delay
    #[command(group(ArgGroup::new("step").args(["request", "collect"]).required(true)))]
    Withdraw {
        /// Who signs.
        #[command(flatten)]
        signer: SignerFlags,
        /// The pool's number
        pool: PoolId,
        /// Ask for so much, in whole tokens; it replaces a request under way
        #[arg(long, value_name = "AMOUNT")]
        request: Option<Written>,
        /// Collect what was asked for
        #[arg(long)]
        collect: bool,
        /// Who gets it, with --collect (default: whoever signs)
        #[arg(long, value_name = "ADDRESS", requires = "collect")]
        to: Option<Address>,
    },
    /// Show a pool's money: what is free, promised, paid, and what an epoch may promise
    Budget {
        /// Which chain.
        #[command(flatten)]
        chain: ChainFlags,
        /// The pool's number (default: the context's)
        pool: Option<PoolId>,
    },
}

/// Who may not be in a pool.
#[derive(Debug, Subcommand)]
pub enum MemberCommand {
    /// Put a node out of the pool
    Eject {
        /// Who signs: owner or orchestrator.
        #[command(flatten)]
        signer: SignerFlags,
        /// The pool's number
        pool: PoolId,
        /// The node
        node: NodeId,
    },
    /// Keep a node out, member or not
    Ban {
        /// Who signs.
        #[command(flatten)]
        signer: SignerFlags,
        /// The pool's number
        pool: PoolId,
        /// The node
        node: NodeId,
    },
    /// Let a banned node come back, by a new invite
    Unban {
        /// Who signs.
        #[command(flatten)]
        signer: SignerFlags,
        /// The pool's number
        pool: PoolId,
        /// The node
        node: NodeId,
    },
    /// Keep all nodes of a provider out
    BanProvider {
        /// Who signs.
        #[command(flatten)]
        signer: SignerFlags,
        /// The pool's number
        pool: PoolId,
        /// The provider
        provider: ProviderId,
    },
    /// Let a banned provider's nodes count again
    UnbanProvider {
        /// Who signs.
        #[command(flatten)]
        signer: SignerFlags,
        /// The pool's number
        pool: PoolId,
        /// The provider
        provider: ProviderId,
    },
}

/// What a pool pays in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RewardToken {
    /// The deployment's own token.
    Lode,
    /// Another one.
    Other(Address),
}

impl std::str::FromStr for RewardToken {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.eq_ignore_ascii_case("lode") {
            return Ok(RewardToken::Lode);
        }
        text.parse()
            .map(RewardToken::Other)
            .map_err(|error: lode_protocol::ids::ParseIdError| format!("{error}; or write LODE"))
    }
}
