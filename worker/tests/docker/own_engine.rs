//! A dockerd of a test's own, that it may stop, kill and start again.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use lode_worker::core::event::ContainerId;
use lode_worker::docker::{DockerEngine, GpuAccess};
use lode_worker::engine::Engine as _;

use super::support::{Node, config};

/// Time within which it must answer, or be gone: it shares two cores with everything else.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// It, with everything that it keeps. All of that goes when it is dropped.
pub(crate) struct OwnEngine {
    daemon: Option<Child>,
    bridge: String,
    folder: tempfile::TempDir,
}

impl OwnEngine {
    /// Its default bridge is made first: a daemon without one would remove the machine's.
    pub(crate) async fn start() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let process = std::process::id();
        // Short: paths of Unix sockets are.
        let folder = tempfile::Builder::new().prefix("lw").tempdir_in("/tmp").unwrap();
        let bridge = format!("lw{process:x}{number}");
        let address = format!("10.212.{}.1/24", (process + number) % 200 + 20);
        let mut own = Self { daemon: None, bridge: bridge.clone(), folder };
        run("ip", &["link", "add", &bridge, "type", "bridge"]);
        run("ip", &["addr", "add", &address, "dev", &bridge]);
        run("ip", &["link", "set", &bridge, "up"]);
        own.start_again().await;
        own
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path("d.sock")
    }

    /// A node's way to it.
    pub(crate) fn view(&self, node: &Node) -> DockerEngine {
        let mut config = config(node.id, node.realm, GpuAccess::None);
        config.socket = self.socket();
        DockerEngine::new(config)
    }

    /// Starts it, and waits until it answers.
    pub(crate) async fn start_again(&mut self) {
        assert!(self.daemon.is_none(), "it runs");
        // What a killed one left would keep the next one from starting.
        let _ = std::fs::remove_file(self.path("pid"));
        // After a loss of power it is gone with all of /run. Here the process may still be there as one that nobody waits
        // for, and the next daemon would wait for it.
        let _ = std::fs::remove_file(self.path("exec/containerd/containerd.pid"));
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.path("log")).unwrap();
        let daemon = Command::new("dockerd")
            .arg("--data-root")
            .arg(self.path("data"))
            .arg("--exec-root")
            .arg(self.path("exec"))
            .arg("-H")
            .arg(format!("unix://{}", self.socket().display()))
            .arg("--pidfile")
            .arg(self.path("pid"))
            .args(["--bridge", &self.bridge, "--iptables=false", "--ip6tables=false"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("these tests need dockerd: install docker.io");
        self.daemon = Some(daemon);
        let engine = self.view(&Node::new());
        let deadline = Instant::now() + PATIENCE;
        while engine.life().await.is_err() {
            if Instant::now() > deadline {
                let log = std::fs::read_to_string(self.path("log")).unwrap_or_default();
                panic!("a dockerd of its own does not answer; it needs root. Its log:\n{log}");
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// SIGTERM, and its end.
    pub(crate) async fn stop(&mut self) {
        let pid = self.daemon.as_ref().expect("it runs").id();
        run("kill", &["-TERM", &pid.to_string()]);
        self.is_gone().await;
    }

    /// Everything dies at once, as if power were lost: it, its containerd, a container's shim, and what that runs.
    pub(crate) async fn lose_power(&mut self, node: &DockerEngine, container: &ContainerId) {
        let docker = super::support::docker_at(&node.config().socket);
        let inspected = docker.inspect_container(&container.0, None).await.unwrap();
        let process = inspected.state.and_then(|state| state.pid).expect("it runs").to_string();
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let shim = fields.split_whitespace().nth(1).unwrap().to_owned();
        let daemon = self.daemon.as_ref().expect("it runs").id().to_string();
        let containerd = self.containerd();
        run("kill", &["-KILL", &daemon]);
        // Some of them die with it.
        for process in containerd.into_iter().chain([shim, process]) {
            let _ = Command::new("kill").args(["-KILL", &process]).stderr(Stdio::null()).status();
        }
        self.is_gone().await;
    }

    /// Process of the containerd that it has started, if that lives.
    fn containerd(&self) -> Option<String> {
        let process = std::fs::read_to_string(self.path("exec/containerd/containerd.pid")).ok()?;
        let process = process.trim().to_owned();
        let name = std::fs::read_to_string(format!("/proc/{process}/comm")).ok()?;
        (name.trim() == "containerd").then_some(process)
    }

    async fn is_gone(&mut self) {
        let mut daemon = self.daemon.take().expect("it runs");
        let deadline = Instant::now() + PATIENCE;
        while daemon.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "it does not go");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    fn docker(&self, arguments: &[&str]) -> String {
        let host = format!("unix://{}", self.socket().display());
        let output = Command::new("docker").args(["-H", &host]).args(arguments).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
    }
}

impl Drop for OwnEngine {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            // Devices of networks would stay on the machine.
            for container in self.docker(&["ps", "-aq"]).split_whitespace() {
                self.docker(&["rm", "-fv", container]);
            }
            self.docker(&["network", "prune", "-f"]);
            let _ = Command::new("kill").args(["-TERM", &daemon.id().to_string()]).status();
            let deadline = Instant::now() + Duration::from_secs(20);
            while matches!(daemon.try_wait(), Ok(None)) && Instant::now() < deadline {
                std::thread::sleep(LOOK_AGAIN);
            }
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        // It outlives a daemon that was killed.
        if let Some(containerd) = self.containerd() {
            let _ = Command::new("kill").args(["-KILL", &containerd]).stderr(Stdio::null()).status();
        }
        let _ = Command::new("ip").args(["link", "del", &self.bridge]).status();
        // Left mounts would keep the folder from being removed.
        let unmount = "grep -o \"$1[^ ]*\" /proc/self/mounts | sort -r | xargs -r -n1 umount -l";
        let _ = Command::new("sh").args(["-c", unmount, "unmount"]).arg(self.folder.path()).status();
    }
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program} is needed: {error}"));
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {}: {words}; this test needs root", arguments.join(" "));
}
