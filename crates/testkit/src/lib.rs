//! Fakes, builders and real parts for tests. Never imports a program.

pub mod nvml;
pub mod proxy;
