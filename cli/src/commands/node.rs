//! `lode node …`: the machines of the pool.

use lode_program::Clock;
use lode_protocol::units::{Bytes, Timestamp};
use serde_json::{Value, json};

use super::confirm::confirm;
use crate::api::{Api, Node};
use crate::arguments::{Global, NodeCommand};
use crate::output::{self, Format, Sheet, ago, list, membership};

pub(super) async fn run(global: &Global, command: NodeCommand) -> anyhow::Result<()> {
    let api = Api::of(global)?;
    match command {
        NodeCommand::Ls => {
            let items = api.list("v1/nodes", &[], usize::MAX).await?;
            match global.output {
                Format::Json => output::json(&json!({ "items": items })),
                Format::Table => output::sheet(&summary(&nodes(&api, &items)?, now())),
                Format::Wide => output::sheet(&wide(&nodes(&api, &items)?, now())),
            }
        }
        NodeCommand::Show { node } => {
            let id = api.node_id(&node).await?;
            let value = api.get(&format!("v1/nodes/{id}"), &[]).await?;
            match global.output {
                Format::Json => output::json(&value),
                Format::Table | Format::Wide => show(&api.view(&value)?),
            }
        }
        NodeCommand::Drain { node } => act(&api, global, &node, "drain", "is being drained").await,
        NodeCommand::Undrain { node } => act(&api, global, &node, "undrain", "is used again").await,
        NodeCommand::Eject { node, yes } => {
            let id = api.node_id(&node).await?;
            confirm(&format!("eject node {id} from the pool, and stop its work there"), yes)?;
            act(&api, global, &id, "eject", "is being ejected").await
        }
        NodeCommand::Readmit { node } => readmit(&api, global, &node).await,
    }
}

/// Lets a node try again that was ejected or given up.
pub(super) async fn readmit(api: &Api, global: &Global, node: &str) -> anyhow::Result<()> {
    act(api, global, node, "readmit", "may join again; the orchestrator invites it when nothing is missing")
        .await
}

async fn act(api: &Api, global: &Global, node: &str, action: &str, done: &str) -> anyhow::Result<()> {
    let id = api.node_id(node).await?;
    let value = api.post(&format!("v1/nodes/{id}/{action}"), None).await?;
    match global.output {
        Format::Json => output::json(&value),
        Format::Table | Format::Wide => output::line(&format!("node {id} {done}")),
    }
}

fn nodes(api: &Api, items: &[Value]) -> anyhow::Result<Vec<Node>> {
    items.iter().map(|item| api.view(item)).collect()
}

fn now() -> Timestamp {
    Timestamp(Clock::system().wall_millis())
}

/// A GPU's UUID, model, and what keeps it from new work.
fn gpus(node: &Node) -> String {
    list(node.gpus.iter().map(|gpu| {
        let mut line = gpu.uuid.clone();
        if let Some(model) = &gpu.model {
            line.push_str(&format!("  {model}"));
        }
        let health = gpu.health();
        match (&gpu.assignment, health.as_str()) {
            (_, health) if health != "healthy" => line.push_str(&format!("  {health}")),
            (Some(_), _) => line.push_str("  in use"),
            (None, _) => {}
        }
        line
    }))
}

fn summary(nodes: &[Node], now: Timestamp) -> Sheet {
    let mut sheet = Sheet::new(["node", "state", "membership", "gpus", "tasks", "heard"]).or_else("no nodes");
    for node in nodes {
        sheet.row([
            node.id.clone(),
            node.state.clone(),
            membership(&node.membership),
            gpus(node),
            node.assignments.to_string(),
            ago(node.last_heard.as_deref(), now),
        ]);
    }
    sheet
}

fn wide(nodes: &[Node], now: Timestamp) -> Sheet {
    let headers = [
        "node",
        "state",
        "membership",
        "provider",
        "gpus",
        "gpus used",
        "cpus",
        "memory",
        "disk",
        "tasks",
        "heard",
        "agent",
    ];
    let mut sheet = Sheet::new(headers).or_else("no nodes");
    for node in nodes {
        let (has, used) = (node.capacity, node.allocated);
        sheet.row([
            node.id.clone(),
            node.state.clone(),
            membership(&node.membership),
            node.provider.clone().unwrap_or_else(|| "-".to_owned()),
            gpus(node),
            format!("{} of {}", used.gpus, has.gpus),
            format!("{} of {}", used.cpus, has.cpus),
            format!("{} of {}", Bytes(used.memory), Bytes(has.memory)),
            format!("{} of {}", Bytes(used.disk), Bytes(has.disk)),
            node.assignments.to_string(),
            ago(node.last_heard.as_deref(), now),
            node.agent_version.clone(),
        ]);
    }
    sheet
}

fn show(node: &Node) -> anyhow::Result<()> {
    let (has, used) = (node.capacity, node.allocated);
    let mut head = Sheet::new(["what", "value"]);
    head.row(["node".to_owned(), node.id.clone()]);
    head.row(["state".to_owned(), node.state.clone()]);
    head.row(["membership".to_owned(), membership(&node.membership)]);
    head.row(["provider".to_owned(), node.provider.clone().unwrap_or_else(|| "-".to_owned())]);
    head.row(["last heard".to_owned(), ago(node.last_heard.as_deref(), now())]);
    head.row(["worker".to_owned(), node.agent_version.clone()]);
    head.row(["cpus".to_owned(), format!("{} of {} promised", used.cpus, has.cpus)]);
    head.row(["memory".to_owned(), format!("{} of {} promised", Bytes(used.memory), Bytes(has.memory))]);
    head.row(["disk".to_owned(), format!("{} of {} promised", Bytes(used.disk), Bytes(has.disk))]);
    head.row(["addresses".to_owned(), list(node.addresses.iter().cloned())]);
    head.row(["assignments".to_owned(), list(node.active.iter().cloned())]);
    output::sheet(&head)?;
    output::line("")?;
    let mut sheet = Sheet::new(["gpu", "model", "memory", "health", "°C", "assignment"]).or_else("no GPUs");
    for gpu in &node.gpus {
        let health = match &gpu.reason {
            Some(reason) => format!("{}: {reason}", gpu.health()),
            None => gpu.health(),
        };
        sheet.row([
            gpu.uuid.clone(),
            gpu.model.clone().unwrap_or_else(|| "-".to_owned()),
            gpu.memory.map_or_else(|| "-".to_owned(), |memory| Bytes(memory).to_string()),
            health,
            gpu.temperature.map_or_else(|| "-".to_owned(), |degrees| degrees.to_string()),
            gpu.assignment.clone().unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    output::sheet(&sheet)?;
    if !node.findings.is_empty() {
        output::line("")?;
        let mut sheet = Sheet::new(["severity", "code", "about", "what", "what to do"]);
        for finding in &node.findings {
            sheet.row([
                finding.severity.clone(),
                finding.code.clone(),
                finding.subject.clone(),
                finding.message.clone(),
                finding.remedy.clone(),
            ]);
        }
        output::sheet(&sheet)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> Node {
        serde_json::from_value(json!({
            "id": "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf",
            "state": "alive",
            "membership": {"status": "member"},
            "gpus": [
                {"uuid": "GPU-00000200-5100-4000-8000-000000000000", "model": "NVIDIA H200", "state": "healthy",
                 "assignment": "0190aaaa.0.1"},
                {"uuid": "GPU-00000200-5100-4000-8000-000000000001", "model": "NVIDIA H200", "state": "lost"},
            ],
            "capacity": {"gpus": 2, "cpus": 4.0, "memory": 17179869184u64, "disk": 1},
            "assignments": 1, "last_heard": "2026-01-01T00:00:00Z", "a_field_of_tomorrow": true,
        }))
        .unwrap()
    }

    #[test]
    fn the_list_shows_every_gpu_by_its_uuid_and_what_it_does() {
        let text = summary(&[node()], Timestamp(0)).render(None);
        assert!(text.contains("GPU-00000200-5100-4000-8000-000000000000  NVIDIA H200  in use"), "{text}");
        assert!(text.contains("GPU-00000200-5100-4000-8000-000000000001  NVIDIA H200  lost"), "{text}");
        assert!(text.contains("member"), "{text}");
    }

    #[test]
    fn the_list_fits_every_terminal_from_40_to_200_columns() {
        for width in 40..=200 {
            for sheet in [summary(&[node(), node()], Timestamp(0)), wide(&[node()], Timestamp(0))] {
                let text = sheet.render(Some(width));
                assert!(text.lines().all(|line| line.chars().count() <= width), "{width}:\n{text}");
            }
        }
    }
}
