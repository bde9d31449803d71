//! The health fields of one GPU.

use lode_protocol::ids::GpuUuid;
use nvml_wrapper::Device;
use nvml_wrapper::enum_wrappers::device::{Clock, EccCounter, MemoryError, TemperatureSensor};
use nvml_wrapper::enums::device::{SampleValue, UsedGpuMemory};
use nvml_wrapper::error::NvmlError as Raw;
use nvml_wrapper::structs::device::FieldId;
use nvml_wrapper_sys::bindings::field_id;

use super::fields::FieldReader;
use super::raw;
use super::read_gpu::{nvlinks, pcie, slowdown_temperature};
use crate::sample::{GpuProcess, GpuReading, RecoveryAction, ThrottleReasons};

/// The list has five entries to spare each time; outrunning that twice is a storm, and no fault of the GPU.
const PROCESS_LIST_RETRIES: u32 = 2;

pub(super) fn reading(uuid: GpuUuid, device: &Device<'_>, fields: &mut FieldReader<'_>) -> GpuReading {
    let memory = fields.get("nvmlDeviceGetMemoryInfo_v2", || device.memory_info());
    let utilization = fields.get("nvmlDeviceGetUtilizationRates", || device.utilization_rates());
    let (memory_temperature_c, recovery_action) = special_fields(device, fields);
    GpuReading {
        uuid,
        index: fields.index(),
        temperature_c: fields.get("nvmlDeviceGetTemperature", || device.temperature(TemperatureSensor::Gpu)),
        memory_temperature_c,
        slowdown_temperature_c: slowdown_temperature(device, fields),
        power_mw: fields.get("nvmlDeviceGetPowerUsage", || device.power_usage()),
        power_limit_mw: fields.get("nvmlDeviceGetEnforcedPowerLimit", || device.enforced_power_limit()),
        energy_mj: fields.get("nvmlDeviceGetTotalEnergyConsumption", || device.total_energy_consumption()),
        utilization_percent: utilization.as_ref().map(|rates| rates.gpu),
        memory_utilization_percent: utilization.map(|rates| rates.memory),
        memory_total_bytes: memory.as_ref().map(|memory| memory.total),
        memory_used_bytes: memory.map(|memory| memory.used),
        sm_clock_mhz: fields.get("nvmlDeviceGetClockInfo", || device.clock_info(Clock::SM)),
        memory_clock_mhz: fields.get("nvmlDeviceGetClockInfo", || device.clock_info(Clock::Memory)),
        throttle: fields
            .get("nvmlDeviceGetCurrentClocksThrottleReasons", || device.current_throttle_reasons())
            .map(|reasons| ThrottleReasons(reasons.bits())),
        ecc_corrected: ecc(device, fields, MemoryError::Corrected, EccCounter::Volatile),
        ecc_uncorrected: ecc(device, fields, MemoryError::Uncorrected, EccCounter::Volatile),
        ecc_uncorrected_lifetime: ecc(device, fields, MemoryError::Uncorrected, EccCounter::Aggregate),
        remapped_rows: fields.get("nvmlDeviceGetRemappedRows", || raw::remapped_rows(device)),
        pcie: pcie(device, fields),
        pcie_replays: fields.get("nvmlDeviceGetPcieReplayCounter", || device.pcie_replay_counter()),
        nvlinks: nvlinks(device, fields),
        recovery_action,
        processes: processes(device, fields),
        problems: fields.take_problems(),
    }
}

fn ecc(
    device: &Device<'_>,
    fields: &mut FieldReader<'_>,
    error: MemoryError,
    counter: EccCounter,
) -> Option<u64> {
    fields.get("nvmlDeviceGetTotalEccErrors", || device.total_ecc_errors(error, counter))
}

fn processes(device: &Device<'_>, fields: &mut FieldReader<'_>) -> Option<Vec<GpuProcess>> {
    // Processes that start between the two calls behind this make the list too short: ask again.
    let running = fields.get("nvmlDeviceGetComputeRunningProcesses_v3", || {
        let mut answer = device.running_compute_processes();
        for _ in 0..PROCESS_LIST_RETRIES {
            if !matches!(answer, Err(Raw::InsufficientSize(_))) {
                break;
            }
            answer = device.running_compute_processes();
        }
        answer
    })?;
    Some(
        running
            .into_iter()
            .map(|process| GpuProcess {
                pid: process.pid,
                memory_bytes: match process.used_gpu_memory {
                    UsedGpuMemory::Used(bytes) => Some(bytes),
                    UsedGpuMemory::Unavailable => None,
                },
            })
            .collect(),
    )
}

/// Two values that NVML offers only by number: the memory's temperature and what the driver wants done.
fn special_fields(
    device: &Device<'_>,
    fields: &mut FieldReader<'_>,
) -> (Option<u32>, Option<RecoveryAction>) {
    let ids =
        [FieldId(field_id::NVML_FI_DEV_MEMORY_TEMP), FieldId(field_id::NVML_FI_DEV_GET_GPU_RECOVERY_ACTION)];
    let answers =
        fields.get("nvmlDeviceGetFieldValues", || device.field_values_for(&ids)).unwrap_or_default();
    let mut values = answers.into_iter().map(|answer| {
        // Each field fails on its own, mostly because the GPU does not have it.
        answer.ok().and_then(|sample| sample.value.ok()).as_ref().and_then(unsigned)
    });
    let temperature = values.next().flatten().and_then(|value| u32::try_from(value).ok());
    (temperature, values.next().flatten().map(RecoveryAction::from))
}

fn unsigned(value: &SampleValue) -> Option<u64> {
    match value {
        SampleValue::U32(value) => Some(u64::from(*value)),
        SampleValue::U64(value) => Some(*value),
        SampleValue::I64(value) => u64::try_from(*value).ok(),
        _ => None,
    }
}
