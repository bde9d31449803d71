#![no_main]
//! Thin: what is done with the input stands in `lode_validator::inquiry::fuzz`.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lode_validator::inquiry::fuzz::audit(bytes));
