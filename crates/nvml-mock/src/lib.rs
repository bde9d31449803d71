//! A simulated `libnvidia-ml.so` for machines without NVIDIA GPUs.
//!
//! Owns: the answers of NVML's C functions, driven by one JSON file ([`MockConfig`]) that is read again whenever
//! it changes, so that a test or an operator of a simulated pool flips a GPU's state while programs run.
//! Does not own: any idea of what a program makes of the answers. Programs load it like the real library and
//! cannot tell.
//!
//! Where the file is looked for, at every initialisation:
//! 1. `<this library's own file>.json`, for tests that give each case its own copy of the library, and
//! 2. the path in the environment variable `LODE_NVML_MOCK_CONFIG`.
//!
//! No file means no driver (`NVML_ERROR_DRIVER_NOT_LOADED`); a file that cannot be understood means
//! `NVML_ERROR_UNKNOWN` from every call and one line on standard error per change. A function that is not here
//! behaves as it does with an old driver: its symbol is missing.

pub mod config;
mod exports;
mod live;
pub mod profiles;

pub use config::{MockConfig, MockEvent, MockGpu, MockMemory, MockMigInstance, MockProcess};
