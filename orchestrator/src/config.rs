//! The orchestrator's configuration: file (TOML) < environment (`LODE_ORCHESTRATOR__…`) < flags. The only reader of
//! either. Everything that can be wrong about a value is said here, before anything starts.

mod arguments;
mod chain;
mod images;
mod limits;
mod listen;
mod requirements;
mod settlement;

use std::path::{Path, PathBuf};

use lode_daemon::{ChainConfig, HealthConfig};
use lode_program::config::{ConfigError, load};
use lode_program::{Exit, ExitError};
use lode_protocol::ids::{Address, PoolId};
use serde::Deserialize;

use crate::core::config::{DeclaredMaximum, Tunables};

pub use arguments::{Arguments, Command};
pub use chain::DiscoveryConfig;
pub use images::ImagesConfig;
pub use limits::LimitsConfig;
pub use listen::{ApiConfig, WireConfig};
pub use requirements::RequirementsConfig;
pub use settlement::SettlementConfig;

/// Prefix of environment variables.
pub const ENVIRONMENT_PREFIX: &str = "LODE_ORCHESTRATOR";

/// Everything that can be set.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
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
    #[serde(deserialize_with = "chain::chain")]
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
    pub terms: Tunables,
    /// What a node must be.
    #[serde(default)]
    pub requirements: RequirementsConfig,
    /// The most that one replica can ever get.
    #[serde(default)]
    pub declared: Option<DeclaredMaximum>,
    /// What work is paid; left out: nothing.
    #[serde(default)]
    pub settlement: Option<SettlementConfig>,
    /// Bounds on what others can make it remember and do.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// How images are resolved.
    #[serde(default)]
    pub images: ImagesConfig,
    /// Health and metrics, for the operator.
    #[serde(default)]
    pub health: HealthConfig,
}

fn default_data_dir() -> PathBuf {
    PathBuf::from("/var/lib/lode-orchestrator")
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
        self.chain.pool
    }

    /// Connections that are taken, with the names of the settings.
    pub fn connections(&self) -> Vec<(&'static str, usize)> {
        let http = ("limits.http.max_connections", self.limits.http.max_connections);
        let mut connections = vec![
            ("wire.max_connections", self.wire.max_connections),
            // They are no connections yet, and open files all the same.
            ("wire.strangers.handshakes", self.wire.strangers.handshakes),
            http,
        ];
        // The API has one listener, the workers' fallback another one.
        connections.extend(self.wire.https.map(|_| http));
        connections.push(self.health.connections());
        connections
    }

    /// What no type can say.
    pub fn validate(&self) -> Result<(), ExitError> {
        let wrong = |text: String| Err(ExitError::new(Exit::BadConfig, text));
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
        if let Some(setting) = self.wire.strangers.shuts_out() {
            return wrong(format!("wire.strangers.{setting} is 0: no worker could connect"));
        }
        if self.wire.http_requests_per_address == 0 {
            return wrong("wire.http_requests_per_address is 0: no worker could use wire.https".to_owned());
        }
        if self.wire.frames.slowest.0 == 0 {
            return wrong("wire.frames.slowest is 0: give a rate, like \"64KiB\" a second".to_owned());
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
        if let Some(settlement) = &self.settlement {
            settlement.for_core(Address::ZERO)?;
        }
        self.limits.validate()?;
        self.health.validate()?;
        self.requirements.for_core().map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lode_program::config::load_from;
    use lode_protocol::hash::Digest;
    use lode_protocol::proof::ProofClassId;
    use lode_protocol::units::{Bytes, MilliCpus, Millis};

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
             http_requests_per_address = 7\n\
             [wire.strangers]\nhandshakes = 9\npatience = \"1m\"\nunfinished_frames = \"2MiB\"\n\
             [wire.frames]\ngrace = \"3s\"\nslowest = \"16KiB\"\n\
             [terms]\nbeat_interval = \"2s\"\nsuspect_after = \"6s\"\nlost_after = \"12s\"\n\
             [requirements]\nrequire_proof = false\nengine = \"20.10\"\ngpu_memory = \"16GiB\"\n\
             [declared]\ngpus = 8\ncpus = 64\n[limits]\nevents = 10\nunregistered = 5\nevents_age = \"7d\"\n\
             messages_per_second = 8\nreport_bytes_burst = \"3MiB\"\n\
             [settlement]\nprice_per_gpu_hour = \"1.5\"\nclass_prices = {{ 2 = \"3\" }}\nkept_epochs = 7\n"
        ))
        .unwrap();
        config.validate().unwrap();
        let deployment = deployment();
        let core = config.for_core(&deployment, Digest([7; 32])).unwrap();
        assert_eq!(core.requirements.engine, Some((20, 10)));
        assert_eq!(core.requirements.proof, None);
        assert_eq!(core.terms.lost_after, Millis::seconds(12));
        assert_eq!(core.limits.unregistered, 5);
        let wire = &config.wire;
        assert_eq!(wire.http_requests_per_address, 7);
        assert_eq!((wire.strangers.handshakes, wire.strangers.patience), (9, Millis::seconds(60)));
        assert_eq!(wire.strangers.unfinished_frames, Bytes::mebi(2));
        assert_eq!((wire.frames.grace, wire.frames.slowest), (Millis::seconds(3), Bytes(16 << 10)));
        assert_eq!((core.limits.messages.per_second, core.limits.report_bytes.burst), (8, 3 << 20));
        let kept = config.limits.retention();
        assert_eq!((kept.tasks, kept.age), (10, Millis::seconds(7 * 24 * 3_600)));
        assert_eq!(core.declared.unwrap().cpus, MilliCpus(64_000));
        let settlement = core.settlement.unwrap();
        assert_eq!(settlement.prices.of(ProofClassId(1)).to_string(), "1.5");
        assert_eq!(settlement.prices.highest().to_string(), "3");
        assert_eq!((settlement.kept_epochs, settlement.rewards_contract), (7, deployment.rewards));
    }

    fn deployment() -> lode_contracts::Deployment {
        let address = Address([1; 20]);
        lode_contracts::Deployment {
            chain_id: lode_protocol::ids::ChainId(1),
            block: 0,
            rpc_url: None,
            token: address,
            registry: address,
            pools: address,
            validators: address,
            slashing: address,
            rewards: address,
            commit: None,
            code_hashes: Default::default(),
        }
    }

    #[test]
    fn a_configuration_that_cannot_work_is_refused_with_its_reason() {
        for (extra, reason) in [
            ("[terms]\nlost_after = \"5s\"\n", "terms.lost_after"),
            ("[wire]\nhttps = \"0.0.0.0:1\"\nhttps_plain = true\n", "https_plain"),
            ("[wire.strangers]\npatience = \"0s\"\n", "wire.strangers.patience"),
            ("[wire]\nhttp_requests_per_address = 0\n", "wire.http_requests_per_address"),
            ("[wire.frames]\nslowest = 0\n", "wire.frames.slowest"),
            ("[api]\ntls_cert = \"/c\"\n", "tls_key"),
            ("[requirements]\nengine = \"new\"\n", "requirements.engine"),
            ("[limits]\nmessage_burst = 0\n", "limits.message_burst"),
            ("[limits.http]\nwrite_timeout = \"0s\"\n", "limits.http.write_timeout"),
            ("[settlement]\nprice_per_gpu_hour = \"2000000\"\n", "price"),
            ("[settlement]\nprice_per_gpu_hour = \"1\"\nclass_prices = { big = \"3\" }\n", "class"),
        ] {
            let error = read(&format!("{LEAST}{extra}")).unwrap().validate().unwrap_err();
            assert!(error.to_string().contains(reason), "{error}");
        }
    }
}
