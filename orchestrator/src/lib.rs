//! The program a pool's owner runs: admits nodes, places tasks, keeps them running.
//!
//! [`core`] decides; everything else carries events to it and its effects away. [`driver`] owns it, [`wire`] speaks to
//! workers, [`chain`] to the contracts, [`directory`] to directories, [`api`] to people; [`app`] wires them up.

pub use lode_orchestrator_core as core;

pub mod api;
pub mod app;
pub mod archive;
pub mod buckets;
pub mod chain;
pub mod config;
pub mod directory;
pub mod driver;
pub mod event_log;
pub mod identity;
pub mod images;
pub mod known_nodes;
pub mod log_requests;
pub mod logs;
pub mod metrics;
pub mod outbox_store;
pub mod recovery;
pub mod token;
pub mod wire;
