//! Whom the orchestrator listens to: the chain and the public directories.

use std::time::Duration;

use lode_daemon::{ChainConfig, ChainUse};
use serde::{Deserialize, Deserializer};

/// It follows its pool, and joins and places nothing by a view that is too old.
const CHAIN: ChainUse =
    ChainUse { pool: true, poll_interval: Duration::from_secs(2), confirmations: true, stale_after: true };

/// `[discovery]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DiscoveryConfig {
    /// Base URLs of the directories; all of them are followed.
    pub urls: Vec<String>,
}

/// `[chain]`
pub(super) fn chain<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ChainConfig, D::Error> {
    ChainConfig::read(deserializer, &CHAIN)
}
