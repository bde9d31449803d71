//! Event sets: the source of XIDs.

use std::ffi::{c_uint, c_ulonglong};
use std::time::Duration;

use nvml_wrapper_sys::bindings::{nvmlDevice_t, nvmlEventData_t, nvmlEventSet_t, nvmlReturn_t};

use super::{device_call, write};
use crate::live;

/// Every event type of a data centre GPU: ECC single and double bit, P-state, XID, clock.
const SUPPORTED_EVENTS: c_ulonglong = 0x1f;
const NO_INSTANCE: c_uint = c_uint::MAX;

device_call!(nvmlDeviceGetSupportedEventTypes(kinds: *mut c_ulonglong), |device| {
    device.gpu()?;
    write(kinds, SUPPORTED_EVENTS)
});
#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceRegisterEvents(
    device: nvmlDevice_t,
    kinds: c_ulonglong,
    set: nvmlEventSet_t,
) -> nvmlReturn_t {
    live::with_device(device, "nvmlDeviceRegisterEvents", |device| {
        live::register_events(set.addr(), device.index, kinds)
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlEventSetCreate(set: *mut nvmlEventSet_t) -> nvmlReturn_t {
    live::with_system("nvmlEventSetCreate", |_| {
        let id = live::create_event_set()?;
        // SAFETY: NVML's contract: `set` is null or valid.
        unsafe { write(set, std::ptr::without_provenance_mut(id)) }
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlEventSetFree(set: nvmlEventSet_t) -> nvmlReturn_t {
    live::with_system("nvmlEventSetFree", |_| live::free_event_set(set.addr()))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlEventSetWait_v2(
    set: nvmlEventSet_t,
    data: *mut nvmlEventData_t,
    patience_ms: c_uint,
) -> nvmlReturn_t {
    live::with_system("nvmlEventSetWait_v2", |_| {
        let patience = Duration::from_millis(u64::from(patience_ms));
        let (gpu, kind, value) = live::wait_for_event(set.addr(), patience)?;
        let event = nvmlEventData_t {
            device: live::handle(gpu, None),
            eventType: kind,
            eventData: value,
            gpuInstanceId: NO_INSTANCE,
            computeInstanceId: NO_INSTANCE,
        };
        // SAFETY: NVML's contract: `data` is null or valid.
        unsafe { write(data, event) }
    })
}
