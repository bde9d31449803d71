//! Which life of the engine answers: the boot of its host, and the run of its program.
//!
//! Asked over a new connection each time. An engine that is told to stop takes no new callers, *then* ends its containers,
//! and goes on answering old connections meanwhile: what it tells there of a container's end may be its own doing. An
//! answer to a new caller says that it was not stopping by then.

use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::call::{CALL, within};
use super::client::DockerEngine;
use super::failure::{During, classify, is_missing};
use crate::core::event::{EngineFailure, EngineRun};

/// Time until the engine must have answered.
const ANSWER: Duration = Duration::from_secs(10);
const QUESTION: &[u8] = b"GET /_ping HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n";
const BOOT: &str = "/proc/sys/kernel/random/boot_id";
/// Where the engine writes its process id down, if systemd listens for it.
const PID_FILE: &str = "/run/docker.pid";
/// The process that listens for others.
const INIT: i32 = 1;
/// Place of the start time in `/proc/PID/stat`, counted behind the name (proc(5): field 22).
const START_TIME: usize = 19;

impl DockerEngine {
    /// The life that takes callers now.
    pub(super) async fn life(&self) -> Result<EngineRun, EngineFailure> {
        let socket = &self.config.socket;
        let answered = tokio::time::timeout(ANSWER, call(socket)).await;
        let listener = answered
            .map_err(|_| unavailable("it takes no new callers"))?
            .map_err(|error| unavailable(&error.to_string()))?;
        let process = match listener {
            Some(INIT) => read(PID_FILE).await.and_then(|text| text.trim().parse().ok()),
            other => other,
        };
        let run = match process {
            Some(process) => engine_process(process).await,
            None => None,
        };
        let run = match run {
            Some(run) => run,
            None => self.default_network().await?,
        };
        // Without a name of the boot one is like another; the run differs all the same.
        let boot = read(BOOT).await.unwrap_or_default().trim().to_owned();
        Ok(EngineRun { boot, run })
    }

    /// Behind a proxy, or out of sight, its process cannot be named. The engine makes its default network anew whenever it
    /// starts; one that has none cannot be told from its successor.
    async fn default_network(&self) -> Result<String, EngineFailure> {
        let docker = self.docker().await?;
        match within(CALL, docker.inspect_network("bridge", None)).await {
            Ok(network) => Ok(network.id.unwrap_or_default()),
            Err(error) if is_missing(&error) => Ok(String::new()),
            Err(error) => Err(classify(&error, During::Other)),
        }
    }
}

/// Asks for a sign of life; tells which process listens.
async fn call(socket: &Path) -> std::io::Result<Option<i32>> {
    let mut stream = UnixStream::connect(socket).await?;
    let listener = stream.peer_cred()?.pid();
    stream.write_all(QUESTION).await?;
    let mut status = [0; 12];
    stream.read_exact(&mut status).await?;
    if !status.ends_with(b" 200") {
        let status = String::from_utf8_lossy(&status).into_owned();
        return Err(std::io::Error::other(format!("it answers a ping with {status}")));
    }
    Ok(listener)
}

/// Names a process that is an engine.
async fn engine_process(process: i32) -> Option<String> {
    let name = read(&format!("/proc/{process}/comm")).await?;
    if name.trim() != "dockerd" {
        return None;
    }
    let started = started(&read(&format!("/proc/{process}/stat")).await?)?.to_owned();
    Some(format!("{process}-{started}"))
}

/// When a process was started, in ticks since the boot.
fn started(stat: &str) -> Option<&str> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(START_TIME)
}

async fn read(path: &str) -> Option<String> {
    tokio::fs::read_to_string(path).await.ok()
}

fn unavailable(why: &str) -> EngineFailure {
    EngineFailure::Unavailable(format!("the Docker engine does not answer: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_of_a_process_is_read_behind_its_name_whatever_that_holds() {
        let fields = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        assert_eq!(started(&format!("12 (docker) d) {fields}")), Some("4711"));
        assert_eq!(started("12 (dockerd) S 1"), None);
        let own = std::fs::read_to_string("/proc/self/stat").unwrap();
        assert!(started(&own).unwrap().parse::<u64>().unwrap() > 0);
    }

    #[tokio::test]
    async fn a_process_that_is_no_engine_is_not_taken_for_one() {
        assert_eq!(engine_process(i32::try_from(std::process::id()).unwrap()).await, None);
    }

    #[tokio::test]
    async fn a_listener_that_takes_no_callers_is_no_life() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("s");
        let refused = call(&socket).await;
        assert!(refused.is_err());
        let listener = tokio::net::UnixListener::bind(&socket).unwrap();
        let answers = async {
            for answer in ["HTTP/1.1 200 OK\r\n\r\nOK", "HTTP/1.1 503 Service Unavailable\r\n\r\n", ""] {
                let (mut caller, _) = listener.accept().await.unwrap();
                let mut question = vec![0; QUESTION.len()];
                caller.read_exact(&mut question).await.unwrap();
                caller.write_all(answer.as_bytes()).await.unwrap();
            }
        };
        let asked = async {
            let own = i32::try_from(std::process::id()).unwrap();
            assert_eq!(call(&socket).await.unwrap(), Some(own));
            assert!(call(&socket).await.is_err(), "503");
            assert!(call(&socket).await.is_err(), "hung up");
        };
        tokio::join!(answers, asked);
    }
}
