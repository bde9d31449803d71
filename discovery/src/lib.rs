//! The public directory of nodes: signed descriptors in, verified against the chain, filtered lists and changes out.
//!
//! The directory has no authority: what it lists is signed by nodes, and its silence means nothing. It may be lost at
//! any time without harm, because nodes publish again; its store only spares them the wait.

pub mod api;
pub mod app;
pub mod chain;
pub mod config;
pub mod core;
pub mod service;
