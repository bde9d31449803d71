//! One dev pool from its first file to its last.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use bollard::Docker;
use lode_cli::api::Api;
use lode_cli::arguments::DevArguments;
use lode_cli::context::{Contexts, PoolContext, Token};
use lode_cli::failure::Kind;
use lode_program::BackoffPolicy;
use lode_program::files::DataDir;
use lode_protocol::ids::PoolId;
use lode_protocol::units::Millis;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::chain::{DevChain, fund, wait_for_rpc};
use crate::contexts::{self, Added};
use crate::gpus::{self, GpuSource};
use crate::plan::{Keys, Layout, Plan};
use crate::ports::PortBlock;
use crate::processes::{self, Programs};
use crate::progress::Progress;
use crate::supervisor::{Ended, Launch, Supervisor, keep_copy};
use crate::waiting::{Blamed, Look, wait_for, wait_for_http};
use crate::{cleanup, control, examples};

/// How long a program may take until it answers.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// Between two copies of the chain's state.
const COPY_EVERY: Duration = Duration::from_secs(10);
/// The engine's socket, if it is not the usual one.
const DOCKER_SOCKET_VARIABLE: &str = "LODE_DOCKER_SOCKET";
const DOCKER_SOCKET: &str = "/var/run/docker.sock";
/// What every engine that is new enough speaks.
const DOCKER_API: &bollard::ClientVersion = &bollard::ClientVersion { major_version: 1, minor_version: 41 };

/// A pool on this machine.
#[derive(Debug)]
pub(super) struct DevPool {
    once: bool,
    keep: bool,
    run_examples: bool,
    simulate_gpus: bool,
    pub(super) progress: Progress,
    pub(super) programs: Programs,
    pub(super) plan: Plan,
    pub(super) keys: Keys,
    docker: Docker,
    pub(super) supervisor: Supervisor,
    pub(super) news: mpsc::Receiver<Ended>,
    background: Vec<JoinHandle<()>>,
    pub(super) api: Option<Api>,
    /// The person's contexts, where the pool was added to them.
    pub(super) added: Option<(PathBuf, Added)>,
    new_images: Vec<String>,
    pub(super) service_url: Option<String>,
    /// In this order: ports and lock are given back when the folder is gone.
    temporary: Option<TempDir>,
    _lock: DataDir,
    _ports: PortBlock,
}

impl DevPool {
    /// Claims a folder and ports, finds the container engine. Starts nothing.
    pub(super) async fn open(arguments: &DevArguments) -> anyhow::Result<Self> {
        let progress = Progress::new();
        let (docker_socket, docker) = engine().await?;
        let temporary = match &arguments.data_dir {
            Some(_) => None,
            None => Some(
                tempfile::Builder::new().prefix(cleanup::PREFIX).tempdir().context("no temporary folder")?,
            ),
        };
        let root: &Path = match (&arguments.data_dir, &temporary) {
            (Some(folder), _) => folder,
            (None, Some(folder)) => folder.path(),
            (None, None) => return Err(Kind::Failed.because("there is no folder for the pool")),
        };
        let lock = DataDir::open(root)?;
        let layout = Layout::create(lock.path())?;
        let (ports, plan) = match Plan::load(&layout)? {
            Some(plan) => (PortBlock::claim(plan.first_port)?, plan),
            None => {
                let seed = usize::try_from(lode_program::backoff::random_seed() >> 16).unwrap_or_default();
                let ports = PortBlock::pick(seed)?;
                let plan = Plan { first_port: ports.first(), pool: None };
                plan.save(&layout)?;
                (ports, plan)
            }
        };
        let keys = Keys::load_or_create(&layout)?;
        cleanup::sweep_dead_pools(&docker, &std::env::temp_dir()).await;
        let policy = BackoffPolicy::new(Millis(500), Millis::seconds(10));
        let (supervisor, news) = Supervisor::new(policy)?;
        let binaries = processes::binaries()?;
        progress.head(&format!("A pool on this machine, in {}", layout.root().display()));
        Ok(DevPool {
            once: arguments.once,
            keep: arguments.keep,
            run_examples: !arguments.no_examples,
            simulate_gpus: arguments.simulate_gpus,
            progress,
            programs: Programs { layout, ports: plan.ports(), binaries, docker_socket },
            plan,
            keys,
            docker,
            supervisor,
            news,
            background: Vec::new(),
            api: None,
            added: None,
            new_images: Vec::new(),
            service_url: None,
            temporary,
            _lock: lock,
            _ports: ports,
        })
    }

    /// Brings everything up and runs the examples.
    pub(super) async fn run(&mut self) -> anyhow::Result<()> {
        let layout = self.programs.layout.clone();
        let listener = control::bind(&layout.control_socket())?;
        self.background.push(tokio::spawn(control::serve(listener, self.supervisor.clone())));
        let state = layout.chain_state();
        self.background.push(tokio::spawn(async move {
            loop {
                tokio::time::sleep(COPY_EVERY).await;
                keep_copy(&state);
            }
        }));

        let sources =
            gpus::sources(&layout, &self.programs.binaries, &self.docker, self.simulate_gpus).await?;
        let chain = self.bring_up_chain().await?;
        let pool = self.bring_up_pool(&chain, &sources).await?;
        self.bring_up_programs(pool, &sources).await?;
        self.wait_for_nodes(&chain, pool).await?;
        self.publish(pool)?;
        if self.run_examples {
            self.run_examples().await?;
        }
        let seconds = self.progress.elapsed().as_secs_f64();
        if self.once {
            self.progress.head(&format!("All examples succeeded, {seconds:.1} s after the start."));
        } else {
            self.say_what_is_where(seconds);
        }
        Ok(())
    }

    async fn bring_up_chain(&mut self) -> anyhow::Result<DevChain> {
        let url = self.programs.rpc_url();
        let start = async {
            self.start_program(self.programs.anvil()?).await?;
            wait_for_rpc(&url).await.map_err(|error| blame("anvil", &error))?;
            fund(&url, &self.keys).await
        };
        self.progress.step("chain", start, |()| url.clone()).await?;
        let deploy = async {
            let chain = DevChain::deploy(&url, &self.programs.layout, &self.keys).await;
            chain.map_err(|error| blame("anvil", &error))
        };
        self.progress
            .step("contracts", deploy, |_| self.programs.layout.deployment().display().to_string())
            .await
    }

    async fn bring_up_pool(&mut self, chain: &DevChain, sources: &[GpuSource; 2]) -> anyhow::Result<PoolId> {
        let discovery = async {
            self.start_program(self.programs.discovery()?).await?;
            let url = format!("{}/livez", self.programs.discovery_url());
            wait_for_http(&self.supervisor, "discovery", &url, START_PATIENCE).await
        };
        self.progress.step("directory", discovery, |()| self.programs.discovery_url()).await?;
        let units = sources.each_ref().map(GpuSource::count);
        let endpoint = self.programs.validator_endpoint();
        let register = async {
            chain.make_tokens().await?;
            let (pool, (), ()) = tokio::try_join!(
                chain.pool(self.plan.pool, &self.programs),
                chain.provider(units),
                chain.validator(&endpoint)
            )?;
            chain.economy(pool).await?;
            anyhow::Ok(pool)
        };
        let register = async { register.await.map_err(|error| blame("anvil", &error)) };
        let pool = self
            .progress
            .step("stakes, nodes and pool on the chain", register, |pool| format!("pool {pool}"))
            .await?;
        if self.plan.pool != Some(pool) {
            self.plan.pool = Some(pool);
            self.plan.save(&self.programs.layout)?;
        }
        Ok(pool)
    }

    async fn bring_up_programs(&mut self, pool: PoolId, sources: &[GpuSource; 2]) -> anyhow::Result<()> {
        let url = self.programs.api_url();
        let orchestrator = async {
            self.start_program(self.programs.orchestrator(pool)?).await?;
            let token_file = self.programs.layout.token();
            wait_for_http(&self.supervisor, "orchestrator", &format!("{url}/livez"), START_PATIENCE).await?;
            let token = wait_for(&self.supervisor, &["orchestrator"], START_PATIENCE, async || {
                match lode_program::files::read_secret_text(&token_file) {
                    Ok(token) if !token.is_empty() => Look::Done(Token::new(&token)),
                    Ok(_) => Look::NotYet("its token file is empty".to_owned()),
                    Err(error) => Look::NotYet(error.to_string()),
                }
            })
            .await?;
            Api::new(&url, Some(token))
        };
        let api = self.progress.step("orchestrator", orchestrator, |_| url.clone()).await?;
        self.api = Some(api);
        let validator = async {
            self.start_program(self.programs.validator()?).await?;
            let url = format!("http://127.0.0.1:{}/livez", self.programs.ports.validator_health());
            wait_for_http(&self.supervisor, "validator", &url, START_PATIENCE).await
        };
        self.progress.step("validator", validator, |()| self.programs.validator_endpoint()).await?;
        for (number, source) in (1u16..).zip(sources) {
            let name = if number == 1 { "worker-1" } else { "worker-2" };
            let worker = async {
                self.start_program(self.programs.worker(number, pool, source)?).await?;
                let url = format!("http://127.0.0.1:{}/livez", self.programs.ports.worker_health(number));
                wait_for_http(&self.supervisor, name, &url, START_PATIENCE).await
            };
            self.progress.step(name, worker, |()| source.describe()).await?;
        }
        Ok(())
    }

    /// Tells the command line where the pool is.
    fn publish(&mut self, pool: PoolId) -> anyhow::Result<()> {
        let layout = &self.programs.layout;
        let context = PoolContext {
            url: self.programs.api_url(),
            token: Some(Token::new(&lode_program::files::read_secret_text(&layout.token())?)),
            deployment: Some(layout.deployment()),
            rpc_url: Some(self.programs.rpc_url()),
            pool: Some(pool.0),
            dev: Some(layout.root().to_owned()),
        };
        contexts::write_own(&layout.contexts(), &context)?;
        if self.once {
            return Ok(());
        }
        // Without a home there is still the context in the pool's folder.
        let added = Contexts::path().and_then(|path| Ok((path.clone(), contexts::add(&path, &context)?)));
        match added {
            Ok(added) => self.added = Some(added),
            Err(error) => self.progress.say(&format!("  (no context was added: {error:#})")),
        }
        Ok(())
    }

    async fn run_examples(&mut self) -> anyhow::Result<()> {
        let api = self.api.clone().context("the orchestrator is up")?;
        let load = examples::load_images(&self.docker, &self.programs.binaries);
        self.new_images =
            self.progress.step("example images", load, |_| "loaded into the engine".to_owned()).await?;
        self.progress.head("Example: a batch task on two GPUs (examples/batch.toml)");
        let batch = examples::batch(&api, &self.progress);
        self.progress.step("batch task succeeded", batch, |()| "the answer is right".to_owned()).await?;
        self.progress.head("Example: a service with an HTTP port (examples/service.toml)");
        let service = examples::service(&api, &self.progress);
        let (id, url) = self.progress.step("service is ready", service, |(_, url)| url.clone()).await?;
        self.service_url = Some(url);
        if self.once {
            self.progress.step("service stopped", examples::stop(&api, id), |()| String::new()).await?;
        }
        Ok(())
    }

    async fn start_program(&self, launch: Launch) -> anyhow::Result<()> {
        let name = launch.name;
        self.supervisor
            .run(launch)
            .await
            .map_err(|message| Blamed { program: name.to_owned(), message }.into())
    }

    /// Reports programs that end by themselves. Ends only when supervision does.
    pub(super) async fn watch(&mut self) {
        while let Some(ended) = self.news.recv().await {
            let again = ended.again_in.as_secs_f64();
            self.progress.say(&format!(
                "{} ended by itself: {}; it starts again in {again:.1} s",
                ended.name, ended.how
            ));
        }
    }

    /// Stops everything in order and removes what must not stay.
    pub(super) async fn end(&mut self) -> anyhow::Result<()> {
        let stays = self.keep || self.temporary.is_none();
        self.progress.say("Stopping …");
        if let (Some(api), false) = (&self.api, stays)
            && let Err(error) = cleanup::delete_tasks(api).await
        {
            // The pool is not well; the sweep below does it without the pool.
            tracing::debug!(%error, "tasks could not be deleted");
        }
        cleanup::stop_processes(&self.supervisor).await;
        for task in self.background.drain(..) {
            task.abort();
        }
        let swept = cleanup::sweep(&self.docker, &self.keys.nodes()).await;
        if !stays {
            cleanup::remove_images(&self.docker, &self.new_images).await;
        }
        let root = self.programs.layout.root().to_owned();
        if let Some((path, added)) = self.added.take() {
            contexts::remove(&path, &added, &root)?;
        }
        match self.temporary.take() {
            Some(folder) if self.keep => {
                std::fs::write(folder.path().join(cleanup::KEEP_MARK), "")?;
                let path = folder.keep();
                self.progress.say(&format!("Kept in {}; continue with --data-dir", path.display()));
            }
            Some(folder) => folder.close().with_context(|| format!("cannot remove {}", root.display()))?,
            None => self.progress.say(&format!("Kept in {}", root.display())),
        }
        swept.context("containers of the pool may be left behind").map(drop)
    }
}

fn blame(program: &str, error: &anyhow::Error) -> anyhow::Error {
    Blamed { program: program.to_owned(), message: format!("{error:#}") }.into()
}

/// The container engine, if it answers.
async fn engine() -> anyhow::Result<(PathBuf, Docker)> {
    let told = std::env::var_os(DOCKER_SOCKET_VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
    let host =
        std::env::var("DOCKER_HOST").ok().and_then(|host| host.strip_prefix("unix://").map(PathBuf::from));
    let socket = told.or(host).unwrap_or_else(|| PathBuf::from(DOCKER_SOCKET));
    let unusable = |why: String| {
        let message = format!("the container engine at {} cannot be used: {why}", socket.display());
        Kind::Unavailable.with_remedy(message, "start Docker, or run scripts/up, which installs and starts it; root or the group docker may use it")
    };
    let path = socket.to_str().ok_or_else(|| unusable("its path is not text".to_owned()))?;
    let docker =
        Docker::connect_with_unix(path, 120, DOCKER_API).map_err(|error| unusable(error.to_string()))?;
    match tokio::time::timeout(Duration::from_secs(10), docker.ping()).await {
        Ok(Ok(_)) => Ok((socket, docker)),
        Ok(Err(error)) => Err(unusable(error.to_string())),
        Err(_) => Err(unusable("it does not answer within 10 s".to_owned())),
    }
}
