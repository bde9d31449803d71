//! What is shown of the API's answers. Fields that are missing or new are no error: the JSON format shows everything.

use serde::Deserialize;
use serde_json::Value;

/// A task in a list.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct TaskSummary {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) state: String,
    pub(crate) created: String,
    pub(crate) replicas: Replicas,
}

/// How many replicas are where.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Replicas {
    pub(crate) total: u32,
    pub(crate) pending: u32,
    pub(crate) starting: u32,
    pub(crate) running: u32,
    pub(crate) succeeded: u32,
    pub(crate) failed: u32,
}

/// A task.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Task {
    #[serde(flatten)]
    pub(crate) summary: TaskSummary,
    pub(crate) spec: Value,
    pub(crate) assignments: Vec<Assignment>,
}

/// One placement of a replica.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Assignment {
    pub(crate) id: String,
    pub(crate) replica: u32,
    pub(crate) incarnation: u32,
    pub(crate) node: String,
    pub(crate) state: String,
    pub(crate) reason: Option<String>,
    pub(crate) detail: String,
    pub(crate) exit_code: Option<i64>,
    pub(crate) restarts: u32,
    pub(crate) gpus: Vec<String>,
    pub(crate) ports: Vec<PublishedPort>,
}

/// A published port.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct PublishedPort {
    pub(crate) name: String,
    pub(crate) container: u16,
    pub(crate) host: u16,
    pub(crate) protocol: String,
}

/// Why a task is where it is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Explanation {
    pub(crate) state: String,
    pub(crate) summary: String,
    pub(crate) waiting: u32,
    pub(crate) nodes: u32,
    pub(crate) fitting: u32,
    pub(crate) filters: Vec<FilterCount>,
    pub(crate) blocked: Option<Blocked>,
    pub(crate) verdicts: Vec<Verdict>,
    pub(crate) next: Option<String>,
}

/// Nodes that failed a filter.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct FilterCount {
    pub(crate) filter: String,
    pub(crate) nodes: u32,
    pub(crate) help: String,
}

/// Why nothing at all is placed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Blocked {
    pub(crate) code: String,
    pub(crate) message: String,
}

/// What one node says.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Verdict {
    pub(crate) node: String,
    pub(crate) failed: Option<String>,
    pub(crate) message: String,
}

/// A node.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Node {
    pub(crate) id: String,
    pub(crate) state: String,
    pub(crate) membership: Value,
    pub(crate) provider: Option<String>,
    pub(crate) gpus: Vec<Gpu>,
    pub(crate) capacity: Capacity,
    pub(crate) allocated: Capacity,
    pub(crate) assignments: u32,
    pub(crate) last_heard: Option<String>,
    pub(crate) agent_version: String,
    pub(crate) addresses: Vec<String>,
    pub(crate) findings: Vec<Finding>,
    pub(crate) active: Vec<String>,
}

/// One GPU.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Gpu {
    pub(crate) uuid: String,
    pub(crate) model: Option<String>,
    pub(crate) memory: Option<u64>,
    pub(crate) state: Option<Value>,
    pub(crate) reason: Option<String>,
    pub(crate) temperature: Option<u32>,
    pub(crate) assignment: Option<String>,
}

impl Gpu {
    /// Its health as one word.
    pub(crate) fn health(&self) -> String {
        match &self.state {
            Some(Value::String(word)) => word.to_lowercase(),
            Some(Value::Object(fields)) => fields.keys().next().cloned().unwrap_or_default().to_lowercase(),
            _ => "unknown".to_owned(),
        }
    }
}

/// An amount of everything.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Capacity {
    pub(crate) gpus: u32,
    pub(crate) cpus: f64,
    pub(crate) memory: u64,
    pub(crate) disk: u64,
}

/// Something that is wrong.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Finding {
    pub(crate) code: String,
    pub(crate) severity: String,
    pub(crate) subject: String,
    pub(crate) message: String,
    pub(crate) remedy: String,
}
