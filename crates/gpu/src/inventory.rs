//! What GPUs a host has. Plain data; [`crate::NvmlHandle::inventory`] fills it.

use std::collections::{BTreeMap, BTreeSet};

use lode_protocol::finding::Finding;
use lode_protocol::ids::GpuUuid;

use crate::NvmlError;
use crate::sample::HealthSample;

/// Every GPU of this host, the readable and the unreadable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    pub driver_version: Option<String>,
    pub nvml_version: Option<String>,
    /// Highest CUDA version of the driver, `major * 1000 + minor * 10`.
    pub cuda_version: Option<u32>,
    /// In the order of NVML's indices. A UUID may appear twice: see [`Inventory::duplicate_uuids`].
    pub gpus: Vec<Gpu>,
    pub unreadable: Vec<UnreadableGpu>,
}

/// One GPU. Everything but the UUID may be unknown: not supported, or in [`Gpu::problems`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gpu {
    pub uuid: GpuUuid,
    /// NVML's index. It changes with reboots and losses; good for messages only.
    pub index: u32,
    /// The number in `/dev/nvidia<minor>`.
    pub minor: Option<u32>,
    pub name: Option<String>,
    pub serial: Option<String>,
    pub pci_bus_id: Option<String>,
    pub brand: Option<String>,
    pub architecture: Option<String>,
    pub compute_capability: Option<(u32, u32)>,
    pub cores: Option<u32>,
    pub vbios_version: Option<String>,
    pub numa_node: Option<u32>,
    pub memory_total_bytes: Option<u64>,
    pub power_limit_mw: Option<u32>,
    pub power_default_limit_mw: Option<u32>,
    pub slowdown_temperature_c: Option<u32>,
    pub shutdown_temperature_c: Option<u32>,
    pub pcie: Option<PcieLink>,
    pub ecc: Option<EccMode>,
    pub nvlinks: Option<NvLinks>,
    pub fabric: Option<FabricState>,
    pub mig: Option<MigMode>,
    pub persistence_mode: Option<bool>,
    /// What could not be read although it is supported. Whether that is held against the GPU is decided by its health.
    pub problems: Vec<FieldProblem>,
}

/// A GPU that NVML counts but that gives no UUID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableGpu {
    pub index: u32,
    /// Which GPU was at this index when it was last readable, unless it is elsewhere now.
    pub last_known_uuid: Option<GpuUuid>,
    pub error: NvmlError,
}

/// One call that failed on an otherwise readable GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldProblem {
    /// NVML's name of the call.
    pub operation: &'static str,
    pub error: NvmlError,
}

/// Multi-Instance GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigMode {
    pub enabled: bool,
    /// Mode after the next reset.
    pub pending: bool,
    /// The instances; where MIG is enabled these are given to tasks, never the whole GPU.
    pub instances: Vec<MigInstance>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigInstance {
    pub uuid: GpuUuid,
    pub name: Option<String>,
    pub memory_total_bytes: Option<u64>,
    pub gpu_instance_id: Option<u32>,
    pub compute_instance_id: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EccMode {
    pub enabled: bool,
    /// Mode after the next reboot.
    pub pending: bool,
}

/// NVLinks that are up, of those the GPU has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NvLinks {
    pub up: u32,
    pub total: u32,
}

/// Registration with an NVSwitch fabric. Until it is completed, CUDA refuses to start (error 802).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FabricState {
    NotSupported,
    NotStarted,
    InProgress,
    Completed,
    /// Completed with an error code of NVML.
    Failed(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PcieLink {
    pub generation: u32,
    pub width: u32,
    pub max_generation: u32,
    pub max_width: u32,
}

impl Inventory {
    /// UUIDs that more than one device claims: none of them may be used.
    #[must_use]
    pub fn duplicate_uuids(&self) -> BTreeSet<GpuUuid> {
        let mut times: BTreeMap<&GpuUuid, u32> = BTreeMap::new();
        for gpu in &self.gpus {
            *times.entry(&gpu.uuid).or_default() += 1;
            for instance in gpu.mig.iter().flat_map(|mig| &mig.instances) {
                *times.entry(&instance.uuid).or_default() += 1;
            }
        }
        times.into_iter().filter(|(_, times)| *times > 1).map(|(uuid, _)| uuid.clone()).collect()
    }

    /// The physical GPU behind a UUID, which may be that of a MIG instance.
    #[must_use]
    pub fn physical(&self, uuid: &GpuUuid) -> Option<&Gpu> {
        self.gpus.iter().find(|gpu| {
            let instances = gpu.mig.iter().flat_map(|mig| &mig.instances);
            gpu.uuid == *uuid || instances.into_iter().any(|instance| instance.uuid == *uuid)
        })
    }

    /// Everything an operator should know about, worst first.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        self.findings_with(None)
    }

    /// The same, with what could not be read in a round of health.
    #[must_use]
    pub fn findings_with(&self, sample: Option<&HealthSample>) -> Vec<Finding> {
        let mut findings = Vec::new();
        for gpu in &self.unreadable {
            let subject = match &gpu.last_known_uuid {
                Some(uuid) => uuid.to_string(),
                None => format!("GPU at index {}", gpu.index),
            };
            findings.push(gpu.error.finding(&subject));
        }
        for uuid in self.duplicate_uuids() {
            findings.push(
                Finding::error(
                    "gpu/duplicate-uuid",
                    "more than one device claims this UUID; none of them is used",
                )
                .about(uuid.as_str())
                .remedy("report the device to its vendor; virtual machines cloned with their GPU need a GPU of their own"),
            );
        }
        for gpu in &self.gpus {
            let readings = sample.into_iter().flat_map(|sample| &sample.readings);
            let readings = readings.filter(|reading| reading.uuid == gpu.uuid);
            let problems = gpu.problems.iter().chain(readings.flat_map(|reading| &reading.problems));
            findings.extend(of_problems(&gpu.uuid, problems));
            if let Some(FabricState::NotStarted | FabricState::InProgress | FabricState::Failed(_)) =
                gpu.fabric
            {
                findings.push(
                    Finding::warning(
                        "gpu/fabric-not-ready",
                        "the NVSwitch fabric is not ready; CUDA programs on several GPUs fail with error 802",
                    )
                    .about(gpu.uuid.as_str())
                    .remedy("start the fabric manager of the driver's version and look at its log"),
                );
            }
            if let Some(links) = gpu.nvlinks
                && links.up < links.total
            {
                let message = format!("{} of {} NVLinks are up", links.up, links.total);
                findings.push(
                    Finding::warning("gpu/nvlink-down", message)
                        .about(gpu.uuid.as_str())
                        .remedy("look at `nvidia-smi nvlink --status` and the fabric manager's log"),
                );
            }
        }
        findings
    }
}

/// One finding for each thing to be done, not for each sensor.
fn of_problems<'a>(uuid: &GpuUuid, problems: impl Iterator<Item = &'a FieldProblem>) -> Vec<Finding> {
    let (mut sensors, mut findings) = (BTreeMap::new(), Vec::<Finding>::new());
    for problem in problems {
        match &problem.error {
            error @ (NvmlError::NoPermission { .. } | NvmlError::ResetRequired { .. }) => {
                if findings.iter().all(|known| known.code.as_str() != error.code()) {
                    let message = format!("{} failed: {error}", problem.operation);
                    let finding = Finding::warning(error.code(), message).about(uuid.as_str());
                    findings.push(finding.remedy(error.remedy()));
                }
            }
            error => drop(sensors.insert(problem.operation, error)),
        }
    }
    if !sensors.is_empty() {
        let named: Vec<String> = sensors.values().map(ToString::to_string).collect();
        let message = format!("some of what NVML tells about the GPU cannot be read: {}", named.join("; "));
        findings.push(Finding::warning("gpu/sensor-unreadable", message).about(uuid.as_str()).remedy(
            "the GPU works on while its memory and its error counters can be read; a reboot or a newer driver often brings a sensor back",
        ));
    }
    findings
}
