#![no_main]
//! Thin: what is done with the input stands in `lode_cli::fuzz`.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lode_cli::fuzz::typed_data(bytes));
