//! All assignments of this node: the desired set against the containers that exist.
//!
//! Invariants: a container is touched only if the journal knows its assignment (or our labels name it and the journal
//! does not: a stray, removed); no GPU is given to two live assignments; while the engine or the orchestrator is
//! silent nothing is stopped; every change is journalled before anything is done about it.
//!
//! The shell runs the commands of one assignment one after the other, in order.
//!
//! `desired` takes orders in, `starting` leads to a container that runs, `ending` from its end to its last trace,
//! `verdict` says whose an end is, `settling` compares with the engine's list, `due` is what time brings, `checking` what
//! checks of readiness and liveness mean, `gpu` what a GPU's fault means, `unstopped` and `leftovers` what becomes of what
//! cannot be stopped or removed, `room` which images are in nobody's way any more.

mod checking;
mod desired;
mod due;
mod ending;
mod gpu;
mod leftovers;
mod room;
mod settling;
mod starting;
mod unstopped;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use lode_protocol::assignment::{AssignmentReport, AssignmentState};
use lode_protocol::ids::{AssignmentId, Generation, GpuUuid, Term};
use lode_protocol::units::Millis;

use crate::assignment::{Assignment, Stage};
use crate::effect::Command;
use crate::event::{ContainerId, EngineRun, Now};
use crate::images::Images;
use crate::journal::{Change, Entry};
use crate::ports::PortAllocator;
use crate::receipts::Running;

/// The reconciler's state.
#[derive(Clone, Debug)]
pub(crate) struct Assignments {
    items: BTreeMap<AssignmentId, Assignment>,
    generation: Option<(Term, Generation)>,
    ports: PortAllocator,
    /// `None` until the inventory was read once.
    gpus: Option<BTreeSet<GpuUuid>>,
    engine_answers: bool,
    images: Images,
    /// The life of the engine that was seen last.
    run: Option<EngineRun>,
    /// Containers that no record knows and that cannot be removed, and why not.
    strays: BTreeMap<ContainerId, String>,
    /// What is to be remembered besides the entries that differ from it.
    changes: Vec<Change>,
}

impl Assignments {
    /// From the journal. Nothing is done before the engine has listed its containers.
    pub(crate) fn recover(
        entries: Vec<Entry>,
        generation: Option<(Term, Generation)>,
        range: RangeInclusive<u16>,
        images: Images,
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
        Self {
            items,
            generation,
            ports,
            gpus: None,
            engine_answers: false,
            images,
            run: None,
            strays: BTreeMap::new(),
            changes: Vec::new(),
        }
    }

    /// The desired set that is worked towards.
    pub(crate) fn generation(&self) -> Option<Generation> {
        self.generation.map(|(_, generation)| generation)
    }

    /// Whether nothing is known of any assignment.
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Reports that were not acknowledged, with their numbers.
    pub(crate) fn news(&self) -> Vec<(u64, AssignmentReport)> {
        self.items.values().filter(|item| item.has_news()).map(Assignment::report).collect()
    }

    /// Reports of everything there is.
    pub(crate) fn all_reports(&self) -> Vec<(u64, AssignmentReport)> {
        self.items.values().map(Assignment::report).collect()
    }

    /// Reports of everything there is, as far as it is durable.
    pub(crate) fn durable_reports(&self) -> Vec<(u64, AssignmentReport)> {
        self.items.values().map(Assignment::durable_report).collect()
    }

    /// Everything is durable.
    pub(crate) fn note_durable(&mut self) {
        self.items.values_mut().for_each(Assignment::note_durable);
    }

    /// Assignments that hold GPUs now.
    pub(crate) fn gpu_holders(&self) -> BTreeMap<GpuUuid, AssignmentId> {
        let holders = self.items.values().filter(|item| item.holds_gpus());
        holders.flat_map(|item| item.entry.order.gpus.iter().map(|gpu| (gpu.clone(), item.id()))).collect()
    }

    /// Assignments that run and hold GPUs, with their restarts and how many.
    pub(crate) fn running_on_gpus(&self) -> Vec<Running> {
        let running = |item: &&Assignment| item.state().0 == AssignmentState::Running;
        let gpus = |item: &Assignment| u32::try_from(item.entry.order.gpus.len()).unwrap_or(u32::MAX);
        let all =
            self.items.values().filter(running).map(|item| (item.id(), item.entry.restarts, gpus(item)));
        all.filter(|(_, _, gpus)| *gpus > 0).collect()
    }

    /// The container of an assignment, for its logs.
    pub(crate) fn container_of(&self, id: &AssignmentId) -> Option<ContainerId> {
        self.items.get(id)?.container()
    }

    /// Whether the container of an assignment runs, for its output.
    pub(crate) fn is_running(&self, id: &AssignmentId) -> bool {
        self.items.get(id).is_some_and(|item| matches!(item.stage, Stage::Running { .. } | Stage::Stopping))
    }

    /// When time brings something.
    pub(crate) fn next_deadline(&self) -> Option<Millis> {
        if !self.engine_answers {
            return None;
        }
        self.items.values().filter_map(Assignment::due).min()
    }

    /// The engine does not answer: nothing is known, nothing follows from it.
    pub(crate) fn engine_lost(&mut self) {
        self.engine_answers = false;
    }

    /// GPUs on which work may run now.
    pub(crate) fn gpus_usable(&mut self, gpus: BTreeSet<GpuUuid>) {
        self.gpus = Some(gpus);
    }

    /// What of them is to be durable.
    #[cfg(test)]
    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.items.values().map(|item| item.entry.clone()).collect()
    }

    /// The end of every step: what waits is begun if it can be; then what changed is to be remembered, and whether there
    /// is news to report.
    pub(crate) fn conclude(&mut self, now: Now, commands: &mut Vec<Command>) -> (Vec<Change>, bool) {
        self.on_time(now, commands);
        self.begin_waiting(now, commands);
        let mut news = false;
        // What is forgotten comes first: the same step may have taken it in again.
        let mut changes = std::mem::take(&mut self.changes);
        for item in self.items.values_mut() {
            news |= item.note_change(now.wall);
            changes.extend(item.take_unsaved().map(|entry| Change::assignment(&entry)));
        }
        (changes, news)
    }
}
