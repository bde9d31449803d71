//! `lode node …`: the machines of the pool.

use lode_api_types::{Gpu, Node, NodeSummary};
use lode_protocol::hardware::GpuState;
use lode_protocol::units::{Bytes, Timestamp};

use super::confirm::confirm;
use crate::api::Api;
use crate::arguments::{Global, NodeCommand};
use crate::output::{self, Format, Sheet, ago, list, membership};
use crate::wall_clock::now;

pub(super) async fn run(global: &Global, command: NodeCommand) -> anyhow::Result<()> {
    let api = Api::of(global)?;
    match command {
        NodeCommand::Ls => {
            let page = api.nodes().await?;
            match global.output {
                Format::Json => output::json(&page),
                Format::Table => output::sheet(&summary(&page.items, now())),
                Format::Wide => output::sheet(&wide(&page.items, now())),
            }
        }
        NodeCommand::Show { node } => {
            let id = api.node_id(&node).await?;
            let node: Node = api.get(&format!("v1/nodes/{id}"), &()).await?;
            match global.output {
                Format::Json => output::json(&node),
                Format::Table | Format::Wide => show(&node),
            }
        }
        NodeCommand::Drain { node } => act(&api, global, &node, "drain", "is being drained").await,
        NodeCommand::Undrain { node } => act(&api, global, &node, "undrain", "is used again").await,
        NodeCommand::Eject { node, yes } => {
            let id = api.node_id(&node).await?;
            confirm(&format!("eject node {id} from the pool, and stop its work there"), yes)?;
            act(&api, global, &id.to_string(), "eject", "is being ejected").await
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
    let node: Node = api.post(&format!("v1/nodes/{id}/{action}")).await?;
    match global.output {
        Format::Json => output::json(&node),
        Format::Table | Format::Wide => output::line(&format!("node {id} {done}")),
    }
}

/// Its health as one word.
fn health(gpu: &Gpu) -> &'static str {
    match gpu.state {
        Some(GpuState::Healthy) => "healthy",
        Some(GpuState::Suspect) => "suspect",
        Some(GpuState::Quarantined) => "quarantined",
        Some(GpuState::Recovering) => "recovering",
        None => "unknown",
    }
}

fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// A GPU's UUID, model, and what keeps it from new work.
fn gpus(node: &NodeSummary) -> String {
    list(node.gpus.iter().map(|gpu| {
        let mut line = gpu.uuid.to_string();
        if let Some(model) = &gpu.model {
            line.push_str(&format!("  {model}"));
        }
        match (&gpu.assignment, gpu.state) {
            (Some(_), Some(GpuState::Healthy)) => line.push_str("  in use"),
            (None, Some(GpuState::Healthy)) => {}
            (_, Some(GpuState::Suspect | GpuState::Quarantined | GpuState::Recovering) | None) => {
                line.push_str(&format!("  {}", health(gpu)));
            }
        }
        line
    }))
}

fn summary(nodes: &[NodeSummary], now: Timestamp) -> Sheet {
    let mut sheet = Sheet::new(["node", "state", "membership", "gpus", "tasks", "heard"]).or_else("no nodes");
    for node in nodes {
        sheet.row([
            node.id.to_string(),
            node.state.to_string(),
            membership(&node.membership),
            gpus(node),
            node.assignments.to_string(),
            ago(node.last_heard, now),
        ]);
    }
    sheet
}

fn wide(nodes: &[NodeSummary], now: Timestamp) -> Sheet {
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
            node.id.to_string(),
            node.state.to_string(),
            membership(&node.membership),
            or_dash(node.provider),
            gpus(node),
            format!("{} of {}", used.gpus, has.gpus),
            format!("{} of {}", used.cpus, has.cpus),
            format!("{} of {}", Bytes(used.memory_bytes), Bytes(has.memory_bytes)),
            format!("{} of {}", Bytes(used.disk_bytes), Bytes(has.disk_bytes)),
            node.assignments.to_string(),
            ago(node.last_heard, now),
            node.agent_version.clone(),
        ]);
    }
    sheet
}

fn show(node: &Node) -> anyhow::Result<()> {
    let summary = &node.summary;
    let (has, used) = (summary.capacity, summary.allocated);
    let mut head = Sheet::new(["what", "value"]);
    head.row(["node".to_owned(), summary.id.to_string()]);
    head.row(["state".to_owned(), summary.state.to_string()]);
    head.row(["membership".to_owned(), membership(&summary.membership)]);
    head.row(["provider".to_owned(), or_dash(summary.provider)]);
    head.row(["last heard".to_owned(), ago(summary.last_heard, now())]);
    head.row(["worker".to_owned(), summary.agent_version.clone()]);
    head.row(["cpus".to_owned(), format!("{} of {} promised", used.cpus, has.cpus)]);
    let promised = |used: u64, has: u64| format!("{} of {} promised", Bytes(used), Bytes(has));
    head.row(["memory".to_owned(), promised(used.memory_bytes, has.memory_bytes)]);
    head.row(["disk".to_owned(), promised(used.disk_bytes, has.disk_bytes)]);
    head.row(["addresses".to_owned(), list(node.addresses.iter().cloned())]);
    head.row(["assignments".to_owned(), list(node.active.iter().map(ToString::to_string))]);
    output::sheet(&head)?;
    output::line("")?;
    let mut sheet = Sheet::new(["gpu", "model", "memory", "health", "°C", "assignment"]).or_else("no GPUs");
    for gpu in &summary.gpus {
        let health = match &gpu.reason {
            Some(reason) => format!("{}: {reason}", health(gpu)),
            None => health(gpu).to_owned(),
        };
        sheet.row([
            gpu.uuid.to_string(),
            or_dash(gpu.model.as_ref()),
            or_dash(gpu.memory_bytes.map(Bytes)),
            health,
            or_dash(gpu.temperature_celsius),
            or_dash(gpu.assignment),
        ]);
    }
    output::sheet(&sheet)?;
    if !node.findings.is_empty() {
        output::line("")?;
        let mut sheet = Sheet::new(["severity", "code", "about", "what", "what to do"]);
        for finding in &node.findings {
            sheet.row([
                finding.severity.to_string(),
                finding.code.to_string(),
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
    use lode_api_types::{Capacity, Membership, MembershipStatus, NodeState};

    fn node() -> NodeSummary {
        let gpu = |number: u8, state, assignment: Option<&str>| Gpu {
            uuid: format!("GPU-00000200-5100-4000-8000-00000000000{number}").parse().unwrap(),
            model: Some("NVIDIA H200".to_owned()),
            memory_bytes: None,
            state: Some(state),
            reason: None,
            temperature_celsius: None,
            power_milliwatts: None,
            utilization_percent: None,
            memory_used_bytes: None,
            assignment: assignment.map(|id| id.parse().unwrap()),
        };
        NodeSummary {
            id: "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf".parse().unwrap(),
            state: NodeState::Alive,
            membership: Membership { status: MembershipStatus::Member, code: None, message: None },
            provider: None,
            gpus: vec![
                gpu(0, GpuState::Healthy, Some("0190aaaa-0000-7000-8000-000000000000.0.1")),
                gpu(1, GpuState::Quarantined, None),
            ],
            capacity: Capacity { gpus: 2, cpus: 4.0, memory_bytes: 16 << 30, disk_bytes: 1 },
            allocated: Capacity::default(),
            assignments: 1,
            last_heard: Some("2026-01-01T00:00:00Z".parse().unwrap()),
            agent_version: "0.1.0".to_owned(),
        }
    }

    #[test]
    fn the_list_shows_every_gpu_by_its_uuid_and_what_it_does() {
        let text = summary(&[node()], Timestamp(0)).render(None);
        assert!(text.contains("GPU-00000200-5100-4000-8000-000000000000  NVIDIA H200  in use"), "{text}");
        assert!(
            text.contains("GPU-00000200-5100-4000-8000-000000000001  NVIDIA H200  quarantined"),
            "{text}"
        );
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
