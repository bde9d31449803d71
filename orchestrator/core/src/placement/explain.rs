//! Why a task is not placed: the filters of placement, asked about every node. A read for people; it walks all nodes.

use std::collections::BTreeMap;
use std::ops::Bound;

use lode_protocol::error_code::ErrorCode;
use lode_protocol::hardware::WantedModel;
use lode_protocol::ids::{NodeId, TaskId};

use super::super::Core;
use super::super::event::Now;
use super::super::outcome::time_left;
use super::super::task::Phase;
use super::super::view::{Blocked, Explanation, Filter, FilterCount, NodeVerdict, TaskState};
use super::figures::Figures;
use super::filter::MOST_SET_BYTES;
use super::requirement::Requirement;

impl Core {
    /// Why a task is where it is, with counts per filter.
    pub fn explain(&self, id: &TaskId, now: Now) -> Option<Explanation> {
        let task = self.tasks.get(id)?;
        let requirement = self.queue.requirement(task.shape)?;
        let mut counts: BTreeMap<Filter, u32> = BTreeMap::new();
        let mut fitting = 0u32;
        for node in self.nodes.values() {
            match self.filter(node, requirement) {
                Some(filter) => *counts.entry(filter).or_default() += 1,
                None => fitting += 1,
            }
        }
        let waiting = task.replicas.iter().filter(|replica| replica.phase == Phase::Waiting).count();
        let waiting = u32::try_from(waiting).unwrap_or(u32::MAX);
        let back_offs = (0u32..)
            .zip(&task.replicas)
            .filter_map(|(number, replica)| match replica.phase {
                Phase::BackOff { until } => Some((number, time_left(until, now.wall))),
                Phase::Waiting | Phase::Placed { .. } | Phase::Succeeded | Phase::Failed | Phase::Idle => {
                    None
                }
            })
            .collect();
        let nodes = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        let blocked = self.blocked();
        let state = task.state();
        let profiles = self.nodes.values().map(|node| &node.hardware.profile);
        let figures = Figures::of(profiles, requirement);
        let mut summary = summarise(state, waiting, nodes, &counts, blocked.as_ref());
        if let Some(choice) = figures.on_choice(requirement) {
            summary = format!("{summary} {choice}");
        }
        let filters = counts
            .into_iter()
            .map(|(filter, nodes)| FilterCount { filter, nodes, help: help(filter, requirement, &figures) })
            .collect();
        Some(Explanation { task: *id, state, summary, waiting, nodes, fitting, filters, blocked, back_offs })
    }

    /// What each node says to a task, in the order of their ids.
    pub fn explain_nodes(
        &self,
        id: &TaskId,
        after: Option<NodeId>,
        limit: usize,
    ) -> Option<Vec<NodeVerdict>> {
        let requirement = self.queue.requirement(self.tasks.get(id)?.shape)?;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let verdicts = self.nodes.range((from, Bound::Unbounded)).take(limit).map(|(id, node)| {
            let failed = self.filter(node, requirement);
            let message = failed.map_or_else(
                || "it fits".to_owned(),
                |filter| {
                    let figures = Figures::of(std::iter::once(&node.hardware.profile), requirement);
                    help(filter, requirement, &figures)
                },
            );
            NodeVerdict { node: *id, failed, message }
        });
        Some(verdicts.collect())
    }

    fn blocked(&self) -> Option<Blocked> {
        if self.chain_is_fresh() {
            return None;
        }
        Some(Blocked {
            code: ErrorCode::new("pool/view-stale"),
            message: "the orchestrator cannot read the chain now, so that it places nothing new; this heals by itself"
                .to_owned(),
        })
    }
}

fn summarise(
    state: TaskState,
    waiting: u32,
    nodes: u32,
    counts: &BTreeMap<Filter, u32>,
    blocked: Option<&Blocked>,
) -> String {
    if waiting == 0 {
        return match state {
            TaskState::Pending => "Every replica has a node or waits out a back-off.".to_owned(),
            TaskState::Running
            | TaskState::Stopping
            | TaskState::Stopped
            | TaskState::Succeeded
            | TaskState::Failed
            | TaskState::Deleting => "No replica waits for a node.".to_owned(),
        };
    }
    if let Some(blocked) = blocked {
        return format!("{waiting} replicas wait: {}.", blocked.message);
    }
    if nodes == 0 {
        return format!("{waiting} replicas wait: the pool has no nodes.");
    }
    let reasons: Vec<String> =
        counts.iter().map(|(filter, count)| format!("{count} {}", fails(*filter))).collect();
    format!("{waiting} replicas wait; of {nodes} nodes {}.", reasons.join(", "))
}

fn fails(filter: Filter) -> &'static str {
    match filter {
        Filter::Member => "are no members",
        Filter::Alive => "are not heard",
        Filter::NotDraining => "are being emptied",
        Filter::NotConflicted => "are conflicted",
        Filter::NotFailing => "have failed at several tasks and wait for a trial",
        Filter::Proven => "are not proven",
        Filter::Budget => "cannot be paid",
        Filter::Constraints => "do not meet the constraints",
        Filter::GpuModel => "have too few GPUs of a wanted model",
        Filter::GpuMemory => "have GPUs with too little memory",
        Filter::GpuHealth => "have too few healthy GPUs",
        Filter::GpusFree => "have too few free GPUs",
        Filter::Cpus => "have too little CPU time free",
        Filter::Memory => "have too little memory free",
        Filter::Disk => "have too little disk free",
        Filter::DesiredSet => "have as much to run as one message to them can name",
    }
}

fn help(filter: Filter, requirement: &Requirement, figures: &Figures<'_>) -> String {
    match filter {
        Filter::Member => "let the node join the pool; its membership says what is missing".to_owned(),
        Filter::Alive => "bring the node's worker back".to_owned(),
        Filter::NotDraining => "undrain the node".to_owned(),
        Filter::NotConflicted => "stop one of the two processes that use the node's key".to_owned(),
        Filter::NotFailing => {
            "look at the finding `node/failing` of the node and mend it; one task at a time tries it from time to time"
                .to_owned()
        }
        Filter::Proven => "wait until a validator has proven the node's hardware".to_owned(),
        Filter::Budget => {
            "fund the pool (`lode pool fund`) or raise its spend cap, or wait until other paid work has ended"
                .to_owned()
        }
        Filter::Constraints => "relax the constraints, or label a node accordingly".to_owned(),
        Filter::GpuModel if requirement.models.is_empty() => {
            format!(
                "ask for fewer than {} GPUs on one node, or add a node with as many{}",
                requirement.gpus,
                figures.on_models()
            )
        }
        Filter::GpuModel => {
            let models: Vec<&str> = requirement.models.iter().map(WantedModel::text).collect();
            format!(
                "ask for fewer than {} GPUs, for other models than {}, or add a node that has them{}",
                requirement.gpus,
                models.join(", "),
                figures.on_models()
            )
        }
        Filter::GpuMemory => figures
            .on_memory()
            .unwrap_or_else(|| format!("ask for GPUs with less than {}", requirement.gpu_memory)),
        Filter::GpuHealth => {
            "wait until GPUs recover; the node's view says what is wrong with them".to_owned()
        }
        Filter::GpusFree => {
            format!(
                "wait until {} GPUs are free on one node, stop another task, or add a node",
                requirement.gpus
            )
        }
        Filter::Cpus => format!("ask for less than {}m CPUs, or wait until they are free", requirement.cpus),
        Filter::Memory => format!(
            "ask for less than {} of memory, or wait until it is free",
            lode_protocol::units::Bytes(requirement.memory)
        ),
        Filter::Disk => format!(
            "ask for less than {} of disk, or wait until it is free",
            lode_protocol::units::Bytes(requirement.disk)
        ),
        Filter::DesiredSet => format!(
            "make the spec smaller (it counts as {} of the {} that a node's assignments may take together), or add nodes",
            lode_protocol::units::Bytes(requirement.set_bytes),
            lode_protocol::units::Bytes(MOST_SET_BYTES)
        ),
    }
}
