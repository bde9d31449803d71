#![no_main]
//! Thin: what is done with the input stands in `lode_orchestrator_core::fuzz`.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lode_orchestrator_core::fuzz::sessions(bytes));
