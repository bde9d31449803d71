//! Whether this machine can lend its GPUs, and what is in the way. Changes nothing, sends nothing, needs no root.
//!
//! Every check has a deadline and findings of its own; one that fails hides none of the others.

mod chain;
mod disk;
mod engine;
mod gpu;
mod key;
mod networks;
mod ports;
mod reach;
mod toolkit;

use std::path::PathBuf;

use lode_gpu::Inventory;
use lode_program::finding::Finding;

use crate::config::Config;

/// What the checks have found.
#[derive(Debug, Default)]
pub struct Report {
    /// What is wrong or worth knowing.
    pub findings: Vec<Finding>,
    /// GPUs, if the driver library answers.
    pub inventory: Option<Inventory>,
    /// Version of the container engine, if it answers.
    pub engine_version: Option<String>,
    /// Where it keeps its data.
    pub engine_root: Option<PathBuf>,
}

/// Runs all checks.
pub async fn run(config: &Config) -> Report {
    let mut report = Report::default();
    report.findings.extend(key::check(config));
    let (gpus, engine, networks, chain, directories) = tokio::join!(
        gpu::check(config),
        engine::check(config),
        networks::check(config),
        chain::check(config),
        reach::directories(config)
    );
    report.findings.extend(gpus.findings);
    report.findings.extend(engine.findings);
    report.findings.extend(networks);
    if gpus.inventory.is_some() || !config.gpu.allow_none {
        let has_gpus = gpus.inventory.as_ref().is_some_and(|inventory| !inventory.gpus.is_empty());
        report.findings.extend(toolkit::check(config, has_gpus).await);
    }
    report.findings.extend(gpu::check_cdi(config, gpus.inventory.as_ref()));
    report.findings.extend(disk::check(config, engine.root.as_deref()));
    report.findings.extend(ports::check(config));
    report.findings.extend(chain);
    report.findings.extend(directories);
    report.inventory = gpus.inventory;
    report.engine_version = engine.version;
    report.engine_root = engine.root;
    report.findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    report
}
