//! The orchestrator's configuration: file (TOML) < environment (`LODE_ORCHESTRATOR__…`) < flags. The only reader of
//! either. Everything that can be wrong about a value is said here, before anything starts.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Parser, Subcommand};
use lode_network::PeerAddress;
use lode_program::config::{ConfigError, duration, load};
use lode_program::telemetry::LogArgs;
use lode_program::{Exit, ExitError};
use lode_protocol::hash::Digest;
use lode_protocol::ids::PoolId;
use lode_protocol::units::{Bytes, MilliCpus, Millis};
use serde::Deserialize;

use crate::core::config as core_config;

/// Prefix of environment variables.
pub const ENVIRONMENT_PREFIX: &str = "LODE_ORCHESTRATOR";

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "lode-orchestrator",
    version,
    about = "Admits nodes to a pool, places its tasks, keeps them running."
)]
pub struct Arguments {
    /// Configuration file (TOML).
    #[arg(long, env = "LODE_ORCHESTRATOR_CONFIG", global = true)]
    pub config: Option<PathBuf>,
    /// Data directory, over the configuration's.
    #[arg(long, global = true)]
    pub data_dir: Option<PathBuf>,
    /// Logging.
    #[command(flatten)]
    pub log: LogArgs,
    /// What to do; `run` if left out.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Subcommand)]
pub enum Command {
    /// Run until stopped.
    Run,
    /// Print the API's OpenAPI description.
    Openapi,
}

/// Everything that can be set.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    /// Where the orchestrator keeps what it must remember. Created with mode 0700; one process per directory.
    #[serde(default = "default_data_dir")]
    pub data_dir: PathBuf,
    /// The pool's orchestrator key as hexadecimal digits, mode 0600. Default: `orchestrator.key` in the data directory.
    #[serde(default)]
    pub key_file: Option<PathBuf>,
    /// Where the API's token is written at first start. Default: `token` in the data directory.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// The chain and the pool.
    pub chain: ChainConfig,
    /// The public directories.
    #[serde(default)]
    pub discovery: DiscoveryConfig,
    /// The REST API.
    #[serde(default)]
    pub api: ApiConfig,
    /// Where workers reach the orchestrator.
    #[serde(default)]
    pub wire: WireConfig,
    /// Leases, deadlines, back-offs.
    #[serde(default)]
    pub terms: TermsConfig,
    /// What a node must be.
    #[serde(default)]
    pub requirements: RequirementsConfig,
    /// The most that one replica can ever get.
    #[serde(default)]
    pub declared: Option<DeclaredConfig>,
    /// Bounds on memory.
    #[serde(default)]
    pub limits: LimitsConfig,
}

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

/// `[api]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct ApiConfig {
    /// Where REST, health and metrics are served. Plain HTTP on loopback only.
    pub listen: SocketAddr,
    /// Certificate chain (PEM); with `tls_key`.
    pub tls_cert: Option<PathBuf>,
    /// Its key (PEM).
    pub tls_key: Option<PathBuf>,
    /// Host names that are accepted besides loopback ones, where the API listens on loopback.
    pub hosts: Vec<String>,
}

impl Default for ApiConfig {
    fn default() -> Self {
        ApiConfig {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7_070),
            tls_cert: None,
            tls_key: None,
            hosts: Vec::new(),
        }
    }
}

/// `[wire]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct WireConfig {
    /// libp2p addresses to listen on.
    pub listen: Vec<PeerAddress>,
    /// Where the HTTPS fallback is served, if anywhere.
    pub https: Option<SocketAddr>,
    /// Plain HTTP for the fallback; on loopback only.
    pub https_plain: bool,
    /// Certificate chain (PEM); with `tls_key`. Left out: a self-signed one, kept in the data directory.
    pub tls_cert: Option<PathBuf>,
    /// Its key (PEM).
    pub tls_key: Option<PathBuf>,
    /// Workers that may be connected at once.
    pub max_connections: usize,
    /// Of these, from one IP address.
    pub max_connections_per_address: usize,
}

impl Default for WireConfig {
    fn default() -> Self {
        WireConfig {
            listen: vec![PeerAddress::tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 7_000))],
            https: None,
            https_plain: false,
            tls_cert: None,
            tls_key: None,
            max_connections: 10_000,
            max_connections_per_address: 256,
        }
    }
}

/// `[terms]`: see [`core_config::Terms`].
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "each field is documented where the core defines it")]
pub struct TermsConfig {
    pub beat_interval: Millis,
    pub suspect_after: Millis,
    pub lost_after: Millis,
    pub most_beats_per_second: u32,
    pub invite_lifetime: Millis,
    pub join_deadline: Millis,
    pub admission_deadline: Millis,
    pub first_beat_deadline: Millis,
    pub cooldown: Millis,
    pub most_attempts: u32,
    pub start_deadline: Millis,
    pub retry_first: Millis,
    pub retry_most: Millis,
    pub avoid: Millis,
    pub forgive_after: Millis,
}

impl Default for TermsConfig {
    fn default() -> Self {
        let terms = core_config::Terms::default();
        TermsConfig {
            beat_interval: terms.beat_interval,
            suspect_after: terms.suspect_after,
            lost_after: terms.lost_after,
            most_beats_per_second: terms.most_beats_per_second,
            invite_lifetime: terms.invite_lifetime,
            join_deadline: terms.join_deadline,
            admission_deadline: terms.admission_deadline,
            first_beat_deadline: terms.first_beat_deadline,
            cooldown: terms.cooldown,
            most_attempts: terms.most_attempts,
            start_deadline: terms.start_deadline,
            retry_first: terms.retry_first,
            retry_most: terms.retry_most,
            avoid: terms.avoid,
            forgive_after: terms.forgive_after,
        }
    }
}

/// `[requirements]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct RequirementsConfig {
    /// Whether a node with GPUs must have a proof that counts now.
    pub require_proof: bool,
    /// Least class that must be proven.
    pub class: u32,
    /// Whether nodes without GPUs may join.
    pub allow_cpu_only: bool,
    /// Oldest container engine, like `20.10`.
    pub engine: Option<String>,
    /// Fewest GPUs of a node that has any.
    pub gpus: u32,
    /// Least memory of each GPU.
    pub gpu_memory: Bytes,
}

impl Default for RequirementsConfig {
    fn default() -> Self {
        RequirementsConfig {
            require_proof: true,
            class: 0,
            allow_cpu_only: false,
            engine: None,
            gpus: 0,
            gpu_memory: Bytes(0),
        }
    }
}

/// `[declared]`: what is left out is not declared, and counts as boundless.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "each field is documented where the core defines it")]
pub struct DeclaredConfig {
    pub gpus: u32,
    pub gpu_memory: Bytes,
    pub gpu_models: Vec<String>,
    pub cpus: MilliCpus,
    pub memory: Bytes,
    pub disk: Bytes,
    pub total_gpus: u32,
}

impl Default for DeclaredConfig {
    fn default() -> Self {
        DeclaredConfig {
            gpus: u32::MAX,
            gpu_memory: Bytes(u64::MAX),
            gpu_models: Vec::new(),
            cpus: MilliCpus(u32::MAX),
            memory: Bytes(u64::MAX),
            disk: Bytes(u64::MAX),
            total_gpus: u32::MAX,
        }
    }
}

/// `[limits]`
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default)]
pub struct LimitsConfig {
    /// Tasks that are kept.
    pub tasks: u32,
    /// Nodes without registration that are remembered.
    pub strangers: u32,
    /// Entries of the event log that are kept.
    pub events: usize,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        let limits = core_config::Limits::default();
        LimitsConfig { tasks: limits.tasks, strangers: limits.strangers, events: 100_000 }
    }
}

fn default_data_dir() -> PathBuf {
    PathBuf::from("/var/lib/lode-orchestrator")
}

fn two_seconds() -> Duration {
    Duration::from_secs(2)
}

fn thirty_seconds() -> Duration {
    Duration::from_secs(30)
}

impl Config {
    /// Reads file, environment and flags.
    pub fn load(arguments: &Arguments) -> Result<Self, ConfigError> {
        let mut flags = toml::Table::new();
        if let Some(path) = &arguments.data_dir {
            flags.insert("data_dir".to_owned(), path.display().to_string().into());
        }
        Self::load_file(arguments.config.as_deref(), flags)
    }

    fn load_file(file: Option<&Path>, flags: toml::Table) -> Result<Self, ConfigError> {
        load(file, ENVIRONMENT_PREFIX, flags)
    }

    /// Where the orchestrator's key is.
    pub fn key_path(&self) -> PathBuf {
        self.key_file.clone().unwrap_or_else(|| self.data_dir.join("orchestrator.key"))
    }

    /// Where the API's token is written.
    pub fn token_path(&self) -> PathBuf {
        self.token_file.clone().unwrap_or_else(|| self.data_dir.join("token"))
    }

    /// The pool.
    pub fn pool(&self) -> PoolId {
        PoolId(self.chain.pool)
    }

    /// What no type can say.
    pub fn validate(&self) -> Result<(), ExitError> {
        let wrong = |text: String| Err(ExitError::new(Exit::BadConfig, text));
        if self.chain.pool == 0 {
            return wrong("chain.pool is 0; pools are numbered from 1".to_owned());
        }
        if self.chain.poll_interval < Duration::from_millis(50) {
            return wrong("chain.poll_interval is below 50ms".to_owned());
        }
        for (name, cert, key) in [
            ("api", &self.api.tls_cert, &self.api.tls_key),
            ("wire", &self.wire.tls_cert, &self.wire.tls_key),
        ] {
            if cert.is_some() != key.is_some() {
                return wrong(format!(
                    "{name}.tls_cert and {name}.tls_key belong together; set both or neither"
                ));
            }
        }
        if self.wire.https_plain && !self.wire.https.is_some_and(|address| address.ip().is_loopback()) {
            return wrong("wire.https_plain needs wire.https on a loopback address".to_owned());
        }
        if self.wire.listen.is_empty() && self.wire.https.is_none() {
            return wrong(
                "wire.listen is empty and wire.https is not set: no worker could reach this".to_owned(),
            );
        }
        let terms = &self.terms;
        if terms.beat_interval.0 == 0 || terms.suspect_after <= terms.beat_interval {
            return wrong(
                "terms.suspect_after must be longer than terms.beat_interval, which must not be 0".to_owned(),
            );
        }
        if terms.lost_after <= terms.suspect_after {
            return wrong("terms.lost_after must be longer than terms.suspect_after".to_owned());
        }
        if terms.most_beats_per_second == 0 {
            return wrong("terms.most_beats_per_second is 0".to_owned());
        }
        self.engine().map(drop)
    }

    fn engine(&self) -> Result<Option<(u32, u32)>, ExitError> {
        let Some(text) = &self.requirements.engine else { return Ok(None) };
        let mut parts = text.split('.');
        let version = parts.next().and_then(|part| part.parse().ok()).zip(match parts.next() {
            None => Some(0),
            Some(part) => part.parse().ok(),
        });
        version.map(Some).ok_or_else(|| {
            ExitError::new(
                Exit::BadConfig,
                format!("requirements.engine = {text:?} is not a version; write like \"20.10\""),
            )
        })
    }

    /// What the core must know. `terms` is the hash of the pool's requirements on chain.
    pub fn for_core(
        &self,
        deployment: &lode_contracts::Deployment,
        terms_hash: Digest,
    ) -> Result<core_config::Config, ExitError> {
        let terms = self.terms;
        let requirements = &self.requirements;
        Ok(core_config::Config {
            chain: deployment.chain_id,
            pools_contract: deployment.pools,
            pool: self.pool(),
            terms_hash,
            terms: core_config::Terms {
                beat_interval: terms.beat_interval,
                suspect_after: terms.suspect_after,
                lost_after: terms.lost_after,
                most_beats_per_second: terms.most_beats_per_second,
                invite_lifetime: terms.invite_lifetime,
                join_deadline: terms.join_deadline,
                admission_deadline: terms.admission_deadline,
                first_beat_deadline: terms.first_beat_deadline,
                cooldown: terms.cooldown,
                most_attempts: terms.most_attempts,
                start_deadline: terms.start_deadline,
                retry_first: terms.retry_first,
                retry_most: terms.retry_most,
                avoid: terms.avoid,
                forgive_after: terms.forgive_after,
            },
            requirements: core_config::Requirements {
                proof: requirements.require_proof.then_some(requirements.class),
                allow_cpu_only: requirements.allow_cpu_only,
                engine: self.engine()?,
                gpus: requirements.gpus,
                gpu_memory: requirements.gpu_memory,
            },
            declared: self.declared.as_ref().map(|declared| core_config::DeclaredMaximum {
                gpus: declared.gpus,
                gpu_memory: declared.gpu_memory,
                gpu_models: declared.gpu_models.clone(),
                cpus: declared.cpus,
                memory: declared.memory,
                disk: declared.disk,
                total_gpus: declared.total_gpus,
            }),
            limits: core_config::Limits {
                tasks: self.limits.tasks,
                strangers: self.limits.strangers,
                ..core_config::Limits::default()
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lode_program::config::load_from;

    const LEAST: &str = "[chain]\nrpc_url = \"http://127.0.0.1:1\"\ndeployment = \"d.json\"\npool = 1\n";

    fn read(text: &str) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("o.toml");
        std::fs::write(&path, text).unwrap();
        load_from(Some(&path), ENVIRONMENT_PREFIX, Vec::new(), toml::Table::new())
    }

    #[test]
    fn the_least_configuration_is_the_chain_and_the_rest_has_defaults() {
        let config = read(LEAST).unwrap();
        config.validate().unwrap();
        assert_eq!(config.key_path(), Path::new("/var/lib/lode-orchestrator/orchestrator.key"));
        assert_eq!(config.terms.lost_after, Millis::seconds(60));
        assert_eq!(config.wire.listen.len(), 1);
    }

    #[test]
    fn every_section_reads_what_the_documentation_says() {
        let config = read(&format!(
            "data_dir = \"/d\"\ntoken_file = \"/t\"\n{LEAST}poll_interval = \"500ms\"\n\
             [discovery]\nurls = [\"http://127.0.0.1:2\"]\n[api]\nlisten = \"127.0.0.1:0\"\nhosts = [\"pool.example\"]\n\
             [wire]\nlisten = [\"/ip4/127.0.0.1/tcp/0\"]\nhttps = \"127.0.0.1:0\"\nhttps_plain = true\n\
             [terms]\nbeat_interval = \"2s\"\nsuspect_after = \"6s\"\nlost_after = \"12s\"\n\
             [requirements]\nrequire_proof = false\nengine = \"20.10\"\ngpu_memory = \"16GiB\"\n\
             [declared]\ngpus = 8\ncpus = 64\n[limits]\nevents = 10\n"
        ))
        .unwrap();
        config.validate().unwrap();
        let deployment = deployment();
        let core = config.for_core(&deployment, Digest([7; 32])).unwrap();
        assert_eq!(core.requirements.engine, Some((20, 10)));
        assert_eq!(core.requirements.proof, None);
        assert_eq!(core.terms.lost_after, Millis::seconds(12));
        assert_eq!(core.declared.unwrap().cpus, MilliCpus(64_000));
    }

    fn deployment() -> lode_contracts::Deployment {
        let address = lode_protocol::ids::Address([1; 20]);
        lode_contracts::Deployment {
            chain_id: lode_protocol::ids::ChainId(1),
            block: 0,
            rpc_url: None,
            token: address,
            registry: address,
            pools: address,
            validators: address,
            commit: None,
        }
    }

    #[test]
    fn a_configuration_that_cannot_work_is_refused_with_its_reason() {
        for (extra, reason) in [
            ("[terms]\nlost_after = \"5s\"\n", "terms.lost_after"),
            ("[wire]\nhttps = \"0.0.0.0:1\"\nhttps_plain = true\n", "https_plain"),
            ("[api]\ntls_cert = \"/c\"\n", "tls_key"),
            ("[requirements]\nengine = \"new\"\n", "requirements.engine"),
        ] {
            let error = read(&format!("{LEAST}{extra}")).unwrap().validate().unwrap_err();
            assert!(error.to_string().contains(reason), "{error}");
        }
    }
}
