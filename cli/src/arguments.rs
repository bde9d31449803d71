//! The words of the command line, one file per subject.

mod amount;
mod chain;
mod context;
mod dev;
mod key;
mod node;
mod pool;
mod provider;
mod run;
mod signer;
mod task;
mod validator;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

pub use chain::{ChainCommand, DeployArguments};
pub use context::ContextCommand;
pub use dev::{DevAction, DevArguments, DevPool};
pub use key::KeyCommand;
pub use node::NodeCommand;
pub use pool::{MemberCommand, MoneyCommand, PoolCommand, RewardToken};
pub use provider::{ProviderCommand, ReceiptFlags};
pub use run::RunArguments;
pub use signer::{ChainFlags, SignerFlags, StatementFlags};
pub use task::{ListArguments, LogArguments, OrderArguments, TaskCommand};
pub use validator::{
    BondCommand, EvidenceFlags, JudgementCommand, OffenceArgument, ValidatorCommand, Verdict,
};

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
#[command(next_help_heading = "Global options")]
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
    /// Run an image: submit it as a task, print what it writes, end with how it went
    Run(Box<RunArguments>),
    /// Print what a task wrote: `lode task logs`
    Logs(LogArguments),
    /// List tasks, the newest first: `lode task ls`
    Ps(ListArguments),
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
        let digest = format!("0x{}", "ab".repeat(32));
        let statement = format!("--typed-data --signer {address} --deadline 1800000000");
        let signed = format!("--signature 0x12 --signer {address} --deadline 2027-01-15T08:00:00Z");
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
            "lode task rm x y".to_owned(),
            "lode run --gpus 1xH100 --disk 50GB busybox -- sh -c true".to_owned(),
            "lode run -d --service -p http=8080 busybox".to_owned(),
            "lode run --print busybox sh -c true".to_owned(),
            "lode logs x -f".to_owned(),
            "lode ps --state running".to_owned(),
            "lode task list".to_owned(),
            "lode task get x".to_owned(),
            "lode task describe x".to_owned(),
            "lode task delete x".to_owned(),
            "lode node list".to_owned(),
            "lode node describe x".to_owned(),
            "lode task explain x --nodes".to_owned(),
            "lode task events x".to_owned(),
            "lode node ls".to_owned(),
            "lode node show x".to_owned(),
            "lode node drain x".to_owned(),
            "lode node undrain x".to_owned(),
            "lode node eject x --yes".to_owned(),
            "lode node readmit x".to_owned(),
            format!(
                "lode task order a.toml {statement} --pool 1 --price-per-gpu-hour 2.5 --budget 100 --out o"
            ),
            "lode task run a.toml --order order.json".to_owned(),
            "lode chain deploy --rpc-url http://127.0.0.1:1 --key-file k --epoch 60s --parameters p --yes"
                .to_owned(),
            "lode chain info --deployment d".to_owned(),
            "lode chain verify --deployment d".to_owned(),
            "lode chain send --signed 0x02 --yes".to_owned(),
            "lode chain send --signed raw.txt --dry-run".to_owned(),
            format!("lode chain mint {key} --to {address} 12.5LODE"),
            format!("lode chain transfer {key} --to {address} 1 --coin"),
            format!("lode provider register {key} --stake 500"),
            format!("lode provider register --stake 500 --typed-data=permit.json --signer {address}"),
            format!("lode provider register --stake 500 --sign-elsewhere --from {address} {signed}"),
            format!("lode provider stake {key} 12.5 --dry-run"),
            format!("lode provider authorize {key} --consent consent.json --units 8"),
            format!("lode provider authorize {key} --consent consent.json --units 8 {signed}"),
            format!("lode provider approve-pool {key} 1 --withdraw {signed}"),
            format!("lode provider leave {key} 1 {address} {signed}"),
            format!("lode provider revoke {key}"),
            format!("lode provider claim {key} --pool 1 --payee {address} --payee {address} --receipts f"),
            format!("lode provider claim {key} --all --epoch 7"),
            format!("lode provider earnings --pool 1 --payee {address}"),
            format!("lode provider redeem {key} --receipt f"),
            format!("lode provider redeem {key} --settle --pool 1 --payee {address}"),
            format!("lode provider answer {key} 3 --file answer.md --uri https://x {signed}"),
            format!("lode provider status {address}"),
            format!(
                "lode pool create {key} --orchestrator {address} --endpoint /ip4/127.0.0.1/tcp/7000 --reward-token lode"
            ),
            format!("lode pool start {key} 1"),
            "lode pool show 1".to_owned(),
            format!("lode pool set-endpoints {key} 1 /ip4/127.0.0.1/tcp/7000 https://pool.example:8443"),
            format!("lode pool set-requirements {key} 1 --requirements f --uri https://x"),
            format!("lode pool transfer {key} 1 {address}"),
            format!("lode pool transfer {key} 1 --cancel"),
            format!("lode pool accept {key} 1"),
            format!("lode pool fund {key} 1 200 {signed}"),
            format!("lode pool spend-cap {key} 1 5USDX"),
            format!("lode pool withdraw {key} 1 --request 5"),
            format!("lode pool withdraw {key} 1 --collect --to {address}"),
            "lode pool budget 1 -o json".to_owned(),
            "lode pool invite".to_owned(),
            "lode pool invite x".to_owned(),
            format!("lode pool eject {key} 1 {address}"),
            format!("lode pool ban {key} 1 {address}"),
            format!("lode pool unban {key} 1 {address}"),
            format!("lode pool ban-provider {key} 1 {address}"),
            format!("lode pool unban-provider {key} 1 {address}"),
            format!("lode validator register {key} --bond 100 --endpoint /ip4/127.0.0.1/tcp/7000"),
            format!("lode validator stake {key} 5"),
            format!("lode validator exit {key}"),
            format!("lode validator withdraw {key}"),
            format!("lode validator status {address}"),
            format!(
                "lode validator accuse {key} --provider {address} --node {address} --offence forged-proof --amount 5 \
                 --evidence f --uri https://x"
            ),
            format!("lode validator vote {key} 3 guilty"),
            format!("lode validator resolve {key} 3"),
            format!("lode validator collect {key} {address}"),
            format!("lode validator accusations --open --provider {address}"),
            "lode validator accusations 3".to_owned(),
            format!("lode validator veto {key} 1 7 --evidence f"),
            format!("lode validator veto-redemption {key} 1 {address} --evidence-hash {digest}"),
            format!("lode validator penalize {key} 7 {address}"),
            "lode key sign statement.json --key-file k --yes".to_owned(),
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
            "lode run",
            "lode run --print --detach busybox",
            "lode run --gpus all busybox",
            "lode run --memory 80 busybox",
            "lode run -p 80:80 busybox",
            "lode task rm",
            "lode dev --once --no-examples",
            "lode dev --once stop anvil",
            "lode provider authorize --key-file k --consent c --units 0",
            "lode provider register --key-file k --stake -1",
            "lode provider register --key-file k --stake 1 --dry-run --sign-elsewhere",
            "lode provider register --key-file k --stake 1 --signature 0x12",
            "lode provider register --key-file k --stake 1 --typed-data --signature 0x12",
            "lode provider claim --key-file k --all --payee 0x7e5f4552091a69125d5dfcb7b8c2659029395bdf",
            "lode provider redeem --key-file k",
            "lode provider answer --key-file k 3 --uri x",
            "lode pool withdraw --key-file k 1",
            "lode pool withdraw --key-file k 1 --request 5 --collect",
            "lode pool fund --key-file k 1 five",
            "lode pool create --key-file k --orchestrator 0x7e5f4552091a69125d5dfcb7b8c2659029395bdf",
            "lode validator vote --key-file k 3 maybe",
            "lode validator veto --key-file k 1 7",
            "lode chain send",
            "lode pool create --key-file k --orchestrator 0x12 --endpoint /ip4/127.0.0.1/tcp/1",
            "lode pool set-endpoints --key-file k 1 http://203.0.113.1:80",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
