//! From the store's rows back to a core.
//!
//! A row that cannot be read is skipped and named, so that one bad record never takes the pool down; only the epoch
//! must be readable, because a term must never be used twice. What is not persisted starts anew: sessions, leases, the
//! chain's facts, telemetry. What the rows do not agree on is settled by [`super::event::Event::Started`].

use lode_protocol::assignment::{AssignmentState, Reason};
use lode_protocol::envelope::decode;
use lode_protocol::ids::{AssignmentId, LeaderEpoch, NodeId, ReplicaId, TaskId};
use lode_protocol::settlement::task_order_domain;

use super::Core;
use super::admission::{Admission, Phase as AdmissionPhase};
use super::assignment::Assignment;
use super::config::Config;
use super::effect::{Action, OccurrenceKind, Table};
use super::node::{Node, Standing, Trial};
use super::record::{self, Meta, NodeRow, Progress, TaskRow};
use super::settlement::{Cost, LedgerRows, TaskOrderState};
use super::task::{Phase, Replica, Task};
use super::timers::{Timer, after};
use super::view::ReplicaCounts;

/// A row that could not be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SkippedRow {
    /// Its table.
    pub table: Table,
    /// Its key.
    pub key: Vec<u8>,
    /// What is wrong with it.
    pub problem: String,
}

/// Why no core can be made of the rows.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RecoverError {
    /// The row that holds the epoch is damaged. Starting without it could use a term twice.
    #[error(
        "the store's epoch cannot be read ({0}): restore the store from a backup; workers keep running meanwhile"
    )]
    Epoch(String),
}

#[derive(Default)]
struct Rows {
    nodes: Vec<(NodeId, NodeRow)>,
    progress: Vec<(NodeId, Progress)>,
    tasks: Vec<(TaskId, TaskRow)>,
    replicas: Vec<(ReplicaId, Replica)>,
    assignments: Vec<(AssignmentId, Assignment)>,
    ledger: LedgerRows,
    epoch: LeaderEpoch,
    skipped: Vec<SkippedRow>,
}

impl Core {
    /// Makes a core from all rows of all tables, in any order. The first event must be
    /// [`super::event::Event::Started`].
    ///
    /// # Errors
    /// If the epoch's row is damaged.
    pub fn recover(
        config: Config,
        rows: impl IntoIterator<Item = (Table, Vec<u8>, Vec<u8>)>,
    ) -> Result<Core, RecoverError> {
        let mut read = Rows::default();
        for (table, key, value) in rows {
            if let Err(problem) = read.add(table, &key, &value) {
                if table == Table::Meta {
                    return Err(RecoverError::Epoch(problem));
                }
                read.skipped.push(SkippedRow { table, key, problem });
            }
        }
        let mut core = Core::new(config);
        core.epoch = read.epoch;
        core.add_nodes(read.nodes, read.progress);
        core.add_tasks(read.tasks, read.replicas, &mut read.skipped);
        core.add_assignments(read.assignments, &mut read.skipped);
        core.add_ledger(read.ledger, &mut read.skipped);
        core.recount();
        core.skipped = read.skipped;
        Ok(core)
    }

    /// Rows that could not be read at recovery.
    pub fn skipped_rows(&self) -> &[SkippedRow] {
        &self.skipped
    }

    fn add_nodes(&mut self, nodes: Vec<(NodeId, NodeRow)>, progress: Vec<(NodeId, Progress)>) {
        let terms = self.beat_terms();
        for (id, row) in nodes {
            let mut node = Node::new(id, row.public_key, row.standing, terms);
            if let Ok(descriptor) = decode(&row.descriptor) {
                node.hardware.describe(&descriptor);
            }
            node.stored = true;
            self.nodes.insert(id, Box::new(node));
        }
        for (id, row) in progress {
            if let Some(node) = self.nodes.get_mut(&id) {
                node.boot = row.boot;
                node.generation = row.generation;
                node.nonces = row.nonces;
            }
        }
    }

    fn add_tasks(
        &mut self,
        tasks: Vec<(TaskId, TaskRow)>,
        replicas: Vec<(ReplicaId, Replica)>,
        skipped: &mut Vec<SkippedRow>,
    ) {
        for (id, row) in tasks {
            if let Some(key) = &row.idempotency_key {
                self.idempotency.insert(key.clone(), id);
            }
            let shape = self.queue.acquire(&row.spec);
            let domain = task_order_domain(self.config.chain, self.config.pools_contract);
            let order = row.order.map(|signed| {
                let digest = signed.order.digest(&domain);
                TaskOrderState { signed, digest, spent: Cost::ZERO }
            });
            let total = usize::try_from(row.spec.replicas).unwrap_or(0);
            let task = Task {
                spec: row.spec,
                created: row.created,
                goal: row.goal,
                pinned_image: row.pinned_image,
                idempotency_key: row.idempotency_key,
                order,
                replicas: vec![Replica::new(); total],
                shape,
                counts: ReplicaCounts::default(),
                live: 0,
                covered: 0,
                shown: None,
            };
            self.tasks.insert(id, task);
        }
        for (id, row) in replicas {
            match self.replica_mut(&id) {
                Some(replica) => *replica = row,
                None => skipped.push(orphan(Table::Replicas, record::replica_key(&id))),
            }
        }
    }

    fn add_assignments(&mut self, rows: Vec<(AssignmentId, Assignment)>, skipped: &mut Vec<SkippedRow>) {
        for (id, assignment) in rows {
            let Some(task) = self.tasks.get_mut(&id.replica.task) else {
                skipped.push(orphan(Table::Assignments, record::assignment_key(&id)));
                continue;
            };
            if assignment.is_live() {
                task.live = task.live.saturating_add(1);
                self.live_assignments = self.live_assignments.saturating_add(1);
                let resources = &task.spec.resources;
                if let Some(node) = self.nodes.get_mut(&assignment.node) {
                    node.allocated.cpus = node.allocated.cpus.saturating_add(resources.cpus.0.into());
                    node.allocated.memory = node.allocated.memory.saturating_add(resources.memory.0);
                    node.allocated.disk = node.allocated.disk.saturating_add(resources.disk.0);
                    node.add_active(id);
                    for gpu in &assignment.gpus {
                        node.hardware.hold(gpu, id);
                    }
                }
            }
            self.assignments.insert(id, assignment);
        }
    }

    /// Computes what is derived from tasks and assignments.
    fn recount(&mut self) {
        for (id, task) in &mut self.tasks {
            let mut counts = ReplicaCounts { total: task.spec.replicas, ..ReplicaCounts::default() };
            for (number, replica) in (0u32..).zip(&task.replicas) {
                let replica_id = ReplicaId { task: *id, replica: number };
                match replica.phase {
                    Phase::Waiting => {
                        counts.pending += 1;
                        self.queue.enqueue(task.shape, replica_id);
                    }
                    Phase::BackOff { .. } => counts.pending += 1,
                    Phase::Placed { incarnation } => {
                        let assignment =
                            self.assignments.get(&AssignmentId { replica: replica_id, incarnation });
                        if assignment.is_some_and(|known| known.state == AssignmentState::Running) {
                            counts.running += 1;
                        } else {
                            counts.starting += 1;
                        }
                    }
                    Phase::Succeeded => counts.succeeded += 1,
                    Phase::Failed => counts.failed += 1,
                    Phase::Idle => {}
                }
            }
            task.counts = counts;
        }
        let ids: Vec<TaskId> = self.tasks.keys().copied().collect();
        for id in ids {
            self.recount_covered(&id);
            if let Some(task) = self.tasks.get_mut(&id) {
                task.shown = Some(task.state());
            }
        }
        for node in self.nodes.values_mut() {
            node.shown = Some(node.state());
        }
    }

    /// The program takes office: a new term, full leases, timers, and everything that may have been under way again.
    pub(crate) fn start_term(&mut self) {
        self.epoch = LeaderEpoch(self.epoch.0.saturating_add(1));
        self.scratch.epoch = true;
        self.lease_floor = self.now.monotonic;
        self.log(OccurrenceKind::Started { epoch: self.epoch.0 });
        if !self.chain_is_fresh() {
            self.act(Action::RaiseFinding(super::chain::stale_finding()));
        }
        self.settle_disagreements();
        self.renew_all_leases();
        let ids: Vec<NodeId> = self.nodes.keys().copied().collect();
        for id in ids {
            self.act(Action::FollowNode(id));
            self.resume_node(&id);
        }
        self.set_timers();
        self.resume_settlement();
        // A task whose deletion had nothing left to wait for.
        self.scratch.task_states.extend(self.tasks.keys().copied());
    }

    fn resume_node(&mut self, id: &NodeId) {
        let Some(node) = self.nodes.get(id) else { return };
        match &node.standing {
            Standing::Joining(Admission {
                phase: AdmissionPhase::Consented { invite, consent, .. }, ..
            }) => {
                let (invite, consent) = (*invite, *consent);
                self.act(Action::SubmitJoin { invite, consent });
                self.evaluate_admission(id);
            }
            Standing::Joining(_) => self.evaluate_admission(id),
            Standing::Member(Trial::Awaited { .. }) => self.admission_due(id),
            Standing::Leaving { .. } => {
                self.arm_leave(id);
                self.leave_if_empty(id);
            }
            Standing::Member(Trial::Passed)
            | Standing::Draining { .. }
            | Standing::Ejected { .. }
            | Standing::Gone => {}
        }
    }

    /// A skipped row leaves others that refer to it: what cannot be known to run is placed anew.
    fn settle_disagreements(&mut self) {
        let homeless: Vec<AssignmentId> = self
            .assignments
            .iter()
            .filter(|(_, assignment)| assignment.is_live() && !self.nodes.contains_key(&assignment.node))
            .map(|(id, _)| *id)
            .collect();
        for id in homeless {
            self.decide(&id, AssignmentState::Lost, Reason::NodeLost, "its node's record could not be read");
        }
        let mut adrift: Vec<ReplicaId> = Vec::new();
        for (id, task) in &self.tasks {
            for (number, replica) in (0u32..).zip(&task.replicas) {
                let replica_id = ReplicaId { task: *id, replica: number };
                if let Phase::Placed { incarnation } = replica.phase
                    && !self
                        .assignments
                        .get(&AssignmentId { replica: replica_id, incarnation })
                        .is_some_and(Assignment::is_live)
                {
                    adrift.push(replica_id);
                }
            }
        }
        for id in adrift {
            self.set_replica_phase(&id, Phase::Waiting);
        }
    }

    fn set_timers(&mut self) {
        let now = self.now.monotonic;
        let wait = self.config.terms.start_deadline;
        for (id, assignment) in &self.assignments {
            if assignment.is_wanted() && !assignment.heard {
                self.timers.set(after(now, wait), Timer::Start(*id));
            } else if assignment.is_live() && !assignment.is_wanted() {
                self.timers.set(after(now, wait), Timer::Stop(*id));
            }
        }
        for (id, task) in &self.tasks {
            for (number, replica) in (0u32..).zip(&task.replicas) {
                if let Phase::BackOff { until } = replica.phase {
                    let left = until.since(self.now.wall);
                    self.timers.set(after(now, left), Timer::Retry(ReplicaId { task: *id, replica: number }));
                }
            }
        }
    }
}

impl Rows {
    fn add(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), String> {
        let bad_key = || "its key is malformed".to_owned();
        match table {
            Table::Meta => self.epoch = read::<Meta>(value)?.epoch,
            Table::Nodes => self.nodes.push((record::read_node_key(key).ok_or_else(bad_key)?, read(value)?)),
            Table::Progress => {
                self.progress.push((record::read_node_key(key).ok_or_else(bad_key)?, read(value)?))
            }
            Table::Tasks => self.tasks.push((record::read_task_key(key).ok_or_else(bad_key)?, read(value)?)),
            Table::Replicas => {
                self.replicas.push((record::read_replica_key(key).ok_or_else(bad_key)?, read(value)?))
            }
            Table::Assignments => {
                self.assignments.push((record::read_assignment_key(key).ok_or_else(bad_key)?, read(value)?));
            }
            Table::Settlement
            | Table::Meters
            | Table::Spent
            | Table::Orders
            | Table::Payees
            | Table::Offers
            | Table::Epochs
            | Table::Receipts
            | Table::Roots => return self.ledger.add(table, key, value),
        }
        Ok(())
    }
}

pub(crate) fn read<T: for<'b> minicbor::Decode<'b, ()>>(value: &[u8]) -> Result<T, String> {
    decode(value).map_err(|error| error.to_string())
}

pub(crate) fn orphan(table: Table, key: Vec<u8>) -> SkippedRow {
    SkippedRow { table, key, problem: "the task it belongs to could not be read".to_owned() }
}
