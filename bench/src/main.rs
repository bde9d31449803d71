//! `lode-bench NAME`: measures one thing on the real programs, prints one table.
//!
//! Machines differ: each figure stands beside something measured in the same run, and their ratio is what counts.

mod allocator;
mod child;
mod dispatch;
mod fleet;
mod footprint;
mod heartbeats;
mod longest_step;
mod mass_loss;
mod orchestrator;
mod output;
mod placement;
mod process;
mod shapes;
mod stopwatch;
mod strangers;
mod table;

use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: allocator::Counting = allocator::Counting;

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
    /// CPU of the orchestrator per heartbeat, saturated and paced, over libp2p and HTTP
    Heartbeats {
        /// Connections that are saturated
        #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=9_000))]
        saturated: u32,
        /// Beats on each of them
        #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        beats: u32,
        /// Connections that beat at a pace (HTTP takes 1,024 of one address)
        #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        paced: u32,
        /// Beats a second of all of these together
        #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        rate: u32,
        /// For how long
        #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=300))]
        seconds: u32,
    },
    /// The orchestrator that `heartbeats` measures, until its input is closed
    #[command(hide = true)]
    HeartbeatsServe {
        /// Members
        nodes: u32,
    },
    /// Decisions of placement per second, by size of the fleet and by constraint
    Placement {
        /// Nodes of the largest fleet
        #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1_000..=1_000_000))]
        nodes: u32,
    },
    /// Longest turn of the core while something happens to very many at once
    LongestStep {
        /// Nodes of the fleet
        #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1_000..=1_000_000))]
        nodes: u32,
    },
    /// How long the API takes while very many nodes are lost at once with what runs on them
    MassLoss {
        /// Nodes that are lost; as many others take their work over
        #[arg(long, default_value_t = 30_000, value_parser = clap::value_parser!(u32).range(100..=100_000))]
        nodes: u32,
    },
    /// The orchestrator that `mass-loss` measures, until its input is closed
    #[command(hide = true)]
    MassLossServe {
        /// Nodes that are lost
        nodes: u32,
    },
    /// What attackers cost the orchestrator, and what honest nodes and people notice of them
    Strangers {
        /// How long each attack goes on
        #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(5..=600))]
        seconds: u32,
        /// Addresses that they come from, 127.0.0.1 and on
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=50))]
        addresses: u32,
    },
    /// The orchestrator that `strangers` measures, until its input is closed
    #[command(hide = true)]
    StrangersServe {
        /// Nodes that are enrolled
        nodes: u32,
    },
    /// The attackers of `strangers`
    #[command(hide = true)]
    StrangersAttack {
        /// What to do, as JSON
        order: String,
    },
    /// Bytes of a node and of an assignment in the core; memory and CPU of an idle worker and its orchestrator
    Footprint {
        /// Nodes and assignments in the core
        #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1_000..=1_000_000))]
        nodes: u32,
        /// How long the programs are watched
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
    /// Time from a submitted task to its container
    Dispatch {
        /// How many tasks, one after the other
        #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        tasks: u32,
    },
    /// A task's output into a file, beside `docker logs` of the same container
    Output {
        /// How much
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        megabytes: u32,
        /// Bytes of a line
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(12..=100_000))]
        line: u32,
        /// How often each
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
        rounds: u32,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let table = match arguments.benchmark {
        Benchmark::Heartbeats { saturated, beats, paced, rate, seconds } => {
            heartbeats::run(heartbeats::Settings { saturated, beats, paced, rate, seconds }).await?
        }
        Benchmark::HeartbeatsServe { nodes } => return heartbeats::serve(nodes).await,
        Benchmark::Placement { nodes } => placement::run(nodes)?,
        Benchmark::MassLoss { nodes } => mass_loss::run(nodes).await?,
        Benchmark::MassLossServe { nodes } => return mass_loss::serve(nodes).await,
        Benchmark::Strangers { seconds, addresses } => {
            strangers::run(strangers::Settings { seconds, addresses }).await?
        }
        Benchmark::StrangersServe { nodes } => return strangers::serve(nodes).await,
        Benchmark::StrangersAttack { order } => return strangers::attack(&order).await,
        Benchmark::LongestStep { nodes } => longest_step::run(nodes)?,
        Benchmark::Footprint { nodes, seconds } => footprint::run(nodes, seconds).await?,
        Benchmark::Dispatch { tasks } => dispatch::run(tasks).await?,
        Benchmark::Output { megabytes, line, rounds } => output::run(megabytes, line, rounds).await?,
    };
    if arguments.json {
        print!("{}", table.to_json_lines());
    } else {
        println!("{table}");
    }
    Ok(())
}
