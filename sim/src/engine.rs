//! A container engine: what it holds lives through a crash of the worker, and ends with the host.

use std::collections::BTreeMap;

use lode_protocol::ids::{AssignmentId, GpuUuid};
use lode_worker_core::event::{
    ContainerId, Ending, EngineFailure, EngineRun, Exit, MemoryLimits, Observed, ObservedState,
};

/// One container.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Container {
    /// Its label.
    pub assignment: AssignmentId,
    /// Its GPUs.
    pub gpus: Vec<GpuUuid>,
    /// What it does.
    pub state: ObservedState,
    /// When it began to run.
    pub since: u64,
    /// How long its program runs; `None`: until it is stopped.
    pub runs_for: Option<u64>,
    /// What its program ends with.
    pub code: i64,
    /// Whether its worker waits for its end.
    pub watched: bool,
}

impl Container {
    /// Whether it runs.
    pub fn runs(&self) -> bool {
        self.state == ObservedState::Running
    }
}

/// The engine of one host.
#[derive(Clone, Debug, Default)]
pub struct Engine {
    /// Every container by its id.
    pub containers: BTreeMap<ContainerId, Container>,
    /// Whether it answers.
    pub silent: bool,
    /// GPU-milliseconds that ended containers have run.
    pub ran: u64,
    /// Until when calls for an assignment are busy: they are done one after the other.
    pub busy: BTreeMap<AssignmentId, u64>,
    /// Boots of its host.
    pub boots: u64,
    made: u64,
}

impl Engine {
    /// A fresh id.
    pub fn name(&mut self) -> ContainerId {
        self.made += 1;
        ContainerId(format!("c{}", self.made))
    }

    /// Its life: it starts with its host and ends with it.
    pub fn life(&self) -> EngineRun {
        EngineRun { boot: self.boots.to_string(), run: String::new() }
    }

    /// How a container came to its end.
    pub fn examine(&self, id: &ContainerId) -> Result<Ending, EngineFailure> {
        match self.containers.get(id).map(|container| &container.state) {
            Some(ObservedState::Exited(exit)) => Ok(Ending {
                exit: *exit,
                run: self.life(),
                stopped_by_hand: None,
                host_out_of_memory: false,
                limits: MemoryLimits::default(),
            }),
            Some(ObservedState::Created | ObservedState::Running) => {
                Err(EngineFailure::Other("it runs again".to_owned()))
            }
            None => Err(EngineFailure::Other("no such container".to_owned())),
        }
    }

    /// Every container as a scan shows it.
    pub fn list(&self) -> Vec<Observed> {
        let seen = |(id, container): (&ContainerId, &Container)| Observed {
            container: id.clone(),
            assignment: Some(container.assignment),
            state: container.state.clone(),
        };
        self.containers.iter().map(seen).collect()
    }

    /// Ends a container; says whether its worker waits for that.
    pub fn end(&mut self, now: u64, id: &ContainerId, exit: Exit) -> Option<AssignmentId> {
        let container = self.containers.get_mut(id)?;
        if container.runs() {
            self.ran += now.saturating_sub(container.since) * gpus(container);
        } else if matches!(container.state, ObservedState::Exited(_)) {
            return None;
        }
        container.state = ObservedState::Exited(exit);
        std::mem::take(&mut container.watched).then_some(container.assignment)
    }

    /// Removes a container.
    pub fn remove(&mut self, now: u64, id: &ContainerId) {
        if let Some(container) = self.containers.remove(id)
            && container.runs()
        {
            self.ran += now.saturating_sub(container.since) * gpus(&container);
        }
    }

    /// GPU-milliseconds that have run on this host until now.
    pub fn gpu_millis(&self, now: u64) -> u64 {
        let running = self.containers.values().filter(|container| container.runs());
        self.ran + running.map(|container| now.saturating_sub(container.since) * gpus(container)).sum::<u64>()
    }
}

fn gpus(container: &Container) -> u64 {
    u64::try_from(container.gpus.len()).unwrap_or(u64::MAX)
}
