//! Configuration: file < environment (`LODE_VALIDATOR__…`).

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lode_contracts::OutboxConfig;
use lode_gpu_proof::ProofClass;
use lode_network::PeerAddress;
use lode_program::config::{self, ConfigError, duration};
use lode_program::exit::{Exit, ExitError};
use serde::Deserialize;

/// Everything that can be set.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where results and intents are kept across restarts. Mode 0700; one validator per directory.
    pub data_dir: PathBuf,
    /// The validator's secret key as hexadecimal digits, mode 0600. Default: `validator.key` in the data directory.
    #[serde(default)]
    pub key_file: Option<PathBuf>,
    /// The chain.
    pub chain: ChainConfig,
    /// Where nodes are found.
    #[serde(default)]
    pub discovery: DiscoveryConfig,
    /// Where workers dial.
    pub network: NetworkConfig,
    /// What is proven, and how often.
    #[serde(default)]
    pub proof: ProofConfig,
    /// How transactions are sent.
    #[serde(default)]
    pub outbox: OutboxSettings,
    /// Health, metrics and status over HTTP.
    #[serde(default)]
    pub health: HealthConfig,
}

/// `[chain]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainConfig {
    /// JSON-RPC URL.
    pub rpc_url: String,
    /// Deployment file: the addresses of the contracts.
    pub deployment: PathBuf,
    /// Time between two looks at the chain: well below half an epoch.
    #[serde(default = "default_poll", with = "duration")]
    pub poll_interval: Duration,
    /// Blocks until an event counts.
    #[serde(default)]
    pub confirmations: u64,
}

/// `[discovery]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DiscoveryConfig {
    /// Base URLs; all of them are read.
    pub urls: Vec<String>,
}

/// `[network]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkConfig {
    /// Addresses to listen on. Workers dial the endpoint that stands on chain: one of these, as seen from outside.
    pub listen: Vec<PeerAddress>,
    /// Connections from one network address; many workers may share one.
    #[serde(default = "default_per_address")]
    pub connections_per_address: usize,
}

/// `[proof]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProofConfig {
    /// Name of the class.
    pub class: String,
    /// Epochs a proof counts; 0 is as many as the contract allows.
    pub validity_epochs: u64,
    /// Wait after a run without success.
    #[serde(with = "duration")]
    pub retry_interval: Duration,
    /// Runs at once.
    pub concurrent_runs: usize,
}

impl Default for ProofConfig {
    fn default() -> Self {
        Self {
            class: ProofClass::TINY.name.to_owned(),
            validity_epochs: 0,
            retry_interval: Duration::from_secs(60),
            concurrent_runs: 8,
        }
    }
}

/// `[outbox]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OutboxSettings {
    /// Short waits, for chains on this machine.
    pub development: bool,
}

/// `[health]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HealthConfig {
    /// Where `/livez`, `/readyz`, `/metrics` and `/v1/status` are served, on loopback. Left out: nowhere.
    pub listen: Option<SocketAddr>,
}

impl Config {
    /// Where the key is.
    pub fn key_path(&self) -> PathBuf {
        self.key_file.clone().unwrap_or_else(|| self.data_dir.join("validator.key"))
    }

    /// The class to be proven.
    pub fn class(&self) -> Result<ProofClass, ExitError> {
        ProofClass::by_name(&self.proof.class).ok_or_else(|| {
            let known: Vec<&str> = ProofClass::ALL.iter().map(|class| class.name).collect();
            let text = format!(
                "proof.class = \"{}\" is no class; choose one of {}",
                self.proof.class,
                known.join(", ")
            );
            ExitError::new(Exit::BadConfig, text)
        })
    }

    /// How patient the outbox is.
    pub fn outbox(&self) -> OutboxConfig {
        let base =
            if self.outbox.development { OutboxConfig::development() } else { OutboxConfig::default() };
        OutboxConfig { confirmations: self.chain.confirmations, ..base }
    }

    /// What no type can say.
    pub fn validate(&self) -> Result<(), ExitError> {
        let wrong = |text: &str| Err(ExitError::new(Exit::BadConfig, text.to_owned()));
        self.class()?;
        if self.network.listen.is_empty() {
            return wrong("network.listen names no address: workers could not dial this validator");
        }
        if self.proof.concurrent_runs == 0 {
            return wrong("proof.concurrent_runs is 0: nothing would ever be proven");
        }
        if self.health.listen.is_some_and(|address| !address.ip().is_loopback()) {
            return wrong("health.listen is not loopback: it is plain HTTP; put a proxy in front of it");
        }
        Ok(())
    }
}

fn default_poll() -> Duration {
    Duration::from_secs(2)
}

fn default_per_address() -> usize {
    1_024
}

/// Reads and checks the configuration.
pub fn load(file: Option<&Path>) -> Result<Config, anyhow::Error> {
    let config: Result<Config, ConfigError> = config::load(file, "LODE_VALIDATOR", toml::Table::new());
    let config = config?;
    config.validate()?;
    Ok(config)
}
