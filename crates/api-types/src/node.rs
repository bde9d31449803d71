//! Nodes.

use std::collections::BTreeMap;

use lode_protocol::error_code::ErrorCode;
use lode_protocol::finding::Severity;
use lode_protocol::hardware::{GpuState, PassthroughForm};
use lode_protocol::ids::{AssignmentId, GpuUuid, NodeId, ProviderId};
use lode_protocol::units::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Where a node stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum NodeState {
    /// Not a member yet.
    Joining,
    /// A member whose lease runs.
    Alive,
    /// A member that has been silent for a while; nothing new is placed.
    Suspect,
    /// A member that has been silent for a lease; its work was placed elsewhere.
    Lost,
    /// A member that is being emptied or leaves.
    Draining,
    /// Removed, or gone.
    Ejected,
    /// Two processes use its key; nothing is placed.
    Conflicted,
}

impl NodeState {
    /// The word in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Joining => "joining",
            Self::Alive => "alive",
            Self::Suspect => "suspect",
            Self::Lost => "lost",
            Self::Draining => "draining",
            Self::Ejected => "ejected",
            Self::Conflicted => "conflicted",
        }
    }
}

impl std::fmt::Display for NodeState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// How far a node's membership is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum MembershipStatus {
    /// Not a member yet; something is missing.
    Waiting,
    /// An invite is out.
    Invited,
    /// A member on chain.
    Member,
    /// A member that gets nothing new.
    Draining,
    /// Removed.
    Ejected,
}

impl MembershipStatus {
    /// The word in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Invited => "invited",
            Self::Member => "member",
            Self::Draining => "draining",
            Self::Ejected => "ejected",
        }
    }
}

/// Where a node stands in the pool.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Membership {
    /// How far it is.
    pub status: MembershipStatus,
    /// What is missing; a member can lack something too.
    pub code: Option<ErrorCode>,
    /// In words.
    pub message: Option<String>,
}

/// An amount of everything.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Capacity {
    /// Healthy GPUs.
    pub gpus: u32,
    /// CPUs.
    pub cpus: f64,
    /// Memory.
    pub memory_bytes: u64,
    /// Disk.
    pub disk_bytes: u64,
}

/// One GPU.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Gpu {
    /// NVIDIA's name of it: the key of everything about GPUs.
    pub uuid: GpuUuid,
    /// Like `NVIDIA H200`.
    pub model: Option<String>,
    /// Its memory.
    pub memory_bytes: Option<u64>,
    /// Its health; null while its worker has not reported it.
    pub state: Option<GpuState>,
    /// Why it is not healthy.
    pub reason: Option<String>,
    /// How warm it is.
    pub temperature_celsius: Option<u32>,
    /// What it draws.
    pub power_milliwatts: Option<u32>,
    /// Share of time in which a kernel ran.
    pub utilization_percent: Option<u32>,
    /// Memory in use.
    pub memory_used_bytes: Option<u64>,
    /// Who holds it.
    pub assignment: Option<AssignmentId>,
}

/// A node in a list.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct NodeSummary {
    /// Its id.
    pub id: NodeId,
    /// Where it stands.
    pub state: NodeState,
    /// Where it stands in the pool.
    pub membership: Membership,
    /// Its provider, once the chain has named one.
    pub provider: Option<ProviderId>,
    /// Its GPUs.
    pub gpus: Vec<Gpu>,
    /// What it has.
    pub capacity: Capacity,
    /// What is promised to assignments.
    pub allocated: Capacity,
    /// Non-final assignments on it.
    pub assignments: u32,
    /// When it was last heard; null: not since the orchestrator started.
    pub last_heard: Option<Timestamp>,
    /// Version of its worker.
    pub agent_version: String,
}

/// One GPU as its host describes it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct GpuSpecs {
    /// NVIDIA's name of it.
    pub uuid: GpuUuid,
    /// Like `NVIDIA H200`.
    pub model: Option<String>,
    /// Its memory.
    pub memory_bytes: Option<u64>,
    /// CUDA compute capability, like `9.0`.
    pub compute_capability: Option<String>,
    /// Like `00000000:0F:00.0`.
    pub pci_bus_id: Option<String>,
    /// The GPU that this MIG instance is a part of.
    pub parent: Option<GpuUuid>,
}

/// A host's hardware and software, as it describes itself.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Specs {
    /// CPUs that its worker may give to tasks.
    pub cpus: f64,
    /// Name of the CPU.
    pub cpu_model: Option<String>,
    /// Memory that its worker may give to tasks.
    pub memory_bytes: u64,
    /// Disk that its worker may give to tasks.
    pub disk_bytes: u64,
    /// Its GPUs.
    pub gpus: Vec<GpuSpecs>,
    /// NVIDIA driver.
    pub driver_version: Option<String>,
    /// Highest CUDA version that the driver supports, like `12.4`.
    pub cuda_version: Option<String>,
    /// Container engine.
    pub engine_version: Option<String>,
    /// How GPUs reach containers, where there are GPUs.
    pub passthrough: Option<PassthroughForm>,
    /// Operating system as `/etc/os-release` names it.
    pub os: String,
    /// CPU architecture as Docker names it, like `amd64`.
    pub architecture: String,
    /// Labels chosen by the host's owner.
    pub labels: BTreeMap<String, String>,
}

/// What a host used at its last beat.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Usage {
    /// CPUs in use.
    pub cpus: f64,
    /// Memory in use.
    pub memory_bytes: u64,
    /// Disk free for tasks.
    pub disk_free_bytes: u64,
}

/// Something that is wrong.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// Stable code.
    pub code: ErrorCode,
    /// How much it matters.
    pub severity: Severity,
    /// What it is about; empty: the whole.
    pub subject: String,
    /// What is so and what it means.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
    /// Since when it holds without a break; left out where nobody has counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

/// Everything about a node.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Node {
    /// What the list shows.
    #[serde(flatten)]
    pub summary: NodeSummary,
    /// Hardware and software, as claimed.
    pub specs: Specs,
    /// Addresses, as claimed.
    pub addresses: Vec<String>,
    /// What it used at its last beat.
    pub usage: Option<Usage>,
    /// What is wrong on it, by its worker.
    pub findings: Vec<Finding>,
    /// Non-final assignments on it.
    pub active: Vec<AssignmentId>,
    /// How often its worker has started.
    pub boot: u64,
    /// Version of its desired set.
    pub generation: u64,
    /// Desired set that its worker works towards.
    pub observed: Option<u64>,
    /// How often it was tried to let it join since it last was healthy.
    pub attempts: u32,
}

/// A page of nodes.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct NodePage {
    /// Nodes, by id.
    pub items: Vec<NodeSummary>,
    /// `after` of the next page; null: this is the last one.
    pub next: Option<NodeId>,
}

/// What becomes of batch work when a node is drained.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DrainBatch {
    /// It runs to its end.
    #[default]
    Finish,
    /// It is stopped and started anew elsewhere.
    Move,
}

/// Body of drain.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DrainBody {
    /// What becomes of batch work.
    #[serde(default)]
    pub batch: DrainBatch,
}

/// Body of eject.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EjectBody {
    /// Told to the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 500)]
    pub message: Option<String>,
}
