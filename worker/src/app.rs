//! Wiring: the only place that names concrete parts. Opens what must be there, spawns the rest, waits.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use lode_contracts::{ChainReader, Deployment};
use lode_daemon::{Ground, Storage};
use lode_gpu::cdi::CdiSpec;
use lode_network::{ConnectionLimits, Endpoint, EndpointConfig, NetworkMetrics, Protocol, StrangerLimits};
use lode_program::telemetry::Telemetry;
use lode_program::{FindingSet, Program, open_files};
use lode_protocol::ids::BootCounter;
use lode_protocol::units::{Bytes, Millis, Timestamp};
use lode_store::{RedbOptions, Store};
use tokio::sync::{mpsc, watch};

use crate::chain_view::ChainWatch;
use crate::config::{Config, Passthrough, SOCKET_NAME, STORE_NAME};
use crate::core::Worker;
use crate::core::journal::Memory;
use crate::descriptor::{AGENT_VERSION, DescriptorMaker};
use crate::directory::{self, DirectoryConfig};
use crate::docker::{DockerEngine, EngineConfig, GpuAccess, Hardening, Ownership, ProcessLimits};
use crate::driver::{self, Driver, Inputs, Link, Outputs, Ports, Snapshot};
use crate::engine::Engine;
use crate::gpus::{GpuMonitor, GpuPorts, GpuView, InUse};
use crate::identity::{Identity, load_key};
use crate::journal;
use crate::local::server::{self, Reporter};
use crate::local::{GpuReport, StatusReport};
use crate::logs::LogServer;
use crate::metrics::WorkerMetrics;
use crate::output::{KeptOutput, OutputLimits};
use crate::proof::{self, ProofContext};
use crate::usage::UsageProbe;

/// How long background tasks may take to end.
const GRACE: Duration = Duration::from_secs(10);
/// The owner loop turns at least every five seconds.
const LOOP_SILENCE: Duration = Duration::from_secs(60);
/// Peers that may have dialled this worker, where it listens at all: it dials those whom it needs.
const INCOMING: usize = 512;
/// A store of some kilobytes needs no larger cache.
const STORE_CACHE: usize = 1 << 20;

/// Runs the worker until shutdown. Containers go on.
pub async fn run(program: Program, config: Config, telemetry: Telemetry) -> anyhow::Result<()> {
    let (incoming, handshakes) = match config.network.listen.is_empty() {
        true => (0, 0),
        false => (INCOMING, StrangerLimits::default().handshakes),
    };
    open_files::require(&[
        config.health.connections(),
        ("peers of network.listen", incoming),
        ("handshakes at network.listen", handshakes),
    ])?;
    let storage = Storage::File { name: STORE_NAME, options: RedbOptions { cache_bytes: STORE_CACHE } };
    let ground = Ground::open(&config.data_dir, storage)?;
    let reader: Arc<dyn ChainReader> = Arc::new(config.chain.connect()?);
    let key = load_key(&config)?;
    let identity = Identity { key, realm: reader.deployment().realm(config.pool()) };
    telemetry.set_field("node", identity.node().to_string());
    telemetry.set_field("pool", config.pool().to_string());

    let shutdown = program.shutdown.token();
    let (tasks, clock) = (program.tasks.clone(), program.clock);
    let findings = FindingSet::new(clock);
    let metrics = WorkerMetrics::default();
    let network_metrics = NetworkMetrics::default();
    ground.health.register_metrics(|registry| {
        metrics.register(registry);
        network_metrics.register(registry);
    });
    ground.serve_health(&program, &config.health, Router::new()).await?;

    let memory = recall(&ground.store).await?;
    for row in &memory.unreadable {
        tracing::error!(row, "a row of the store cannot be read and was skipped");
    }
    let known = memory.chain.clone();
    let worker = Worker::recover(core_config(&config, &identity, reader.deployment()), memory);
    let boot = worker.boot();
    let booted = driver::boot(worker, &ground.writer, &clock, &findings, &shutdown).await?;

    let endpoint_config = EndpointConfig {
        listen: config.network.listen.clone(),
        limits: ConnectionLimits { incoming: INCOMING, ..ConnectionLimits::default() },
        agent: format!("lode-worker/{AGENT_VERSION}"),
        ..EndpointConfig::default()
    };
    let (endpoint, network) = Endpoint::bind(endpoint_config, &identity.key, network_metrics).await?;
    tasks.critical("network", network.run(shutdown.clone()));

    let (watcher, chain) = ChainWatch::new(
        Arc::clone(&reader),
        (config.pool(), identity.node()),
        config.chain.poll_interval,
        known,
        config.orchestrator.endpoints.is_empty().then(|| config.endpoint_policy()),
        findings.clone(),
    );
    tasks.critical("chain", watcher.run(shutdown.clone()));

    let at_start = booted.view();
    let (holders, held) = watch::channel(at_start.holders);
    let (containers, known_containers) = watch::channel(at_start.containers);
    let in_use = InUse { holders: held.clone(), containers: known_containers.clone() };
    let (monitor, GpuPorts { view: gpus, faults, proofs, clears }) =
        GpuMonitor::start(&config.gpu, in_use, findings.clone(), clock).context("NVML thread")?;
    tasks.critical("gpus", monitor.run(shutdown.clone()));

    let (engine_version, version) = watch::channel(None);
    let (engine_root, root) = watch::channel(None);
    let addresses = announced(&config, &endpoint);
    let (maker, descriptors) = DescriptorMaker::new(
        config.clone(),
        (identity.clone(), boot),
        addresses,
        gpus.clone(),
        (version, root),
        clock,
    );
    tasks.critical("descriptor", maker.run(shutdown.clone()));
    let directory_config = DirectoryConfig { urls: config.discovery.urls.clone(), node: identity.node() };
    tasks.critical(
        "directory",
        directory::publish(directory_config, descriptors.clone(), findings.clone(), shutdown.clone()),
    );
    let proof_context = ProofContext {
        endpoint: endpoint.clone(),
        reader: Arc::clone(&reader),
        key: identity.key.clone(),
        realm: identity.realm,
        gpus: gpus.clone(),
        proofs,
        holders: held,
        command: config.prover.command.clone(),
        self_check: config.prover.self_check,
        policy: config.endpoint_policy(),
        findings: findings.clone(),
        tasks: tasks.clone(),
    };
    tasks.critical("proof", proof::respond(proof_context, shutdown.clone()));

    let engine = DockerEngine::new(engine_config(&config, &identity)).judging_images_by(gpus.clone());
    let engine: Arc<dyn Engine> = Arc::new(engine);
    let (orchestrator, known_orchestrator) = watch::channel(None);
    let (snapshot, seen) = watch::channel(Arc::<Snapshot>::default());
    let kept = KeptOutput::open(ground.data.join("output"), output_limits(&config), findings.clone())?;
    tasks.critical("kept-output", kept.clone().run(shutdown.clone()));
    let capture =
        kept.clone().capture(Arc::clone(&engine), known_containers.clone(), tasks.clone(), shutdown.clone());
    tasks.critical("output", capture);
    let logs = LogServer::new(
        identity.clone(),
        kept.clone(),
        known_containers.clone(),
        known_orchestrator,
        clock,
        tasks.clone(),
    );
    let log_streams = endpoint.accept(Protocol::Logs).await?;
    tasks.critical("logs", logs.clone().run(log_streams, shutdown.clone()));

    let (requests, local) = mpsc::channel(8);
    let listener = server::bind(&ground.data.join(SOCKET_NAME))?;
    let reporter =
        reporter(&identity, boot, Timestamp(clock.wall_millis()), seen, gpus.clone(), findings.clone());
    tasks.critical("local", server::serve(listener, reporter, (requests, clears), shutdown.clone()));

    let driver = Driver::new(
        booted,
        Inputs { chain, gpus, faults, descriptors, local },
        Outputs { holders, containers, orchestrator, engine_version, engine_root, snapshot },
        Ports {
            rewards_domain: reader.deployment().rewards_domain(),
            identity,
            engine,
            host: config.ports.host_ip,
            writer: ground.writer.clone(),
            link: Link::new(
                endpoint,
                tasks.clone(),
                config.orchestrator.endpoints.clone(),
                config.endpoint_policy(),
            ),
            logs,
            kept,
            usage: UsageProbe::new(config.data_dir.clone()),
            findings,
            metrics,
            clock,
        },
    );
    tasks.critical("driver", driver.run(ground.health.pulse("driver", LOOP_SILENCE), shutdown));
    ground.hold(&program);
    tracing::info!(boot = boot.0, "worker runs");
    program.finish(GRACE).await
}

async fn recall(store: &Arc<dyn Store>) -> anyhow::Result<Memory> {
    let store = Arc::clone(store);
    Ok(tokio::task::spawn_blocking(move || journal::load(store.as_ref())).await??)
}

/// What the core is told about itself.
fn core_config(config: &Config, identity: &Identity, deployment: &Deployment) -> crate::core::config::Config {
    crate::core::config::Config {
        pool: config.pool(),
        node: identity.node(),
        pools_domain: identity.pools_domain(),
        rewards_domain: deployment.rewards_domain(),
        agent_version: AGENT_VERSION.to_owned(),
        ports: config.port_range(),
        resync_interval: Millis::from_duration(config.docker.resync_interval),
        images: config.images.watermarks(),
        seed: rand::random(),
    }
}

/// Addresses for the node's description: those of the configuration, or those that are listened on and mean something
/// elsewhere.
fn announced(config: &Config, endpoint: &Endpoint) -> Vec<String> {
    let own: &[_] =
        if config.network.announce.is_empty() { endpoint.addresses() } else { &config.network.announce };
    own.iter().take(lode_protocol::descriptor::MAX_ADDRESSES).map(ToString::to_string).collect()
}

/// How GPUs reach containers, by the configuration.
pub fn gpu_access(config: &Config) -> GpuAccess {
    match (config.gpu.enabled, config.gpu.passthrough, &config.gpu.cdi_file) {
        (false, _, _) => GpuAccess::None,
        (true, Passthrough::Hook, _) | (true, Passthrough::Auto, None) => GpuAccess::Hook,
        (true, Passthrough::CdiFile | Passthrough::Auto, Some(path)) => GpuAccess::CdiFile(path.clone()),
        (true, Passthrough::CdiFile, None) => GpuAccess::None,
    }
}

/// The engine as configured.
pub fn engine_config(config: &Config, identity: &Identity) -> EngineConfig {
    let access = gpu_access(config);
    if let GpuAccess::CdiFile(path) = &access
        && let Err(error) = CdiSpec::load(path)
    {
        tracing::warn!(%error, "the CDI file cannot be used now; it is read again for every task");
    }
    EngineConfig {
        socket: config.docker.socket.clone(),
        ownership: Ownership::new(identity.node(), identity.realm),
        realm: identity.realm,
        hardening: Hardening {
            pids: config.docker.pids,
            limits: ProcessLimits {
                open_files: config.docker.nofile,
                locked_memory: config.docker.memlock.map(Bytes),
            },
            tmpfs: Bytes(config.docker.tmp_size),
            host_address: config.ports.host_ip,
            log_size: Bytes(config.docker.log_size),
            runtime: Some(config.docker.runtime.clone()),
        },
        access,
        images: config.images.access(),
        subnets: config.docker.subnets.clone(),
    }
}

fn output_limits(config: &Config) -> OutputLimits {
    let output = &config.output;
    OutputLimits { per_assignment: output.per_assignment, total: output.total, keep_for: output.keep_for }
}

fn reporter(
    identity: &Identity,
    boot: BootCounter,
    started_at: Timestamp,
    snapshot: watch::Receiver<Arc<Snapshot>>,
    gpus: watch::Receiver<Arc<GpuView>>,
    findings: FindingSet,
) -> Reporter {
    let (node, pool) = (identity.node().to_string(), identity.realm.pool);
    Arc::new(move || {
        let snapshot = snapshot.borrow().as_ref().clone();
        let view = gpus.borrow().clone();
        let report = |status: &lode_protocol::hardware::GpuStatus| GpuReport {
            status: status.clone(),
            model: view
                .offered
                .gpus
                .iter()
                .find(|spec| spec.uuid == status.uuid)
                .and_then(|spec| spec.model.clone()),
            assignment: snapshot.holders.get(&status.uuid).copied(),
        };
        StatusReport {
            version: AGENT_VERSION.to_owned(),
            node: node.clone(),
            pool,
            started_at,
            boot: boot.0,
            membership: snapshot.membership.clone(),
            session: snapshot.session.clone(),
            engine: snapshot.engine.clone(),
            gpus: view.statuses.iter().map(report).collect(),
            assignments: snapshot.assignments,
            findings: findings.list(),
        }
    })
}
