//! Wiring: the only place that names concrete adapters.

use std::sync::Arc;
use std::time::Duration;

use lode_contracts::{Chain, ChainReader, FileOutboxStore, Outbox, TransactionPort};
use lode_daemon::{Ground, Storage, read_key};
use lode_network::{ConnectionLimits, Endpoint, EndpointConfig, NetworkMetrics, PeerServer, ServerConfig};
use lode_program::Program;
use lode_program::backoff::BackoffPolicy;
use lode_program::finding::{Finding, FindingSet};
use lode_program::open_files;
use lode_program::telemetry::Telemetry;
use lode_protocol::ids::{PoolId, ValidatorId};
use lode_protocol::keys::SigningKey;
use lode_protocol::units::Millis;
use rand::TryRngCore as _;
use rand::rngs::OsRng;
use tokio::sync::{mpsc, watch};

use crate::config::Config;
use crate::core::{Core, Secret, Settings};
use crate::directory::Directory;
use crate::driver::{Driver, Sources};
use crate::inquiry::Inquirer;
use crate::metrics::Metrics;
use crate::verify::Verifier;
use crate::{api, chain, storage};

/// Time that tasks get to end at shutdown.
const GRACE: Duration = Duration::from_secs(10);
/// Silence after which the owner loop counts as stuck: it ticks four times a second.
const STUCK: Duration = Duration::from_secs(60);
/// Events of chain and directories that may wait for the core.
const EVENTS: usize = 1_024;

/// Runs the validator until it is told to end.
pub async fn run(program: Program, config: Config, telemetry: Telemetry) -> anyhow::Result<()> {
    open_files::require(&config.connections())?;
    let rpc = config.chain.connect()?;
    let key = read_key(&config.key_path(), "lode key new")?;
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
    let ground = Ground::open(&config.data_dir, Storage::file("validator.redb"))?;
    let loaded = storage::load(ground.store.as_ref())?;
    let intents = FileOutboxStore::open(&ground.data.join("outbox"))?;
    let (outbox, runner, outcomes) =
        Outbox::open(port, Arc::new(intents), key.clone(), config.outbox()).await?;

    let (tasks, clock, token) = (&program.tasks, program.clock, program.shutdown.token());
    let health = &ground.health;
    let (metrics, network_metrics) = (Metrics::default(), NetworkMetrics::default());
    metrics.register(health);
    health.register_metrics(|registry| network_metrics.register(registry));
    let limits = ConnectionLimits {
        incoming: config.network.connections,
        per_address: config.network.connections_per_address,
        ..Default::default()
    };
    let endpoint_config = EndpointConfig {
        listen: config.network.listen.clone(),
        limits,
        strangers: config.network.strangers,
        frame_pace: config.network.frames,
        agent: concat!("lode-validator/", env!("CARGO_PKG_VERSION")).to_owned(),
        ..EndpointConfig::default()
    };
    let (endpoint, endpoint_task) = Endpoint::bind(endpoint_config, &key, network_metrics).await?;
    let addresses = endpoint.addresses().to_vec();
    let (server, server_task, peers) = PeerServer::proofs(endpoint.clone(), ServerConfig::default()).await?;
    tasks.critical("network", endpoint_task.run(token.clone()));
    tasks.critical("peers", server_task.run(token.clone()));
    tasks.critical("chain-outbox", program.shutdown.until(runner.run()));

    let findings = FindingSet::new(clock);
    let (events, received) = mpsc::channel(EVENTS);
    let (questions, asked) = mpsc::unbounded_channel();
    let deployment = reader.deployment().clone();
    let realm = deployment.realm(PoolId(0));
    let validator = ValidatorId(key.address());
    let follower = config.chain.follower();
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
    tasks.critical("chain-questions", program.shutdown.until(answering));
    for url in &config.discovery.urls {
        let directory = Directory {
            url: url.clone(),
            realm,
            clock,
            events: events.clone(),
            findings: findings.clone(),
            skipped: metrics.skipped.clone(),
        };
        tasks.critical(format!("directory-{url}"), program.shutdown.until(directory.follow()));
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
        concurrent_audits: config.fetch.audits,
        accusing,
    };
    let (status, status_receiver) = watch::channel(Default::default());
    let driver = Driver {
        core: Core::new(settings, Secret::new(secret), loaded),
        key,
        realm,
        server,
        outbox,
        writer: ground.writer.clone(),
        questions,
        verifier: Verifier::new(),
        inquirer: Inquirer::new(reader, config.inquiry(), findings.clone()),
        findings: findings.clone(),
        clock,
        metrics,
        status,
    };
    let ready = health.condition("validator", Finding::info("program/starting", "the validator is starting"));
    let pulse = health.pulse("driver", STUCK);
    let sources = Sources { peers, events: received, outcomes };
    tasks.critical("driver", driver.run(sources, pulse, token.clone()));
    let store = Arc::clone(&ground.store);
    let router = api::router(validator.to_string(), status_receiver.clone(), findings.clone(), store);
    let http = ground.serve_health(program, &config.health(), router).await?;
    ready.holds();
    ground.hold(program);
    Ok(Started { addresses, status: status_receiver, findings, http })
}
