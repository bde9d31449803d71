//! From an order to a container that runs: GPUs and ports, pull, create, start, and what becomes of an engine's "no".

use std::collections::BTreeSet;

use lode_protocol::assignment::Reason;
use lode_protocol::backoff::{BackoffPolicy, seed_of};
use lode_protocol::ids::{AssignmentId, GpuUuid};
use lode_protocol::units::Millis;

use super::Assignments;
use crate::assignment::{Assignment, Probe, Stage};
use crate::effect::{Command, ContainerPlan};
use crate::event::{Attempt, ContainerId, EngineFailure, Now};

const PULL_TRIES: u32 = 4;
/// Waits between tries. Spread, because a registry that fails one node fails the whole pool at once.
const PULLS: BackoffPolicy = BackoffPolicy::new(Millis::seconds(2), Millis::seconds(30));
const PORT_TRIES: u32 = 8;

impl Assignments {
    /// Begins whatever waits and can be begun.
    pub(super) fn begin_waiting(&mut self, commands: &mut Vec<Command>) {
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
        let order = &item.entry.order;
        Command::Pull {
            id: item.id(),
            attempt: item.attempt(),
            image: item.wanted_image().to_owned(),
            policy: order.spec.pull,
            delay,
        }
    }

    pub(super) fn current(&mut self, id: AssignmentId, attempt: Attempt) -> Option<&mut Assignment> {
        self.items.get_mut(&id).filter(|item| item.attempt() == attempt)
    }

    pub(crate) fn on_pulled(
        &mut self,
        id: AssignmentId,
        attempt: Attempt,
        result: Result<String, EngineFailure>,
        commands: &mut Vec<Command>,
    ) {
        let Some(item) = self.current(id, attempt) else { return };
        let Stage::Pulling { tries } = item.stage else { return };
        match result {
            Ok(image) => {
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
        let Some(item) = self.current(id, attempt) else { return };
        let Stage::Creating { image } = &item.stage else { return };
        item.entry.image = Some(image.clone());
        match result {
            Ok(container) => {
                item.entry.container = Some(container.0.clone());
                item.stage = Stage::Starting;
                commands.push(Command::Start { id, attempt, container });
            }
            Err(failure) => self.on_failure(id, failure, commands),
        }
    }

    pub(crate) fn on_started(
        &mut self,
        now: Now,
        id: AssignmentId,
        attempt: Attempt,
        result: Result<(), EngineFailure>,
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
            Ok(()) => Self::runs(item, now, commands),
            Err(failure) => self.on_failure(id, failure, commands),
        }
    }

    /// It was told to stop while it was being started: nobody watches it yet, and its end must be seen.
    pub(crate) fn on_started_too_late(
        &mut self,
        id: AssignmentId,
        result: Result<(), EngineFailure>,
        commands: &mut Vec<Command>,
    ) {
        let Some(item) = self.items.get_mut(&id) else { return };
        match result {
            Ok(()) => {
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

    /// The container runs: watch it, and ask whether it is ready.
    pub(super) fn runs(item: &mut Assignment, now: Now, commands: &mut Vec<Command>) {
        let Some(container) = item.container() else { return };
        item.entry.started = true;
        commands.push(Command::Watch { id: item.id(), container });
        let probe = if item.entry.order.spec.readiness.is_none() || item.entry.ready {
            item.entry.ready = true;
            Probe::Settled
        } else {
            Probe::Due(now.monotonic)
        };
        item.stage = Stage::Running { since: now.monotonic, probe };
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
                if let Some(item) = self.items.get_mut(&id) {
                    item.stage = Stage::Interrupted;
                }
                self.engine_answers = false;
            }
            EngineFailure::PortTaken(detail) => self.on_port_taken(id, &detail, commands),
            EngineFailure::ImageNotFound(detail) => self.fail(id, Reason::ImageNotFound, &detail, commands),
            EngineFailure::PullFailed(detail) => self.fail(id, Reason::PullFailed, &detail, commands),
            EngineFailure::DiskFull(detail) => self.fail(id, Reason::DiskFull, &detail, commands),
            EngineFailure::CannotStart(detail) => self.fail(id, Reason::CannotStart, &detail, commands),
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
