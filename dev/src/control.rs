//! The socket in a pool's folder through which `lode dev stop|start|ps` reach it: one JSON line each way.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use lode_cli::failure::Kind;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use crate::supervisor::{Status, Supervisor};

/// Longest request or answer.
const MOST_BYTES: u64 = 64 << 10;
/// Longest wait for a request, or for the answer to one: a process has its grace, and is killed after it.
const PATIENCE: Duration = Duration::from_secs(40);

/// What is asked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "lowercase", deny_unknown_fields)]
pub enum Request {
    /// Stop a process.
    Stop {
        /// Which.
        name: String,
        /// By SIGKILL.
        kill: bool,
    },
    /// Start a process.
    Start {
        /// Which.
        name: String,
    },
    /// List processes.
    List,
}

/// What is answered.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Answer {
    /// Why it could not be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// All processes, after it was done.
    #[serde(default)]
    pub processes: BTreeMap<String, Status>,
}

/// Listens. A socket left by a pool that was killed is replaced; the folder's lock says that it is ours.
pub fn bind(path: &Path) -> anyhow::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot replace {}", path.display()));
        }
        _ => {}
    }
    UnixListener::bind(path).with_context(|| format!("cannot listen at {}", path.display()))
}

/// Answers until it is dropped.
pub async fn serve(listener: UnixListener, supervisor: Supervisor) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let supervisor = supervisor.clone();
                    connections.spawn(timeout(PATIENCE, async move { converse(stream, &supervisor).await }));
                }
                Err(error) => {
                    tracing::warn!(%error, "the control socket does not accept");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn converse(stream: UnixStream, supervisor: &Supervisor) -> std::io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    BufReader::new(reader.take(MOST_BYTES)).read_line(&mut line).await?;
    let done = match serde_json::from_str(&line) {
        Ok(Request::Stop { name, kill }) => supervisor.stop(&name, kill).await,
        Ok(Request::Start { name }) => supervisor.start(&name).await,
        Ok(Request::List) => Ok(()),
        Err(error) => Err(format!("not understood: {error}")),
    };
    let processes = supervisor.list().into_iter().map(|(name, status)| (name.to_owned(), status)).collect();
    let answer = Answer { error: done.err(), processes };
    let mut text = serde_json::to_string(&answer).unwrap_or_default();
    text.push('\n');
    writer.write_all(text.as_bytes()).await
}

/// Asks the pool whose socket this is.
pub async fn ask(path: &Path, request: &Request) -> anyhow::Result<Answer> {
    let gone = |error: std::io::Error| {
        let message = format!("no dev pool answers at {}: {error}", path.display());
        Kind::Unavailable
            .with_remedy(message, "start one with `lode dev`, or name its folder with --data-dir")
    };
    let talk = async {
        let mut stream = UnixStream::connect(path).await?;
        stream.write_all(format!("{}\n", serde_json::to_string(request)?).as_bytes()).await?;
        let mut text = String::new();
        stream.take(MOST_BYTES).read_to_string(&mut text).await?;
        Ok(text)
    };
    let text = match timeout(PATIENCE, talk).await {
        Ok(Ok(text)) => text,
        Ok(Err(error)) => return Err(gone(error)),
        Err(_) => return Err(gone(std::io::ErrorKind::TimedOut.into())),
    };
    let answer: Answer = serde_json::from_str(&text).context("the dev pool's answer cannot be read")?;
    match answer.error {
        Some(error) => Err(Kind::Failed.because(error)),
        None => Ok(answer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::{Activity, Launch, StopSignal};
    use lode_program::BackoffPolicy;

    #[tokio::test]
    async fn a_process_is_stopped_and_started_through_the_socket() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        std::fs::write(&path, "left by a pool that was killed").unwrap();
        let (supervisor, _news) = Supervisor::new(BackoffPolicy::default()).unwrap();
        let launch = Launch {
            name: "anvil",
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), "exec sleep 600".into()],
            environment: Vec::new(),
            log: folder.path().join("anvil.log"),
            stop: StopSignal::Terminate,
            grace: Duration::from_secs(5),
            guarded: None,
        };
        supervisor.run(launch).await.unwrap();
        let server = tokio::spawn(serve(bind(&path).unwrap(), supervisor));
        let stop = Request::Stop { name: "anvil".to_owned(), kill: true };
        assert_eq!(ask(&path, &stop).await.unwrap().processes["anvil"].activity, Activity::Stopped);
        let start = Request::Start { name: "anvil".to_owned() };
        assert_eq!(ask(&path, &start).await.unwrap().processes["anvil"].activity, Activity::Running);
        let unknown = Request::Start { name: "redis".to_owned() };
        assert!(ask(&path, &unknown).await.unwrap_err().to_string().contains("anvil"));
        assert_eq!(ask(&path, &Request::List).await.unwrap().processes.len(), 1);
        server.abort();
    }

    #[tokio::test]
    async fn a_pool_that_is_not_there_is_said_to_be_so() {
        let folder = tempfile::tempdir().unwrap();
        let error = ask(&folder.path().join("control.sock"), &Request::List).await.unwrap_err();
        assert_eq!(lode_cli::report::classify(&error).0, Kind::Unavailable);
    }
}
