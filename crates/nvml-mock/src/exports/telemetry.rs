//! What a GPU is doing now: heat, power, clocks, load, links.

use std::ffi::{c_int, c_uint, c_ulonglong};

use nvml_wrapper_sys::bindings::{
    field_id, nvmlClockType_t, nvmlEnableState_t, nvmlFieldValue_t, nvmlGpuFabricInfo_v2_t, nvmlPstates_t,
    nvmlReturn_enum_NVML_SUCCESS, nvmlTemperatureSensors_t, nvmlTemperatureThresholds_t, nvmlUtilization_t,
    nvmlValue_t, nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_INT,
};

use super::{device_call, write, write_some};
use crate::config::{MockClocks, MockGpu};
use crate::live::{Answer, Device, INVALID_ARGUMENT, NOT_SUPPORTED};

device_call!(nvmlDeviceGetTemperature(_sensor: nvmlTemperatureSensors_t, value: *mut c_uint), |device| {
    write_some(value, device.gpu()?.temperature_c)
});
device_call!(
    nvmlDeviceGetTemperatureThreshold(threshold: nvmlTemperatureThresholds_t, value: *mut c_uint),
    |device| {
        write_some(value, match threshold {
            0 => device.gpu()?.shutdown_temperature_c,
            1 => device.gpu()?.slowdown_temperature_c,
            _ => None,
        })
    }
);
device_call!(nvmlDeviceGetFanSpeed_v2(_fan: c_uint, percent: *mut c_uint), |device| {
    write_some(percent, device.gpu()?.fan_percent)
});
device_call!(nvmlDeviceGetPowerUsage(power: *mut c_uint), |device| write_some(power, device.gpu()?.power_mw));
device_call!(nvmlDeviceGetEnforcedPowerLimit(limit: *mut c_uint), |device| {
    write_some(limit, device.gpu()?.power_limit_mw)
});
device_call!(nvmlDeviceGetPowerManagementLimit(limit: *mut c_uint), |device| {
    write_some(limit, device.gpu()?.power_limit_mw)
});
device_call!(nvmlDeviceGetPowerManagementDefaultLimit(limit: *mut c_uint), |device| {
    write_some(limit, device.gpu()?.power_default_limit_mw)
});
device_call!(nvmlDeviceGetPowerManagementLimitConstraints(least: *mut c_uint, most: *mut c_uint), |device| {
    let (from, to) = device.gpu()?.power_limit_range_mw.ok_or(NOT_SUPPORTED)?;
    write(least, from)?;
    write(most, to)
});
device_call!(nvmlDeviceGetTotalEnergyConsumption(energy: *mut c_ulonglong), |device| {
    write_some(energy, device.gpu()?.energy_mj)
});
device_call!(nvmlDeviceGetUtilizationRates(rates: *mut nvmlUtilization_t), |device| {
    let (gpu, memory) = device.gpu()?.utilization_percent.ok_or(NOT_SUPPORTED)?;
    write(rates, nvmlUtilization_t { gpu, memory })
});
device_call!(nvmlDeviceGetPerformanceState(state: *mut nvmlPstates_t), |device| {
    write_some(state, device.gpu()?.performance_state)
});
device_call!(nvmlDeviceGetClockInfo(kind: nvmlClockType_t, clock: *mut c_uint), |device| {
    write(clock, clock_of(device.gpu()?.clocks_mhz, kind)?)
});
device_call!(nvmlDeviceGetMaxClockInfo(kind: nvmlClockType_t, clock: *mut c_uint), |device| {
    write(clock, clock_of(device.gpu()?.max_clocks_mhz, kind)?)
});
device_call!(nvmlDeviceGetCurrentClocksThrottleReasons(reasons: *mut c_ulonglong), |device| {
    write_some(reasons, device.gpu()?.throttle_reasons)
});
device_call!(nvmlDeviceGetCurrPcieLinkGeneration(value: *mut c_uint), |device| {
    write_some(value, device.gpu()?.pcie.map(|pcie| pcie.generation))
});
device_call!(nvmlDeviceGetCurrPcieLinkWidth(value: *mut c_uint), |device| {
    write_some(value, device.gpu()?.pcie.map(|pcie| pcie.width))
});
device_call!(nvmlDeviceGetMaxPcieLinkGeneration(value: *mut c_uint), |device| {
    write_some(value, device.gpu()?.pcie.map(|pcie| pcie.max_generation))
});
device_call!(nvmlDeviceGetMaxPcieLinkWidth(value: *mut c_uint), |device| {
    write_some(value, device.gpu()?.pcie.map(|pcie| pcie.max_width))
});
device_call!(nvmlDeviceGetPcieReplayCounter(value: *mut c_uint), |device| {
    write_some(value, device.gpu()?.pcie.map(|pcie| pcie.replays))
});
device_call!(nvmlDeviceGetNvLinkState(link: c_uint, state: *mut nvmlEnableState_t), |device| {
    let links = &device.gpu()?.nvlinks;
    if links.is_empty() {
        return Err(NOT_SUPPORTED);
    }
    write(state, links.get(link as usize).copied().map(u32::from).ok_or(INVALID_ARGUMENT)?)
});
device_call!(nvmlDeviceGetGpuFabricInfoV(info: *mut nvmlGpuFabricInfo_v2_t), |device| write_fabric(device, info));
device_call!(nvmlDeviceGetFieldValues(count: c_int, values: *mut nvmlFieldValue_t), |device| {
    let count = usize::try_from(count).map_err(|_| INVALID_ARGUMENT)?;
    if values.is_null() {
        return Err(INVALID_ARGUMENT);
    }
    let gpu = device.gpu()?;
    std::slice::from_raw_parts_mut(values, count).iter_mut().for_each(|value| fill_field(gpu, value));
    Ok(())
});

fn clock_of(clocks: Option<MockClocks>, kind: nvmlClockType_t) -> Result<c_uint, u32> {
    let clocks = clocks.ok_or(NOT_SUPPORTED)?;
    match kind {
        0 => Ok(clocks.graphics),
        1 => Ok(clocks.sm),
        2 => Ok(clocks.memory),
        3 => Ok(clocks.video),
        _ => Err(INVALID_ARGUMENT),
    }
}

fn fill_field(gpu: &MockGpu, field: &mut nvmlFieldValue_t) {
    let rows = gpu.remapped_rows;
    let value = match field.fieldId {
        field_id::NVML_FI_DEV_MEMORY_TEMP => gpu.memory_temperature_c,
        field_id::NVML_FI_DEV_REMAPPED_COR => rows.map(|rows| rows.corrected),
        field_id::NVML_FI_DEV_REMAPPED_UNC => rows.map(|rows| rows.uncorrected),
        field_id::NVML_FI_DEV_REMAPPED_PENDING => rows.map(|rows| u32::from(rows.pending)),
        field_id::NVML_FI_DEV_REMAPPED_FAILURE => rows.map(|rows| u32::from(rows.failed)),
        field_id::NVML_FI_DEV_GET_GPU_RECOVERY_ACTION => gpu.recovery_action,
        _ => None,
    };
    field.valueType = nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_INT;
    match value {
        Some(value) => {
            field.nvmlReturn = nvmlReturn_enum_NVML_SUCCESS;
            field.value = nvmlValue_t { ullVal: u64::from(value) };
        }
        None => field.nvmlReturn = NOT_SUPPORTED,
    }
}

/// # Safety
/// `out` is null or valid for reading and writing version 2 of the structure.
unsafe fn write_fabric(device: &Device, out: *mut nvmlGpuFabricInfo_v2_t) -> Answer {
    // SAFETY: null is told apart; otherwise valid by the caller's promise.
    let asked = unsafe { out.as_ref() }.ok_or(INVALID_ARGUMENT)?.version;
    if asked != (size_of::<nvmlGpuFabricInfo_v2_t>() as c_uint) | (2 << 24) {
        return Err(nvml_wrapper_sys::bindings::nvmlReturn_enum_NVML_ERROR_ARGUMENT_VERSION_MISMATCH);
    }
    let fabric = device.gpu()?.fabric.ok_or(NOT_SUPPORTED)?;
    let answer = nvmlGpuFabricInfo_v2_t {
        version: asked,
        clusterUuid: [0; 16],
        status: fabric.status,
        cliqueId: 0,
        state: fabric.state,
        healthMask: 0,
    };
    // SAFETY: handed on unchanged.
    unsafe { write(out, answer) }
}
