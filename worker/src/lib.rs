//! The program a GPU host runs: joins a pool, proves its GPUs, runs the pool's tasks in Docker.
//!
//! [`core`] decides, [`driver`] owns the cores and does what they decide, [`app`] wires the parts together.

pub use lode_worker_core as core;

pub mod app;
pub mod chain_view;
pub mod check;
pub mod commands;
pub mod config;
pub mod descriptor;
pub mod directory;
pub mod docker;
pub mod driver;
pub mod endpoints;
pub mod engine;
pub mod gpus;
pub mod identity;
pub mod journal;
pub mod local;
pub mod logs;
pub mod metrics;
pub mod output;
pub mod probe;
pub mod proof;
pub mod specs;
pub mod subnets;
pub mod usage;
