//! What the worker's core wants done. Journal changes are durable before any other effect of the same step runs.

use lode_protocol::assignment::PublishedPort;
use lode_protocol::ids::{AssignmentId, Generation, GpuUuid, LeaderEpoch};
use lode_protocol::session::Order;
use lode_protocol::task::{ProbeAction, PullPolicy};

use lode_protocol::units::Millis;

use super::event::{Attempt, ContainerId};
use super::journal::Entry;

/// A change of the journal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum JournalChange {
    /// Remember this.
    Put(Box<Entry>),
    /// Forget this.
    Delete(AssignmentId),
    /// The desired set that was accepted last.
    Generation(LeaderEpoch, Generation),
}

/// Everything the engine needs to know to create a container.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ContainerPlan {
    /// Which assignment it is.
    pub id: AssignmentId,
    /// Which try.
    pub attempt: Attempt,
    /// What to run.
    pub order: Order,
    /// Image as the engine knows it after the pull.
    pub image: String,
    /// GPUs to pass through, exactly.
    pub gpus: Vec<GpuUuid>,
    /// Ports to publish.
    pub ports: Vec<PublishedPort>,
}

/// Something to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Make durable first.
    Journal(JournalChange),
    /// Fetch an image.
    Pull {
        /// For which assignment.
        id: AssignmentId,
        /// Which try.
        attempt: Attempt,
        /// What to fetch.
        image: String,
        /// When to ask the registry.
        policy: PullPolicy,
        /// Time to wait before (after a failed try).
        delay: Millis,
    },
    /// Create a container and its network. A container of an older try is removed first.
    Create(Box<ContainerPlan>),
    /// Start a container (again).
    Start {
        /// Which assignment.
        id: AssignmentId,
        /// Which try.
        attempt: Attempt,
        /// Which container.
        container: ContainerId,
    },
    /// Report when this container ends. Idempotent.
    Watch {
        /// Which assignment.
        id: AssignmentId,
        /// Which container.
        container: ContainerId,
    },
    /// SIGTERM, then SIGKILL after the grace. The end is reported by the watch.
    Stop {
        /// Which assignment.
        id: AssignmentId,
        /// Which container.
        container: ContainerId,
        /// Time between the two signals.
        grace: Millis,
    },
    /// Keep what a container has written: it is about to be removed. Idempotent; trouble with it does not stop the
    /// removal.
    KeepOutput {
        /// Which assignment.
        id: AssignmentId,
        /// Which container.
        container: ContainerId,
    },
    /// Remove every container and network of this assignment. Idempotent.
    Remove {
        /// Which assignment.
        id: AssignmentId,
    },
    /// Remove one container that is ours by its labels but unknown to the journal.
    RemoveStray(ContainerId),
    /// Ask whether a container is ready.
    Probe {
        /// Which assignment.
        id: AssignmentId,
        /// Which container.
        container: ContainerId,
        /// What to ask.
        action: ProbeAction,
        /// Ports by name.
        ports: Vec<PublishedPort>,
        /// How long to wait for the answer.
        timeout: Millis,
    },
    /// There is news for the orchestrator.
    Report,
}
