//! The public directory of nodes: signed descriptors in, verified against the chain, filtered lists and changes out.
//!
//! [`core`] decides, [`driver`] owns the core and does what it decides, [`handle`] is how the API reaches both.
//!
//! The directory has no authority: what it lists is signed by nodes, and its silence means nothing. It may be lost at
//! any time without harm, because nodes publish again; its store only spares them the wait.

pub use lode_discovery_core as core;

pub mod api;
pub mod app;
pub mod chain;
pub mod config;
pub mod driver;
pub mod handle;
mod storage;
mod undecided;
