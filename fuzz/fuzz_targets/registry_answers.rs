#![no_main]
//! Thin: what is done with the input stands in `lode_network::registry::fuzz`.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lode_network::fuzz_registry_answers(bytes));
