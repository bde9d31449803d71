//! A chain that finds a block ten times a second, a directory, and validators on them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use lode_contracts::{
    Amount, Chain, DeployParameters, Intent, Operator, ProvenRecord, RpcChain, RpcConfig, deploy,
};
use lode_network::PeerAddress;
use lode_program::{Clock, Program, Shutdown, TaskGroup};
use lode_protocol::cursor::Cursor;
use lode_protocol::descriptor::NodeDescriptor;
use lode_protocol::directory::{ChangesPage, DirectoryEntry, DirectoryPage};
use lode_protocol::envelope::{Addressing, Audience, Realm, seal};
use lode_protocol::hardware::{GpuSpec, NodeSpecs};
use lode_protocol::ids::{BootCounter, GpuUuid, NodeId, PoolId, ProviderId};
use lode_protocol::keys::SigningKey;
use lode_protocol::units::{Bytes, Millis, Timestamp};
use lode_testkit::anvil::{Anvil, AnvilOptions};
use lode_testkit::chain::FakeChain;
use lode_validator::app::{self, Started};
use lode_validator::config::{
    ChainConfig, Config, DiscoveryConfig, HealthConfig, NetworkConfig, OutboxSettings, ProofConfig,
};
use lode_validator::core::Status;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Far longer than anything takes; reaching it is a failure.
const DEADLINE: Duration = Duration::from_secs(120);
/// Number of the key that owns the nodes.
const PROVIDER: u8 = 100;

pub(crate) fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32]).unwrap()
}

pub(crate) fn gpus(number: u8, count: usize) -> Vec<GpuUuid> {
    (0..count).map(|index| format!("GPU-{number}-{index}").parse().unwrap()).collect()
}

/// Looks again and again.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let waited = tokio::time::timeout(DEADLINE, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(waited.await.is_ok(), "never came true: {what}");
}

pub(crate) struct World {
    chain: Arc<dyn Chain>,
    /// The chain in memory, where it is one: its faults are switched here.
    fake: Option<Arc<FakeChain>>,
    _anvil: Option<Anvil>,
    directory: String,
    data: tempfile::TempDir,
    stop: CancellationToken,
    _stop: DropGuard,
}

impl World {
    /// On a chain in memory, with these nodes registered and listed, (number, GPUs), and these validators bonded.
    pub(crate) async fn start(nodes: &[(u8, usize)], validators: &[u8]) -> Self {
        lode_program::install_crypto_provider();
        let parameters = DeployParameters { epoch_seconds: 30, ..DeployParameters::development() };
        let chain = FakeChain::with_parameters(parameters);
        for account in validators.iter().chain(&[PROVIDER]) {
            chain.fund(key(*account).address(), Amount::tokens(1_000), Amount::tokens(100_000));
        }
        let world = Self::on(chain.clone(), Some(chain.clone()), None, nodes, validators).await;
        let stopped = world.stop.clone();
        tokio::spawn(async move {
            while tokio::time::timeout(Duration::from_millis(100), stopped.cancelled()).await.is_err() {
                chain.mine();
            }
        });
        world
    }

    /// On a real development chain with a block each second and epochs of eight.
    pub(crate) async fn on_anvil(nodes: &[(u8, usize)], validators: &[u8]) -> Self {
        let options = AnvilOptions { block_time: Some(1), ..AnvilOptions::default() };
        let anvil = Anvil::start_with(options).await.unwrap();
        let (config, owner) = (RpcConfig::new(anvil.rpc_url()), anvil.key(0));
        let parameters = DeployParameters { epoch_seconds: 8, ..DeployParameters::development() };
        let deployment = deploy(&config, &owner, &parameters, None).await.unwrap();
        let chain = Arc::new(RpcChain::new(config, deployment).unwrap());
        let mint = Operator::new(chain.clone(), owner);
        for account in validators.iter().chain(&[PROVIDER]) {
            let to = key(*account).address();
            anvil.fund(to, Amount::tokens(1_000)).await.unwrap();
            mint.execute(Intent::Mint { to, amount: Amount::tokens(100_000) }).await.unwrap();
        }
        Self::on(chain, None, Some(anvil), nodes, validators).await
    }

    async fn on(
        chain: Arc<dyn Chain>,
        fake: Option<Arc<FakeChain>>,
        anvil: Option<Anvil>,
        nodes: &[(u8, usize)],
        validators: &[u8],
    ) -> Self {
        let provider = Operator::new(chain.clone(), key(PROVIDER));
        provider.register_provider(Amount::tokens(10_000)).await.unwrap();
        for (number, gpus) in nodes {
            provider.add_node(&key(*number), u32::try_from(*gpus).unwrap()).await.unwrap();
        }
        for number in validators {
            let bond = Operator::new(chain.clone(), key(*number));
            bond.register_validator(Amount::tokens(1_000), "/ip4/127.0.0.1/tcp/1").await.unwrap();
        }
        let stop = CancellationToken::new();
        let realm = chain.deployment().realm(PoolId(1));
        let entries = nodes.iter().map(|(number, count)| entry(realm, *number, *count)).collect();
        let directory = serve(entries, stop.clone()).await;
        let data = tempfile::tempdir().unwrap();
        World { chain, fake, _anvil: anvil, directory, data, stop: stop.clone(), _stop: stop.drop_guard() }
    }

    /// Whether the chain answers.
    pub(crate) fn set_reachable(&self, reachable: bool) {
        self.fake.as_ref().unwrap().set_reachable(reachable);
    }

    /// Starts a validator; another time in the same directory.
    pub(crate) async fn validator(&self, number: u8) -> Validator {
        let config = self.config(number);
        let realm = self.chain.deployment().realm(PoolId(0));
        let waited = tokio::time::timeout(DEADLINE, async {
            loop {
                let shutdown = Shutdown::new();
                let tasks = TaskGroup::new(shutdown.clone());
                let program = Program { name: "lode-validator", shutdown, tasks, clock: Clock::system() };
                match app::start(&program, &config, key(number), self.chain.clone()).await {
                    Ok(started) => return Validator { key: key(number), realm, program, started },
                    // The one before may not have let go of the directory yet.
                    Err(error) => println!("not started: {error:#}"),
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        waited.await.expect("the validator starts")
    }

    pub(crate) async fn proven(&self, number: u8) -> Option<ProvenRecord> {
        self.chain.proven(&[NodeId(key(number).address())]).await.ok()?.into_iter().next().flatten()
    }

    fn config(&self, number: u8) -> Config {
        Config {
            data_dir: self.data.path().join(number.to_string()),
            key_file: None,
            chain: ChainConfig {
                rpc_url: String::new(),
                deployment: PathBuf::new(),
                poll_interval: Duration::from_millis(50),
                confirmations: 0,
            },
            discovery: DiscoveryConfig { urls: vec![self.directory.clone()] },
            network: NetworkConfig { listen: vec![PeerAddress::loopback(0)], connections_per_address: 64 },
            proof: ProofConfig { retry_interval: Duration::from_secs(1), ..ProofConfig::default() },
            outbox: OutboxSettings { development: true },
            health: HealthConfig::default(),
        }
    }
}

pub(crate) struct Validator {
    pub(crate) key: SigningKey,
    pub(crate) realm: Realm,
    program: Program,
    pub(crate) started: Started,
}

impl Validator {
    pub(crate) fn address(&self) -> PeerAddress {
        self.started.addresses[0].clone()
    }

    pub(crate) fn status(&self) -> Status {
        self.started.status.borrow().clone()
    }

    pub(crate) async fn stop(self) {
        self.program.shutdown.request(lode_program::shutdown::Cause::Requested("the test is over".into()));
        self.program.finish(DEADLINE).await.unwrap();
    }
}

fn entry(realm: Realm, number: u8, count: usize) -> DirectoryEntry {
    let now = Timestamp(Clock::system().wall_millis());
    let specs = gpus(number, count).into_iter().map(|uuid| GpuSpec {
        uuid,
        model: None,
        memory: None,
        compute_capability: None,
        pci_bus_id: None,
        parent: None,
    });
    let node = NodeId(key(number).address());
    let expires_at = now.plus(Millis::seconds(3_600));
    let descriptor = NodeDescriptor {
        node,
        specs: NodeSpecs { gpus: specs.collect(), ..NodeSpecs::default() },
        addresses: Vec::new(),
        sealing_key: None,
        agent_version: "0".to_owned(),
        boot: BootCounter(1),
        sequence: 1,
        issued_at: now,
        expires_at,
    };
    let addressing = Addressing { audience: Audience::Any, realm, now, lifetime: Millis::seconds(3_600) };
    DirectoryEntry {
        node,
        provider: ProviderId(key(100).address()),
        pool: PoolId(1),
        gpu_models: Vec::new(),
        gpus: u32::try_from(count).unwrap(),
        gpu_memory: Bytes(0),
        boot: BootCounter(1),
        sequence: 1,
        expires_at,
        descriptor: seal(&key(number), addressing, &descriptor).bytes,
    }
}

/// A directory that lists these nodes and never changes.
async fn serve(entries: Vec<DirectoryEntry>, stop: CancellationToken) -> String {
    let cursor = Cursor { incarnation: 1, position: 1 };
    let page = DirectoryPage { nodes: entries, next: None, cursor };
    let nodes = get(|State(page): State<DirectoryPage>| async move { Json(page) });
    let changes = get(move || async move {
        tokio::time::sleep(Duration::from_millis(200)).await;
        Json(ChangesPage { changes: Vec::new(), cursor, resync: false })
    });
    let routes = Router::new().route("/v1/nodes", nodes).route("/v1/changes", changes).with_state(page);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        tokio::select! {
            result = axum::serve(listener, routes).into_future() => result.unwrap(),
            () = stop.cancelled() => {}
        }
    });
    format!("http://{address}")
}
