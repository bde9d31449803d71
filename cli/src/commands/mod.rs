//! What each command does.

mod chain;
mod confirm;
mod context;
mod key;
mod node;
mod pool;
mod provider;
mod signer;
pub(crate) mod task;
mod validator;

use clap::CommandFactory as _;

use crate::arguments::{Arguments, Command};
use crate::output::{self, ReaderGone};

/// Runs one command.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let global = &arguments.global;
    let result = match arguments.command {
        Command::Task(command) => task::run(global, command).await,
        Command::Node(command) => node::run(global, command).await,
        Command::Pool(command) => pool::run(global, command).await,
        Command::Provider(command) => provider::run(global, command).await,
        Command::Validator(command) => validator::run(global, command).await,
        Command::Chain(command) => chain::run(global, command).await,
        Command::Key(command) => key::run(global, &command),
        Command::Context(command) => context::run(global, command),
        Command::Dev(dev) => match dev.action {
            Some(action) => crate::dev::act(global, action).await,
            None => crate::dev::up(&dev).await,
        },
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "lode", &mut script);
            output::print(&String::from_utf8_lossy(&script))
        }
    };
    match result {
        Err(error) if error.is::<ReaderGone>() => Ok(()),
        other => other,
    }
}
