//! What a host says it has. All of it is a claim until it is proven, and used for scheduling only.

mod memory;
mod model;
mod version;

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::envelope::encode;
use crate::hash::{Digest, keccak256};
use crate::ids::GpuUuid;
use crate::units::{Bytes, MilliCpus};

pub use memory::{has_memory, nominal_memory};
pub use model::{Likeness, WantedModel, is_slice_name};
pub use version::SoftwareVersion;

/// Most GPUs accepted in one node's description (a full HGX host split into MIG instances has 56).
pub const MAX_GPUS: usize = 128;

/// One GPU, or one MIG instance of a GPU.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, Serialize, Deserialize)]
pub struct GpuSpec {
    /// NVML's UUID: the key.
    #[n(0)]
    pub uuid: GpuUuid,
    /// Name as NVML gives it, like `NVIDIA H200`.
    #[n(1)]
    pub model: Option<String>,
    /// Total memory.
    #[n(2)]
    pub memory: Option<Bytes>,
    /// CUDA compute capability (major, minor).
    #[n(3)]
    pub compute_capability: Option<(u32, u32)>,
    /// PCI bus id like `00000000:0F:00.0`.
    #[n(4)]
    pub pci_bus_id: Option<String>,
    /// The GPU that this MIG instance is a part of.
    #[n(5)]
    pub parent: Option<GpuUuid>,
}

impl GpuSpec {
    /// Whether this is an instance of a GPU (MIG), by whatever says so.
    pub fn is_slice(&self) -> bool {
        self.parent.is_some()
            || self.uuid.as_str().starts_with("MIG-")
            || self.model.as_deref().is_some_and(is_slice_name)
    }
}

/// How a worker can give GPUs to containers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Encode, Decode, Serialize, Deserialize, ToSchema)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum PassthroughForm {
    /// Device request to the engine's `nvidia` driver (the NVIDIA hook).
    #[n(0)]
    Hook,
    /// A CDI file that the worker itself turns into devices, mounts and environment.
    #[n(1)]
    CdiFile,
    /// The engine resolves CDI names itself.
    #[n(2)]
    EngineCdi,
}

/// A host's hardware and software.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode, Serialize, Deserialize)]
pub struct NodeSpecs {
    /// CPU time the worker may give to tasks (cgroup-aware).
    #[n(0)]
    pub cpus: MilliCpus,
    /// Name of the CPU.
    #[n(1)]
    pub cpu_model: Option<String>,
    /// Memory the worker may give to tasks (cgroup-aware).
    #[n(2)]
    pub memory: Bytes,
    /// Disk the worker may give to tasks.
    #[n(3)]
    pub disk: Bytes,
    /// GPUs, in the order of their UUIDs.
    #[n(4)]
    pub gpus: Vec<GpuSpec>,
    /// NVIDIA driver version.
    #[n(5)]
    pub driver_version: Option<String>,
    /// Highest CUDA version that the driver supports, as `major * 1000 + minor * 10`.
    #[n(6)]
    pub cuda_version: Option<u32>,
    /// Version of the container engine.
    #[n(7)]
    pub engine_version: Option<String>,
    /// How GPUs reach containers, where there are GPUs.
    #[n(8)]
    pub passthrough: Option<PassthroughForm>,
    /// Operating system as `/etc/os-release` names it.
    #[n(9)]
    pub os: String,
    /// CPU architecture as Docker names it, like `amd64`.
    #[n(10)]
    pub architecture: String,
    /// Labels chosen by the host's owner.
    #[n(11)]
    pub labels: BTreeMap<String, String>,
}

impl NodeSpecs {
    /// Hash of everything here: a beat carries it, so that the full description travels only when it changes.
    pub fn digest(&self) -> Digest {
        keccak256(&encode(self))
    }
}

/// Hash of a set of GPU UUIDs, independent of their order: what an attestation on chain is bound to.
pub fn uuid_set_hash<'a>(uuids: impl IntoIterator<Item = &'a GpuUuid>) -> Digest {
    let mut names: Vec<&str> = uuids.into_iter().map(GpuUuid::as_str).collect();
    names.sort_unstable();
    names.dedup();
    keccak256(names.join("\n").as_bytes())
}

/// Health of one GPU as its worker sees it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Encode, Decode, Serialize, Deserialize, ToSchema)]
#[cbor(index_only)]
#[serde(rename_all = "lowercase")]
pub enum GpuState {
    /// Usable.
    #[n(0)]
    Healthy,
    /// Keeps what it runs, gets nothing new.
    #[n(1)]
    Suspect,
    /// Not usable.
    #[n(2)]
    Quarantined,
    /// Came back; usable again once it has proven itself.
    #[n(3)]
    Recovering,
}

/// State of one GPU in a heartbeat.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, Serialize, Deserialize)]
pub struct GpuStatus {
    /// Which GPU.
    #[n(0)]
    pub uuid: GpuUuid,
    /// Its health.
    #[n(1)]
    pub state: GpuState,
    /// Why it is not healthy.
    #[n(2)]
    pub reason: Option<String>,
    /// Degrees Celsius.
    #[n(3)]
    pub temperature: Option<u32>,
    /// Milliwatts drawn.
    #[n(4)]
    pub power: Option<u32>,
    /// Per cent of time that a kernel ran.
    #[n(5)]
    pub utilization: Option<u32>,
    /// Memory in use.
    #[n(6)]
    pub memory_used: Option<Bytes>,
}
