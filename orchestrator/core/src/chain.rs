//! What the chain says, and what follows from it. Facts come through the shell's follower; the chain is the truth
//! about membership, and an unreadable chain changes nothing.

use std::ops::Bound;

use lode_protocol::assignment::Reason;
use lode_protocol::error_code::ErrorCode;
use lode_protocol::finding::Finding;
use lode_protocol::hash::Digest;
use lode_protocol::ids::NodeId;

use super::Core;
use super::effect::{Action, ChainCommand};
use super::event::{ChainMembership, ChainPool, ChainView, MembershipState, Proof, Registration};
use super::node::{Known, NodeLifecycle, Probation};
use super::work::Work;

const STALE: &str = "pool/view-stale";

impl Core {
    pub(crate) fn chain_is_fresh(&self) -> bool {
        match self.chain_view {
            ChainView::Fresh => true,
            ChainView::Stale => false,
        }
    }

    pub(crate) fn chain_viewed(&mut self, view: ChainView) {
        if self.chain_view == view {
            return;
        }
        self.chain_view = view;
        match view {
            ChainView::Stale => self.act(Action::RaiseFinding(stale_finding())),
            ChainView::Fresh => {
                self.act(Action::ClearFinding { code: ErrorCode::new(STALE), subject: String::new() });
                self.queue.retry_all();
                self.evaluate_all_admissions();
                self.consider_posting();
            }
        }
    }

    /// Future invites name these requirements; consents to older ones are refused and asked for anew.
    pub(crate) fn adopt_requirements(&mut self, hash: Digest) {
        if std::mem::replace(&mut self.config.requirements_hash, hash) != hash {
            self.scratch.requirements = true;
            self.evaluate_all_admissions();
        }
    }

    pub(crate) fn chain_pool_seen(&mut self, pool: ChainPool) {
        if self.chain_pool.replace(pool) != Some(pool) {
            self.evaluate_all_admissions();
        }
    }

    /// Something changed for every node that joins. A walk that is under way already begins anew.
    fn evaluate_all_admissions(&mut self) {
        self.backlog.retain(|work| !matches!(work, Work::Admit(_)));
        self.evaluate_admissions(None);
    }

    /// Evaluates the nodes after this one, as far as there is room.
    pub(crate) fn evaluate_admissions(&mut self, after: Option<NodeId>) {
        let most = usize::try_from(self.config.terms.step_visits).unwrap_or(usize::MAX).max(1);
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut last = None;
        let mut joining: Vec<NodeId> = Vec::new();
        for (id, node) in self.nodes.range((from, Bound::Unbounded)).take(most) {
            last = Some(*id);
            if matches!(node.standing, NodeLifecycle::Joining(_)) {
                joining.push(*id);
            }
        }
        let mut done = after;
        for id in joining {
            if !self.has_room() {
                self.backlog.push(Work::Admit(done));
                return;
            }
            let descriptor = self.nodes.get(&id).map_or(0, |node| node.descriptor.len());
            self.scratch.bytes = self.scratch.bytes.saturating_add(descriptor);
            self.evaluate_admission(&id);
            done = Some(id);
        }
        if let Some(last) = last
            && self.nodes.range((Bound::Excluded(last), Bound::Unbounded)).next().is_some()
        {
            self.backlog.push(Work::Admit(Some(last)));
        }
    }

    pub(crate) fn chain_node(&mut self, id: &NodeId, registration: Option<Registration>) {
        if self.nodes.get(id).is_none_or(|node| node.facts.registration == Known::Is(registration)) {
            return;
        }
        let Some(node) = self.nodes.get_mut(id) else { return };
        let provider = node.facts.registration().map(|known| known.provider);
        node.facts.registration = Known::Is(registration);
        if registration.map(|known| known.provider) != provider {
            self.cut_meter(id);
        }
        self.evaluate_admission(id);
        if registration.is_none() {
            self.forget_unregistered(id);
        }
    }

    pub(crate) fn chain_proven(&mut self, id: &NodeId, proof: Option<Proof>) {
        if self.nodes.get(id).is_none_or(|node| node.facts.proof == Known::Is(proof)) {
            return;
        }
        let Some(node) = self.nodes.get_mut(id) else { return };
        node.facts.proof = Known::Is(proof);
        self.cut_meter(id);
        self.rate_node(id);
        self.resume_if_never_proven(id);
        self.evaluate_admission(id);
    }

    pub(crate) fn chain_membership(&mut self, id: &NodeId, membership: ChainMembership) {
        if self.nodes.get(id).is_none_or(|node| node.facts.membership == Known::Is(membership)) {
            return;
        }
        let Some(node) = self.nodes.get_mut(id) else { return };
        node.facts.membership = Known::Is(membership);
        match membership.state {
            MembershipState::Member { .. } => self.became_member_on_chain(id, membership),
            MembershipState::Never | MembershipState::Left => self.left_on_chain(id),
            MembershipState::Ejected => {
                self.ejected_on_chain(id, "the pool's owner ejected the node on chain")
            }
            MembershipState::Banned => self.banned_on_chain(id),
        }
    }

    fn became_member_on_chain(&mut self, id: &NodeId, membership: ChainMembership) {
        let wall = self.now.wall;
        let Some(node) = self.nodes.get(id) else { return };
        match &node.standing {
            NodeLifecycle::Joining(_) => self.evaluate_admission(id),
            NodeLifecycle::Member(_) | NodeLifecycle::Draining { .. } => {}
            // Both were wanted and have not reached the chain yet: the outbox is idempotent.
            NodeLifecycle::Ejected { ordered: true, .. } => {
                self.command_chain(ChainCommand::SubmitEject { node: *id })
            }
            NodeLifecycle::Leaving { leave, submitted: true } if leave.counter == membership.join_counter => {
                let leave = leave.clone();
                self.command_chain(ChainCommand::SubmitLeave { node: *id, leave });
            }
            NodeLifecycle::Leaving { .. } => {}
            // What the chain said before was in a block that was replaced.
            NodeLifecycle::Ejected { ordered: false, .. } | NodeLifecycle::Gone => {
                self.stand(id, NodeLifecycle::Member(Probation::Awaited { since: wall, attempts: 0 }));
                self.hear_anew(id);
                self.end_probation(id);
                self.admission_due(id);
                // While it was out nobody waited for it.
                self.begin_lease(id);
            }
        }
    }

    fn left_on_chain(&mut self, id: &NodeId) {
        let Some(node) = self.nodes.get(id) else { return };
        match &node.standing {
            NodeLifecycle::Member(_) | NodeLifecycle::Draining { .. } | NodeLifecycle::Leaving { .. } => {
                self.stand(id, NodeLifecycle::Gone);
                self.withdraw_all(id, Reason::Drained);
                self.scratch.push.insert(*id);
            }
            NodeLifecycle::Joining(_) => self.evaluate_admission(id),
            NodeLifecycle::Ejected { .. } | NodeLifecycle::Gone => {}
        }
    }

    fn ejected_on_chain(&mut self, id: &NodeId, message: &str) {
        let at = self.now.wall;
        let Some(node) = self.nodes.get(id) else { return };
        match &node.standing {
            NodeLifecycle::Member(_) | NodeLifecycle::Draining { .. } | NodeLifecycle::Leaving { .. } => {
                self.stand(id, NodeLifecycle::Ejected { message: message.to_owned(), at, ordered: false });
                self.withdraw_all(id, Reason::Ejected);
                self.scratch.push.insert(*id);
            }
            NodeLifecycle::Joining(_) | NodeLifecycle::Ejected { .. } | NodeLifecycle::Gone => {
                self.evaluate_admission(id)
            }
        }
    }

    fn banned_on_chain(&mut self, id: &NodeId) {
        let at = self.now.wall;
        let message = "the pool's owner banned the node".to_owned();
        self.stand(id, NodeLifecycle::Ejected { message, at, ordered: false });
        self.withdraw_all(id, Reason::Ejected);
        self.scratch.push.insert(*id);
    }

    /// Changes a node's standing, if the table of [`super::state::node`] has that.
    pub(crate) fn stand(&mut self, id: &NodeId, standing: NodeLifecycle) {
        if let Some(node) = self.nodes.get_mut(id) {
            node.enter(standing);
        }
    }
}

pub(crate) fn stale_finding() -> Finding {
    Finding::warning(
        STALE,
        "The chain cannot be read now. Running work is untouched; nothing joins and nothing new is placed.",
    )
    .remedy("Look at the chain endpoint; this heals by itself when it answers again.")
}
