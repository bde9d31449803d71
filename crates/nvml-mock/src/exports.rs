//! The C functions themselves, named and shaped as `nvml.h` declares them.
//!
//! Owns the translation between C and [`crate::live`]; each function is one line of meaning. Every pointer that
//! NVML's callers hand in is written through [`write`] and friends, which refuse null.

use std::ffi::{c_char, c_uint};

use crate::live::{Answer, INVALID_ARGUMENT, NOT_SUPPORTED};

mod counters;
mod events;
mod identity;
mod mig;
mod processes;
mod system;
mod telemetry;

/// Declares one `nvmlDeviceGet…` function: arguments after the device, and what it does with it.
macro_rules! device_call {
    ($name:ident($($argument:ident: $type:ty),*), |$device:ident| $body:expr) => {
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name(
            device: nvml_wrapper_sys::bindings::nvmlDevice_t,
            $($argument: $type),*
        ) -> nvml_wrapper_sys::bindings::nvmlReturn_t {
            // SAFETY: NVML's contract: every pointer a caller hands in is null or valid for the call.
            crate::live::with_device(device, stringify!($name), |$device| unsafe { $body })
        }
    };
}
pub(crate) use device_call;

/// Writes one result through a caller's pointer.
///
/// # Safety
/// `out` is null or valid for writing a `T`.
unsafe fn write<T>(out: *mut T, value: T) -> Answer {
    if out.is_null() {
        return Err(INVALID_ARGUMENT);
    }
    // SAFETY: not null, and valid by the caller's promise.
    unsafe { out.write(value) };
    Ok(())
}

/// Writes a result that the GPU may not have.
///
/// # Safety
/// As for [`write`].
unsafe fn write_some<T>(out: *mut T, value: Option<T>) -> Answer {
    // SAFETY: handed on unchanged.
    unsafe { write(out, value.ok_or(NOT_SUPPORTED)?) }
}

/// Writes text with its final zero, or answers that the buffer is too small.
///
/// # Safety
/// `out` is null or valid for writing `length` bytes.
unsafe fn write_text(out: *mut c_char, length: c_uint, text: &str) -> Answer {
    if out.is_null() {
        return Err(INVALID_ARGUMENT);
    }
    if text.len() >= length as usize {
        return Err(nvml_wrapper_sys::bindings::nvmlReturn_enum_NVML_ERROR_INSUFFICIENT_SIZE);
    }
    // SAFETY: the buffer holds the text and its zero, checked above; the two do not overlap.
    unsafe {
        std::ptr::copy_nonoverlapping(text.as_ptr().cast(), out, text.len());
        out.add(text.len()).write(0);
    }
    Ok(())
}
