//! The programs of a dev pool: how each is configured and started.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lode_cli::failure::Kind;
use lode_program::files::replace_secret;
use lode_protocol::ids::PoolId;
use serde_json::{Value, json};

use crate::gpus::GpuSource;
use crate::plan::Layout;
use crate::ports::Ports;
use crate::supervisor::{Launch, StopSignal};

/// Their names, in the order in which they start.
pub(crate) const NAMES: [&str; 6] =
    ["anvil", "discovery", "orchestrator", "validator", "worker-1", "worker-2"];
/// In which order they end: those that hold containers first, the chain last.
pub(crate) const STOP_ORDER: [&[&str]; 4] =
    [&["worker-1", "worker-2"], &["validator"], &["orchestrator", "discovery"], &["anvil"]];
/// How long a program may take to end.
const GRACE: Duration = Duration::from_secs(10);
/// What the pool pays for one GPU and hour, in whole tokens: a thousandth of a token a second.
const PRICE_PER_GPU_HOUR: &str = "3.6";
/// Stake that an accusation puts at stake, in whole tokens: that of one GPU.
const ACCUSED_STAKE: &str = "10";
/// Connections to each listener: with those of all its listeners, and handshakes, the orchestrator starts where 1,024 files
/// may be open.
const CONNECTIONS: usize = 144;
/// Handshakes under way.
const HANDSHAKES: usize = 64;
/// Names the executable of anvil.
const ANVIL_VARIABLE: &str = "LODE_ANVIL";

/// What all of them share.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(crate) layout: Layout,
    pub(crate) ports: Ports,
    /// Folder of our executables.
    pub(crate) binaries: PathBuf,
    pub(crate) docker_socket: PathBuf,
}

impl Programs {
    pub(crate) fn rpc_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.chain())
    }

    pub(crate) fn discovery_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.discovery())
    }

    pub(crate) fn api_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.api())
    }

    /// What the pool names on chain, in the order in which workers try.
    pub(crate) fn endpoints(&self) -> String {
        format!("/ip4/127.0.0.1/tcp/{} http://127.0.0.1:{}", self.ports.wire(), self.ports.wire_http())
    }

    pub(crate) fn validator_endpoint(&self) -> String {
        format!("/ip4/127.0.0.1/tcp/{}", self.ports.validator())
    }

    /// The development chain. No account of its own has any coins: ours get theirs by the chain's own say.
    pub(crate) fn anvil(&self) -> anyhow::Result<Launch> {
        let state = self.layout.chain_state();
        let port = self.ports.chain().to_string();
        let mut arguments: Vec<OsString> =
            ["--host", "127.0.0.1", "--port", &port, "--accounts", "0", "--no-cors"].map(Into::into).into();
        arguments.extend(
            ["--hardfork", "osaka", "--block-time", "1", "--state-interval", "1", "--state"].map(Into::into),
        );
        arguments.push(state.clone().into());
        Ok(Launch {
            arguments,
            stop: StopSignal::Interrupt,
            guarded: Some(state),
            ..self.launch("anvil", anvil_executable(&self.binaries)?)
        })
    }

    pub(crate) fn discovery(&self) -> anyhow::Result<Launch> {
        self.configured(
            "discovery",
            &["--config"],
            &json!({
                "data_dir": self.layout.data("discovery"),
                "listen": format!("127.0.0.1:{}", self.ports.discovery()),
                "limits": { "http": few() },
                "chain": {
                    "rpc_url": self.rpc_url(),
                    "deployment": self.layout.deployment(),
                    "poll_interval": "500ms",
                },
            }),
        )
    }

    pub(crate) fn orchestrator(&self, pool: PoolId) -> anyhow::Result<Launch> {
        self.configured(
            "orchestrator",
            &["--config"],
            &json!({
                "data_dir": self.layout.data("orchestrator"),
                "key_file": self.layout.key("orchestrator"),
                "token_file": self.layout.token(),
                "chain": {
                    "rpc_url": self.rpc_url(),
                    "deployment": self.layout.deployment(),
                    "pool": pool.0,
                    "poll_interval": "500ms",
                },
                "discovery": { "urls": [self.discovery_url()] },
                "api": { "listen": format!("127.0.0.1:{}", self.ports.api()) },
                "wire": {
                    "listen": [format!("/ip4/127.0.0.1/tcp/{}", self.ports.wire())],
                    "https": format!("127.0.0.1:{}", self.ports.wire_http()),
                    "https_plain": true,
                    "max_connections": CONNECTIONS,
                    "strangers": { "handshakes": HANDSHAKES },
                },
                "limits": { "http": few() },
                // A fifth of the defaults: a person watches.
                "terms": { "beat_interval": "2s", "suspect_after": "6s", "lost_after": "12s" },
                "requirements": { "require_proof": true, "class": 1 },
                "settlement": { "price_per_gpu_hour": PRICE_PER_GPU_HOUR, "checkpoint_interval": "2s" },
                // A registry on this machine serves images that are tried out here.
                "images": { "insecure_registries": ["127.0.0.1:*"] },
            }),
        )
    }

    pub(crate) fn validator(&self) -> anyhow::Result<Launch> {
        self.configured(
            "validator",
            &["--config"],
            &json!({
                "data_dir": self.layout.data("validator"),
                "key_file": self.layout.key("validator"),
                "chain": {
                    "rpc_url": self.rpc_url(),
                    "deployment": self.layout.deployment(),
                    "poll_interval": "500ms",
                },
                "discovery": { "urls": [self.discovery_url()] },
                "network": {
                    "listen": [self.validator_endpoint()],
                    "connections": CONNECTIONS,
                    "strangers": { "handshakes": HANDSHAKES },
                },
                "proof": { "class": "tiny", "retry_interval": "5s", "concurrent_runs": 2 },
                "outbox": { "development": true },
                "accusations": {
                    "accuse": true,
                    "amount": ACCUSED_STAKE,
                    "public_url": format!("http://127.0.0.1:{}", self.ports.validator_health()),
                },
                // Everybody is on this machine.
                "fetch": { "private_addresses": true },
                "health": {
                    "listen": format!("127.0.0.1:{}", self.ports.validator_health()),
                    "http": few(),
                },
            }),
        )
    }

    /// Worker 1 or 2.
    pub(crate) fn worker(&self, number: u16, pool: PoolId, gpus: &GpuSource) -> anyhow::Result<Launch> {
        let name = if number == 1 { "worker-1" } else { "worker-2" };
        let ports = self.ports.tasks(number);
        let mut gpu = json!({ "sample_interval": "1s" });
        let more = match gpus {
            GpuSource::Hook { .. } => json!({ "passthrough": "hook" }),
            GpuSource::CdiFile { file, .. } => json!({ "passthrough": "cdi-file", "cdi_file": file }),
            GpuSource::Simulated { library, file, .. } => {
                json!({ "passthrough": "cdi-file", "cdi_file": file, "nvml_library": library })
            }
        };
        if let (Some(gpu), Value::Object(more)) = (gpu.as_object_mut(), more) {
            gpu.extend(more);
        }
        let mut launch = self.configured(
            name,
            &["--config"],
            &json!({
                "data_dir": self.layout.data(name),
                "key_file": self.layout.key(name),
                "chain": {
                    "rpc_url": self.rpc_url(),
                    "deployment": self.layout.deployment(),
                    "pool": pool.0,
                    "poll_interval": "1s",
                },
                "discovery": { "urls": [self.discovery_url()] },
                "docker": { "socket": self.docker_socket },
                // A registry on this machine serves images that are tried out here.
                "images": { "insecure_registries": ["127.0.0.1:*"] },
                "gpu": gpu,
                "ports": { "first": ports.start(), "last": ports.end(), "host_ip": "127.0.0.1" },
                "labels": { "dev": name },
                // Everybody is on this machine.
                "network": { "private_endpoints": true },
                "health": {
                    "listen": format!("127.0.0.1:{}", self.ports.worker_health(number)),
                    "http": few(),
                },
            }),
        )?;
        launch.arguments.push("run".into());
        Ok(launch)
    }

    /// Writes the configuration and names the executable.
    fn configured(&self, name: &'static str, flags: &[&str], config: &Value) -> anyhow::Result<Launch> {
        let path = self.layout.config(name);
        let text = toml::to_string_pretty(&toml::Table::try_from(config)?)?;
        replace_secret(&path, text.as_bytes())?;
        let kind = name.split('-').next().unwrap_or(name);
        let mut launch = self.launch(name, self.executable(&format!("lode-{kind}"))?);
        launch.arguments.extend(flags.iter().map(Into::into));
        launch.arguments.push(path.into());
        Ok(launch)
    }

    fn launch(&self, name: &'static str, program: PathBuf) -> Launch {
        Launch {
            name,
            program,
            arguments: Vec::new(),
            environment: vec![("RUST_BACKTRACE".into(), "1".into())],
            log: self.layout.log(name),
            stop: StopSignal::Terminate,
            grace: GRACE,
            guarded: None,
        }
    }

    fn executable(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.binaries.join(name);
        if path.is_file() {
            return Ok(path);
        }
        let message =
            format!("{} is not there; `lode dev` starts the programs beside itself", path.display());
        Err(Kind::NotFound.with_remedy(message, "run scripts/up, which builds them all"))
    }
}

/// Limits of an HTTP listener.
fn few() -> Value {
    json!({ "max_connections": CONNECTIONS })
}

/// Where `lode-dev` lies, and with it its siblings.
pub(crate) fn binaries() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let own = own.canonicalize().unwrap_or(own);
    Ok(own.parent().unwrap_or(Path::new(".")).to_owned())
}

/// anvil as told, on the PATH, or as npm installed it in the checkout that these programs were built in.
fn anvil_executable(binaries: &Path) -> anyhow::Result<PathBuf> {
    if let Some(told) = std::env::var_os(ANVIL_VARIABLE).filter(|told| !told.is_empty()).map(PathBuf::from) {
        if told.is_file() {
            return Ok(told);
        }
        return Err(
            Kind::NotFound.because(format!("{ANVIL_VARIABLE} names {}, which is not there", told.display()))
        );
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join("anvil"));
    let built = binaries.ancestors().skip(1).map(|folder| folder.join("contracts/node_modules/.bin/anvil"));
    on_path.chain(built).find(|candidate| candidate.is_file()).ok_or_else(|| {
        let remedy = format!("run scripts/up, install Foundry, or set {ANVIL_VARIABLE}");
        Kind::NotFound.with_remedy("anvil, the development chain, is not installed", remedy)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn programs(folder: &Path) -> Programs {
        let binaries = folder.join("bin");
        std::fs::create_dir(&binaries).unwrap();
        for name in ["lode-discovery", "lode-orchestrator", "lode-validator", "lode-worker"] {
            std::fs::write(binaries.join(name), "").unwrap();
        }
        Programs {
            layout: Layout::create(&folder.join("pool")).unwrap(),
            ports: Ports::from(20_000),
            binaries,
            docker_socket: "/var/run/docker.sock".into(),
        }
    }

    #[test]
    fn each_program_gets_a_private_file_and_no_secret_in_its_arguments() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let programs = programs(folder.path());
        let gpus =
            GpuSource::Simulated { uuids: vec!["GPU-1".to_owned()], library: "/l".into(), file: "/c".into() };
        let pool = PoolId(1);
        let launches = [
            programs.discovery().unwrap(),
            programs.orchestrator(pool).unwrap(),
            programs.validator().unwrap(),
            programs.worker(1, pool, &gpus).unwrap(),
            programs.worker(2, pool, &gpus).unwrap(),
        ];
        for launch in &launches {
            let config = programs.layout.config(launch.name);
            assert_eq!(std::fs::metadata(&config).unwrap().permissions().mode() & 0o777, 0o600);
            let table: toml::Table = std::fs::read_to_string(&config).unwrap().parse().unwrap();
            assert!(table.contains_key("data_dir"), "{table}");
            assert!(launch.arguments.iter().any(|argument| Path::new(argument) == config));
        }
        let worker: toml::Table =
            std::fs::read_to_string(programs.layout.config("worker-2")).unwrap().parse().unwrap();
        assert_eq!(worker["gpu"]["nvml_library"].as_str(), Some("/l"));
        assert_ne!(programs.ports.tasks(1), programs.ports.tasks(2));
    }

    #[test]
    fn a_program_that_was_not_built_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let programs = programs(folder.path());
        std::fs::remove_file(programs.binaries.join("lode-validator")).unwrap();
        let error = programs.validator().unwrap_err();
        assert!(error.to_string().contains("lode-validator"), "{error}");
    }
}
