//! The inventory fields of one GPU.

use lode_protocol::ids::GpuUuid;
use nvml_wrapper::Device;
use nvml_wrapper::enum_wrappers::device::TemperatureThreshold;
use nvml_wrapper::error::NvmlError as Raw;

use super::fields::FieldReader;
use super::raw;
use crate::NvmlError;
use crate::inventory::{EccMode, Gpu, MigInstance, MigMode, NvLinks, PcieLink};

/// NVML's limit of links per GPU.
const MOST_NVLINKS: u32 = 18;

pub(super) fn gpu(uuid: GpuUuid, device: &Device<'_>, fields: &mut FieldReader<'_>) -> Gpu {
    let capability = fields.get("nvmlDeviceGetCudaComputeCapability", || device.cuda_compute_capability());
    let ecc = fields.get("nvmlDeviceGetEccMode", || device.is_ecc_enabled());
    Gpu {
        uuid,
        index: fields.index(),
        minor: fields.get("nvmlDeviceGetMinorNumber", || device.minor_number()),
        name: fields.get("nvmlDeviceGetName", || device.name()),
        serial: fields.get("nvmlDeviceGetSerial", || device.serial()),
        pci_bus_id: fields.get("nvmlDeviceGetPciInfo_v3", || device.pci_info()).map(|pci| pci.bus_id),
        brand: fields.get("nvmlDeviceGetBrand", || device.brand()).map(|brand| format!("{brand:?}")),
        architecture: fields
            .get("nvmlDeviceGetArchitecture", || device.architecture())
            .map(|architecture| format!("{architecture:?}")),
        compute_capability: capability
            .and_then(|version| Some((version.major.try_into().ok()?, version.minor.try_into().ok()?))),
        cores: fields.get("nvmlDeviceGetNumGpuCores", || device.num_cores()),
        vbios_version: fields.get("nvmlDeviceGetVbiosVersion", || device.vbios_version()),
        numa_node: fields.get("nvmlDeviceGetNumaNodeId", || device.numa_node_id()),
        memory_total_bytes: fields
            .get("nvmlDeviceGetMemoryInfo_v2", || device.memory_info())
            .map(|memory| memory.total),
        power_limit_mw: fields.get("nvmlDeviceGetEnforcedPowerLimit", || device.enforced_power_limit()),
        power_default_limit_mw: fields
            .get("nvmlDeviceGetPowerManagementDefaultLimit", || device.power_management_limit_default()),
        slowdown_temperature_c: slowdown_temperature(device, fields),
        shutdown_temperature_c: fields.get("nvmlDeviceGetTemperatureThreshold", || {
            device.temperature_threshold(TemperatureThreshold::Shutdown)
        }),
        pcie: pcie(device, fields),
        ecc: ecc.map(|mode| EccMode { enabled: mode.currently_enabled, pending: mode.pending_enabled }),
        nvlinks: nvlinks(device, fields),
        fabric: fields.get("nvmlDeviceGetGpuFabricInfoV", || raw::fabric_state(device)),
        mig: mig(device, fields),
        persistence_mode: fields.get("nvmlDeviceGetPersistenceMode", || device.is_in_persistent_mode()),
        problems: fields.take_problems(),
    }
}

pub(super) fn slowdown_temperature(device: &Device<'_>, fields: &mut FieldReader<'_>) -> Option<u32> {
    fields.get("nvmlDeviceGetTemperatureThreshold", || {
        device.temperature_threshold(TemperatureThreshold::Slowdown)
    })
}

pub(super) fn pcie(device: &Device<'_>, fields: &mut FieldReader<'_>) -> Option<PcieLink> {
    let generation = fields.get("nvmlDeviceGetCurrPcieLinkGeneration", || device.current_pcie_link_gen());
    let width = fields.get("nvmlDeviceGetCurrPcieLinkWidth", || device.current_pcie_link_width());
    let max_generation = fields.get("nvmlDeviceGetMaxPcieLinkGeneration", || device.max_pcie_link_gen());
    let max_width = fields.get("nvmlDeviceGetMaxPcieLinkWidth", || device.max_pcie_link_width());
    Some(PcieLink {
        generation: generation?,
        width: width?,
        max_generation: max_generation?,
        max_width: max_width?,
    })
}

pub(super) fn nvlinks(device: &Device<'_>, fields: &mut FieldReader<'_>) -> Option<NvLinks> {
    const OPERATION: &str = "nvmlDeviceGetNvLinkState";
    let mut links = NvLinks { up: 0, total: 0 };
    for link in 0..MOST_NVLINKS {
        let mut past_the_last = false;
        let state = fields.attempt(OPERATION, || {
            device.link_wrapper_for(link).is_active().inspect_err(|error| {
                past_the_last = matches!(error, Raw::InvalidArg);
            })
        })?;
        match state {
            Ok(active) => {
                links.total += 1;
                links.up += u32::from(active);
            }
            Err(NvmlError::NotSupported { .. }) => break,
            Err(_) if past_the_last => break,
            Err(error) => {
                fields.problem(OPERATION, error);
                return None;
            }
        }
    }
    // A GPU without NVLink supports the call on no link at all.
    (links.total > 0).then_some(links)
}

fn mig(device: &Device<'_>, fields: &mut FieldReader<'_>) -> Option<MigMode> {
    const BY_INDEX: &str = "nvmlDeviceGetMigDeviceHandleByIndex";
    let mode = fields.get("nvmlDeviceGetMigMode", || device.mig_mode())?;
    let mut mig = MigMode { enabled: mode.current != 0, pending: mode.pending != 0, instances: Vec::new() };
    if !mig.enabled {
        return Some(mig);
    }
    let most = fields.get("nvmlDeviceGetMaxMigDeviceCount", || device.mig_device_count())?;
    for position in 0..most {
        // Positions are sparse: instances come and go.
        let mut empty = false;
        let instance = fields.attempt(BY_INDEX, || {
            device.mig_device_by_index(position).inspect_err(|error| empty = matches!(error, Raw::NotFound))
        })?;
        match instance {
            Ok(instance) => mig.instances.extend(mig_instance(&instance, fields)),
            Err(_) if empty => {}
            Err(error) => fields.problem(BY_INDEX, error),
        }
    }
    Some(mig)
}

fn mig_instance(device: &Device<'_>, fields: &mut FieldReader<'_>) -> Option<MigInstance> {
    const UUID: &str = "nvmlDeviceGetUUID";
    let text = fields.get(UUID, || device.uuid())?;
    let uuid = match text.parse::<GpuUuid>() {
        Ok(uuid) => uuid,
        Err(error) => {
            fields.problem(UUID, NvmlError::Other { operation: UUID, detail: error.to_string() });
            return None;
        }
    };
    let ids = fields.get("nvmlDeviceGetGpuInstanceId", || raw::mig_ids(device));
    Some(MigInstance {
        uuid,
        name: fields.get("nvmlDeviceGetName", || device.name()),
        memory_total_bytes: fields
            .get("nvmlDeviceGetMemoryInfo_v2", || device.memory_info())
            .map(|memory| memory.total),
        gpu_instance_id: ids.map(|(gpu, _)| gpu),
        compute_instance_id: ids.map(|(_, compute)| compute),
    })
}
