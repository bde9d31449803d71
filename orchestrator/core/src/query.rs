//! Answers to questions: builds the read models of [`super::view`].

use std::collections::BTreeMap;
use std::ops::Bound;

use lode_protocol::ids::{AssignmentId, Incarnation, NodeId, ReplicaId, TaskId, Term};
use lode_protocol::image::PinnedImage;
use lode_protocol::keys::PublicKey;
use lode_protocol::units::{Bytes, MilliCpus};

use super::Core;
use super::admission::Admission;
use super::assignment::Assignment;
use super::event::{ConnectionId, Link};
use super::hardware::Withheld;
use super::lease::is_in_pool;
use super::node::{Node, NodeLifecycle, Probation};
use super::task::{Phase, Task};
use super::view::{
    AssignmentView, Capacity, GpuView, HistoryView, NodeState, NodeSummary, NodeView, PoolView, ReplicaRuns,
    ReplicaState, TaskState, TaskSummary, TaskView,
};

/// Which tasks to list, newest first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TaskQuery {
    /// Only those in this state.
    pub state: Option<TaskState>,
    /// Only those older than this one: the last of the page before.
    pub after: Option<TaskId>,
}

impl Core {
    /// The term.
    pub fn epoch(&self) -> Term {
        self.epoch
    }

    /// The key of a node that has said hello.
    pub fn public_key(&self, id: &NodeId) -> Option<PublicKey> {
        Some(self.nodes.get(id)?.public_key)
    }

    /// The pool at a glance. Walks all nodes and tasks.
    pub fn pool(&self) -> PoolView {
        let mut nodes: BTreeMap<NodeState, u32> = BTreeMap::new();
        let (mut gpus, mut gpus_allocated) = (0u32, 0u32);
        for node in self.nodes.values() {
            *nodes.entry(node.state()).or_default() += 1;
            if is_in_pool(&node.standing) {
                gpus += count(node.hardware.described());
                gpus_allocated += count(node.hardware.gpus.iter().filter(|slot| slot.holder.is_some()));
            }
        }
        let mut tasks: BTreeMap<TaskState, u32> = BTreeMap::new();
        for task in self.tasks.values() {
            *tasks.entry(task.state()).or_default() += 1;
        }
        PoolView {
            epoch: self.epoch,
            chain_fresh: self.chain_is_fresh(),
            nodes,
            tasks,
            gpus,
            gpus_allocated,
            assignments: self.live_assignments,
            pending: u32::try_from(self.queue.len()).unwrap_or(u32::MAX),
            beat_interval: self.beat_terms().interval,
            budget: self.budget_view(),
        }
    }

    /// Everything about a node.
    pub fn node(&self, id: &NodeId) -> Option<NodeView> {
        let node = self.nodes.get(id)?;
        let descriptor = node.read_descriptor();
        let (specs, addresses) =
            descriptor.map_or_else(Default::default, |descriptor| (descriptor.specs, descriptor.addresses));
        Some(NodeView {
            summary: self.summarise_node(node),
            specs,
            addresses,
            usage: node.pulse.usage,
            findings: node.pulse.findings.to_vec(),
            active: node.active.clone(),
            boot: node.progress.boot.0,
            generation: node.progress.generation.0,
            observed: node.pulse.talk.last.and_then(|last| last.observed).map(|observed| observed.0),
            attempts: match &node.standing {
                NodeLifecycle::Joining(Admission { attempts, .. })
                | NodeLifecycle::Member(Probation::Awaited { attempts, .. }) => *attempts,
                NodeLifecycle::Member(Probation::Passed)
                | NodeLifecycle::Draining { .. }
                | NodeLifecycle::Leaving { .. }
                | NodeLifecycle::Ejected { .. }
                | NodeLifecycle::Gone => 0,
            },
        })
    }

    /// Nodes in the order of their ids, after one of them.
    pub fn nodes(&self, after: Option<NodeId>, limit: usize) -> Vec<NodeSummary> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.nodes
            .range((from, Bound::Unbounded))
            .take(limit)
            .map(|(_, node)| self.summarise_node(node))
            .collect()
    }

    fn summarise_node(&self, node: &Node) -> NodeSummary {
        let descriptor = node.read_descriptor();
        NodeSummary {
            id: node.id,
            state: node.state(),
            membership: self.membership_of(node),
            shortfall: self.member_shortfall(node),
            provider: node.facts.registration().map(|registration| registration.provider),
            gpus: view_gpus(node, descriptor.as_ref()),
            capacity: Capacity {
                gpus: count(node.hardware.gpus.iter().filter(|slot| slot.is_healthy())),
                cpus: node.hardware.cpus,
                memory: node.hardware.memory,
                disk: node.hardware.disk,
            },
            allocated: Capacity {
                gpus: count(node.hardware.gpus.iter().filter(|slot| slot.holder.is_some())),
                cpus: MilliCpus(u32::try_from(node.allocated.cpus).unwrap_or(u32::MAX)),
                memory: Bytes(node.allocated.memory),
                disk: Bytes(node.allocated.disk),
            },
            assignments: u32::try_from(node.active.len()).unwrap_or(u32::MAX),
            last_heard: node.pulse.heard_at,
            agent_version: descriptor.map(|descriptor| descriptor.agent_version).unwrap_or_default(),
        }
    }

    /// Everything about a task.
    pub fn task(&self, id: &TaskId) -> Option<TaskView> {
        let task = self.tasks.get(id)?;
        let replica_states = task
            .replicas
            .iter()
            .map(|replica| match replica.phase {
                Phase::Waiting => ReplicaState::Pending,
                Phase::BackOff { .. } => ReplicaState::BackOff,
                Phase::Placed { .. } => ReplicaState::Active,
                Phase::Succeeded => ReplicaState::Succeeded,
                Phase::Failed => ReplicaState::Failed,
                Phase::Idle => ReplicaState::Idle,
            })
            .collect();
        let first =
            AssignmentId { replica: ReplicaId { task: *id, replica: 0 }, incarnation: Incarnation(0) };
        let assignments = self
            .assignments
            .range(first..)
            .take_while(|(known, _)| known.replica.task == *id)
            .map(|(known, assignment)| view_assignment(known, assignment))
            .collect();
        Some(TaskView {
            summary: summarise_task(id, task),
            spec: task.spec.as_spec().clone(),
            pinned_image: task.pinned_image.as_ref().map(ToString::to_string),
            order: task.order.as_ref().map(super::settlement::view::view_order),
            replica_states,
            assignments,
        })
    }

    /// What a list shows of a task: as little work however many replicas it has.
    pub fn task_summary(&self, id: &TaskId) -> Option<TaskSummary> {
        self.tasks.get(id).map(|task| summarise_task(id, task))
    }

    /// The content that a task's orders name.
    pub fn pinned_image(&self, id: &TaskId) -> Option<&PinnedImage> {
        self.tasks.get(id)?.pinned_image.as_ref()
    }

    /// Tasks, newest first.
    pub fn tasks(&self, query: TaskQuery, limit: usize) -> Vec<TaskSummary> {
        let until = query.after.map_or(Bound::Unbounded, Bound::Excluded);
        self.tasks
            .range((Bound::Unbounded, until))
            .rev()
            .filter(|(_, task)| query.state.is_none_or(|state| task.state() == state))
            .take(limit)
            .map(|(id, task)| summarise_task(id, task))
            .collect()
    }

    /// One assignment.
    pub fn assignment(&self, id: &AssignmentId) -> Option<AssignmentView> {
        self.assignments.get(id).map(|assignment| view_assignment(id, assignment))
    }

    /// What a reader of a replica's output needs to know; `None` if there is no such task.
    pub fn replica_runs(&self, replica: ReplicaId) -> Option<ReplicaRuns> {
        let task = self.tasks.get(&replica.task)?;
        let number = usize::try_from(replica.replica).unwrap_or(usize::MAX);
        let may_run_again = task.replicas.get(number).is_some_and(|replica| match replica.phase {
            Phase::Waiting | Phase::BackOff { .. } | Phase::Placed { .. } => true,
            Phase::Succeeded | Phase::Failed | Phase::Idle => false,
        });
        let of = |incarnation| AssignmentId { replica, incarnation: Incarnation(incarnation) };
        let assignments = self.assignments.range(of(0)..=of(u32::MAX)).map(|(id, _)| *id).collect();
        let replicas = u32::try_from(task.replicas.len()).unwrap_or(u32::MAX);
        Some(ReplicaRuns { replicas, assignments, may_run_again })
    }

    /// Whether a node's messages come over this connection.
    pub fn is_linked(&self, id: &NodeId, connection: ConnectionId) -> bool {
        let link = self.nodes.get(id).and_then(|node| node.pulse.talk.link);
        link.is_some_and(|link| link.connection == connection)
    }

    /// The node of an assignment, and the way on which it can be asked, if one is open.
    pub fn where_is(&self, id: &AssignmentId) -> Option<(NodeId, Option<Link>)> {
        let node = self.nodes.get(&self.assignments.get(id)?.node)?;
        Some((node.id, node.pulse.talk.link))
    }
}

fn count(items: impl Iterator) -> u32 {
    u32::try_from(items.count()).unwrap_or(u32::MAX)
}

fn withheld(why: Withheld) -> String {
    match why {
        Withheld::TooSmall => {
            "left out: it has less memory than this pool asks of each GPU (node/gpu-too-small)".to_owned()
        }
        Withheld::ClaimedBy(other) => {
            format!("not used: node {other} named this GPU before, and is alive (gpu/claimed-twice)")
        }
    }
}

fn view_gpus(node: &Node, descriptor: Option<&lode_protocol::descriptor::NodeDescriptor>) -> Vec<GpuView> {
    let model = |uuid| {
        let gpus = descriptor.map(|descriptor| descriptor.specs.gpus.as_slice()).unwrap_or_default();
        gpus.iter().find(|spec| spec.uuid == uuid).and_then(|spec| spec.model.clone())
    };
    let view = |slot: &super::hardware::GpuSlot| GpuView {
        uuid: slot.uuid.clone(),
        model: model(slot.uuid.clone()),
        memory: slot.kind.memory,
        state: slot.state,
        reason: slot.withheld.map(withheld).or_else(|| slot.reason.as_deref().map(ToOwned::to_owned)),
        temperature: slot.sample.temperature,
        power: slot.sample.power,
        utilization: slot.sample.utilization,
        memory_used: slot.sample.memory_used,
        assignment: slot.holder,
    };
    node.hardware.gpus.iter().map(view).collect()
}

fn summarise_task(id: &TaskId, task: &Task) -> TaskSummary {
    TaskSummary {
        id: *id,
        name: task.spec.name.clone(),
        kind: task.spec.kind,
        state: task.state(),
        created: task.created,
        replicas: task.counts,
    }
}

fn view_assignment(id: &AssignmentId, assignment: &Assignment) -> AssignmentView {
    let history = assignment
        .history
        .iter()
        .map(|step| HistoryView {
            at: step.at,
            state: step.state,
            reason: step.reason,
            detail: step.detail.clone(),
        })
        .collect();
    AssignmentView {
        id: *id,
        node: assignment.node,
        state: assignment.state,
        reason: assignment.reason(),
        detail: assignment.detail().to_owned(),
        exit_code: assignment.exit_code,
        restarts: assignment.restarts,
        gpus: assignment.gpus.clone(),
        ports: assignment.ports.clone(),
        image: assignment.image.clone(),
        history,
    }
}
