//! The words of the command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use lode_contracts::Amount;
use lode_protocol::ids::{Address, NodeId, PoolId};

use crate::failure::EXIT_CODES;
use crate::output::Format;

/// Runs containers on pooled GPUs.
#[derive(Debug, Parser)]
#[command(name = "lode", version, after_help = EXIT_CODES, propagate_version = true)]
pub struct Arguments {
    /// Flags of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of every command.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// How results are printed
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    pub output: Format,
    /// Context to use instead of the current one
    #[arg(long, global = true, env = "LODE_CONTEXT", value_name = "NAME")]
    pub context: Option<String>,
    /// The orchestrator's URL, instead of a context's; the token then comes from --token-file or LODE_TOKEN
    #[arg(long, global = true, env = "LODE_URL", value_name = "URL")]
    pub url: Option<String>,
    /// File with the bearer token (mode 0600), instead of a context's
    #[arg(long, global = true, env = "LODE_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run tasks and look at them
    #[command(subcommand)]
    Task(TaskCommand),
    /// Look at nodes and empty them
    #[command(subcommand)]
    Node(NodeCommand),
    /// Create a pool on the chain, look at it, change it
    #[command(subcommand)]
    Pool(PoolCommand),
    /// Stake as the owner of machines, and take nodes on
    #[command(subcommand)]
    Provider(ProviderCommand),
    /// Bond as a validator
    #[command(subcommand)]
    Validator(ValidatorCommand),
    /// Put the contracts on a chain, and look at it
    #[command(subcommand)]
    Chain(ChainCommand),
    /// Make keys
    #[command(subcommand)]
    Key(KeyCommand),
    /// Pools this command line speaks to, by name
    #[command(subcommand)]
    Context(ContextCommand),
    /// A whole pool on this machine, for trying things out
    Dev(DevArguments),
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// `lode task …`
#[derive(Debug, Subcommand)]
pub enum TaskCommand {
    /// Submit a task and print its id
    Run {
        /// Task file, TOML or JSON; `-` reads standard input
        file: PathBuf,
        /// Wait until it has ended (a service: until it runs); the exit code says how it went
        #[arg(long)]
        wait: bool,
        /// Print its logs while it runs, and wait
        #[arg(short, long)]
        follow: bool,
        /// Give up waiting after this time; the task goes on
        #[arg(long, value_parser = lode_program::config::parse_duration, value_name = "DURATION")]
        timeout: Option<std::time::Duration>,
    },
    /// List tasks, the newest first
    Ls {
        /// Only tasks in this state: pending, running, stopping, stopped, succeeded, failed, deleting
        #[arg(long)]
        state: Option<String>,
        /// Most tasks to list
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Show a task with its replicas
    Show {
        /// Id or name
        task: String,
    },
    /// Print what a task wrote
    Logs {
        /// Id or name
        task: String,
        /// Go on with what it writes from now on, until it ends
        #[arg(short, long)]
        follow: bool,
        /// Only the last lines
        #[arg(long, value_name = "LINES")]
        tail: Option<u64>,
        /// Which replica
        #[arg(long, default_value_t = 0)]
        replica: u32,
        /// Put the time before each line
        #[arg(long)]
        timestamps: bool,
    },
    /// Stop a task; it can be started again
    Stop {
        /// Id or name
        task: String,
        /// Wait until nothing of it runs
        #[arg(long)]
        wait: bool,
    },
    /// Start a stopped task
    Start {
        /// Id or name
        task: String,
    },
    /// Delete a task, stopping it first
    Rm {
        /// Id or name
        task: String,
    },
    /// Say why a task is where it is
    Explain {
        /// Id or name
        task: String,
        /// Also what each node says
        #[arg(long)]
        nodes: bool,
    },
    /// Print what happened to a task
    Events {
        /// Id or name
        task: String,
        /// Go on with what happens from now on
        #[arg(short, long)]
        follow: bool,
    },
}

/// `lode node …`
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// List nodes with their GPUs
    Ls,
    /// Show a node
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
}

/// Which chain, and as whom.
#[derive(Clone, Debug, Args)]
pub struct ChainFlags {
    /// Deployment file: chain id and addresses of the contracts (default: the context's)
    #[arg(long, env = "LODE_DEPLOYMENT", value_name = "FILE")]
    pub deployment: Option<PathBuf>,
    /// JSON-RPC of the chain (default: the context's, or the deployment file's)
    #[arg(long, env = "LODE_RPC_URL", value_name = "URL")]
    pub rpc_url: Option<String>,
}

/// Who signs and pays.
#[derive(Clone, Debug, Args)]
pub struct SignerFlags {
    /// Which chain.
    #[command(flatten)]
    pub chain: ChainFlags,
    /// File with the key that signs and pays (mode 0600)
    #[arg(long, env = "LODE_KEY_FILE", value_name = "FILE")]
    pub key_file: PathBuf,
    /// Do not ask before sending transactions
    #[arg(short, long)]
    pub yes: bool,
}

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
        endpoints: Vec<lode_network::EndpointUrl>,
        /// Most member nodes; left out: any number
        #[arg(long)]
        max_nodes: Option<u32>,
        /// File with the pool's requirements and terms; its hash goes on the chain
        #[arg(long, value_name = "FILE")]
        requirements: Option<PathBuf>,
        /// Where people can read the requirements
        #[arg(long, default_value = "")]
        uri: String,
        /// Token that the pool pays in
        #[arg(long, value_name = "ADDRESS")]
        reward_token: Option<Address>,
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
        endpoints: Vec<lode_network::EndpointUrl>,
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
}

/// `lode provider …`
#[derive(Debug, Subcommand)]
pub enum ProviderCommand {
    /// Become a provider with a stake
    Register {
        /// Who signs.
        #[command(flatten)]
        signer: SignerFlags,
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
    /// Show a provider's stake and nodes
    Status {
        /// Which chain.
        #[command(flatten)]
        chain: ChainFlags,
        /// The provider's address
        provider: Address,
    },
}

/// `lode validator …`
#[derive(Debug, Subcommand)]
pub enum ValidatorCommand {
    /// Become a validator with a bond
    Register {
        /// Who signs.
        #[command(flatten)]
        signer: SignerFlags,
        /// Bond in whole tokens
        #[arg(long, value_parser = parse_amount)]
        bond: Amount,
        /// Where workers dial it, like /ip4/203.0.113.7/tcp/7300
        #[arg(long)]
        endpoint: lode_network::PeerAddress,
    },
    /// Say where workers dial the validator
    SetEndpoint {
        /// Who signs.
        #[command(flatten)]
        signer: SignerFlags,
        /// A multiaddr
        endpoint: lode_network::PeerAddress,
    },
    /// Ask to leave; the bond can be withdrawn after the exit time
    Exit {
        /// Who signs.
        #[command(flatten)]
        signer: SignerFlags,
    },
    /// Collect the bond after an exit
    Withdraw {
        /// Who signs.
        #[command(flatten)]
        signer: SignerFlags,
    },
    /// List validators
    Ls {
        /// Which chain.
        #[command(flatten)]
        chain: ChainFlags,
    },
}

/// `lode chain …`
#[derive(Debug, Subcommand)]
pub enum ChainCommand {
    /// Deploy the contracts and write the deployment file; the key becomes the token's owner
    Deploy {
        /// JSON-RPC of the chain
        #[arg(long, env = "LODE_RPC_URL", value_name = "URL")]
        rpc_url: String,
        /// File with the key that pays (mode 0600)
        #[arg(long, env = "LODE_KEY_FILE", value_name = "FILE")]
        key_file: PathBuf,
        /// Where the deployment file is written; it must not be there
        #[arg(long, value_name = "FILE", default_value = "deployment.json")]
        out: PathBuf,
        /// Tokens per unit that a provider must stake
        #[arg(long, value_parser = parse_amount)]
        stake_per_unit: Option<Amount>,
        /// Least bond of a validator, in whole tokens
        #[arg(long, value_parser = parse_amount)]
        validator_bond: Option<Amount>,
        /// Length of the validators' epochs (even seconds)
        #[arg(long, value_parser = lode_program::config::parse_duration, value_name = "DURATION")]
        epoch: Option<std::time::Duration>,
        /// How long stake stays bound after a request to take it out
        #[arg(long, value_parser = lode_program::config::parse_duration, value_name = "DURATION")]
        unbonding: Option<std::time::Duration>,
        /// How long a validator's bond stays bound after its exit
        #[arg(long, value_parser = lode_program::config::parse_duration, value_name = "DURATION")]
        exit: Option<std::time::Duration>,
        /// How many epochs a proof may count
        #[arg(long)]
        proof_epochs: Option<u64>,
        /// Do not ask before sending transactions
        #[arg(short, long)]
        yes: bool,
    },
    /// Show the chain, the contracts and their terms
    Info {
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
    /// Send tokens, or the chain's own coin
    Send {
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
}

/// `lode key …`
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a key in a new file (mode 0600) and print its address
    New {
        /// The file; it must not be there
        file: PathBuf,
    },
    /// Print the address of a key
    Show {
        /// The file
        file: PathBuf,
    },
}

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

/// `12.5`, `12.5LODE` or `12.5 LODE`.
fn parse_amount(text: &str) -> Result<Amount, String> {
    let number = text.trim();
    let number = number.strip_suffix("LODE").unwrap_or(number).trim_end();
    number.parse::<Amount>().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_command_of_the_documentation_parses() {
        let key = "--key-file k --deployment d --rpc-url http://127.0.0.1:1 --yes";
        let address = "0x7e5f4552091a69125d5dfcb7b8c2659029395bdf";
        for line in [
            "lode dev".to_owned(),
            "lode dev --once".to_owned(),
            "lode dev --data-dir d --keep".to_owned(),
            "lode dev stop worker-1 --kill".to_owned(),
            "lode dev start worker-1 --data-dir d".to_owned(),
            "lode dev ps".to_owned(),
            "lode task run a.toml --wait".to_owned(),
            "lode task ls --state running -o json".to_owned(),
            "lode -o wide task show x".to_owned(),
            "lode task logs x -f --tail 10 --replica 1 --timestamps".to_owned(),
            "lode task stop x".to_owned(),
            "lode task start x".to_owned(),
            "lode task rm x".to_owned(),
            "lode task explain x --nodes".to_owned(),
            "lode task events x".to_owned(),
            "lode node ls".to_owned(),
            "lode node show x".to_owned(),
            "lode node drain x".to_owned(),
            "lode node undrain x".to_owned(),
            "lode node eject x --yes".to_owned(),
            "lode chain deploy --rpc-url http://127.0.0.1:1 --key-file k --epoch 60s --yes".to_owned(),
            "lode chain info --deployment d".to_owned(),
            format!("lode chain mint {key} --to {address} 12.5LODE"),
            format!("lode provider register {key} --stake 500"),
            format!("lode provider authorize {key} --consent consent.json --units 8"),
            format!("lode provider status {address}"),
            format!("lode pool create {key} --orchestrator {address} --endpoint /ip4/127.0.0.1/tcp/7000"),
            format!("lode pool start {key} 1"),
            "lode pool show 1".to_owned(),
            format!("lode pool set-endpoints {key} 1 /ip4/127.0.0.1/tcp/7000 https://pool.example:8443"),
            format!("lode validator register {key} --bond 100 --endpoint /ip4/127.0.0.1/tcp/7000"),
            "lode key new k".to_owned(),
            "lode context set a --url http://127.0.0.1:1 --token-file t --current".to_owned(),
            "lode context use a".to_owned(),
            "lode completions bash".to_owned(),
        ] {
            parse(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            "lode",
            "lode task",
            "lode task run",
            "lode dev --once --no-examples",
            "lode dev --once stop anvil",
            "lode provider authorize --key-file k --consent c --units 0",
            "lode provider register --key-file k --stake -1",
            "lode provider register --stake 1",
            "lode pool create --key-file k --orchestrator 0x12 --endpoint /ip4/127.0.0.1/tcp/1",
            "lode pool set-endpoints --key-file k 1 http://203.0.113.1:80",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn amounts_are_whole_tokens_with_or_without_their_unit() {
        assert_eq!(parse_amount("12.5").unwrap(), Amount(12_500_000_000_000_000_000));
        assert_eq!(parse_amount("12.5 LODE").unwrap(), parse_amount("12.5LODE").unwrap());
        assert!(parse_amount("LODE").is_err());
        assert!(parse_amount("1e3").is_err());
    }
}
