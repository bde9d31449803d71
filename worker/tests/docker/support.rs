//! A node on the system's Docker engine, with images made on the spot. Everything carries the labels of a random node
//! and is removed by them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bollard::Docker;
use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::{
    CreateImageOptionsBuilder, InspectContainerOptions, RemoveImageOptionsBuilder,
};
use futures::StreamExt as _;
use lode_protocol::assignment::PublishedPort;
use lode_protocol::envelope::Realm;
use lode_protocol::ids::{Address, AssignmentId, ChainId, Incarnation, NodeId, PoolId, ReplicaId, TaskId};
use lode_protocol::logs::LogSource;
use lode_protocol::session::AssignmentSpec;
use lode_protocol::task::{PortProtocol, PullPolicy, TaskSpec};
use lode_protocol::units::{Bytes, Millis};
use lode_worker::core::effect::{ContainerPlan, WantedImage};
use lode_worker::core::event::{Attempt, ContainerId, Exit};
use lode_worker::docker::{
    DockerEngine, EngineConfig, GpuAccess, Hardening, ImageAccess, Ownership, ProcessLimits,
};
use lode_worker::engine::{Captured, Engine as _, Marks};
use lode_worker::subnets::Subnets;

pub(crate) fn socket() -> PathBuf {
    PathBuf::from("/var/run/docker.sock")
}

pub(crate) fn docker() -> Docker {
    docker_at(&socket())
}

pub(crate) fn docker_at(socket: &Path) -> Docker {
    Docker::connect_with_unix(&socket.to_string_lossy(), 60, bollard::API_DEFAULT_VERSION).unwrap()
}

/// A static shell with the usual commands; from the package `busybox-static`.
fn busybox() -> Vec<u8> {
    ["/bin/busybox", "/usr/bin/busybox"]
        .iter()
        .find_map(|path| std::fs::read(path).ok())
        .expect("these tests need a static busybox: install busybox-static")
}

/// An image made of busybox alone, removed when dropped.
pub(crate) struct Image {
    pub(crate) name: String,
    socket: PathBuf,
}

impl Image {
    pub(crate) async fn build(changes: &[&str]) -> Self {
        Self::of(&socket(), changes, true).await
    }

    /// On another engine.
    pub(crate) async fn build_at(socket: &Path, changes: &[&str]) -> Self {
        Self::of(socket, changes, true).await
    }

    /// Without a folder for temporary files.
    pub(crate) async fn build_without_tmp(changes: &[&str]) -> Self {
        Self::of(&socket(), changes, false).await
    }

    async fn of(socket: &Path, changes: &[&str], has_tmp: bool) -> Self {
        let name = format!("lode-worker-test-{}:1", uuid::Uuid::now_v7().simple());
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        let program = busybox();
        header.set_mode(0o755);
        header.set_size(program.len() as u64);
        tar.append_data(&mut header, "bin/busybox", program.as_slice()).unwrap();
        for link in [
            "sh", "sleep", "echo", "cat", "ls", "env", "touch", "httpd", "false", "true", "id", "tail", "nc",
            "head", "tr", "yes", "printf", "seq", "dd", "kill",
        ] {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            tar.append_link(&mut header, format!("bin/{link}"), "busybox").unwrap();
        }
        if has_tmp {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Directory);
            header.set_mode(0o1777);
            header.set_size(0);
            tar.append_data(&mut header, "tmp/", std::io::empty()).unwrap();
        }
        let bytes = tar.into_inner().unwrap();
        let changes = changes.iter().map(ToString::to_string).chain(["ENV PATH=/bin".to_owned()]).collect();
        let (repository, tag) = name.split_once(':').unwrap();
        let options = CreateImageOptionsBuilder::default()
            .from_src("-")
            .repo(repository)
            .tag(tag)
            .changes(changes)
            .build();
        let docker = docker_at(socket).negotiate_version().await.unwrap();
        let mut progress = docker.create_image(Some(options), Some(bollard::body_full(bytes.into())), None);
        while let Some(step) = progress.next().await {
            step.unwrap();
        }
        Self { name, socket: socket.to_path_buf() }
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let (name, socket) = (self.name.clone(), self.socket.clone());
        in_own_runtime(async move {
            let options = RemoveImageOptionsBuilder::default().force(true).build();
            if let Err(error) = docker_at(&socket).remove_image(&name, Some(options), None).await {
                eprintln!("image {name} was not removed: {error}");
            }
        });
    }
}

/// Runs clean-up from a destructor, whatever runtime is around.
fn in_own_runtime(work: impl Future<Output = ()> + Send + 'static) {
    std::thread::spawn(|| {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work);
    })
    .join()
    .unwrap();
}

/// What a container wrote.
#[derive(Default)]
pub(crate) struct Written {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

/// One node's view of the engine. All of its containers and networks go when it is dropped.
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) realm: Realm,
    pub(crate) engine: DockerEngine,
}

impl Node {
    pub(crate) fn new() -> Self {
        Self::with(GpuAccess::None)
    }

    /// With log files of this size.
    pub(crate) fn with_log_size(bytes: u64) -> Self {
        Self::configured(|config| config.hardening.log_size = Bytes(bytes))
    }

    /// With something else than usual.
    pub(crate) fn configured(change: impl FnOnce(&mut EngineConfig)) -> Self {
        let node = Self::new();
        let (id, realm) = (node.id, node.realm);
        let mut config = config(id, realm, GpuAccess::None);
        change(&mut config);
        Self { id, realm, engine: DockerEngine::new(config) }
    }

    /// Another connection to the engine, for the same node.
    pub(crate) async fn another_view(&self) -> DockerEngine {
        let engine = DockerEngine::new(self.engine.config().clone());
        // It is connected to by the first call that asks it something.
        engine.ping().await.unwrap();
        engine
    }

    pub(crate) fn with(access: GpuAccess) -> Self {
        let mut address = [0; 20];
        address[..16].copy_from_slice(uuid::Uuid::now_v7().as_bytes());
        address.reverse(); // the random part first: names are made of it
        let id = NodeId(Address(address));
        let realm = Realm { chain: ChainId(31_337), deployment: Address([7; 20]), pool: PoolId(1) };
        Self { id, realm, engine: DockerEngine::new(config(id, realm, access)) }
    }

    pub(crate) async fn inspect(&self, container: &ContainerId) -> ContainerInspectResponse {
        docker().inspect_container(&container.0, None::<InspectContainerOptions>).await.unwrap()
    }

    /// Creates and starts.
    pub(crate) async fn run(&self, plan: &ContainerPlan) -> ContainerId {
        let container = self.engine.create(plan).await.unwrap();
        self.engine.start(&container).await.unwrap();
        container
    }

    /// Everything that the engine has of a container that has ended, by source.
    pub(crate) async fn written(&self, container: &ContainerId) -> Written {
        let mut written = Written::default();
        let mut output = self.engine.output(container, Marks::default());
        while let Some(captured) = output.next().await {
            match captured.unwrap() {
                Captured::Piece(piece) => {
                    let bytes = match piece.source {
                        LogSource::Stdout => &mut written.stdout,
                        LogSource::Stderr => &mut written.stderr,
                    };
                    bytes.extend_from_slice(&piece.bytes);
                    bytes.extend(piece.ends_line.then_some(b'\n'));
                }
                Captured::Missed => panic!("something is missing"),
                Captured::End => {}
            }
        }
        written
    }

    /// Runs to the end: exit and everything written to standard output.
    pub(crate) async fn output(&self, plan: &ContainerPlan) -> (Exit, Vec<String>) {
        let container = self.run(plan).await;
        let exit = self.engine.wait(&container).await.unwrap();
        let lines = self.written(&container).await.stdout;
        let lines = String::from_utf8(lines).unwrap().lines().map(str::to_owned).collect();
        (exit, lines)
    }
}

pub(crate) fn config(id: NodeId, realm: Realm, access: GpuAccess) -> EngineConfig {
    EngineConfig {
        socket: socket(),
        ownership: Ownership::new(id, realm),
        realm,
        hardening: Hardening {
            pids: 64,
            tmpfs: Bytes(8 << 20),
            limits: ProcessLimits { open_files: 4_096, locked_memory: None },
            host_address: "127.0.0.1".parse().unwrap(),
            log_size: Bytes(1 << 20),
            runtime: Some("runc".to_owned()),
        },
        access,
        // Registries of these tests are on this machine.
        images: ImageAccess {
            insecure_registries: vec!["127.0.0.1:*".to_owned()],
            pull_silence: Duration::from_secs(60),
            ..ImageAccess::default()
        },
        subnets: Subnets::default(),
    }
}

/// An image as a task names it.
pub(crate) fn wanted(image: &str, policy: PullPolicy) -> WantedImage {
    WantedImage::as_named(image.parse().unwrap(), policy)
}

impl Drop for Node {
    fn drop(&mut self) {
        let filter = format!("label=lode.node={}", self.id);
        let list = |what: &[&str]| {
            let listed = Command::new("docker").args(what).args(["--filter", &filter]).output().unwrap();
            String::from_utf8(listed.stdout)
                .unwrap()
                .split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        for container in list(&["ps", "-aq"]) {
            Command::new("docker").args(["rm", "-fv", &container]).output().unwrap();
        }
        for network in list(&["network", "ls", "-q"]) {
            Command::new("docker").args(["network", "rm", &network]).output().unwrap();
        }
    }
}

pub(crate) fn assignment() -> AssignmentId {
    AssignmentId {
        replica: ReplicaId { task: TaskId(uuid::Uuid::now_v7()), replica: 0 },
        incarnation: Incarnation(1),
    }
}

/// A plan for a shell script.
pub(crate) fn plan(image: &Image, script: &str, extra: &str) -> ContainerPlan {
    let text = format!(
        "name = \"t\"\nkind = \"batch\"\nimage = \"{}\"\ncommand = [\"sh\", \"-c\"]\nargs = ['''{script}''']\n{extra}",
        image.name
    );
    let spec = TaskSpec::from_toml(&text).unwrap();
    let ports = spec.ports.iter().map(|port| PublishedPort {
        name: port.name.clone(),
        container: port.container,
        host: 0,
        protocol: PortProtocol::Tcp,
    });
    let ports = ports.collect();
    let id = assignment();
    let order = AssignmentSpec { id, spec: spec.validate().unwrap(), gpus: Vec::new(), pinned_image: None };
    ContainerPlan { id, attempt: Attempt(0), order, image: image.name.clone(), ports }
}

pub(crate) fn with_gpus(mut plan: ContainerPlan, gpus: &[&str]) -> ContainerPlan {
    plan.order.gpus = gpus.iter().map(|gpu| gpu.parse().unwrap()).collect();
    plan
}

pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub(crate) fn environment(inspected: &ContainerInspectResponse) -> BTreeMap<String, String> {
    // As a program sees it: of two equal names the last one counts.
    let env = inspected.config.as_ref().unwrap().env.clone().unwrap_or_default();
    env.iter()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

pub(crate) const GRACE: Millis = Millis(1_000);
