//! From what NVML says to what travels: the only file that knows both shapes.

use std::collections::{BTreeMap, BTreeSet};

use lode_protocol::hardware::{GpuSpec, GpuState, GpuStatus};
use lode_protocol::ids::GpuUuid;
use lode_protocol::units::Bytes;

use crate::health::GpuHealthCore;
use crate::inventory::{Gpu, Inventory};
use crate::sample::HealthSample;

/// The GPUs a host offers, in the order of their UUIDs.
///
/// A GPU in MIG mode is offered as its instances, never as a whole. A UUID that two devices claim is not offered
/// at all: nobody could say which of them a task got.
#[must_use]
pub fn gpu_specs(inventory: &Inventory) -> Vec<GpuSpec> {
    let ambiguous = inventory.duplicate_uuids();
    let mut specs: Vec<GpuSpec> = inventory.gpus.iter().flat_map(offered).collect();
    specs.retain(|spec| !ambiguous.contains(&spec.uuid));
    specs.sort_by(|left, right| left.uuid.cmp(&right.uuid));
    specs
}

fn offered(gpu: &Gpu) -> Vec<GpuSpec> {
    match &gpu.mig {
        Some(mig) if mig.enabled => mig
            .instances
            .iter()
            .map(|instance| GpuSpec {
                uuid: instance.uuid.clone(),
                model: instance.name.clone().or_else(|| gpu.name.clone()),
                memory: instance.memory_total_bytes.map(Bytes),
                compute_capability: gpu.compute_capability,
                pci_bus_id: gpu.pci_bus_id.clone(),
                parent: Some(gpu.uuid.clone()),
            })
            .collect(),
        Some(_) | None => vec![GpuSpec {
            uuid: gpu.uuid.clone(),
            model: gpu.name.clone(),
            memory: gpu.memory_total_bytes.map(Bytes),
            compute_capability: gpu.compute_capability,
            pci_bus_id: gpu.pci_bus_id.clone(),
            parent: None,
        }],
    }
}

/// The state of every GPU for a heartbeat: those offered ([`gpu_specs`]), and those that were known once and are gone.
///
/// A MIG instance shares its parent's health. A GPU that was never sampled is suspect: unknown is not healthy.
#[must_use]
pub fn gpu_statuses(
    offered: &[GpuSpec],
    health: &GpuHealthCore,
    sample: Option<&HealthSample>,
) -> Vec<GpuStatus> {
    let mut statuses = BTreeMap::new();
    let mut covered = BTreeSet::new();
    for spec in offered {
        let physical = spec.parent.clone().unwrap_or_else(|| spec.uuid.clone());
        statuses.insert(spec.uuid.clone(), status(spec.uuid.clone(), &physical, health, sample));
        covered.insert(physical);
    }
    for gone in health.all().filter(|gpu| !covered.contains(&gpu.uuid)) {
        let line = status(gone.uuid.clone(), &gone.uuid, health, sample);
        statuses.insert(gone.uuid, line);
    }
    statuses.into_values().collect()
}

fn status(
    uuid: GpuUuid,
    physical: &GpuUuid,
    health: &GpuHealthCore,
    sample: Option<&HealthSample>,
) -> GpuStatus {
    let (state, reason) = match health.get(physical) {
        Some(health) => (health.state, health.reason.map(|reason| reason.to_string())),
        None => (GpuState::Suspect, Some("not read yet".to_owned())),
    };
    let reading = sample.and_then(|sample| sample.readings.iter().find(|reading| reading.uuid == *physical));
    GpuStatus {
        uuid,
        state,
        reason,
        temperature: reading.and_then(|reading| reading.temperature_c),
        power: reading.and_then(|reading| reading.power_mw),
        utilization: reading.and_then(|reading| reading.utilization_percent),
        memory_used: reading.and_then(|reading| reading.memory_used_bytes).map(Bytes),
    }
}
