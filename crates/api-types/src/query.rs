//! What may stand behind `?`. Whatever else stands there is refused.

use lode_protocol::cursor::Cursor;
use lode_protocol::ids::{Epoch, NodeId, TaskId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::TaskState;

/// Which tasks.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct TaskListQuery {
    /// Only those in this state.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(nullable = false)]
    pub state: Option<TaskState>,
    /// `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(nullable = false)]
    pub after: Option<TaskId>,
    /// Most items on the page; default 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 1000, nullable = false)]
    pub limit: Option<u32>,
}

/// How an explanation is asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ExplainQuery {
    /// With a verdict for every node.
    #[serde(default)]
    #[param(required = false)]
    pub nodes: bool,
    /// `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(nullable = false)]
    pub after: Option<NodeId>,
    /// Most verdicts on the page; default 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 1000, nullable = false)]
    pub limit: Option<u32>,
}

/// Which nodes.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct NodeListQuery {
    /// `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(nullable = false)]
    pub after: Option<NodeId>,
    /// Most items on the page; default 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 1000, nullable = false)]
    pub limit: Option<u32>,
}

/// What events are about. Each of the three is kept for itself, so that none displaces another.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum EventSubject {
    /// Tasks and their assignments.
    Tasks,
    /// Nodes.
    Nodes,
    /// The pool itself: starts of the orchestrator, epochs, roots.
    Pool,
}

/// Which events.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventQuery {
    /// A cursor; left out: from the oldest that is kept. A stream goes by the header `Last-Event-ID` first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(nullable = false)]
    pub after: Option<Cursor>,
    /// Most items on the page; default 100. Not for a stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 1000, nullable = false)]
    pub limit: Option<u32>,
    /// Wait up to so long for the first event. Not for a stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(maximum = 30, nullable = false)]
    pub wait_seconds: Option<u32>,
    /// Only what is about this, from the oldest that is kept of it; left out: all, from where nothing of any kind is
    /// missing. Not for the events of one task.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(inline, nullable = false)]
    pub about: Option<EventSubject>,
}

/// Which epochs.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EpochListQuery {
    /// `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(nullable = false)]
    pub after: Option<Epoch>,
    /// Most items on the page; default 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 1000, nullable = false)]
    pub limit: Option<u32>,
}

/// Which receipts and payees of an epoch.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ReceiptQuery {
    /// `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(nullable = false)]
    pub after: Option<String>,
    /// `payees_next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(nullable = false)]
    pub payees_after: Option<u64>,
    /// Most receipts, and most payees, on the page; default 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 1000, nullable = false)]
    pub limit: Option<u32>,
}

/// Under which root.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PayeeQuery {
    /// Epoch of a posted root; default: the latest one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(nullable = false)]
    pub epoch: Option<Epoch>,
}
