//! An orchestrator in a process of its own, which can be killed and started again on the same store and port.

use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lode_contracts::{Amount, ChainReader as _, Intent, Operator, PoolParameters, PoolsCall};
use lode_orchestrator::app;
use lode_orchestrator::config::{Config, ENVIRONMENT_PREFIX};
use lode_program::{Clock, Program, Shutdown, TaskGroup, install_crypto_provider, open_files};
use lode_protocol::envelope::Realm;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{Address, NodeId, PoolId, ProviderId};
use lode_protocol::keys::SigningKey;
use lode_testkit::chain::FakeChain;
use tokio::process::{Child, Command};

use super::fleet;
use crate::pool::key;

/// The variable that tells the process where it works.
pub(super) const FOLDER: &str = "LODE_COMEBACK_FOLDER";
/// The test that is the process.
const TEST: &str = "comeback::the_orchestrator";
/// Where it says its term once it serves.
const READY: &str = "ready";
/// Longest for it to be ready.
const PATIENCE: Duration = Duration::from_secs(120);

fn orchestrator() -> SigningKey {
    key(0x21)
}

/// The chain with the pool, in which so many nodes are members: the same each time.
async fn chain(nodes: u32) -> (Arc<FakeChain>, PoolId) {
    let chain = FakeChain::new();
    let (orchestrator, owner, provider) = (orchestrator(), key(0x22), key(0x23));
    for account in [&orchestrator, &owner, &provider] {
        chain.fund(account.address(), Amount::tokens(1_000_000), Amount::tokens(100_000_000_000));
    }
    let owner = Operator::new(chain.clone(), owner);
    let pool = owner
        .create_pool(PoolParameters {
            orchestrator: orchestrator.address(),
            reward_token: Some(chain.deployment().token),
            requirements: Digest([5; 32]),
            max_nodes: None,
            uri: String::new(),
            endpoints: String::new(),
        })
        .await
        .unwrap();
    owner.execute(Intent::Pools(PoolsCall::StartPool(pool))).await.unwrap();
    let provider = ProviderId(provider.address());
    let members: Vec<NodeId> = (0..nodes).map(|number| NodeId(fleet::key_of(number).address())).collect();
    chain.enroll(pool, members.into_iter().map(|node| (node, provider)));
    (chain, pool)
}

/// Where the orchestrator is, and who it is.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) port: u16,
    pub(super) orchestrator: Address,
    pub(super) realm: Realm,
}

impl Place {
    pub(super) fn listener(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }
}

/// Writes the key and the configuration, with a port that is free now and stays the process' own.
pub(super) async fn prepare(folder: &Path) -> Place {
    let (chain, pool) = chain(0).await;
    let free = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = free.local_addr().unwrap().port();
    lode_program::files::create_secret(&folder.join("key"), orchestrator().to_hex().as_bytes()).unwrap();
    let text = format!(
        "data_dir = \"{0}/data\"\nkey_file = \"{0}/key\"\n\
         [chain]\nrpc_url = \"http://127.0.0.1:1\"\ndeployment = \"unused\"\npool = {pool}\npoll_interval = \"1s\"\n\
         [api]\nlisten = \"127.0.0.1:0\"\n[wire]\nlisten = [\"/ip4/127.0.0.1/tcp/{port}\"]\n\
         [requirements]\nrequire_proof = false\n[images]\nresolve = false\n",
        folder.display()
    );
    std::fs::write(folder.join("orchestrator.toml"), text).unwrap();
    Place { port, orchestrator: orchestrator().address(), realm: chain.deployment().realm(pool) }
}

/// What the process does: serves until it is killed, or until whoever started it is gone.
pub(super) async fn serve(folder: &Path, nodes: u32) {
    install_crypto_provider();
    open_files::raise();
    let (chain, _) = chain(nodes).await;
    let path = folder.join("orchestrator.toml");
    let config: Config =
        lode_program::config::load_from(Some(&path), ENVIRONMENT_PREFIX, Vec::new(), toml::Table::new())
            .unwrap();
    config.validate().unwrap();
    let shutdown = Shutdown::new();
    let program = Program {
        name: "lode-orchestrator",
        tasks: TaskGroup::new(shutdown.clone()),
        shutdown,
        clock: Clock::system(),
    };
    let running = app::start(&program, &config, chain, None).await.unwrap();
    let term = running.driver.read(|core, _| core.epoch()).await.unwrap();
    let (unfinished, ready) = (folder.join("ready.new"), folder.join(READY));
    std::fs::write(&unfinished, term.0.to_string()).unwrap();
    std::fs::rename(&unfinished, &ready).unwrap();
    let ended = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await;
    drop(ended);
}

/// The running process. It is killed when this is dropped.
pub(super) struct Process {
    child: Child,
    pub(super) term: u64,
}

impl Process {
    /// Ready when this returns.
    pub(super) async fn start(folder: &Path) -> Self {
        let ready = folder.join(READY);
        if let Err(error) = std::fs::remove_file(&ready) {
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{error}");
        }
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", TEST, "--ignored", "--nocapture"])
            .env(FOLDER, folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let began = Instant::now();
        loop {
            if let Ok(text) = std::fs::read_to_string(&ready) {
                return Process { child, term: text.parse().unwrap() };
            }
            if let Some(status) = child.try_wait().unwrap() {
                panic!("the orchestrator ended at its start: {status}");
            }
            assert!(began.elapsed() < PATIENCE, "the orchestrator never was ready");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// SIGKILL: it has no time for anything.
    pub(super) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}
