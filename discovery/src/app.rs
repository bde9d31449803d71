//! Wiring: the only place that names concrete adapters.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use lode_contracts::{ChainReader, Deployment, FollowerConfig, RpcChain, RpcConfig};
use lode_network::ServerIdentity;
use lode_program::Program;
use lode_program::exit::{Exit, ExitError};
use lode_program::files::{self, DataDir};
use lode_program::finding::Finding;
use lode_program::health::Health;
use lode_program::listen;
use lode_program::telemetry::Telemetry;
use lode_store::{RedbOptions, RedbStore, Store, Writer, WriterLimits};

use crate::config::{Config, TlsConfig};
use crate::service::Service;
use crate::{api, chain};

/// Time that requests get to end at shutdown.
const GRACE: Duration = Duration::from_secs(10);
/// Silence after which the expiry loop counts as stuck.
const STUCK: Duration = Duration::from_secs(300);

/// Runs the directory until it is told to end.
pub async fn run(program: Program, config: Config, _telemetry: Telemetry) -> anyhow::Result<()> {
    let bad = |text: String| ExitError::new(Exit::BadConfig, text);
    if config.tls.is_none() && !config.listen.ip().is_loopback() {
        return Err(bad(format!(
            "listen = \"{}\" is not loopback, and tls is not set: set tls.certificate and tls.key",
            config.listen
        ))
        .into());
    }
    let deployment = Deployment::load(&config.chain.deployment).map_err(|error| bad(error.to_string()))?;
    let reader = RpcChain::new(RpcConfig::new(&config.chain.rpc_url), deployment)
        .map_err(|error| bad(error.to_string()))?;
    let reader: Arc<dyn ChainReader> = Arc::new(reader);
    let data = DataDir::open(&config.data_dir)?;
    let store: Arc<dyn Store> =
        Arc::new(RedbStore::open(&data.join("directory.redb"), RedbOptions::default())?);
    let (writer, _thread) = Writer::start(Arc::clone(&store), WriterLimits::default())?;
    // Every start is another log: followers of the one before read the whole directory once.
    let incarnation = program.clock.wall_millis();
    let clock = program.clock;
    let limits = config.limits.clone();
    let service =
        Arc::new(Service::open(store.as_ref(), writer, Arc::clone(&reader), clock, limits, incarnation)?);

    let tls = config.tls.as_ref().map(identity).transpose()?.map(|identity| identity.server_config());
    let bound = listen::bind("api", config.listen).await?;
    tracing::info!(address = %bound.address, "directory listens");

    let health = Health::new();
    let pulse = health.pulse("expiry", STUCK);
    let ready = health.condition("api", Finding::info("program/starting", "the directory is starting"));
    let router = api::router(Arc::clone(&service)).merge(health.router());
    let follower = FollowerConfig {
        poll_interval_ms: u64::try_from(config.chain.poll_interval.as_millis()).unwrap_or(u64::MAX),
        confirmations: config.chain.confirmations,
        ..FollowerConfig::default()
    };
    let tasks = &program.tasks;
    let http = config.limits.http.clone();
    tasks.critical("api", listen::serve(router, bound, http, tls, program.shutdown.clone()));
    let (following, chain_reader) = (Arc::clone(&service), Arc::clone(&reader));
    tasks.best_effort("chain", lode_program::backoff::BackoffPolicy::default(), move || {
        let (service, chain_reader, follower) = (Arc::clone(&following), Arc::clone(&chain_reader), follower);
        async move {
            chain::follow(service, chain_reader, follower).await;
            Ok::<(), anyhow::Error>(())
        }
    });
    let expiring = Arc::clone(&service);
    let shutdown = program.shutdown.clone();
    tasks.critical("expiry", async move {
        let beat = async {
            let mut interval = tokio::time::interval(Duration::from_secs(10));
            loop {
                interval.tick().await;
                pulse.beat();
            }
        };
        tokio::select! {
            () = expiring.expire() => {}
            () = beat => {}
            _ = shutdown.requested() => {}
        }
    });
    ready.holds();
    program.finish(GRACE).await
}

fn identity(tls: &TlsConfig) -> anyhow::Result<ServerIdentity> {
    let certificate = std::fs::read(&tls.certificate).map_err(|source| {
        ExitError::new(Exit::BadConfig, format!("tls.certificate {}: {source}", tls.certificate.display()))
    })?;
    let key = files::read_secret(&tls.key)?;
    ServerIdentity::from_pem(&certificate, &key).context("tls: the certificate and key cannot be used")
}
