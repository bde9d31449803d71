//! What can happen to the containers of this node.

use lode_protocol::ids::{AssignmentId, Generation, GpuUuid, LeaderEpoch};
use lode_protocol::session::Order;
use lode_protocol::units::{Millis, Timestamp};

/// Number of a try to run an assignment: results that belong to an older try are recognised by it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Attempt(pub u32);

/// The engine's id of a container.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ContainerId(pub String);

/// The driver's time: wall clock for reports, monotonic for deadlines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Now {
    /// Wall clock.
    pub wall: Timestamp,
    /// Monotonic, since the worker started.
    pub monotonic: Millis,
}

/// A container of this node and pool as the engine shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Observed {
    /// The engine's id.
    pub container: ContainerId,
    /// Assignment named by our label; `None` if the label cannot be read.
    pub assignment: Option<AssignmentId>,
    /// What it does.
    pub state: ObservedState,
}

/// What a container does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ObservedState {
    /// Created, not started yet.
    Created,
    /// Runs.
    Running,
    /// Ended.
    Exited(Exit),
}

/// How a container ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exit {
    /// Exit code; 128 + n for signal n.
    pub code: i64,
    /// Whether the kernel killed it for its memory limit.
    pub out_of_memory: bool,
}

/// Why the engine could not do something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EngineFailure {
    /// The engine does not answer: nothing is known, nothing follows from it.
    Unavailable(String),
    /// There is no such image, or no right to it.
    ImageNotFound(String),
    /// The registry cannot be reached or broke off.
    PullFailed(String),
    /// The disk is full.
    DiskFull(String),
    /// The image cannot run like this: no such command, wrong format.
    CannotStart(String),
    /// A GPU could not be given to the container.
    Gpu(String),
    /// A host port is taken by somebody else.
    PortTaken(String),
    /// Anything else.
    Other(String),
}

/// Something that happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The orchestrator said what is to run.
    Desired {
        /// Leader epoch that said so: a set of an older (epoch, generation) is ignored.
        epoch: LeaderEpoch,
        /// Version of the set.
        generation: Generation,
        /// The set.
        orders: Vec<Order>,
    },
    /// Every container of this node and pool, listed from an engine that answers.
    Observed(Vec<Observed>),
    /// The engine stopped answering.
    EngineLost,
    /// GPUs that may be used now.
    GpusUsable(Vec<GpuUuid>),
    /// A pull ended.
    Pulled(AssignmentId, Attempt, Result<String, EngineFailure>),
    /// A creation ended.
    Created(AssignmentId, Attempt, Result<ContainerId, EngineFailure>),
    /// A start ended.
    Started(AssignmentId, Attempt, Result<(), EngineFailure>),
    /// A container ended.
    Exited(AssignmentId, ContainerId, Exit),
    /// A readiness check ended.
    Probed(AssignmentId, ContainerId, Result<(), String>),
    /// A container is gone for good, with its network.
    Removed(AssignmentId, Result<(), EngineFailure>),
    /// The orchestrator has stored this report.
    Acknowledged(Vec<(AssignmentId, u64)>),
    /// Time passed.
    Tick,
}
