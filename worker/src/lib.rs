//! The program a GPU host runs: joins a pool, proves its GPUs, runs the pool's tasks in Docker.
pub mod core;
pub mod docker;
pub mod engine;
