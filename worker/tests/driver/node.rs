//! A worker's driver with real messages over libp2p, a fake or real engine, and a chain that says what a test wants.

use std::sync::Arc;
use std::time::Duration;

use lode_chain_types::MembershipState;
use lode_network::{Endpoint, EndpointConfig, NetworkMetrics};
use lode_program::{Cause, Clock, FindingSet, Health, Shutdown, TaskGroup};
use lode_protocol::envelope::Realm;
use lode_protocol::hardware::{GpuSpec, GpuState, GpuStatus, NodeSpecs};
use lode_protocol::hash::Digest;
use lode_protocol::ids::{
    Address, AssignmentId, ChainId, GpuUuid, Incarnation, PoolId, ProviderId, ReplicaId, TaskId,
};
use lode_protocol::keys::SigningKey;
use lode_protocol::session::AssignmentSpec;
use lode_protocol::settlement::rewards_domain;
use lode_protocol::task::TaskSpec;
use lode_protocol::units::Millis;
use lode_store::{MemoryStore, Writer, WriterLimits};
use lode_worker::chain_view::ChainView;
use lode_worker::core::Worker;
use lode_worker::core::chain::ChainFacts;
use lode_worker::core::config::Config;
use lode_worker::core::event::GpuFault;
use lode_worker::descriptor::sign;
use lode_worker::driver::{Driver, Inputs, Link, Outputs, Ports, Snapshot, boot};
use lode_worker::endpoints::EndpointPolicy;
use lode_worker::engine::Engine;
use lode_worker::gpus::{GpuView, Offered};
use lode_worker::identity::Identity;
use lode_worker::journal;
use lode_worker::local::server::LocalRequest;
use lode_worker::logs::LogServer;
use lode_worker::metrics::WorkerMetrics;
use lode_worker::output::{KeptOutput, OutputLimits};
use lode_worker::usage::UsageProbe;
use tokio::sync::{mpsc, watch};

use super::orchestrator::{Orchestrator, now};

pub(crate) const PROVIDER: ProviderId = ProviderId(Address([6; 20]));
pub(crate) const TERMS: Digest = Digest([5; 32]);
pub(crate) const REWARDS: Address = Address([8; 20]);

pub(crate) fn identity() -> Identity {
    let realm = Realm { chain: ChainId(31_337), deployment: Address([9; 20]), pool: PoolId(3) };
    let mut secret = [0; 32];
    secret[..16].copy_from_slice(uuid::Uuid::now_v7().as_bytes());
    secret[31] = 1;
    Identity { key: SigningKey::from_bytes(&secret).unwrap(), realm }
}

pub(crate) fn order(spec: &str) -> AssignmentSpec {
    let id = AssignmentId {
        replica: ReplicaId { task: TaskId(uuid::Uuid::now_v7()), replica: 0 },
        incarnation: Incarnation(1),
    };
    let kind = if spec.contains("kind") { "" } else { "kind = \"batch\"\n" };
    let image = if spec.contains("image") { "" } else { "image = \"i:1\"\n" };
    let spec = TaskSpec::from_toml(&format!("name = \"t\"\n{kind}{image}{spec}")).unwrap();
    AssignmentSpec { id, spec: spec.validate().unwrap(), gpus: Vec::new(), pinned_image: None }
}

pub(crate) fn gpu(number: u8, state: GpuState) -> GpuView {
    let uuid: GpuUuid = format!("GPU-{number}{number}").parse().unwrap();
    let spec = GpuSpec {
        uuid: uuid.clone(),
        model: None,
        memory: None,
        compute_capability: None,
        pci_bus_id: None,
        parent: None,
    };
    let status = GpuStatus {
        uuid,
        state,
        reason: None,
        temperature: None,
        power: None,
        utilization: None,
        memory_used: None,
    };
    let offered = Offered { gpus: vec![spec], ..Offered::default() };
    GpuView { offered, statuses: vec![status], looked: true, ..GpuView::default() }
}

/// A worker that runs until it is stopped or dropped.
pub(crate) struct Node {
    pub(crate) identity: Identity,
    pub(crate) chain: watch::Sender<ChainView>,
    pub(crate) gpus: watch::Sender<Arc<GpuView>>,
    pub(crate) faults: mpsc::Sender<GpuFault>,
    pub(crate) local: mpsc::Sender<LocalRequest>,
    pub(crate) snapshot: watch::Receiver<Arc<Snapshot>>,
    pub(crate) findings: FindingSet,
    /// Its data directory, which outlives it.
    pub(crate) folder: Arc<tempfile::TempDir>,
    tasks: TaskGroup,
    shutdown: Shutdown,
    _descriptors: watch::Sender<Option<Arc<lode_worker::descriptor::SignedDescriptor>>>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.shutdown.request(Cause::Requested("dropped".into()));
    }
}

/// What the chain says of a node whose orchestrator is `orchestrator`.
pub(crate) fn chain(orchestrator: &Orchestrator, membership: MembershipState) -> ChainView {
    let known = ChainFacts {
        orchestrator: orchestrator.key.address(),
        endpoints: orchestrator.address.to_string(),
        requirements: TERMS,
        membership,
        join_counter: 1,
        provider: Some(PROVIDER),
        paid: None,
    };
    ChainView { known: Some(known), fresh: true }
}

impl Node {
    pub(crate) async fn start(
        identity: Identity,
        engine: Arc<dyn Engine>,
        store: &MemoryStore,
        view: ChainView,
    ) -> Self {
        Self::start_in(Arc::new(tempfile::tempdir().unwrap()), identity, engine, store, view).await
    }

    pub(crate) async fn start_in(
        folder: Arc<tempfile::TempDir>,
        identity: Identity,
        engine: Arc<dyn Engine>,
        store: &MemoryStore,
        view: ChainView,
    ) -> Self {
        let shutdown = Shutdown::new();
        let tasks = TaskGroup::new(shutdown.clone());
        let clock = Clock::system();
        let findings = FindingSet::new(clock);
        let (writer, _thread) = Writer::start(Arc::new(store.clone()), WriterLimits::default()).unwrap();
        let memory = journal::load(store).unwrap();
        let config = Config {
            pool: identity.realm.pool,
            node: identity.node(),
            pools_domain: identity.pools_domain(),
            rewards_domain: rewards_domain(identity.realm.chain, REWARDS),
            agent_version: "test".to_owned(),
            ports: 30_000..=30_010,
            resync_interval: Millis(200),
            images: None,
            seed: [3; 32],
        };
        let worker = Worker::recover(config, memory);
        let number = worker.boot();
        let booted = boot(worker, &writer, &clock, &findings, &shutdown.token()).await.unwrap();
        let (endpoint, network) =
            Endpoint::bind(EndpointConfig::default(), &identity.key, NetworkMetrics::default())
                .await
                .unwrap();
        tasks.critical("network", network.run(shutdown.token()));
        let signed = sign(&identity, (number, 1), NodeSpecs::default(), Vec::new(), now());
        let (descriptors, described) = watch::channel(Some(Arc::new(signed)));
        let (chain, seen) = watch::channel(view);
        let (gpus, gpu_view) = watch::channel(Arc::new(gpu(1, GpuState::Healthy)));
        let (faults, told) = mpsc::channel(4);
        let (local, requests) = mpsc::channel(4);
        let (containers, known_containers) = watch::channel(Default::default());
        let (orchestrator, known_orchestrator) = watch::channel(None);
        let (snapshot, snapshots) = watch::channel(Arc::default());
        let limits =
            OutputLimits { per_assignment: 1 << 20, total: 1 << 20, keep_for: Duration::from_secs(3_600) };
        let kept = KeptOutput::open(folder.path().join("output"), limits, findings.clone()).unwrap();
        let logs = LogServer::new(
            identity.clone(),
            kept.clone(),
            known_containers.clone(),
            known_orchestrator,
            clock,
            tasks.clone(),
        );
        let capture =
            kept.clone().capture(Arc::clone(&engine), known_containers, tasks.clone(), shutdown.token());
        tasks.critical("output", capture);
        let streams = endpoint.accept(lode_network::Protocol::Logs).await.unwrap();
        tasks.critical("logs", logs.clone().run(streams, shutdown.token()));
        let driver = Driver::new(
            booted,
            Inputs { chain: seen, gpus: gpu_view, faults: told, descriptors: described, local: requests },
            Outputs {
                holders: watch::channel(Default::default()).0,
                containers,
                orchestrator,
                engine_version: watch::channel(None).0,
                engine_root: watch::channel(None).0,
                snapshot,
            },
            Ports {
                identity: identity.clone(),
                rewards_domain: rewards_domain(identity.realm.chain, REWARDS),
                engine,
                host: "127.0.0.1".parse().unwrap(),
                writer,
                link: Link::new(endpoint, tasks.clone(), Vec::new(), EndpointPolicy::Anywhere),
                logs,
                kept,
                usage: UsageProbe::new("/".into()),
                findings: findings.clone(),
                metrics: WorkerMetrics::default(),
                clock,
            },
        );
        let pulse = Health::new().pulse("driver", Duration::from_secs(60));
        tasks.critical("driver", driver.run(pulse, shutdown.token()));
        Self {
            identity,
            chain,
            gpus,
            faults,
            local,
            snapshot: snapshots,
            findings,
            folder,
            tasks,
            shutdown,
            _descriptors: descriptors,
        }
    }

    /// Ends the worker; its containers stay.
    pub(crate) async fn stop(self) {
        self.shutdown.request(Cause::Requested("test".into()));
        self.tasks.finish(Duration::from_secs(10)).await.unwrap();
    }

    pub(crate) fn has_finding(&self, code: &str) -> bool {
        self.findings.list().iter().any(|row| row.finding.code.as_str() == code)
    }
}
