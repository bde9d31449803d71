//! Wires the orchestrator up: the only place that names concrete adapters. Bind everything, spawn, say that it is ready,
//! drain.

mod listeners;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use lode_contracts::{Deployment, Outbox, OutboxConfig, RpcChain, RpcConfig};
use lode_network::{Endpoint, EndpointConfig, NetworkMetrics, PeerServer, ServerConfig};
use lode_program::config::ConfigError;
use lode_program::files::{self, DataDir};
use lode_program::finding::{Finding, FindingSet};
use lode_program::listen::{self, ServeLimits};
use lode_program::{Exit, ExitError, Health, Program, telemetry};
use lode_protocol::ids::{Epoch, TaskId};
use lode_protocol::keys::SigningKey;
use lode_protocol::units::Timestamp;
use lode_store::{RedbOptions, RedbStore, Store, Writer, WriterLimits};
use rand::RngCore as _;
use tokio::sync::{mpsc, watch};

use crate::api::{self, About, ApiState, Turnstile};
use crate::archive::Archive;
use crate::chain::{ChainOrders, ChainOutcomes, ChainSettings, ChainStatus, ChainWatch};
use crate::config::{Arguments, Config};
use crate::discovery::{DirectoryFollower, DirectoryStatus};
use crate::driver::{Driver, Surroundings};
use crate::hold::StoreTrouble;
use crate::images::ImageResolver;
use crate::logs::LogHub;
use crate::metrics::Metrics;
use crate::outbox_store::StoreOutbox;
use crate::wire::{Identity, Inbound, Links, Outbound};
use crate::{event_log, recovery, token};
use listeners::Listeners;

/// Time for everything to end by itself.
const GRACE: Duration = Duration::from_secs(10);
/// How long the chain may take to say whose pool it is at start; then the store's word counts.
const CHAIN_CHECK: Duration = Duration::from_secs(5);
/// How long the driver may be silent before the process counts as hung.
const PULSE: Duration = Duration::from_secs(30);
/// Answers that wait to be signed.
const OUTGOING: usize = 4_096;
/// How often gauges are set: they walk all nodes and tasks.
const GAUGES: Duration = Duration::from_secs(10);

/// The chain as the wiring needs it.
pub trait Chain: lode_contracts::ChainReader + lode_contracts::TransactionPort {}

impl<T: lode_contracts::ChainReader + lode_contracts::TransactionPort> Chain for T {}

/// Runs the orchestrator until it is told to stop.
///
/// # Errors
/// When it cannot start, or a part that it cannot live without fails.
pub async fn run(program: Program, arguments: Arguments) -> anyhow::Result<()> {
    let config = Config::load(&arguments).map_err(|error: ConfigError| error)?;
    config.validate()?;
    let telemetry = telemetry::init(program.name, &arguments.log)?;
    telemetry.set_field("pool", config.pool());
    let deployment = Deployment::load(&config.chain.deployment)
        .map_err(|error| ExitError::new(Exit::BadConfig, error.to_string()))?;
    let chain = RpcChain::new(RpcConfig::new(config.chain.rpc_url.clone()), deployment)
        .map_err(|error| ExitError::new(Exit::BadConfig, error.to_string()))?;
    let running = start(&program, &config, Arc::new(chain), None).await?;
    for endpoint in &running.endpoints {
        tracing::info!(%endpoint, "workers reach this orchestrator here");
    }
    program.finish(GRACE).await
}

/// Where a started orchestrator listens.
#[derive(Clone, Debug)]
pub struct Running {
    /// The API.
    pub api: std::net::SocketAddr,
    /// Where workers reach it.
    pub endpoints: Vec<String>,
}

/// Starts everything on this program's task group. `store` replaces the file in the data directory.
///
/// # Errors
/// When something cannot be opened or bound, or the key is not the pool's.
pub async fn start<C: Chain + 'static>(
    program: &Program,
    config: &Config,
    chain: Arc<C>,
    store: Option<Arc<dyn Store>>,
) -> anyhow::Result<Running> {
    let data_dir = DataDir::open(&config.data_dir)?;
    let key = read_key(config)?;
    let deployment = chain.deployment().clone();
    let store: Arc<dyn Store> = match store {
        Some(store) => store,
        None => Arc::new(RedbStore::open(&data_dir.join("state.redb"), RedbOptions::default())?),
    };
    let token = token::load_or_create(store.as_ref(), &config.token_path())?;
    let terms = terms_of_pool(config, chain.as_ref(), store.as_ref(), &key).await?;

    let findings = FindingSet::new(program.clock);
    let health = Health::new();
    let metrics = Metrics::default();
    let network_metrics = NetworkMetrics::default();
    health.register_metrics(|registry| {
        metrics.register(registry);
        network_metrics.register(registry);
    });
    let identity = Identity {
        key: key.clone(),
        realm: deployment.realm(config.pool()),
        pools_domain: deployment.pools_domain(),
        rewards_domain: deployment.rewards_domain(),
        clock: program.clock,
    };

    // Bind everything before anything is spawned.
    let listeners = Listeners::bind(config, &data_dir).await?;
    let mut endpoint_config =
        EndpointConfig { listen: config.wire.listen.clone(), ..EndpointConfig::default() };
    endpoint_config.limits.incoming = config.wire.max_connections;
    endpoint_config.limits.per_address = config.wire.max_connections_per_address;
    endpoint_config.agent = concat!("lode-orchestrator/", env!("CARGO_PKG_VERSION")).to_owned();
    let (endpoint, endpoint_task) = Endpoint::bind(endpoint_config, &key, network_metrics).await?;
    let (server, server_task, wire_events) =
        PeerServer::sessions(endpoint.clone(), ServerConfig::default()).await?;
    let mut endpoints: Vec<String> = endpoint.addresses().iter().map(ToString::to_string).collect();
    endpoints.extend(listeners.wire_url());

    let (writer, writer_thread) = Writer::start(Arc::clone(&store), WriterLimits::default())
        .context("cannot start the store's thread")?;
    let outbox_store = Arc::new(StoreOutbox::new(Arc::clone(&store), writer.clone()));
    let outbox_config = OutboxConfig {
        confirmations: config.chain.confirmations,
        poll_interval_ms: u64::try_from(config.chain.poll_interval.as_millis()).unwrap_or(1_000).min(1_000),
        ..OutboxConfig::default()
    };
    let (outbox, outbox_runner, outcomes) =
        Outbox::open(chain.clone(), outbox_store, key.clone(), outbox_config).await?;

    let mut incarnation = rand::rng().next_u64();
    incarnation = incarnation.max(1);
    let (events, event_writer, fresh) = event_log::open(store.as_ref(), config.limits.events, incarnation)?;
    if let Some(batch) = fresh {
        store.commit(&batch)?;
    }
    let core = recovery::recover(store.as_ref(), config.for_core(&deployment, terms)?)?;

    let (outgoing_sender, outgoing) = mpsc::channel(OUTGOING);
    let (chain_sender, chain_orders) = mpsc::unbounded_channel();
    let trouble = StoreTrouble::new(&health);
    let archive = Archive::new(Arc::clone(&store), writer.clone());
    let (kept_from, kept) = watch::channel(Epoch(0));
    let around = Surroundings {
        clock: program.clock,
        writer: writer.clone(),
        events: event_writer,
        outgoing: outgoing_sender.clone(),
        kept_from,
        chain: chain_sender,
        findings: findings.clone(),
        metrics: metrics.clone(),
        pulse: Some(health.pulse("driver", PULSE)),
    };
    let (driver, driver_task) = Driver::new(core, around, trouble.clone());
    let links = Links::default();
    let logs = LogHub::new(identity.clone(), links.clone(), server.clone(), program.tasks.clone());
    let chain_status = ChainStatus::default();
    let directories = DirectoryStatus::default();

    let tasks = &program.tasks;
    let shutdown = &program.shutdown;
    tasks.critical("network", endpoint_task.run(shutdown.token()));
    tasks.critical("sessions", server_task.run(shutdown.token()));
    tasks.critical("driver", driver_task.run(shutdown.clone()));
    let inbound = Inbound {
        identity: identity.clone(),
        links: links.clone(),
        driver: driver.clone(),
        outgoing: outgoing_sender,
        logs: logs.clone(),
        metrics: metrics.clone(),
    };
    tasks.critical("inbound", until_shutdown(shutdown.clone(), inbound.run(wire_events)));
    let outbound = Outbound { identity: identity.clone(), links, server: server.clone(), logs: logs.clone() };
    tasks.critical("outbound", until_shutdown(shutdown.clone(), outbound.run(outgoing)));

    let (watch_sender, watch_orders) = mpsc::unbounded_channel();
    let watch = ChainWatch {
        reader: chain.clone(),
        settings: ChainSettings {
            pool: config.pool(),
            poll_interval: config.chain.poll_interval,
            confirmations: config.chain.confirmations,
            stale_after: config.chain.stale_after,
            settles: config.settlement.is_some(),
        },
        driver: driver.clone(),
        writer: writer.clone(),
        status: chain_status.clone(),
        findings: findings.clone(),
        own: key.address(),
    };
    tasks.critical("chain watch", watch.run(watch_orders, shutdown.clone()));
    let orders =
        ChainOrders { identity: identity.clone(), outbox: outbox.clone(), watch: watch_sender.clone() };
    tasks.critical("chain orders", until_shutdown(shutdown.clone(), orders.run(chain_orders)));
    let outcomes_task = ChainOutcomes { driver: driver.clone(), outbox: outbox.clone(), watch: watch_sender };
    tasks.critical("chain outcomes", until_shutdown(shutdown.clone(), outcomes_task.run(outcomes)));
    tasks.critical("outbox", until_shutdown(shutdown.clone(), outbox_runner.run()));
    tasks.critical(
        "outbox watch",
        until_shutdown(shutdown.clone(), show_outbox(outbox.status(), findings.clone())),
    );
    for url in &config.discovery.urls {
        let follower = DirectoryFollower {
            url: url.clone(),
            identity: identity.clone(),
            driver: driver.clone(),
            status: directories.clone(),
            findings: findings.clone(),
        };
        tasks.critical(format!("directory {url}"), until_shutdown(shutdown.clone(), follower.run()));
    }
    tasks.critical("archive", until_shutdown(shutdown.clone(), archive.clone().clean(kept)));
    tasks.critical("gauges", until_shutdown(shutdown.clone(), gauges(driver.clone(), metrics)));

    let state = Arc::new(ApiState {
        driver,
        events,
        logs,
        images: ImageResolver::new(config.images.clone()),
        findings,
        health,
        chain: chain_status,
        directories,
        store: trouble,
        outbox: outbox.status(),
        server: server.clone(),
        token,
        archive,
        identity: identity.clone(),
        turnstile: Turnstile::default(),
        about: About {
            started: Timestamp(program.clock.wall_millis()),
            realm: identity.realm,
            address: key.address(),
            endpoints: endpoints.clone(),
            hosts: config.api.listen.ip().is_loopback().then(|| config.api.hosts.clone()),
        },
        task_id: || TaskId(uuid::Uuid::now_v7()),
    });
    let api_address = listeners.api.address;
    let Listeners { api, api_tls, wire } = listeners;
    tasks.critical(
        "api",
        listen::serve(
            api::router(Arc::clone(&state)),
            api,
            ServeLimits::default(),
            api_tls,
            shutdown.clone(),
        ),
    );
    if let Some(wire) = wire {
        let limits = ServeLimits { max_body_bytes: (1 << 20) + (4 << 10), ..ServeLimits::default() };
        tasks.critical(
            "wire https",
            listen::serve(
                server.wire_routes().merge(api::public_router(state)),
                wire.bound,
                limits,
                wire.tls,
                shutdown.clone(),
            ),
        );
    }
    // Held to the end: the lock on the directory, and the store's thread until everything is written.
    let stopping = shutdown.clone();
    tasks.critical("store", async move {
        stopping.requested().await;
        drop(writer);
        writer_thread.finished().await;
        drop(data_dir);
    });
    Ok(Running { api: api_address, endpoints })
}

fn read_key(config: &Config) -> anyhow::Result<SigningKey> {
    let path = config.key_path();
    let text = files::read_secret_text(&path)?;
    SigningKey::from_hex(&text)
        .map_err(|error| ExitError::new(Exit::BadConfig, format!("{}: {error}", path.display())).into())
}

/// Hash of the pool's terms: by the chain, and by the store where the chain does not answer. A key that the chain says is
/// not the pool's ends the start.
async fn terms_of_pool<C: Chain>(
    config: &Config,
    chain: &C,
    store: &dyn Store,
    key: &SigningKey,
) -> anyhow::Result<lode_protocol::hash::Digest> {
    let pool = config.pool();
    let wrong = |text: String| Err(ExitError::new(Exit::BadConfig, text).into());
    let asked = async {
        chain.verify().await?;
        lode_contracts::ChainReader::pool(chain, pool).await
    };
    match tokio::time::timeout(CHAIN_CHECK, asked).await {
        Ok(Ok(Some(record))) if record.orchestrator == key.address() => {
            store.commit(&recovery::remember_terms(&record))?;
            Ok(record.requirements)
        }
        Ok(Ok(Some(record))) => wrong(format!(
            "{} is not the orchestrator key of pool {pool}: the chain says {}. Use that key, or let the pool's owner set this one",
            key.address(),
            record.orchestrator
        )),
        Ok(Ok(None)) => wrong(format!("the chain has no pool {pool}: check chain.pool and chain.deployment")),
        Ok(Err(error)) if !error.is_transient() => {
            wrong(format!("the chain cannot be used ({}): {error}", error.code()))
        }
        Ok(Err(_)) | Err(_) => {
            tracing::warn!(
                "the chain does not answer: starting from the store; joins and placements wait for it"
            );
            Ok(recovery::known_terms(store)?.unwrap_or_default())
        }
    }
}

async fn until_shutdown(shutdown: lode_program::Shutdown, work: impl Future<Output = ()>) {
    tokio::select! {
        () = shutdown.requested() => {}
        () = work => {}
    }
}

/// Says when transactions do not get through.
async fn show_outbox(mut status: watch::Receiver<lode_contracts::OutboxStatus>, findings: FindingSet) {
    const BLOCKED: &str = "outbox/blocked";
    loop {
        match status.borrow_and_update().blocked.clone() {
            Some(blocked) => {
                let message = format!("transactions wait ({}): {}", blocked.code, blocked.message);
                findings.raise(Finding::warning(BLOCKED, message).remedy(
                    "If it says insufficient funds, send the orchestrator's address native coins; it goes on by itself.",
                ));
            }
            None => {
                findings.clear(BLOCKED, "");
            }
        }
        if status.changed().await.is_err() {
            return;
        }
    }
}

async fn gauges(driver: crate::driver::Handle, metrics: Metrics) {
    let mut due = tokio::time::interval(GAUGES);
    loop {
        due.tick().await;
        match driver.read(|core, _| core.pool()).await {
            Ok(pool) => metrics.show(&pool),
            Err(crate::driver::WriteError::Stopped) => return,
            // Gauges can wait.
            Err(_) => {}
        }
    }
}
