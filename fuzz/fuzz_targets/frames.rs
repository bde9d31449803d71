#![no_main]
//! Thin: what is done with the input stands in `lode_network`.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lode_network::fuzz_frames(bytes));
