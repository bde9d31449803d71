//! Replicas that wait for a node, grouped by shape.
//!
//! A shape that did not fit anywhere is *blocked*: it is not tried again until capacity grows somewhere, and then only
//! on the nodes where it grew. So that neither a long queue nor a busy fleet makes anybody scan the other.

use std::collections::{BTreeMap, BTreeSet};

use lode_protocol::hash::Digest;
use lode_protocol::ids::{NodeId, ReplicaId};
use lode_protocol::task::TaskSpec;

use super::requirement::{Requirement, ShapeId};

#[derive(Clone, Debug)]
struct Shape {
    requirement: Requirement,
    /// First come, first served.
    waiting: BTreeSet<(u64, ReplicaId)>,
    blocked: bool,
}

/// The queue.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queue {
    by_digest: BTreeMap<Digest, ShapeId>,
    shapes: Vec<Shape>,
    tickets: BTreeMap<ReplicaId, u64>,
    next_ticket: u64,
    /// Shapes that have not been tried since something waits in them.
    untried: BTreeSet<ShapeId>,
    /// Nodes where capacity grew.
    grown: BTreeSet<NodeId>,
}

impl Queue {
    /// The shape of a spec.
    pub(crate) fn shape_of(&mut self, spec: &TaskSpec) -> ShapeId {
        let digest = Requirement::digest(spec);
        if let Some(known) = self.by_digest.get(&digest) {
            return *known;
        }
        let fresh = ShapeId(u32::try_from(self.shapes.len()).unwrap_or(u32::MAX));
        self.shapes.push(Shape { requirement: Requirement::of(spec), waiting: BTreeSet::new(), blocked: false });
        self.by_digest.insert(digest, fresh);
        fresh
    }

    fn shape(&self, id: ShapeId) -> Option<&Shape> {
        self.shapes.get(usize::try_from(id.0).ok()?)
    }

    fn shape_mut(&mut self, id: ShapeId) -> Option<&mut Shape> {
        self.shapes.get_mut(usize::try_from(id.0).ok()?)
    }

    pub(crate) fn requirement(&self, id: ShapeId) -> Option<&Requirement> {
        Some(&self.shape(id)?.requirement)
    }

    pub(crate) fn enqueue(&mut self, id: ShapeId, replica: ReplicaId) {
        if self.tickets.contains_key(&replica) {
            return;
        }
        let ticket = self.next_ticket;
        self.next_ticket = self.next_ticket.saturating_add(1);
        let Some(shape) = self.shape_mut(id) else { return };
        shape.waiting.insert((ticket, replica));
        let blocked = shape.blocked;
        self.tickets.insert(replica, ticket);
        if !blocked {
            self.untried.insert(id);
        }
    }

    pub(crate) fn dequeue(&mut self, id: ShapeId, replica: &ReplicaId) {
        let Some(ticket) = self.tickets.remove(replica) else { return };
        if let Some(shape) = self.shape_mut(id) {
            shape.waiting.remove(&(ticket, *replica));
        }
    }

    /// Capacity grew on a node.
    pub(crate) fn wake(&mut self, node: NodeId) {
        self.grown.insert(node);
    }

    /// Everything is to be tried everywhere: placing has been impossible for the whole pool.
    pub(crate) fn retry_all(&mut self) {
        for (number, shape) in (0u32..).zip(&mut self.shapes) {
            shape.blocked = false;
            if !shape.waiting.is_empty() {
                self.untried.insert(ShapeId(number));
            }
        }
    }

    /// A shape fits nowhere now.
    pub(crate) fn block(&mut self, id: ShapeId) {
        if let Some(shape) = self.shape_mut(id) {
            shape.blocked = true;
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.untried.is_empty() && self.grown.is_empty()
    }

    pub(crate) fn take_grown(&mut self) -> Option<NodeId> {
        self.grown.pop_first()
    }

    pub(crate) fn head(&self, id: ShapeId) -> Option<ReplicaId> {
        self.shape(id)?.waiting.first().map(|(_, replica)| *replica)
    }

    /// Shapes to try everywhere, the one whose head waits longest first.
    pub(crate) fn take_untried(&mut self) -> Vec<ShapeId> {
        let untried = std::mem::take(&mut self.untried);
        self.by_age(untried.into_iter())
    }

    /// Shapes that wait for capacity, the one whose head waits longest first.
    pub(crate) fn blocked(&self) -> Vec<ShapeId> {
        let all = (0u32..).zip(&self.shapes);
        self.by_age(all.filter(|(_, shape)| shape.blocked).map(|(number, _)| ShapeId(number)))
    }

    fn by_age(&self, shapes: impl Iterator<Item = ShapeId>) -> Vec<ShapeId> {
        let mut aged: Vec<(u64, ShapeId)> =
            shapes.filter_map(|id| Some((self.shape(id)?.waiting.first()?.0, id))).collect();
        aged.sort_unstable();
        aged.into_iter().map(|(_, id)| id).collect()
    }

    /// A shape of which nothing waits is tried afresh by the next that comes.
    pub(crate) fn unblock_if_empty(&mut self, id: ShapeId) {
        if let Some(shape) = self.shape_mut(id).filter(|shape| shape.waiting.is_empty()) {
            shape.blocked = false;
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.tickets.len()
    }
}
