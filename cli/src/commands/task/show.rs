//! How tasks look.

use lode_api_types::{Assignment, Event, EventKind, Explanation, Task, TaskSummary};
use lode_protocol::task::Resources;
use lode_protocol::text::escape_controls;
use lode_protocol::units::Bytes;
use serde::Serialize;

use crate::output::{self, Sheet, ago, list};
use crate::wall_clock::now;

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

/// The word that an enum of the wire has in JSON.
pub(super) fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(_) | Err(_) => String::new(),
    }
}

/// How an assignment ended or why it waits, in one line.
pub fn why(assignment: &Assignment) -> String {
    let mut parts = Vec::new();
    parts.extend(assignment.reason.as_ref().map(word));
    let told = |code: i64| assignment.detail.contains(&format!("exit code {code}"));
    if let Some(code) = assignment.exit_code.filter(|code| !told(*code)) {
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

/// What each replica may use.
fn limits(resources: &Resources) -> String {
    let mut parts = vec![
        format!("CPUs {}", resources.cpus),
        format!("memory {}", resources.memory),
        format!("of it shared {}", resources.shared_memory()),
    ];
    if resources.disk > Bytes(0) {
        parts.push(format!("disk {}", resources.disk));
    }
    parts.join(", ")
}

pub(super) fn task(task: &Task) -> anyhow::Result<()> {
    let summary = &task.summary;
    let now = now();
    let mut head = Sheet::new(["what", "value"]);
    head.row(["id".to_owned(), summary.id.to_string()]);
    head.row(["name".to_owned(), summary.name.clone()]);
    head.row(["kind".to_owned(), word(&summary.kind)]);
    head.row(["state".to_owned(), summary.state.to_string()]);
    head.row(["replicas".to_owned(), replicas(summary)]);
    head.row(["image".to_owned(), task.spec.image.clone()]);
    head.row(["limits".to_owned(), limits(&task.spec.resources)]);
    head.row(["created".to_owned(), format!("{} ({})", summary.created, ago(Some(summary.created), now))]);
    output::sheet(&head)?;
    output::line("")?;
    let mut sheet = Sheet::new(["replica", "try", "state", "node", "gpus", "ports", "why"])
        .or_else("not placed yet: see `lode task explain`");
    for assignment in &task.assignments {
        let ports = assignment
            .ports
            .iter()
            .map(|port| format!("{} {}→{}/{}", port.name, port.host, port.container, word(&port.protocol)));
        sheet.row([
            assignment.replica.to_string(),
            assignment.incarnation.to_string(),
            word(&assignment.state),
            assignment.node.to_string(),
            list(assignment.gpus.iter().map(ToString::to_string)),
            list(ports),
            why(assignment),
        ]);
    }
    output::sheet(&sheet)
}

pub(super) fn explanation(explanation: &Explanation, nodes: bool) -> anyhow::Result<()> {
    output::line(&format!("{}: {}", explanation.state, escape_controls(&explanation.summary)))?;
    if let Some(blocked) = &explanation.blocked {
        output::line(&format!(
            "nothing is placed now: {} [{}]",
            escape_controls(&blocked.message),
            escape_controls(blocked.code.as_str())
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
            sheet.row([count.filter.to_string(), count.nodes.to_string(), count.help.clone()]);
        }
        output::sheet(&sheet)?;
    }
    if nodes {
        let mut sheet = Sheet::new(["node", "fails", "says"]).or_else("no nodes");
        for verdict in &explanation.verdicts {
            let failed = verdict.failed.map_or("fits", |filter| filter.as_str()).to_owned();
            sheet.row([verdict.node.to_string(), failed, verdict.message.clone()]);
        }
        output::sheet(&sheet)?;
        if let Some(next) = &explanation.next {
            output::line(&format!("more nodes after {}: use -o json with the API", next))?;
        }
    }
    Ok(())
}

/// An event in one line.
pub(super) fn event(event: &Event) -> String {
    let moved = |from: Option<String>, to: String| match from {
        Some(from) => format!("{from} → {to}"),
        None => to,
    };
    let said = match &event.kind {
        EventKind::Started { term } => vec![format!("term {term}")],
        EventKind::Node { node, from, to, message } => {
            vec![node.to_string(), moved(from.map(|from| from.to_string()), to.to_string()), message.clone()]
        }
        EventKind::Task { task, from, to } => {
            vec![task.to_string(), moved(from.map(|from| from.to_string()), to.to_string())]
        }
        EventKind::ImagePinned { task, image, by } => {
            let by = by.map_or_else(|| "the registry".to_owned(), |node| node.to_string());
            vec![task.to_string(), image.clone(), format!("by {by}")]
        }
        EventKind::ImageUnpinned { task, code, message } => {
            vec![task.to_string(), code.to_string(), message.clone()]
        }
        EventKind::TaskDeleted { task } => vec![task.to_string()],
        EventKind::Assignment { assignment, node, from, to, reason, detail } => {
            let mut said =
                vec![assignment.to_string(), node.to_string(), moved(from.as_ref().map(word), word(to))];
            said.extend(reason.as_ref().map(word));
            said.push(detail.clone());
            said
        }
        EventKind::TaskBudgetExhausted { task, spent, budget } => {
            vec![task.to_string(), format!("spent {spent} of {budget}")]
        }
        EventKind::EpochClosed { epoch, receipts, amount } => {
            vec![format!("epoch {epoch}: {receipts} receipts, {amount}")]
        }
        EventKind::RootSubmitted { epoch, root, total } => {
            vec![format!("epoch {epoch}: root {root} of {total}")]
        }
        EventKind::ReportRefused { assignment, node, claimed, count } => {
            let more = if *count > 1 { format!("{} more like it", count - 1) } else { String::new() };
            vec![assignment.to_string(), node.to_string(), format!("claims to be {}", word(claimed)), more]
        }
    };
    let mut words = vec![event.at.to_string(), event.kind.name().to_owned()];
    words.extend(said.into_iter().filter(|word| !word.is_empty()));
    escape_controls(&words.join("  ")).into_owned()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use lode_api_types::{Replicas, TaskState};
    use lode_protocol::task::{TaskKind, TaskSpec};
    use lode_protocol::units::Timestamp;
    use serde_json::json;

    /// A task in a state, without assignments.
    pub(crate) fn task(kind: TaskKind, state: TaskState) -> Task {
        let spec = json!({ "name": "t", "kind": kind, "image": "i:1" }).to_string();
        Task {
            summary: TaskSummary {
                id: lode_protocol::ids::TaskId::default(),
                name: "t".to_owned(),
                kind,
                state,
                created: Timestamp(0),
                replicas: Replicas::default(),
            },
            spec: TaskSpec::from_json(spec.as_bytes()).unwrap(),
            pinned_image: None,
            order: None,
            replica_states: Vec::new(),
            assignments: Vec::new(),
        }
    }

    #[test]
    fn limits_are_shown_also_where_a_task_names_none() {
        let shown = |text: &str| {
            let text = format!("name = \"t\"\nkind = \"batch\"\nimage = \"i:1\"\n{text}");
            limits(&TaskSpec::from_toml(&text).unwrap().validate().unwrap().resources)
        };
        assert_eq!(shown(""), "CPUs 1, memory 512MiB, of it shared 256MiB");
        assert_eq!(
            shown("[resources]\ngpus = 1\ncpus = 0.5\ndisk = \"10GiB\"\n"),
            "CPUs 500m, memory 4GiB, of it shared 2GiB, disk 10GiB"
        );
    }

    #[test]
    fn an_event_is_one_harmless_line() {
        let happened: Event = serde_json::from_value(json!({
            "cursor": "1-2", "at": "2026-01-01T00:00:00Z", "type": "assignment",
            "assignment": "0190aaaa-0000-7000-8000-000000000000.0.1",
            "node": "0x7e5f4552091a69125d5dfcb7b8c2659029395bdf", "from": "running", "to": "failed",
            "reason": "oom_killed", "detail": "\u{1b}[2J\nx"
        }))
        .unwrap();
        let line = event(&happened);
        assert!(line.starts_with("2026-01-01T00:00:00.000Z  assignment  0190aaaa"), "{line}");
        assert!(line.contains("running → failed  oom_killed"), "{line}");
        assert!(!line.contains('\u{1b}') && !line.contains('\n'), "{line:?}");
    }
}
