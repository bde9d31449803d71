//! Fakes, builders and real parts for tests. Never imports a program.

pub mod anvil;
pub mod chain;
pub mod fuzz;
pub mod nvml;
pub mod proxy;
pub mod relay;
pub mod rpc_relay;
pub mod unix_proxy;
