//! What went wrong with a GPU's memory: ECC errors, remapped rows, retired pages.

use std::ffi::{c_uint, c_ulonglong};

use nvml_wrapper_sys::bindings::{
    nvmlEccCounterType_t, nvmlEnableState_t, nvmlMemoryErrorType_t, nvmlMemoryLocation_t,
};

use super::{device_call, write, write_some};
use crate::config::MockEcc;
use crate::live::{INVALID_ARGUMENT, NOT_SUPPORTED};

device_call!(nvmlDeviceGetEccMode(current: *mut nvmlEnableState_t, pending: *mut nvmlEnableState_t), |device| {
    let ecc = device.gpu()?.ecc.ok_or(NOT_SUPPORTED)?;
    write(current, u32::from(ecc.enabled))?;
    write(pending, u32::from(ecc.pending))
});
device_call!(
    nvmlDeviceGetTotalEccErrors(
        kind: nvmlMemoryErrorType_t,
        counter: nvmlEccCounterType_t,
        count: *mut c_ulonglong
    ),
    |device| write(count, ecc_count(device.gpu()?.ecc, kind, counter)?)
);
device_call!(
    nvmlDeviceGetMemoryErrorCounter(
        kind: nvmlMemoryErrorType_t,
        counter: nvmlEccCounterType_t,
        _location: nvmlMemoryLocation_t,
        count: *mut c_ulonglong
    ),
    |device| write(count, ecc_count(device.gpu()?.ecc, kind, counter)?)
);
device_call!(
    nvmlDeviceGetRemappedRows(
        corrected: *mut c_uint,
        uncorrected: *mut c_uint,
        pending: *mut c_uint,
        failed: *mut c_uint
    ),
    |device| {
        let rows = device.gpu()?.remapped_rows.ok_or(NOT_SUPPORTED)?;
        write(corrected, rows.corrected)?;
        write(uncorrected, rows.uncorrected)?;
        write(pending, u32::from(rows.pending))?;
        write(failed, u32::from(rows.failed))
    }
);
device_call!(nvmlDeviceGetRetiredPagesPendingStatus(pending: *mut nvmlEnableState_t), |device| {
    write_some(pending, device.gpu()?.retired_pages_pending.map(u32::from))
});

fn ecc_count(
    ecc: Option<MockEcc>,
    kind: nvmlMemoryErrorType_t,
    counter: nvmlEccCounterType_t,
) -> Result<u64, u32> {
    let ecc = ecc.filter(|ecc| ecc.enabled).ok_or(NOT_SUPPORTED)?;
    match (kind, counter) {
        (0, 0) => Ok(ecc.corrected_volatile),
        (0, 1) => Ok(ecc.corrected_aggregate),
        (1, 0) => Ok(ecc.uncorrected_volatile),
        (1, 1) => Ok(ecc.uncorrected_aggregate),
        _ => Err(INVALID_ARGUMENT),
    }
}
