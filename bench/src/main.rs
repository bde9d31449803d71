//! `lode-bench NAME`: measures one thing on the real programs, prints one table.
//!
//! Machines differ: each figure stands beside something measured in the same run, and their ratio is what counts.

mod heartbeat;
mod process;
mod submit_latency;
mod table;
mod worker_idle;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "lode-bench", version, about = "Measures Lode on this machine")]
struct Arguments {
    /// Print JSON instead of a table
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(Debug, Subcommand)]
enum Benchmark {
    /// Memory and CPU of a worker with 8 idle GPUs
    WorkerIdle {
        /// How long it is watched
        #[arg(long, default_value_t = 30)]
        seconds: u64,
    },
    /// CPU of the orchestrator per heartbeat
    Heartbeat {
        /// Nodes that beat, each over its own connection
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=200))]
        nodes: u32,
        /// Beats of each node
        #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        beats: u32,
    },
    /// Time from a submitted task to its container
    SubmitLatency {
        /// How many tasks, one after the other
        #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        tasks: u32,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let table = match arguments.benchmark {
        Benchmark::WorkerIdle { seconds } => worker_idle::run(seconds).await?,
        Benchmark::Heartbeat { nodes, beats } => heartbeat::run(nodes, beats).await?,
        Benchmark::SubmitLatency { tasks } => submit_latency::run(tasks).await?,
    };
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&table.to_json())?);
    } else {
        println!("{table}");
    }
    Ok(())
}
