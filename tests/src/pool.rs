//! One `lode dev` pool per test: a child process in a group of its own, and everything it started.
//!
//! Dropping it ends the pool by its process id and removes what it left, also when the test panics. Tests end with
//! [`Pool::finish`], which checks that the pool itself left nothing.

use std::fs::File;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use lode_contracts::{Deployment, Operator, RpcChain, RpcConfig};
use lode_protocol::ids::{NodeId, PoolId};
use lode_protocol::keys::SigningKey;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;
use tempfile::TempDir;

use crate::api::Api;
use crate::engine::Engine;
use crate::guardian::Guardian;
use crate::programs;
use crate::small_disk::SmallDisk;
use crate::waiting::{step, until};

/// How long a pool may take until its nodes have joined.
const START_PATIENCE: Duration = Duration::from_secs(200);
/// How long it may take to end.
const END_PATIENCE: Duration = Duration::from_secs(60);
/// Its programs.
pub const PROGRAMS: [&str; 6] = ["anvil", "discovery", "orchestrator", "validator", "worker-1", "worker-2"];
/// Lines of each log that a failed test shows.
const TAIL: usize = 25;
/// Of the last resort, if the test process is killed.
const GUARD: &str = "kill -INT \"$1\" 2>/dev/null
for i in $(seq 400); do kill -0 \"$1\" 2>/dev/null || break; sleep 0.1; done
kill -KILL \"$1\" 2>/dev/null
rm -rf \"$2\"";

/// A folder for a pool that is not there yet.
#[derive(Debug)]
pub struct Preparation {
    // Unmounted before the folder goes.
    disks: Vec<SmallDisk>,
    folder: TempDir,
    engine: Engine,
    binaries: PathBuf,
}

impl Preparation {
    /// Where the pool will keep its files.
    pub fn root(&self) -> PathBuf {
        self.folder.path().join("p")
    }

    /// Mounts a small file system over the data directory of one of its programs. Needs root.
    ///
    /// # Errors
    /// Without the right to mount.
    pub fn mount_small_disk(&mut self, program: &str, mebibytes: u32) -> anyhow::Result<()> {
        let root = self.root();
        std::fs::create_dir_all(&root)?;
        std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o700))?;
        self.disks.push(SmallDisk::mount(&root.join(program), mebibytes)?);
        Ok(())
    }

    /// Starts the pool and waits until both nodes have joined.
    ///
    /// # Errors
    /// With the end of its output when it does not come up.
    pub async fn start(self) -> anyhow::Result<Pool> {
        let (root, output) = (self.root(), self.folder.path().join("output"));
        let log = File::create(&output)?;
        let contexts = self.folder.path().join("contexts.toml");
        let process = Command::new(self.binaries.join("lode"))
            .args(["dev", "--no-examples", "--simulate-gpus", "--data-dir"])
            .arg(&root)
            .env("LODE_CONTEXTS", &contexts)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .context("starting `lode dev`")?;
        let text = self.folder.path().to_str().context("the folder's path is not text")?;
        let guardian = Guardian::stand_by(GUARD, &[&process.id().to_string(), text])?;
        let mut starting = Starting { process: Some(process), output };
        let up = until("the pool is up", START_PATIENCE, async || {
            if starting.ended() {
                return Ok(false);
            }
            ensure!(root.join("contexts.toml").is_file(), "not all nodes have joined");
            Ok(true)
        })
        .await;
        if !matches!(up, Ok(true)) {
            let tail = std::fs::read_to_string(&starting.output).unwrap_or_default();
            bail!("`lode dev` did not come up:\n{tail}\n{}", tails(&root));
        }
        let process = starting.process.take().context("it runs")?;
        let mut pool = Pool {
            process,
            api: Api::new("http://127.0.0.1:1", "")?,
            engine: self.engine,
            root,
            binaries: self.binaries,
            finished: false,
            guardian: Some(guardian),
            disks: self.disks,
            folder: self.folder,
        };
        pool.api = pool.read_api()?;
        Ok(pool)
    }
}

/// Ends the process if the start fails.
struct Starting {
    process: Option<Child>,
    output: PathBuf,
}

impl Starting {
    fn ended(&mut self) -> bool {
        self.process.as_mut().is_none_or(|process| !matches!(process.try_wait(), Ok(None)))
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            end(process);
        }
    }
}

/// A running pool.
#[derive(Debug)]
pub struct Pool {
    process: Child,
    api: Api,
    engine: Engine,
    root: PathBuf,
    binaries: PathBuf,
    finished: bool,
    guardian: Option<Guardian>,
    disks: Vec<SmallDisk>,
    // Removed last.
    folder: TempDir,
}

impl Pool {
    /// A folder for a pool.
    ///
    /// # Errors
    /// When a program, an image or the container engine is missing.
    pub async fn prepare() -> anyhow::Result<Preparation> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let engine = Engine::of_machine().await?;
        engine.load_examples().await?;
        let folder = tempfile::Builder::new().prefix("lt").tempdir_in("/tmp")?;
        Ok(Preparation { disks: Vec::new(), folder, engine, binaries: programs::folder()? })
    }

    /// A pool with two nodes of 8 and 2 simulated GPUs.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start() -> anyhow::Result<Self> {
        Pool::prepare().await?.start().await
    }

    fn read_api(&self) -> anyhow::Result<Api> {
        let contexts: toml::Table = std::fs::read_to_string(self.root.join("contexts.toml"))?.parse()?;
        let context = &contexts["contexts"]["dev"];
        let text =
            |key: &str| context.get(key).and_then(toml::Value::as_str).context("the context is incomplete");
        Api::new(text("url")?, text("token")?)
    }

    /// Its API.
    pub fn api(&self) -> &Api {
        &self.api
    }

    /// The machine's container engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Its folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The small disk under a program's data directory.
    ///
    /// # Errors
    /// When none was mounted there.
    pub fn small_disk(&self, program: &str) -> anyhow::Result<&SmallDisk> {
        let path = self.root.join(program);
        self.disks
            .iter()
            .find(|disk| disk.path() == path)
            .with_context(|| format!("{program} has no small disk"))
    }

    /// A folder that goes with the pool, for the test's own files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A key of its: `owner`, `provider`, `orchestrator`, `validator`, `worker-1`, `worker-2`.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn key(&self, name: &str) -> anyhow::Result<SigningKey> {
        let path = self.root.join("keys").join(format!("{name}.key"));
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Ok(SigningKey::from_hex(&text)?)
    }

    /// The node of `worker-1` or `worker-2`.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn node(&self, worker: &str) -> anyhow::Result<NodeId> {
        Ok(NodeId(self.key(worker)?.address()))
    }

    /// Both nodes.
    ///
    /// # Errors
    /// When the keys cannot be read.
    pub fn nodes(&self) -> anyhow::Result<[NodeId; 2]> {
        Ok([self.node("worker-1")?, self.node("worker-2")?])
    }

    /// Which worker is this node's?
    ///
    /// # Errors
    /// When it is nobody's here.
    pub fn worker_of(&self, node: &str) -> anyhow::Result<&'static str> {
        for worker in ["worker-1", "worker-2"] {
            if self.node(worker)?.to_string().eq_ignore_ascii_case(node) {
                return Ok(worker);
            }
        }
        bail!("{node} is no node of this pool")
    }

    /// The contracts.
    ///
    /// # Errors
    /// When the deployment file cannot be read.
    pub fn deployment(&self) -> anyhow::Result<Deployment> {
        Ok(Deployment::load(&self.root.join("deployment.json"))?)
    }

    /// Its number.
    ///
    /// # Errors
    /// When the plan cannot be read.
    pub fn pool_id(&self) -> anyhow::Result<PoolId> {
        let plan: Value = serde_json::from_slice(&std::fs::read(self.root.join("plan.json"))?)?;
        Ok(PoolId(plan["pool"].as_u64().context("the plan names no pool")?))
    }

    /// Its chain.
    ///
    /// # Errors
    /// When the deployment file cannot be read.
    pub fn chain(&self) -> anyhow::Result<Arc<RpcChain>> {
        let deployment = self.deployment()?;
        let url = deployment.rpc_url.clone().context("the deployment names no RPC")?;
        Ok(Arc::new(RpcChain::new(RpcConfig::new(url), deployment)?))
    }

    /// Sends transactions as somebody of the pool.
    ///
    /// # Errors
    /// When there is no such key.
    pub fn operator(&self, name: &str) -> anyhow::Result<Operator> {
        Ok(Operator::new(self.chain()?, self.key(name)?))
    }

    /// Runs the command line on this pool.
    ///
    /// # Errors
    /// When it cannot be run.
    pub async fn lode(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        let mut command = tokio::process::Command::new(self.binaries.join("lode"));
        command.args(arguments).env("LODE_CONTEXTS", self.root.join("contexts.toml"));
        command.stdin(Stdio::null()).kill_on_drop(true);
        let limit = Duration::from_secs(120);
        Ok(tokio::time::timeout(limit, command.output()).await.context("`lode` does not end")??)
    }

    /// Runs the command line and gives what it printed.
    ///
    /// # Errors
    /// When it fails.
    pub async fn lode_text(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.lode(arguments).await?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "lode {}: {}: {errors}", arguments.join(" "), output.status);
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Kills one of its programs (SIGKILL); it stays down.
    ///
    /// # Errors
    /// When it cannot be.
    pub async fn kill_program(&self, name: &str) -> anyhow::Result<()> {
        self.lode_text(&["dev", "stop", name, "--kill"]).await.map(drop)
    }

    /// Asks one of its programs to end; it stays down.
    ///
    /// # Errors
    /// When it cannot be.
    pub async fn stop_program(&self, name: &str) -> anyhow::Result<()> {
        self.lode_text(&["dev", "stop", name]).await.map(drop)
    }

    /// Starts one of its programs again.
    ///
    /// # Errors
    /// When it cannot be.
    pub async fn start_program(&self, name: &str) -> anyhow::Result<()> {
        self.lode_text(&["dev", "start", name]).await.map(drop)
    }

    /// What `lode dev ps` says about a program: activity, pid, failures.
    ///
    /// # Errors
    /// When the pool does not answer.
    pub async fn program(&self, name: &str) -> anyhow::Result<Value> {
        let list: Value = serde_json::from_str(&self.lode_text(&["dev", "ps", "-o", "json"]).await?)?;
        Ok(list["processes"][name].clone())
    }

    /// Sends a signal to a program, by its process id.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn signal(&self, name: &str, signal: Signal) -> anyhow::Result<()> {
        let pid =
            self.program(name).await?["pid"].as_i64().with_context(|| format!("{name} does not run"))?;
        let pid = Pid::from_raw(i32::try_from(pid)?).context("0 is no process")?;
        Ok(kill_process(pid, signal)?)
    }

    /// That all programs run and none has ended by itself.
    ///
    /// # Errors
    /// Names the one that did.
    pub async fn all_stayed_up(&self) -> anyhow::Result<()> {
        for name in PROGRAMS {
            let program = self.program(name).await?;
            ensure!(program["failures"] == 0, "{name} ended by itself: {program}");
        }
        Ok(())
    }

    /// The configuration of a program.
    ///
    /// # Errors
    /// When there is none.
    pub fn config(&self, name: &str) -> anyhow::Result<toml::Table> {
        Ok(std::fs::read_to_string(self.config_path(name))?.parse()?)
    }

    /// Its file.
    pub fn config_path(&self, name: &str) -> PathBuf {
        self.root.join("config").join(format!("{name}.toml"))
    }

    /// Changes the configuration of a program and starts it anew.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn reconfigure(&self, name: &str, change: impl FnOnce(&mut toml::Table)) -> anyhow::Result<()> {
        let mut config = self.config(name)?;
        change(&mut config);
        self.stop_program(name).await?;
        std::fs::write(self.config_path(name), toml::to_string(&config)?)?;
        self.start_program(name).await
    }

    /// What a worker says about itself (`lode-worker status --json`).
    ///
    /// # Errors
    /// When it does not run.
    pub async fn worker_status(&self, worker: &str) -> anyhow::Result<Value> {
        let mut command = tokio::process::Command::new(self.binaries.join("lode-worker"));
        command.arg("--config").arg(self.config_path(worker)).args(["status", "--json"]);
        let output = tokio::time::timeout(Duration::from_secs(15), command.kill_on_drop(true).output());
        let output = output.await.context("`lode-worker status` does not end")??;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "lode-worker status: {}: {errors}", output.status);
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Ends the pool and checks that it left nothing on the machine's engine.
    ///
    /// # Errors
    /// When it did not end in good order, or left something.
    pub async fn finish(mut self) -> anyhow::Result<()> {
        step("the pool ends and leaves nothing");
        let nodes = self.nodes()?;
        let pid = Pid::from_child(&self.process);
        kill_process(pid, Signal::INT)?;
        let status = until("`lode dev` has ended", END_PATIENCE, async || {
            self.process.try_wait()?.context("it still runs")
        })
        .await?;
        ensure!(status.success(), "`lode dev` ended with {status}:\n{}", self.output());
        let left = self.engine.sweep(&nodes).await?;
        ensure!(left == 0, "{left} containers and networks were left behind");
        self.finished = true;
        Ok(())
    }

    fn output(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("output")).unwrap_or_default()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        eprintln!("{}\n{}", self.output(), tails(&self.root));
        end(&mut self.process);
        // What a killed pool left. A runtime of its own: this may run while another one unwinds.
        let (engine, nodes) = (self.engine.clone(), self.nodes());
        let swept = std::thread::spawn(move || -> anyhow::Result<usize> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async { engine.sweep(&nodes?).await })
        });
        match swept.join() {
            Ok(Ok(0)) => {}
            Ok(Ok(count)) => eprintln!("{count} containers and networks of the pool were removed"),
            Ok(Err(error)) => eprintln!("containers of the pool may be left behind: {error:#}"),
            Err(_) => eprintln!("containers of the pool may be left behind"),
        }
        self.guardian = None;
    }
}

/// Ends `lode dev` with all it started.
fn end(process: &mut Child) {
    let pid = Pid::from_child(process);
    let _ = kill_process(pid, Signal::INT);
    let deadline = Instant::now() + END_PATIENCE;
    while let Ok(None) = process.try_wait() {
        if Instant::now() >= deadline {
            // Its children are told to die with it.
            let _ = kill_process_group(pid, Signal::KILL);
            let _ = process.wait();
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The ends of all logs.
fn tails(root: &Path) -> String {
    let mut text = String::new();
    for name in PROGRAMS {
        let log = std::fs::read_to_string(root.join("logs").join(format!("{name}.log"))).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines.iter().skip(lines.len().saturating_sub(TAIL));
        text.push_str(&format!("--- the end of {name}'s log\n"));
        for line in last {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}
