//! Configuration: file < environment (`LODE_VALIDATOR__…`).

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lode_contracts::{Amount, OutboxConfig};
use lode_gpu_proof::ProofClass;
use lode_network::{GuardPolicy, HttpsAddress, PeerAddress};
use lode_program::config::{self, ConfigError, duration};
use lode_program::exit::{Exit, ExitError};
use serde::Deserialize;

use crate::core::Accusing;

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
    /// Whether forgers are accused.
    #[serde(default)]
    pub accusations: AccusationsConfig,
    /// What is fetched from addresses that others name.
    #[serde(default)]
    pub fetch: FetchConfig,
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

/// `[accusations]`. Voting needs no setting: whoever has weight votes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AccusationsConfig {
    /// Accuse nodes that sign forged proofs. Each accusation takes a bond of this validator's tokens, which is lost if
    /// the others do not find the node guilty. Evidence is kept, served and judged either way.
    pub accuse: bool,
    /// Stake to accuse for, in tokens; the contract may allow less.
    pub amount: Amount,
    /// Where `/evidence/…` (on `health.listen`) is reached by others, as `https://host[:port]`. Needed for accusing.
    pub public_url: Option<String>,
    /// Most accusations under way, each with its bond.
    pub most_open: usize,
}

impl Default for AccusationsConfig {
    fn default() -> Self {
        Self { accuse: false, amount: Amount::tokens(1_000), public_url: None, most_open: 4 }
    }
}

/// `[fetch]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FetchConfig {
    /// Fetch evidence, answers and books also from addresses that are not public: for development only.
    pub private_addresses: bool,
    /// Time for one request.
    #[serde(with = "duration")]
    pub timeout: Duration,
}

impl Default for FetchConfig {
    fn default() -> Self {
        Self { private_addresses: false, timeout: Duration::from_secs(30) }
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
    /// Where `/livez`, `/readyz`, `/metrics`, `/v1/status` and `/evidence/…` are served, on loopback. Left out: nowhere.
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

    /// How forgers are accused, if they are.
    pub fn accusing(&self) -> Result<Option<Accusing>, ExitError> {
        let AccusationsConfig { accuse, amount, public_url, most_open } = &self.accusations;
        if !accuse {
            return Ok(None);
        }
        let wrong = |text: String| Err(ExitError::new(Exit::BadConfig, text));
        let Some(public_url) = public_url else {
            return wrong(
                "accusations.accuse needs accusations.public_url: others must see the evidence".to_owned(),
            );
        };
        if let Err(error) = public_url.parse::<HttpsAddress>() {
            return wrong(format!("accusations.public_url cannot be reached by others: {error}"));
        }
        if self.health.listen.is_none() {
            return wrong("accusations.accuse needs health.listen, which serves the evidence".to_owned());
        }
        if *amount == Amount::ZERO || *most_open == 0 {
            return wrong("accusations.amount or most_open is 0: nobody could be accused".to_owned());
        }
        Ok(Some(Accusing { amount: *amount, public_url: public_url.clone(), most_open: *most_open }))
    }

    /// What may be fetched.
    pub fn fetch(&self) -> GuardPolicy {
        let FetchConfig { private_addresses, timeout } = self.fetch;
        GuardPolicy { private_addresses, timeout }
    }

    /// What no type can say.
    pub fn validate(&self) -> Result<(), ExitError> {
        let wrong = |text: &str| Err(ExitError::new(Exit::BadConfig, text.to_owned()));
        self.class()?;
        self.accusing()?;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(more: &str) -> Result<Option<Accusing>, String> {
        let text = format!(
            "data_dir = \"/d\"\n[chain]\nrpc_url = \"http://127.0.0.1:1\"\ndeployment = \"/x\"\n\
             [network]\nlisten = [\"/ip4/127.0.0.1/tcp/1\"]\n{more}"
        );
        let config: Config = toml::from_str(&text).map_err(|error| error.to_string())?;
        config.validate().map_err(|error| error.to_string())?;
        config.accusing().map_err(|error| error.to_string())
    }

    #[test]
    fn nobody_is_accused_unless_the_operator_says_so_and_others_can_see_why() {
        assert_eq!(read(""), Ok(None));
        let on = "[accusations]\naccuse = true\n";
        assert!(read(on).unwrap_err().contains("public_url"));
        let url = "public_url = \"https://v.example\"\n";
        assert!(read(&format!("{on}{url}")).unwrap_err().contains("health.listen"));
        let health = "[health]\nlisten = \"127.0.0.1:1\"\n";
        let accusing = read(&format!("{on}{url}amount = \"12.5\"\n{health}")).unwrap().unwrap();
        assert_eq!(accusing.amount, "12.5".parse().unwrap());
        let plain = "public_url = \"http://v.example\"\n";
        assert!(read(&format!("{on}{plain}{health}")).unwrap_err().contains("cannot be reached"));
    }
}
