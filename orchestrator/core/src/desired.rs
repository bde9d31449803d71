//! The desired set of a node and the messages that carry it.
//!
//! The set is derived: the node's wanted assignments. Its generation grows once per step in which it changed. An answer
//! carries the whole set unless the worker said that it works towards this very generation; nothing is sent before the
//! worker has told what it runs.

use lode_protocol::assignment::{AssignmentState, Reason};
use lode_protocol::hash::Digest;
use lode_protocol::ids::{AssignmentId, Generation, NodeId, Sequence};
use lode_protocol::session::{AssignmentSpec, Channel, Desired, Instruction, Membership};
use lode_protocol::units::Millis;

use super::Core;
use super::admission::{Admission, Phase};
use super::assignment::Wanted;
use super::effect::{Action, Answer};
use super::event::ConnectionId;
use super::node::{Known, Node, NodeLifecycle};
use super::timers::{Timer, after};
use super::work::Work;

/// An answer that is owed; it is written at the end of the step, when everything has settled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OwedReply {
    node: NodeId,
    connection: ConnectionId,
    sequence: Sequence,
    request: Digest,
}

impl Core {
    pub(crate) fn plan_reply(
        &mut self,
        node: NodeId,
        connection: ConnectionId,
        sequence: Sequence,
        request: Digest,
    ) {
        self.scratch.reply = Some(OwedReply { node, connection, sequence, request });
    }

    /// Takes an assignment out of the desired set.
    pub(crate) fn unassign(&mut self, id: &AssignmentId, reason: Reason) {
        let Some(assignment) = self.assignments.get(id).filter(|assignment| assignment.is_wanted()) else {
            return;
        };
        let node_id = assignment.node;
        let Some(node) = self.nodes.get(&node_id) else { return };
        let Some(assignment) = self.assignments.get_mut(id) else { return };
        assignment.wanted = Wanted::No { reason, generation: node.progress.generation.next() };
        let grace = self.tasks.get(&id.replica.task).map_or(Millis(0), |task| task.spec.stop_grace);
        let due = after(after(self.now.monotonic, grace), self.config.terms.start_deadline);
        self.timers.set(due, Timer::Stop(*id));
        self.scratch.desired.insert(node_id);
        self.unrate_assignment(id);
        self.decide(id, AssignmentState::Stopping, reason, "");
    }

    /// Takes everything of a node out of its desired set.
    pub(crate) fn withdraw_all(&mut self, id: &NodeId, reason: Reason) {
        let active = self.nodes.get(id).map(|node| node.active.clone()).unwrap_or_default();
        for assignment in active {
            if !self.has_room() {
                self.backlog.push(Work::Withdraw(*id, reason));
                return;
            }
            self.unassign(&assignment, reason);
        }
    }

    /// Counts up the generations of all sets that changed in this step.
    pub(crate) fn bump_generations(&mut self) {
        let changed = std::mem::take(&mut self.scratch.desired);
        for id in changed {
            let Some(node) = self.nodes.get_mut(&id) else { continue };
            let next = node.progress.generation.next();
            node.set_generation(next);
            self.scratch.push.insert(id);
        }
    }

    /// Writes the answer that is owed and the pushes that are due.
    pub(crate) fn write_messages(&mut self) {
        if let Some(owed) = self.scratch.reply.take() {
            self.scratch.push.remove(&owed.node);
            let observed = self.observed(&owed.node);
            let channel = Channel::Reply { sequence: owed.sequence, request: owed.request };
            if let Some(answer) = self.instruction(&owed.node, channel, observed) {
                self.act(Action::Reply { connection: owed.connection, node: owed.node, answer });
            }
        }
        let pushes = std::mem::take(&mut self.scratch.push);
        for id in pushes {
            let observed = self.observed(&id);
            if !self.nodes.get(&id).is_some_and(|node| node.has_reported()) {
                continue;
            }
            let Some(mut node) = self.nodes.quiet(&id) else { continue };
            let talk = &mut node.pulse().talk;
            let Some(connection) = talk.pushable() else { continue };
            talk.pushes = talk.pushes.next();
            let channel = Channel::Push { sequence: talk.pushes };
            if let Some(answer) = self.instruction(&id, channel, observed) {
                self.act(Action::Push { connection, node: id, answer });
            }
        }
    }

    fn observed(&self, id: &NodeId) -> Option<Generation> {
        self.nodes.get(id)?.pulse.talk.last?.observed
    }

    fn instruction(&mut self, id: &NodeId, channel: Channel, observed: Option<Generation>) -> Option<Answer> {
        let terms = self.beat_terms();
        let epoch = self.epoch;
        let fresh = self.chain_is_fresh();
        let (meter, receipts) = match channel {
            Channel::Reply { .. } => (self.reading(id), self.offered(id)),
            // A push is no acknowledgement of a beat; the next answer carries both.
            Channel::Push { .. } => (None, Vec::new()),
        };
        self.ledger.widest = self.ledger.widest.max(terms.suspect_after);
        let node = self.nodes.get(id)?;
        let membership = self.membership_of(node);
        let desired = self.desired(node, observed);
        let session = node.session.as_ref()?.id;
        let invite = match &node.standing {
            NodeLifecycle::Joining(Admission { phase: Phase::Invited { invite }, .. }) if fresh => {
                Some(*invite)
            }
            NodeLifecycle::Joining(_)
            | NodeLifecycle::Member(_)
            | NodeLifecycle::Draining { .. }
            | NodeLifecycle::Leaving { .. }
            | NodeLifecycle::Ejected { .. }
            | NodeLifecycle::Gone => None,
        };
        let mut node = self.nodes.quiet(id)?;
        node.pulse().terms = terms;
        node.pulse().talk.told_member |= membership == Membership::Member;
        let instruction = Instruction {
            session,
            epoch,
            channel,
            terms,
            desired,
            membership,
            invite: None,
            log_requests: Vec::new(),
            meter,
            receipts: None,
        };
        Some(Answer::Instruction { instruction: Box::new(instruction), invite, receipts })
    }

    fn desired(&self, node: &Node, observed: Option<Generation>) -> Desired {
        let generation = node.progress.generation;
        if node.has_reported() && observed != Some(generation) && may_be_told(node) {
            Desired::Full { generation, orders: self.orders(node) }
        } else {
            Desired::Unchanged
        }
    }

    fn orders(&self, node: &Node) -> Vec<AssignmentSpec> {
        let wanted = node.active.iter().filter_map(|id| {
            let assignment = self.assignments.get(id).filter(|assignment| assignment.is_wanted())?;
            let task = self.tasks.get(&id.replica.task)?;
            Some(AssignmentSpec {
                id: *id,
                spec: task.spec.clone(),
                gpus: assignment.gpus.clone(),
                pinned_image: task.pinned_image.clone(),
            })
        });
        wanted.collect()
    }
}

/// Whether a node gets a set at all. A node that is not a member yet gets one only to stop what must not run there, and
/// not before the chain has said that it is no member: unknown is not "nothing".
fn may_be_told(node: &Node) -> bool {
    match node.standing {
        NodeLifecycle::Joining(_) => {
            node.facts.membership != Known::Unknown && !(node.active.is_empty() && node.orphans.is_empty())
        }
        NodeLifecycle::Member(_)
        | NodeLifecycle::Draining { .. }
        | NodeLifecycle::Leaving { .. }
        | NodeLifecycle::Ejected { .. }
        | NodeLifecycle::Gone => true,
    }
}
