//! Nodes as the API shows them.

use lode_protocol::error_code::ErrorCode;
use lode_protocol::session::Membership;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::task_types::{time, word};
use crate::core::view;

/// An amount of everything.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Capacity {
    gpus: u32,
    cpus: f64,
    /// Bytes.
    memory: u64,
    /// Bytes.
    disk: u64,
}

/// Where a node stands in the pool.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Standing {
    /// waiting, invited, member, draining, ejected
    status: String,
    /// What is missing.
    code: Option<String>,
    message: Option<String>,
}

/// One GPU.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Gpu {
    uuid: String,
    model: Option<String>,
    /// Bytes.
    memory: Option<u64>,
    /// healthy, suspect, quarantined, recovering; null while not reported.
    state: Option<String>,
    reason: Option<String>,
    /// Degrees Celsius.
    temperature: Option<u32>,
    /// Milliwatts.
    power: Option<u32>,
    /// Per cent.
    utilization: Option<u32>,
    /// Bytes.
    memory_used: Option<u64>,
    /// Who holds it.
    assignment: Option<String>,
}

/// A node in a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NodeSummary {
    id: String,
    /// joining, alive, suspect, lost, draining, ejected, conflicted
    state: String,
    membership: Standing,
    provider: Option<String>,
    gpus: Vec<Gpu>,
    capacity: Capacity,
    allocated: Capacity,
    /// Non-final assignments on it.
    assignments: u32,
    last_heard: Option<String>,
    agent_version: String,
}

/// What a host used at its last beat.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Usage {
    cpus: f64,
    memory: u64,
    disk_free: u64,
}

/// Something that is wrong.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Finding {
    pub(super) code: String,
    /// info, warning, error
    pub(super) severity: String,
    pub(super) subject: String,
    pub(super) message: String,
    pub(super) remedy: String,
    /// RFC 3339; since when it holds without a break.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) since: Option<String>,
}

/// Everything about a node.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Node {
    id: String,
    state: String,
    membership: Standing,
    provider: Option<String>,
    gpus: Vec<Gpu>,
    capacity: Capacity,
    allocated: Capacity,
    assignments: u32,
    last_heard: Option<String>,
    agent_version: String,
    /// Hardware and software, as claimed.
    #[schema(value_type = Object)]
    specs: serde_json::Value,
    /// As claimed.
    addresses: Vec<String>,
    usage: Option<Usage>,
    findings: Vec<Finding>,
    /// Ids of the non-final assignments.
    active: Vec<String>,
    boot: u64,
    generation: u64,
    observed: Option<u64>,
    attempts: u32,
}

/// A page of nodes.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NodePage {
    pub(super) items: Vec<NodeSummary>,
    /// `after` of the next page.
    pub(super) next: Option<String>,
}

/// Query of the list.
#[derive(Debug, Default, Deserialize)]
pub(super) struct NodeListQuery {
    pub(super) after: Option<String>,
    pub(super) limit: Option<usize>,
}

/// What becomes of batch work when a node is drained.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum DrainBatch {
    /// It runs to its end.
    #[default]
    Finish,
    /// It is stopped and started anew elsewhere.
    Move,
}

/// Body of drain.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DrainBody {
    #[serde(default)]
    pub(super) batch: DrainBatch,
}

/// Body of eject.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EjectBody {
    /// Told to the node.
    #[serde(default)]
    pub(super) message: Option<String>,
}

impl From<view::Capacity> for Capacity {
    fn from(capacity: view::Capacity) -> Self {
        Capacity {
            gpus: capacity.gpus,
            cpus: f64::from(capacity.cpus.0) / 1_000.0,
            memory: capacity.memory.0,
            disk: capacity.disk.0,
        }
    }
}

impl From<Membership> for Standing {
    fn from(membership: Membership) -> Self {
        let bare = |status: &str| Standing { status: status.to_owned(), code: None, message: None };
        match membership {
            Membership::Waiting { code, message } => {
                Standing { code: Some(code.to_string()), message: Some(message), ..bare("waiting") }
            }
            Membership::Invited => bare("invited"),
            Membership::Member => bare("member"),
            Membership::Draining => bare("draining"),
            Membership::Ejected { message } => Standing { message: Some(message), ..bare("ejected") },
        }
    }
}

impl Standing {
    /// What a member lacks is said beside that it is one.
    fn with(self, shortfall: Option<(ErrorCode, String)>) -> Self {
        match shortfall {
            Some((code, message)) => {
                Standing { code: Some(code.to_string()), message: Some(message), ..self }
            }
            None => self,
        }
    }
}

impl From<view::GpuView> for Gpu {
    fn from(gpu: view::GpuView) -> Self {
        Gpu {
            uuid: gpu.uuid.to_string(),
            model: gpu.model,
            memory: gpu.memory.map(|bytes| bytes.0),
            state: gpu.state.as_ref().map(word),
            reason: gpu.reason,
            temperature: gpu.temperature,
            power: gpu.power,
            utilization: gpu.utilization,
            memory_used: gpu.memory_used.map(|bytes| bytes.0),
            assignment: gpu.assignment.map(|id| id.to_string()),
        }
    }
}

impl From<view::NodeSummary> for NodeSummary {
    fn from(node: view::NodeSummary) -> Self {
        NodeSummary {
            id: node.id.to_string(),
            state: word(&node.state),
            membership: Standing::from(node.membership).with(node.shortfall),
            provider: node.provider.map(|provider| provider.to_string()),
            gpus: node.gpus.into_iter().map(Into::into).collect(),
            capacity: node.capacity.into(),
            allocated: node.allocated.into(),
            assignments: node.assignments,
            last_heard: node.last_heard.map(time),
            agent_version: node.agent_version,
        }
    }
}

impl From<lode_protocol::finding::Finding> for Finding {
    fn from(finding: lode_protocol::finding::Finding) -> Self {
        Finding {
            code: finding.code.to_string(),
            severity: word(&finding.severity),
            subject: finding.subject,
            message: finding.message,
            remedy: finding.remedy,
            since: None,
        }
    }
}

impl From<view::NodeView> for Node {
    fn from(node: view::NodeView) -> Self {
        let summary = NodeSummary::from(node.summary);
        Node {
            id: summary.id,
            state: summary.state,
            membership: summary.membership,
            provider: summary.provider,
            gpus: summary.gpus,
            capacity: summary.capacity,
            allocated: summary.allocated,
            assignments: summary.assignments,
            last_heard: summary.last_heard,
            agent_version: summary.agent_version,
            specs: serde_json::to_value(&node.specs).unwrap_or_default(),
            addresses: node.addresses,
            usage: node.usage.map(|usage| Usage {
                cpus: f64::from(usage.cpus.0) / 1_000.0,
                memory: usage.memory.0,
                disk_free: usage.disk_free.0,
            }),
            findings: node.findings.into_iter().map(Into::into).collect(),
            active: node.active.iter().map(ToString::to_string).collect(),
            boot: node.boot,
            generation: node.generation,
            observed: node.observed,
            attempts: node.attempts,
        }
    }
}
