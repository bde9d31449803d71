//! The worker's configuration: file (TOML) < environment (`LODE_WORKER__…`) < flags. The only reader of either.
//!
//! Everything that can be wrong about a value is said here, before anything starts.

mod docker;
mod images;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lode_daemon::{ChainConfig, ChainUse, HealthConfig};
use lode_gpu::GpuName;
use lode_network::{EndpointUrl, PeerAddress};
use lode_program::config::{ConfigError, byte_size, duration, load};
use lode_program::{Exit, ExitError};
use lode_protocol::ids::PoolId;
use lode_protocol::units::{Bytes, MilliCpus};
use serde::{Deserialize, Deserializer};

use crate::endpoints::EndpointPolicy;
pub use docker::DockerConfig;
pub use images::ImagesConfig;

/// Prefix of environment variables.
pub const ENVIRONMENT_PREFIX: &str = "LODE_WORKER";
/// Name of the local socket in the data directory.
pub const SOCKET_NAME: &str = "worker.sock";
/// Name of the store in the data directory.
pub const STORE_NAME: &str = "worker.redb";

/// Nothing that is done over and over is done more often.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

/// It asks for the pool and its own membership. There are many workers for one pool.
const CHAIN: ChainUse =
    ChainUse { pool: true, poll_interval: Duration::from_secs(10), confirmations: false, stale_after: false };

/// Everything that can be set.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the worker keeps what it must remember. Created with mode 0700; one worker per directory.
    #[serde(default = "default_data_dir")]
    pub data_dir: PathBuf,
    /// The node's secret key as hexadecimal digits, mode 0600. Default: `node.key` in the data directory.
    #[serde(default)]
    pub key_file: Option<PathBuf>,
    /// The chain and the pool; the worker only reads.
    #[serde(deserialize_with = "chain")]
    pub chain: ChainConfig,
    /// The public directories.
    #[serde(default)]
    pub discovery: DiscoveryConfig,
    /// The orchestrator.
    #[serde(default)]
    pub orchestrator: OrchestratorConfig,
    /// The container engine and what every container is like.
    #[serde(default)]
    pub docker: DockerConfig,
    /// Where images come from, and when they go.
    #[serde(default)]
    pub images: ImagesConfig,
    /// What is kept of ended tasks' output.
    #[serde(default)]
    pub output: OutputConfig,
    /// GPUs.
    #[serde(default)]
    pub gpu: GpuConfig,
    /// How much of the host tasks may have.
    #[serde(default)]
    pub lend: LendConfig,
    /// Host ports for tasks.
    #[serde(default)]
    pub ports: PortsConfig,
    /// Labels that tasks may ask for.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Peer to peer.
    #[serde(default)]
    pub network: NetworkConfig,
    /// The program that answers proof challenges.
    #[serde(default)]
    pub prover: ProverConfig,
    /// `/livez`, `/readyz` and `/metrics` over HTTP.
    #[serde(default)]
    pub health: HealthConfig,
}

/// `[discovery]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DiscoveryConfig {
    /// Base URLs of directories in which this node describes itself; all of them are told.
    pub urls: Vec<String>,
}

/// `[orchestrator]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OrchestratorConfig {
    /// Where to reach it, instead of the endpoints that the pool names on chain (its key always comes from the chain).
    pub endpoints: Vec<EndpointUrl>,
}

/// `[output]`: output of ended tasks stays readable on this node within all of these bounds.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OutputConfig {
    /// Bytes of one assignment; of more the newest.
    #[serde(with = "byte_size")]
    pub per_assignment: u64,
    /// Bytes of all; the oldest go first.
    #[serde(with = "byte_size")]
    pub total: u64,
    /// Time after its end.
    #[serde(with = "duration")]
    pub keep_for: Duration,
}

impl Default for OutputConfig {
    fn default() -> Self {
        Self { per_assignment: 64 << 20, total: 1 << 30, keep_for: Duration::from_secs(7 * 24 * 3_600) }
    }
}

/// `[gpu]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GpuConfig {
    /// Whether GPUs are lent at all.
    pub enabled: bool,
    /// NVIDIA's management library; default: `libnvidia-ml.so.1` as the loader finds it.
    pub nvml_library: Option<PathBuf>,
    /// How GPUs reach containers.
    pub passthrough: Passthrough,
    /// CDI file for `cdi-file` (and for `auto`, which uses it where it exists).
    pub cdi_file: Option<PathBuf>,
    /// How often health is read.
    #[serde(with = "duration")]
    pub sample_interval: Duration,
    /// Whether a host without usable GPUs is fine.
    pub allow_none: bool,
    /// GPUs that are not lent, by UUID (`GPU-…`) or PCI address (`0000:3b:00.0`).
    pub exclude: Vec<GpuName>,
}

impl Default for GpuConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            nvml_library: None,
            passthrough: Passthrough::Auto,
            cdi_file: None,
            sample_interval: Duration::from_secs(5),
            allow_none: false,
            exclude: Vec::new(),
        }
    }
}

/// How GPUs reach containers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Passthrough {
    /// The CDI file where one is configured, otherwise the hook.
    #[default]
    Auto,
    /// The engine's `nvidia` driver.
    Hook,
    /// A CDI file that the worker applies itself.
    CdiFile,
}

/// `[lend]`: caps on what tasks may have in sum; what is left out is all there is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LendConfig {
    /// CPUs, like `4`, `0.5` or `"500m"`.
    pub cpus: Option<MilliCpus>,
    /// Memory, like `"16GiB"`.
    #[serde(with = "lode_protocol::units::size_text_option", default)]
    pub memory: Option<Bytes>,
    /// Disk, like `"200GiB"`.
    #[serde(with = "lode_protocol::units::size_text_option", default)]
    pub disk: Option<Bytes>,
}

/// `[ports]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PortsConfig {
    /// First host port lent.
    pub first: u16,
    /// Last host port lent.
    pub last: u16,
    /// Address on which tasks' ports are published.
    pub host_ip: IpAddr,
}

impl Default for PortsConfig {
    fn default() -> Self {
        Self { first: 30_000, last: 31_999, host_ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED) }
    }
}

/// `[network]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkConfig {
    /// Addresses to listen on. A worker needs none: it dials.
    pub listen: Vec<PeerAddress>,
    /// Addresses named in the node's public description instead of those it listens on.
    pub announce: Vec<PeerAddress>,
    /// Dial endpoints of the pool and of validators on chain also where they lead into networks that are not public.
    pub private_endpoints: bool,
}

/// `[prover]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProverConfig {
    /// Program and arguments; started once per GPU with `--gpu UUID`. Default: `lode-prove-cpu` next to this program.
    pub command: Vec<String>,
    /// Check each opening before it is signed. Without it a GPU that computes wrongly can cost the provider's stake.
    pub self_check: bool,
}

impl Default for ProverConfig {
    fn default() -> Self {
        Self { command: Vec::new(), self_check: true }
    }
}

fn default_data_dir() -> PathBuf {
    PathBuf::from("/var/lib/lode-worker")
}

/// `[chain]`
fn chain<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ChainConfig, D::Error> {
    ChainConfig::read(deserializer, &CHAIN)
}

impl Config {
    /// Reads file, environment and flags.
    pub fn load(file: Option<&Path>, flags: toml::Table) -> Result<Self, ConfigError> {
        load(file, ENVIRONMENT_PREFIX, flags)
    }

    /// Where the node's key is.
    pub fn key_path(&self) -> PathBuf {
        self.key_file.clone().unwrap_or_else(|| self.data_dir.join("node.key"))
    }

    /// The running worker's local socket.
    pub fn socket_path(&self) -> PathBuf {
        self.data_dir.join(SOCKET_NAME)
    }

    /// The pool to join.
    pub fn pool(&self) -> PoolId {
        self.chain.pool
    }

    /// How far endpoints on chain are followed.
    pub fn endpoint_policy(&self) -> EndpointPolicy {
        if self.network.private_endpoints { EndpointPolicy::Anywhere } else { EndpointPolicy::Public }
    }

    /// Ports lent to tasks.
    pub fn port_range(&self) -> RangeInclusive<u16> {
        self.ports.first..=self.ports.last
    }

    /// What no type can say.
    pub fn validate(&self) -> Result<(), ExitError> {
        let wrong = |text: String| Err(ExitError::new(Exit::BadConfig, text));
        if self.ports.first == 0 || self.ports.first > self.ports.last {
            return wrong(format!(
                "ports.first = {} and ports.last = {} are no range; set first >= 1 and last >= first",
                self.ports.first, self.ports.last
            ));
        }
        if self.gpu.passthrough == Passthrough::CdiFile && self.gpu.cdi_file.is_none() {
            return wrong("gpu.passthrough is \"cdi-file\", but gpu.cdi_file names no file".to_owned());
        }
        if self.gpu.sample_interval < SHORTEST_INTERVAL {
            return wrong("gpu.sample_interval is below 100ms".to_owned());
        }
        self.docker.validate()?;
        self.images.validate()?;
        self.health.validate()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lode_program::config::load_from;

    fn read(text: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let directory = std::env::temp_dir().join(format!("lode-config-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir(&directory).unwrap();
        let path = directory.join("worker.toml");
        std::fs::write(&path, text).unwrap();
        let variables = environment.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        let read = load_from(Some(&path), ENVIRONMENT_PREFIX, variables, toml::Table::new());
        std::fs::remove_dir_all(&directory).unwrap();
        read
    }

    const LEAST: &str = "[chain]\nrpc_url = \"http://127.0.0.1:1\"\ndeployment = \"d.json\"\npool = 1\n";

    #[test]
    fn the_least_configuration_is_the_chain_and_the_rest_has_defaults() {
        let config = read(LEAST, &[]).unwrap();
        config.validate().unwrap();
        assert_eq!(config.key_path(), Path::new("/var/lib/lode-worker/node.key"));
        assert_eq!(config.port_range(), 30_000..=31_999);
    }

    #[test]
    fn every_section_reads_what_the_documentation_says() {
        let text = format!(
            "data_dir = \"/d\"\nkey_file = \"/k\"\n{LEAST}poll_interval = \"1s\"\n\
             [discovery]\nurls = [\"http://127.0.0.1:2\"]\n\
             [orchestrator]\nendpoints = [\"/ip4/127.0.0.1/tcp/7000\"]\n\
             [docker]\nsocket = \"/s\"\nruntime = \"runc\"\npids = 100\ntmp_size = \"1MiB\"\nnofile = 4096\nmemlock = \"1MiB\"\n\
             subnets = [\"10.1.0.0/24\", \"10.2.0.0/24\"]\n\
             log_size = \"1MiB\"\nresync_interval = \"5s\"\n\
             [images]\nprivate_registries = [\"registry.lan\"]\ninsecure_registries = [\"127.0.0.1:*\"]\n\
             pull_silence = \"20m\"\ncollect = true\ncollect_above = 90\ncollect_until = 80\n\
             [gpu]\nenabled = true\nnvml_library = \"/n\"\npassthrough = \"cdi-file\"\ncdi_file = \"/c\"\n\
             sample_interval = \"1s\"\nallow_none = true\nexclude = [\"GPU-1a2b\", \"3b:00.0\"]\n\
             [lend]\ncpus = 2\nmemory = \"4GiB\"\ndisk = \"10GiB\"\n\
             [ports]\nfirst = 100\nlast = 200\nhost_ip = \"127.0.0.1\"\n\
             [labels]\nzone = \"a\"\n\
             [network]\nlisten = [\"/ip4/127.0.0.1/tcp/0\"]\nannounce = []\n\
             [prover]\ncommand = [\"/p\"]\n[health]\nlisten = \"127.0.0.1:0\"\n"
        );
        let config = read(&text, &[]).unwrap();
        config.validate().unwrap();
        assert_eq!(config.gpu.passthrough, Passthrough::CdiFile);
        assert_eq!((config.docker.nofile, config.docker.memlock), (4_096, Some(1 << 20)));
        assert_eq!(config.docker.subnets.count(), 64);
        let excluded: Vec<String> = config.gpu.exclude.iter().map(ToString::to_string).collect();
        assert_eq!(excluded, ["GPU-1a2b", "0000:3b:00.0"]);
        assert_eq!(config.labels.get("zone").map(String::as_str), Some("a"));
    }

    #[test]
    fn the_environment_wins_over_the_file_and_an_unknown_key_is_refused() {
        let config = read(LEAST, &[("LODE_WORKER__CHAIN__POOL", "7")]).unwrap();
        assert_eq!(config.pool(), PoolId(7));
        let error = read(&format!("{LEAST}[docker]\nsokcet = \"/s\"\n"), &[]).unwrap_err();
        assert!(error.to_string().contains("sokcet"), "{error}");
        let error = read(&format!("{LEAST}[gpu]\nexclude = [\"first\"]\n"), &[]).unwrap_err();
        assert!(error.to_string().contains("names no GPU"), "{error}");
    }

    #[test]
    fn ranges_of_addresses_are_read_from_one_text_a_list_or_the_environment() {
        let of = |text: &str, environment: &[(&str, &str)]| {
            read(&format!("{LEAST}{text}"), environment).map(|config| config.docker.subnets.to_string())
        };
        assert_eq!(of("", &[]).unwrap(), "10.213.0.0/16");
        assert_eq!(of("[docker]\nsubnets = \"10.9.0.0/24\"\n", &[]).unwrap(), "10.9.0.0/24");
        let environment = ("LODE_WORKER__DOCKER__SUBNETS", "10.8.0.0/24,10.9.0.0/24");
        assert_eq!(of("", &[environment]).unwrap(), "10.8.0.0/24, 10.9.0.0/24");
        let error = of("[docker]\nsubnets = \"10.9.0.7/24\"\n", &[]).unwrap_err();
        assert!(error.to_string().contains("10.9.0.7/24"), "{error}");
    }

    #[test]
    fn a_configuration_that_cannot_work_is_refused_with_its_reason() {
        for (extra, reason) in [
            ("[ports]\nfirst = 9\nlast = 8\n", "ports.first"),
            ("[gpu]\npassthrough = \"cdi-file\"\n", "gpu.cdi_file"),
            ("[docker]\nresync_interval = \"1ms\"\n", "docker.resync_interval"),
            ("[docker]\npids = 0\n", "docker.pids"),
            ("[docker]\nnofile = 10\n", "docker.nofile"),
            ("[images]\ncollect_above = 70\n", "images.collect_until"),
            ("[images]\ncollect_above = 100\n", "images.collect_above"),
            ("[images]\npull_silence = \"0s\"\n", "images.pull_silence"),
            ("[health.http]\nbody_timeout = \"0s\"\n", "health.http.body_timeout"),
        ] {
            let error = read(&format!("{LEAST}{extra}"), &[]).unwrap().validate().unwrap_err();
            assert!(error.to_string().contains(reason), "{error}");
        }
    }
}
