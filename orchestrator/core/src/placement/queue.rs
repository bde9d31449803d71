//! Replicas that wait for a node, grouped by shape.
//!
//! A shape that did not fit anywhere is *blocked*: it is not tried again until capacity grows somewhere, and then only
//! on the nodes where it grew. So that neither a long queue nor a busy fleet makes anybody scan the other.
//!
//! | standing | next |
//! |---|---|
//! | empty | untried (a replica comes) |
//! | untried | blocked (fits nowhere, or the search for a node was interrupted), empty |
//! | blocked | untried (all is tried again, or its search goes on and finds a node), empty |
//!
//! Invariants: a shape in which something waits is either untried or blocked; an empty one is neither. A shape is filed
//! by the ticket of its head: between shapes age counts as it does within one.

use std::collections::{BTreeMap, BTreeSet};

use lode_protocol::hash::Digest;
use lode_protocol::ids::{NodeId, ReplicaId};
use lode_protocol::task::TaskSpec;

use super::super::node::Node;
use super::blocked::{Aged, Anchor, Blocked};
use super::index::Index;
use super::kinds::Verdict;
use super::requirement::Requirement;
use super::search::Cursor;
use crate::state::shape::ShapeId;

/// Where a shape stands in which something waits.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Standing {
    Untried,
    /// It fits nowhere; with a cursor: nowhere before it, and the search goes on.
    Blocked(Option<Cursor>),
}

#[derive(Clone, Debug)]
struct Shape {
    digest: Digest,
    requirement: Requirement,
    verdict: Verdict,
    /// First come, first served.
    waiting: BTreeSet<(u64, ReplicaId)>,
    standing: Standing,
    /// Tasks of this shape.
    tasks: u32,
}

impl Shape {
    /// How it is filed; `None`: it is empty.
    fn aged(&self, id: ShapeId) -> Option<Aged> {
        self.waiting.first().map(|(ticket, _)| (*ticket, id))
    }
}

/// The queue.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queue {
    by_digest: BTreeMap<Digest, ShapeId>,
    shapes: BTreeMap<ShapeId, Shape>,
    next_shape: u32,
    tickets: BTreeMap<ReplicaId, u64>,
    next_ticket: u64,
    /// Untried shapes, and blocked ones whose search goes on.
    to_search: BTreeSet<Aged>,
    blocked: Blocked,
    /// Blocked shapes whose search goes on.
    interrupted: BTreeSet<ShapeId>,
    /// Nodes where capacity grew; with them the ticket from which on shapes are still to be tried there.
    grown: BTreeMap<NodeId, u64>,
    /// Numbers of GPUs that were too dear when a shape that wants them was tried last.
    too_dear: BTreeSet<u32>,
    /// The same since money became free, with the ticket from which on shapes are still to be tried.
    dear: BTreeMap<u32, u64>,
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
        let shape = Shape {
            digest,
            requirement: Requirement::of(spec),
            verdict: Verdict::default(),
            waiting: BTreeSet::new(),
            standing: Standing::Untried,
            tasks: 1,
        };
        self.shapes.insert(id, shape);
        self.by_digest.insert(digest, id);
        id
    }

    /// A task of this shape is gone, and nothing of it waits.
    pub(crate) fn release(&mut self, id: ShapeId) {
        let Some(shape) = self.shapes.get_mut(&id) else { return };
        shape.tasks = shape.tasks.saturating_sub(1);
        if shape.tasks == 0 {
            self.refile(id, |shape| shape.waiting.clear());
            if let Some(shape) = self.shapes.remove(&id) {
                self.by_digest.remove(&shape.digest);
            }
        }
    }

    pub(crate) fn requirement(&self, id: ShapeId) -> Option<&Requirement> {
        Some(&self.shapes.get(&id)?.requirement)
    }

    pub(crate) fn enqueue(&mut self, id: ShapeId, replica: ReplicaId) {
        if self.tickets.contains_key(&replica) || !self.shapes.contains_key(&id) {
            return;
        }
        let ticket = self.next_ticket;
        self.next_ticket = self.next_ticket.saturating_add(1);
        self.tickets.insert(replica, ticket);
        self.refile(id, |shape| {
            if shape.waiting.is_empty() {
                shape.standing = Standing::Untried;
            }
            shape.waiting.insert((ticket, replica));
        });
    }

    pub(crate) fn dequeue(&mut self, id: ShapeId, replica: &ReplicaId) {
        let Some(ticket) = self.tickets.remove(replica) else { return };
        self.refile(id, |shape| {
            shape.waiting.remove(&(ticket, *replica));
        });
    }

    /// Capacity grew on a node.
    pub(crate) fn wake(&mut self, node: NodeId) {
        // What is untried is tried there anyway.
        if !self.blocked.is_empty() {
            self.grown.insert(node, 0);
        }
    }

    /// Everything is to be tried everywhere: placing has been impossible for the whole pool.
    pub(crate) fn retry_all(&mut self) {
        let blocked: Vec<ShapeId> = self.blocked.all().collect();
        for id in blocked {
            self.untry(id);
        }
        self.too_dear.clear();
        self.dear.clear();
    }

    /// A shape is to be tried everywhere.
    pub(super) fn untry(&mut self, id: ShapeId) {
        self.refile(id, |shape| shape.standing = Standing::Untried);
    }

    /// A shape fits nowhere now; with a cursor: nowhere before it.
    pub(crate) fn block(&mut self, id: ShapeId, cursor: Option<Cursor>) {
        self.refile(id, |shape| shape.standing = Standing::Blocked(cursor));
    }

    /// Whether nothing can be tried now.
    pub(crate) fn is_idle(&self) -> bool {
        self.to_search.is_empty() && self.grown.is_empty() && self.dear.is_empty()
    }

    /// Whether there are shapes to search nodes for.
    pub(super) fn is_searching(&self) -> bool {
        !self.to_search.is_empty()
    }

    /// A node where capacity grew, and the ticket from which on shapes are to be tried there.
    pub(super) fn take_grown(&mut self) -> Option<(NodeId, u64)> {
        self.grown.pop_first()
    }

    /// The rest of the shapes is tried on a node later.
    pub(super) fn put_back(&mut self, node: NodeId, from: u64) {
        self.grown.insert(node, from);
    }

    pub(crate) fn head(&self, id: ShapeId) -> Option<ReplicaId> {
        self.shapes.get(&id)?.waiting.first().map(|(_, replica)| *replica)
    }

    /// Whether a search was interrupted that goes on.
    pub(super) fn is_interrupted(&self) -> bool {
        !self.interrupted.is_empty()
    }

    /// The shape to search a node for whose head waits longest.
    pub(super) fn oldest_to_search(&self) -> Option<ShapeId> {
        self.to_search.first().map(|(_, id)| *id)
    }

    /// Where the search for a node goes on.
    pub(super) fn cursor(&self, id: ShapeId) -> Option<&Cursor> {
        match &self.shapes.get(&id)?.standing {
            Standing::Untried => None,
            Standing::Blocked(cursor) => cursor.as_ref(),
        }
    }

    /// Decides which kinds of nodes may fit a shape, if they have changed.
    pub(crate) fn judge(&mut self, id: ShapeId, index: &Index) {
        if let Some(shape) = self.shapes.get_mut(&id) {
            index.judge(&shape.requirement, &mut shape.verdict);
        }
    }

    /// What [`Queue::judge`] decided.
    pub(super) fn verdict(&self, id: ShapeId) -> Option<&Verdict> {
        Some(&self.shapes.get(&id)?.verdict)
    }

    /// Shapes are blocked, and with so many GPUs they would cost too much, at least in one class.
    pub(crate) fn note_too_dear(&mut self, gpus: u32) {
        self.too_dear.insert(gpus);
    }

    /// Whether something waits for money.
    pub(super) fn is_too_dear(&self) -> bool {
        !self.too_dear.is_empty()
    }

    /// Money may be free: what was too dear is tried again.
    pub(crate) fn money_freed(&mut self) {
        self.dear.extend(std::mem::take(&mut self.too_dear).into_iter().map(|gpus| (gpus, 0)));
    }

    /// Numbers of GPUs that were too dear before money became free.
    pub(super) fn dear_gpus(&self) -> impl Iterator<Item = u32> {
        self.dear.keys().copied()
    }

    /// The oldest shape that was too dear and may not be any more: these numbers of GPUs can be paid in some class. Each
    /// shape comes once after money became free.
    pub(super) fn next_dear(&mut self, affordable: &[u32]) -> Option<ShapeId> {
        let mut oldest: Option<(Aged, u32)> = None;
        let (blocked, too_dear) = (&self.blocked, &mut self.too_dear);
        self.dear.retain(|gpus, from| {
            let Some(aged) = blocked.oldest(*gpus, *from) else { return false };
            if !affordable.contains(gpus) {
                too_dear.insert(*gpus);
                return false;
            }
            oldest = Some(oldest.map_or((aged, *gpus), |known| known.min((aged, *gpus))));
            true
        });
        let ((ticket, id), gpus) = oldest?;
        self.dear.insert(gpus, ticket.saturating_add(1));
        Some(id)
    }

    /// Numbers of GPUs that blocked shapes want, up to one.
    pub(super) fn blocked_gpus(&self, most: u32) -> impl Iterator<Item = u32> {
        self.blocked.gpus(most)
    }

    /// Blocked shapes from a ticket on that a node could take, the oldest first; with them whether its free CPU time,
    /// memory and disk suffice.
    pub(super) fn for_node<'a>(
        &'a self,
        node: &'a Node,
        anchors: &'a [Anchor],
        gpus: &'a [u32],
        from: u64,
    ) -> impl Iterator<Item = (Aged, bool)> + 'a {
        self.blocked.for_node(node, anchors, gpus, from)
    }

    /// The only way a shape changes: files it anew.
    fn refile(&mut self, id: ShapeId, change: impl FnOnce(&mut Shape)) {
        let Some(shape) = self.shapes.get_mut(&id) else { return };
        let before = (shape.aged(id), shape.standing.clone());
        change(shape);
        let after = (shape.aged(id), &shape.standing);
        if (before.0, &before.1) == after {
            return;
        }
        self.interrupted.remove(&id);
        if let (Some(aged), standing) = before {
            self.to_search.remove(&aged);
            if matches!(standing, Standing::Blocked(_)) {
                self.blocked.remove(&aged, &shape.requirement);
            }
        }
        let Some(aged) = after.0 else { return };
        match &shape.standing {
            Standing::Untried => {
                self.to_search.insert(aged);
            }
            Standing::Blocked(cursor) => {
                self.blocked.insert(aged, &shape.requirement);
                if cursor.is_some() {
                    self.interrupted.insert(id);
                    self.to_search.insert(aged);
                }
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.tickets.len()
    }

    /// Whether everything that it is tried on was.
    #[cfg(test)]
    pub(crate) fn is_blocked(&self, id: ShapeId) -> bool {
        self.shapes.get(&id).is_some_and(|shape| {
            !shape.waiting.is_empty() && matches!(shape.standing, Standing::Blocked(None))
        })
    }
}
