//! All assignments of this node: the desired set against the containers that exist.
//!
//! Invariants: a container is touched only if the journal knows its assignment (or our labels name it and the journal
//! does not: a stray, removed); no GPU is given to two live assignments; while the engine or the orchestrator is
//! silent nothing is stopped; every change is journalled before anything is done about it.
//!
//! The driver runs the effects of one assignment one after the other, in order.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use lode_protocol::assignment::{AssignmentReport, AssignmentState, Reason};
use lode_protocol::ids::{AssignmentId, Generation, GpuUuid, LeaderEpoch};
use lode_protocol::session::Order;
use lode_protocol::task::{ReadinessProbe, TaskKind};
use lode_protocol::units::Millis;

use super::assignment::{Assignment, Probe, Stage};
use super::effect::{ContainerPlan, Effect, JournalChange};
use super::event::{Attempt, ContainerId, EngineFailure, Event, Exit, Now, Observed, ObservedState};
use super::journal::Entry;
use super::ports::PortAllocator;
use super::restart::{self, HEALTHY_RUN, Verdict};

const PULL_TRIES: u32 = 4;
const PORT_TRIES: u32 = 8;

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

    fn on_desired(
        &mut self,
        now: Now,
        generation: (LeaderEpoch, Generation),
        orders: Vec<Order>,
        effects: &mut Vec<Effect>,
    ) {
        if self.generation.is_some_and(|known| generation < known) {
            return;
        }
        if self.generation != Some(generation) {
            self.generation = Some(generation);
            effects.push(Effect::Journal(JournalChange::Generation(generation.0, generation.1)));
        }
        let wanted: BTreeSet<AssignmentId> = orders.iter().map(|order| order.id).collect();
        for order in orders {
            match self.items.get_mut(&order.id) {
                Some(item) => item.entry.order.pinned_image = order.pinned_image,
                None => {
                    self.items.insert(order.id, Assignment::new(order, now.wall));
                }
            }
        }
        let unwanted: Vec<AssignmentId> = self
            .items
            .values()
            .filter(|item| item.entry.wanted && !wanted.contains(&item.id()))
            .map(Assignment::id)
            .collect();
        for id in unwanted {
            self.release_from_duty(id, effects);
        }
    }

    /// The orchestrator no longer wants it: stop it within its grace, then remove it.
    fn release_from_duty(&mut self, id: AssignmentId, effects: &mut Vec<Effect>) {
        let Some(item) = self.items.get_mut(&id) else { return };
        item.entry.wanted = false;
        match item.stage {
            Stage::Waiting | Stage::Pulling { .. } | Stage::Creating | Stage::BackingOff { .. } => {
                self.finish(id, AssignmentState::Stopped, Some(Reason::StopRequested), "", effects);
            }
            Stage::Starting | Stage::Running { .. } => Self::stop(item, Reason::StopRequested, effects),
            Stage::Interrupted if item.entry.container.is_none() => {
                self.finish(id, AssignmentState::Stopped, Some(Reason::StopRequested), "", effects);
            }
            // Settled when the engine has listed its containers.
            Stage::Interrupted => item.entry.stopping = item.entry.stopping.or(Some(Reason::StopRequested)),
            Stage::Ended => Self::remove(item, effects),
            Stage::Stopping | Stage::Removing | Stage::Removed => {}
        }
    }

    fn stop(item: &mut Assignment, reason: Reason, effects: &mut Vec<Effect>) {
        let Some(container) = item.container() else { return };
        item.entry.stopping = item.entry.stopping.or(Some(reason));
        item.stage = Stage::Stopping;
        effects.push(Effect::Stop { id: item.id(), container, grace: item.entry.order.spec.stop_grace });
    }

    fn remove(item: &mut Assignment, effects: &mut Vec<Effect>) {
        item.stage = Stage::Removing;
        effects.push(Effect::Remove { id: item.id() });
    }

    /// The end of an assignment: ports are free again, and what nobody wants is removed.
    fn finish(
        &mut self,
        id: AssignmentId,
        state: AssignmentState,
        reason: Option<Reason>,
        detail: &str,
        effects: &mut Vec<Effect>,
    ) {
        let Some(item) = self.items.get_mut(&id) else { return };
        self.ports.release(&item.entry.ports);
        item.end(state, reason, detail);
        if !item.entry.wanted {
            Self::remove(item, effects);
        }
    }

    fn fail(&mut self, id: AssignmentId, reason: Reason, detail: &str, effects: &mut Vec<Effect>) {
        self.finish(id, AssignmentState::Failed, Some(reason), detail, effects);
    }

    /// Begins whatever waits and can be begun.
    fn begin_waiting(&mut self, effects: &mut Vec<Effect>) {
        if !self.engine_answers {
            return;
        }
        let waiting: Vec<AssignmentId> =
            self.items.values().filter(|item| item.stage == Stage::Waiting).map(Assignment::id).collect();
        if waiting.is_empty() {
            return;
        }
        let mut held: BTreeSet<GpuUuid> = self.gpu_holders().into_keys().collect();
        for id in waiting {
            self.begin(id, &mut held, effects);
        }
    }

    fn begin(&mut self, id: AssignmentId, held: &mut BTreeSet<GpuUuid>, effects: &mut Vec<Effect>) {
        let Some(item) = self.items.get_mut(&id) else { return };
        let order = &item.entry.order;
        if !order.gpus.is_empty() {
            let Some(usable) = &self.gpus else { return };
            if let Some(missing) = order.gpus.iter().find(|gpu| !usable.contains(gpu)) {
                let detail = format!("GPU {missing} is not usable on this node");
                return self.fail(id, Reason::GpuUnavailable, &detail, effects);
            }
            if order.gpus.iter().any(|gpu| held.contains(gpu)) {
                return; // its holder is being stopped; its end wakes this one
            }
        }
        let Some(ports) = self.ports.allocate(&order.spec.ports) else {
            let detail = "no port of the range that this node lends is free";
            return self.fail(id, Reason::NoFreePort, detail, effects);
        };
        held.extend(order.gpus.iter().cloned());
        item.entry.ports = ports;
        item.stage = Stage::Pulling { tries: 1 };
        effects.push(Self::pull(item, Millis(0)));
    }

    fn pull(item: &Assignment, delay: Millis) -> Effect {
        let order = &item.entry.order;
        Effect::Pull {
            id: item.id(),
            attempt: item.attempt(),
            image: order.pinned_image.clone().unwrap_or_else(|| order.spec.image.clone()),
            policy: order.spec.pull,
            delay,
        }
    }

    fn current(&mut self, id: AssignmentId, attempt: Attempt) -> Option<&mut Assignment> {
        self.items.get_mut(&id).filter(|item| item.attempt() == attempt)
    }

    fn on_pulled(
        &mut self,
        id: AssignmentId,
        attempt: Attempt,
        result: Result<String, EngineFailure>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(item) = self.current(id, attempt) else { return };
        let Stage::Pulling { tries } = item.stage else { return };
        match result {
            Ok(image) => {
                item.entry.image = Some(image.clone());
                item.stage = Stage::Creating;
                effects.push(Effect::Create(Box::new(ContainerPlan {
                    id,
                    attempt,
                    order: item.entry.order.clone(),
                    image,
                    gpus: item.entry.order.gpus.clone(),
                    ports: item.entry.ports.clone(),
                })));
            }
            Err(EngineFailure::PullFailed(_)) if tries < PULL_TRIES => {
                item.stage = Stage::Pulling { tries: tries + 1 };
                effects.push(Self::pull(item, Millis::seconds(1 << tries)));
            }
            Err(failure) => self.on_failure(id, failure, effects),
        }
    }

    fn on_created(
        &mut self,
        id: AssignmentId,
        attempt: Attempt,
        result: Result<ContainerId, EngineFailure>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(item) = self.current(id, attempt).filter(|item| item.stage == Stage::Creating) else {
            return;
        };
        match result {
            Ok(container) => {
                item.entry.container = Some(container.0.clone());
                item.stage = Stage::Starting;
                effects.push(Effect::Start { id, attempt, container });
            }
            Err(failure) => self.on_failure(id, failure, effects),
        }
    }

    fn on_started(
        &mut self,
        now: Now,
        id: AssignmentId,
        attempt: Attempt,
        result: Result<(), EngineFailure>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(item) = self.current(id, attempt) else { return };
        if item.stage == Stage::Stopping {
            return self.on_started_too_late(id, result, effects);
        }
        if item.stage != Stage::Starting {
            return;
        }
        match result {
            Ok(()) => Self::runs(item, now, effects),
            Err(failure) => self.on_failure(id, failure, effects),
        }
    }

    /// It was told to stop while it was being started: nobody watches it yet, and its end must be seen.
    fn on_started_too_late(
        &mut self,
        id: AssignmentId,
        result: Result<(), EngineFailure>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(item) = self.items.get_mut(&id) else { return };
        match result {
            Ok(()) => {
                let Some(container) = item.container() else { return };
                item.entry.started = true;
                effects.push(Effect::Watch { id, container });
            }
            // The next list of containers tells.
            Err(EngineFailure::Unavailable(_)) => {}
            Err(_) => {
                let reason = item.entry.stopping.or(Some(Reason::StopRequested));
                self.finish(id, AssignmentState::Stopped, reason, "", effects);
            }
        }
    }

    /// The container runs: watch it, and ask whether it is ready.
    fn runs(item: &mut Assignment, now: Now, effects: &mut Vec<Effect>) {
        let Some(container) = item.container() else { return };
        item.entry.started = true;
        effects.push(Effect::Watch { id: item.id(), container });
        let probe = if item.entry.order.spec.readiness.is_none() || item.entry.ready {
            item.entry.ready = true;
            Probe::Settled
        } else {
            Probe::Due(now.monotonic)
        };
        item.stage = Stage::Running { since: now.monotonic, probe };
    }

    /// What becomes of an assignment when the engine could not do its part.
    fn on_failure(&mut self, id: AssignmentId, failure: EngineFailure, effects: &mut Vec<Effect>) {
        match failure {
            EngineFailure::Unavailable(_) => {
                if let Some(item) = self.items.get_mut(&id) {
                    item.stage = Stage::Interrupted;
                }
                self.engine_answers = false;
            }
            EngineFailure::PortTaken(detail) => self.on_port_taken(id, &detail, effects),
            EngineFailure::ImageNotFound(detail) => self.fail(id, Reason::ImageNotFound, &detail, effects),
            EngineFailure::PullFailed(detail) => self.fail(id, Reason::PullFailed, &detail, effects),
            EngineFailure::DiskFull(detail) => self.fail(id, Reason::DiskFull, &detail, effects),
            EngineFailure::CannotStart(detail) => self.fail(id, Reason::CannotStart, &detail, effects),
            EngineFailure::Gpu(detail) => self.fail(id, Reason::GpuUnavailable, &detail, effects),
            EngineFailure::Other(detail) => self.fail(id, Reason::EngineError, &detail, effects),
        }
    }

    /// Somebody else listens on a chosen port: another container with other ports.
    fn on_port_taken(&mut self, id: AssignmentId, detail: &str, effects: &mut Vec<Effect>) {
        let Some(item) = self.items.get_mut(&id) else { return };
        self.ports.avoid(&item.entry.ports);
        item.entry.ports.clear();
        item.port_conflicts += 1;
        if item.port_conflicts >= PORT_TRIES {
            return self.fail(id, Reason::NoFreePort, detail, effects);
        }
        effects.push(Effect::Remove { id });
        item.next_attempt();
        item.stage = Stage::Waiting;
    }

    fn on_exited(
        &mut self,
        now: Now,
        id: AssignmentId,
        container: &ContainerId,
        exit: Exit,
        effects: &mut Vec<Effect>,
    ) {
        let Some(item) = self.items.get_mut(&id) else { return };
        if item.entry.ended.is_some() || item.container().as_ref() != Some(container) {
            return;
        }
        let since = match item.stage {
            Stage::Running { since, .. } => Some(since),
            Stage::Stopping | Stage::Interrupted | Stage::Starting => None,
            _ => return,
        };
        item.entry.exit_code = Some(exit.code);
        if let Some(reason) = item.entry.stopping {
            let state =
                if reason == Reason::NeverReady { AssignmentState::Failed } else { AssignmentState::Stopped };
            return self.finish(id, state, Some(reason), "", effects);
        }
        if since.is_some_and(|since| now.monotonic.0.saturating_sub(since.0) >= HEALTHY_RUN.0) {
            item.entry.restarts = 0;
        }
        self.judge_exit(now, id, exit, effects);
    }

    fn judge_exit(&mut self, now: Now, id: AssignmentId, exit: Exit, effects: &mut Vec<Effect>) {
        let Some(item) = self.items.get_mut(&id) else { return };
        let failed = exit.code != 0 || exit.out_of_memory;
        let lost_gpu = self
            .gpus
            .as_ref()
            .and_then(|usable| item.entry.order.gpus.iter().find(|gpu| !usable.contains(gpu)));
        if let (true, Some(gpu)) = (failed, lost_gpu) {
            let detail = format!("GPU {gpu} failed while the task ran (exit code {})", exit.code);
            return self.fail(id, Reason::GpuLost, &detail, effects);
        }
        let (reason, detail) = if exit.out_of_memory {
            let limit = item.entry.order.spec.resources.memory;
            (Reason::OomKilled, format!("killed for using more than its memory limit ({limit})"))
        } else {
            (Reason::ExitedWithError, format!("exit code {}", exit.code))
        };
        match restart::judge(item.entry.order.spec.effective_restart(), failed, item.entry.restarts) {
            Verdict::Restart => {
                let wait = restart::back_off(item.entry.restarts);
                item.entry.restarts = item.entry.restarts.saturating_add(1);
                item.entry.ready = false;
                item.stage = Stage::BackingOff { until: Millis(now.monotonic.0.saturating_add(wait.0)) };
            }
            Verdict::Final if failed => self.fail(id, reason, &detail, effects),
            Verdict::Final => {
                self.finish(id, AssignmentState::Succeeded, Some(Reason::Completed), "", effects);
            }
            Verdict::LimitReached if failed => {
                let detail = format!("{detail}; restarted {} times", item.entry.restarts);
                self.fail(id, Reason::RestartLimit, &detail, effects);
            }
            Verdict::LimitReached => {
                self.finish(id, AssignmentState::Succeeded, Some(Reason::Completed), "", effects);
            }
        }
    }

    fn on_probed(
        &mut self,
        now: Now,
        id: AssignmentId,
        container: &ContainerId,
        result: Result<(), String>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(item) = self.items.get_mut(&id) else { return };
        if item.container().as_ref() != Some(container) {
            return;
        }
        let Stage::Running { since, probe } = &mut item.stage else { return };
        let Some(ReadinessProbe { interval, deadline, .. }) = item.entry.order.spec.readiness.clone() else {
            return;
        };
        match result {
            Ok(()) => {
                *probe = Probe::Settled;
                item.entry.ready = true;
            }
            Err(_) if now.monotonic.0.saturating_sub(since.0) >= deadline.0 => {
                Self::stop(item, Reason::NeverReady, effects);
            }
            Err(_) => *probe = Probe::Due(Millis(now.monotonic.0.saturating_add(interval.0))),
        }
    }

    fn on_removed(&mut self, id: AssignmentId, result: Result<(), EngineFailure>, effects: &mut Vec<Effect>) {
        let Some(item) = self.items.get_mut(&id).filter(|item| item.stage == Stage::Removing) else { return };
        match result {
            Ok(()) => item.stage = Stage::Removed,
            // The next list of containers tries again.
            Err(_) => item.stage = Stage::Ended,
        }
        self.forget_if_done(id, effects);
    }

    fn on_acknowledged(&mut self, reports: &[(AssignmentId, u64)], effects: &mut Vec<Effect>) {
        for (id, number) in reports {
            if let Some(item) = self.items.get_mut(id) {
                item.acknowledge(*number);
            }
            self.forget_if_done(*id, effects);
        }
    }

    fn forget_if_done(&mut self, id: AssignmentId, effects: &mut Vec<Effect>) {
        if self.items.get(&id).is_some_and(|item| item.stage == Stage::Removed && !item.has_news()) {
            self.items.remove(&id);
            effects.push(Effect::Journal(JournalChange::Delete(id)));
        }
    }

    /// Deadlines: restarts and readiness checks.
    fn on_time(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if !self.engine_answers {
            return;
        }
        for item in self.items.values_mut() {
            let (id, attempt) = (item.id(), item.attempt());
            let Some(container) = item.container() else { continue };
            match &mut item.stage {
                Stage::BackingOff { until } if *until <= now.monotonic => {
                    item.stage = Stage::Starting;
                    effects.push(Effect::Start { id, attempt, container });
                }
                Stage::Running { probe, .. } => {
                    let Probe::Due(at) = probe else { continue };
                    let Some(readiness) =
                        item.entry.order.spec.readiness.as_ref().filter(|_| *at <= now.monotonic)
                    else {
                        continue;
                    };
                    *probe = Probe::Asking;
                    effects.push(Effect::Probe {
                        id,
                        container,
                        action: readiness.check.clone(),
                        ports: item.entry.ports.clone(),
                        timeout: readiness.timeout,
                    });
                }
                _ => {}
            }
        }
    }

    /// The engine answers and has listed every container of ours.
    fn on_observed(&mut self, now: Now, containers: Vec<Observed>, effects: &mut Vec<Effect>) {
        let returned = !std::mem::replace(&mut self.engine_answers, true);
        self.ports.forgive();
        let mut found: BTreeMap<AssignmentId, ObservedState> = BTreeMap::new();
        for observed in containers {
            let owner = observed.assignment.and_then(|id| self.items.get(&id));
            match owner {
                Some(item) if item.container().as_ref() == Some(&observed.container) => {
                    found.insert(item.id(), observed.state);
                }
                // Its creation is under way: the result will tell.
                Some(item) if matches!(item.stage, Stage::Creating | Stage::Removing) => {}
                Some(_) | None => effects.push(Effect::RemoveStray(observed.container)),
            }
        }
        let ids: Vec<AssignmentId> = self.items.keys().copied().collect();
        for id in ids {
            self.settle(now, id, found.get(&id), effects);
            if returned {
                self.stop_again(id, found.get(&id), effects);
            }
        }
    }

    /// Brings one assignment in line with what the engine shows.
    fn settle(
        &mut self,
        now: Now,
        id: AssignmentId,
        found: Option<&ObservedState>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(item) = self.items.get_mut(&id) else { return };
        match item.stage {
            // One engine call is under way, or nothing is left: nothing to settle.
            Stage::Waiting
            | Stage::Pulling { .. }
            | Stage::Creating
            | Stage::Starting
            | Stage::Removing
            | Stage::Removed => return,
            Stage::Ended => {
                if !item.entry.wanted {
                    Self::remove(item, effects);
                }
                return;
            }
            Stage::Interrupted | Stage::Running { .. } | Stage::BackingOff { .. } | Stage::Stopping => {}
        }
        let interrupted = item.stage == Stage::Interrupted;
        match (found, item.container()) {
            (Some(ObservedState::Running), Some(container)) => {
                if let (true, Some(_)) = (interrupted, item.entry.stopping) {
                    effects.push(Effect::Watch { id, container });
                    Self::stop(item, Reason::StopRequested, effects);
                } else if interrupted {
                    Self::runs(item, now, effects);
                }
            }
            (Some(ObservedState::Created), Some(container)) if interrupted => {
                item.stage = Stage::Starting;
                effects.push(Effect::Start { id, attempt: item.attempt(), container });
            }
            (Some(ObservedState::Exited(exit)), Some(container)) => {
                if !matches!(item.stage, Stage::BackingOff { .. }) {
                    self.on_exited(now, id, &container, *exit, effects);
                }
            }
            (Some(_), _) => {}
            (None, _) => self.on_vanished(id, effects),
        }
    }

    /// An engine that was away may have forgotten that it was told to stop a container.
    fn stop_again(&mut self, id: AssignmentId, found: Option<&ObservedState>, effects: &mut Vec<Effect>) {
        let asked = |effect: &Effect| matches!(effect, Effect::Stop { id: stopped, .. } if *stopped == id);
        let Some(item) = self.items.get_mut(&id).filter(|item| item.stage == Stage::Stopping) else { return };
        if let (Some(ObservedState::Running), Some(reason)) = (found, item.entry.stopping)
            && !effects.iter().any(asked)
        {
            Self::stop(item, reason, effects);
        }
    }

    /// There is no container although there should be one: a new one is made.
    fn on_vanished(&mut self, id: AssignmentId, effects: &mut Vec<Effect>) {
        let Some(item) = self.items.get_mut(&id) else { return };
        if let Some(reason) = item.entry.stopping {
            let state =
                if reason == Reason::NeverReady { AssignmentState::Failed } else { AssignmentState::Stopped };
            return self.finish(id, state, Some(reason), "", effects);
        }
        let existed = item.entry.container.is_some();
        self.ports.release(&item.entry.ports);
        item.entry.ports.clear();
        item.next_attempt();
        if existed {
            item.entry.restarts = item.entry.restarts.saturating_add(1);
            let bound = item.entry.order.spec.effective_restart().max_restarts.max(5);
            if item.entry.order.spec.kind == TaskKind::Batch && item.entry.restarts > bound {
                let detail = "its container was removed by somebody again and again";
                return self.fail(id, Reason::ContainerVanished, detail, effects);
            }
        }
        item.stage = Stage::Waiting;
        if !item.entry.wanted {
            self.finish(id, AssignmentState::Stopped, Some(Reason::StopRequested), "", effects);
        }
    }
}
