//! What the orchestrator's process has used so far.

use std::path::Path;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use super::place::Place;
use crate::process::cpu_seconds;

/// At one time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gauge {
    pub(super) cpu: f64,
    /// Bytes of all files in its data directory.
    pub(super) bytes: f64,
    pub(super) chain_requests: f64,
}

impl Gauge {
    pub(super) async fn read(pid: u64, place: &Place) -> anyhow::Result<Self> {
        let mut text = String::new();
        TcpStream::connect(place.chain_requests).await?.read_to_string(&mut text).await?;
        Ok(Gauge {
            cpu: cpu_seconds(pid)?,
            bytes: bytes_in(&place.data)? as f64,
            chain_requests: text.parse()?,
        })
    }

    /// What was used since then.
    pub(super) fn since(self, before: Gauge) -> Gauge {
        Gauge {
            cpu: self.cpu - before.cpu,
            bytes: self.bytes - before.bytes,
            chain_requests: self.chain_requests - before.chain_requests,
        }
    }
}

fn bytes_in(folder: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let about = match entry.metadata() {
            // Temporary files come and go.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            about => about?,
        };
        bytes += if about.is_dir() { bytes_in(&entry.path())? } else { about.len() };
    }
    Ok(bytes)
}
