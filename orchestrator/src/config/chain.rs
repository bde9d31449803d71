//! Whom the orchestrator listens to: the chain and the public directories.

use std::path::PathBuf;
use std::time::Duration;

use lode_program::config::duration;
use serde::Deserialize;

/// `[chain]`
#[derive(Clone, Debug, Deserialize)]
pub struct ChainConfig {
    /// JSON-RPC over HTTP.
    pub rpc_url: String,
    /// The deployment's JSON file: chain id and addresses of the contracts.
    pub deployment: PathBuf,
    /// Number of the pool.
    pub pool: u64,
    /// How often the chain is looked at.
    #[serde(default = "two_seconds", with = "duration")]
    pub poll_interval: Duration,
    /// How many blocks must stand on a block before it counts.
    #[serde(default)]
    pub confirmations: u64,
    /// The view is stale when the chain has given no consistent answer for so long.
    #[serde(default = "thirty_seconds", with = "duration")]
    pub stale_after: Duration,
}

/// `[discovery]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct DiscoveryConfig {
    /// Base URLs of the directories; all of them are followed.
    pub urls: Vec<String>,
}

fn two_seconds() -> Duration {
    Duration::from_secs(2)
}

fn thirty_seconds() -> Duration {
    Duration::from_secs(30)
}
