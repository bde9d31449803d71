//! A process of this same program that serves what is measured, and says in its first line where it is.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// It is killed when this is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) pid: u64,
}

impl Server {
    /// Starts a sub-command for so many nodes, and waits for what it says.
    pub(crate) async fn start<T: DeserializeOwned>(
        command: &str,
        nodes: u32,
        patience: Duration,
    ) -> anyhow::Result<(Self, T)> {
        let mut child = Command::new(std::env::current_exe()?)
            .args([command, &nodes.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let pid = u64::from(child.id().context("it has ended")?);
        let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        let line =
            tokio::time::timeout(patience, lines.next_line()).await??.context("it ended at its start")?;
        Ok((Server { child, pid }, serde_json::from_str(&line)?))
    }

    /// Ends it by closing its input.
    pub(crate) async fn stop(mut self, patience: Duration) -> anyhow::Result<()> {
        drop(self.child.stdin.take());
        let status = tokio::time::timeout(patience, self.child.wait()).await??;
        ensure!(status.success(), "the orchestrator ended with {status}");
        Ok(())
    }
}
