//! `[docker]`: the container engine, and what every container is like.

use std::path::PathBuf;
use std::time::Duration;

use lode_program::config::{byte_size, byte_size_option, duration};
use lode_program::{Exit, ExitError};
use serde::Deserialize;

use super::SHORTEST_INTERVAL;
use crate::subnets::Subnets;

/// `[docker]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DockerConfig {
    /// The engine's socket.
    pub socket: PathBuf,
    /// OCI runtime of every container.
    pub runtime: String,
    /// Most processes and threads of a task.
    pub pids: u32,
    /// Most files that a process of a task may have open, as far as the engine can give them.
    pub nofile: u64,
    /// Most memory that a process of a task may lock; default: as much as the task's memory limit allows.
    #[serde(with = "byte_size_option")]
    pub memlock: Option<u64>,
    /// Size of a task's `/tmp`, and of each volume that its image declares.
    #[serde(with = "byte_size")]
    pub tmp_size: u64,
    /// Addresses for the networks of tasks, eight for each.
    pub subnets: Subnets,
    /// Size of a container's log file before it is rotated (two files are kept).
    #[serde(with = "byte_size")]
    pub log_size: u64,
    /// How often the engine's containers are listed, whatever it reports by itself.
    #[serde(with = "duration")]
    pub resync_interval: Duration,
}

impl Default for DockerConfig {
    fn default() -> Self {
        Self {
            socket: PathBuf::from("/var/run/docker.sock"),
            runtime: "runc".to_owned(),
            pids: 4_096,
            nofile: 1 << 20,
            memlock: None,
            tmp_size: 1 << 30,
            subnets: Subnets::default(),
            log_size: 32 << 20,
            resync_interval: Duration::from_secs(30),
        }
    }
}

impl DockerConfig {
    /// What no type can say.
    pub(super) fn validate(&self) -> Result<(), ExitError> {
        let wrong = |text: String| Err(ExitError::new(Exit::BadConfig, text));
        for (name, least, value) in
            [("docker.pids", 16, u64::from(self.pids)), ("docker.nofile", 64, self.nofile)]
        {
            if value < least {
                return wrong(format!("{name} = {value} is too few for any program; set at least {least}"));
            }
        }
        if self.resync_interval < SHORTEST_INTERVAL {
            return wrong("docker.resync_interval is below 100ms".to_owned());
        }
        Ok(())
    }
}
