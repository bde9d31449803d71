//! What things take: a node and an assignment in the orchestrator's core, by counted bytes; and the programs while
//! nothing happens: a worker with 8 idle simulated GPUs, its orchestrator.

use std::time::Duration;

use lode_e2e::pool::Pool;

use crate::allocator::bytes_in_use;
use crate::fleet::{Fleet, Mix, free_pool, submit};
use crate::process::{cpu_seconds, pid_of, resident_mebibytes};
use crate::shapes::batch;
use crate::table::{Row, Table};

/// Bytes of a node with 8 GPUs and two labels.
const NODE: f64 = 2_048.0;
/// Bytes of an assignment, its task and replica.
const ASSIGNMENT: f64 = 1_024.0;
/// Resident memory of a worker, in MiB.
const WORKER: f64 = 30.0;
/// CPU of an idle worker, in percent of a core.
const IDLE: f64 = 0.5;
/// What the start cost is not idling.
const SETTLING: Duration = Duration::from_secs(5);

pub(crate) async fn run(nodes: u32, seconds: u64) -> anyhow::Result<Table> {
    let mut rows = in_the_core(nodes)?;
    rows.extend(of_programs(seconds).await?);
    Ok(Table {
        title: format!("footprint: {nodes} nodes in the core; programs watched for {seconds} s"),
        rows,
    })
}

fn in_the_core(nodes: u32) -> anyhow::Result<Vec<Row>> {
    let grown = |before: usize| (bytes_in_use() as f64 - before as f64) / f64::from(nodes);
    let row =
        |name: &str, value, target| Row { name: name.to_owned(), value, unit: "B", baseline: None, target };
    let before = bytes_in_use();
    let mut fleet = Fleet::new(free_pool(), Mix::Uniform, nodes)?;
    let of_node = grown(before) - fleet.own_bytes_per_node();
    let before = bytes_in_use();
    let one = batch("[resources]\ngpus = 1\n")?;
    for number in 0..u64::from(nodes) {
        fleet.step(submit(number, &one))?;
    }
    fleet.finish()?;
    let single = grown(before);
    let mut fleet = Fleet::new(free_pool(), Mix::Uniform, nodes)?;
    let many = batch("replicas = 1000\n[resources]\ngpus = 1\n")?;
    let before = bytes_in_use();
    for number in 0..u64::from(nodes / 1_000) {
        fleet.step(submit(number, &many))?;
    }
    fleet.finish()?;
    let replicas = grown(before);
    Ok(vec![
        row("a node with 8 GPUs, heap", of_node, Some(NODE)),
        row("an assignment, its task for itself, heap", single, Some(ASSIGNMENT)),
        row("an assignment, one of a thousand of its task, heap", replicas, Some(ASSIGNMENT)),
    ])
}

async fn of_programs(seconds: u64) -> anyhow::Result<Vec<Row>> {
    let pool = Pool::start().await?;
    let (worker, orchestrator) = (pid_of(&pool, "worker-1").await?, pid_of(&pool, "orchestrator").await?);
    tokio::time::sleep(SETTLING).await;
    let before = (cpu_seconds(worker)?, cpu_seconds(orchestrator)?);
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let after = (cpu_seconds(worker)?, cpu_seconds(orchestrator)?);
    let percent = |before: f64, after: f64| (after - before) / seconds as f64 * 100.0;
    let row =
        |name: &str, value, unit, target| Row { name: name.to_owned(), value, unit, baseline: None, target };
    let rows = vec![
        row("idle worker, resident", resident_mebibytes(worker)?, "MiB", Some(WORKER)),
        row("idle worker, of one core", percent(before.0, after.0), "%", Some(IDLE)),
        row("idle orchestrator of two workers, resident", resident_mebibytes(orchestrator)?, "MiB", None),
        row("idle orchestrator of two workers, of one core", percent(before.1, after.1), "%", None),
    ];
    pool.finish().await?;
    Ok(rows)
}
