//! What the chain says, and what follows from it. Facts come through the shell's follower; the chain is the truth
//! about membership, and an unreadable chain changes nothing.

use lode_protocol::assignment::Reason;
use lode_protocol::error_code::ErrorCode;
use lode_protocol::finding::Finding;
use lode_protocol::ids::NodeId;

use super::Core;
use super::effect::Action;
use super::event::{ChainMembership, ChainPool, ChainView, MembershipState, Proof, Registration};
use super::node::{Known, Standing, Trial};

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

    /// Future invites name these terms; consents to older ones are refused and asked for anew.
    pub fn adopt_terms(&mut self, terms: lode_protocol::hash::Digest) {
        self.config.terms_hash = terms;
    }

    pub(crate) fn chain_pool_seen(&mut self, pool: ChainPool) {
        if self.chain_pool.replace(pool) != Some(pool) {
            self.evaluate_all_admissions();
        }
    }

    fn evaluate_all_admissions(&mut self) {
        let joining: Vec<NodeId> = self
            .nodes
            .values()
            .filter(|node| matches!(node.standing, Standing::Joining(_)))
            .map(|node| node.id)
            .collect();
        for id in joining {
            self.evaluate_admission(&id);
        }
    }

    pub(crate) fn chain_node(&mut self, id: &NodeId, registration: Option<Registration>) {
        let Some(node) = self.nodes.get_mut(id) else { return };
        if node.facts.registration == Known::Is(registration) {
            return;
        }
        let provider = node.facts.registration().map(|known| known.provider);
        node.facts.registration = Known::Is(registration);
        if registration.is_some() && std::mem::take(&mut node.stranger) {
            self.strangers = self.strangers.saturating_sub(1);
        }
        if registration.map(|known| known.provider) != provider {
            self.cut_meter(id);
        }
        self.scratch.nodes.insert(*id);
        self.scratch.progress.insert(*id);
        self.reindex(id);
        self.wake(id);
        self.evaluate_admission(id);
    }

    pub(crate) fn chain_proven(&mut self, id: &NodeId, proof: Option<Proof>) {
        let Some(node) = self.nodes.get_mut(id) else { return };
        if node.facts.proof == Known::Is(proof) {
            return;
        }
        node.facts.proof = Known::Is(proof);
        self.cut_meter(id);
        self.rate_node(id);
        self.reindex(id);
        self.wake(id);
        self.resume_if_never_proven(id);
        self.evaluate_admission(id);
    }

    pub(crate) fn chain_membership(&mut self, id: &NodeId, membership: ChainMembership) {
        let Some(node) = self.nodes.get_mut(id) else { return };
        if node.facts.membership == Known::Is(membership) {
            return;
        }
        node.facts.membership = Known::Is(membership);
        match membership.state {
            MembershipState::Member { .. } => self.became_member_on_chain(id, membership),
            MembershipState::Never | MembershipState::Left => self.left_on_chain(id),
            MembershipState::Ejected => {
                self.ejected_on_chain(id, "the pool's owner ejected the node on chain")
            }
            MembershipState::Banned => self.banned_on_chain(id),
        }
        self.reindex(id);
        self.wake(id);
    }

    fn became_member_on_chain(&mut self, id: &NodeId, membership: ChainMembership) {
        let wall = self.now.wall;
        let Some(node) = self.nodes.get_mut(id) else { return };
        match &mut node.standing {
            Standing::Joining(_) => self.evaluate_admission(id),
            Standing::Member(_) | Standing::Draining { .. } => {}
            // Both were wanted and have not reached the chain yet: the outbox is idempotent.
            Standing::Ejected { ordered: true, .. } => self.act(Action::SubmitEject { node: *id }),
            Standing::Leaving { leave, submitted: true } if leave.counter == membership.join_counter => {
                let leave = leave.clone();
                self.act(Action::SubmitLeave { node: *id, leave });
            }
            Standing::Leaving { .. } => {}
            // What the chain said before was in a block that was replaced.
            Standing::Ejected { ordered: false, .. } | Standing::Gone => {
                self.stand(id, Standing::Member(Trial::Awaited { since: wall, attempts: 0 }));
                self.pass_trial(id);
                self.admission_due(id);
            }
        }
    }

    fn left_on_chain(&mut self, id: &NodeId) {
        let Some(node) = self.nodes.get(id) else { return };
        match &node.standing {
            Standing::Member(_) | Standing::Draining { .. } | Standing::Leaving { .. } => {
                self.stand(id, Standing::Gone);
                self.withdraw_all(id, Reason::Drained);
                self.scratch.push.insert(*id);
            }
            Standing::Joining(_) => self.evaluate_admission(id),
            Standing::Ejected { .. } | Standing::Gone => {}
        }
    }

    fn ejected_on_chain(&mut self, id: &NodeId, message: &str) {
        let at = self.now.wall;
        let Some(node) = self.nodes.get(id) else { return };
        match &node.standing {
            Standing::Member(_) | Standing::Draining { .. } | Standing::Leaving { .. } => {
                self.stand(id, Standing::Ejected { message: message.to_owned(), at, ordered: false });
                self.withdraw_all(id, Reason::Ejected);
                self.scratch.push.insert(*id);
            }
            Standing::Joining(_) | Standing::Ejected { .. } | Standing::Gone => self.evaluate_admission(id),
        }
    }

    fn banned_on_chain(&mut self, id: &NodeId) {
        let at = self.now.wall;
        let message = "the pool's owner banned the node".to_owned();
        self.stand(id, Standing::Ejected { message, at, ordered: false });
        self.withdraw_all(id, Reason::Ejected);
        self.scratch.push.insert(*id);
    }

    /// Changes a node's standing.
    pub(crate) fn stand(&mut self, id: &NodeId, standing: Standing) {
        let Some(node) = self.nodes.get_mut(id) else { return };
        node.standing = standing;
        self.scratch.nodes.insert(*id);
        self.scratch.progress.insert(*id);
        self.scratch.shown.insert(*id);
        self.reindex(id);
        self.wake(id);
    }
}

pub(crate) fn stale_finding() -> Finding {
    Finding::warning(
        STALE,
        "The chain cannot be read now. Running work is untouched; nothing joins and nothing new is placed.",
    )
    .remedy("Look at the chain endpoint; this heals by itself when it answers again.")
}
