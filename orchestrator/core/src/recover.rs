//! From the store's rows back to a core.
//!
//! A row that cannot be read is skipped and named, so that one bad record never takes the pool down; only the epoch
//! must be readable, because a term must never be used twice. What is not persisted starts anew: sessions, leases, the
//! chain's facts, telemetry. What the rows do not agree on is settled by [`super::event::Event::Started`].

use std::collections::BTreeMap;

use lode_protocol::assignment::AssignmentState;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{AssignmentId, NodeId, ReplicaId, TaskId, Term};
use lode_protocol::settlement::task_order_domain;

use super::Core;
use super::assignment::Assignment;
use super::config::Config;
use super::effect::Table;
use super::node::{Node, NodeRow, ProgressRow};
use super::placement::set_bytes;
use super::record::{self, Meta};
use super::settlement::{LedgerRows, TaskOrderState};
pub use super::skipped::SkippedRow;
use super::skipped::{orphan, read};
use super::state::cost::Cost;
use super::task::{Goal, Phase, Replica, Task, TaskRow};
use super::view::ReplicaCounts;

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
    progress: BTreeMap<NodeId, ProgressRow>,
    tasks: Vec<(TaskId, TaskRow)>,
    replicas: Vec<(ReplicaId, Replica)>,
    assignments: Vec<(AssignmentId, Assignment)>,
    ledger: LedgerRows,
    epoch: Term,
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
                if table == Table::Meta && key != record::REQUIREMENTS_KEY {
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

    /// Hash of the pool's requirements as they were last seen on chain, out of its row: key and value.
    pub const REQUIREMENTS: (Table, &[u8]) = (Table::Meta, record::REQUIREMENTS_KEY);

    /// What that row says.
    ///
    /// # Errors
    /// If it is damaged, in words.
    pub fn read_requirements(value: &[u8]) -> Result<Digest, String> {
        read(value)
    }

    /// Rows that could not be read at recovery.
    pub fn skipped_rows(&self) -> &[SkippedRow] {
        &self.skipped
    }

    fn add_nodes(&mut self, nodes: Vec<(NodeId, NodeRow)>, mut progress: BTreeMap<NodeId, ProgressRow>) {
        let (terms, least) = (self.beat_terms(), self.config.requirements.gpu_memory);
        for (id, row) in nodes {
            let progress = progress.remove(&id).unwrap_or(ProgressRow::NEW);
            self.nodes.insert(id, Box::new(Node::stored(id, row, progress, terms, least)));
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
            let order = row.signed.map(|signed| {
                let digest = signed.order.digest(&domain);
                TaskOrderState { signed, digest, spent: Cost::ZERO }
            });
            self.tasks.insert(id, Task::stored(row, order, shape));
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
                let set_bytes = set_bytes(&task.spec);
                if let Some(node) = self.nodes.get_mut(&assignment.node) {
                    node.allocated.cpus = node.allocated.cpus.saturating_add(resources.cpus.0.into());
                    node.allocated.memory = node.allocated.memory.saturating_add(resources.memory.0);
                    node.allocated.disk = node.allocated.disk.saturating_add(resources.disk.0);
                    node.allocated.set_bytes = node.allocated.set_bytes.saturating_add(set_bytes);
                    node.add_active(id);
                    for gpu in &assignment.gpus {
                        node.hardware.hold(gpu, id);
                    }
                }
            }
            self.assignments.insert(id, assignment);
        }
    }

    /// Computes what is derived from tasks and assignments. Afterwards nothing is marked: all of it came from the store.
    fn recount(&mut self) {
        let ids: Vec<TaskId> = self.tasks.keys().copied().collect();
        for id in ids {
            self.recount_task(&id);
        }
        let ids: Vec<NodeId> = self.nodes.keys().copied().collect();
        for id in ids {
            if let Some(node) = self.nodes.get_mut(&id) {
                node.pulse.last_published = Some(node.state());
            }
        }
        drop(self.nodes.take_touched());
        drop(self.tasks.take_touched());
        drop(self.tasks.take_touched_replicas());
        drop(self.assignments.take_touched());
    }

    fn recount_task(&mut self, id: &TaskId) {
        let Some(task) = self.tasks.get(id) else { return };
        let mut counts = ReplicaCounts { total: task.spec.replicas, ..ReplicaCounts::default() };
        let mut moving = Vec::new();
        for (number, replica) in (0u32..).zip(&task.replicas) {
            let replica_id = ReplicaId { task: *id, replica: number };
            if replica.leaving.is_some() {
                moving.push(replica_id);
            }
            match replica.phase {
                Phase::Waiting => {
                    counts.pending += 1;
                    if task.goal == Goal::Run {
                        self.queue.enqueue(task.shape, replica_id);
                    }
                }
                Phase::BackOff { .. } => counts.pending += 1,
                Phase::Placed { incarnation } => {
                    let assignment = self.assignments.get(&AssignmentId { replica: replica_id, incarnation });
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
        for replica in moving {
            self.recount_cover(&replica);
        }
        if let Some(task) = self.tasks.get_mut(id) {
            task.counts = counts;
            task.last_published = Some(task.state());
        }
    }
}

impl Rows {
    fn add(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), String> {
        let bad_key = || "its key is malformed".to_owned();
        match table {
            Table::Meta if key == record::REQUIREMENTS_KEY => drop(read::<Digest>(value)?),
            Table::Meta => self.epoch = read::<Meta>(value)?.epoch,
            Table::Nodes => self.nodes.push((record::read_node_key(key).ok_or_else(bad_key)?, read(value)?)),
            Table::Progress => {
                self.progress.insert(record::read_node_key(key).ok_or_else(bad_key)?, read(value)?);
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
