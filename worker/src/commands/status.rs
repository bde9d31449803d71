//! `lode-worker status`.

use lode_program::finding::{Finding, render_text};
use lode_program::{Exit, ExitError};

use crate::commands::Arguments;
use crate::local::StatusReport;
use crate::local::client::{self, LocalError};

/// Flags of `status`.
#[derive(Debug, clap::Args)]
pub struct StatusArguments {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Asks the running worker.
pub async fn status(arguments: &Arguments, flags: &StatusArguments) -> anyhow::Result<()> {
    let config = arguments.load_config()?;
    let report = match client::status(&config.socket_path()).await {
        Ok(report) => report,
        Err(error @ LocalError::NotRunning { .. }) => {
            return Err(ExitError::new(Exit::Unavailable, error.to_string()).into());
        }
        Err(error) => return Err(error.into()),
    };
    if flags.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        println!("{}", render(&report));
    }
    Ok(())
}

fn render(report: &StatusReport) -> String {
    let chain = report.membership.chain.as_deref().unwrap_or("unknown");
    let fresh = if report.membership.chain_fresh { "" } else { " (the chain does not answer now)" };
    let answered = report.session.last_answer_at.map_or_else(|| "never".to_owned(), |at| at.to_string());
    let transport = report.session.transport.as_deref().unwrap_or("none");
    let mut lines = vec![
        format!("node        {}  (lode-worker {}, boot {})", report.node, report.version, report.boot),
        format!("pool        {}  membership: {chain}{fresh}", report.pool),
        format!("session     {}  transport: {transport}  last answer: {answered}", report.session.state),
        format!("engine      {}  {}", report.engine.state, report.engine.version.as_deref().unwrap_or("")),
    ];
    if let Some(membership) = &report.membership.orchestrator {
        lines.push(format!("standing    {}", serde_json::to_string(membership).unwrap_or_default()));
    }
    for gpu in &report.gpus {
        let holder = gpu.assignment.map_or_else(|| "free".to_owned(), |id| id.to_string());
        let model = gpu.model.as_deref().unwrap_or("");
        let state = format!("{:?}", gpu.status.state).to_lowercase();
        lines.push(format!("gpu         {}  {model}  {state}  {holder}", gpu.status.uuid));
    }
    for assignment in &report.assignments {
        let state = format!("{:?}", assignment.state).to_lowercase();
        lines.push(format!("assignment  {}  {state}  restarts: {}", assignment.id, assignment.restarts));
    }
    let findings: Vec<Finding> = report.findings.iter().map(|current| current.finding.clone()).collect();
    lines.push(render_text(&findings));
    lines.join("\n")
}
