//! Wiring: the only place that names concrete adapters.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use lode_contracts::ChainReader;
use lode_daemon::{Ground, Storage};
use lode_network::ServerIdentity;
use lode_program::Program;
use lode_program::backoff::BackoffPolicy;
use lode_program::exit::{Exit, ExitError};
use lode_program::files;
use lode_program::finding::Finding;
use lode_program::health::Health;
use lode_program::listen::{self, Hosts};
use lode_program::open_files;
use lode_program::telemetry::Telemetry;

use crate::api::AddressLimiter;
use crate::config::{Config, TlsConfig};
use crate::driver::Driver;
use crate::handle::Handle;
use crate::{api, chain};

/// Time that requests get to end at shutdown.
const GRACE: Duration = Duration::from_secs(10);
/// Silence after which the owner loop counts as stuck: it ticks twice a second.
const STUCK: Duration = Duration::from_secs(60);

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
    if let Some(name) = config.limits.http.cuts_off() {
        return Err(bad(format!("limits.http.{name} is 0: nobody could be answered")).into());
    }
    config.health.validate()?;
    let connections = ("limits.http.max_connections", config.limits.http.max_connections);
    open_files::require(&[connections, config.health.connections()])?;
    let reader: Arc<dyn ChainReader> = Arc::new(config.chain.connect()?);
    let ground = Ground::open(&config.data_dir, Storage::file("directory.redb"))?;
    // Every start is another log: followers of the one before read the whole directory once.
    let incarnation = program.clock.wall_millis();
    let (driver, directory) = Driver::open(
        ground.store.as_ref(),
        ground.writer.clone(),
        Arc::clone(&reader),
        program.clock,
        &config.limits,
        incarnation,
    )?;

    let tls = config.tls.as_ref().map(identity).transpose()?.map(|identity| identity.server_config());
    let bound = listen::bind("api", config.listen).await?;
    tracing::info!(address = %bound.address, "directory listens");

    let health = &ground.health;
    let pulse = health.pulse("driver", STUCK);
    let ready = health.condition("api", Finding::info("program/starting", "the directory is starting"));
    let per_address = AddressLimiter::per_minute(config.limits.publications_per_address);
    let router = served(directory.clone(), per_address.clone(), &config, health);
    ground.serve_health(&program, &config.health, Router::new()).await?;
    let follower = config.chain.follower();
    let (tasks, shutdown) = (&program.tasks, &program.shutdown);
    tasks.critical("driver", driver.run(pulse, shutdown.token()));
    let hosts = Hosts::new(config.hosts.clone(), "hosts");
    tasks.critical("api", listen::serve(router, bound, hosts, config.limits.http, tls, shutdown.clone()));
    tasks.best_effort("chain", BackoffPolicy::default(), move || {
        let (directory, reader) = (directory.clone(), Arc::clone(&reader));
        async move {
            chain::follow(directory, reader, follower).await;
            Ok::<(), anyhow::Error>(())
        }
    });
    tasks.best_effort("limits", BackoffPolicy::default(), move || per_address.clone().keep_small());
    ready.holds();
    ground.hold(&program);
    program.finish(GRACE).await
}

/// What is served at the directory's address, for anybody.
pub fn served(directory: Handle, per_address: AddressLimiter, config: &Config, health: &Health) -> Router {
    api::router(directory, per_address, config.limits.page()).merge(health.public_router(config.metrics))
}

fn identity(tls: &TlsConfig) -> anyhow::Result<ServerIdentity> {
    let certificate = std::fs::read(&tls.certificate).map_err(|source| {
        ExitError::new(Exit::BadConfig, format!("tls.certificate {}: {source}", tls.certificate.display()))
    })?;
    let key = files::read_secret(&tls.key)?;
    ServerIdentity::from_pem(&certificate, &key).context("tls: the certificate and key cannot be used")
}
