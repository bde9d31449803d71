//! Read models: what the API shows. Built on request from the core's state, never stored.

use std::collections::BTreeMap;

use lode_protocol::assignment::{AssignmentState, PublishedPort, Reason};
use lode_protocol::error_code::ErrorCode;
use lode_protocol::finding::Finding;
use lode_protocol::hardware::{GpuState, NodeSpecs};
use lode_protocol::ids::{AssignmentId, GpuUuid, NodeId, ProviderId, TaskId, Term};
use lode_protocol::session::{Membership, Usage};
use lode_protocol::task::{TaskKind, TaskSpec};
use lode_protocol::units::{Bytes, MilliCpus, Millis, Timestamp};
use serde::{Deserialize, Serialize};

use super::settlement::view::{BudgetView, OrderView};
pub use super::state::words::{NodeState, ReplicaCounts, TaskState};

/// What of a resource is there, promised, and free.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Capacity {
    /// GPUs of the node that may be used at all (healthy ones).
    pub gpus: u32,
    /// CPU time.
    pub cpus: MilliCpus,
    /// Memory.
    pub memory: Bytes,
    /// Disk.
    pub disk: Bytes,
}

/// One GPU of a node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct GpuView {
    /// Its UUID.
    pub uuid: GpuUuid,
    /// Its model.
    pub model: Option<String>,
    /// Its memory.
    pub memory: Option<Bytes>,
    /// Its health; `None` while the worker has not reported it.
    pub state: Option<GpuState>,
    /// Why it is not healthy.
    pub reason: Option<String>,
    /// Degrees Celsius.
    pub temperature: Option<u32>,
    /// Milliwatts.
    pub power: Option<u32>,
    /// Per cent of time that a kernel ran.
    pub utilization: Option<u32>,
    /// Memory in use.
    pub memory_used: Option<Bytes>,
    /// Who holds it.
    pub assignment: Option<AssignmentId>,
}

/// A node in a list.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct NodeSummary {
    /// Its id.
    pub id: NodeId,
    /// Where it stands.
    pub state: NodeState,
    /// Where it stands in the pool, with what is missing.
    pub membership: Membership,
    /// What keeps a member from being given work, by the chain: a stable code, and words.
    pub shortfall: Option<(ErrorCode, String)>,
    /// Its provider, once the chain has named one.
    pub provider: Option<ProviderId>,
    /// Its GPUs.
    pub gpus: Vec<GpuView>,
    /// What it has.
    pub capacity: Capacity,
    /// What is promised to assignments.
    pub allocated: Capacity,
    /// Non-final assignments on it.
    pub assignments: u32,
    /// When it was last heard; `None` since the orchestrator started.
    pub last_heard: Option<Timestamp>,
    /// Version of its worker.
    pub agent_version: String,
}

/// Everything about a node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct NodeView {
    /// What the list shows.
    #[serde(flatten)]
    pub summary: NodeSummary,
    /// Hardware and software, as claimed.
    pub specs: NodeSpecs,
    /// Addresses, as claimed.
    pub addresses: Vec<String>,
    /// What the host used at the last beat.
    pub usage: Option<Usage>,
    /// What is wrong on the host, by its worker.
    pub findings: Vec<Finding>,
    /// Non-final assignments on it.
    pub active: Vec<AssignmentId>,
    /// How often its worker has started.
    pub boot: u64,
    /// Version of its desired set.
    pub generation: u64,
    /// Desired set that the worker works towards.
    pub observed: Option<u64>,
    /// How often it was tried to let it join since it last was healthy.
    pub attempts: u32,
}

/// One step in an assignment's life.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct HistoryView {
    /// When, by the orchestrator's clock.
    pub at: Timestamp,
    /// State reached.
    pub state: AssignmentState,
    /// Why.
    pub reason: Option<Reason>,
    /// In words.
    pub detail: String,
}

/// One assignment.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct AssignmentView {
    /// Its id.
    pub id: AssignmentId,
    /// Where it was placed.
    pub node: NodeId,
    /// Where it stands.
    pub state: AssignmentState,
    /// Why.
    pub reason: Option<Reason>,
    /// In words.
    pub detail: String,
    /// Exit code of the last run.
    pub exit_code: Option<i64>,
    /// Restarts on its node.
    pub restarts: u32,
    /// GPUs it holds or held.
    pub gpus: Vec<GpuUuid>,
    /// Ports it publishes.
    pub ports: Vec<PublishedPort>,
    /// Image that runs, as its worker names it.
    pub image: Option<String>,
    /// Its life so far.
    pub history: Vec<HistoryView>,
}

/// Where one replica stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ReplicaState {
    /// Waits for a node.
    Pending,
    /// Waits out a back-off after a failure.
    BackOff,
    /// Has an assignment.
    Active,
    /// Ended well.
    Succeeded,
    /// Ended for good, not well.
    Failed,
    /// Is not to run.
    Idle,
}

/// A task in a list.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct TaskSummary {
    /// Its id.
    pub id: TaskId,
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: TaskKind,
    /// Where it stands.
    pub state: TaskState,
    /// When it was submitted.
    pub created: Timestamp,
    /// Its replicas.
    pub replicas: ReplicaCounts,
}

/// Everything about a task.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct TaskView {
    /// What the list shows.
    #[serde(flatten)]
    pub summary: TaskSummary,
    /// What was submitted.
    pub spec: TaskSpec,
    /// Image that the task was pinned to.
    pub pinned_image: Option<String>,
    /// What it may cost, and has cost.
    pub order: Option<OrderView>,
    /// State of each replica, by number.
    pub replica_states: Vec<ReplicaState>,
    /// Assignments that are kept: all non-final ones and the last few that ended, in the order of their ids.
    pub assignments: Vec<AssignmentView>,
}

/// The assignments of one replica.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReplicaRuns {
    /// Replicas of its task.
    pub replicas: u32,
    /// Those of its assignments that are kept, oldest first.
    pub assignments: Vec<AssignmentId>,
    /// Whether it runs, or may be placed again.
    pub may_run_again: bool,
}

/// A condition that a node must meet to get a replica. In the order in which they are asked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Filter {
    /// It is a member whose membership counts.
    Member,
    /// It is heard of in time and has told what runs on it.
    Alive,
    /// It is not being emptied.
    NotDraining,
    /// Only one process uses its key.
    NotConflicted,
    /// It has not failed at several tasks in one way, or one may try it again.
    NotFailing,
    /// Its proof counts, where the pool asks for one.
    Proven,
    /// The pool's budget bears it.
    Budget,
    /// The task's constraints.
    Constraints,
    /// It has enough GPUs of a wanted model.
    GpuModel,
    /// It has enough such GPUs with the wanted memory.
    GpuMemory,
    /// Enough of them are healthy.
    GpuHealth,
    /// Enough of them are free.
    GpusFree,
    /// CPU time is free.
    Cpus,
    /// Memory is free.
    Memory,
    /// Disk is free.
    Disk,
    /// What it is to run still fits into one message to it.
    DesiredSet,
}

/// How many nodes failed a filter, and what would help.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct FilterCount {
    /// The filter.
    pub filter: Filter,
    /// Nodes that passed all filters before it and failed here.
    pub nodes: u32,
    /// What would help.
    pub help: String,
}

/// Why a task is where it is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Explanation {
    /// The task.
    pub task: TaskId,
    /// Where it stands.
    pub state: TaskState,
    /// In one sentence.
    pub summary: String,
    /// Replicas that wait for a node.
    pub waiting: u32,
    /// Nodes that were looked at.
    pub nodes: u32,
    /// Nodes that could take one more replica now.
    pub fitting: u32,
    /// Counts per filter, only those that some node failed.
    pub filters: Vec<FilterCount>,
    /// What keeps the pool as a whole from placing anything.
    pub blocked: Option<Blocked>,
    /// Replicas that wait out a back-off, with the time left.
    pub back_offs: BTreeMap<u32, Millis>,
}

/// Why nothing at all is placed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Blocked {
    /// Stable code.
    pub code: ErrorCode,
    /// In words.
    pub message: String,
}

/// What one node says to one task.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct NodeVerdict {
    /// The node.
    pub node: NodeId,
    /// First filter that it fails; `None`: it fits.
    pub failed: Option<Filter>,
    /// In words.
    pub message: String,
}

/// The pool at a glance.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct PoolView {
    /// Term of the orchestrator.
    pub epoch: Term,
    /// Whether the chain's facts may be acted upon.
    pub chain_fresh: bool,
    /// Nodes by state.
    pub nodes: BTreeMap<NodeState, u32>,
    /// Tasks by state.
    pub tasks: BTreeMap<TaskState, u32>,
    /// GPUs of living members.
    pub gpus: u32,
    /// Of these, promised to assignments.
    pub gpus_allocated: u32,
    /// Non-final assignments.
    pub assignments: u32,
    /// Replicas that wait for a node.
    pub pending: u32,
    /// Beat interval that nodes are told now.
    pub beat_interval: Millis,
    /// The pool's money, where the pool pays and the chain has told it.
    pub budget: Option<BudgetView>,
}
