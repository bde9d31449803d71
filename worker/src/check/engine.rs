//! The container engine: absent, forbidden, silent, too old and fine are told apart.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use bollard::{API_DEFAULT_VERSION, Docker};
use lode_program::finding::Finding;
use tokio::net::UnixStream;

use crate::config::Config;

/// Oldest API that the worker can use (engine 20.10).
const OLDEST_API: (u32, u32) = (1, 41);
/// An engine that is well answers within milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Default)]
pub(super) struct Engine {
    pub(super) findings: Vec<Finding>,
    pub(super) version: Option<String>,
    /// Where it keeps its data.
    pub(super) root: Option<PathBuf>,
}

impl Engine {
    fn finding(finding: Finding) -> Self {
        Self { findings: vec![finding], ..Self::default() }
    }
}

pub(super) async fn check(config: &Config) -> Engine {
    let socket = config.docker.socket.display().to_string();
    if let Err(error) = UnixStream::connect(&config.docker.socket).await {
        return Engine::finding(unconnectable(error.kind(), &error.to_string(), &socket));
    }
    let silent = || {
        Finding::error("docker/not-answering", "the Docker engine accepts connections but does not answer")
            .about(&socket)
            .remedy("Look at the engine's log; restart it when no task would be hurt (`systemctl restart docker`).")
    };
    let ask = async {
        let docker = Docker::connect_with_unix(&socket, PATIENCE.as_secs(), API_DEFAULT_VERSION)?;
        docker.version().await.map(|version| (docker, version))
    };
    let (docker, version) = match tokio::time::timeout(PATIENCE, ask).await {
        Err(_) | Ok(Err(bollard::errors::Error::RequestTimeoutError)) => return Engine::finding(silent()),
        Ok(Err(error)) => {
            let finding =
                Finding::error("docker/error", format!("the Docker engine answers with an error: {error}"))
                    .about(&socket)
                    .remedy("Look at the engine's log.");
            return Engine::finding(finding);
        }
        Ok(Ok(answered)) => answered,
    };
    let engine = version.version.unwrap_or_default();
    let api = version.api_version.unwrap_or_default();
    match parse_api(&api) {
        Some(found) if found >= OLDEST_API => {
            let info = tokio::time::timeout(PATIENCE, docker.info()).await.ok().and_then(Result::ok);
            let root = info.and_then(|info| info.docker_root_dir).filter(|root| !root.is_empty());
            Engine { findings: Vec::new(), version: Some(engine), root: root.map(PathBuf::from) }
        }
        _ => {
            let message = format!(
                "the Docker engine {engine} speaks API {api}; at least {}.{} (engine 20.10) is needed",
                OLDEST_API.0, OLDEST_API.1
            );
            let finding =
                Finding::error("docker/too-old", message).about(&socket).remedy("Upgrade the Docker engine.");
            Engine { findings: vec![finding], version: Some(engine), root: None }
        }
    }
}

fn unconnectable(kind: ErrorKind, error: &str, socket: &str) -> Finding {
    match kind {
        ErrorKind::NotFound => {
            Finding::error("docker/absent", "there is no Docker engine here: its socket does not exist")
                .remedy(
                    "Install the Docker engine (Debian: `apt-get install docker.io`), or set docker.socket.",
                )
        }
        ErrorKind::PermissionDenied => {
            Finding::error("docker/no-permission", "this user may not talk to the Docker engine")
                .remedy("Add the worker's user to the group docker, and log in again.")
        }
        ErrorKind::ConnectionRefused => {
            Finding::error("docker/not-running", "the Docker engine is installed but does not run")
                .remedy("Start it: `systemctl start docker`.")
        }
        _ => Finding::error("docker/unreachable", format!("the Docker engine cannot be reached: {error}"))
            .remedy("Check docker.socket in the configuration."),
    }
    .about(socket)
}

fn parse_api(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixListener;

    use super::*;

    fn config(socket: &std::path::Path) -> Config {
        let text = format!(
            "[chain]\nrpc_url = \"http://127.0.0.1:1\"\ndeployment = \"/none\"\npool = 1\n[docker]\nsocket = \"{}\"\n",
            socket.display()
        );
        toml::from_str(&text).unwrap()
    }

    async fn code(socket: &std::path::Path) -> String {
        let engine = check(&config(socket)).await;
        engine.findings.first().map(|finding| finding.code.to_string()).unwrap_or_default()
    }

    #[tokio::test]
    async fn an_absent_a_dead_a_silent_and_an_old_engine_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("absent.sock");
        assert_eq!(code(&socket).await, "docker/absent");

        let dead = folder.path().join("dead.sock");
        drop(UnixListener::bind(&dead).unwrap());
        assert_eq!(code(&dead).await, "docker/not-running");

        let silent = folder.path().join("silent.sock");
        let _kept = UnixListener::bind(&silent).unwrap();
        assert_eq!(code(&silent).await, "docker/not-answering");

        let old = folder.path().join("old.sock");
        let listener = UnixListener::bind(&old).unwrap();
        let server = std::thread::spawn(move || {
            // The check connects once to see whether anybody listens, then asks.
            for stream in listener.incoming().take(2) {
                let mut stream = stream.unwrap();
                let mut head = [0u8; 2_048];
                if stream.read(&mut head).unwrap_or(0) == 0 {
                    continue;
                }
                let body = "{\"Version\":\"19.03.15\",\"ApiVersion\":\"1.40\"}";
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        assert_eq!(code(&old).await, "docker/too-old");
        server.join().unwrap();
    }

    #[test]
    fn api_versions_compare_as_numbers() {
        assert!(parse_api("1.9").unwrap() < OLDEST_API);
        assert!(parse_api("1.41").unwrap() >= OLDEST_API);
        assert_eq!(parse_api("?"), None);
    }
}
