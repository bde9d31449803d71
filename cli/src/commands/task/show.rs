//! How tasks look.

use lode_program::text::escape_controls;
use lode_protocol::units::Timestamp;
use serde_json::Value;

use crate::api::{Assignment, Explanation, Task, TaskSummary};
use crate::output::{self, Sheet, ago, list};

/// Replicas in words.
pub(super) fn replicas(task: &TaskSummary) -> String {
    let counts = task.replicas;
    let parts: Vec<String> = [
        (counts.running, "running"),
        (counts.starting, "starting"),
        (counts.pending, "pending"),
        (counts.succeeded, "succeeded"),
        (counts.failed, "failed"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, word)| format!("{count} {word}"))
    .collect();
    if parts.is_empty() { format!("{} idle", counts.total) } else { parts.join(", ") }
}

/// How an assignment ended or why it waits, in one line.
pub(crate) fn why(assignment: &Assignment) -> String {
    let mut parts = Vec::new();
    parts.extend(assignment.reason.clone());
    if let Some(code) = assignment.exit_code {
        parts.push(format!("exit code {code}"));
    }
    if !assignment.detail.is_empty() {
        parts.push(assignment.detail.clone());
    }
    if assignment.restarts > 0 {
        parts.push(format!("{} restarts", assignment.restarts));
    }
    parts.join(", ")
}

pub(super) fn task(task: &Task) -> anyhow::Result<()> {
    let summary = &task.summary;
    let text = |key: &str| task.spec.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let now = Timestamp(lode_program::Clock::system().wall_millis());
    let mut head = Sheet::new(["what", "value"]);
    head.row(["id".to_owned(), summary.id.clone()]);
    head.row(["name".to_owned(), summary.name.clone()]);
    head.row(["kind".to_owned(), summary.kind.clone()]);
    head.row(["state".to_owned(), summary.state.clone()]);
    head.row(["replicas".to_owned(), replicas(summary)]);
    head.row(["image".to_owned(), text("image")]);
    head.row(["created".to_owned(), format!("{} ({})", summary.created, ago(Some(&summary.created), now))]);
    output::sheet(&head)?;
    output::line("")?;
    let mut sheet = Sheet::new(["replica", "try", "state", "node", "gpus", "ports", "why"])
        .or_else("not placed yet: see `lode task explain`");
    for assignment in &task.assignments {
        let ports = assignment
            .ports
            .iter()
            .map(|port| format!("{} {}→{}/{}", port.name, port.host, port.container, port.protocol));
        sheet.row([
            assignment.replica.to_string(),
            assignment.incarnation.to_string(),
            assignment.state.clone(),
            assignment.node.clone(),
            list(assignment.gpus.iter().cloned()),
            list(ports),
            why(assignment),
        ]);
    }
    output::sheet(&sheet)
}

pub(super) fn explanation(explanation: &Explanation, nodes: bool) -> anyhow::Result<()> {
    output::line(&format!(
        "{}: {}",
        escape_controls(&explanation.state),
        escape_controls(&explanation.summary)
    ))?;
    if let Some(blocked) = &explanation.blocked {
        output::line(&format!(
            "nothing is placed now: {} [{}]",
            escape_controls(&blocked.message),
            escape_controls(&blocked.code)
        ))?;
    }
    if explanation.waiting > 0 {
        output::line(&format!(
            "replicas that wait: {}; nodes that could take one now: {} of {}",
            explanation.waiting, explanation.fitting, explanation.nodes
        ))?;
    }
    if !explanation.filters.is_empty() {
        let mut sheet = Sheet::new(["fails", "nodes", "what would help"]);
        for count in &explanation.filters {
            sheet.row([count.filter.clone(), count.nodes.to_string(), count.help.clone()]);
        }
        output::sheet(&sheet)?;
    }
    if nodes {
        let mut sheet = Sheet::new(["node", "fails", "says"]).or_else("no nodes");
        for verdict in &explanation.verdicts {
            let failed = verdict.failed.clone().unwrap_or_else(|| "fits".to_owned());
            sheet.row([verdict.node.clone(), failed, verdict.message.clone()]);
        }
        output::sheet(&sheet)?;
        if let Some(next) = &explanation.next {
            output::line(&format!("more nodes after {}: use -o json with the API", escape_controls(next)))?;
        }
    }
    Ok(())
}

/// An event in one line.
pub(super) fn event(event: &Value) -> String {
    let text = |key: &str| match event.get(key) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Null) | None => None,
        Some(other) => Some(other.to_string()),
    };
    let mut words = vec![text("at").unwrap_or_default(), text("type").unwrap_or_default()];
    for key in ["assignment", "task", "node"] {
        words.extend(text(key));
    }
    match (text("from"), text("to")) {
        (Some(from), Some(to)) => words.push(format!("{from} → {to}")),
        (None, Some(to)) => words.push(to),
        _ => {}
    }
    for key in ["reason", "detail", "message"] {
        words.extend(text(key).filter(|text| !text.is_empty()));
    }
    escape_controls(&words.join("  ")).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_event_is_one_harmless_line() {
        let line = event(
            &json!({"at": "T", "type": "assignment", "assignment": "a.0.1", "from": "running", "to": "failed",
            "reason": "oom_killed", "detail": "\u{1b}[2J\nx"}),
        );
        assert!(line.starts_with("T  assignment  a.0.1  running → failed  oom_killed"), "{line}");
        assert!(!line.contains('\u{1b}') && !line.contains('\n'), "{line:?}");
    }
}
