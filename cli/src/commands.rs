//! What each command does.

mod chain;
pub(crate) mod confirm;
mod context;
mod key;
mod node;
mod pool;
mod provider;
mod run;
pub(crate) mod task;
mod validator;

use std::path::Path;

use anyhow::Context as _;
use clap::CommandFactory as _;
use lode_contracts::Intent;
use lode_protocol::hash::{Digest, keccak256};

use crate::arguments::{Arguments, Command, Global, SignerFlags, TaskCommand};
use crate::companion;
use crate::output;
use crate::wallet::{Plan, Wallet};

/// Runs one command.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let global = &arguments.global;
    match arguments.command {
        Command::Run(arguments) => run::run(global, *arguments).await,
        Command::Logs(arguments) => task::run(global, TaskCommand::Logs(arguments)).await,
        Command::Ps(arguments) => task::run(global, TaskCommand::Ls(arguments)).await,
        Command::Task(command) => task::run(global, command).await,
        Command::Node(command) => node::run(global, command).await,
        Command::Pool(command) => pool::run(global, command).await,
        Command::Provider(command) => provider::run(global, command).await,
        Command::Validator(command) => validator::run(global, command).await,
        Command::Chain(command) => chain::run(global, command).await,
        Command::Key(command) => key::run(global, command),
        Command::Context(command) => context::run(global, command),
        Command::Dev(_) => Err(companion::become_dev()),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "lode", &mut script);
            output::print(&String::from_utf8_lossy(&script))
        }
    }
}

/// A command that is one transaction.
async fn transact(
    global: &Global,
    flags: &SignerFlags,
    what: impl Into<String>,
    done: impl Into<String>,
    intent: Intent,
) -> anyhow::Result<()> {
    let wallet = Wallet::open(global, flags).await?;
    wallet.carry_out(&Plan::new(what, done, intent)).await.map(drop)
}

/// Keccak-256 of a file: what the chain holds of documents.
fn hash_of_file(path: &Path) -> anyhow::Result<Digest> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(keccak256(&bytes))
}
