//! Which GPUs are described: what the driver counts, less what their owner keeps, and what a task still holds of what was
//! counted before. What is gone otherwise leaves the list, and nothing is proven on it any more.

use std::collections::{BTreeMap, BTreeSet};

use lode_gpu::{Excluded, GpuName, HealthSample, Inventory, UnreadableGpu};
use lode_protocol::hardware::GpuSpec;
use lode_protocol::ids::{AssignmentId, GpuUuid};

use super::Offered;

/// The GPUs of this host, as far as they are lent.
#[derive(Debug, Default)]
pub(super) struct Listing {
    excluded: Excluded,
    /// What NVML lists, and what of it is on offer now.
    inventory: Option<Inventory>,
    listed: Offered,
    described: BTreeMap<GpuUuid, GpuSpec>,
}

impl Listing {
    pub(super) fn new(exclude: Vec<GpuName>) -> Self {
        Self { excluded: Excluded::new(exclude), ..Self::default() }
    }

    /// Takes in what NVML lists now.
    pub(super) fn take(&mut self, mut inventory: Inventory, holders: &BTreeMap<GpuUuid, AssignmentId>) {
        self.excluded.apply(&mut inventory);
        self.listed = Offered::of(&inventory);
        let listed: BTreeSet<&GpuUuid> = self.listed.gpus.iter().map(|spec| &spec.uuid).collect();
        let unreadable = uuids(&inventory.unreadable);
        self.described.retain(|uuid, spec| {
            let stays =
                listed.contains(uuid) || unreadable.contains(physical(spec)) || holders.contains_key(uuid);
            if !stays {
                tracing::warn!(gpu = %uuid, "the driver does not count this GPU any more: it is not offered any more");
            }
            stays
        });
        for spec in &self.listed.gpus {
            let known = self.described.remove(&spec.uuid);
            self.described.insert(spec.uuid.clone(), with_what_was_known(spec.clone(), known));
        }
        self.inventory = Some(inventory);
    }

    /// What NVML lists, less what is kept.
    pub(super) fn inventory(&self) -> Option<&Inventory> {
        self.inventory.as_ref()
    }

    pub(super) fn excluded(&self) -> &Excluded {
        &self.excluded
    }

    /// Everything that is described, with the driver's versions.
    pub(super) fn offered(&self) -> Offered {
        Offered { gpus: self.described.values().cloned().collect(), ..self.listed.clone() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.described.is_empty()
    }

    pub(super) fn get(&self, uuid: &GpuUuid) -> Option<&GpuSpec> {
        self.described.get(uuid)
    }

    /// The physical GPU behind a UUID.
    pub(super) fn physical<'a>(&'a self, uuid: &'a GpuUuid) -> &'a GpuUuid {
        self.described.get(uuid).map_or(uuid, physical)
    }

    /// A physical GPU, and the instances of it.
    pub(super) fn parts<'a>(&'a self, gpu: &'a GpuUuid) -> impl Iterator<Item = &'a GpuUuid> {
        let instances = self.described.values().filter(move |spec| spec.parent.as_ref() == Some(gpu));
        std::iter::once(gpu).chain(instances.map(|spec| &spec.uuid))
    }

    /// What is described and cannot be read, by the last list and the last round of health.
    pub(super) fn absent(&self, sample: Option<&HealthSample>) -> BTreeSet<GpuUuid> {
        let listed: BTreeSet<&GpuUuid> = self.listed.gpus.iter().map(|spec| &spec.uuid).collect();
        let read = |gpu: &GpuUuid| {
            sample.is_none_or(|sample| sample.readings.iter().any(|reading| reading.uuid == *gpu))
        };
        let absent =
            self.described.values().filter(|spec| !listed.contains(&spec.uuid) || !read(physical(spec)));
        absent.map(|spec| spec.uuid.clone()).collect()
    }

    /// Whether the driver counts a physical GPU, readable or not.
    pub(super) fn is_counted(&self, gpu: &GpuUuid) -> bool {
        self.inventory.as_ref().is_none_or(|inventory| counted(inventory).contains(gpu))
    }

    /// Whether a round of health saw other GPUs than are listed.
    pub(super) fn differs_from(&self, sample: &HealthSample) -> bool {
        let mut seen: BTreeSet<&GpuUuid> = sample.readings.iter().map(|reading| &reading.uuid).collect();
        seen.extend(uuids(&sample.unreadable));
        self.inventory.as_ref().is_some_and(|inventory| counted(inventory) != seen)
    }
}

fn counted(inventory: &Inventory) -> BTreeSet<&GpuUuid> {
    let readable = inventory.gpus.iter().map(|gpu| &gpu.uuid);
    readable.chain(uuids(&inventory.unreadable)).collect()
}

fn uuids(unreadable: &[UnreadableGpu]) -> BTreeSet<&GpuUuid> {
    unreadable.iter().filter_map(|gpu| gpu.last_known_uuid.as_ref()).collect()
}

/// The GPU that something is, or is an instance of.
fn physical(spec: &GpuSpec) -> &GpuUuid {
    spec.parent.as_ref().unwrap_or(&spec.uuid)
}

/// A GPU's name and memory do not change because a call failed once.
fn with_what_was_known(spec: GpuSpec, known: Option<GpuSpec>) -> GpuSpec {
    let Some(known) = known else { return spec };
    GpuSpec {
        model: spec.model.or(known.model),
        memory: spec.memory.or(known.memory),
        compute_capability: spec.compute_capability.or(known.compute_capability),
        pci_bus_id: spec.pci_bus_id.or(known.pci_bus_id),
        uuid: spec.uuid,
        parent: spec.parent,
    }
}
