#![no_main]
//! Thin: what is done with the input stands in `lode_contracts`.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lode_contracts::fuzz_chain_logs(bytes));
