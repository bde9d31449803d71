//! A worker of somebody else, beside the two of a dev pool: its own key, its own simulated machine, its own provider.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use lode_protocol::ids::{NodeId, ProviderId};
use lode_protocol::keys::SigningKey;
use serde_json::Value;

use crate::extra_program::ExtraProgram;
use crate::pool::Pool;
use crate::programs;

/// Name of the simulated driver, beside the programs and in a worker's folder.
const DRIVER: &str = "liblode_nvml_mock.so";
/// Ports that its tasks may publish.
const PORTS: u16 = 4;

/// A worker that is not (yet) the pool's.
#[derive(Debug)]
pub struct ExtraWorker {
    config: PathBuf,
    key: SigningKey,
    consent: PathBuf,
    program: ExtraProgram,
}

impl ExtraWorker {
    /// Makes its folder, its machine of two simulated GPUs, its key, and its consent to serve `provider`.
    ///
    /// # Errors
    /// When `lode-worker init` fails.
    pub async fn init(pool: &Pool, name: &str, provider: ProviderId) -> anyhow::Result<Self> {
        let folder = pool.folder().join(name);
        std::fs::create_dir(&folder)?;
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700))?;
        let (library, cdi) = machine(pool, &folder)?;
        let mut config = pool.config("worker-2")?;
        let first = free_port()?;
        let data = folder.join("data");
        config.insert("data_dir".to_owned(), text(&data)?.into());
        config.insert("key_file".to_owned(), text(&folder.join("node.key"))?.into());
        set(&mut config, "gpu", "nvml_library", text(&library)?.into())?;
        set(&mut config, "gpu", "cdi_file", text(&cdi)?.into())?;
        set(&mut config, "ports", "first", i64::from(first).into())?;
        set(&mut config, "ports", "last", i64::from(first.saturating_add(PORTS - 1)).into())?;
        set(&mut config, "health", "listen", "127.0.0.1:0".into())?;
        set(&mut config, "labels", "dev", name.into())?;
        let path = folder.join("config.toml");
        std::fs::write(&path, toml::to_string(&config)?)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;

        let mut init = tokio::process::Command::new(programs::path("lode-worker")?);
        init.arg("--config").arg(&path).args(["init", "--json", "--provider", &provider.to_string()]);
        let output = tokio::time::timeout(Duration::from_secs(30), init.kill_on_drop(true).output());
        let output = output.await.context("`lode-worker init` does not end")??;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "lode-worker init: {}: {errors}", output.status);
        let answer: Value = serde_json::from_slice(&output.stdout)?;
        let consent = answer["consent_file"].as_str().context("no consent was written")?.into();
        let key = SigningKey::from_hex(&std::fs::read_to_string(folder.join("node.key"))?)?;
        let arguments = vec!["--config".to_owned(), text(&path)?, "run".to_owned()];
        let program = ExtraProgram::new("lode-worker", arguments, &folder.join("log"));
        Ok(Self { config: path, key, consent, program })
    }

    /// Its node.
    pub fn node(&self) -> NodeId {
        NodeId(self.key.address())
    }

    /// What a thief would have.
    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// The file for `lode provider authorize`.
    pub fn consent(&self) -> &Path {
        &self.consent
    }

    /// Changes its configuration; takes effect when it is started.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn reconfigure(&self, change: impl FnOnce(&mut toml::Table)) -> anyhow::Result<()> {
        let mut config: toml::Table = std::fs::read_to_string(&self.config)?.parse()?;
        change(&mut config);
        Ok(std::fs::write(&self.config, toml::to_string(&config)?)?)
    }

    /// Starts it.
    ///
    /// # Errors
    /// When it cannot be.
    pub fn start(&mut self) -> anyhow::Result<()> {
        self.program.start()
    }

    /// Asks it to end and waits until it has.
    ///
    /// # Errors
    /// When it does not run, or does not end.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        self.program.stop()
    }
}

/// A copy of worker 2's machine with GPUs of its own: its driver and its CDI file.
fn machine(pool: &Pool, folder: &Path) -> anyhow::Result<(PathBuf, PathBuf)> {
    let model = pool.root().join("gpus").join("worker-2");
    let library = folder.join(DRIVER);
    std::fs::copy(model.join(DRIVER), &library)?;
    let settings = format!("{DRIVER}.json");
    let mut machine = std::fs::read_to_string(model.join(&settings))?;
    let mut cdi = std::fs::read_to_string(model.join("cdi.yaml"))?;
    let gpus: Value = serde_json::from_str(&machine)?;
    for gpu in gpus["gpus"].as_array().context("worker 2 has no GPUs")? {
        let old = gpu["uuid"].as_str().context("a GPU without UUID")?;
        // Other last digits: the other GPUs of the pool are drawn at random.
        let new = format!("{}{:06x}", &old[..old.len() - 6], rand::random::<u32>() & 0x00ff_ffff);
        machine = machine.replace(old, &new);
        cdi = cdi.replace(old, &new);
    }
    std::fs::write(folder.join(&settings), machine)?;
    let file = folder.join("cdi.yaml");
    std::fs::write(&file, cdi)?;
    Ok((library, file))
}

pub(crate) fn set(
    config: &mut toml::Table,
    section: &str,
    key: &str,
    value: toml::Value,
) -> anyhow::Result<()> {
    let table = config.entry(section).or_insert_with(|| toml::Value::Table(toml::Table::new()));
    table.as_table_mut().with_context(|| format!("{section} is no table"))?.insert(key.to_owned(), value);
    Ok(())
}

pub(crate) fn text(path: &Path) -> anyhow::Result<String> {
    Ok(path.to_str().context("a path is not text")?.to_owned())
}

pub(crate) fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
