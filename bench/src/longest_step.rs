//! The longest turn of the core's owner, and the most that one turn makes durable, while something happens to very many
//! at once. Through the core alone; whatever the core leaves over for the next turn is done at once.

use lode_orchestrator_core::effect::Effects;
use lode_orchestrator_core::event::{ChainView, Event};
use lode_protocol::assignment::AssignmentState;
use lode_protocol::ids::Generation;
use lode_protocol::units::Millis;

use crate::fleet::{Fleet, Mix, budget, epoch, first_assignment, free_pool, paying_pool, report, submit};
use crate::shapes::{batch, mixed_specs};
use crate::stopwatch::Stopwatch;
use crate::table::{Row, Table};

/// Longest turn, in milliseconds.
const LONGEST: f64 = 50.0;
/// Most that one turn makes durable, in megabytes.
const LARGEST: f64 = 4.0;
/// Assignments of a lost node.
const PER_NODE: u32 = 5;

/// The worst of all turns.
#[derive(Clone, Copy, Default)]
struct Worst {
    seconds: f64,
    bytes: usize,
    rows: usize,
    turns: u32,
}

impl Worst {
    fn turn(&mut self, fleet: &mut Fleet, event: Event) -> anyhow::Result<()> {
        let began = Stopwatch::start();
        let effects = fleet.step(event)?;
        self.seconds = self.seconds.max(began.seconds());
        self.bytes = self.bytes.max(durable_bytes(&effects)?);
        self.rows = self.rows.max(effects.changes.len() + effects.occurrences.len());
        self.turns += 1;
        Ok(())
    }

    /// An event, and everything that follows from it without more time.
    fn take(&mut self, fleet: &mut Fleet, event: Event) -> anyhow::Result<()> {
        self.turn(fleet, event)?;
        while fleet.has_more() {
            self.turn(fleet, Event::Tick)?;
        }
        Ok(())
    }

    fn rows(self, name: &str) -> [Row; 3] {
        let row = |name, value, unit, target| Row { name, value, unit, baseline: None, target };
        [
            row(format!("{name}: longest step"), self.seconds * 1e3, "ms", Some(LONGEST)),
            row(format!("{name}: most durable bytes"), self.bytes as f64 / 1e6, "MB", Some(LARGEST)),
            row(format!("{name}: most rows of {} steps", self.turns), self.rows as f64, "rows", None),
        ]
    }
}

fn durable_bytes(effects: &Effects) -> anyhow::Result<usize> {
    let mut bytes = 0;
    for change in &effects.changes {
        bytes += change.key.len() + change.value.as_ref().map_or(0, Vec::len);
    }
    for occurrence in &effects.occurrences {
        // A log entry's key has 8 bytes.
        bytes += 8 + serde_json::to_string(occurrence)?.len();
    }
    Ok(bytes)
}

pub(crate) fn run(nodes: u32) -> anyhow::Result<Table> {
    let mut rows = Vec::new();
    rows.extend(queue(nodes)?.rows("queue of 48 shapes, chain fresh again"));
    rows.extend(
        loss(nodes)?.rows(&format!("{} nodes lost with {PER_NODE} assignments each", nodes * 3 / 10)),
    );
    let [ended, seen] = starved(nodes.min(10_000), 1_000)?;
    rows.extend(ended.rows("1,000 shapes wait for money, paid work ends"));
    rows.extend(seen.rows("1,000 shapes wait for money, some comes"));
    for shapes in [1_000, 10_000] {
        rows.extend(
            blocked(nodes.min(10_000), shapes)?.rows(&format!("{shapes} shapes wait, a node becomes free")),
        );
    }
    Ok(Table { title: format!("longest-step: {nodes} nodes, one core"), rows })
}

/// 100,000 replicas of 48 shapes have waited for the chain.
fn queue(nodes: u32) -> anyhow::Result<Worst> {
    let mut fleet = Fleet::new(free_pool(), Mix::Mixed, nodes)?;
    fleet.step(Event::ChainViewed(ChainView::Stale))?;
    let specs = mixed_specs()?;
    for (number, spec) in (0..u64::from(nodes)).zip(specs.iter().cycle()) {
        fleet.step(submit(number, spec))?;
    }
    let mut worst = Worst::default();
    worst.take(&mut fleet, Event::ChainViewed(ChainView::Fresh))?;
    Ok(worst)
}

/// Three nodes of ten fall silent at the same time; what ran there is placed elsewhere.
fn loss(nodes: u32) -> anyhow::Result<Worst> {
    let mut fleet = Fleet::new(free_pool(), Mix::Uniform, nodes)?;
    let one = batch("[resources]\ngpus = 1\ncpus = 1\n")?;
    for number in 0..u64::from(nodes * PER_NODE) {
        fleet.step(submit(number, &one))?;
    }
    fleet.finish()?;
    let lost: Vec<u32> = (0..nodes).filter(|number| number % 10 < 3).collect();
    for number in 0..nodes {
        let beat = fleet.beat(number, Some(Generation(u64::from(PER_NODE))), vec![])?;
        fleet.step(beat)?;
    }
    let mut worst = Worst::default();
    let second = Millis::seconds(1);
    for round in 0..600u32 {
        fleet.pass(second);
        // Each of the others beats every five seconds.
        for number in (0..nodes).filter(|number| number % 10 >= 3 && number / 10 % 5 == round % 5) {
            let beat = fleet.beat(number, Some(Generation(u64::from(PER_NODE))), vec![])?;
            worst.turn(&mut fleet, beat)?;
        }
        worst.take(&mut fleet, Event::Tick)?;
        if round % 10 == 9 {
            let view = fleet.core.pool();
            let silent = view.nodes.get(&lode_orchestrator_core::view::NodeState::Lost).copied();
            if silent.is_some_and(|silent| usize::try_from(silent).is_ok_and(|silent| silent >= lost.len())) {
                break;
            }
        }
    }
    Ok(worst)
}

/// The budget is used up, and very different work waits for money.
fn starved(nodes: u32, shapes: u32) -> anyhow::Result<[Worst; 2]> {
    let mut fleet = Fleet::new(paying_pool(), Mix::Uniform, nodes)?;
    fleet.step(epoch())?;
    // Two epochs ahead, one token per GPU and hour: about 495 GPUs.
    fleet.step(budget(1_000))?;
    let one = batch("[resources]\ngpus = 1\n")?;
    for number in 0..400 {
        fleet.step(submit(number, &one))?;
    }
    for number in 0..shapes {
        let spec = batch(&format!("[resources]\ngpus = 8\nmemory = \"{}MiB\"\n", 1_000 + number))?;
        for copy in 0..40 {
            fleet.step(submit(1_000_000 + u64::from(number) * 100 + copy, &spec))?;
        }
    }
    fleet.finish()?;
    let (mut ended, mut seen) = (Worst::default(), Worst::default());
    for task in 0..20 {
        let id = first_assignment(task);
        let Some(view) = fleet.core.assignment(&id) else { continue };
        let reports = vec![report(id, AssignmentState::Succeeded, view.gpus)];
        let number = fleet.number_of(&view.node)?;
        let beat = fleet.beat(number, Some(Generation(1)), reports)?;
        ended.take(&mut fleet, beat)?;
    }
    seen.take(&mut fleet, budget(1_010))?;
    Ok([ended, seen])
}

/// Work of very many shapes waits for room, and one of the others ends.
fn blocked(nodes: u32, shapes: u32) -> anyhow::Result<Worst> {
    let mut fleet = Fleet::new(free_pool(), Mix::Uniform, nodes)?;
    let whole = batch("[resources]\ngpus = 8\n")?;
    for number in 0..u64::from(nodes) {
        fleet.step(submit(number, &whole))?;
    }
    for number in 0..shapes {
        // More memory than any node has.
        let spec = batch(&format!("[resources]\ngpus = 1\nmemory = \"{}GiB\"\n", 3_000 + number))?;
        fleet.step(submit(1_000_000 + u64::from(number), &spec))?;
    }
    fleet.finish()?;
    let mut worst = Worst::default();
    for task in 0..20 {
        let id = first_assignment(task);
        let Some(view) = fleet.core.assignment(&id) else { continue };
        let number = fleet.number_of(&view.node)?;
        let reports = vec![report(id, AssignmentState::Succeeded, view.gpus)];
        let beat = fleet.beat(number, Some(Generation(1)), reports)?;
        worst.take(&mut fleet, beat)?;
    }
    Ok(worst)
}
