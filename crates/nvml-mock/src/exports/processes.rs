//! Who uses a GPU. Callers ask twice: first for the number, then with room for that many.

use std::ffi::c_uint;

use nvml_wrapper_sys::bindings::{nvmlProcessInfo_t, nvmlReturn_enum_NVML_ERROR_INSUFFICIENT_SIZE};

use super::{device_call, write};
use crate::config::MockProcess;
use crate::live::{Answer, INVALID_ARGUMENT};

/// NVML's way to say that a process runs on no MIG instance.
const NO_INSTANCE: c_uint = c_uint::MAX;

device_call!(
    nvmlDeviceGetComputeRunningProcesses_v3(count: *mut c_uint, processes: *mut nvmlProcessInfo_t),
    |device| write_processes(&device.gpu()?.processes, count, processes)
);
device_call!(
    nvmlDeviceGetGraphicsRunningProcesses_v3(count: *mut c_uint, _processes: *mut nvmlProcessInfo_t),
    |device| {
        device.gpu()?;
        write(count, 0)
    }
);
device_call!(
    nvmlDeviceGetMPSComputeRunningProcesses_v3(count: *mut c_uint, _processes: *mut nvmlProcessInfo_t),
    |device| {
        device.gpu()?;
        write(count, 0)
    }
);

/// # Safety
/// `count` is null or valid; `out` is null or holds `*count` entries.
unsafe fn write_processes(
    processes: &[MockProcess],
    count: *mut c_uint,
    out: *mut nvmlProcessInfo_t,
) -> Answer {
    let present = c_uint::try_from(processes.len()).map_err(|_| INVALID_ARGUMENT)?;
    // SAFETY: null is told apart; otherwise valid by the caller's promise.
    let room = *unsafe { count.as_ref() }.ok_or(INVALID_ARGUMENT)?;
    // SAFETY: `count` is not null, checked above.
    unsafe { write(count, present) }?;
    if present == 0 {
        return Ok(());
    }
    if out.is_null() || room < present {
        return Err(nvmlReturn_enum_NVML_ERROR_INSUFFICIENT_SIZE);
    }
    for (position, process) in processes.iter().enumerate() {
        let entry = nvmlProcessInfo_t {
            pid: process.pid,
            usedGpuMemory: process.memory_bytes,
            gpuInstanceId: NO_INSTANCE,
            computeInstanceId: NO_INSTANCE,
        };
        // SAFETY: `position` is below `room`, which `out` holds by the caller's promise.
        unsafe { out.add(position).write(entry) };
    }
    Ok(())
}
