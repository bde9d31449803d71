//! Wiring: the only place that names concrete adapters.

use std::sync::Arc;
use std::time::Duration;

use lode_contracts::{
    Chain, ChainReader, Deployment, FileOutboxStore, FollowerConfig, Outbox, RpcChain, RpcConfig,
    TransactionPort,
};
use lode_network::{ConnectionLimits, Endpoint, EndpointConfig, NetworkMetrics, PeerServer, ServerConfig};
use lode_program::Program;
use lode_program::backoff::BackoffPolicy;
use lode_program::exit::{Exit, ExitError};
use lode_program::files::{self, DataDir};
use lode_program::finding::{Finding, FindingSet};
use lode_program::health::Health;
use lode_program::listen::{self, ServeLimits};
use lode_program::telemetry::Telemetry;
use lode_protocol::ids::{PoolId, ValidatorId};
use lode_protocol::keys::SigningKey;
use lode_protocol::units::Millis;
use lode_store::{RedbOptions, RedbStore, Store, Writer, WriterLimits};
use rand::TryRngCore as _;
use rand::rngs::OsRng;
use tokio::sync::{mpsc, watch};

use crate::config::Config;
use crate::core::{Core, Secret, Settings};
use crate::driver::{Driver, Sources};
use crate::inquiry::Inquirer;
use crate::metrics::Metrics;
use crate::verify::Verifier;
use crate::{api, chain, directory, storage};

/// Time that tasks get to end at shutdown.
const GRACE: Duration = Duration::from_secs(10);
/// Silence after which the owner loop counts as stuck: it ticks four times a second.
const STUCK: Duration = Duration::from_secs(60);
/// Events of chain and directories that may wait for the core.
const EVENTS: usize = 1_024;

/// Runs the validator until it is told to end.
pub async fn run(program: Program, config: Config, telemetry: Telemetry) -> anyhow::Result<()> {
    let bad = |text: String| ExitError::new(Exit::BadConfig, text);
    let deployment = Deployment::load(&config.chain.deployment).map_err(|error| bad(error.to_string()))?;
    let rpc = RpcChain::new(RpcConfig::new(&config.chain.rpc_url), deployment)
        .map_err(|error| bad(error.to_string()))?;
    let key = load_key(&config)?;
    telemetry.set_field("validator", key.address());
    let started = start(&program, &config, key, Arc::new(rpc)).await?;
    tracing::info!(addresses = ?started.addresses, "validator listens");
    program.finish(GRACE).await
}

/// What a started validator says about itself.
#[derive(Debug)]
pub struct Started {
    /// Where workers dial it.
    pub addresses: Vec<lode_network::PeerAddress>,
    /// How it does.
    pub status: watch::Receiver<crate::core::Status>,
    /// What is wrong.
    pub findings: FindingSet,
    /// Where health, status and evidence are served.
    pub http: Option<std::net::SocketAddr>,
    /// Held as long as the validator runs: one per directory.
    _data: DataDir,
}

/// Starts everything in the program's task group, over any chain.
pub async fn start(
    program: &Program,
    config: &Config,
    key: SigningKey,
    rpc: Arc<dyn Chain>,
) -> anyhow::Result<Started> {
    let (class, accusing) = (config.class()?, config.accusing()?);
    let reader: Arc<dyn ChainReader> = rpc.clone();
    let port: Arc<dyn TransactionPort> = rpc;
    let data = DataDir::open(&config.data_dir)?;
    let store: Arc<dyn Store> =
        Arc::new(RedbStore::open(&data.join("validator.redb"), RedbOptions::default())?);
    let loaded = storage::load(store.as_ref())?;
    let (writer, _thread) = Writer::start(Arc::clone(&store), WriterLimits::default())?;
    let intents = FileOutboxStore::open(&data.join("outbox"))?;
    let (outbox, runner, outcomes) =
        Outbox::open(port, Arc::new(intents), key.clone(), config.outbox()).await?;

    let (tasks, clock, token) = (&program.tasks, program.clock, program.shutdown.token());
    let health = Health::new();
    let (metrics, network_metrics) = (Metrics::default(), NetworkMetrics::default());
    metrics.register(&health);
    health.register_metrics(|registry| network_metrics.register(registry));
    let limits =
        ConnectionLimits { per_address: config.network.connections_per_address, ..Default::default() };
    let endpoint_config = EndpointConfig {
        listen: config.network.listen.clone(),
        limits,
        agent: concat!("lode-validator/", env!("CARGO_PKG_VERSION")).to_owned(),
        ..EndpointConfig::default()
    };
    let (endpoint, endpoint_task) = Endpoint::bind(endpoint_config, &key, network_metrics).await?;
    let addresses = endpoint.addresses().to_vec();
    let (server, server_task, peers) = PeerServer::proofs(endpoint.clone(), ServerConfig::default()).await?;
    tasks.critical("network", endpoint_task.run(token.clone()));
    tasks.critical("peers", server_task.run(token.clone()));
    tasks.critical("chain-outbox", until(token.clone(), runner.run()));

    let findings = FindingSet::new(clock);
    let (events, received) = mpsc::channel(EVENTS);
    let (questions, asked) = mpsc::unbounded_channel();
    let deployment = reader.deployment().clone();
    let realm = deployment.realm(PoolId(0));
    let validator = ValidatorId(key.address());
    let follower = FollowerConfig {
        poll_interval_ms: u64::try_from(config.chain.poll_interval.as_millis()).unwrap_or(u64::MAX),
        confirmations: config.chain.confirmations,
        ..FollowerConfig::default()
    };
    let (follow_reader, follow_events, follow_findings) =
        (Arc::clone(&reader), events.clone(), findings.clone());
    tasks.best_effort("chain", BackoffPolicy::default(), move || {
        let (reader, events, findings) =
            (Arc::clone(&follow_reader), follow_events.clone(), follow_findings.clone());
        async move {
            chain::follow(reader, follower, events, findings).await;
            Ok::<(), anyhow::Error>(())
        }
    });
    let answering = chain::answer(Arc::clone(&reader), validator, asked, events.clone(), findings.clone());
    tasks.critical("chain-questions", until(token.clone(), answering));
    for url in &config.discovery.urls {
        let following = directory::follow(url.clone(), realm, clock, events.clone(), findings.clone());
        tasks.critical(format!("discovery-{url}"), until(token.clone(), following));
    }

    let mut secret = [0; 32];
    OsRng.try_fill_bytes(&mut secret)?;
    let settings = Settings {
        validator,
        realm,
        slashing: deployment.slashing,
        class,
        validity_epochs: config.proof.validity_epochs,
        retry: Millis::from_duration(config.proof.retry_interval),
        concurrent_runs: config.proof.concurrent_runs,
        accusing,
    };
    let (status, status_receiver) = watch::channel(Default::default());
    let driver = Driver {
        core: Core::new(settings, Secret::new(secret), loaded),
        key,
        realm,
        server,
        outbox,
        writer,
        questions,
        verifier: Verifier::new(),
        inquirer: Inquirer::new(reader, config.fetch(), findings.clone()),
        findings: findings.clone(),
        clock,
        metrics,
        status,
    };
    let ready = health.condition("validator", Finding::info("program/starting", "the validator is starting"));
    let pulse = health.pulse("driver", STUCK);
    let sources = Sources { peers, events: received, outcomes };
    tasks.critical("driver", driver.run(sources, pulse, token.clone()));
    let mut http = None;
    if let Some(address) = config.health.listen {
        let bound = listen::bind("health", address).await?;
        http = Some(bound.address);
        tracing::info!(address = %bound.address, "health and status");
        let router = api::router(validator.to_string(), status_receiver.clone(), findings.clone(), store);
        let router = router.merge(health.router());
        tasks.critical(
            "health",
            listen::serve(router, bound, ServeLimits::default(), None, program.shutdown.clone()),
        );
    }
    ready.holds();
    Ok(Started { addresses, status: status_receiver, findings, http, _data: data })
}

/// Ends with shutdown.
async fn until(shutdown: tokio_util::sync::CancellationToken, work: impl Future<Output = ()>) {
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = work => {}
    }
}

fn load_key(config: &Config) -> anyhow::Result<SigningKey> {
    let path = config.key_path();
    let text = files::read_secret_text(&path)?;
    SigningKey::from_hex(text.trim())
        .map_err(|error| ExitError::new(Exit::BadConfig, format!("{}: {error}", path.display())).into())
}
