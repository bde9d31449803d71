//! Configuration: file < environment (`LODE_DISCOVERY__…`).

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lode_daemon::{ChainConfig, ChainUse, HealthConfig};
use lode_program::config::{self, ConfigError, byte_size, duration};
use lode_program::listen::ServeLimits;
use serde::{Deserialize, Deserializer};

use crate::core::PageBounds;

/// It follows registrations in the whole deployment.
const CHAIN: ChainUse =
    ChainUse { pool: false, poll_interval: Duration::from_secs(2), confirmations: true, stale_after: false };

/// Everything that can be set.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where descriptors are kept across restarts.
    pub data_dir: PathBuf,
    /// Where the API listens. Plain HTTP on loopback; elsewhere a certificate is needed.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
    /// Host names under which the API is asked, besides IP addresses, `localhost` and, with a certificate, those that
    /// clients compare it with.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// The chain that says who is registered.
    #[serde(deserialize_with = "chain")]
    pub chain: ChainConfig,
    /// Certificate of the API.
    #[serde(default)]
    pub tls: Option<TlsConfig>,
    /// What callers may take.
    #[serde(default)]
    pub limits: Limits,
    /// Whether `/metrics` is served where the API is, too, to anybody who can reach it.
    #[serde(default)]
    pub metrics: bool,
    /// Health and metrics, for the operator.
    #[serde(default)]
    pub health: HealthConfig,
}

/// Certificate files, PEM.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// Certificate chain.
    pub certificate: PathBuf,
    /// Its key, mode 0600.
    pub key: PathBuf,
}

/// Limits on callers.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Publications per minute from one IPv4 address or IPv6 /64, before anything is verified.
    pub publications_per_address: u32,
    /// Publications per minute of one node, after its signature was verified.
    pub publications_per_node: u32,
    /// Listed nodes.
    pub nodes: usize,
    /// How long it stands that the chain does not vouch for a node. Until then it is not asked again whoever publishes,
    /// unless something happens there to the node or its provider.
    #[serde(with = "duration")]
    pub refusals_stand: Duration,
    /// Changes that are kept for followers.
    pub retained_changes: usize,
    /// Nodes, labels and sets that are looked at for one page of a list. What is left is on the next page.
    pub page_looks: usize,
    /// Bytes of one page, about. What is left is on the next page; one node is always told.
    #[serde(with = "byte_size")]
    pub page_bytes: u64,
    /// Connections and bodies.
    pub http: ServeLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            publications_per_address: 600,
            publications_per_node: 30,
            nodes: 1_000_000,
            refusals_stand: Duration::from_secs(60),
            retained_changes: 100_000,
            page_looks: 10_000,
            page_bytes: 4 << 20,
            http: ServeLimits::default(),
        }
    }
}

impl Limits {
    /// What one page may cost and hold.
    #[must_use]
    pub fn page(&self) -> PageBounds {
        PageBounds { looks: self.page_looks, bytes: usize::try_from(self.page_bytes).unwrap_or(usize::MAX) }
    }
}

fn default_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 7_600))
}

/// `[chain]`
fn chain<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ChainConfig, D::Error> {
    ChainConfig::read(deserializer, &CHAIN)
}

/// Reads and checks the configuration.
pub fn load(file: Option<&Path>) -> Result<Config, ConfigError> {
    config::load(file, "LODE_DISCOVERY", toml::Table::new())
}
