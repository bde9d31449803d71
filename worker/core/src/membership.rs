//! Joining and leaving: what the chain's and the orchestrator's word on this node mean.
//!
//! A membership by the chain:
//!
//! | tenure | leaves by |
//! |---|---|
//! | `None`: never a member in this boot, or that is settled | the chain says member; it says left, ejected or banned while something is run |
//! | `Member` | the chain (fresh) says left, ejected or banned |
//! | `Ended` | the chain says member again; [`DEPARTURE_PATIENCE`] later, by a chain that answers: everything is stopped |
//!
//! A wish to leave:
//!
//! | leaving | leaves by |
//! |---|---|
//! | `Stays` | a wish that was signed |
//! | `Leaves`: said again and again | the chain says that the membership has ended |
//! | `Left`: no invite is considered | a restart |

use lode_chain_types::MembershipState;
use lode_protocol::finding::Finding;
use lode_protocol::join::{Invite, LeaveStatement, SignedInvite};
use lode_protocol::keys::EthereumSignature;
use lode_protocol::session::{Consent, Leave, Membership, Refusal};
use lode_protocol::time::Now;
use lode_protocol::units::Millis;

use crate::Worker;
use crate::chain::ChainFacts;
use crate::effect::{Action, Message};
use crate::event::Statement;
use crate::invite::{self, NoConsent};
use crate::journal::Change;
use crate::rejected::Rejected;
use crate::time::{after, passed};
use crate::view::SessionState;

/// How long a signed leave counts, in seconds.
const LEAVE_LIFETIME: u64 = 6 * 3_600;
/// A leave that counts for less than this is signed anew when it is asked for again, in seconds.
const LEAVE_LEFTOVER: u64 = 600;
/// A leave is sent again this often until it has taken effect.
const LEAVE_AGAIN: Millis = Millis::seconds(15);
/// How long the chain must say that the membership has ended before tasks are stopped without the orchestrator's word.
pub const DEPARTURE_PATIENCE: Millis = Millis::seconds(60);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Tenure {
    None,
    Member,
    Ended { since: Millis },
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Leaving {
    Stays,
    Leaves { leave: Leave, due: Millis },
    Left,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Consenting {
    No,
    /// The key is asked.
    Asked(Invite),
    Given(Consent),
}

/// What is known of this node's place in the pool.
#[derive(Clone, Debug)]
pub(crate) struct Belonging {
    said: Option<Membership>,
    tenure: Tenure,
    invite: Option<SignedInvite>,
    consent: Consenting,
    leaving: Leaving,
    /// Wishes to leave that wait for the signature.
    wishes: Vec<u64>,
}

impl Belonging {
    pub(crate) fn recover(facts: Option<&ChainFacts>, leave: Option<Leave>) -> Self {
        let joined = facts.is_some_and(|facts| facts.membership == MembershipState::Member);
        Self {
            said: None,
            tenure: if joined { Tenure::Member } else { Tenure::None },
            invite: None,
            consent: Consenting::No,
            leaving: leave.map_or(Leaving::Stays, |leave| Leaving::Leaves { leave, due: Millis(0) }),
            wishes: Vec::new(),
        }
    }

    /// By the orchestrator's last word.
    pub(crate) fn said(&self) -> Option<&Membership> {
        self.said.as_ref()
    }

    pub(crate) fn is_leaving(&self) -> bool {
        matches!(self.leaving, Leaving::Leaves { .. })
    }

    pub(crate) fn consent(&self) -> Option<&Consent> {
        match &self.consent {
            Consenting::Given(consent) => Some(consent),
            Consenting::No | Consenting::Asked(_) => None,
        }
    }

    /// A session is open: a leave under way is said in it at once.
    pub(crate) fn session_opened(&mut self, now: Now) {
        if let Leaving::Leaves { due, .. } = &mut self.leaving {
            *due = now.monotonic;
        }
    }

    /// `fresh`: the chain answers; `durable`: everything is remembered.
    pub(crate) fn next_deadline(&self, fresh: bool, durable: bool) -> Option<Millis> {
        let departure = match self.tenure {
            Tenure::Ended { since } if fresh => Some(after(since, DEPARTURE_PATIENCE)),
            Tenure::Ended { .. } | Tenure::Member | Tenure::None => None,
        };
        let leave = match self.leaving {
            Leaving::Leaves { due, .. } if durable => Some(due),
            Leaving::Leaves { .. } | Leaving::Stays | Leaving::Left => None,
        };
        departure.into_iter().chain(leave).min()
    }
}

impl Worker {
    /// The chain answered.
    pub(crate) fn chain_seen(&mut self, now: Now, facts: ChainFacts) {
        if self.chain.facts.as_ref() != Some(&facts) {
            self.out.changes.push(Change::chain(&facts));
        }
        let (membership, counter) = (facts.membership, facts.join_counter);
        self.chain.facts = Some(facts);
        self.chain.fresh = true;
        match membership {
            MembershipState::Member => {
                self.membership.tenure = Tenure::Member;
                self.scans.touch(now);
            }
            MembershipState::Left | MembershipState::Ejected | MembershipState::Banned => {
                // What an earlier boot was told to run ends too: it was a member then.
                let runs = self.membership.tenure == Tenure::None && !self.assignments.is_empty();
                if runs || self.membership.tenure == Tenure::Member {
                    self.membership.tenure = Tenure::Ended { since: now.monotonic };
                }
                self.leave_took_effect(counter);
            }
            MembershipState::Never => {}
        }
        self.follow();
        if let Some(invite) = self.membership.invite.clone() {
            self.consider(now, &invite);
        }
    }

    /// The orchestrator's word on this node.
    pub(crate) fn membership_said(&mut self, now: Now, membership: Membership) {
        if self.membership.said.as_ref() == Some(&membership) {
            return;
        }
        match &membership {
            Membership::Waiting { code, message } => {
                let words = format!("not in the pool yet ({code}): {message}");
                self.notices.raise(Finding::info("node/waiting", words));
            }
            Membership::Invited => self.notices.clear("node/waiting"),
            Membership::Member | Membership::Draining => {
                self.notices.clear("node/waiting");
                self.invite_is_over();
                self.notices.clear("join/invite-refused");
                self.notices.clear("join/chain-unknown");
                self.scans.touch(now);
            }
            Membership::Ejected { message } => {
                self.notices.clear("node/waiting");
                self.invite_is_over();
                let words = format!("the pool has removed this node: {message}");
                self.notices.raise(Finding::error("node/ejected", words).remedy("ask the pool's owner"));
                self.assignments.release_everything(&mut self.out.commands);
            }
        }
        if !matches!(membership, Membership::Ejected { .. }) {
            self.notices.clear("node/ejected");
        }
        self.membership.said = Some(membership);
    }

    fn invite_is_over(&mut self) {
        self.membership.invite = None;
        self.membership.consent = Consenting::No;
    }

    /// An invite to consider, now and whenever the chain says something new.
    pub(crate) fn invited(&mut self, now: Now, invite: SignedInvite) {
        if self.membership.leaving != Leaving::Stays {
            return;
        }
        self.consider(now, &invite);
        self.membership.invite = Some(invite);
    }

    fn consider(&mut self, now: Now, signed: &SignedInvite) {
        let known = match &self.membership.consent {
            Consenting::No => None,
            Consenting::Asked(invite) => Some(*invite),
            Consenting::Given(consent) => Some(consent.invite),
        };
        if known == Some(signed.invite) {
            return;
        }
        match invite::judge(signed, &self.config, &self.chain, now.wall) {
            Ok(()) => {
                self.membership.consent = Consenting::Asked(signed.invite);
                self.out.at_once.push(Action::Sign(Statement::Consent(signed.invite)));
            }
            Err(unknown @ NoConsent::Unknown) => {
                let finding = Finding::warning("join/chain-unknown", unknown.to_string());
                self.notices.raise(finding.remedy("check chain.rpc_url; it is tried again by itself"));
            }
            Err(NoConsent::Refused(why)) => {
                self.membership.consent = Consenting::No;
                let words = format!("the pool's invite was not consented to: {why}");
                self.notices.raise(Finding::warning("join/invite-refused", words).remedy(
                    "it settles by itself where the chain was merely behind; otherwise ask the pool's owner",
                ));
            }
        }
    }

    /// The node's key has signed a consent.
    pub(crate) fn consented(&mut self, invite: Invite, signature: EthereumSignature) {
        if self.membership.consent != Consenting::Asked(invite) {
            return;
        }
        self.membership.consent = Consenting::Given(Consent { invite, signature });
        self.notices.clear("join/invite-refused");
        self.notices.clear("join/chain-unknown");
        self.session.news();
    }

    /// Somebody on this machine wants the node to leave.
    ///
    /// # Errors
    /// There is no membership to end, or none is known.
    pub(crate) fn leave_wanted(&mut self, now: Now, request: u64) -> Result<(), Rejected> {
        let facts = self.chain.facts.as_ref().ok_or(Rejected::ChainUnknown)?;
        if facts.membership != MembershipState::Member {
            return Err(Rejected::NotMember);
        }
        let seconds = now.wall.0 / 1_000;
        let counter = facts.join_counter;
        if let Leaving::Leaves { leave, .. } = &self.membership.leaving
            && leave.counter == counter
            && leave.deadline > seconds.saturating_add(LEAVE_LEFTOVER)
        {
            let leave = leave.clone();
            self.say_leave(now);
            self.note_leave(request, leave);
            return Ok(());
        }
        self.membership.wishes.push(request);
        let deadline = seconds.saturating_add(LEAVE_LIFETIME);
        let statement = LeaveStatement { pool: self.config.pool, node: self.config.node, counter, deadline };
        self.out.at_once.push(Action::Sign(Statement::Leave(statement)));
        Ok(())
    }

    /// The node's key has signed a leave: it is remembered, then said, then whoever asked is told.
    pub(crate) fn leave_signed(&mut self, now: Now, statement: LeaveStatement, signature: EthereumSignature) {
        if self.membership.wishes.is_empty() {
            return;
        }
        let leave = Leave { counter: statement.counter, deadline: statement.deadline, signature };
        self.out.changes.push(Change::leave(Some(&leave)));
        self.membership.leaving = Leaving::Leaves { leave: leave.clone(), due: now.monotonic };
        self.invite_is_over();
        self.say_leave(now);
        for request in std::mem::take(&mut self.membership.wishes) {
            self.note_leave(request, leave.clone());
        }
    }

    fn note_leave(&mut self, request: u64, leave: Leave) {
        let connected = self.session.state() == SessionState::Open;
        self.out.actions.push(Action::LeaveNoted { request, leave, connected });
    }

    fn say_leave(&mut self, now: Now) {
        let Leaving::Leaves { leave, due } = &mut self.membership.leaving else { return };
        *due = after(now.monotonic, LEAVE_AGAIN);
        if self.session.state() == SessionState::Open {
            self.out.actions.push(Action::Send(Message::Leave(leave.clone())));
        }
    }

    pub(crate) fn leave_refused(&mut self, refusal: &Refusal) {
        let words = format!("the orchestrator refused the leave ({}): {}", refusal.code, refusal.message);
        self.notices.raise(Finding::warning("node/leave-refused", words).remedy(refusal.remedy.clone()));
    }

    fn leave_took_effect(&mut self, counter: u64) {
        let Leaving::Leaves { leave, .. } = &self.membership.leaving else { return };
        if leave.counter > counter {
            return;
        }
        self.membership.leaving = Leaving::Left;
        self.out.changes.push(Change::leave(None));
        self.notices.clear("node/leave-refused");
        let finding = Finding::info("node/left", "this node has left the pool");
        self.notices.raise(finding.remedy("restart the worker to join again"));
    }

    /// What time brings: a leave is said again; tasks end with a membership that has ended.
    pub(crate) fn membership_due(&mut self, now: Now) {
        if let Leaving::Leaves { due, .. } = self.membership.leaving
            && due <= now.monotonic
            && self.is_durable()
        {
            self.say_leave(now);
        }
        if let Tenure::Ended { since } = self.membership.tenure
            && self.chain.fresh
            && passed(now.monotonic, since, DEPARTURE_PATIENCE)
        {
            self.membership.tenure = Tenure::None;
            self.assignments.release_everything(&mut self.out.commands);
        }
    }
}
