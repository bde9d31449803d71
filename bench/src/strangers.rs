//! What strangers cost, and whom they harm: an orchestrator with the limits that it comes with is attacked at full speed,
//! in one way after the other, while honest nodes and people go on.
//!
//! The orchestrator is a real one, in a process of its own ([`serve`]), over real sockets, with its store in a file; so
//! are the attackers ([`attack`]). What honest callers wait for, what the process uses and what its directory grows by
//! while nobody attacks, for as long, is what each attack is compared with.

mod attack;
mod gauge;
mod honest;
mod place;
mod serve;

use std::pin::pin;
use std::time::Duration;

use anyhow::ensure;
use lode_program::{install_crypto_provider, open_files};
use tokio::time::sleep;

use self::attack::{Attack, FAST, Tally};
use self::gauge::Gauge;
use self::honest::{BETWEEN_NEWCOMERS, Honest, MEMBERS, Seen};
use self::place::Place;
use crate::child::Server;
use crate::process::resident_mebibytes;
use crate::table::{Row, Table, percentile};
pub(crate) use attack::attack;
pub(crate) use serve::serve;

/// Longest time for the child to be ready, and to end.
const READY: Duration = Duration::from_secs(300);
/// Before anything counts: longer than a lease, so that nodes that came and went are lost at their usual rate.
const WARM_UP: Duration = Duration::from_secs(20);
/// Between two attacks: what is left of the last one ends.
const BETWEEN: Duration = Duration::from_secs(15);
/// Between two looks at memory.
const LOOK: Duration = Duration::from_millis(250);
/// Refusals that are told.
const TOLD: usize = 5;

/// Most that memory may grow by, in MiB.
const MOST_GROWTH: f64 = 16.0;
/// Most that honest callers may wait, against the quiet pool.
const MOST_RATIO: f64 = 2.0;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// For how long each attack goes on.
    pub(crate) seconds: u32,
    /// From how many addresses.
    pub(crate) addresses: u32,
}

/// What happened in one stretch of time.
struct Stretch {
    seen: Seen,
    used: Gauge,
    /// Most that resident memory was above what it was at the beginning, in MiB.
    grown: f64,
}

struct Bench {
    server: Server,
    place: Place,
    honest: Honest,
}

pub(crate) async fn run(settings: Settings) -> anyhow::Result<Table> {
    install_crypto_provider();
    open_files::raise();
    let Settings { seconds, addresses } = settings;
    let span = Duration::from_secs(seconds.into());
    // One newcomer after the other, through all of it; half as many more, because attacks take their time to end.
    let stretches = u32::try_from(Attack::ALL.len())? + 1;
    let whole = WARM_UP + (span + BETWEEN) * stretches;
    let newcomers = u32::try_from(whole.as_millis() / BETWEEN_NEWCOMERS.as_millis() * 3 / 2)?;
    let (first, nodes) = (FAST + 1, FAST + 1 + newcomers);
    let (server, place): (Server, Place) = Server::start(serve::COMMAND, nodes, READY).await?;
    let honest = Honest::start(server.pid, &place, first..nodes).await?;
    let bench = Bench { server, place, honest };
    sleep(WARM_UP).await;
    let (quiet, ()) = bench
        .watch(async {
            sleep(span).await;
            Ok(())
        })
        .await?;
    let mut rows = rows_of("quiet", &quiet, None);
    for kind in Attack::ALL {
        let (meanwhile, tally) = bench.watch(attack::run(kind, addresses, seconds, &bench.place)).await?;
        rows.extend(costs_of(kind.name(), &meanwhile, &quiet, tally));
        rows.extend(rows_of(kind.name(), &meanwhile, Some(&quiet)));
        for refusal in meanwhile.seen.refusals.iter().take(TOLD) {
            eprintln!("{}: {refusal}", kind.name());
        }
        sleep(BETWEEN).await;
    }
    let Bench { server, honest, .. } = bench;
    drop(honest);
    server.stop(READY).await?;
    let title =
        format!("strangers: {MEMBERS} members, each attack for {seconds} s from {addresses} addresses");
    Ok(Table { title, rows })
}

impl Bench {
    /// Watches what the orchestrator uses, and what honest callers meet, until something is over.
    async fn watch<T>(
        &self,
        during: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<(Stretch, T)> {
        let pid = self.server.pid;
        // What came before does not count.
        drop(self.honest.take());
        let before = Gauge::read(pid, &self.place).await?;
        let resident = resident_mebibytes(pid)?;
        let mut most = resident;
        let mut during = pin!(during);
        let outcome = loop {
            tokio::select! {
                outcome = &mut during => break outcome?,
                () = sleep(LOOK) => most = most.max(resident_mebibytes(pid)?),
            }
        };
        most = most.max(resident_mebibytes(pid)?);
        let used = Gauge::read(pid, &self.place).await?.since(before);
        let mut seen = self.honest.take();
        for (what, times) in [("read", &mut seen.reads), ("beat", &mut seen.beats), ("join", &mut seen.joins)]
        {
            ensure!(!times.is_empty(), "there was not a single honest {what}: {:?}", seen.refusals);
            times.sort_by(f64::total_cmp);
        }
        Ok((Stretch { seen, used, grown: most - resident }, outcome))
    }
}

/// What honest callers met.
fn rows_of(name: &str, stretch: &Stretch, quiet: Option<&Stretch>) -> Vec<Row> {
    let p99 = |times: &[f64]| percentile(times, 0.99);
    let wait = |what: &str, of: fn(&Seen) -> &[f64]| Row {
        name: format!("{name}: {what}, p99"),
        value: p99(of(&stretch.seen)),
        unit: "ms",
        baseline: quiet.map(|quiet| (p99(of(&quiet.seen)), "quiet")),
        target: quiet.map(|_| MOST_RATIO),
    };
    let refusals = Row {
        name: format!("{name}: honest refusals"),
        value: stretch.seen.refusals.len() as f64,
        unit: "",
        baseline: None,
        target: Some(0.0),
    };
    vec![
        wait("API read", |seen| seen.reads.as_slice()),
        wait("beat of a member", |seen| seen.beats.as_slice()),
        wait("join of a new node", |seen| seen.joins.as_slice()),
        refusals,
    ]
}

/// What an attack did to the orchestrator, beyond what it uses by itself in as long a time.
fn costs_of(name: &str, stretch: &Stretch, quiet: &Stretch, tally: Tally) -> Vec<Row> {
    let row = |what: &str, value: f64, unit, target| Row {
        name: format!("{name}: {what}"),
        value,
        unit,
        baseline: None,
        target,
    };
    let beyond = |of: fn(&Gauge) -> f64| (of(&stretch.used) - of(&quiet.used)).max(0.0);
    // Only those that went as they should: all others would make each look cheaper.
    let each = (tally.done as f64).max(1.0);
    vec![
        row("attacks", tally.done as f64 / tally.seconds, "1/s", None),
        row("cut off, or not let in", tally.cut_off as f64 / tally.seconds, "1/s", None),
        row("resident memory grew by", stretch.grown, "MiB", Some(MOST_GROWTH)),
        row("data directory, beyond quiet", beyond(|used| used.bytes), "B", Some(0.0)),
        row("CPU of an attack", beyond(|used| used.cpu) / each * 1e6, "µs", None),
        row("chain requests of an attack", beyond(|used| used.chain_requests) / each, "", None),
    ]
}
