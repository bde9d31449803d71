//! The Docker adapter. Vendor types stay in here.
//!
//! Works on engines from API 1.41 (20.10). Only containers and networks that carry this node's and this realm's labels
//! are listed or touched.

mod address;
mod call;
mod client;
mod create;
mod examine;
mod exec;
mod failure;
mod fetch;
mod image;
mod labels;
mod life;
mod logs;
mod memory_files;
mod mounts;
mod networks;
mod oom_kills;
mod plan;
mod processes;
mod pull;
mod registries;
mod require;
mod storage;
mod transport;
mod ulimits;
mod words;

#[cfg(any(test, fuzzing))]
pub(crate) use logs::fuzz::pieces;

pub use client::{DockerEngine, EngineConfig};
pub use labels::Ownership;
pub(crate) use networks::blocks;
pub use plan::{GpuAccess, Hardening};
pub use registries::ImageAccess;
pub use ulimits::ProcessLimits;
