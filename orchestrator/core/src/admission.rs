//! How a node becomes a member.
//!
//! | phase | next |
//! |---|---|
//! | `Waiting` | `Invited` (nothing is missing), member (the chain says so), `CoolingDown` (never proven in time) |
//! | `Invited` | `Consented`, `Waiting` (facts changed), `CoolingDown` (no consent before the deadline) |
//! | `Consented` | member (the chain says so), `CoolingDown` (failed, or not in time) |
//! | `CoolingDown` | `Waiting` (time is over, or what was missing came), `GaveUp` in its place after the last attempt |
//! | `GaveUp` | `Waiting` (readmitted, or what was missing came) |
//!
//! The chain alone decides who is a member; unknown facts are waited for and never read as "no".

use lode_protocol::assignment::Reason;
use lode_protocol::error_code::ErrorCode;
use lode_protocol::finding::Finding;
use lode_protocol::ids::NodeId;
use lode_protocol::join::Invite;
use lode_protocol::units::{Millis, Timestamp};

use super::Core;
use super::effect::{Action, ChainCommand};
use super::node::{Known, Node, NodeLifecycle, Probation};
pub(crate) use super::state::admission::{Admission, Phase};
use super::timers::{Timer, after};

pub(crate) const GAVE_UP: &str = "node/gave-up";
const NEVER_PROVEN: &str = "node/never-proven";

impl Core {
    /// Takes every step that the node's admission can take now.
    pub(crate) fn evaluate_admission(&mut self, id: &NodeId) {
        let wall = self.now.wall;
        let Some(node) = self.nodes.get(id) else { return };
        let NodeLifecycle::Joining(admission) = &node.standing else { return };
        let member = node.facts.is_member();
        let attempts = admission.attempts;
        match &admission.phase {
            Phase::CoolingDown { until, .. } if wall < *until => self.wake_admission(id, until.since(wall)),
            Phase::GaveUp { .. } => {}
            Phase::Waiting { .. }
            | Phase::Invited { .. }
            | Phase::Consented { .. }
            | Phase::CoolingDown { .. }
                if member =>
            {
                self.become_member(id, attempts);
            }
            Phase::CoolingDown { .. } => {
                self.set_phase(id, Phase::Waiting { since: wall });
                self.evaluate_admission(id);
            }
            Phase::Waiting { since } => {
                let since = *since;
                self.evaluate_waiting(id, since);
            }
            Phase::Invited { invite } => {
                let invite = *invite;
                if wall.0 > invite.deadline.saturating_mul(1_000) {
                    self.start_cooldown(
                        id,
                        "node/never-consented",
                        "the node did not consent to its invite in time",
                    );
                } else if self.voids_invite(node)
                    || self.invite_for(node).is_none_or(|new| differs(&new, &invite))
                {
                    self.set_phase(id, Phase::Waiting { since: wall });
                    self.evaluate_admission(id);
                } else {
                    self.wake_admission(id, Timestamp(invite.deadline.saturating_mul(1_000)).since(wall));
                }
            }
            Phase::Consented { since, .. } => {
                let due = since.plus(self.config.terms.join_deadline);
                if wall > due {
                    self.start_cooldown(id, "node/join-overdue", "the join did not reach the chain in time");
                } else {
                    self.wake_admission(id, due.since(wall));
                }
            }
        }
    }

    fn evaluate_waiting(&mut self, id: &NodeId, since: Timestamp) {
        let wall = self.now.wall;
        let Some(node) = self.nodes.get(id) else { return };
        match self.shortfall(node) {
            None => {
                let Some(invite) = self.invite_for(node) else { return };
                self.set_phase(id, Phase::Invited { invite });
                self.scratch.push.insert(*id);
                self.wake_admission(id, self.config.terms.invite_lifetime);
            }
            Some((code, _)) if code == "node/not-proven" || code == "node/class-too-low" => {
                let due = since.plus(self.config.terms.admission_deadline);
                if wall >= due {
                    self.start_cooldown(
                        id,
                        NEVER_PROVEN,
                        "no validator has proven the node's hardware in time",
                    );
                } else {
                    self.wake_admission(id, due.since(wall));
                }
            }
            // Everything else waits for others and costs nothing; the deadline counts from when it is the node's turn.
            Some(_) if since != wall => self.set_waiting_since(id, wall),
            Some(_) => {}
        }
    }

    /// Whether something is missing that was there when the node was invited. Silence and an unreadable chain pass.
    fn voids_invite(&self, node: &Node) -> bool {
        self.shortfall(node).is_some_and(|(code, _)| code != "pool/view-stale" && code != "node/silent")
    }

    fn invite_for(&self, node: &Node) -> Option<Invite> {
        let Known::Is(membership) = node.facts.membership else { return None };
        Some(Invite {
            pool: self.config.pool,
            node: node.id,
            provider: node.facts.registration()?.provider,
            counter: membership.join_counter,
            terms: self.config.requirements_hash,
            deadline: self.now.wall.plus(self.config.terms.invite_lifetime).0 / 1_000,
        })
    }

    fn become_member(&mut self, id: &NodeId, attempts: u32) {
        let wall = self.now.wall;
        self.stand(id, NodeLifecycle::Member(Probation::Awaited { since: wall, attempts }));
        self.hear_anew(id);
        self.scratch.push.insert(*id);
        self.wake_admission(id, self.config.terms.first_beat_deadline);
        self.end_probation(id);
    }

    /// A member that has reported in its session has shown that it works.
    pub(crate) fn end_probation(&mut self, id: &NodeId) {
        if self.nodes.get(id).is_some_and(|node| node.has_reported())
            && let Some(node) = self.nodes.get_mut(id)
        {
            node.pass_probation();
        }
    }

    /// A step of the admission, or the first beat, may be overdue.
    pub(crate) fn admission_due(&mut self, id: &NodeId) {
        let wall = self.now.wall;
        let Some(node) = self.nodes.get(id) else { return };
        if let NodeLifecycle::Member(Probation::Awaited { since, attempts }) = node.standing {
            let due = since.plus(self.config.terms.first_beat_deadline);
            if wall < due {
                self.wake_admission(id, due.since(wall));
                return;
            }
            self.withdraw_all(id, Reason::Ejected);
            self.stand(
                id,
                NodeLifecycle::Joining(Admission { attempts, phase: Phase::Waiting { since: wall } }),
            );
            self.start_cooldown(id, "node/never-healthy", "the node joined and never beat");
            self.command_chain(ChainCommand::SubmitEject { node: *id });
            return;
        }
        self.evaluate_admission(id);
    }

    pub(crate) fn start_cooldown(&mut self, id: &NodeId, code: &'static str, message: &str) {
        let until = self.now.wall.plus(self.config.terms.cooldown);
        let most = self.config.terms.most_attempts;
        let Some(admission) = self.nodes.get_mut(id).and_then(|node| node.admission_mut()) else { return };
        admission.attempts = admission.attempts.saturating_add(1);
        let (code, message) = (ErrorCode::new(code), message.to_owned());
        if admission.attempts > most {
            let tries = admission.attempts;
            self.set_phase(id, Phase::GaveUp { code, message });
            let message = format!("The node has been tried {tries} times and never became a working member.");
            self.act(Action::RaiseFinding(
                Finding::warning(GAVE_UP, message)
                    .about(id.to_string())
                    .remedy("Look at its worker's findings, then readmit it."),
            ));
        } else {
            self.set_phase(id, Phase::CoolingDown { until, code, message });
            self.wake_admission(id, self.config.terms.cooldown);
        }
    }

    /// A proof has come: whoever was put aside for want of one is tried at once.
    pub(crate) fn resume_if_never_proven(&mut self, id: &NodeId) {
        let Some(node) = self.nodes.get(id) else { return };
        if let NodeLifecycle::Joining(Admission { phase, .. }) = &node.standing
            && let Phase::CoolingDown { code, .. } | Phase::GaveUp { code, .. } = phase
            && *code == NEVER_PROVEN
            && node.facts.proven_class().is_some()
        {
            self.resume(id);
        }
    }

    /// Tries a node anew.
    pub(crate) fn resume(&mut self, id: &NodeId) {
        let admission = Admission::new(self.now.wall);
        self.stand(id, NodeLifecycle::Joining(admission));
        self.act(Action::ClearFinding { code: ErrorCode::new(GAVE_UP), subject: id.to_string() });
        self.evaluate_admission(id);
    }

    pub(crate) fn set_phase(&mut self, id: &NodeId, phase: Phase) {
        if let Some(admission) = self.nodes.get_mut(id).and_then(|node| node.admission_mut()) {
            admission.phase = phase;
        }
    }

    /// The clock of the waiting time.
    fn set_waiting_since(&mut self, id: &NodeId, wall: Timestamp) {
        if let Some(node) = self.nodes.get_mut(id) {
            node.wait_since(wall);
        }
    }

    /// Asks to be woken. An earlier timer does as well: it looks again and sets the next one.
    pub(crate) fn wake_admission(&mut self, id: &NodeId, wait: Millis) {
        // One more millisecond, so that the deadline has passed when the timer fires.
        let due = after(self.now.monotonic, Millis(wait.0.saturating_add(1)));
        let Some(mut node) = self.nodes.quiet(id) else { return };
        let pulse = node.pulse();
        if pulse.admission_due.is_none_or(|set| set > due) {
            pulse.admission_due = Some(due);
            self.timers.set(due, Timer::Admission(*id));
        }
    }

    /// The admission timer fired, if it is the one that counts.
    pub(crate) fn admission_timer_due(&mut self, id: &NodeId, due: Millis) {
        let Some(mut node) = self.nodes.quiet(id) else { return };
        if node.pulse().admission_due.take_if(|set| *set == due).is_some() {
            self.admission_due(id);
        }
    }

    /// The outbox gave a join up.
    pub(crate) fn join_failed(&mut self, id: &NodeId, counter: u64, code: &ErrorCode, message: &str) {
        let Some(NodeLifecycle::Joining(admission)) = self.nodes.get(id).map(|node| &node.standing) else {
            return;
        };
        if matches!(&admission.phase, Phase::Consented { invite, .. } if invite.counter == counter) {
            self.start_cooldown(id, "node/join-failed", &format!("the join failed: {message} ({code})"));
        }
    }
}

/// Whether two invites differ in more than their deadline.
fn differs(new: &Invite, old: &Invite) -> bool {
    Invite { deadline: old.deadline, ..*new } != *old
}
