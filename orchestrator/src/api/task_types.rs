//! Tasks as the API shows them. Separate from the core's types: these never change their form.

use lode_protocol::assignment::Reason;
use lode_protocol::units::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::core::event::Unpinned;
use crate::core::view;

/// The word that an enum has in JSON.
pub(super) fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => text,
        Ok(other) => other.to_string(),
        Err(_) => String::new(),
    }
}

/// How many replicas are where.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Replicas {
    total: u32,
    /// Wait for a node or a back-off.
    pending: u32,
    /// Have an assignment that does not run yet.
    starting: u32,
    running: u32,
    succeeded: u32,
    failed: u32,
}

/// A task in a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TaskSummary {
    id: String,
    name: String,
    /// batch, service
    kind: String,
    /// pending, running, stopping, stopped, succeeded, failed, deleting
    state: String,
    /// RFC 3339
    created: String,
    replicas: Replicas,
}

/// A published port.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Port {
    name: String,
    container: u16,
    host: u16,
    protocol: String,
}

/// One step in an assignment's life.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Step {
    at: String,
    state: String,
    reason: Option<String>,
    detail: String,
}

/// One replica placed on one node.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Assignment {
    /// TASK.REPLICA.INCARNATION
    id: String,
    replica: u32,
    incarnation: u32,
    node: String,
    /// assigned, pulling, starting, running, stopping, succeeded, failed, stopped, lost
    state: String,
    reason: Option<String>,
    /// Who is to blame: task, node, operator.
    fault: Option<String>,
    detail: String,
    exit_code: Option<i64>,
    restarts: u32,
    /// UUIDs.
    gpus: Vec<String>,
    ports: Vec<Port>,
    image: Option<String>,
    history: Vec<Step>,
}

/// Everything about a task.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Task {
    id: String,
    name: String,
    kind: String,
    state: String,
    created: String,
    replicas: Replicas,
    /// As submitted, with defaults.
    #[schema(value_type = Object)]
    spec: serde_json::Value,
    /// Content that all further orders name: `name@sha256:…`; null until the registry or a worker has said it.
    pinned_image: Option<String>,
    /// What it may cost, where somebody signed for it.
    order: Option<Order>,
    /// By number: pending, backoff, active, succeeded, failed, idle.
    replica_states: Vec<String>,
    assignments: Vec<Assignment>,
}

/// What a task may cost, and has cost, in whole tokens.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Order {
    tenant: String,
    digest: String,
    price_per_gpu_hour: String,
    budget: String,
    spent: String,
}

/// Something about an accepted task that its owner should know.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Warning {
    code: String,
    message: String,
}

/// A task that was accepted.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Submitted {
    #[serde(flatten)]
    task: Task,
    /// Why the image's tag could not be resolved, if it could not. Empty: nothing to say.
    warnings: Vec<Warning>,
}

impl Submitted {
    pub(super) fn new(task: view::TaskView, doubt: Option<Unpinned>) -> Self {
        // One that was submitted before may have been pinned since.
        let doubt = doubt.filter(|_| task.pinned_image.is_none());
        let warnings = doubt.into_iter().map(|doubt| Warning {
            code: doubt.code.to_string(),
            message: format!(
                "The image is not pinned, because {}. The first node that reports what it runs pins it.",
                doubt.message
            ),
        });
        Submitted { task: task.into(), warnings: warnings.collect() }
    }
}

/// A page of tasks.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TaskPage {
    pub(super) items: Vec<TaskSummary>,
    /// `after` of the next page.
    pub(super) next: Option<String>,
}

/// How many nodes failed a filter.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FilterCount {
    filter: String,
    nodes: u32,
    help: String,
}

/// Why nothing at all is placed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Blocked {
    code: String,
    message: String,
}

/// A replica that waits after a failure.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BackOff {
    replica: u32,
    /// Like `12s`.
    left: String,
}

/// What one node says to the task.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Verdict {
    node: String,
    /// First filter that it fails; null: it fits.
    failed: Option<String>,
    message: String,
}

/// Why a task is where it is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Explanation {
    task: String,
    state: String,
    summary: String,
    /// Replicas that wait for a node.
    waiting: u32,
    /// Nodes that were looked at.
    nodes: u32,
    /// Nodes that could take one more replica now.
    fitting: u32,
    filters: Vec<FilterCount>,
    blocked: Option<Blocked>,
    back_offs: Vec<BackOff>,
    /// With `nodes=true`.
    pub(super) verdicts: Vec<Verdict>,
    /// `after` of the next page of verdicts.
    pub(super) next: Option<String>,
}

/// Query of the list.
#[derive(Debug, Default, Deserialize)]
pub(super) struct TaskListQuery {
    pub(super) state: Option<view::TaskState>,
    pub(super) after: Option<String>,
    pub(super) limit: Option<usize>,
}

/// Query of explain.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ExplainQuery {
    #[serde(default)]
    pub(super) nodes: bool,
    pub(super) after: Option<String>,
    pub(super) limit: Option<usize>,
}

pub(super) fn time(at: Timestamp) -> String {
    at.to_string()
}

impl From<view::ReplicaCounts> for Replicas {
    fn from(counts: view::ReplicaCounts) -> Self {
        let view::ReplicaCounts { total, pending, starting, running, succeeded, failed } = counts;
        Replicas { total, pending, starting, running, succeeded, failed }
    }
}

impl From<view::TaskSummary> for TaskSummary {
    fn from(task: view::TaskSummary) -> Self {
        TaskSummary {
            id: task.id.to_string(),
            name: task.name,
            kind: word(&task.kind),
            state: word(&task.state),
            created: time(task.created),
            replicas: task.replicas.into(),
        }
    }
}

impl From<view::AssignmentView> for Assignment {
    fn from(assignment: view::AssignmentView) -> Self {
        Assignment {
            id: assignment.id.to_string(),
            replica: assignment.id.replica.replica,
            incarnation: assignment.id.incarnation.0,
            node: assignment.node.to_string(),
            state: word(&assignment.state),
            reason: assignment.reason.as_ref().map(word),
            fault: assignment.reason.and_then(Reason::fault).as_ref().map(word),
            detail: assignment.detail,
            exit_code: assignment.exit_code,
            restarts: assignment.restarts,
            gpus: assignment.gpus.iter().map(ToString::to_string).collect(),
            ports: assignment
                .ports
                .into_iter()
                .map(|port| Port {
                    name: port.name,
                    container: port.container,
                    host: port.host,
                    protocol: word(&port.protocol),
                })
                .collect(),
            image: assignment.image,
            history: assignment
                .history
                .into_iter()
                .map(|step| Step {
                    at: time(step.at),
                    state: word(&step.state),
                    reason: step.reason.as_ref().map(word),
                    detail: step.detail,
                })
                .collect(),
        }
    }
}

impl From<view::TaskView> for Task {
    fn from(task: view::TaskView) -> Self {
        let TaskSummary { id, name, kind, state, created, replicas } = task.summary.into();
        Task {
            id,
            name,
            kind,
            state,
            created,
            replicas,
            spec: serde_json::to_value(&task.spec).unwrap_or_default(),
            pinned_image: task.pinned_image,
            order: task.order.map(|order| Order {
                tenant: order.tenant.to_string(),
                digest: order.digest.to_string(),
                price_per_gpu_hour: order.price_per_gpu_hour.to_string(),
                budget: order.budget.to_string(),
                spent: order.spent.to_string(),
            }),
            replica_states: task.replica_states.iter().map(word).collect(),
            assignments: task.assignments.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<view::NodeVerdict> for Verdict {
    fn from(verdict: view::NodeVerdict) -> Self {
        Verdict {
            node: verdict.node.to_string(),
            failed: verdict.failed.as_ref().map(word),
            message: verdict.message,
        }
    }
}

impl From<view::Explanation> for Explanation {
    fn from(explanation: view::Explanation) -> Self {
        Explanation {
            task: explanation.task.to_string(),
            state: word(&explanation.state),
            summary: explanation.summary,
            waiting: explanation.waiting,
            nodes: explanation.nodes,
            fitting: explanation.fitting,
            filters: explanation
                .filters
                .into_iter()
                .map(|row| FilterCount { filter: word(&row.filter), nodes: row.nodes, help: row.help })
                .collect(),
            blocked: explanation
                .blocked
                .map(|blocked| Blocked { code: blocked.code.to_string(), message: blocked.message }),
            back_offs: explanation
                .back_offs
                .into_iter()
                .map(|(replica, left)| BackOff { replica, left: left.to_string() })
                .collect(),
            verdicts: Vec::new(),
            next: None,
        }
    }
}
