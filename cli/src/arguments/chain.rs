//! `lode chain …`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use lode_contracts::Amount;
use lode_protocol::ids::Address;

use super::amount::parse_amount;
use super::{ChainFlags, SignerFlags};

/// `lode chain …`
#[derive(Debug, Subcommand)]
pub enum ChainCommand {
    /// Deploy the contracts and write the deployment file; the key becomes the token's owner
    Deploy(DeployArguments),
    /// Show the chain, the contracts and their terms
    Info {
        /// Which chain.
        #[command(flatten)]
        chain: ChainFlags,
    },
    /// Check that the contracts of a deployment file are the ones that this program knows
    Verify {
        /// Which chain.
        #[command(flatten)]
        chain: ChainFlags,
    },
    /// Show what an address has
    Balance {
        /// Which chain.
        #[command(flatten)]
        chain: ChainFlags,
        /// Whose
        address: Address,
    },
    /// Make tokens (the token's owner only)
    Mint {
        /// Who signs.
        #[command(flatten)]
        signer: SignerFlags,
        /// For whom
        #[arg(long)]
        to: Address,
        /// How many, in whole tokens
        #[arg(value_parser = parse_amount)]
        amount: Amount,
    },
    /// Give tokens away, or the chain's own coin
    Transfer {
        /// Who signs.
        #[command(flatten)]
        signer: SignerFlags,
        /// To whom
        #[arg(long)]
        to: Address,
        /// How much, in whole tokens or coins
        #[arg(value_parser = parse_amount)]
        amount: Amount,
        /// The chain's own coin instead of tokens
        #[arg(long)]
        coin: bool,
    },
    /// Send a transaction that was signed elsewhere, and wait for it
    Send {
        /// Which chain.
        #[command(flatten)]
        chain: ChainFlags,
        /// All of the signed transaction: 0x and digits, or a file that holds them
        #[arg(long, value_name = "HEX|FILE")]
        signed: String,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
        /// Simulate: say what would happen, and send nothing
        #[arg(long)]
        dry_run: bool,
    },
}

/// What the contracts are deployed with; nothing of it can be changed later.
#[derive(Clone, Debug, Args)]
pub struct DeployArguments {
    /// JSON-RPC of the chain
    #[arg(long, env = "LODE_RPC_URL", value_name = "URL")]
    pub rpc_url: String,
    /// File with the key that pays (mode 0600)
    #[arg(long, env = "LODE_KEY_FILE", value_name = "FILE")]
    pub key_file: PathBuf,
    /// Where the deployment file is written; it must not be there
    #[arg(long, value_name = "FILE", default_value = "deployment.json")]
    pub out: PathBuf,
    /// File with parameters (TOML), for those that have no flag; flags count over it
    #[arg(long, value_name = "FILE")]
    pub parameters: Option<PathBuf>,
    /// Tokens per unit that a provider must stake
    #[arg(long, value_parser = parse_amount)]
    pub stake_per_unit: Option<Amount>,
    /// Least bond of a validator, in whole tokens
    #[arg(long, value_parser = parse_amount)]
    pub validator_bond: Option<Amount>,
    /// Length of the validators' epochs (even seconds)
    #[arg(long, value_parser = lode_protocol::units::parse_duration, value_name = "DURATION")]
    pub epoch: Option<std::time::Duration>,
    /// How long stake stays bound after a request to take it out: at least as long as an accusation takes
    #[arg(long, value_parser = lode_protocol::units::parse_duration, value_name = "DURATION")]
    pub unbonding: Option<std::time::Duration>,
    /// How long a validator's bond stays bound after its exit
    #[arg(long, value_parser = lode_protocol::units::parse_duration, value_name = "DURATION")]
    pub exit: Option<std::time::Duration>,
    /// How many epochs a proof may count
    #[arg(long)]
    pub proof_epochs: Option<u64>,
    /// Where slashed stake and cuts of bonds go (default: whoever deploys)
    #[arg(long, value_name = "ADDRESS")]
    pub treasury: Option<Address>,
    /// Do not ask before sending transactions
    #[arg(short, long)]
    pub yes: bool,
}
