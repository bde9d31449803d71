//! What a user submits: `TaskSpec` version 1. People write it as TOML or JSON; orders carry it as CBOR.
//!
//! Parsing refuses unknown fields by name. [`validate`] turns what was written into a [`ValidTaskSpec`], the only form
//! that a core accepts.

mod parse;
mod schema;
mod strict;
mod validate;

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use parse::{MAX_SPEC_BYTES, SpecError};
pub use schema::json_schema;
use validate::RESERVED_VARIABLES;
pub use validate::{SpecProblem, ValidTaskSpec, limits};

use self::schema::{ConstraintValue, Environment, LabelKey, Labels, ModelName, Size, Word};
use crate::units::{Bytes, MilliCpus, Millis, size_text};

/// Whether a task ends by itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Encode, Decode, Serialize, Deserialize, ToSchema)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum TaskKind {
    /// Runs to completion; exit code 0 is success.
    #[n(0)]
    Batch,
    /// Is kept running until it is stopped.
    #[n(1)]
    Service,
}

/// When the image is pulled.
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Encode, Decode, Serialize, Deserialize, ToSchema,
)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum PullPolicy {
    /// Before every start.
    #[n(0)]
    Always,
    /// Where the node does not have it.
    #[default]
    #[n(1)]
    Missing,
    /// Never: the node must have it.
    #[n(2)]
    Never,
}

/// When a container that ended is started again on its node.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Encode, Decode, Serialize, Deserialize, ToSchema)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// Never.
    #[n(0)]
    Never,
    /// When it failed.
    #[n(1)]
    OnFailure,
    /// Whenever it ended.
    #[n(2)]
    Always,
}

/// Restart policy with its bound.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Restart {
    /// When to restart. Default: `never` for batch, `always` for services.
    #[n(0)]
    pub policy: RestartPolicy,
    /// Restarts on one node before the assignment fails; 0 is unbounded. Default 5 for batch, 0 for services.
    #[n(1)]
    #[serde(default)]
    #[schema(maximum = 4294967295_u32)]
    pub max_restarts: u32,
}

/// What each replica needs. Zero means: does not matter (CPU and memory then get the pool's default limits).
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Resources {
    /// Whole GPUs (or MIG instances), exclusively.
    #[n(0)]
    #[schema(maximum = 64)]
    pub gpus: u32,
    /// Acceptable models: a GPU fits if its name contains one of these, ignoring case. Empty: any.
    #[n(1)]
    #[schema(inline, value_type = Vec<ModelName>, max_items = 32)]
    pub gpu_models: Vec<String>,
    /// Least memory of each GPU.
    #[n(2)]
    #[serde(with = "size_text")]
    #[schema(value_type = Size)]
    pub gpu_memory: Bytes,
    /// CPU limit.
    #[n(3)]
    pub cpus: MilliCpus,
    /// Memory limit; beyond it the task is killed as out of memory.
    #[n(4)]
    #[serde(with = "size_text")]
    #[schema(value_type = Size)]
    pub memory: Bytes,
    /// Disk for the container's writable files.
    #[n(5)]
    #[serde(with = "size_text")]
    #[schema(value_type = Size)]
    pub disk: Bytes,
}

/// How readiness is asked for.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum ProbeAction {
    /// HTTP GET that must answer 200–399.
    #[n(0)]
    Http {
        /// Name of a declared port.
        #[n(0)]
        port: String,
        /// Absolute path. Default `/`.
        #[n(1)]
        #[serde(default = "default_path")]
        path: String,
    },
    /// A TCP connection that must open.
    #[n(1)]
    Tcp {
        /// Name of a declared port.
        #[n(0)]
        port: String,
    },
    /// A command inside the container that must exit with 0.
    #[n(2)]
    Exec {
        /// Program and arguments.
        #[n(0)]
        command: Vec<String>,
    },
}

fn default_path() -> String {
    "/".to_owned()
}

/// A service counts as running once this has succeeded.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadinessProbe {
    /// What is done.
    #[n(0)]
    pub check: ProbeAction,
    /// Time between two tries. Default 2 s.
    #[n(1)]
    #[serde(default = "default_interval")]
    pub interval: Millis,
    /// Time one try may take. Default 2 s.
    #[n(2)]
    #[serde(default = "default_timeout")]
    pub timeout: Millis,
    /// Time from start within which the first success must come; then the assignment fails. Default 5 min.
    #[n(3)]
    #[serde(default = "default_deadline")]
    pub deadline: Millis,
}

fn default_interval() -> Millis {
    Millis::seconds(2)
}

fn default_timeout() -> Millis {
    Millis::seconds(2)
}

fn default_deadline() -> Millis {
    Millis::seconds(300)
}

/// Transport of a port.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Debug,
    Default,
    Encode,
    Decode,
    Serialize,
    Deserialize,
    ToSchema,
)]
#[cbor(index_only)]
#[serde(rename_all = "lowercase")]
pub enum PortProtocol {
    /// TCP.
    #[default]
    #[n(0)]
    Tcp,
    /// UDP.
    #[n(1)]
    Udp,
}

/// A port of the container that the worker publishes on a port of the host, chosen from its owner's range.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// Name by which probes and users speak of it.
    #[n(0)]
    #[schema(max_length = 15, pattern = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")]
    pub name: String,
    /// Port inside the container.
    #[n(1)]
    #[schema(minimum = 1, maximum = 65535)]
    pub container: u16,
    /// TCP unless said otherwise.
    #[n(2)]
    #[serde(default)]
    pub protocol: PortProtocol,
}

/// How a constraint compares.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Encode, Decode, Serialize, Deserialize, ToSchema)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum ConstraintOperator {
    /// The node's value is one of the given ones.
    #[n(0)]
    In,
    /// The node's value is none of the given ones, or missing.
    #[n(1)]
    NotIn,
    /// The node has the key.
    #[n(2)]
    Exists,
    /// The node does not have the key.
    #[n(3)]
    NotExists,
}

/// A condition on the node. Keys: `node`, `provider`, `architecture`, `os`, or a label of the host's owner.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Constraint {
    /// What is looked at.
    #[n(0)]
    #[schema(value_type = LabelKey)]
    pub key: String,
    /// How it is compared.
    #[n(1)]
    pub operator: ConstraintOperator,
    /// With what.
    #[n(2)]
    #[serde(default)]
    #[schema(inline, value_type = Vec<ConstraintValue>, max_items = 32)]
    pub values: Vec<String>,
}

/// Version 1 of what a user submits.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskSpec {
    /// Version of this format; always 1.
    #[n(0)]
    #[serde(default = "version_one")]
    #[schema(minimum = 1, maximum = 1)]
    pub version: u32,
    /// Name for people: lower-case letters, digits, dashes; need not be unique.
    #[n(1)]
    #[schema(max_length = 63, pattern = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")]
    pub name: String,
    /// Whether it ends by itself.
    #[n(2)]
    pub kind: TaskKind,
    /// Image reference.
    #[n(3)]
    #[schema(max_length = 512, pattern = "^[!-,.-~][!-~]*$")]
    pub image: String,
    /// When the image is pulled.
    #[n(4)]
    #[serde(default)]
    pub pull: PullPolicy,
    /// Replaces the image's entry point.
    #[n(5)]
    #[serde(default)]
    #[schema(inline, value_type = Option<Vec<Word>>, min_items = 1, max_items = 256)]
    pub command: Option<Vec<String>>,
    /// Arguments.
    #[n(6)]
    #[serde(default)]
    #[schema(inline, value_type = Vec<Word>, max_items = 256)]
    pub args: Vec<String>,
    /// Environment. Names that steer GPUs or the loader (`NVIDIA_*`, `LD_PRELOAD`, …) and `LODE_*` are refused.
    #[n(7)]
    #[serde(default)]
    #[schema(value_type = Environment)]
    pub env: BTreeMap<String, String>,
    /// What each replica needs.
    #[n(8)]
    #[serde(default)]
    pub resources: Resources,
    /// How many copies.
    #[n(9)]
    #[serde(default = "one")]
    #[schema(minimum = 1, maximum = 10000)]
    pub replicas: u32,
    /// When containers are started again.
    #[n(10)]
    #[serde(default)]
    pub restart: Option<Restart>,
    /// Time between SIGTERM and SIGKILL.
    #[n(11)]
    #[serde(default = "default_grace")]
    pub stop_grace: Millis,
    /// When a service counts as running.
    #[n(12)]
    #[serde(default)]
    pub readiness: Option<ReadinessProbe>,
    /// Published ports.
    #[n(13)]
    #[serde(default)]
    #[schema(max_items = 32)]
    pub ports: Vec<Port>,
    /// Labels for people and queries; they never become container labels.
    #[n(14)]
    #[serde(default)]
    #[schema(value_type = Labels)]
    pub labels: BTreeMap<String, String>,
    /// Conditions on the node; all must hold.
    #[n(15)]
    #[serde(default)]
    #[schema(max_items = 32)]
    pub constraints: Vec<Constraint>,
}

fn version_one() -> u32 {
    1
}

fn one() -> u32 {
    1
}

fn default_grace() -> Millis {
    Millis::seconds(10)
}

impl TaskSpec {
    /// The restart policy with its default by kind.
    pub fn effective_restart(&self) -> Restart {
        self.restart.unwrap_or(match self.kind {
            TaskKind::Batch => Restart { policy: RestartPolicy::Never, max_restarts: 0 },
            TaskKind::Service => Restart { policy: RestartPolicy::Always, max_restarts: 0 },
        })
    }
}
