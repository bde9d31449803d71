//! Configuration: file < environment (`LODE_VALIDATOR__…`).

use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::http::Uri;
use lode_contracts::{Amount, OutboxConfig};
use lode_daemon::{ChainConfig, ChainUse};
use lode_gpu_proof::ProofClass;
use lode_network::{FetchPolicy, FramePace, HttpsAddress, PeerAddress, StrangerLimits};
use lode_program::config::{self, ConfigError, byte_size, duration};
use lode_program::exit::{Exit, ExitError};
use serde::{Deserialize, Deserializer};

use crate::core::Accusing;
use crate::inquiry::{InquiryLimits, LEAST_PER_AUDIT};

pub use lode_daemon::HealthConfig;

/// It follows the deployment: it belongs to no pool.
const CHAIN: ChainUse =
    ChainUse { pool: false, poll_interval: Duration::from_secs(2), confirmations: true, stale_after: false };

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
    #[serde(deserialize_with = "chain")]
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
    /// `/livez`, `/readyz`, `/metrics`, `/v1/status` and `/evidence/…` over HTTP, on loopback.
    #[serde(default)]
    pub health: HealthConfig,
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
    /// Workers that may be connected at once.
    #[serde(default = "default_connections")]
    pub connections: usize,
    /// Connections from one IP address (IPv6: from one /64); many workers may share one.
    #[serde(default = "default_per_address")]
    pub connections_per_address: usize,
    /// What is borne of nodes that no directory lists or that are not registered.
    #[serde(default)]
    pub strangers: StrangerLimits,
    /// How slow messages may come.
    #[serde(default)]
    pub frames: FramePace,
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
    /// Bytes a second that an answer must bring, once `grace` is over: who sends less is left.
    #[serde(with = "byte_size")]
    pub least_rate: u64,
    /// From when on the rate counts.
    #[serde(with = "duration")]
    pub grace: Duration,
    /// Time for one look: at a piece of evidence, or at all that a root adds. A first look at a root or redemption has an
    /// eighth of it.
    #[serde(with = "duration")]
    pub longest: Duration,
    /// Pools whose roots are looked at at once, and as many whose redemptions are. One pool has one look of each kind.
    pub audits: usize,
    /// Pieces of evidence that are looked at at once. They do not wait for books, nor books for them.
    pub evidence: usize,
    /// What all looks at books may hold together, about: each of them an equal part of it.
    #[serde(with = "byte_size")]
    pub memory: u64,
}

impl Default for FetchConfig {
    fn default() -> Self {
        Self {
            private_addresses: false,
            timeout: Duration::from_secs(30),
            least_rate: 64 << 10,
            grace: Duration::from_secs(10),
            longest: Duration::from_secs(300),
            audits: 8,
            evidence: 4,
            memory: 1 << 30,
        }
    }
}

impl FetchConfig {
    fn bytes_per_audit(&self) -> usize {
        let memory = usize::try_from(self.memory).unwrap_or(usize::MAX);
        memory.checked_div(self.audits.saturating_mul(2)).unwrap_or(0)
    }
}

/// `[outbox]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OutboxSettings {
    /// Short waits, for chains on this machine.
    pub development: bool,
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
        self.chain.outbox(base)
    }

    /// Health, which answers also under the name that others find the evidence by.
    pub fn health(&self) -> HealthConfig {
        let url = self.accusations.public_url.as_deref().and_then(|url| url.parse::<Uri>().ok());
        let mut health = self.health.clone();
        health.hosts.extend(url.as_ref().and_then(Uri::host).map(ToOwned::to_owned));
        health
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

    /// Connections that are taken, with the names of the settings.
    pub fn connections(&self) -> [(&'static str, usize); 3] {
        [
            self.health.connections(),
            ("network.connections", self.network.connections),
            // They are no connections yet, and open files all the same.
            ("network.strangers.handshakes", self.network.strangers.handshakes),
        ]
    }

    /// What may be fetched, and held.
    pub fn inquiry(&self) -> InquiryLimits {
        let FetchConfig { private_addresses, timeout, least_rate, grace, longest, evidence, .. } = self.fetch;
        let policy = FetchPolicy { private_addresses, timeout, least_rate, grace };
        InquiryLimits { policy, evidence, longest, bytes_per_audit: self.fetch.bytes_per_audit() }
    }

    /// What no type can say.
    pub fn validate(&self) -> Result<(), ExitError> {
        let wrong = |text: &str| Err(ExitError::new(Exit::BadConfig, text.to_owned()));
        self.class()?;
        self.accusing()?;
        if self.network.listen.is_empty() {
            return wrong("network.listen names no address: workers could not dial this validator");
        }
        if let Some(setting) = self.network.strangers.shuts_out() {
            return wrong(&format!("network.strangers.{setting} is 0: no worker could connect"));
        }
        if self.network.frames.slowest.0 == 0 {
            return wrong("network.frames.slowest is 0: give a rate, like \"64KiB\" a second");
        }
        if self.proof.concurrent_runs == 0 {
            return wrong("proof.concurrent_runs is 0: nothing would ever be proven");
        }
        if self.fetch.audits == 0 || self.fetch.evidence == 0 {
            return wrong(
                "fetch.audits or fetch.evidence is 0: nothing would ever be looked at, and all be vetoed",
            );
        }
        if self.fetch.bytes_per_audit() < LEAST_PER_AUDIT {
            return wrong(
                "fetch.memory is too little for so many fetch.audits: each look at roots and redemptions needs 48MiB",
            );
        }
        self.health.validate()?;
        if self.health.listen.is_some_and(|address| !address.ip().is_loopback()) {
            return wrong("health.listen is not loopback: it is plain HTTP; put a proxy in front of it");
        }
        Ok(())
    }
}

/// `[chain]`
fn chain<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ChainConfig, D::Error> {
    ChainConfig::read(deserializer, &CHAIN)
}

fn default_connections() -> usize {
    10_000
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

    fn text_of(more: &str) -> String {
        format!(
            "data_dir = \"/d\"\n[chain]\nrpc_url = \"http://127.0.0.1:1\"\ndeployment = \"/x\"\n\
             [network]\nlisten = [\"/ip4/127.0.0.1/tcp/1\"]\n{more}"
        )
    }

    fn read(more: &str) -> Result<Option<Accusing>, String> {
        let config: Config = toml::from_str(&text_of(more)).map_err(|error| error.to_string())?;
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
        let proxied: Config = toml::from_str(&text_of(&format!("{on}{url}{health}"))).unwrap();
        assert_eq!(proxied.health().hosts, ["v.example"], "a proxy passes the name on");
        let accusing = read(&format!("{on}{url}amount = \"12.5\"\n{health}")).unwrap().unwrap();
        assert_eq!(accusing.amount, "12.5".parse().unwrap());
        let plain = "public_url = \"http://v.example\"\n";
        assert!(read(&format!("{on}{plain}{health}")).unwrap_err().contains("cannot be reached"));
    }

    #[test]
    fn handshakes_are_open_files_too_and_no_time_is_nothing() {
        let config: Config =
            toml::from_str(&text_of("connections = 7\n[network.strangers]\nhandshakes = 5\n")).unwrap();
        let files: usize = config.connections().iter().map(|(_, count)| count).sum();
        assert_eq!(files, 12);
        let refused = read("[health.http]\nheader_timeout = \"0s\"\n").unwrap_err();
        assert!(refused.contains("health.http.header_timeout"), "{refused}");
    }

    #[test]
    fn looks_have_memory_for_a_page_each_and_there_is_at_least_one() {
        let with = |text: &str| read(&format!("[fetch]\n{text}\n"));
        assert_eq!(with("audits = 2\nmemory = \"192MiB\"\nleast_rate = \"1KiB\""), Ok(None));
        assert!(with("audits = 2\nmemory = \"191MiB\"").unwrap_err().contains("fetch.memory"));
        assert!(with("audits = 0").unwrap_err().contains("fetch.audits"));
        assert!(with("evidence = 0").unwrap_err().contains("fetch.evidence"));
    }
}
