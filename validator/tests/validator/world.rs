//! A chain that finds a block ten times a second, a directory, and validators on them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use lode_contracts::{
    AccusationRecord, Amount, Chain, DeployParameters, Intent, Offence, Operator, ProvenRecord,
    ProviderRecord, RpcChain, RpcConfig, SlashingCall, SlashingParameters, TokenCall, deploy,
};
use lode_daemon::ChainConfig;
use lode_network::PeerAddress;
use lode_program::{Clock, Program, Shutdown, TaskGroup};
use lode_protocol::cursor::Cursor;
use lode_protocol::descriptor::NodeDescriptor;
use lode_protocol::directory::{ChangesPage, DirectoryEntry, DirectoryPage};
use lode_protocol::envelope::{Addressing, Audience, Realm, seal};
use lode_protocol::hardware::{GpuSpec, NodeSpecs};
use lode_protocol::hash::Digest;
use lode_protocol::ids::{AccusationId, BootCounter, GpuUuid, NodeId, PoolId, ProviderId};
use lode_protocol::keys::SigningKey;
use lode_protocol::units::{Bytes, Millis, Timestamp};
use lode_testkit::anvil::{Anvil, AnvilOptions};
use lode_testkit::chain::FakeChain;
use lode_validator::app::{self, Started};
use lode_validator::config::{
    AccusationsConfig, Config, DiscoveryConfig, FetchConfig, HealthConfig, NetworkConfig, OutboxSettings,
    ProofConfig,
};
use lode_validator::core::Status;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Far longer than anything takes; reaching it is a failure.
const DEADLINE: Duration = Duration::from_secs(120);
/// Number of the key that owns the nodes.
const PROVIDER: u8 = 100;
/// Number of the key that accuses without being a validator.
const ACCUSER: u8 = 101;

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
        let validators: Vec<(u8, u64)> = validators.iter().map(|number| (*number, 1_000)).collect();
        Self::with_bonds(nodes, &validators).await
    }

    /// The same, with validators of different weights. Ten of the chain's seconds pass in one.
    pub(crate) async fn with_bonds(nodes: &[(u8, usize)], validators: &[(u8, u64)]) -> Self {
        lode_program::install_crypto_provider();
        let slashing = SlashingParameters {
            detection_seconds: 3_600,
            evidence_seconds: 30,
            answer_seconds: 30,
            vote_seconds: 80,
            execution_seconds: 60,
            ..DeployParameters::development().slashing
        };
        let parameters = DeployParameters {
            epoch_seconds: 30,
            unbonding_seconds: 7_200,
            slashing,
            ..DeployParameters::development()
        };
        let chain = FakeChain::beginning_at(parameters, Clock::system().wall_millis() / 1_000);
        let accounts = validators.iter().map(|(number, _)| number);
        for account in accounts.chain(&[PROVIDER, ACCUSER]) {
            chain.fund(key(*account).address(), Amount::tokens(1_000), Amount::tokens(100_000));
        }
        let world = Self::on(chain.clone(), Some(chain.clone()), None, nodes, validators).await;
        let stopped = world.stop.clone();
        tokio::spawn(async move {
            while tokio::time::timeout(Duration::from_millis(100), stopped.cancelled()).await.is_err() {
                chain.mine();
            }
        });
        // Bonds count from the epoch after the one in which they were made.
        eventually("the validators have weight", || async {
            let epoch = world.chain.current_epoch().await.unwrap();
            world.chain.total_weight(epoch).await.unwrap() > Amount::ZERO
        })
        .await;
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
        let validators: Vec<(u8, u64)> = validators.iter().map(|number| (*number, 1_000)).collect();
        for account in validators.iter().map(|(number, _)| number).chain(&[PROVIDER]) {
            let to = key(*account).address();
            anvil.fund(to, Amount::tokens(1_000)).await.unwrap();
            mint.execute(Intent::Token(TokenCall::Mint { to, amount: Amount::tokens(100_000) }))
                .await
                .unwrap();
        }
        Self::on(chain, None, Some(anvil), nodes, &validators).await
    }

    async fn on(
        chain: Arc<dyn Chain>,
        fake: Option<Arc<FakeChain>>,
        anvil: Option<Anvil>,
        nodes: &[(u8, usize)],
        validators: &[(u8, u64)],
    ) -> Self {
        let provider = Operator::new(chain.clone(), key(PROVIDER));
        provider.register_provider(Amount::tokens(10_000)).await.unwrap();
        for (number, gpus) in nodes {
            provider.add_node(&key(*number), u32::try_from(*gpus).unwrap()).await.unwrap();
        }
        for (number, tokens) in validators {
            let bond = Operator::new(chain.clone(), key(*number));
            bond.register_validator(Amount::tokens(*tokens), "/ip4/127.0.0.1/tcp/1").await.unwrap();
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
        self.configured(number, self.config(number)).await
    }

    /// Starts a validator that accuses.
    pub(crate) async fn accusing(&self, number: u8) -> Validator {
        let mut config = self.config(number);
        let port = free_port().await;
        config.health.listen = Some(format!("127.0.0.1:{port}").parse().unwrap());
        config.accusations = AccusationsConfig {
            accuse: true,
            amount: Amount::tokens(500),
            public_url: Some(format!("http://127.0.0.1:{port}")),
            most_open: 4,
        };
        self.configured(number, config).await
    }

    async fn configured(&self, number: u8, config: Config) -> Validator {
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
                pool: PoolId(0),
                poll_interval: Duration::from_millis(50),
                confirmations: 0,
                block_range: 2_000,
                stale_after: DEADLINE,
            },
            discovery: DiscoveryConfig { urls: vec![self.directory.clone()] },
            network: NetworkConfig {
                listen: vec![PeerAddress::loopback(0)],
                connections: 64,
                connections_per_address: 64,
                strangers: Default::default(),
                frames: Default::default(),
            },
            proof: ProofConfig { retry_interval: Duration::from_secs(1), ..ProofConfig::default() },
            accusations: AccusationsConfig::default(),
            fetch: FetchConfig { private_addresses: true, ..FetchConfig::default() },
            outbox: OutboxSettings { development: true },
            health: HealthConfig::default(),
        }
    }

    /// The provider's stake.
    pub(crate) async fn provider(&self) -> ProviderRecord {
        self.chain.provider(ProviderId(key(PROVIDER).address())).await.unwrap().unwrap()
    }

    /// The provider's tokens outside of its stake.
    pub(crate) async fn provider_tokens(&self) -> Amount {
        self.chain.token_balance(key(PROVIDER).address()).await.unwrap()
    }

    /// Accusations so far.
    pub(crate) async fn accusations(&self) -> Vec<AccusationRecord> {
        let count = self.chain.accusation_count().await.unwrap();
        let ids: Vec<AccusationId> = (1..=count).map(AccusationId).collect();
        self.chain.accusations(&ids).await.unwrap().into_iter().flatten().collect()
    }

    /// Somebody who is no validator accuses the provider for a node.
    pub(crate) async fn accuse(&self, node: u8, offence: Offence, evidence: Digest, uri: &str) {
        let accuser = Operator::new(self.chain.clone(), key(ACCUSER));
        let (amount, spender) = (Amount::tokens(100), self.chain.deployment().slashing);
        let bond = self.chain.bond_for(amount).await.unwrap();
        accuser.execute(Intent::Token(TokenCall::Approve { spender, amount: bond })).await.unwrap();
        let (provider, node) = (ProviderId(key(PROVIDER).address()), NodeId(key(node).address()));
        let uri = uri.to_owned();
        let accusation =
            Intent::Slashing(SlashingCall::Accuse { provider, node, offence, amount, evidence, uri });
        accuser.execute(accusation).await.unwrap();
    }
}

/// A port that is free now. Others may take it before it is used: whoever starts says so.
pub(crate) async fn free_port() -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().port()
}

/// Serves one file under every path.
pub(crate) async fn serve_file(bytes: Vec<u8>) -> (String, DropGuard) {
    let stop = CancellationToken::new();
    let routes = Router::new().fallback(move || {
        let bytes = bytes.clone();
        async move { bytes }
    });
    (listen(routes, stop.clone()).await, stop.drop_guard())
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
    listen(Router::new().route("/v1/nodes", nodes).route("/v1/changes", changes).with_state(page), stop).await
}

/// Serves until it is told to stop; where.
async fn listen(routes: Router, stop: CancellationToken) -> String {
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
