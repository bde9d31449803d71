//! What one step has touched. Rows, log entries and messages are written once, at its end, from the state as it is then:
//! nothing is written twice, and nothing that was written is already outdated.

use std::collections::BTreeSet;

use lode_protocol::envelope::encode;
use lode_protocol::ids::{AssignmentId, NodeId, ReplicaId, TaskId};
use lode_protocol::units::Millis;

use super::Core;
use super::desired::OwedReply;
use super::effect::{Action, ChainCommand, Change, Effects, Occurrence, OccurrenceKind, Table};
use super::faults::Trust;
use super::record;
use super::settlement::TouchedLedger;
use super::task::{Goal, Phase, Replica};
use super::view::NodeState;
use super::work::{Stage, Work};

/// What a row is taken to be, besides texts and lists of any length.
const ROW: usize = 128;

/// Everything that a step owes besides the rows of what it has touched, which the state itself knows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) effects: Effects,
    pub(crate) reply: Option<OwedReply>,
    /// Nodes whose desired set changed, or must be sent again.
    pub(crate) desired: BTreeSet<NodeId>,
    /// Nodes that are to be told now.
    pub(crate) push: BTreeSet<NodeId>,
    pub(crate) epoch: bool,
    /// The pool's requirements have another hash.
    pub(crate) requirements: bool,
    /// Bytes of what will be written, as far as they count.
    pub(crate) bytes: usize,
    pub(crate) stage: Stage,
    pub(crate) ledger: TouchedLedger,
}

impl Core {
    /// Rows and log entries that the step changes so far, and their bytes: no fewer than it will have written.
    pub(crate) fn load(&self) -> (usize, usize) {
        let rows = self.nodes.touched().len().saturating_mul(2)
            + self.scratch.desired.len()
            + self.tasks.touched().len()
            + self.tasks.touched_replicas().len()
            + self.assignments.touched().len()
            + self.scratch.effects.changes.len()
            + self.scratch.effects.occurrences.len()
            + self.ledger_load();
        (rows, self.scratch.bytes.saturating_add(rows.saturating_mul(ROW)))
    }

    pub(crate) fn act(&mut self, action: Action) {
        self.scratch.effects.actions.push(action);
    }

    pub(crate) fn command_chain(&mut self, command: ChainCommand) {
        self.act(Action::Chain(command));
    }

    pub(crate) fn log(&mut self, kind: OccurrenceKind) {
        let at = self.now.wall;
        if let OccurrenceKind::Assignment { detail, .. } = &kind {
            self.scratch.bytes = self.scratch.bytes.saturating_add(detail.len());
        }
        self.scratch.effects.occurrences.push(Occurrence { at, kind });
    }

    pub(crate) fn change(&mut self, table: Table, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.scratch.bytes = self.scratch.bytes.saturating_add(value.as_ref().map_or(0, Vec::len));
        self.scratch.effects.changes.push(Change { table, key, value });
    }

    /// Settles everything that the step owes. What had no room in an earlier step goes on in ticks only, so that
    /// nobody's beat or request waits for it.
    pub(crate) fn finish(&mut self, ticks: bool) -> Effects {
        self.enforce_orders();
        if ticks || !self.backlog.contains(Work::EndUnpaid) {
            self.enforce_budget();
        }
        self.offer_touched();
        self.scratch.stage = Stage::Placing;
        if ticks || !self.backlog.contains(Work::Place) {
            self.place_waiting();
            if self.has_more_to_place() {
                self.backlog.push(Work::Place);
            }
        }
        self.tell_starvation();
        self.bump_generations();
        self.write_messages();
        self.remove_deleted();
        self.recount_covered();
        self.write_meta();
        self.finish_nodes();
        self.tell_lost();
        self.finish_tasks();
        self.finish_assignments();
        self.write_ledger_rows();
        self.scratch.bytes = 0;
        self.scratch.stage = Stage::Duty;
        std::mem::take(&mut self.scratch.effects)
    }

    /// Placement is to know of every node that was touched; capacity may have grown there.
    fn offer_touched(&mut self) {
        for id in self.nodes.touched().clone() {
            self.settle_claims(&id);
        }
        for id in self.nodes.touched().clone() {
            self.reindex(&id);
            self.wake(&id);
        }
    }

    /// Brings everything that follows from nodes up to date: the index, the log, their rows.
    fn finish_nodes(&mut self) {
        for id in self.nodes.take_touched() {
            self.reindex(&id);
            let (row, progress) = self.nodes.take_changed(&id);
            let Some(node) = self.nodes.get(&id) else { continue };
            let row = row.then(|| encode(&*node.row));
            let progress = progress.then(|| encode(&*node.progress));
            let (to, from, terms) = (node.state(), node.pulse.last_published, node.pulse.terms);
            self.lost.note(&id, to);
            // What the chain does not vouch for writes nothing: there is no end to such keys.
            if from != Some(to) && node.is_durable() {
                if let Some(mut node) = self.nodes.quiet(&id) {
                    node.pulse().last_published = Some(to);
                }
                let message = describe(to, terms.suspect_after, terms.lost_after);
                self.log(OccurrenceKind::Node { node: id, from, to, message });
            }
            for (table, row) in [(Table::Nodes, row), (Table::Progress, progress)] {
                if row.is_some() {
                    self.change(table, record::node_key(&id), row);
                }
            }
        }
    }

    fn finish_tasks(&mut self) {
        for id in self.tasks.take_touched() {
            let row = self.tasks.take_changed(&id);
            let Some(task) = self.tasks.get(&id) else {
                self.change(Table::Tasks, record::task_key(&id), None);
                continue;
            };
            let row = row.then(|| encode(&**task));
            let to = task.state();
            let from = self.tasks.publish(&id, to);
            if from != Some(to) {
                self.log(OccurrenceKind::Task { task: id, from, to });
            }
            if row.is_some() {
                self.change(Table::Tasks, record::task_key(&id), row);
            }
        }
        for id in self.tasks.take_touched_replicas() {
            // A replica that is as a new one needs no row.
            let row = self.replica(&id).filter(|replica| **replica != Replica::new()).map(encode);
            self.change(Table::Replicas, record::replica_key(&id), row);
        }
    }

    fn finish_assignments(&mut self) {
        for id in self.assignments.take_touched() {
            let row = self.assignments.get(&id).map(encode);
            self.change(Table::Assignments, record::assignment_key(&id), row);
        }
    }

    fn remove_deleted(&mut self) {
        let gone = |id: &&TaskId| {
            let task = self.tasks.get(*id);
            task.is_some_and(|task| task.goal == Goal::Delete && task.live == 0) && !self.backlog.removes(id)
        };
        let gone: Vec<TaskId> = self.tasks.touched().iter().filter(gone).copied().collect();
        for id in gone {
            self.remove_task(&id, 0);
        }
    }

    /// Forgets a deleted task of which nothing is alive, its replicas first: one that is forgotten is as a new one, of
    /// which the store has no row.
    pub(crate) fn remove_task(&mut self, id: &TaskId, from: u32) {
        let Some(task) = self.tasks.get(id) else { return };
        let total = u32::try_from(task.replicas.len()).unwrap_or(u32::MAX);
        for number in from..total {
            if !self.has_room() {
                self.backlog.push(Work::Remove(*id, number));
                return;
            }
            self.forget_replica(&ReplicaId { task: *id, replica: number });
        }
        let Some(task) = self.tasks.remove(id) else { return };
        if let Some(key) = &task.idempotency_key {
            self.idempotency.remove(key);
        }
        self.queue.release(task.shape);
        if task.order.is_some() {
            self.scratch.ledger.spent.insert(*id);
        }
        self.log(OccurrenceKind::TaskDeleted { task: *id });
    }

    fn forget_replica(&mut self, id: &ReplicaId) {
        let kept: Vec<AssignmentId> = self.incarnations(id).map(|(known, _)| *known).collect();
        for assignment in kept {
            self.assignments.remove(&assignment);
        }
        if self.replica(id).is_none_or(|replica| *replica == Replica::new()) {
            return;
        }
        self.set_replica_phase(id, Phase::Waiting);
        if let Some(replica) = self.replica_mut(id) {
            *replica = Replica::new();
        }
    }

    /// Forgets a node.
    pub(crate) fn remove_node(&mut self, id: &NodeId) {
        let Some(node) = self.nodes.remove(id) else { return };
        self.index.unlist(id);
        self.lost.forget(id);
        self.settle_claims(id);
        if node.faults.trust != Trust::Given {
            self.clear_failing(id);
        }
        self.command_chain(ChainCommand::UnfollowNode(*id));
        if node.stored {
            self.change(Table::Nodes, record::node_key(id), None);
            self.change(Table::Progress, record::node_key(id), None);
        }
    }

    fn write_meta(&mut self) {
        if std::mem::take(&mut self.scratch.requirements) {
            let row = encode(&self.config.requirements_hash);
            self.change(Table::Meta, record::REQUIREMENTS_KEY.to_vec(), Some(row));
        }
        if std::mem::take(&mut self.scratch.epoch) {
            let row = encode(&record::Meta { epoch: self.epoch });
            self.change(Table::Meta, record::META_KEY.to_vec(), Some(row));
        }
    }
}

fn describe(state: NodeState, suspect_after: Millis, lost_after: Millis) -> String {
    match state {
        NodeState::Joining => "is not a member yet".to_owned(),
        NodeState::Alive => "is heard".to_owned(),
        NodeState::Suspect => format!("has been silent for {suspect_after}"),
        NodeState::Lost => format!("has been silent for {lost_after}; its work is placed elsewhere"),
        NodeState::Draining => "is being emptied".to_owned(),
        NodeState::Ejected => "is out of the pool".to_owned(),
        NodeState::Conflicted => "has two processes that use its key".to_owned(),
    }
}
