#![no_main]
//! Thin: what is done with the input stands in `lode_worker::output::fuzz`.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lode_worker::output::fuzz::output_lines(bytes));
