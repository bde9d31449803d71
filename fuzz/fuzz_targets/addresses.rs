#![no_main]
//! Thin: what is done with the input stands in `lode_testkit::fuzz`.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lode_testkit::fuzz::run("addresses", bytes));
