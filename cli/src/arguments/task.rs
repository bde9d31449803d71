//! `lode task …`

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use lode_api_types::TaskState;
use lode_protocol::ids::PoolId;
use lode_protocol::units::{Millis, Timestamp};

use super::{ChainFlags, StatementFlags};
use crate::output::Written;
use crate::wall_clock::now;

/// `lode task …`
#[derive(Debug, Subcommand)]
pub enum TaskCommand {
    /// Submit a task and print its id
    Run {
        /// Task file, TOML or JSON; `-` reads standard input
        file: PathBuf,
        /// What the task may cost, as `lode task order` wrote it
        #[arg(long, value_name = "FILE")]
        order: Option<PathBuf>,
        /// Wait until it has ended (a service: until it runs); the exit code says how it went
        #[arg(long)]
        wait: bool,
        /// Print its logs while it runs, and wait
        #[arg(short, long)]
        follow: bool,
        /// Give up waiting after this time; the task goes on
        #[arg(long, value_parser = lode_protocol::units::parse_duration, value_name = "DURATION")]
        timeout: Option<std::time::Duration>,
    },
    /// Print the JSON Schema of a task file
    Schema,
    /// Sign what a task may cost at most; the order goes with it: `lode task run --order`
    Order(OrderArguments),
    /// List tasks, the newest first
    #[command(alias = "list")]
    Ls(ListArguments),
    /// Show a task with its replicas
    #[command(aliases = ["get", "describe"])]
    Show {
        /// Id or name
        task: String,
    },
    /// Print what a task wrote
    Logs(LogArguments),
    /// Stop tasks; they can be started again
    Stop {
        /// Ids or names
        #[arg(required = true, value_name = "TASK")]
        tasks: Vec<String>,
        /// Wait until nothing of it runs
        #[arg(long)]
        wait: bool,
    },
    /// Start stopped tasks
    Start {
        /// Ids or names
        #[arg(required = true, value_name = "TASK")]
        tasks: Vec<String>,
    },
    /// Delete tasks, stopping them first
    #[command(alias = "delete")]
    Rm {
        /// Ids or names
        #[arg(required = true, value_name = "TASK")]
        tasks: Vec<String>,
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

/// Which tasks are listed.
#[derive(Clone, Debug, Args)]
pub struct ListArguments {
    /// Only tasks in this state
    #[arg(long, value_parser = states())]
    pub state: Option<TaskState>,
    /// Most tasks to list
    #[arg(long, default_value_t = 50)]
    pub limit: usize,
}

/// Which output is printed.
#[derive(Clone, Debug, Args)]
pub struct LogArguments {
    /// Id or name
    pub task: String,
    /// Go on with what it writes from now on, through restarts, until the replica ends
    #[arg(short, long)]
    pub follow: bool,
    /// Only the last lines
    #[arg(long, value_name = "LINES")]
    pub tail: Option<u64>,
    /// Only lines of this time or later: RFC 3339, or how long ago, like 10m
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    pub since: Option<Timestamp>,
    /// Which replica, from 0; without it the first, and a task with several says so
    #[arg(long)]
    pub replica: Option<u32>,
    /// Put the time before each line
    #[arg(long)]
    pub timestamps: bool,
}

fn states() -> impl TypedValueParser<Value = TaskState> {
    PossibleValuesParser::new(TaskState::ALL.map(TaskState::as_str)).map(|word| {
        let named = TaskState::ALL.into_iter().find(|state| state.as_str() == word);
        named.expect("clap lets no other word pass")
    })
}

/// What a task may cost at most.
#[derive(Clone, Debug, Args)]
pub struct OrderArguments {
    /// Which chain.
    #[command(flatten)]
    pub chain: ChainFlags,
    /// File with the tenant's key (mode 0600)
    #[arg(long, env = "LODE_KEY_FILE", value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// The order, signed elsewhere.
    #[command(flatten)]
    pub statement: StatementFlags,
    /// Task file, TOML or JSON
    pub file: PathBuf,
    /// The pool's number (default: the context's)
    #[arg(long)]
    pub pool: Option<PoolId>,
    /// Most that one GPU may cost for one hour, in whole reward tokens
    #[arg(long, value_name = "AMOUNT")]
    pub price_per_gpu_hour: Written,
    /// Most that the task may cost in all, in whole reward tokens
    #[arg(long, value_name = "AMOUNT")]
    pub budget: Written,
    /// Where the signed order is written; left out: it is printed
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// A time, or how long ago.
fn parse_since(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let span = lode_protocol::units::parse_duration(text)
        .map_err(|_| "write RFC 3339 like 2026-01-31T12:00:00Z, or how long ago, like 10m".to_owned())?;
    Ok(now().minus(Millis::from_duration(span)))
}
