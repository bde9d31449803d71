//! A registry of images on a free port of this machine.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;

use crate::guardian::Guardian;
use crate::waiting::until;

/// A running registry.
#[derive(Debug)]
pub struct Registry {
    process: Child,
    port: u16,
    _guardian: Guardian,
    _folder: tempfile::TempDir,
}

impl Registry {
    /// Starts an empty one.
    ///
    /// # Errors
    /// When docker-registry is not installed.
    pub async fn start() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        // It cannot choose a port by itself: one that is free now is free a moment later, or the start fails loudly.
        let port = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let config = folder.path().join("config.yml");
        let text = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:{port}\n",
            folder.path().join("data").display(),
        );
        std::fs::write(&config, text)?;
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("docker-registry is needed: run scripts/test, which installs it")?;
        let guardian = Guardian::stand_by("kill -KILL \"$1\"", &[&process.id().to_string()])?;
        let registry = Registry { process, port, _guardian: guardian, _folder: folder };
        let url = format!("http://127.0.0.1:{port}/v2/");
        let client = reqwest::Client::builder().timeout(Duration::from_secs(2)).no_proxy().build()?;
        until("the registry answers", Duration::from_secs(20), async || {
            Ok(client.get(&url).send().await?.error_for_status()?)
        })
        .await?;
        Ok(registry)
    }

    /// Name of a repository in it.
    pub fn repository(&self, name: &str) -> String {
        format!("127.0.0.1:{}/{name}", self.port)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
