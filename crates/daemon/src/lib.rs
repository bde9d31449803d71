//! What the four daemons share that knows of the chain or the store, so that `lode-program` need not.
//!
//! Every start has the same head: [`lode_program::service::begin`] (configuration, logs), [`ChainConfig::connect`],
//! [`read_key`], [`Ground::open`]; then whatever is the daemon's own; and last [`Ground::hold`].
//!
//! Owns: the `[chain]` and `[health]` sections of configurations, the directory, store and health of a daemon, the reading
//! of its key. Does not own: what a daemon does with any of it.

pub mod chain;
mod ground;
mod health;
mod key;

pub use chain::{ChainConfig, ChainUse};
pub use ground::{Ground, Storage};
pub use health::HealthConfig;
pub use key::read_key;
