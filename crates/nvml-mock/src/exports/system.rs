//! Initialisation, versions, enumeration.

use std::ffi::{CStr, c_char, c_int, c_uint};

use nvml_wrapper_sys::bindings::{nvmlDevice_t, nvmlReturn_t};

use super::{write, write_text};
use crate::config::{MockConfig, MockGpu};
use crate::live::{self, Answer, INVALID_ARGUMENT, NOT_FOUND};

#[unsafe(no_mangle)]
extern "C" fn nvmlInit_v2() -> nvmlReturn_t {
    live::initialise()
}

#[unsafe(no_mangle)]
extern "C" fn nvmlInitWithFlags(_flags: c_uint) -> nvmlReturn_t {
    live::initialise()
}

#[unsafe(no_mangle)]
extern "C" fn nvmlShutdown() -> nvmlReturn_t {
    live::shut_down()
}

#[unsafe(no_mangle)]
extern "C" fn nvmlErrorString(result: nvmlReturn_t) -> *const c_char {
    let text: &'static CStr = match result {
        0 => c"Success",
        1 => c"Uninitialized",
        2 => c"Invalid Argument",
        3 => c"Not Supported",
        4 => c"Insufficient Permissions",
        6 => c"Not Found",
        7 => c"Insufficient Size",
        9 => c"Driver Not Loaded",
        10 => c"Timeout",
        15 => c"GPU is lost",
        16 => c"GPU requires reset",
        18 => c"Driver/library version mismatch",
        _ => c"Unknown Error",
    };
    text.as_ptr()
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlSystemGetDriverVersion(version: *mut c_char, length: c_uint) -> nvmlReturn_t {
    live::with_system("nvmlSystemGetDriverVersion", |config| {
        // SAFETY: NVML's contract: `version` is null or holds `length` bytes.
        unsafe { write_text(version, length, &config.driver_version) }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlSystemGetNVMLVersion(version: *mut c_char, length: c_uint) -> nvmlReturn_t {
    live::with_system("nvmlSystemGetNVMLVersion", |config| {
        // SAFETY: NVML's contract: `version` is null or holds `length` bytes.
        unsafe { write_text(version, length, &config.nvml_version) }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlSystemGetCudaDriverVersion_v2(version: *mut c_int) -> nvmlReturn_t {
    live::with_system("nvmlSystemGetCudaDriverVersion_v2", |config| {
        // SAFETY: NVML's contract: `version` is null or valid.
        unsafe { write(version, config.cuda_version) }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlSystemGetProcessName(
    pid: c_uint,
    name: *mut c_char,
    length: c_uint,
) -> nvmlReturn_t {
    live::with_system("nvmlSystemGetProcessName", |_| {
        let path = std::fs::read_link(format!("/proc/{pid}/exe")).map_err(|_| NOT_FOUND)?;
        // SAFETY: NVML's contract: `name` is null or holds `length` bytes.
        unsafe { write_text(name, length, &path.to_string_lossy()) }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetCount_v2(count: *mut c_uint) -> nvmlReturn_t {
    live::with_system("nvmlDeviceGetCount_v2", |config| {
        let gpus = c_uint::try_from(config.gpus.len()).map_err(|_| INVALID_ARGUMENT)?;
        // SAFETY: NVML's contract: `count` is null or valid.
        unsafe { write(count, gpus) }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetHandleByIndex_v2(index: c_uint, device: *mut nvmlDevice_t) -> nvmlReturn_t {
    const SYMBOL: &str = "nvmlDeviceGetHandleByIndex_v2";
    live::with_system(SYMBOL, |config| {
        let index = index as usize;
        // SAFETY: NVML's contract: `device` is null or valid.
        unsafe { hand_out(config, SYMBOL, index, None, device) }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetHandleByUUID(
    uuid: *const c_char,
    device: *mut nvmlDevice_t,
) -> nvmlReturn_t {
    const SYMBOL: &str = "nvmlDeviceGetHandleByUUID";
    live::with_system(SYMBOL, |config| {
        // SAFETY: NVML's contract: `uuid` is null or a string that ends with zero.
        let uuid = unsafe { text(uuid) }?;
        for (index, gpu) in config.gpus.iter().enumerate() {
            let instances = gpu.mig.iter().flat_map(|mig| &mig.instances);
            let instance = instances.enumerate().find(|(_, instance)| instance.uuid == uuid);
            if gpu.uuid == uuid || instance.is_some() {
                let position = instance.map(|(position, _)| position);
                // SAFETY: NVML's contract: `device` is null or valid.
                return unsafe { hand_out(config, SYMBOL, index, position, device) };
            }
        }
        Err(NOT_FOUND)
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetHandleByPciBusId_v2(
    bus_id: *const c_char,
    device: *mut nvmlDevice_t,
) -> nvmlReturn_t {
    const SYMBOL: &str = "nvmlDeviceGetHandleByPciBusId_v2";
    live::with_system(SYMBOL, |config| {
        // SAFETY: NVML's contract on both pointers.
        unsafe { find(config, SYMBOL, bus_id, device, |gpu| gpu.pci_bus_id.as_deref()) }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetHandleBySerial(
    serial: *const c_char,
    device: *mut nvmlDevice_t,
) -> nvmlReturn_t {
    const SYMBOL: &str = "nvmlDeviceGetHandleBySerial";
    live::with_system(SYMBOL, |config| {
        // SAFETY: NVML's contract on both pointers.
        unsafe { find(config, SYMBOL, serial, device, |gpu| gpu.serial.as_deref()) }
    })
}

/// # Safety
/// `wanted` is null or a string that ends with zero, `device` is null or valid.
unsafe fn find(
    config: &MockConfig,
    symbol: &str,
    wanted: *const c_char,
    device: *mut nvmlDevice_t,
    field: impl Fn(&MockGpu) -> Option<&str>,
) -> Answer {
    // SAFETY: handed on unchanged.
    let wanted = unsafe { text(wanted) }?;
    let found = config.gpus.iter().position(|gpu| field(gpu) == Some(wanted.as_str()));
    // SAFETY: handed on unchanged.
    unsafe { hand_out(config, symbol, found.ok_or(NOT_FOUND)?, None, device) }
}

/// # Safety
/// `device` is null or valid.
unsafe fn hand_out(
    config: &MockConfig,
    symbol: &str,
    index: usize,
    mig: Option<usize>,
    device: *mut nvmlDevice_t,
) -> Answer {
    let gpu = config.gpus.get(index).ok_or(INVALID_ARGUMENT)?;
    live::refuse_if_lost(index)?;
    if let Some(error) = gpu.errors.get(symbol) {
        return Err(*error);
    }
    // SAFETY: handed on unchanged.
    unsafe { write(device, live::handle(index, mig)) }
}

/// # Safety
/// `text` is null or a string that ends with zero.
unsafe fn text(text: *const c_char) -> Result<String, nvmlReturn_t> {
    if text.is_null() {
        return Err(INVALID_ARGUMENT);
    }
    // SAFETY: not null, and ends with zero by the caller's promise.
    Ok(unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}
