//! What a heartbeat costs the orchestrator: CPU of its process per beat, beside one bare check of a signature.
//!
//! The orchestrator runs in a process of its own ([`serve`]), over real sockets, on a chain in memory on which every node
//! is a member; the load's CPU is not counted. Nodes have 8 GPUs, a key and a connection of their own, and signed their
//! beats beforehand. Saturated, each keeps a few beats under way; paced, all of them together send so many a second, as a
//! fleet does. The machine's speed changes from second to second: the baseline is the best of many short ones before,
//! between and after.

mod baseline;
pub(crate) mod line;
mod load;
pub(crate) mod node;
mod serve;
mod target;

use std::time::Duration;

use anyhow::Context as _;

use self::baseline::Baseline;
use self::line::Way;
use self::load::{Burst, Load};
use crate::table::{Row, Table};
pub(crate) use serve::serve;
pub(crate) use target::Target;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// Connections that are saturated.
    pub(crate) saturated: u32,
    /// Beats on each of them.
    pub(crate) beats: u32,
    /// Connections that beat at a pace.
    pub(crate) paced: u32,
    /// Beats a second, of all of these together.
    pub(crate) rate: u32,
    /// For how long.
    pub(crate) seconds: u32,
}

/// The nearest existing system accepts so many a second per CPU-second of two cores with its load beside it.
const NEAREST: f64 = 715.0;

pub(crate) async fn run(settings: Settings) -> anyhow::Result<Table> {
    let nodes = settings.saturated.max(settings.paced);
    let server = serve::Server::start(nodes).await?;
    let load = Load::new(server.target.clone());
    let mut baseline = Baseline::default();
    let mut rows = Vec::new();
    let pace = Some(f64::from(settings.rate));
    let beats_paced = settings.rate.saturating_mul(settings.seconds).div_ceil(settings.paced.max(1));
    let measured = [
        ("saturated", Way::Libp2p, settings.saturated, settings.beats, None, 2.0),
        ("saturated", Way::Http, settings.saturated, settings.beats, None, 3.0),
        ("paced", Way::Libp2p, settings.paced, beats_paced, pace, 3.5),
        ("paced", Way::Http, settings.paced, beats_paced, pace, 3.5),
    ];
    let mut bursts = Vec::new();
    for (how, way, connections, beats, pace, target) in measured {
        baseline.measure();
        let burst = load.burst(way, connections, beats, pace).await?;
        baseline.measure();
        bursts.push((how, way, connections, burst, target));
    }
    baseline.measure();
    let verify = baseline.best_micros().context("no baseline was measured")?;
    for (how, way, connections, burst, target) in bursts {
        let Burst { cpu, wall, beats, latencies } = burst;
        let beats = f64::from(beats);
        let name = |what: &str| format!("{what}, {}, {how}, {connections} connections", way.name());
        let row = |what: &str, value, unit, baseline, target| Row {
            name: name(what),
            value,
            unit,
            baseline,
            target,
        };
        let bare = Some((verify, "one bare signature check"));
        rows.push(row("heartbeat CPU", cpu / beats * 1e6, "µs", bare, Some(target)));
        rows.push(row("heartbeats accepted", beats / wall, "1/s", None, None));
        match latencies {
            None => {
                rows.push(row("heartbeats per CPU-second", beats / cpu, "1/s", None, Some(20.0 * NEAREST)))
            }
            Some(p99) => rows.push(row("answer, p99", p99 * 1e3, "ms", None, None)),
        }
    }
    server.stop(Duration::from_secs(30)).await?;
    Ok(Table { title: "heartbeats: members with 8 GPUs, signed beforehand".to_owned(), rows })
}
