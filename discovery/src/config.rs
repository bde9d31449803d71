//! Configuration: file < environment (`LODE_DISCOVERY__…`).

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lode_program::config::{self, ConfigError, duration};
use lode_program::listen::ServeLimits;
use serde::Deserialize;

/// Everything that can be set.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where descriptors are kept across restarts.
    pub data_dir: PathBuf,
    /// Where the API listens. Plain HTTP on loopback; elsewhere a certificate is needed.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
    /// The chain that says who is registered.
    pub chain: ChainConfig,
    /// Certificate of the API.
    #[serde(default)]
    pub tls: Option<TlsConfig>,
    /// What callers may take.
    #[serde(default)]
    pub limits: Limits,
}

/// How to reach the chain.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainConfig {
    /// JSON-RPC URL.
    pub rpc_url: String,
    /// Deployment file: the addresses of the contracts.
    pub deployment: PathBuf,
    /// Time between two looks at the chain.
    #[serde(default = "default_poll", with = "duration")]
    pub poll_interval: Duration,
    /// Blocks until an event counts.
    #[serde(default)]
    pub confirmations: u64,
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
    /// Publications per minute from one network address, before anything is verified.
    pub publications_per_address: u32,
    /// Publications per minute of one node, after its signature was verified.
    pub publications_per_node: u32,
    /// Listed nodes.
    pub nodes: usize,
    /// Changes that are kept for followers.
    pub retained_changes: usize,
    /// Connections and bodies.
    pub http: ServeLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            publications_per_address: 600,
            publications_per_node: 30,
            nodes: 1_000_000,
            retained_changes: 100_000,
            http: ServeLimits::default(),
        }
    }
}

fn default_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 7_600))
}

fn default_poll() -> Duration {
    Duration::from_secs(2)
}

/// Reads and checks the configuration.
pub fn load(file: Option<&Path>) -> Result<Config, ConfigError> {
    config::load(file, "LODE_DISCOVERY", toml::Table::new())
}
