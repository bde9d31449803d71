//! The decision. Binding checks the node once more in the moment of allocation and changes nothing if it does not fit:
//! no snapshot, no over-allocation.

use lode_protocol::assignment::AssignmentState;
use lode_protocol::ids::{AssignmentId, NodeId, ReplicaId};
use lode_protocol::proof::ProofClassId;

use super::super::Core;
use super::super::assignment::Assignment;
use super::super::effect::OccurrenceKind;
use super::super::faults::Trust;
use super::super::task::Phase;
use super::super::timers::{Timer, after};
use super::blocked::{Aged, Anchor};
use super::effort::Effort;
use super::filter::choose_gpus;
use super::kinds::{KindId, Verdict};
use super::places::Flow;
use super::score::{COMPARED, Score, score};
use super::search::Search;
use crate::state::shape::ShapeId;

/// What blocked shapes say to a node.
enum Offer {
    /// The oldest that it fits takes it.
    Taken(Aged),
    /// It fits none of them.
    Refused,
    /// None of those that were asked; the next one waits since this ticket, or later.
    Interrupted(u64),
}

impl Core {
    /// Brings the index up to date with a node.
    pub(crate) fn reindex(&mut self, id: &NodeId) {
        let offered = self.nodes.get(id).filter(|node| self.standing_filter(node).is_none());
        match offered {
            Some(node) => {
                // A search that was interrupted may have passed where the node stands now.
                if self.index.list(node) && self.queue.is_interrupted() {
                    self.queue.wake(*id);
                }
            }
            None => self.index.unlist(id),
        }
    }

    /// Capacity may have grown on a node: whoever waits is asked again.
    pub(crate) fn wake(&mut self, id: &NodeId) {
        if self.index.is_listed(id) {
            self.queue.wake(*id);
        }
    }

    /// Whether something waits that was not tried on all nodes, and may be.
    pub(crate) fn has_more_to_place(&self) -> bool {
        self.chain_is_fresh() && !self.queue.is_idle()
    }

    /// Places what can be placed, as far as a step may; the next one goes on.
    pub(crate) fn place_waiting(&mut self) {
        if !self.has_more_to_place() {
            return;
        }
        let mut effort = Effort::of_step(&self.config.terms);
        // Grown nodes first: whoever is blocked has waited longer than whoever has just come. But not for ever.
        let kept = if self.queue.is_searching() { Some(effort.split()) } else { None };
        while !effort.is_spent()
            && self.has_room()
            && let Some((node, from)) = self.queue.take_grown()
        {
            self.place_blocked(&node, from, &mut effort);
        }
        if let Some(kept) = kept {
            effort.give_back(kept);
        }
        while !effort.is_spent()
            && self.has_room()
            && let Some(shape) = self.next_to_search()
        {
            self.place_head(shape, &mut effort);
        }
    }

    /// The shape whose turn it is. What waited for money comes last: it is told by the first that does not get any.
    fn next_to_search(&mut self) -> Option<ShapeId> {
        if let Some(shape) = self.queue.oldest_to_search() {
            return Some(shape);
        }
        let lowest = self.lowest_price();
        let affordable: Vec<u32> =
            self.queue.dear_gpus().filter(|gpus| self.bears(lowest.saturating_mul((*gpus).into()))).collect();
        let shape = self.queue.next_dear(&affordable);
        // Too dear still, some of it.
        self.ledger.starved |= self.queue.is_too_dear();
        let shape = shape?;
        self.queue.untry(shape);
        Some(shape)
    }

    /// Searches a node for the replica of a shape that waits longest.
    fn place_head(&mut self, shape: ShapeId, effort: &mut Effort) {
        let Some(replica) = self.queue.head(shape) else { return };
        self.queue.judge(shape, &self.index);
        let (node, search) = self.best_node(shape, &replica, effort);
        // Afterwards: a search that may look at one place only must not have spent that already.
        effort.look();
        if node.is_some_and(|node| self.bind(shape, &replica, &node)) {
            effort.place();
            self.queue.untry(shape);
            return;
        }
        let cursor = match search {
            Search::Ended => None,
            Search::Interrupted(cursor) => Some(cursor),
        };
        self.queue.block(shape, cursor);
        self.note_starved(shape);
    }

    /// Offers a node to the blocked shapes that it could take, the oldest first.
    fn place_blocked(&mut self, id: &NodeId, mut from: u64, effort: &mut Effort) {
        let Some(anchors) =
            self.nodes.get(id).filter(|_| self.index.is_listed(id)).map(|node| Anchor::of_node(node))
        else {
            return;
        };
        effort.visit();
        loop {
            match self.offer(id, &anchors, from, effort) {
                Offer::Refused => return,
                Offer::Interrupted(next) => {
                    self.queue.put_back(*id, next);
                    return;
                }
                Offer::Taken((ticket, shape)) => {
                    from = ticket.saturating_add(1);
                    if let Some(replica) = self.queue.head(shape)
                        && self.bind(shape, &replica, id)
                    {
                        effort.place();
                    }
                    if effort.is_spent() || !self.has_room() {
                        self.queue.put_back(*id, from);
                        return;
                    }
                }
            }
        }
    }

    /// Offers a node to the blocked shapes from a ticket on. At least one is asked, however little effort is left.
    fn offer(&mut self, id: &NodeId, anchors: &[Anchor], from: u64, effort: &mut Effort) -> Offer {
        let (Some(node), Some(free)) = (self.nodes.get(id), self.index.free_gpus(id)) else {
            return Offer::Refused;
        };
        let (gpus, dear): (Vec<u32>, Vec<u32>) =
            self.queue.blocked_gpus(free).partition(|gpus| self.bears(self.rate_on(node, *gpus)));
        let mut answer = Offer::Refused;
        for ((ticket, shape), numbers_fit) in self.queue.for_node(node, anchors, &gpus, from) {
            effort.look();
            if numbers_fit {
                effort.visit();
                let requirement = self.queue.requirement(shape);
                if requirement.is_some_and(|requirement| self.filter(node, requirement).is_none()) {
                    answer = Offer::Taken((ticket, shape));
                    break;
                }
            }
            if effort.is_spent() {
                answer = Offer::Interrupted(ticket.saturating_add(1));
                break;
            }
        }
        for gpus in dear {
            self.note_gpus_starved(gpus);
        }
        answer
    }

    /// The best node for a replica of those that the search came to, and where it stopped.
    pub(crate) fn best_node(
        &self,
        shape: ShapeId,
        id: &ReplicaId,
        effort: &mut Effort,
    ) -> (Option<NodeId>, Search) {
        let (Some(requirement), Some(verdict)) = (self.queue.requirement(shape), self.queue.verdict(shape))
        else {
            return (None, Search::Ended);
        };
        let Some(replica) = self.replica(id) else { return (None, Search::Ended) };
        let kinds = self.affordable(verdict, requirement.gpus);
        let mut best: Option<(Score, NodeId)> = None;
        let mut compared = 0;
        let from = self.queue.cursor(shape);
        let search = self.index.search(requirement, &kinds, from, effort, |candidate, _| {
            let Some(node) = self.nodes.get(candidate) else { return Flow::Continue };
            if self.filter(node, requirement).is_some() {
                return Flow::Continue;
            }
            let found = score(node, id, replica, requirement, self.now.wall);
            // The index proposes tighter fits first, so that the first of equals is kept.
            if best.is_none_or(|(known, _)| found < known) {
                best = Some((found, *candidate));
            }
            compared += 1;
            if found.is_perfect() || compared >= COMPARED { Flow::Enough } else { Flow::Continue }
        });
        (best.map(|(_, node)| node), search)
    }

    /// The kinds whose price the budget bears: asked once for each class.
    fn affordable(&self, verdict: &Verdict, gpus: u32) -> Vec<KindId> {
        let mut classes: Vec<(Option<ProofClassId>, bool)> = Vec::new();
        let mut affordable = |class: Option<ProofClassId>| {
            if let Some((_, known)) = classes.iter().find(|(known, _)| *known == class) {
                return *known;
            }
            let borne = self.bears(self.rate_of(class, gpus));
            classes.push((class, borne));
            borne
        };
        verdict.kinds.iter().filter(|(_, class)| affordable(*class)).map(|(kind, _)| *kind).collect()
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
        let set_bytes = requirement.set_bytes;
        let Some(replica) = self.replica_mut(id) else { return false };
        let incarnation = replica.next;
        replica.next = incarnation.next();
        let assignment = AssignmentId { replica: *id, incarnation };
        let Some(node) = self.nodes.get_mut(node_id) else { return false };
        node.allocated.cpus = node.allocated.cpus.saturating_add(cpus);
        node.allocated.memory = node.allocated.memory.saturating_add(memory);
        node.allocated.disk = node.allocated.disk.saturating_add(disk);
        node.allocated.set_bytes = node.allocated.set_bytes.saturating_add(set_bytes);
        node.add_active(assignment);
        if let Trust::OnTrial { by: by @ None, .. } = &mut node.faults.trust {
            *by = Some(assignment);
        }
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
