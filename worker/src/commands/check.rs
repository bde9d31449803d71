//! `lode-worker check`, and the dry run of `lode-worker run`.

use clap::Args;
use lode_program::finding::{Severity, render_json, render_text, worst};
use lode_program::{Exit, ExitError};

use crate::check::{self, Report};
use crate::commands::Arguments;
use crate::config::Config;
use crate::gpus::Offered;
use crate::{identity, specs};

/// Flags of `check`.
#[derive(Debug, Args)]
pub struct CheckArguments {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// A host without GPUs is fine: it lends CPUs only.
    #[arg(long)]
    pub allow_cpu_only: bool,
}

/// Prints the findings. Ends with exit code 2 when something must be put right first.
pub async fn check(arguments: &Arguments, flags: &CheckArguments) -> anyhow::Result<()> {
    let mut config = arguments.load_config()?;
    config.gpu.allow_none |= flags.allow_cpu_only;
    let report = check::run(&config).await;
    let description = specs::host_specs(
        &config,
        &offered(&report),
        report.engine_version.as_deref(),
        report.engine_root.as_deref(),
    );
    if flags.json {
        let json = serde_json::json!({ "findings": render_json(&report.findings), "specs": description });
        println!("{}", serde_json::to_string_pretty(&json)?);
    } else {
        println!("{}", summary(&description));
        println!("{}", render_text(&report.findings));
    }
    verdict(&report)
}

/// All checks, and what would be sent. Sends nothing: no transaction, no descriptor, no greeting.
pub async fn dry_run(arguments: &Arguments) -> anyhow::Result<()> {
    let config = arguments.load_config()?;
    let report = check::run(&config).await;
    let description = specs::host_specs(
        &config,
        &offered(&report),
        report.engine_version.as_deref(),
        report.engine_root.as_deref(),
    );
    let json = serde_json::json!({
        "findings": render_json(&report.findings),
        "would_publish": would_publish(&config, &description),
        "would_join_pool": config.pool(),
        "sent": [],
    });
    println!("{}", serde_json::to_string_pretty(&json)?);
    verdict(&report)
}

fn offered(report: &Report) -> Offered {
    report.inventory.as_ref().map(Offered::of).unwrap_or_default()
}

fn would_publish(config: &Config, description: &lode_protocol::hardware::NodeSpecs) -> serde_json::Value {
    let node = identity::load_key(config).ok().map(|key| key.address());
    serde_json::json!({ "node": node, "to": config.discovery.urls, "specs": description })
}

fn summary(specs: &lode_protocol::hardware::NodeSpecs) -> String {
    let mut text = format!(
        "This host would lend {} CPUs, {} of memory, {} of disk, {} GPU(s).",
        specs.cpus,
        specs.memory,
        specs.disk,
        specs.gpus.len()
    );
    for gpu in &specs.gpus {
        let model = gpu.model.as_deref().unwrap_or("unknown model");
        let memory = gpu.memory.map(|memory| memory.to_string()).unwrap_or_default();
        text.push_str(&format!("\n  {}  {model}  {memory}", gpu.uuid));
    }
    text
}

fn verdict(report: &Report) -> anyhow::Result<()> {
    let errors = report.findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    if worst(&report.findings) == Some(Severity::Error) {
        return Err(
            ExitError::new(Exit::Findings, format!("{errors} finding(s) must be put right first")).into()
        );
    }
    Ok(())
}
