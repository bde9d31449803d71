//! From an order to a container that runs: GPUs and ports, pull, create, start, and what becomes of an engine's "no".

use std::collections::BTreeSet;

use lode_protocol::assignment::Reason;
use lode_protocol::backoff::{BackoffPolicy, seed_of};
use lode_protocol::ids::{AssignmentId, GpuUuid};
use lode_protocol::units::Millis;

use super::Assignments;
use crate::assignment::{Assignment, Stage};
use crate::checks::Checks;
use crate::effect::{Command, ContainerPlan};
use crate::event::{Attempt, ContainerId, EngineFailure, EngineRun, Now, PulledImage};
use crate::time::after;

const PULL_TRIES: u32 = 4;
/// Waits between tries. Spread, because a registry that fails one node fails the whole pool at once.
const PULLS: BackoffPolicy = BackoffPolicy::new(Millis::seconds(2), Millis::seconds(30));
const PORT_TRIES: u32 = 8;
/// Waits where a registry takes no more requests and does not say for how long. Its own word counts more.
const LIMITS: BackoffPolicy = BackoffPolicy::new(Millis::seconds(60), Millis::seconds(3_600));
/// Nobody waits longer for a registry, whatever that says.
const LONGEST_LIMIT: Millis = Millis::seconds(24 * 3_600);
/// Waits before something is begun again whose calls the engine broke off more than once.
pub(super) const INTERRUPTIONS: BackoffPolicy = BackoffPolicy::new(Millis::seconds(1), Millis::seconds(300));
/// An assignment whose calls are broken off this often in a row, while the engine lists its containers, is given up.
const MOST_INTERRUPTIONS: u32 = 10;

impl Assignments {
    /// Begins whatever waits and can be begun.
    pub(super) fn begin_waiting(&mut self, now: Now, commands: &mut Vec<Command>) {
        if !self.engine_answers {
            return;
        }
        let may_begin = |item: &&Assignment| {
            item.stage == Stage::Waiting && item.not_before.is_none_or(|at| at <= now.monotonic)
        };
        let waiting: Vec<AssignmentId> = self.items.values().filter(may_begin).map(Assignment::id).collect();
        if waiting.is_empty() {
            return;
        }
        let mut held: BTreeSet<GpuUuid> = self.gpu_holders().into_keys().collect();
        for id in waiting {
            self.begin(id, &mut held, commands);
        }
    }

    pub(super) fn begin(
        &mut self,
        id: AssignmentId,
        held: &mut BTreeSet<GpuUuid>,
        commands: &mut Vec<Command>,
    ) {
        let Some(item) = self.items.get_mut(&id) else { return };
        item.not_before = None;
        if self.images.is_being_removed(&item.wanted_image()) {
            return; // the removal's end wakes this one
        }
        let order = &item.entry.order;
        if !order.gpus.is_empty() {
            let Some(usable) = &self.gpus else { return };
            if let Some(missing) = order.gpus.iter().find(|gpu| !usable.contains(gpu)) {
                let detail = format!("GPU {missing} is not usable on this node");
                return self.fail(id, Reason::GpuUnavailable, &detail, commands);
            }
            if order.gpus.iter().any(|gpu| held.contains(gpu)) {
                return; // its holder is being stopped; its end wakes this one
            }
        }
        let Some(ports) = self.ports.allocate(&order.spec.ports) else {
            let detail = "no port of the range that this node lends is free";
            return self.fail(id, Reason::NoFreePort, detail, commands);
        };
        held.extend(order.gpus.iter().cloned());
        item.entry.ports = ports;
        item.stage = Stage::Pulling { tries: 1 };
        commands.push(Self::pull(item, Millis(0)));
    }

    pub(super) fn pull(item: &Assignment, delay: Millis) -> Command {
        Command::Pull { id: item.id(), attempt: item.attempt(), image: item.wanted_image(), delay }
    }

    pub(super) fn current(&mut self, id: AssignmentId, attempt: Attempt) -> Option<&mut Assignment> {
        self.items.get_mut(&id).filter(|item| item.attempt() == attempt)
    }

    pub(crate) fn on_pulled(
        &mut self,
        now: Now,
        id: AssignmentId,
        attempt: Attempt,
        result: Result<PulledImage, EngineFailure>,
        commands: &mut Vec<Command>,
    ) {
        if let (Ok(pulled), Some(item)) = (&result, self.items.get(&id)) {
            // Also when nobody waits for it any more: it takes room.
            self.changes.extend(self.images.pulled(&item.wanted_image().image, pulled, now.wall));
        }
        let Some(item) = self.current(id, attempt) else { return };
        let Stage::Pulling { tries } = item.stage else { return };
        match result {
            Ok(PulledImage { name: image, .. }) => {
                item.held_off = 0;
                item.stage = Stage::Creating { image: image.clone() };
                commands.push(Command::Create(Box::new(ContainerPlan {
                    id,
                    attempt,
                    order: item.entry.order.clone(),
                    image,
                    ports: item.entry.ports.clone(),
                })));
            }
            Err(EngineFailure::PullFailed(_)) if tries < PULL_TRIES => {
                item.stage = Stage::Pulling { tries: tries + 1 };
                let seed = seed_of(id.to_string().as_bytes());
                commands.push(Self::pull(item, PULLS.spread(tries.saturating_sub(1), seed)));
            }
            Err(EngineFailure::RegistryLimit { detail, retry_after }) => {
                let seed = seed_of(id.to_string().as_bytes());
                // Not all at once when the time is over, and never earlier than was said.
                let least = retry_after.unwrap_or_else(|| LIMITS.wait(item.held_off));
                let wait = least.max(PULLS.wait(item.held_off)).min(LONGEST_LIMIT);
                let spread = seed % (wait.0 / 10 + 1);
                item.held_off = item.held_off.saturating_add(1);
                let until = after(now.monotonic, Millis(wait.0.saturating_add(spread)));
                item.stage = Stage::HeldOff { until, why: detail };
            }
            Err(failure) => self.on_failure(id, failure, commands),
        }
    }

    pub(crate) fn on_created(
        &mut self,
        id: AssignmentId,
        attempt: Attempt,
        result: Result<ContainerId, EngineFailure>,
        commands: &mut Vec<Command>,
    ) {
        let run = self.run.clone();
        let Some(item) = self.current(id, attempt) else { return };
        let Stage::Creating { image } = &item.stage else { return };
        item.entry.image = Some(image.clone());
        match result {
            Ok(container) => {
                item.entry.container = Some(container.0);
                commands.extend(item.start(run.as_ref()));
            }
            Err(failure) => self.on_failure(id, failure, commands),
        }
    }

    pub(crate) fn on_started(
        &mut self,
        now: Now,
        id: AssignmentId,
        attempt: Attempt,
        result: Result<EngineRun, EngineFailure>,
        commands: &mut Vec<Command>,
    ) {
        let Some(item) = self.current(id, attempt) else { return };
        if item.stage == Stage::Stopping {
            return self.on_started_too_late(id, result, commands);
        }
        if item.stage != Stage::Starting {
            return;
        }
        match result {
            Ok(run) => Self::runs(item, now, Some(&run), commands),
            Err(failure) => self.on_failure(id, failure, commands),
        }
    }

    /// It was told to stop while it was being started: nobody watches it yet, and its end must be seen.
    pub(crate) fn on_started_too_late(
        &mut self,
        id: AssignmentId,
        result: Result<EngineRun, EngineFailure>,
        commands: &mut Vec<Command>,
    ) {
        let Some(item) = self.items.get_mut(&id) else { return };
        match result {
            Ok(_) => {
                let Some(container) = item.container() else { return };
                item.entry.started = true;
                commands.push(Command::Watch { id, container });
            }
            // The next list of containers tells.
            Err(EngineFailure::Unavailable(_)) => {}
            Err(_) => {
                let reason = item.entry.stopping.unwrap_or(Reason::StopRequested);
                self.stopped(id, reason, commands);
            }
        }
    }

    /// The container runs, in this life of the engine: watch it, and ask whether it is ready and alive.
    pub(super) fn runs(
        item: &mut Assignment,
        now: Now,
        run: Option<&EngineRun>,
        commands: &mut Vec<Command>,
    ) {
        let Some(container) = item.container() else { return };
        item.entry.started = true;
        item.interruptions = 0;
        item.entry.run = run.cloned();
        commands.push(Command::Watch { id: item.id(), container });
        item.entry.ready |= item.entry.order.spec.readiness.is_none();
        item.unready = None;
        let checks = Checks::begin(&item.entry.order.spec, now.monotonic, item.entry.ready);
        item.stage = Stage::Running { since: now.monotonic, checks };
    }

    /// What becomes of an assignment when the engine could not do its part.
    pub(crate) fn on_failure(
        &mut self,
        id: AssignmentId,
        failure: EngineFailure,
        commands: &mut Vec<Command>,
    ) {
        match failure {
            EngineFailure::Unavailable(_) => {
                self.engine_answers = false;
                let Some(item) = self.items.get_mut(&id) else { return };
                item.stage = Stage::Interrupted;
                item.interruptions = item.interruptions.saturating_add(1);
                if item.interruptions >= MOST_INTERRUPTIONS {
                    let detail = format!(
                        "the node's container engine broke off {MOST_INTERRUPTIONS} tries in a row to start this task; \
                         its owner finds why in the worker's log"
                    );
                    self.fail(id, Reason::EngineError, &detail, commands);
                }
            }
            EngineFailure::RegistryNotAllowed(detail) => {
                self.fail(id, Reason::RegistryNotAllowed, &detail, commands);
            }
            // Only a pull meets it, and waits.
            EngineFailure::RegistryLimit { detail, .. } => {
                self.fail(id, Reason::PullFailed, &detail, commands)
            }
            EngineFailure::PinnedImageGone(detail) => {
                self.fail(id, Reason::PinnedImageGone, &detail, commands);
            }
            EngineFailure::PortTaken(detail) => self.on_port_taken(id, &detail, commands),
            EngineFailure::ImageNotFound(detail) => self.fail(id, Reason::ImageNotFound, &detail, commands),
            EngineFailure::PullFailed(detail) => self.fail(id, Reason::PullFailed, &detail, commands),
            EngineFailure::DiskFull(detail) => self.fail(id, Reason::DiskFull, &detail, commands),
            EngineFailure::CannotStart(detail) => self.fail(id, Reason::CannotStart, &detail, commands),
            EngineFailure::Runtime(detail) => self.fail(id, Reason::RuntimeUnavailable, &detail, commands),
            EngineFailure::ImageRemoved(detail) => self.fail(id, Reason::ImageRemoved, &detail, commands),
            EngineFailure::NoRoom(detail) => self.fail(id, Reason::NodeFull, &detail, commands),
            EngineFailure::Unmet(detail) => self.fail(id, Reason::UnmetRequirement, &detail, commands),
            EngineFailure::Gpu(detail) => self.fail(id, Reason::GpuUnavailable, &detail, commands),
            EngineFailure::Other(detail) => self.fail(id, Reason::EngineError, &detail, commands),
        }
    }

    /// Somebody else listens on a chosen port: another container with other ports.
    pub(crate) fn on_port_taken(&mut self, id: AssignmentId, detail: &str, commands: &mut Vec<Command>) {
        let Some(item) = self.items.get_mut(&id) else { return };
        self.ports.avoid(&item.entry.ports);
        item.entry.ports.clear();
        item.port_conflicts += 1;
        if item.port_conflicts >= PORT_TRIES {
            return self.fail(id, Reason::NoFreePort, detail, commands);
        }
        commands.push(Command::Remove { id });
        item.next_attempt();
        item.stage = Stage::Waiting;
    }
}
