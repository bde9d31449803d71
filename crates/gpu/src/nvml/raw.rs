//! NVML functions that `nvml-wrapper` loads but does not wrap.

use std::ffi::c_uint;

use nvml_wrapper::Device;
use nvml_wrapper::EventSet;
use nvml_wrapper::error::{NvmlError as Raw, nvml_sym, nvml_try};
use nvml_wrapper_sys::bindings::{nvmlGpuFabricInfo_v2_t, nvmlGpuFabricInfoV_t};

use crate::inventory::FabricState;
use crate::sample::RemappedRows;

pub(super) fn remapped_rows(device: &Device<'_>) -> Result<RemappedRows, Raw> {
    let call = nvml_sym(device.nvml().lib().nvmlDeviceGetRemappedRows.as_ref())?;
    let (mut corrected, mut uncorrected, mut pending, mut failed) = (0, 0, 0, 0);
    // SAFETY: the handle belongs to a live session; the pointers are valid for the call.
    nvml_try(unsafe { call(device.handle(), &mut corrected, &mut uncorrected, &mut pending, &mut failed) })?;
    Ok(RemappedRows { corrected, uncorrected, pending: pending != 0, failed: failed != 0 })
}

/// Ids of a MIG instance: the GPU instance and the compute instance inside of it.
pub(super) fn mig_ids(device: &Device<'_>) -> Result<(u32, u32), Raw> {
    let library = device.nvml().lib();
    let of_gpu = nvml_sym(library.nvmlDeviceGetGpuInstanceId.as_ref())?;
    let of_compute = nvml_sym(library.nvmlDeviceGetComputeInstanceId.as_ref())?;
    let (mut gpu, mut compute) = (0, 0);
    // SAFETY: the handle belongs to a live session; the pointers are valid for the calls.
    unsafe {
        nvml_try(of_gpu(device.handle(), &mut gpu))?;
        nvml_try(of_compute(device.handle(), &mut compute))?;
    }
    Ok((gpu, compute))
}

pub(super) fn fabric_state(device: &Device<'_>) -> Result<FabricState, Raw> {
    let call = nvml_sym(device.nvml().lib().nvmlDeviceGetGpuFabricInfoV.as_ref())?;
    // Version 2: known to every driver that knows this call.
    let mut info = nvmlGpuFabricInfo_v2_t {
        version: (size_of::<nvmlGpuFabricInfo_v2_t>() as c_uint) | (2 << 24),
        clusterUuid: [0; 16],
        status: 0,
        cliqueId: 0,
        state: 0,
        healthMask: 0,
    };
    let pointer = std::ptr::from_mut(&mut info).cast::<nvmlGpuFabricInfoV_t>();
    // SAFETY: the `version` field makes NVML write no more than version 2, which `info` is.
    nvml_try(unsafe { call(device.handle(), pointer) })?;
    Ok(match (info.state, info.status) {
        (0, _) => FabricState::NotSupported,
        (1, _) => FabricState::NotStarted,
        (2, _) => FabricState::InProgress,
        (_, 0) => FabricState::Completed,
        (_, status) => FabricState::Failed(status),
    })
}

/// Adds a GPU's critical XIDs to an event set. The wrapper's own function loses the set when one GPU refuses.
pub(super) fn register_xids(device: &Device<'_>, set: &EventSet<'_>) -> Result<(), Raw> {
    let call = nvml_sym(device.nvml().lib().nvmlDeviceRegisterEvents.as_ref())?;
    let kinds = u64::from(nvml_wrapper_sys::bindings::nvmlEventTypeXidCriticalError);
    // SAFETY: handle and set belong to the same live session.
    nvml_try(unsafe { call(device.handle(), kinds, set.handle()) })
}
