//! The smallest Lode program: configuration, logs, health, one owner loop, a clean end.
//!
//! Try `cargo run --release -p lode-program --example minimal -- --address 127.0.0.1:0`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use clap::Parser;
use lode_program::listen::{Hosts, ServeLimits, bind, serve};
use lode_program::{Finding, Health, Program, config, run_program, telemetry};
use serde::Deserialize;

#[derive(Debug, Parser)]
struct Args {
    #[arg(long)]
    config: Option<PathBuf>,
    #[arg(long)]
    address: Option<SocketAddr>,
    #[command(flatten)]
    log: telemetry::LogArgs,
}

#[derive(Debug, Deserialize)]
struct Config {
    address: SocketAddr,
    #[serde(default = "one_second", with = "config::duration")]
    beat: Duration,
    /// Ends the owner loop with an error, to show what happens then.
    #[serde(default)]
    fail: bool,
    /// How long running work may take to finish.
    #[serde(default = "one_second", with = "config::duration")]
    grace: Duration,
    /// Never finishes by itself, to show what the grace and the second signal do.
    #[serde(default)]
    stubborn: bool,
}

fn one_second() -> Duration {
    Duration::from_secs(1)
}

fn main() -> ExitCode {
    run_program("minimal", start)
}

async fn start(program: Program) -> anyhow::Result<()> {
    let args = Args::parse();
    let mut flags = toml::Table::new();
    if let Some(address) = args.address {
        flags.insert("address".into(), address.to_string().into());
    }
    let config: Config = config::load(args.config.as_deref(), "LODE_MINIMAL", flags)?;
    let telemetry = telemetry::init(program.name, &args.log)?;
    let bound = bind("api", config.address).await?;
    telemetry.set_field("address", bound.address);

    let health = Health::new();
    let pulse = health.pulse("owner loop", config.beat * 5);
    let starting = health.condition("owner loop", Finding::info("minimal/starting", "has not turned yet"));
    let router = Router::new().merge(health.router());
    let (hosts, limits) = (Hosts::new([], "nothing: this example has no names"), ServeLimits::default());
    program.tasks.critical("api", serve(router, bound, hosts, limits, None, program.shutdown.clone()));
    let shutdown = program.shutdown.clone();
    program.tasks.critical("owner loop", async move {
        let mut turns = tokio::time::interval(config.beat);
        loop {
            tokio::select! {
                () = shutdown.requested(), if !config.stubborn => return Ok(()),
                _ = turns.tick() => {}
            }
            pulse.beat();
            starting.holds();
            anyhow::ensure!(!config.fail, "told to fail");
        }
    });
    program.finish(config.grace).await
}
