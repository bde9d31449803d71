//! What a user submits: `TaskSpec` version 1. People write it as TOML or JSON; orders carry it as CBOR.
//!
//! Parsing refuses unknown fields by name. [`validate`] turns what was written into a [`ValidTaskSpec`], the only form
//! that a core accepts; there limits that were left out are filled in ([`defaults`]).

pub mod defaults;
mod parse;
mod probe;
mod schema;
mod strict;
mod validate;

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use parse::{MAX_SPEC_BYTES, SpecError};
pub use probe::{LivenessProbe, ProbeAction, ReadinessProbe};
pub use schema::json_schema;
use validate::RESERVED_VARIABLES;
pub use validate::{SpecProblem, ValidTaskSpec, limits};

use self::schema::{ConstraintValue, Environment, LabelKey, Labels, ModelName, Size, Word};
use crate::units::{Bytes, MilliCpus, Millis, size_text, size_text_option};

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

/// What each replica needs. Zero means: does not matter. CPU and memory are limited all the same: without GPUs to 1 CPU
/// and 512MiB, with GPUs to 2GiB for each and 2GiB more, with more than one of them to 2 CPUs.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Resources {
    /// Whole GPUs, exclusively. An instance of a GPU (MIG) is given only where `gpu_models` names its profile, one to a
    /// replica.
    #[n(0)]
    #[schema(maximum = 64)]
    pub gpus: u32,
    /// Acceptable models, like `H200`, `A100 80GB`, `RTX 6000 Ada` or `MIG 1g.10gb`. Names are compared word by word, ignoring
    /// case: `L4` is no `L40S`, `RTX 4090` no `RTX 4090 D`. Empty: any whole GPU.
    #[n(1)]
    #[schema(inline, value_type = Vec<ModelName>, max_items = 32)]
    pub gpu_models: Vec<String>,
    /// Least memory of each GPU, as it is sold: a card of 24 GB has `24GB` and `24GiB`, though its driver shows 22.5 GiB.
    #[n(2)]
    #[serde(with = "size_text")]
    #[schema(value_type = Size)]
    pub gpu_memory: Bytes,
    /// CPU limit, at least 0.01. Default: 1, with more than one GPU 2.
    #[n(3)]
    pub cpus: MilliCpus,
    /// Memory limit; beyond it the task is killed as out of memory. What is in `/tmp`, in `/dev/shm` and in the image's
    /// volumes counts as well. Default: 512MiB, with GPUs 2GiB
    /// for each and 2GiB more.
    #[n(4)]
    #[serde(with = "size_text")]
    #[schema(value_type = Size)]
    pub memory: Bytes,
    /// Disk for the container's writable files.
    #[n(5)]
    #[serde(with = "size_text")]
    #[schema(value_type = Size)]
    pub disk: Bytes,
    /// Size of `/dev/shm`, within the memory limit. Default: half of the memory.
    #[n(6)]
    #[serde(with = "size_text_option")]
    #[schema(value_type = Option<Size>)]
    pub shm: Option<Bytes>,
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
    /// The node's version is the given one or newer: for `cuda` and `driver`.
    #[n(4)]
    AtLeast,
}

/// A condition on the node. Keys: `node`, `provider`, `architecture`, `os`, `cuda` (the newest version that the driver runs,
/// like `12.8`), `driver` (NVIDIA's, like `550.54`), or a label of the host's owner.
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
    /// Image reference: `[registry/]name[:tag][@sha256:…]`.
    #[n(3)]
    #[schema(
        max_length = 512,
        pattern = "^(([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)+(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?|[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])|localhost|\\[[0-9A-Fa-f:.]+\\](:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?)/)?[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*)*(:[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?(@sha256:[0-9a-f]{64})?$"
    )]
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
    /// When a service that runs is started again.
    #[n(16)]
    #[serde(default)]
    pub liveness: Option<LivenessProbe>,
}

impl Constraint {
    /// Whether a key's values are versions, compared as numbers.
    pub fn is_version(key: &str) -> bool {
        matches!(key, "cuda" | "driver")
    }
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
