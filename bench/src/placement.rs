//! Decisions of placement per second, through the orchestrator's core alone: everything that a decision entails is in
//! it (rows, log entries, messages), nothing of the network, the store or the disk.

use std::time::Duration;

use lode_orchestrator_core::event::{ChainView, Event};
use lode_protocol::task::ValidTaskSpec;
use lode_protocol::units::Millis;

use crate::fleet::{Fleet, Mix, free_pool, node_id, provider, submit};
use crate::shapes::{batch, constraint, mixed_specs};
use crate::stopwatch::Stopwatch;
use crate::table::{Row, Table};

/// Nodes of the smallest fleet: what the largest one is compared with.
const FEW: u32 = 1_000;
/// No single series takes longer: what is decided by then counts.
const LIMIT: Duration = Duration::from_secs(10);
const PER_SECOND: &str = "1/s";
/// Decisions of a mixed queue per second in the largest fleet.
const RATE: f64 = 40_000.0;
/// How much dearer a decision may be there than in the smallest one.
const GROWTH: f64 = 2.0;

pub(crate) fn run(nodes: u32) -> anyhow::Result<Table> {
    let mut rows = Vec::new();
    let mut sizes = vec![FEW.min(nodes), 10_000.min(nodes), nodes];
    sizes.dedup();
    let mut rates = Vec::new();
    for size in sizes {
        let rate = queue(size)?;
        rates.push(rate);
        let target = (size == nodes).then_some(RATE);
        rows.push(rate_row(format!("mixed queue, {size} nodes"), rate, target));
    }
    if let (Some(first), Some(last)) = (rates.first(), rates.last()) {
        rows.push(Row {
            name: format!("cost of a decision, {nodes} nodes beside {FEW}"),
            value: 1e6 / last,
            unit: "µs",
            baseline: Some((1e6 / first, "the smallest fleet")),
            target: Some(GROWTH),
        });
    }
    let one_by_one = submitted(nodes, Mix::Mixed, &mixed_specs()?, u64::from(nodes).min(50_000))?;
    rows.push(rate_row(format!("mixed, submitted one by one, {nodes} nodes"), one_by_one, None));
    for (name, more) in kinds(nodes) {
        let spec = batch(&format!("[resources]\ngpus = 1\ncpus = 1\nmemory = \"4GiB\"\n{more}"))?;
        let rate = submitted(nodes, Mix::Mixed, &[spec], u64::from(nodes).min(4_000))?;
        rows.push(rate_row(format!("{name}, {nodes} nodes"), rate, None));
    }
    rows.extend(unplaceable(nodes)?);
    Ok(Table { title: format!("placement: decisions of the core, up to {nodes} nodes"), rows })
}

fn rate_row(name: String, value: f64, target: Option<f64>) -> Row {
    Row { name, value, unit: PER_SECOND, baseline: None, target }
}

/// A queue of 48 shapes that has waited for the chain is placed as fast as the core goes.
fn queue(nodes: u32) -> anyhow::Result<f64> {
    let mut fleet = Fleet::new(free_pool(), Mix::Mixed, nodes)?;
    fleet.step(Event::ChainViewed(ChainView::Stale))?;
    let specs = mixed_specs()?;
    for (number, spec) in (0..u64::from(nodes) * 2).zip(specs.iter().cycle()).take(100_000) {
        fleet.step(submit(number, spec))?;
    }
    let began = Stopwatch::start();
    fleet.step(Event::ChainViewed(ChainView::Fresh))?;
    fleet.finish()?;
    let took = began.seconds();
    Ok(f64::from(fleet.core.pool().assignments) / took)
}

/// Tasks of one replica, submitted one after the other.
fn submitted(nodes: u32, mix: Mix, specs: &[ValidTaskSpec], tasks: u64) -> anyhow::Result<f64> {
    let mut fleet = Fleet::new(free_pool(), mix, nodes)?;
    let events: Vec<Event> =
        (0..tasks).zip(specs.iter().cycle()).map(|(number, spec)| submit(number, spec)).collect();
    let began = Stopwatch::start();
    let mut done = 0u32;
    for event in events {
        fleet.step(event)?;
        done += 1;
        if began.elapsed() > LIMIT {
            break;
        }
    }
    Ok(f64::from(done) / began.seconds())
}

fn kinds(nodes: u32) -> Vec<(&'static str, String)> {
    vec![
        ("any node", String::new()),
        ("a model", "gpu_models = [\"h200\"]\n".to_owned()),
        ("memory of GPUs", "gpu_memory = \"40GiB\"\n".to_owned()),
        ("label of 2 in 3", constraint("tier", "in", &["secure", "community"])),
        ("label of 1 in 20", constraint("zone", "in", &["zone-3"])),
        ("not a label of 1 in 20", constraint("zone", "not-in", &["zone-1"])),
        ("not a label of 2 in 3", constraint("tier", "not-in", &["secure", "community"])),
        ("exists, 1 in 200", constraint("nvlink", "exists", &[])),
        ("exists not, 199 in 200", constraint("nvlink", "not-exists", &[])),
        ("one provider", constraint("provider", "in", &[&provider(5).to_string()])),
        ("one node", constraint("node", "in", &[&node_id(nodes / 2).to_string()])),
    ]
}

/// What one task of a new shape costs that fits nowhere.
fn unplaceable(nodes: u32) -> anyhow::Result<Vec<Row>> {
    let mut fleet = Fleet::new(free_pool(), Mix::Mixed, nodes)?;
    let mut rows = Vec::new();
    let cases = [
        ("memory", "memory = \"3000GiB\"\n".to_owned()),
        ("disk, label of 1 in 20", format!("disk = \"9000GiB\"\n{}", constraint("zone", "in", &["zone-3"]))),
        ("a model", "gpu_models = [\"b300\"]\n".to_owned()),
        (
            "labels that no node has together",
            format!(
                "{}{}",
                constraint("zone", "in", &["zone-3"]),
                constraint("zone", "in", &["zone-4", "zone-5"])
            ),
        ),
    ];
    for (number, (name, more)) in (0u64..).zip(cases) {
        let event = submit(number, &batch(&format!("[resources]\ngpus = 1\n{more}"))?);
        let began = Stopwatch::start();
        fleet.step(event)?;
        fleet.finish()?;
        let value = began.seconds() * 1e6;
        let name = format!("fits nowhere: {name}, {nodes} nodes");
        rows.push(Row { name, value, unit: "µs", baseline: None, target: None });
        fleet.pass(Millis(1));
    }
    Ok(rows)
}
