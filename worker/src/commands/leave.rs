//! `lode-worker leave`.

use std::time::Duration;

use lode_contracts::{ChainReader, MembershipState};
use lode_program::{Clock, Exit, ExitError};
use lode_protocol::ids::NodeId;
use lode_protocol::join::LeaveStatement;
use lode_protocol::units::{Millis, Timestamp};

use crate::commands::Arguments;
use crate::config::Config;
use crate::identity;
use crate::local::LeaveAnswer;
use crate::local::client::{self, LocalError};

/// Time between two looks at the chain while waiting.
const LOOK: Duration = Duration::from_secs(1);
/// How long a statement counts that is printed for somebody else to submit.
const VALID: Millis = Millis::seconds(24 * 3_600);

/// Flags of `leave`.
#[derive(Debug, clap::Args)]
pub struct LeaveArguments {
    /// How long to wait until the chain says that the membership has ended.
    #[arg(long, default_value = "5m", value_name = "DURATION")]
    pub timeout: Millis,
    /// Do not wait.
    #[arg(long)]
    pub no_wait: bool,
}

/// Asks the running worker to leave; without one, prints a signed statement that anybody may submit.
pub async fn leave(arguments: &Arguments, flags: &LeaveArguments) -> anyhow::Result<()> {
    let config = arguments.load_config()?;
    match client::leave(&config.socket_path()).await {
        Ok(LeaveAnswer::Requested { connected, .. }) => {
            let how = if connected { "the orchestrator was told" } else { "the orchestrator is told when it can be reached" };
            println!("Leaving pool {}: {how}. Its tasks are moved away first.", config.pool());
            if flags.no_wait { Ok(()) } else { wait(&config, flags.timeout).await }
        }
        Ok(LeaveAnswer::NotMember) => {
            println!("This node is not a member of pool {}: there is nothing to leave.", config.pool());
            Ok(())
        }
        Ok(LeaveAnswer::Unknown) => Err(ExitError::new(
            Exit::Unavailable,
            "the chain has never answered this worker, so that nobody knows which membership to end; check chain.rpc_url",
        )
        .into()),
        Err(LocalError::NotRunning { .. }) => statement(&config).await,
        Err(error) => Err(error.into()),
    }
}

async fn wait(config: &Config, timeout: Millis) -> anyhow::Result<()> {
    let reader = config.chain.connect()?;
    let node = NodeId(identity::load_key(config)?.address());
    let left = async {
        loop {
            // An RPC error is no answer: look again.
            if let Ok(membership) = reader.membership(config.pool(), node).await
                && membership.state != MembershipState::Member
            {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(timeout.to_duration(), left).await.map_err(|_| {
        let text = format!("the membership has not ended on chain within {timeout}; the worker goes on trying, see `lode-worker status`");
        ExitError::new(Exit::Unavailable, text)
    })?;
    println!("The membership has ended. Stop the worker when you like.");
    Ok(())
}

/// No worker runs: whoever has gas submits this.
async fn statement(config: &Config) -> anyhow::Result<()> {
    let reader = config.chain.connect()?;
    let key = identity::load_key(config)?;
    let node = NodeId(key.address());
    let membership = reader
        .membership(config.pool(), node)
        .await
        .map_err(|error| ExitError::new(Exit::Unavailable, format!("the chain cannot be asked: {error}")))?;
    if membership.state != MembershipState::Member {
        println!("This node is not a member of pool {}: there is nothing to leave.", config.pool());
        return Ok(());
    }
    let deadline = Timestamp(Clock::system().wall_millis()).plus(VALID).0 / 1_000;
    let leave = LeaveStatement { pool: config.pool(), node, counter: membership.join_counter, deadline };
    let domain = lode_protocol::join::pools_domain(reader.deployment().chain_id, reader.deployment().pools);
    let signature = key.sign_recoverable(&leave.digest(&domain));
    println!(
        "No worker runs here. Anybody with gas may end the membership with this statement (valid for {VALID}):\n"
    );
    let json = serde_json::json!({
        "pool": leave.pool, "node": leave.node, "counter": leave.counter, "deadline": leave.deadline,
        "signature": signature,
    });
    println!("{}", serde_json::to_string_pretty(&json)?);
    Ok(())
}
