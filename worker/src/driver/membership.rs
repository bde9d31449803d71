//! Joining and leaving: the driver's dealings with the chain's and the orchestrator's word on this node.

use lode_program::Finding;
use lode_protocol::join::{LeaveStatement, SignedInvite};
use lode_protocol::session::{Leave, Membership, Refusal};
use lode_protocol::units::Millis;
use tokio::sync::oneshot;

use super::consent::{NoConsent, consent_to};
use super::{Driver, Held};
use crate::chain_view::Standing;
use crate::core::event;
use crate::core::session;
use crate::journal;
use crate::local::LeaveAnswer;
use crate::local::server::LocalRequest;

/// How long a signed leave counts, in seconds.
const LEAVE_LIFETIME: u64 = 6 * 3_600;
/// A leave is sent again this often until it has taken effect.
const LEAVE_AGAIN: Millis = Millis::seconds(15);
/// How long the chain must say that the membership has ended before tasks are stopped without the orchestrator's word.
const DEPARTURE_PATIENCE: Millis = Millis::seconds(60);

impl Driver {
    /// The chain said something, or stopped answering.
    pub(super) fn on_chain(&mut self) {
        let view = self.inputs.chain.borrow_and_update().clone();
        let Some(known) = view.known.clone() else { return };
        if view.fresh {
            self.commits.push(journal::chain(&known), Vec::new());
        }
        match known.membership {
            Standing::Member => {
                self.was_member = true;
                self.gone_since = None;
                self.touch_engine();
            }
            Standing::Left | Standing::Ejected | Standing::Banned if view.fresh => {
                if self.was_member && self.gone_since.is_none() {
                    self.gone_since = Some(self.now().monotonic);
                }
                self.leave_took_effect(known.join_counter);
            }
            Standing::Never | Standing::Left | Standing::Ejected | Standing::Banned => {}
        }
        self.follow_orchestrator();
        if let Some(invite) = self.invite.clone() {
            self.consider(&invite);
        }
    }

    /// Docker is touched from now on.
    fn touch_engine(&self) {
        self.allowed.send_if_modified(|allowed| !std::mem::replace(allowed, true));
    }

    pub(super) fn on_membership(&mut self, membership: Membership) {
        if self.membership.as_ref() == Some(&membership) {
            return;
        }
        tracing::info!(?membership, "membership, by the orchestrator");
        match &membership {
            Membership::Member | Membership::Draining => {
                self.invite = None;
                self.consent = None;
                self.findings.clear_code("join/invite-refused");
                self.findings.clear_code("join/chain-unknown");
                self.touch_engine();
            }
            Membership::Ejected { message } => {
                self.invite = None;
                self.consent = None;
                self.findings.raise(
                    Finding::error("node/ejected", format!("the pool has removed this node: {message}"))
                        .remedy("ask the pool's owner"),
                );
                self.release_everything();
            }
            Membership::Waiting { .. } | Membership::Invited => {}
        }
        if !matches!(membership, Membership::Ejected { .. }) {
            self.findings.clear_code("node/ejected");
        }
        match &membership {
            Membership::Waiting { code, message } => {
                let finding =
                    Finding::info("node/waiting", format!("not in the pool yet ({code}): {message}"));
                self.findings.raise(finding);
            }
            Membership::Invited | Membership::Member | Membership::Draining | Membership::Ejected { .. } => {
                self.findings.clear_code("node/waiting");
            }
        }
        self.membership = Some(membership);
    }

    /// Nothing that runs here is wanted any more.
    fn release_everything(&mut self) {
        if self.assignments.is_empty() {
            return;
        }
        if let Some((epoch, generation)) = self.assignments.desired() {
            self.step_assignments(event::Event::Desired { epoch, generation, orders: Vec::new() });
        }
    }

    /// The chain says that the membership has ended, and nobody has stopped the tasks.
    pub(super) fn judge_departure(&mut self, now: Millis) {
        let over = self.gone_since.is_some_and(|since| now.0.saturating_sub(since.0) >= DEPARTURE_PATIENCE.0);
        if over && self.inputs.chain.borrow().fresh {
            self.gone_since = None;
            self.was_member = false;
            self.release_everything();
        }
    }

    pub(super) fn on_invite(&mut self, invite: SignedInvite) {
        if self.leave.is_some() || self.left {
            return;
        }
        self.consider(&invite);
        self.invite = Some(invite);
    }

    fn consider(&mut self, invite: &SignedInvite) {
        if self.consent.as_ref().is_some_and(|consent| consent.invite == invite.invite) {
            return;
        }
        let view = self.inputs.chain.borrow().clone();
        match consent_to(invite, &self.identity, &view, self.now().wall) {
            Ok(consent) => {
                tracing::info!(counter = invite.invite.counter, "consented to the invite");
                self.consent = Some(consent);
                self.findings.clear_code("join/invite-refused");
                self.findings.clear_code("join/chain-unknown");
                self.step_session(session::Event::News);
            }
            Err(NoConsent::Unknown) => {
                self.findings.raise(
                    Finding::warning(
                        "join/chain-unknown",
                        "an invite cannot be checked while the chain does not answer",
                    )
                    .remedy("check chain.rpc_url; it is tried again by itself"),
                );
            }
            Err(NoConsent::Refused(why)) => {
                self.consent = None;
                self.findings.raise(
                    Finding::warning("join/invite-refused", format!("the pool's invite was not consented to: {why}"))
                        .remedy("it settles by itself where the chain was merely behind; otherwise ask the pool's owner"),
                );
            }
        }
    }

    pub(super) fn on_local(&mut self, request: LocalRequest) {
        match request {
            LocalRequest::Leave(reply) => self.on_leave_wish(reply),
            // Whoever asked may have gone away meanwhile.
            LocalRequest::Receipts(reply) => drop(reply.send(self.receipts.kept().cloned().collect())),
        }
    }

    fn on_leave_wish(&mut self, reply: oneshot::Sender<LeaveAnswer>) {
        let Some(known) = self.inputs.chain.borrow().known.clone() else {
            let _ = reply.send(LeaveAnswer::Unknown);
            return;
        };
        if known.membership != Standing::Member {
            let _ = reply.send(LeaveAnswer::NotMember);
            return;
        }
        let now = self.now().wall.0 / 1_000;
        let stands = self
            .leave
            .as_ref()
            .is_some_and(|leave| leave.counter == known.join_counter && leave.deadline > now + 600);
        if !stands {
            let deadline = now + LEAVE_LIFETIME;
            let statement = LeaveStatement {
                pool: self.identity.realm.pool,
                node: self.identity.node(),
                counter: known.join_counter,
                deadline,
            };
            let signature =
                self.identity.key.sign_recoverable(&statement.digest(&self.identity.pools_domain()));
            self.leave = Some(Leave { counter: known.join_counter, deadline, signature });
        }
        let batch = journal::leave(self.leave.as_ref());
        self.commits.push(batch, vec![Held::SendLeave(reply)]);
    }

    /// The wish survives a restart now: say so, and tell the orchestrator.
    pub(super) fn leave_is_durable(&mut self, reply: oneshot::Sender<LeaveAnswer>) {
        let Some(leave) = self.leave.clone() else { return };
        let connected = self.send_leave();
        let answer = LeaveAnswer::Requested { counter: leave.counter, deadline: leave.deadline, connected };
        let _ = reply.send(answer);
    }

    /// Sends the leave; true if it went out. Sent again until the membership has ended.
    pub(super) fn send_leave(&mut self) -> bool {
        let now = self.now();
        self.leave_due = Some(Millis(now.monotonic.0.saturating_add(LEAVE_AGAIN.0)));
        let (Some(leave), Some(peer)) = (self.leave.clone(), self.link.peer()) else { return false };
        if self.session.state_name() != "open" {
            return false;
        }
        let bytes = self.conversation.leave(peer, now.wall, &leave);
        self.link.send(bytes).is_ok()
    }

    pub(super) fn on_leave_refused(&mut self, refusal: &Refusal) {
        let message = format!("the orchestrator refused the leave ({}): {}", refusal.code, refusal.message);
        self.findings.raise(Finding::warning("node/leave-refused", message).remedy(refusal.remedy.clone()));
    }

    fn leave_took_effect(&mut self, counter: u64) {
        if self.leave.as_ref().is_some_and(|leave| leave.counter <= counter) {
            tracing::info!("this node has left the pool");
            self.leave = None;
            self.leave_due = None;
            self.left = true;
            self.findings.clear_code("node/leave-refused");
            self.findings.raise(
                Finding::info("node/left", "this node has left the pool")
                    .remedy("restart the worker to join again"),
            );
            self.commits.push(journal::leave(None), Vec::new());
        }
    }
}
