//! The decision. Binding checks the node once more in the moment of allocation and changes nothing if it does not fit:
//! no snapshot, no over-allocation.

use lode_protocol::assignment::AssignmentState;
use lode_protocol::ids::{AssignmentId, NodeId, ReplicaId};

use super::super::Core;
use super::super::assignment::Assignment;
use super::super::effect::OccurrenceKind;
use super::super::task::Phase;
use super::super::timers::{Timer, after};
use super::filter::choose_gpus;
use super::requirement::ShapeId;
use super::score::{COMPARED, Score, score};

impl Core {
    /// Brings the index up to date with a node.
    pub(crate) fn reindex(&mut self, id: &NodeId) {
        let offered = self.nodes.get(id).filter(|node| self.standing_filter(node).is_none());
        match offered {
            Some(node) => self.index.list(node),
            None => self.index.unlist(id),
        }
    }

    /// Capacity may have grown on a node: whoever waits is asked again.
    pub(crate) fn wake(&mut self, id: &NodeId) {
        if self.index.is_listed(id) {
            self.queue.wake(*id);
        }
    }

    /// Places what can be placed.
    pub(crate) fn place_waiting(&mut self) {
        if !self.chain_is_fresh() || self.queue.is_idle() {
            return;
        }
        // Grown nodes first: whoever is blocked has waited longer than whoever has just come.
        while let Some(node) = self.queue.take_grown() {
            for shape in self.queue.blocked() {
                self.fill(shape, &node);
            }
        }
        for shape in self.queue.untried() {
            while let Some(replica) = self.queue.head(shape) {
                let node = self.best_node(shape, &replica);
                if !node.is_some_and(|node| self.bind(shape, &replica, &node)) {
                    self.queue.block(shape);
                    self.note_starved(shape);
                    break;
                }
            }
        }
    }

    fn fill(&mut self, shape: ShapeId, node: &NodeId) {
        while let Some(replica) = self.queue.head(shape) {
            if !self.bind(shape, &replica, node) {
                self.note_starved(shape);
                return;
            }
        }
    }

    fn best_node(&self, shape: ShapeId, id: &ReplicaId) -> Option<NodeId> {
        let requirement = self.queue.requirement(shape)?;
        let replica = self.replica(id)?;
        let mut best: Option<(Score, NodeId)> = None;
        let mut compared = 0;
        self.index.propose(requirement, |candidate| {
            let Some(node) = self.nodes.get(candidate) else { return true };
            if self.filter(node, requirement).is_some() {
                return true;
            }
            let found = score(node, id, replica, requirement, self.now.wall);
            // The index proposes tighter fits first, so that the first of equals is kept.
            if best.is_none_or(|(known, _)| found < known) {
                best = Some((found, *candidate));
            }
            compared += 1;
            !found.is_perfect() && compared < COMPARED
        });
        best.map(|(_, node)| node)
    }

    /// Places a replica on a node; `false` and nothing changed if it does not fit there now.
    fn bind(&mut self, shape: ShapeId, id: &ReplicaId, node_id: &NodeId) -> bool {
        let Some(requirement) = self.queue.requirement(shape) else { return false };
        let Some(node) = self.nodes.get(node_id) else { return false };
        if self.filter(node, requirement).is_some() {
            return false;
        }
        let gpus = choose_gpus(node, requirement);
        let (cpus, memory, disk) = (requirement.cpus, requirement.memory, requirement.disk);
        let Some(replica) = self.replica_mut(id) else { return false };
        let incarnation = replica.next;
        replica.next = incarnation.next();
        let assignment = AssignmentId { replica: *id, incarnation };
        let Some(node) = self.nodes.get_mut(node_id) else { return false };
        node.allocated.cpus = node.allocated.cpus.saturating_add(cpus);
        node.allocated.memory = node.allocated.memory.saturating_add(memory);
        node.allocated.disk = node.allocated.disk.saturating_add(disk);
        node.add_active(assignment);
        for gpu in &gpus {
            node.hardware.hold(gpu, assignment);
        }
        self.assignments.insert(assignment, Assignment::new(*node_id, gpus, self.now.wall));
        self.live_assignments = self.live_assignments.saturating_add(1);
        if let Some(task) = self.tasks.get_mut(&id.task) {
            task.live = task.live.saturating_add(1);
        }
        self.rate_assignment(assignment, node_id);
        self.reindex(node_id);
        self.set_replica_phase(id, Phase::Placed { incarnation });
        self.scratch.assignments.insert(assignment);
        self.scratch.desired.insert(*node_id);
        let due = after(self.now.monotonic, self.config.terms.start_deadline);
        self.timers.set(due, Timer::Start(assignment));
        self.log(OccurrenceKind::Assignment {
            assignment,
            node: *node_id,
            from: None,
            to: AssignmentState::Assigned,
            reason: None,
            detail: String::new(),
        });
        true
    }
}
