//! What must hold after every step, whatever happened, and at the end, when everything could settle.

use std::collections::{BTreeMap, BTreeSet};

use lode_chain_types::MembershipState;
use lode_orchestrator_core::effect::{Occurrence, OccurrenceKind};
use lode_orchestrator_core::view::{NodeState, TaskState};
use lode_protocol::assignment::AssignmentState;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{AssignmentId, Epoch, ReplicaId, TaskId};
use lode_protocol::session::Desired;
use lode_protocol::task::TaskKind;
use lode_worker_core::DEPARTURE_PATIENCE;
use lode_worker_core::event::ContainerId;

use crate::pool::tunables;
use crate::world::World;

/// An invariant that does not hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Broken {
    /// Its name.
    pub invariant: &'static str,
    /// What was seen.
    pub seen: String,
}

/// How long something that is not desired may go on where nothing goes wrong: a lease, its grace, and what a few beats,
/// a look at the chain and the engine take.
const SLACK: u64 = 25_000;
/// Most that messages and the engine's words may shift a meter, for each run that is counted.
const METER_SLACK: u64 = 6_000;

/// GPUs that a node has at most.
const MOST_GPUS: u64 = 3;

/// What was seen so far.
#[derive(Debug, Default)]
pub struct Witness {
    /// The first thing that is wrong.
    pub broken: Option<Broken>,
    started: BTreeMap<AssignmentId, usize>,
    runs: BTreeMap<usize, u64>,
    untold: BTreeMap<usize, u64>,
    pub(crate) accepted: BTreeSet<TaskId>,
    pub(crate) deleted: BTreeSet<TaskId>,
    succeeded: BTreeMap<ReplicaId, AssignmentId>,
    restarted: BTreeSet<TaskId>,
    pub(crate) ordered: BTreeMap<AssignmentId, usize>,
    meters: BTreeMap<usize, BTreeMap<Epoch, u64>>,
    undesired: BTreeMap<(usize, ContainerId), u64>,
    heard: BTreeMap<usize, u64>,
    said: BTreeSet<(usize, Digest)>,
}

impl Witness {
    /// Something does not hold.
    pub fn breaks(&mut self, invariant: &'static str, seen: String) {
        if self.broken.is_none() {
            self.broken = Some(Broken { invariant, seen });
        }
    }

    /// A user was told that his task is accepted.
    pub fn accepted(&mut self, task: TaskId) {
        self.accepted.insert(task);
    }

    /// A user wants a task gone.
    pub fn deleted(&mut self, task: TaskId) {
        self.deleted.insert(task);
    }

    /// A user wants a task to run again.
    pub fn restarted(&mut self, task: TaskId) {
        self.restarted.insert(task);
    }

    /// The log says something, durably.
    pub fn happened(&mut self, entry: &Occurrence) {
        if let OccurrenceKind::Assignment { assignment, to: AssignmentState::Succeeded, .. } = &entry.kind {
            self.succeeded.insert(assignment.replica, *assignment);
        }
    }

    /// A node cannot write for so long, and does not tell of an end that it might forget; or its engine is silent, and
    /// nobody can say how something ended before it has told. It is paid until it can tell.
    pub fn cannot_tell(&mut self, node: usize, lasts: u64) {
        *self.untold.entry(node).or_default() += lasts * MOST_GPUS;
    }

    /// The orchestrator has taken a message of a node; the same one again is no news of it.
    pub fn said(&mut self, node: usize, digest: Digest, now: u64) {
        if self.said.insert((node, digest)) {
            self.heard(node, now);
        }
    }

    /// A node's lease begins anew.
    pub fn heard(&mut self, node: usize, now: u64) {
        self.heard.insert(node, now);
    }

    /// The orchestrator judges a node's silence, by whatever clock it has.
    pub fn judged(&mut self, node: usize, state: NodeState, now: u64) {
        let terms = tunables();
        let least = match state {
            NodeState::Suspect => terms.suspect_after.0,
            NodeState::Lost => terms.lost_after.0,
            NodeState::Joining
            | NodeState::Alive
            | NodeState::Draining
            | NodeState::Ejected
            | NodeState::Conflicted => return,
        };
        let silent = now - self.heard.get(&node).copied().unwrap_or(0);
        if silent < least {
            let seen = format!("node {node} is {state:?} after {silent} ms of silence");
            self.breaks("a node is lost only after a lease of silence", seen);
        }
    }

    /// A container of this assignment runs.
    pub fn started(&mut self, id: AssignmentId, node: usize) {
        *self.runs.entry(node).or_default() += 1;
        if let Some(before) = self.started.insert(id, node)
            && before != node
        {
            self.breaks(
                "an incarnation runs on one node only",
                format!("{id} ran on node {before} and on {node}"),
            );
        }
    }

    /// A node is told what to run.
    pub fn ordered(&mut self, node: usize, desired: &Desired) {
        let Desired::Full { generation: _, orders } = desired else { return };
        let mut gpus = BTreeSet::new();
        for order in orders {
            if !order.gpus.iter().all(|gpu| gpus.insert(gpu.clone())) {
                self.breaks("no GPU is assigned twice", format!("{} on node {node}", order.id));
            }
            if let Some(before) = self.ordered.insert(order.id, node)
                && before != node
            {
                let seen = format!("{} was ordered on node {before} and on {node}", order.id);
                self.breaks("an incarnation is ordered on one node only", seen);
            }
            if order.spec.kind == TaskKind::Batch
                && let Some(done) = self.succeeded.get(&order.id.replica)
                && done.incarnation < order.id.incarnation
                && !self.restarted.contains(&order.id.replica.task)
            {
                let seen = format!("{} is ordered although {done} has succeeded", order.id);
                self.breaks("work that has succeeded is not done again", seen);
            }
        }
    }

    /// A node is told what its meter shows.
    pub fn metered(&mut self, node: usize, epoch: Epoch, gpu_millis: u64, truth: u64) {
        let known = self.meters.entry(node).or_default();
        let reading = known.entry(epoch).or_default();
        *reading = gpu_millis.max(*reading);
        let total: u64 = known.values().sum();
        let untold = self.untold.get(&node).copied().unwrap_or(0);
        let slack = METER_SLACK * (self.runs.get(&node).copied().unwrap_or(0) + 1) + untold;
        if total > truth + slack {
            let seen = format!("node {node}: {total} GPU-ms are counted, {truth} have run");
            self.breaks("meters count nothing twice and no dead time", seen);
        }
    }
}

impl World {
    /// Whether the orchestrator wants this on this node.
    fn is_desired(&self, number: usize, id: &AssignmentId) -> bool {
        let Some(core) = &self.orchestrator.core else { return true };
        core.assignment(id).is_some_and(|known| {
            known.node == self.nodes[number].id
                && !known.state.is_final()
                && known.state != AssignmentState::Stopping
        })
    }

    /// Looks for what runs and should not.
    pub fn watch_undesired(&mut self) {
        let healthy = self.healthy();
        let mut seen = BTreeMap::new();
        for number in 0..self.nodes.len() {
            let running: Vec<_> = self.nodes[number]
                .engine
                .containers
                .iter()
                .filter(|(_, container)| container.runs())
                .map(|(name, container)| (name.clone(), container.assignment))
                .collect();
            for (name, id) in running {
                if self.is_desired(number, &id) {
                    continue;
                }
                let key = (number, name);
                let mut since = self.witness.undesired.get(&key).copied().unwrap_or(self.now);
                if healthy.contains(&number) && !self.orchestrator.disk.full && self.chain.answers {
                    since = since.max(self.nodes[number].impaired_at);
                } else {
                    since = self.now;
                }
                // Without the orchestrator's word a worker believes the chain only after a while.
                let by_chain = self.chain.facts[&number].state != MembershipState::Member;
                let departure = if by_chain { DEPARTURE_PATIENCE.0 } else { 0 };
                if self.now > since + tunables().lost_after.0 + departure + SLACK {
                    let seen = format!("{id} runs on node {number}, undesired for {} ms", self.now - since);
                    self.witness.breaks("nothing runs undesired for longer than lease and grace", seen);
                }
                seen.insert(key, since);
            }
        }
        self.witness.undesired = seen;
    }

    /// What has not settled although nothing went wrong for long.
    pub fn unsettled(&mut self) -> Option<Broken> {
        self.compare_store();
        if let Some(broken) = self.witness.broken.take() {
            return Some(broken);
        }
        let broken = |invariant, seen| Some(Broken { invariant, seen });
        let now = self.orchestrator_clocks();
        let Some(core) = &self.orchestrator.core else {
            return broken("the orchestrator runs in the end", "it does not".to_owned());
        };
        for task in self.witness.accepted.difference(&self.witness.deleted) {
            let Some(view) = core.task(task) else {
                return broken("nothing acknowledged is lost", format!("task {task} is gone"));
            };
            let counts = view.summary.replicas;
            let explained = core.explain(task, now).is_some();
            let done = match view.summary.state {
                TaskState::Succeeded | TaskState::Failed | TaskState::Stopped => true,
                TaskState::Running => view.summary.kind == TaskKind::Service || counts.running > 0,
                TaskState::Pending => explained,
                TaskState::Stopping | TaskState::Deleting => false,
            };
            if !done {
                let seen = format!("task {task} is {:?} {counts:?}", view.summary.state);
                return broken("every task ends or explains", seen);
            }
        }
        for (number, node) in self.nodes.iter().enumerate() {
            let known = core.node(&node.id).map(|view| view.summary.state);
            if node.core.is_some() && matches!(known, Some(NodeState::Suspect | NodeState::Lost)) {
                let seen = format!("node {number} is {known:?}");
                return broken("who is heard is alive in the end", seen);
            }
            for container in node.engine.containers.values().filter(|container| container.runs()) {
                if !self.is_desired(number, &container.assignment) {
                    let seen = format!("{} still runs on node {number}", container.assignment);
                    return broken("nothing undesired runs in the end", seen);
                }
            }
        }
        self.directory_unsettled().or_else(|| self.validators_unsettled())
    }
}
