//! What a GPU is: names, numbers, sizes, modes.

use std::ffi::{c_char, c_int, c_uint};

use nvml_wrapper_sys::bindings::{
    nvmlBAR1Memory_t, nvmlBrandType_t, nvmlComputeMode_t, nvmlDeviceArchitecture_t, nvmlEnableState_t,
    nvmlMemory_v2_t, nvmlPciInfo_t, nvmlReturn_enum_NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
};

use super::{device_call, write, write_some, write_text};
use crate::live::{Answer, Device, INVALID_ARGUMENT, NOT_SUPPORTED};

/// Size of the GSP version's buffer, which NVML does not let callers state.
const GSP_VERSION_BYTES: c_uint = 80;

device_call!(nvmlDeviceGetName(name: *mut c_char, length: c_uint), |device| {
    let name_text = match device.mig()? {
        Some(instance) => &instance.name,
        None => &device.gpu()?.name,
    };
    write_text(name, length, name_text)
});
device_call!(nvmlDeviceGetUUID(uuid: *mut c_char, length: c_uint), |device| {
    let uuid_text = match device.mig()? {
        Some(instance) => &instance.uuid,
        None => &device.gpu()?.uuid,
    };
    write_text(uuid, length, uuid_text)
});
device_call!(nvmlDeviceGetIndex(index: *mut c_uint), |device| {
    write(index, c_uint::try_from(device.index).map_err(|_| INVALID_ARGUMENT)?)
});
device_call!(nvmlDeviceGetSerial(serial: *mut c_char, length: c_uint), |device| {
    write_text(serial, length, known(device.gpu()?.serial.as_deref())?)
});
device_call!(nvmlDeviceGetBoardPartNumber(part: *mut c_char, length: c_uint), |device| {
    write_text(part, length, known(device.gpu()?.board_part_number.as_deref())?)
});
device_call!(nvmlDeviceGetVbiosVersion(version: *mut c_char, length: c_uint), |device| {
    write_text(version, length, known(device.gpu()?.vbios_version.as_deref())?)
});
device_call!(nvmlDeviceGetGspFirmwareVersion(version: *mut c_char), |device| {
    write_text(version, GSP_VERSION_BYTES, known(device.gpu()?.gsp_firmware_version.as_deref())?)
});
device_call!(nvmlDeviceGetMinorNumber(minor: *mut c_uint), |device| write_some(minor, device.gpu()?.minor));
device_call!(nvmlDeviceGetBrand(brand: *mut nvmlBrandType_t), |device| write_some(brand, device.gpu()?.brand));
device_call!(nvmlDeviceGetArchitecture(architecture: *mut nvmlDeviceArchitecture_t), |device| {
    write_some(architecture, device.gpu()?.architecture)
});
device_call!(nvmlDeviceGetNumGpuCores(cores: *mut c_uint), |device| write_some(cores, device.gpu()?.cores));
device_call!(nvmlDeviceGetNumaNodeId(node: *mut c_uint), |device| write_some(node, device.gpu()?.numa_node));
device_call!(nvmlDeviceGetCudaComputeCapability(major: *mut c_int, minor: *mut c_int), |device| {
    let (of_major, of_minor) = device.gpu()?.compute_capability.ok_or(NOT_SUPPORTED)?;
    write(major, of_major)?;
    write(minor, of_minor)
});
device_call!(nvmlDeviceGetMemoryInfo_v2(memory: *mut nvmlMemory_v2_t), |device| write_memory(device, memory));
device_call!(nvmlDeviceGetMemoryBusWidth(width: *mut c_uint), |device| {
    write_some(width, device.gpu()?.memory_bus_width_bits)
});
device_call!(nvmlDeviceGetBAR1MemoryInfo(memory: *mut nvmlBAR1Memory_t), |device| {
    let total = device.gpu()?.bar1_total_bytes.ok_or(NOT_SUPPORTED)?;
    write(memory, nvmlBAR1Memory_t { bar1Total: total, bar1Free: total, bar1Used: 0 })
});
device_call!(nvmlDeviceGetPciInfo_v3(info: *mut nvmlPciInfo_t), |device| write_pci(device, info));
device_call!(nvmlDeviceGetPersistenceMode(mode: *mut nvmlEnableState_t), |device| {
    write_some(mode, device.gpu()?.persistence_mode.map(u32::from))
});
device_call!(nvmlDeviceGetComputeMode(mode: *mut nvmlComputeMode_t), |device| {
    write_some(mode, device.gpu()?.compute_mode)
});

fn known(text: Option<&str>) -> Result<&str, u32> {
    text.ok_or(NOT_SUPPORTED)
}

/// # Safety
/// `out` is null or valid for reading and writing.
unsafe fn write_memory(device: &Device, out: *mut nvmlMemory_v2_t) -> Answer {
    // SAFETY: null is told apart; otherwise valid by the caller's promise.
    let asked = unsafe { out.as_ref() }.ok_or(INVALID_ARGUMENT)?.version;
    let version = (size_of::<nvmlMemory_v2_t>() as c_uint) | (2 << 24);
    if asked != version {
        return Err(nvmlReturn_enum_NVML_ERROR_ARGUMENT_VERSION_MISMATCH);
    }
    let memory = match device.mig()? {
        Some(instance) => instance.memory,
        None => device.gpu()?.memory,
    };
    let memory = memory.ok_or(NOT_SUPPORTED)?;
    let free = memory.total.saturating_sub(memory.used).saturating_sub(memory.reserved);
    let answer =
        nvmlMemory_v2_t { version, total: memory.total, reserved: memory.reserved, free, used: memory.used };
    // SAFETY: handed on unchanged.
    unsafe { write(out, answer) }
}

/// # Safety
/// `out` is null or valid for writing.
unsafe fn write_pci(device: &Device, out: *mut nvmlPciInfo_t) -> Answer {
    let gpu = device.gpu()?;
    let bus_id = known(gpu.pci_bus_id.as_deref())?;
    let number = |from: usize, to: usize| {
        bus_id.get(from..to).and_then(|digits| u32::from_str_radix(digits, 16).ok()).unwrap_or(0)
    };
    let mut info = nvmlPciInfo_t {
        busIdLegacy: [0; 16],
        domain: number(0, 8),
        bus: number(9, 11),
        device: number(12, 14),
        pciDeviceId: gpu.pci_device_id,
        pciSubSystemId: 0,
        busId: [0; 32],
    };
    // SAFETY: both are arrays of the stated lengths.
    unsafe {
        write_text(info.busId.as_mut_ptr(), 32, bus_id)?;
        write_text(info.busIdLegacy.as_mut_ptr(), 16, bus_id.get(4..).unwrap_or(bus_id))?;
    }
    // SAFETY: handed on unchanged.
    unsafe { write(out, info) }
}
