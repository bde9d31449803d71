//! Tasks.

use lode_protocol::amount::Amount;
use lode_protocol::assignment::{AssignmentState, Fault, PublishedPort, Reason};
use lode_protocol::error_code::ErrorCode;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{Address, AssignmentId, GpuUuid, Incarnation, NodeId, TaskId};
use lode_protocol::keys::EthereumSignature;
use lode_protocol::settlement::SpendAuthorization;
use lode_protocol::task::{TaskKind, TaskSpec};
use lode_protocol::units::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What is submitted: a task, and what it may cost where somebody signed for that. `order` and `signature` go together.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Submission {
    /// The task.
    pub spec: TaskSpec,
    /// What it may cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<SpendAuthorization>,
    /// The tenant's EIP-712 signature of the order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<EthereumSignature>,
}

/// Where a task stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TaskState {
    /// Some replica is not running yet.
    Pending,
    /// Every replica runs, or has ended well.
    Running,
    /// Was asked to stop; something still runs.
    Stopping,
    /// Was asked to stop and has.
    Stopped,
    /// Every replica ended with success.
    Succeeded,
    /// Every replica ended, at least one of them for good and not well.
    Failed,
    /// Is being deleted; something still runs.
    Deleting,
}

impl TaskState {
    /// Every state, in the order of a task's life.
    pub const ALL: [TaskState; 7] = [
        Self::Pending,
        Self::Running,
        Self::Stopping,
        Self::Stopped,
        Self::Succeeded,
        Self::Failed,
        Self::Deleting,
    ];

    /// The word in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Deleting => "deleting",
        }
    }

    /// Whether nothing of it runs any more, nor will unless somebody starts it.
    pub const fn has_ended(self) -> bool {
        match self {
            Self::Stopped | Self::Succeeded | Self::Failed => true,
            Self::Pending | Self::Running | Self::Stopping | Self::Deleting => false,
        }
    }
}

impl std::fmt::Display for TaskState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// How many replicas are where.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Replicas {
    /// Wanted in all.
    pub total: u32,
    /// Wait for a node or a back-off.
    pub pending: u32,
    /// Have an assignment that does not run yet.
    pub starting: u32,
    /// Run and are ready.
    pub running: u32,
    /// Ended well.
    pub succeeded: u32,
    /// Ended for good, not well.
    pub failed: u32,
}

/// Where one replica stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
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
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct TaskSummary {
    /// Its id.
    pub id: TaskId,
    /// Its name; need not be unique.
    pub name: String,
    /// Whether it ends by itself.
    pub kind: TaskKind,
    /// Where it stands.
    pub state: TaskState,
    /// When it was submitted.
    pub created: Timestamp,
    /// Its replicas.
    pub replicas: Replicas,
}

/// One step in an assignment's life.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Step {
    /// When, by the orchestrator's clock.
    pub at: Timestamp,
    /// State reached.
    pub state: AssignmentState,
    /// Why.
    pub reason: Option<Reason>,
    /// The worker's words.
    pub detail: String,
}

/// One replica placed on one node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Assignment {
    /// TASK.REPLICA.INCARNATION
    pub id: AssignmentId,
    /// Number of the replica.
    pub replica: u32,
    /// How often it has been placed.
    pub incarnation: Incarnation,
    /// Where it was placed.
    pub node: NodeId,
    /// Where it stands.
    pub state: AssignmentState,
    /// Why.
    pub reason: Option<Reason>,
    /// Who is to blame.
    pub fault: Option<Fault>,
    /// The worker's words.
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
    pub history: Vec<Step>,
}

/// What a task may cost, and has cost.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Order {
    /// Who pays.
    pub tenant: Address,
    /// Digest of what the tenant signed.
    pub digest: Digest,
    /// Most that one GPU may cost for one hour.
    pub price_per_gpu_hour: Amount,
    /// Most that the task may cost.
    pub budget: Amount,
    /// What it has cost.
    pub spent: Amount,
}

/// Everything about a task.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Task {
    /// What the list shows.
    #[serde(flatten)]
    pub summary: TaskSummary,
    /// As submitted, with defaults.
    pub spec: TaskSpec,
    /// Content that all further orders name: `name@sha256:…`; null until the registry or a worker has said it.
    pub pinned_image: Option<String>,
    /// What it may cost, where somebody signed for it.
    pub order: Option<Order>,
    /// State of each replica, by its number.
    pub replica_states: Vec<ReplicaState>,
    /// All that have not ended, and the last few that have.
    pub assignments: Vec<Assignment>,
}

/// Something about an accepted task that its owner should know.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Warning {
    /// Stable code.
    pub code: ErrorCode,
    /// In words.
    pub message: String,
}

/// A task that was accepted. Its `Location` shows the rest of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Submitted {
    /// What the list shows.
    #[serde(flatten)]
    pub task: TaskSummary,
    /// Content that all orders name: `name@sha256:…`; null until the registry or a worker has said it.
    pub pinned_image: Option<String>,
    /// Why the image's tag could not be resolved, if it could not. Empty: nothing to say.
    pub warnings: Vec<Warning>,
}

/// A page of tasks.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct TaskPage {
    /// Tasks, newest first.
    pub items: Vec<TaskSummary>,
    /// `after` of the next page; null: this is the last one.
    pub next: Option<TaskId>,
}

/// A condition that a node must meet to get a replica, in the order in which they are asked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, ToSchema)]
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

impl Filter {
    /// The word in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Alive => "alive",
            Self::NotDraining => "not-draining",
            Self::NotConflicted => "not-conflicted",
            Self::NotFailing => "not-failing",
            Self::Proven => "proven",
            Self::Budget => "budget",
            Self::Constraints => "constraints",
            Self::GpuModel => "gpu-model",
            Self::GpuMemory => "gpu-memory",
            Self::GpuHealth => "gpu-health",
            Self::GpusFree => "gpus-free",
            Self::Cpus => "cpus",
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::DesiredSet => "desired-set",
        }
    }
}

impl std::fmt::Display for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// How many nodes failed a filter.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct FilterCount {
    /// The filter.
    pub filter: Filter,
    /// Nodes that passed all filters before it and failed here.
    pub nodes: u32,
    /// What would help.
    pub help: String,
}

/// Why nothing at all is placed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Blocked {
    /// Stable code.
    pub code: ErrorCode,
    /// In words.
    pub message: String,
}

/// A replica that waits after a failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct BackOff {
    /// Which.
    pub replica: u32,
    /// How long it still waits.
    pub left_ms: u64,
}

/// What one node says to the task.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Verdict {
    /// The node.
    pub node: NodeId,
    /// First filter that it fails; null: it fits.
    pub failed: Option<Filter>,
    /// In words.
    pub message: String,
}

/// Why a task is where it is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
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
    /// Replicas that wait out a back-off.
    pub back_offs: Vec<BackOff>,
    /// What each node says, with `nodes=true`.
    pub verdicts: Vec<Verdict>,
    /// `after` of the next page of verdicts.
    pub next: Option<NodeId>,
}
