//! `lode-worker gpu`.

use lode_program::{Exit, ExitError};
use lode_protocol::ids::GpuUuid;

use crate::commands::Arguments;
use crate::gpus::ClearAnswer;
use crate::local::client::{self, LocalError};

/// Flags of `gpu`.
#[derive(Debug, clap::Args)]
pub struct GpuArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: GpuCommand,
}

/// The subcommands of `gpu`.
#[derive(Debug, clap::Subcommand)]
pub enum GpuCommand {
    /// Gives a GPU that is held back another chance, after you have looked after it: it is used again once it reads well.
    Clear {
        /// The GPU, as `lode-worker status` names it.
        uuid: GpuUuid,
    },
}

/// Asks the running worker.
pub async fn gpu(arguments: &Arguments, flags: &GpuArguments) -> anyhow::Result<()> {
    let GpuCommand::Clear { uuid } = &flags.command;
    let config = arguments.load_config()?;
    let answer = match client::clear_gpu(&config.socket_path(), uuid).await {
        Ok(answer) => answer,
        Err(error @ LocalError::NotRunning { .. }) => {
            return Err(ExitError::new(Exit::Unavailable, error.to_string()).into());
        }
        Err(error) => return Err(error.into()),
    };
    match answer {
        ClearAnswer::Cleared { reason } => {
            println!(
                "{uuid} was held back: {reason}. It is used again after some clean readings; see `lode-worker status`."
            );
        }
        ClearAnswer::Forgotten => {
            println!("{uuid} is not shown by the driver any more, and was forgotten.");
        }
        ClearAnswer::NotNeeded { state } => {
            let state = format!("{state:?}").to_lowercase();
            println!("{uuid} is {state}: nothing holds it back that you could lift.");
        }
        ClearAnswer::Unknown { gpus } => {
            let known: Vec<&str> = gpus.iter().map(GpuUuid::as_str).collect();
            let there_are = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            let text = format!("this worker has no GPU {uuid}; there are: {there_are}");
            return Err(ExitError::new(Exit::Failure, text).into());
        }
    }
    Ok(())
}
