//! The Docker adapter. Vendor types stay in here.
//!
//! Works on engines from API 1.41 (20.10). Only containers and networks that carry this node's and this realm's labels
//! are listed or touched.

mod call;
mod client;
mod create;
mod failure;
mod image;
mod labels;
mod logs;
mod plan;

pub use client::{DockerEngine, EngineConfig};
pub use labels::Ownership;
pub use plan::{GpuAccess, Hardening};
