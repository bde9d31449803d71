//! `lode provider …`

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};
use lode_contracts::{Amount, Epoch};
use lode_protocol::hash::Digest;
use lode_protocol::ids::{AccusationId, Address, NodeId, PoolId};

use super::amount::parse_amount;
use super::{ChainFlags, SignerFlags, StatementFlags};

/// `lode provider …`
#[derive(Debug, Subcommand)]
pub enum ProviderCommand {
    /// Become a provider with a stake
    Register {
        /// Who signs.
        #[command(flatten)]
        signer: SignerFlags,
        /// The permit for the stake.
        #[command(flatten)]
        permit: StatementFlags,
        /// Stake in whole tokens, like 500 or 12.5
        #[arg(long, value_parser = parse_amount)]
        stake: Amount,
    },
    /// Stake more
    Stake {
        /// Who signs.
        #[command(flatten)]
        signer: SignerFlags,
        /// How much more, in whole tokens
        #[arg(value_parser = parse_amount)]
        amount: Amount,
    },
    /// Ask for stake back; it can be withdrawn after the unbonding time
    Unstake {
        /// Who signs.
        #[command(flatten)]
        signer: SignerFlags,
        /// How much, in whole tokens
        #[arg(value_parser = parse_amount)]
        amount: Amount,
    },
    /// Collect stake whose unbonding time is over
    Withdraw {
        /// Who signs.
        #[command(flatten)]
        signer: SignerFlags,
    },
    /// Take a node on, with the consent that `lode-worker init` wrote
    Authorize {
        /// Who signs.
        #[command(flatten)]
        signer: SignerFlags,
        /// The provider's authorisation, signed elsewhere.
        #[command(flatten)]
        statement: StatementFlags,
        /// The consent
        #[arg(long, value_name = "FILE")]
        consent: PathBuf,
        /// Units of compute that the stake must cover: the node's GPUs, at least 1
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
        units: u32,
    },
    /// Put a new node key in the place of an old one, with the new key's consent
    Replace {
        /// Who signs.
        #[command(flatten)]
        signer: SignerFlags,
        /// The node that goes
        #[arg(long)]
        old: NodeId,
        /// The consent of the new key
        #[arg(long, value_name = "FILE")]
        consent: PathBuf,
    },
    /// Release a node: its memberships and proofs are void
    Remove {
        /// Who signs.
        #[command(flatten)]
        signer: SignerFlags,
        /// The node
        node: NodeId,
    },
    /// Kill every authorisation that the provider signed and that nobody has used
    Revoke {
        /// Who signs.
        #[command(flatten)]
        signer: SignerFlags,
    },
    /// Let the provider's nodes join a pool; a node joins no other
    ApprovePool {
        /// Who signs.
        #[command(flatten)]
        signer: SignerFlags,
        /// The approval, signed elsewhere.
        #[command(flatten)]
        statement: StatementFlags,
        /// The pool's number
        pool: PoolId,
        /// Take the approval back: no node joins any more, members stay
        #[arg(long)]
        withdraw: bool,
    },
    /// End a node's membership of a pool
    Leave {
        /// Who signs.
        #[command(flatten)]
        signer: SignerFlags,
        /// The leave, signed elsewhere by the node or the provider.
        #[command(flatten)]
        statement: StatementFlags,
        /// The pool's number
        pool: PoolId,
        /// The node
        node: NodeId,
    },
    /// Have what was earned paid out to its payee; anybody may
    Claim {
        /// Who signs.
        #[command(flatten)]
        signer: SignerFlags,
        /// Of which pool and epoch.
        #[command(flatten)]
        receipts: ReceiptFlags,
        /// Who is paid (default: whoever signs); give it several times for several
        #[arg(long = "payee", value_name = "ADDRESS", conflicts_with = "all")]
        payees: Vec<Address>,
        /// Everybody who has something to claim
        #[arg(long)]
        all: bool,
    },
    /// Show what was earned and paid, and what can be claimed
    Earnings {
        /// Which chain.
        #[command(flatten)]
        chain: ChainFlags,
        /// Of which pool and epoch.
        #[command(flatten)]
        receipts: ReceiptFlags,
        /// Only this payee
        #[arg(long, value_name = "ADDRESS")]
        payee: Option<Address>,
    },
    /// Have a receipt paid that the pool left out of its roots
    #[command(group(ArgGroup::new("step").args(["receipt", "settle"]).required(true)))]
    Redeem {
        /// Who signs.
        #[command(flatten)]
        signer: SignerFlags,
        /// The pool's number (default: the context's)
        #[arg(long)]
        pool: Option<PoolId>,
        /// A receipt with both signatures as the pool serves it, or all that `lode-worker receipts` prints
        #[arg(long, value_name = "FILE")]
        receipt: Option<PathBuf>,
        /// Pay a redemption whose veto window is over
        #[arg(long)]
        settle: bool,
        /// Who is paid, with --settle (default: whoever signs)
        #[arg(long, value_name = "ADDRESS", requires = "settle")]
        payee: Option<Address>,
    },
    /// Answer an accusation, once
    #[command(group(ArgGroup::new("text").args(["file", "hash"]).required(true)))]
    Answer {
        /// Who signs.
        #[command(flatten)]
        signer: SignerFlags,
        /// The answer, signed elsewhere.
        #[command(flatten)]
        statement: StatementFlags,
        /// The accusation's number
        accusation: AccusationId,
        /// The answer; its hash goes on the chain
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// Keccak-256 of the answer
        #[arg(long, value_name = "DIGEST")]
        hash: Option<Digest>,
        /// Where the validators can read the answer
        #[arg(long)]
        uri: String,
    },
    /// Show a provider's stake, nodes, approvals and accusations
    Status {
        /// Which chain.
        #[command(flatten)]
        chain: ChainFlags,
        /// The provider's address
        provider: Address,
    },
}

/// Which pool's earnings, and where its receipts are read.
#[derive(Clone, Debug, Args)]
pub struct ReceiptFlags {
    /// The pool's number (default: the context's)
    #[arg(long)]
    pub pool: Option<PoolId>,
    /// Epoch of the root (default: the latest final one)
    #[arg(long, value_parser = parse_epoch)]
    pub epoch: Option<Epoch>,
    /// File with the epoch's receipts, instead of asking the pool
    #[arg(long, value_name = "FILE")]
    pub receipts: Option<PathBuf>,
    /// Ask the pool's endpoints on chain also where they lead into a network that is not public: for pools of your own
    #[arg(long)]
    pub private_endpoints: bool,
}

pub(super) fn parse_epoch(text: &str) -> Result<Epoch, String> {
    text.parse().map(Epoch).map_err(|_| "an epoch is a number".to_owned())
}
