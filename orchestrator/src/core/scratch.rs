//! What one step has touched. Rows, log entries and messages are written once, at its end, from the state as it is then:
//! nothing is written twice, and nothing that was written is already outdated.

use std::collections::BTreeSet;

use lode_protocol::envelope::encode;
use lode_protocol::ids::{AssignmentId, NodeId, ReplicaId, TaskId};
use lode_protocol::units::Millis;

use super::Core;
use super::desired::OwedReply;
use super::effect::{Action, Change, Effects, Occurrence, OccurrenceKind, Table};
use super::record;
use super::settlement::TouchedLedger;
use super::task::{Goal, Replica};
use super::view::NodeState;

/// Everything that a step owes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) effects: Effects,
    pub(crate) reply: Option<OwedReply>,
    /// Nodes whose row changed.
    pub(crate) nodes: BTreeSet<NodeId>,
    /// Nodes whose counters changed.
    pub(crate) progress: BTreeSet<NodeId>,
    /// Nodes whose state may have changed.
    pub(crate) shown: BTreeSet<NodeId>,
    /// Nodes whose desired set changed.
    pub(crate) desired: BTreeSet<NodeId>,
    /// Nodes that are to be told now.
    pub(crate) push: BTreeSet<NodeId>,
    pub(crate) tasks: BTreeSet<TaskId>,
    /// Tasks whose state may have changed.
    pub(crate) task_states: BTreeSet<TaskId>,
    pub(crate) replicas: BTreeSet<ReplicaId>,
    pub(crate) assignments: BTreeSet<AssignmentId>,
    pub(crate) epoch: bool,
    pub(crate) ledger: TouchedLedger,
}

impl Core {
    pub(crate) fn act(&mut self, action: Action) {
        self.scratch.effects.actions.push(action);
    }

    pub(crate) fn log(&mut self, kind: OccurrenceKind) {
        let at = self.now.wall;
        self.scratch.effects.occurrences.push(Occurrence { at, kind });
    }

    pub(crate) fn change(&mut self, table: Table, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.scratch.effects.changes.push(Change { table, key, value });
    }

    /// Settles everything that the step owes.
    pub(crate) fn finish(&mut self) -> Effects {
        self.enforce_orders();
        self.enforce_budget();
        self.place_waiting();
        self.tell_starvation();
        self.bump_generations();
        self.write_messages();
        self.log_node_states();
        self.log_task_states();
        self.write_rows();
        self.write_ledger_rows();
        std::mem::take(&mut self.scratch.effects)
    }

    fn log_node_states(&mut self) {
        for id in std::mem::take(&mut self.scratch.shown) {
            let Some(node) = self.nodes.get_mut(&id) else { continue };
            let to = node.state();
            let from = node.shown.replace(to);
            if from == Some(to) {
                continue;
            }
            let message = describe(to, node.terms.suspect_after, node.terms.lost_after);
            self.log(OccurrenceKind::Node { node: id, from, to, message });
        }
    }

    fn log_task_states(&mut self) {
        for id in std::mem::take(&mut self.scratch.task_states) {
            self.recount_covered(&id);
            let Some(task) = self.tasks.get_mut(&id) else { continue };
            if task.goal == Goal::Delete && task.live == 0 {
                self.remove_task(&id);
                continue;
            }
            let to = task.state();
            let from = task.shown.replace(to);
            if from != Some(to) {
                self.log(OccurrenceKind::Task { task: id, from, to });
            }
        }
    }

    fn remove_task(&mut self, id: &TaskId) {
        let Some(task) = self.tasks.remove(id) else { return };
        if let Some(key) = &task.idempotency_key {
            self.idempotency.remove(key);
        }
        self.queue.release(task.shape);
        self.scratch.tasks.insert(*id);
        if task.order.is_some() {
            self.scratch.ledger.spent.insert(*id);
        }
        for (number, replica) in (0u32..).zip(&task.replicas) {
            let replica_id = ReplicaId { task: *id, replica: number };
            let kept: Vec<AssignmentId> = self.incarnations(&replica_id).map(|(known, _)| *known).collect();
            for assignment in kept {
                self.assignments.remove(&assignment);
                self.scratch.assignments.insert(assignment);
            }
            if *replica != Replica::new() {
                self.scratch.replicas.insert(replica_id);
            }
        }
        self.log(OccurrenceKind::TaskDeleted { task: *id });
    }

    /// Forgets a node.
    pub(crate) fn remove_node(&mut self, id: &NodeId) {
        let Some(node) = self.nodes.remove(id) else { return };
        if node.stranger {
            self.strangers = self.strangers.saturating_sub(1);
        }
        self.index.unlist(id);
        self.act(Action::UnfollowNode(*id));
        if node.stored {
            self.scratch.nodes.insert(*id);
            self.scratch.progress.insert(*id);
        }
    }

    fn write_rows(&mut self) {
        if std::mem::take(&mut self.scratch.epoch) {
            let row = encode(&record::Meta { epoch: self.epoch });
            self.change(Table::Meta, record::META_KEY.to_vec(), Some(row));
        }
        for id in std::mem::take(&mut self.scratch.nodes) {
            let row = match self.nodes.get_mut(&id) {
                Some(node) if !node.is_durable() => continue,
                Some(node) => {
                    node.stored = true;
                    Some(encode(&record::NodeRow::of(node)))
                }
                None => None,
            };
            self.change(Table::Nodes, record::node_key(&id), row);
        }
        for id in std::mem::take(&mut self.scratch.progress) {
            let row = match self.nodes.get(&id) {
                Some(node) if !node.is_durable() => continue,
                Some(node) => Some(encode(&record::Progress::of(node))),
                None => None,
            };
            self.change(Table::Progress, record::node_key(&id), row);
        }
        for id in std::mem::take(&mut self.scratch.tasks) {
            let row = self.tasks.get(&id).map(|task| encode(&record::TaskRow::of(task)));
            self.change(Table::Tasks, record::task_key(&id), row);
        }
        for id in std::mem::take(&mut self.scratch.replicas) {
            // A replica that is as a new one needs no row.
            let row = self.replica(&id).filter(|replica| **replica != Replica::new()).map(encode);
            self.change(Table::Replicas, record::replica_key(&id), row);
        }
        for id in std::mem::take(&mut self.scratch.assignments) {
            let row = self.assignments.get(&id).map(encode);
            self.change(Table::Assignments, record::assignment_key(&id), row);
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
