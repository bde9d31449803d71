//! Replicas that wait for a node, grouped by shape.
//!
//! A shape that did not fit anywhere is *blocked*: it is not tried again until capacity grows somewhere, and then only
//! on the nodes where it grew. So that neither a long queue nor a busy fleet makes anybody scan the other.
//!
//! Invariant: a shape in which something waits is either untried or blocked; an empty one is neither.

use std::collections::{BTreeMap, BTreeSet};

use lode_protocol::hash::Digest;
use lode_protocol::ids::{NodeId, ReplicaId};
use lode_protocol::task::TaskSpec;

use super::requirement::{Requirement, ShapeId};

#[derive(Clone, Debug)]
struct Shape {
    digest: Digest,
    requirement: Requirement,
    /// First come, first served.
    waiting: BTreeSet<(u64, ReplicaId)>,
    /// Tasks of this shape.
    tasks: u32,
}

/// The queue.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queue {
    by_digest: BTreeMap<Digest, ShapeId>,
    shapes: BTreeMap<ShapeId, Shape>,
    next_shape: u32,
    tickets: BTreeMap<ReplicaId, u64>,
    next_ticket: u64,
    untried: BTreeSet<ShapeId>,
    blocked: BTreeSet<ShapeId>,
    /// Nodes where capacity grew.
    grown: BTreeSet<NodeId>,
}

impl Queue {
    /// The shape of one more task.
    pub(crate) fn acquire(&mut self, spec: &TaskSpec) -> ShapeId {
        let digest = Requirement::digest(spec);
        if let Some(id) = self.by_digest.get(&digest)
            && let Some(shape) = self.shapes.get_mut(id)
        {
            shape.tasks = shape.tasks.saturating_add(1);
            return *id;
        }
        let id = ShapeId(self.next_shape);
        self.next_shape = self.next_shape.wrapping_add(1);
        let requirement = Requirement::of(spec);
        self.shapes.insert(id, Shape { digest, requirement, waiting: BTreeSet::new(), tasks: 1 });
        self.by_digest.insert(digest, id);
        id
    }

    /// A task of this shape is gone, and nothing of it waits.
    pub(crate) fn release(&mut self, id: ShapeId) {
        let Some(shape) = self.shapes.get_mut(&id) else { return };
        shape.tasks = shape.tasks.saturating_sub(1);
        if shape.tasks == 0 {
            let digest = shape.digest;
            self.by_digest.remove(&digest);
            self.shapes.remove(&id);
            self.untried.remove(&id);
            self.blocked.remove(&id);
        }
    }

    pub(crate) fn requirement(&self, id: ShapeId) -> Option<&Requirement> {
        Some(&self.shapes.get(&id)?.requirement)
    }

    pub(crate) fn enqueue(&mut self, id: ShapeId, replica: ReplicaId) {
        if self.tickets.contains_key(&replica) {
            return;
        }
        let Some(shape) = self.shapes.get_mut(&id) else { return };
        let ticket = self.next_ticket;
        self.next_ticket = self.next_ticket.saturating_add(1);
        shape.waiting.insert((ticket, replica));
        self.tickets.insert(replica, ticket);
        if !self.blocked.contains(&id) {
            self.untried.insert(id);
        }
    }

    pub(crate) fn dequeue(&mut self, id: ShapeId, replica: &ReplicaId) {
        let Some(ticket) = self.tickets.remove(replica) else { return };
        let Some(shape) = self.shapes.get_mut(&id) else { return };
        shape.waiting.remove(&(ticket, *replica));
        if shape.waiting.is_empty() {
            self.untried.remove(&id);
            self.blocked.remove(&id);
        }
    }

    /// Capacity grew on a node.
    pub(crate) fn wake(&mut self, node: NodeId) {
        if !self.tickets.is_empty() {
            self.grown.insert(node);
        }
    }

    /// Everything is to be tried everywhere: placing has been impossible for the whole pool.
    pub(crate) fn retry_all(&mut self) {
        self.untried.append(&mut self.blocked);
    }

    /// A shape fits nowhere now.
    pub(crate) fn block(&mut self, id: ShapeId) {
        self.untried.remove(&id);
        self.blocked.insert(id);
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.untried.is_empty() && self.grown.is_empty()
    }

    pub(crate) fn take_grown(&mut self) -> Option<NodeId> {
        self.grown.pop_first()
    }

    pub(crate) fn head(&self, id: ShapeId) -> Option<ReplicaId> {
        self.shapes.get(&id)?.waiting.first().map(|(_, replica)| *replica)
    }

    /// Shapes to try everywhere, the one whose head waits longest first.
    pub(crate) fn untried(&self) -> Vec<ShapeId> {
        self.by_age(&self.untried)
    }

    /// Shapes that wait for capacity, the one whose head waits longest first.
    pub(crate) fn blocked(&self) -> Vec<ShapeId> {
        self.by_age(&self.blocked)
    }

    fn by_age(&self, shapes: &BTreeSet<ShapeId>) -> Vec<ShapeId> {
        let mut aged: Vec<(u64, ShapeId)> =
            shapes.iter().filter_map(|id| Some((self.shapes.get(id)?.waiting.first()?.0, *id))).collect();
        aged.sort_unstable();
        aged.into_iter().map(|(_, id)| id).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.tickets.len()
    }

    #[cfg(test)]
    pub(crate) fn is_blocked(&self, id: ShapeId) -> bool {
        self.blocked.contains(&id)
    }
}
