//! Wires the orchestrator up: the only place that names concrete adapters. Bind everything, spawn, say that it is ready,
//! drain.

mod listeners;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use futures::future::BoxFuture;
use lode_contracts::{Chain, Outbox, OutboxConfig};
use lode_daemon::{Ground, Storage, read_key};
use lode_network::{Endpoint, EndpointConfig, NetworkMetrics, PeerServer, ServerConfig, ServerSink};
use lode_program::finding::{Finding, FindingSet};
use lode_program::listen::{self, Hosts, ServeLimits};
use lode_program::{Exit, ExitError, Program, open_files, service};
use lode_protocol::ids::{Epoch, TaskId};
use lode_protocol::keys::SigningKey;
use lode_protocol::units::Timestamp;
use lode_store::Store;
use rand::RngCore as _;
use tokio::sync::{mpsc, watch};

use crate::api::{self, About, ApiState, PublicRateLimit};
use crate::archive::Archive;
use crate::chain::{self, ChainCommands, ChainOutcomes, ChainSettings, ChainStatus, ChainWatch};
use crate::config::{Arguments, Config};
use crate::directory::{Directory, DirectoryStatus};
use crate::driver::outage::StoreHealth;
use crate::driver::{self, Driver, Ports};
use crate::identity::Identity;
use crate::images::ImageResolver;
use crate::known_nodes::KnownNodes;
use crate::log_requests::LogRequests;
use crate::logs::LogHub;
use crate::metrics::Metrics;
use crate::outbox_store::StoreOutbox;
use crate::wire::{Answers, Gate, Inbound, Skews};
use crate::{event_log, recovery, token};
use listeners::Listeners;

/// Time for everything to end by itself.
const GRACE: Duration = Duration::from_secs(10);
/// How long the chain may take to say whose pool it is at start; then the store's word counts.
const CHAIN_CHECK: Duration = Duration::from_secs(5);
/// How long the driver may be silent before the process counts as hung.
const PULSE: Duration = Duration::from_secs(30);
/// Pieces of output that wait for their reader; more make their workers wait.
const POSTED: usize = 256;
/// A worker's message and its envelope, over HTTPS.
const LARGEST_MESSAGE: usize = (1 << 20) + (4 << 10);
/// How often gauges are set: they walk all nodes and tasks.
const GAUGES: Duration = Duration::from_secs(10);

/// Runs the orchestrator until it is told to stop.
///
/// # Errors
/// When it cannot start, or a part that it cannot live without fails.
pub async fn run(program: Program, arguments: Arguments) -> anyhow::Result<()> {
    let (config, telemetry) = service::begin(&program, &arguments.log, || checked(&arguments))?;
    telemetry.set_field("pool", config.pool());
    open_files::require(&config.connections())?;
    let chain = config.chain.connect()?;
    let running = start(&program, &config, Arc::new(chain), None).await?;
    for endpoint in &running.endpoints {
        tracing::info!(%endpoint, "workers reach this orchestrator here");
    }
    program.finish(GRACE).await
}

/// How a started orchestrator is reached.
#[derive(Clone, Debug)]
pub struct Running {
    /// The owner of its core, within this process.
    pub driver: driver::Handle,
    /// The API.
    pub api: std::net::SocketAddr,
    /// Health and metrics, if they are wanted.
    pub health: Option<std::net::SocketAddr>,
    /// Where workers reach it.
    pub endpoints: Vec<String>,
}

/// Starts everything on this program's task group. `store` replaces the file in the data directory.
///
/// # Errors
/// When something cannot be opened or bound, or the key is not the pool's.
///
/// Boxed, so that all of this is compiled here and not again by whoever starts it.
pub fn start<'a>(
    program: &'a Program,
    config: &'a Config,
    chain: Arc<dyn Chain>,
    store: Option<Arc<dyn Store>>,
) -> BoxFuture<'a, anyhow::Result<Running>> {
    Box::pin(start_all(program, config, chain, store))
}

async fn start_all(
    program: &Program,
    config: &Config,
    chain: Arc<dyn Chain>,
    store: Option<Arc<dyn Store>>,
) -> anyhow::Result<Running> {
    let ground = Ground::open(&config.data_dir, store.map_or(Storage::file("state.redb"), Storage::Given))?;
    let (store, writer, health) = (Arc::clone(&ground.store), ground.writer.clone(), ground.health.clone());
    let key = read_key(&config.key_path(), "lode key new")?;
    let deployment = chain.deployment().clone();
    let token = token::load_or_create(store.as_ref(), &config.token_path())?;
    let terms = terms_of_pool(config, chain.as_ref(), store.as_ref(), &key).await?;

    let findings = FindingSet::new(program.clock);
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
    let listeners = Listeners::bind(config, &ground.data).await?;
    let health_address = ground.serve_health(program, &config.health, Router::new()).await?;
    let mut endpoint_config = EndpointConfig {
        listen: config.wire.listen.clone(),
        strangers: config.wire.strangers,
        frame_pace: config.wire.frames,
        ..EndpointConfig::default()
    };
    endpoint_config.limits.incoming = config.wire.max_connections;
    endpoint_config.limits.per_address = config.wire.max_connections_per_address;
    endpoint_config.agent = concat!("lode-orchestrator/", env!("CARGO_PKG_VERSION")).to_owned();
    let (endpoint, endpoint_task) = Endpoint::bind(endpoint_config, &key, network_metrics).await?;
    let (driver, queues) = driver::queues();
    let known = KnownNodes::default();
    let wire_identity = Arc::new(identity.clone());
    let (posted_sender, posted) = mpsc::channel(POSTED);
    let core = recovery::recover(store.as_ref(), config.for_core(&deployment, terms)?)?;
    let keys = core.nodes(None, usize::MAX).into_iter().filter_map(|node| core.public_key(&node.id));
    let gate = Arc::new(Gate::new(config.limits.address_hellos(), config.limits.hellos(), keys));
    let inbound: Arc<dyn ServerSink> = Arc::new(Inbound {
        identity: Arc::clone(&wire_identity),
        known: known.clone(),
        gate: Arc::clone(&gate),
        driver: driver.clone(),
        posted: posted_sender,
        metrics: metrics.clone(),
        skews: Skews::new(findings.clone()),
    });
    let server_config = ServerConfig {
        http_requests_per_address: config.wire.http_requests_per_address,
        ..ServerConfig::default()
    };
    let (server, server_task) = PeerServer::sessions_into(endpoint.clone(), server_config, inbound).await?;
    let mut endpoints: Vec<String> = endpoint.addresses().iter().map(ToString::to_string).collect();
    endpoints.extend(listeners.wire_url());

    let outbox_store = Arc::new(StoreOutbox::new(Arc::clone(&store), writer.clone()));
    let outbox_config = config.chain.outbox(OutboxConfig::default());
    let (outbox, outbox_runner, outcomes) =
        Outbox::open(chain.clone(), outbox_store, key.clone(), outbox_config).await?;

    let mut incarnation = rand::rng().next_u64();
    incarnation = incarnation.max(1);
    let (events, event_writer, fresh) =
        event_log::open(store.as_ref(), config.limits.retention(), incarnation)?;
    if let Some(batch) = fresh {
        store.commit(&batch)?;
    }

    let log_requests = LogRequests::default();
    let logs = LogHub::new(
        identity.clone(),
        server.clone(),
        log_requests.clone(),
        program.tasks.clone(),
        config.limits.output(),
    );
    let answers = Answers::new(wire_identity, server.clone(), known, gate, log_requests);
    let (chain_sender, chain_orders) = mpsc::unbounded_channel();
    let (questions, asked) = chain::questions();
    let trouble = StoreHealth::new(&health);
    let archive = Archive::new(Arc::clone(&store), writer.clone());
    let (kept_from, kept) = watch::channel(Epoch(0));
    let ports = Ports {
        clock: program.clock,
        writer: writer.clone(),
        events: event_writer,
        outlet: Arc::new(answers),
        kept_from,
        chain: chain_sender,
        questions,
        findings: findings.clone(),
        metrics: metrics.clone(),
        pulse: Some(health.pulse("driver", PULSE)),
    };
    let driver_task = Driver::new(core, ports, queues, trouble.clone());
    let chain_status = ChainStatus::default();
    let directories = DirectoryStatus::default();

    let tasks = &program.tasks;
    let shutdown = &program.shutdown;
    tasks.critical("network", endpoint_task.run(shutdown.token()));
    tasks.critical("sessions", server_task.run(shutdown.token()));
    tasks.critical("driver", driver_task.run(shutdown.clone()));
    tasks.critical("posted output", shutdown.until(logs.clone().run(posted)));

    let (watch_sender, watch_orders) = mpsc::unbounded_channel();
    let watch = ChainWatch {
        reader: chain.clone(),
        settings: ChainSettings {
            pool: config.pool(),
            follower: config.chain.follower(),
            poll_interval: config.chain.poll_interval,
            stale_after: config.chain.stale_after,
            settles: config.settlement.is_some(),
        },
        driver: driver.clone(),
        status: chain_status.clone(),
        findings: findings.clone(),
        own: key.address(),
    };
    tasks.critical("chain watch", watch.run(watch_orders, asked, shutdown.clone()));
    let orders =
        ChainCommands { identity: identity.clone(), outbox: outbox.clone(), watch: watch_sender.clone() };
    tasks.critical("chain orders", shutdown.until(orders.run(chain_orders)));
    let outcomes_task = ChainOutcomes { driver: driver.clone(), outbox: outbox.clone(), watch: watch_sender };
    tasks.critical("chain outcomes", shutdown.until(outcomes_task.run(outcomes)));
    tasks.critical("outbox", shutdown.until(outbox_runner.run()));
    tasks.critical("outbox watch", shutdown.until(show_outbox(outbox.status(), findings.clone())));
    for url in &config.discovery.urls {
        let directory = Directory {
            url: url.clone(),
            identity: identity.clone(),
            driver: driver.clone(),
            status: directories.clone(),
            findings: findings.clone(),
        };
        tasks.critical(format!("directory {url}"), shutdown.until(directory.follow()));
    }
    tasks.critical("archive", shutdown.until(archive.clone().clean(kept)));
    tasks.critical("gauges", shutdown.until(gauges(driver.clone(), metrics)));

    let state = Arc::new(ApiState {
        driver: driver.clone(),
        events,
        logs,
        images: ImageResolver::new(config.images.clone()).telling(findings.clone()),
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
        turnstile: PublicRateLimit::default(),
        about: About {
            started: Timestamp(program.clock.wall_millis()),
            realm: identity.realm,
            address: key.address(),
            endpoints: endpoints.clone(),
            public_metrics: config.api.metrics,
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
            Hosts::new(config.api.hosts.clone(), "api.hosts"),
            config.limits.http,
            api_tls,
            shutdown.clone(),
        ),
    );
    if let Some(wire) = wire {
        let http = config.limits.http;
        let limits = ServeLimits {
            max_body_bytes: http.max_body_bytes.max(LARGEST_MESSAGE),
            // Only nodes with a session are kept a connection for.
            max_idle_connections: http.max_connections,
            ..http
        };
        tasks.critical(
            "wire https",
            listen::serve(
                server.wire_routes(api::public_router(state)),
                wire.bound,
                Hosts::new(config.wire.hosts.clone(), "wire.hosts"),
                limits,
                wire.tls,
                shutdown.clone(),
            ),
        );
    }
    ground.hold(program);
    Ok(Running { driver, api: api_address, health: health_address, endpoints })
}

fn checked(arguments: &Arguments) -> anyhow::Result<Config> {
    let config = Config::load(arguments)?;
    config.validate()?;
    Ok(config)
}

/// Hash of the pool's terms: by the chain, and by the store where the chain does not answer. A key that the chain says is
/// not the pool's ends the start.
async fn terms_of_pool(
    config: &Config,
    chain: &dyn Chain,
    store: &dyn Store,
    key: &SigningKey,
) -> anyhow::Result<lode_protocol::hash::Digest> {
    let pool = config.pool();
    let wrong = |text: String| Err(ExitError::new(Exit::BadConfig, text).into());
    let asked = async {
        chain.verify().await?;
        chain.pool(pool).await
    };
    match tokio::time::timeout(CHAIN_CHECK, asked).await {
        Ok(Ok(Some(record))) if record.orchestrator == key.address() => Ok(record.requirements),
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
            Ok(recovery::known_requirements(store)?.unwrap_or_default())
        }
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

async fn gauges(driver: driver::Handle, metrics: Metrics) {
    let mut due = tokio::time::interval(GAUGES);
    loop {
        due.tick().await;
        match driver.read(|core, _| core.pool()).await {
            Ok(pool) => metrics.show(&pool),
            Err(driver::WriteError::Stopped) => return,
            // Gauges can wait.
            Err(_) => {}
        }
    }
}
