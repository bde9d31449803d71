//! End to end, on real parts: pools of the real programs on a real anvil and a real container engine.
//!
//! Owns what the tests need to start, watch and break a pool, and to leave nothing behind. A missing part is an error
//! with its remedy, never a test that passes.

pub mod api;
pub mod engine;
pub mod extra_program;
pub mod extra_validator;
pub mod extra_worker;
pub mod forger;
pub mod guardian;
pub mod nodes;
pub mod output;
pub mod people;
pub mod pool;
pub mod programs;
pub mod registry;
pub mod shell_image;
pub mod small_disk;
pub mod tasks;
pub mod waiting;
