//! All assignments of this node: the desired set against the containers that exist.
//!
//! Invariants: a container is touched only if the journal knows its assignment (or our labels name it and the journal
//! does not: a stray, removed); no GPU is given to two live assignments; while the engine or the orchestrator is
//! silent nothing is stopped; every change is journalled before anything is done about it.
//!
//! The driver runs the effects of one assignment one after the other, in order.
//!
//! `desired` takes orders in, `starting` leads to a container that runs, `ending` from its end to its last trace,
//! `settling` compares with the engine's list, `due` is what time brings.

mod desired;
mod due;
mod ending;
mod settling;
mod starting;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use lode_protocol::assignment::{AssignmentReport, AssignmentState};
use lode_protocol::ids::{AssignmentId, Generation, GpuUuid, LeaderEpoch};
use lode_protocol::units::Millis;

use super::assignment::{Assignment, Probe, Stage};
use super::effect::{Effect, JournalChange};
use super::event::{ContainerId, Event, Now};
use super::journal::Entry;
use super::ports::PortAllocator;
use super::receipts::Running;

/// The reconciler's state.
#[derive(Clone, Debug)]
pub struct Assignments {
    items: BTreeMap<AssignmentId, Assignment>,
    generation: Option<(LeaderEpoch, Generation)>,
    ports: PortAllocator,
    /// `None` until the inventory was read once.
    gpus: Option<BTreeSet<GpuUuid>>,
    engine_answers: bool,
}

impl Assignments {
    /// From the journal. Nothing is done before the engine has listed its containers.
    pub fn recover(
        entries: Vec<Entry>,
        generation: Option<(LeaderEpoch, Generation)>,
        range: RangeInclusive<u16>,
    ) -> Self {
        let mut ports = PortAllocator::new(range);
        let items = entries
            .into_iter()
            .map(|entry| {
                if entry.ended.is_none() {
                    ports.adopt(&entry.ports);
                }
                (entry.order.id, Assignment::recovered(entry))
            })
            .collect();
        Self { items, generation, ports, gpus: None, engine_answers: false }
    }

    /// The desired set that is worked towards.
    pub fn generation(&self) -> Option<Generation> {
        self.generation.map(|(_, generation)| generation)
    }

    /// The same with the leader epoch that set it.
    pub fn desired(&self) -> Option<(LeaderEpoch, Generation)> {
        self.generation
    }

    /// Whether nothing is known of any assignment.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Reports that were not acknowledged, with their numbers.
    pub fn news(&self) -> Vec<(u64, AssignmentReport)> {
        self.items.values().filter(|item| item.has_news()).map(Assignment::report).collect()
    }

    /// Reports of everything there is.
    pub fn all_reports(&self) -> Vec<(u64, AssignmentReport)> {
        self.items.values().map(Assignment::report).collect()
    }

    /// Assignments that hold GPUs now.
    pub fn gpu_holders(&self) -> BTreeMap<GpuUuid, AssignmentId> {
        let holders = self.items.values().filter(|item| item.holds_gpus());
        holders.flat_map(|item| item.entry.order.gpus.iter().map(|gpu| (gpu.clone(), item.id()))).collect()
    }

    /// Assignments that run and hold GPUs, with their restarts and how many.
    pub fn running_on_gpus(&self) -> Vec<Running> {
        let running = |item: &&Assignment| item.state().0 == AssignmentState::Running;
        let gpus = |item: &Assignment| u32::try_from(item.entry.order.gpus.len()).unwrap_or(u32::MAX);
        let all =
            self.items.values().filter(running).map(|item| (item.id(), item.entry.restarts, gpus(item)));
        all.filter(|(_, _, gpus)| *gpus > 0).collect()
    }

    /// The container of an assignment, for its logs.
    pub fn container_of(&self, id: &AssignmentId) -> Option<ContainerId> {
        self.items.get(id)?.container()
    }

    /// When [`Event::Tick`] is wanted next.
    pub fn next_deadline(&self) -> Option<Millis> {
        self.items
            .values()
            .filter_map(|item| match &item.stage {
                Stage::BackingOff { until } => Some(*until),
                Stage::Running { probe: Probe::Due(at), .. } => Some(*at),
                _ => None,
            })
            .min()
    }

    /// Takes an event in. Never fails: results that belong to nothing known any more are ignored.
    pub fn step(&mut self, now: Now, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Desired { epoch, generation, orders } => {
                self.on_desired(now, (epoch, generation), orders, &mut effects);
            }
            Event::Observed(containers) => self.on_observed(now, containers, &mut effects),
            Event::EngineLost => self.engine_answers = false,
            Event::GpusUsable(gpus) => self.gpus = Some(gpus.into_iter().collect()),
            Event::Pulled(id, attempt, result) => self.on_pulled(id, attempt, result, &mut effects),
            Event::Created(id, attempt, result) => self.on_created(id, attempt, result, &mut effects),
            Event::Started(id, attempt, result) => self.on_started(now, id, attempt, result, &mut effects),
            Event::Exited(id, container, exit) => self.on_exited(now, id, &container, exit, &mut effects),
            Event::Probed(id, container, result) => self.on_probed(now, id, &container, result, &mut effects),
            Event::Removed(id, result) => self.on_removed(id, result, &mut effects),
            Event::Acknowledged(reports) => self.on_acknowledged(&reports, &mut effects),
            Event::Tick => {}
        }
        self.on_time(now, &mut effects);
        self.begin_waiting(&mut effects);
        self.conclude(now, effects)
    }

    /// Journal changes first, then effects, then a report if there is news.
    fn conclude(&mut self, now: Now, effects: Vec<Effect>) -> Vec<Effect> {
        let mut news = false;
        let mut all = Vec::with_capacity(effects.len() + 2);
        for item in self.items.values_mut() {
            news |= item.note_change(now.wall);
            if let Some(entry) = item.take_unsaved() {
                all.push(Effect::Journal(JournalChange::Put(Box::new(entry))));
            }
        }
        let (journal, rest): (Vec<_>, Vec<_>) =
            effects.into_iter().partition(|effect| matches!(effect, Effect::Journal(_)));
        all.extend(journal);
        all.extend(rest);
        if news {
            all.push(Effect::Report);
        }
        all
    }
}
