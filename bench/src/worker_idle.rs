//! A worker that has nothing to do: 8 simulated GPUs sampled every second, a beat every 2 s.

use std::time::Duration;

use lode_e2e::pool::Pool;

use crate::process::{bare_verify_seconds, cpu_seconds, pid_of, resident_mebibytes};
use crate::table::{Row, Table};

/// Beats of a dev pool are so far apart.
const BEAT_SECONDS: f64 = 2.0;

pub(crate) async fn run(seconds: u64) -> anyhow::Result<Table> {
    let pool = Pool::start().await?;
    let pid = pid_of(&pool, "worker-1").await?;
    let chain = pid_of(&pool, "anvil").await?;
    // What the start cost is not idling.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let before = cpu_seconds(pid)?;
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let span = seconds as f64;
    let cpu = (cpu_seconds(pid)? - before) / span;
    let (memory, of_chain) = (resident_mebibytes(pid)?, resident_mebibytes(chain)?);
    let verify = bare_verify_seconds()?;
    let rows = vec![
        Row {
            name: "resident memory".to_owned(),
            value: memory,
            unit: "MiB",
            baseline: Some((of_chain, "anvil in the same pool")),
            target: None,
        },
        Row {
            name: "CPU of one core".to_owned(),
            value: cpu * 100.0,
            unit: "%",
            baseline: None,
            target: Some(0.5),
        },
        Row {
            name: "CPU per beat interval".to_owned(),
            value: cpu * BEAT_SECONDS * 1e6,
            unit: "µs",
            baseline: Some((verify * 1e6, "one bare signature check")),
            target: None,
        },
    ];
    pool.finish().await?;
    Ok(Table { title: format!("worker-idle: one worker, 8 idle simulated GPUs, {seconds} s"), rows })
}
