//! The host's GPUs as they are now: what is on offer, its health, its faults, who else uses it. NVML trouble is a finding,
//! never a crash, and stops no task; broken hardware ends what runs on it.

mod fault;
mod listing;
mod monitor;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use lode_gpu::{Inventory, gpu_specs};
use lode_protocol::hardware::{GpuSpec, GpuState, GpuStatus};
use lode_protocol::ids::GpuUuid;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

pub use monitor::{GpuMonitor, GpuPorts, InUse};
pub(crate) use words::unused_exclusion;

/// What this host has to offer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Offered {
    /// GPUs and instances of them, by UUID.
    pub gpus: Vec<GpuSpec>,
    /// Brand of each physical GPU, as NVML has it.
    pub brands: BTreeMap<GpuUuid, String>,
    /// Version of the driver.
    pub driver_version: Option<String>,
    /// Highest CUDA version of the driver, `major * 1000 + minor * 10`.
    pub cuda_version: Option<u32>,
}

impl Offered {
    /// What NVML lists.
    pub fn of(inventory: &Inventory) -> Self {
        let brands = inventory.gpus.iter().filter_map(|gpu| Some((gpu.uuid.clone(), gpu.brand.clone()?)));
        Self {
            gpus: gpu_specs(inventory),
            brands: brands.collect(),
            driver_version: inventory.driver_version.clone(),
            cuda_version: inventory.cuda_version,
        }
    }
}

/// The GPUs as they are now.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct GpuView {
    /// What the driver counts, readable or not, and what a task still holds of what it counts no more.
    pub offered: Offered,
    /// Health of each.
    pub statuses: Vec<GpuStatus>,
    /// What of it cannot be read now: nothing can be proven on it.
    pub absent: BTreeSet<GpuUuid>,
    /// Whether the first look is over: GPUs found, or known that there is none to be had now.
    pub looked: bool,
}

/// A proof on a GPU ended, by what this worker knows itself: a validator's word alone condemns no GPU.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProofEnded {
    /// The GPU, or an instance of one.
    pub gpu: GpuUuid,
    /// False: its own results, checked here, are wrong.
    pub passed: bool,
}

/// An operator gives a GPU another chance.
#[derive(Debug)]
pub struct ClearRequest {
    /// The GPU, or an instance of one.
    pub gpu: GpuUuid,
    /// Who waits for the answer.
    pub reply: oneshot::Sender<ClearAnswer>,
}

/// What became of that.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum ClearAnswer {
    /// It is used again after some clean readings.
    Cleared {
        /// Why it was held back.
        reason: String,
    },
    /// The driver does not show it any more: it was forgotten.
    Forgotten,
    /// Nothing holds it back that an operator could lift.
    NotNeeded {
        /// Its health.
        state: GpuState,
    },
    /// No GPU of this worker.
    Unknown {
        /// Those that there are.
        gpus: Vec<GpuUuid>,
    },
}
