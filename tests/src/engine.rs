//! Container engines: the machine's own, and private ones that only a test uses.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::{
    ImportImageOptions, ListContainersOptions, ListNetworksOptions, PushImageOptions, RemoveContainerOptions,
    RemoveImageOptions, TagImageOptions,
};
use bollard::{ClientVersion, Docker};
use futures::StreamExt as _;
use lode_protocol::ids::NodeId;

use crate::guardian::Guardian;
use crate::programs;
use crate::waiting::until;

const SOCKET: &str = "/var/run/docker.sock";
const API: &ClientVersion = &ClientVersion { major_version: 1, minor_version: 41 };
/// The example images.
pub const BATCH_IMAGE: &str = "lode-example-batch";
/// See [`BATCH_IMAGE`].
pub const SERVICE_IMAGE: &str = "lode-example-service";

/// A container as it is now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Container {
    /// Docker's id.
    pub id: String,
    /// The assignment it runs.
    pub assignment: String,
    /// When it was started last, as Docker says it.
    pub started_at: String,
    /// Whether it runs.
    pub running: bool,
}

/// A container engine.
#[derive(Clone, Debug)]
pub struct Engine {
    docker: Docker,
    socket: PathBuf,
}

impl Engine {
    /// The machine's.
    ///
    /// # Errors
    /// When none answers.
    pub async fn of_machine() -> anyhow::Result<Self> {
        Engine::at(Path::new(SOCKET))
            .await
            .context("these tests need Docker: run scripts/test, which starts it")
    }

    async fn at(socket: &Path) -> anyhow::Result<Self> {
        let path = socket.to_str().context("the socket's path is not text")?;
        let docker = Docker::connect_with_unix(path, 30, API)?;
        docker.ping().await.with_context(|| format!("no container engine answers at {path}"))?;
        Ok(Engine { docker, socket: socket.to_owned() })
    }

    /// Its socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The client.
    pub fn client(&self) -> &Docker {
        &self.docker
    }

    /// Takes the example images in.
    ///
    /// # Errors
    /// When they were not built.
    pub async fn load_examples(&self) -> anyhow::Result<()> {
        for name in [BATCH_IMAGE, SERVICE_IMAGE] {
            if self.docker.inspect_image(&format!("{name}:latest")).await.is_ok() {
                continue;
            }
            let bytes = tokio::fs::read(programs::image(name)?).await?;
            let options = ImportImageOptions { quiet: true, ..ImportImageOptions::default() };
            let mut answers =
                Box::pin(self.docker.import_image(options, bollard::body_full(bytes.into()), None));
            while let Some(answer) = answers.next().await {
                answer.with_context(|| format!("loading {name}"))?;
            }
        }
        Ok(())
    }

    /// Gives an image a name in a registry, pushes it there, and forgets the name. Gives its digest.
    ///
    /// # Errors
    /// When the registry does not take it.
    pub async fn push(&self, image: &str, repository: &str, tag: &str) -> anyhow::Result<String> {
        let options = TagImageOptions { repo: Some(repository.to_owned()), tag: Some(tag.to_owned()) };
        self.docker.tag_image(image, Some(options)).await?;
        let options = PushImageOptions { tag: Some(tag.to_owned()), ..PushImageOptions::default() };
        let mut answers = Box::pin(self.docker.push_image(repository, Some(options), None));
        while let Some(answer) = answers.next().await {
            let answer = answer.with_context(|| format!("pushing {repository}:{tag}"))?;
            ensure!(answer.error_detail.is_none(), "pushing {repository}:{tag}: {:?}", answer.error_detail);
        }
        let name = format!("{repository}:{tag}");
        let known = self.docker.inspect_image(&name).await?.repo_digests.unwrap_or_default();
        let digest =
            known.iter().find_map(|entry| entry.strip_prefix(&format!("{repository}@")).map(str::to_owned));
        self.forget(&name).await?;
        digest.with_context(|| format!("the engine knows no digest of {name}: {known:?}"))
    }

    /// Removes a name of an image; the image itself goes with its last name.
    ///
    /// # Errors
    /// When a container uses it.
    pub async fn forget(&self, name: &str) -> anyhow::Result<()> {
        self.docker.remove_image(name, None::<RemoveImageOptions>, None).await?;
        Ok(())
    }

    /// All containers of a node, those that ended too, by assignment.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn containers(&self, node: NodeId) -> anyhow::Result<Vec<Container>> {
        let options = ListContainersOptions {
            all: true,
            filters: Some(filter(node)),
            ..ListContainersOptions::default()
        };
        let mut containers = Vec::new();
        for summary in self.docker.list_containers(Some(options)).await? {
            let id = summary.id.context("a container without id")?;
            let Some(inspected) = self.inspect(&id).await? else { continue };
            let state = inspected.state.unwrap_or_default();
            let assignment =
                summary.labels.unwrap_or_default().get("lode.assignment").cloned().unwrap_or_default();
            let (started_at, running) =
                (state.started_at.unwrap_or_default(), state.running.unwrap_or_default());
            containers.push(Container { id, assignment, started_at, running });
        }
        containers.sort_by(|one, other| one.assignment.cmp(&other.assignment));
        Ok(containers)
    }

    /// Everything about a container; nothing if it is gone.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn inspect(&self, id: &str) -> anyhow::Result<Option<ContainerInspectResponse>> {
        match self.docker.inspect_container(id, None).await {
            Ok(inspected) => Ok(Some(inspected)),
            Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The one container that runs an assignment.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub async fn container_of(&self, node: NodeId, assignment: &str) -> anyhow::Result<Container> {
        let all = self.containers(node).await?;
        let mut running: Vec<_> =
            all.iter().filter(|c| c.running && c.assignment == assignment).cloned().collect();
        match (running.pop(), running.is_empty()) {
            (Some(container), true) => Ok(container),
            _ => bail!("not exactly one container of {assignment} runs: {all:?}"),
        }
    }

    /// Names of the networks of a node.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn networks(&self, node: NodeId) -> anyhow::Result<Vec<String>> {
        let options = ListNetworksOptions { filters: Some(filter(node)) };
        let networks = self.docker.list_networks(Some(options)).await?;
        Ok(networks.into_iter().filter_map(|network| network.name).collect())
    }

    /// Removes everything of these nodes. Gives how many things there were.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn sweep(&self, nodes: &[NodeId]) -> anyhow::Result<usize> {
        let mut removed = 0;
        for node in nodes {
            for container in self.containers(*node).await? {
                let options =
                    RemoveContainerOptions { force: true, v: true, ..RemoveContainerOptions::default() };
                // Gone meanwhile, or on its way.
                match self.docker.remove_container(&container.id, Some(options)).await {
                    Ok(()) => {}
                    Err(bollard::errors::Error::DockerResponseServerError {
                        status_code: 404 | 409, ..
                    }) => continue,
                    Err(error) => return Err(error.into()),
                }
                removed += 1;
            }
            for network in self.networks(*node).await? {
                self.docker.remove_network(&network).await?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

fn filter(node: NodeId) -> HashMap<String, Vec<String>> {
    HashMap::from([("label".to_owned(), vec![format!("lode.node={node}")])])
}

/// An engine of its own, with its own containers, images and networks.
#[derive(Debug)]
pub struct PrivateEngine {
    engine: Engine,
    daemon: Child,
    bridge: String,
    _guardian: Guardian,
    // Removed last.
    folder: tempfile::TempDir,
}

impl PrivateEngine {
    /// Starts a dockerd. Its default bridge is made first: a daemon without one would remove the machine's.
    ///
    /// # Errors
    /// Without root, or without dockerd.
    pub async fn start() -> anyhow::Result<Self> {
        // Short: paths of Unix sockets are.
        let folder = tempfile::Builder::new().prefix("le").tempdir_in("/tmp")?;
        let number = std::process::id() % 200 + 20;
        let bridge = format!("ld{:x}", std::process::id());
        let address = format!("10.211.{number}.1/24");
        for arguments in [
            vec!["link", "add", &bridge, "type", "bridge"],
            vec!["addr", "add", &address, "dev", &bridge],
            vec!["link", "set", &bridge, "up"],
        ] {
            let output =
                Command::new("ip").args(&arguments).output().context("ip is needed: install iproute2")?;
            let reason = String::from_utf8_lossy(&output.stderr).into_owned();
            ensure!(
                output.status.success(),
                "ip {}: {}: run this test as root",
                arguments.join(" "),
                reason.trim()
            );
        }
        let path = |name: &str| folder.path().join(name);
        let socket = path("d.sock");
        let log = std::fs::File::create(path("log"))?;
        let daemon = Command::new("dockerd")
            .arg("--data-root")
            .arg(path("data"))
            .arg("--exec-root")
            .arg(path("exec"))
            .arg("-H")
            .arg(format!("unix://{}", socket.display()))
            .arg("--pidfile")
            .arg(path("pid"))
            .args(["--bridge", &bridge, "--iptables=false", "--ip6tables=false"])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("dockerd is needed: run scripts/test, which installs it")?;
        let script = "kill -TERM \"$1\"; sleep 10; kill -KILL \"$1\"; ip link del \"$2\"; rm -rf \"$3\"";
        let text = folder.path().to_str().context("the folder's path is not text")?.to_owned();
        let guardian = Guardian::stand_by(script, &[&daemon.id().to_string(), &bridge, &text])?;
        let found =
            until("a private dockerd answers", Duration::from_secs(60), async || Engine::at(&socket).await)
                .await;
        let engine = match found {
            Ok(engine) => engine,
            Err(error) => {
                let log = std::fs::read_to_string(path("log")).unwrap_or_default();
                return Err(error.context(log));
            }
        };
        let private = PrivateEngine { engine, daemon, bridge, _guardian: guardian, folder };
        private.engine.load_examples().await?;
        Ok(private)
    }

    /// What to ask it with.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Removes what nodes left on it: without that, their networks' devices would stay on the machine.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn sweep(&self, nodes: &[NodeId]) -> anyhow::Result<usize> {
        self.engine.sweep(nodes).await
    }
}

impl Drop for PrivateEngine {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.daemon);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            match self.daemon.try_wait() {
                Ok(Some(_)) => break,
                Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(100)),
                Ok(None) | Err(_) => {
                    let _ = self.daemon.kill();
                    let _ = self.daemon.wait();
                    break;
                }
            }
        }
        let _ = Command::new("ip").args(["link", "del", &self.bridge]).status();
        // Left mounts would keep the folder from being removed.
        let _ = Command::new("sh")
            .args([
                "-c",
                "grep -o \"$1[^ ]*\" /proc/self/mounts | sort -r | xargs -r -n1 umount -l",
                "unmount",
            ])
            .arg(self.folder.path())
            .status();
    }
}
