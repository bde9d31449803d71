//! The program a pool's owner runs: admits nodes, places tasks, keeps them running.

pub mod core;
