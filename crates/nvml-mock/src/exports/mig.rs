//! Multi-Instance GPU: mode, instances, and the way back to the parent.

use std::ffi::c_uint;

use nvml_wrapper_sys::bindings::nvmlDevice_t;

use super::{device_call, write};
use crate::live::{INVALID_ARGUMENT, NOT_FOUND, NOT_SUPPORTED, handle};

/// Every MIG capable GPU so far has seven slices.
const MOST_INSTANCES: c_uint = 7;

device_call!(nvmlDeviceGetMigMode(current: *mut c_uint, pending: *mut c_uint), |device| {
    let mig = device.gpu()?.mig.as_ref().ok_or(NOT_SUPPORTED)?;
    write(current, u32::from(mig.enabled))?;
    write(pending, u32::from(mig.pending))
});
device_call!(nvmlDeviceGetMaxMigDeviceCount(count: *mut c_uint), |device| {
    // A GPU that knows no MIG answers zero here, not an error.
    write(count, if device.gpu()?.mig.is_some() { MOST_INSTANCES } else { 0 })
});
device_call!(nvmlDeviceGetMigDeviceHandleByIndex(index: c_uint, instance: *mut nvmlDevice_t), |device| {
    let mig = device.gpu()?.mig.as_ref().filter(|mig| mig.enabled).ok_or(NOT_SUPPORTED)?;
    if device.mig()?.is_some() {
        return Err(INVALID_ARGUMENT);
    }
    let index = index as usize;
    if index >= mig.instances.len() {
        return Err(NOT_FOUND);
    }
    write(instance, handle(device.index, Some(index)))
});
device_call!(nvmlDeviceGetDeviceHandleFromMigDeviceHandle(parent: *mut nvmlDevice_t), |device| {
    device.mig()?.ok_or(INVALID_ARGUMENT)?;
    write(parent, handle(device.index, None))
});
device_call!(nvmlDeviceIsMigDeviceHandle(answer: *mut c_uint), |device| {
    write(answer, u32::from(device.mig()?.is_some()))
});
device_call!(nvmlDeviceGetGpuInstanceId(id: *mut c_uint), |device| {
    write(id, device.mig()?.ok_or(INVALID_ARGUMENT)?.gpu_instance_id)
});
device_call!(nvmlDeviceGetComputeInstanceId(id: *mut c_uint), |device| {
    write(id, device.mig()?.ok_or(INVALID_ARGUMENT)?.compute_instance_id)
});
