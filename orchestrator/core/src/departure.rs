//! How a node gets out: drained, ejected, or by its own wish; and how it gets back in.
//!
//! Drain moves services one by one: the successor runs before the old one is stopped. Leaving is a drain that ends on
//! chain. Ejecting stops everything at once; the node is refused afterwards.

use lode_protocol::assignment::{AssignmentState, Reason};
use lode_protocol::ids::{AssignmentId, NodeId};
use lode_protocol::join::{LeaveStatement, pools_domain};
use lode_protocol::session::Leave;
use lode_protocol::task::TaskKind;
use lode_protocol::units::{Millis, Timestamp};

use super::Core;
use super::admission::{Admission, Phase as AdmissionPhase};
use super::effect::ChainCommand;
use super::error::Rejected;
use super::event::{BatchOnDrain, Link, MembershipState};
use super::node::{Known, NodeLifecycle, Probation};
use super::state::pace::Said;
use super::task::{Goal, Phase};
use super::timers::{Timer, after};
use super::work::Work;

/// A leave goes to the chain at the latest this long before its signature expires.
const LEAVE_MARGIN: Millis = Millis::seconds(120);
/// A leave, as a message.
const LEAVE: Said = Said { messages: 1, reports: 0, bytes: 0 };

/// An ejection is on the chain after about so long.
const EJECTION: Millis = Millis::seconds(5);

impl Core {
    pub(crate) fn drain(&mut self, id: &NodeId, batch: BatchOnDrain) -> Result<(), Rejected> {
        let node = self.nodes.get(id).ok_or_else(|| no_node(id))?;
        let move_batch = match batch {
            BatchOnDrain::Finish => false,
            BatchOnDrain::Move => true,
        };
        match &node.standing {
            NodeLifecycle::Member(_) | NodeLifecycle::Draining { .. } => {}
            NodeLifecycle::Leaving { .. } => return Ok(()),
            NodeLifecycle::Joining(_) | NodeLifecycle::Ejected { .. } | NodeLifecycle::Gone => {
                return Err(not_member(id));
            }
        }
        self.stand(id, NodeLifecycle::Draining { move_batch });
        self.scratch.push.insert(*id);
        self.empty_node(id, move_batch);
        Ok(())
    }

    /// Moves away what runs on a node.
    fn empty_node(&mut self, id: &NodeId, move_batch: bool) {
        let active = self.nodes.get(id).map(|node| node.active.clone()).unwrap_or_default();
        for assignment in active {
            if !self.has_room() {
                self.backlog.push(Work::Empty(*id));
                return;
            }
            let Some(known) = self.assignments.get(&assignment).filter(|known| known.is_wanted()) else {
                continue;
            };
            let runs = known.state == AssignmentState::Running;
            let Some(task) = self.tasks.get(&assignment.replica.task) else { continue };
            match (task.spec.kind, task.goal) {
                (TaskKind::Batch, _) if !move_batch => {}
                (TaskKind::Service, Goal::Run) if runs => self.move_service(&assignment),
                (TaskKind::Batch | TaskKind::Service, _) => self.unassign(&assignment, Reason::Drained),
            }
        }
    }

    /// A node that is being emptied may have work that the last step had no room to move.
    pub(crate) fn go_on_emptying(&mut self, id: &NodeId) {
        let Some(node) = self.nodes.get(id) else { return };
        match node.standing {
            NodeLifecycle::Draining { move_batch } => self.empty_node(id, move_batch),
            NodeLifecycle::Leaving { .. } => {
                self.empty_node(id, true);
                self.leave_if_empty(id);
            }
            NodeLifecycle::Joining(_)
            | NodeLifecycle::Member(_)
            | NodeLifecycle::Ejected { .. }
            | NodeLifecycle::Gone => {}
        }
    }

    fn move_service(&mut self, id: &AssignmentId) {
        let Some(replica) = self.replica_mut(&id.replica) else { return };
        if replica.phase != (Phase::Placed { incarnation: id.incarnation }) {
            return;
        }
        if replica.leaving.is_some() {
            // Its predecessor still runs elsewhere: this one need not be waited for.
            self.unassign(id, Reason::Drained);
            return;
        }
        replica.leaving = Some(id.incarnation);
        self.set_replica_phase(&id.replica, Phase::Waiting);
    }

    pub(crate) fn undrain(&mut self, id: &NodeId) -> Result<(), Rejected> {
        let node = self.nodes.get(id).ok_or_else(|| no_node(id))?;
        match &node.standing {
            NodeLifecycle::Draining { .. } => {}
            NodeLifecycle::Member(_) => return Ok(()),
            NodeLifecycle::Joining(_)
            | NodeLifecycle::Leaving { .. }
            | NodeLifecycle::Ejected { .. }
            | NodeLifecycle::Gone => {
                return Err(Rejected::conflict(
                    "node/not-drained",
                    format!("node {id} is not being drained"),
                    "only a drained node can be undrained; readmit an ejected one",
                ));
            }
        }
        let active = node.active.clone();
        self.stand(id, NodeLifecycle::Member(Probation::Passed));
        self.scratch.push.insert(*id);
        for assignment in active {
            let Some(replica) = self.replica_mut(&assignment.replica) else { continue };
            let waits = match replica.phase {
                Phase::Waiting | Phase::BackOff { .. } => true,
                Phase::Placed { .. } | Phase::Succeeded | Phase::Failed | Phase::Idle => false,
            };
            if waits && replica.leaving == Some(assignment.incarnation) {
                replica.leaving = None;
                self.set_replica_phase(
                    &assignment.replica,
                    Phase::Placed { incarnation: assignment.incarnation },
                );
            }
        }
        Ok(())
    }

    pub(crate) fn eject(&mut self, id: &NodeId, message: String) -> Result<(), Rejected> {
        let node = self.nodes.get(id).ok_or_else(|| no_node(id))?;
        match &node.standing {
            NodeLifecycle::Ejected { ordered: true, .. } => return Ok(()),
            NodeLifecycle::Ejected { ordered: false, .. }
            | NodeLifecycle::Joining(_)
            | NodeLifecycle::Member(_)
            | NodeLifecycle::Draining { .. }
            | NodeLifecycle::Leaving { .. }
            | NodeLifecycle::Gone => {}
        }
        // A join may be under way, and unknown is not "no": then the chain is told as well.
        let submit = match node.facts.membership {
            Known::Unknown => true,
            Known::Is(membership) => match membership.state {
                MembershipState::Member { .. } => true,
                MembershipState::Never
                | MembershipState::Left
                | MembershipState::Ejected
                | MembershipState::Banned => false,
            },
        };
        self.stand(id, NodeLifecycle::Ejected { message, at: self.now.wall, ordered: true });
        self.withdraw_all(id, Reason::Ejected);
        self.scratch.push.insert(*id);
        if submit {
            self.command_chain(ChainCommand::SubmitEject { node: *id });
        }
        Ok(())
    }

    pub(crate) fn readmit(&mut self, id: &NodeId) -> Result<(), Rejected> {
        let node = self.nodes.get(id).ok_or_else(|| no_node(id))?;
        let banned = match node.facts.membership {
            Known::Unknown => false,
            Known::Is(membership) => membership.state == MembershipState::Banned,
        };
        if banned {
            return Err(Rejected::conflict(
                "node/banned",
                format!("node {id} is banned on chain"),
                "lift the ban on chain first",
            ));
        }
        match &node.standing {
            // It would be a member at once, and none as soon as the chain says what was ordered.
            NodeLifecycle::Ejected { ordered: true, at, .. }
                if node.facts.is_member() && self.now.wall < at.plus(self.config.terms.join_deadline) =>
            {
                return Err(Rejected::transient(
                    "node/ejection-pending",
                    format!("the ejection of node {id} has not reached the chain yet"),
                    "readmit it when it has, in some seconds",
                )
                .retry_after(EJECTION));
            }
            NodeLifecycle::Ejected { .. } | NodeLifecycle::Gone => {}
            NodeLifecycle::Joining(Admission { phase, .. }) => match phase {
                AdmissionPhase::CoolingDown { .. } | AdmissionPhase::GaveUp { .. } => {}
                AdmissionPhase::Waiting { .. }
                | AdmissionPhase::Invited { .. }
                | AdmissionPhase::Consented { .. } => return Ok(()),
            },
            NodeLifecycle::Member(_) => return Ok(()),
            NodeLifecycle::Draining { .. } | NodeLifecycle::Leaving { .. } => {
                return Err(Rejected::conflict(
                    "node/not-ejected",
                    format!("node {id} was not ejected"),
                    "undrain a drained node",
                ));
            }
        }
        self.resume(id);
        Ok(())
    }

    pub(crate) fn leave(&mut self, id: &NodeId, leave: Leave, _link: Link) -> Result<(), Rejected> {
        let node = self.nodes.get(id).ok_or_else(|| no_node(id))?;
        match &node.standing {
            NodeLifecycle::Leaving { leave: known, .. } if *known == leave => return Ok(()),
            NodeLifecycle::Member(_) | NodeLifecycle::Draining { .. } | NodeLifecycle::Leaving { .. } => {}
            NodeLifecycle::Joining(_) | NodeLifecycle::Ejected { .. } | NodeLifecycle::Gone => {
                return Err(not_member(id));
            }
        }
        self.judge_pace(node, LEAVE)?;
        if let Known::Is(membership) = node.facts.membership
            && membership.join_counter != leave.counter
        {
            return Err(Rejected::conflict(
                "leave/counter-mismatch",
                format!(
                    "the leave is of membership {}, this is membership {}",
                    leave.counter, membership.join_counter
                ),
                "sign a leave of the present membership",
            ));
        }
        let deadline = Timestamp(leave.deadline.saturating_mul(1_000));
        if deadline < self.now.wall {
            return Err(Rejected::conflict("leave/expired", "the leave has expired", "sign a new one"));
        }
        let statement = LeaveStatement {
            pool: self.config.pool,
            node: *id,
            counter: leave.counter,
            deadline: leave.deadline,
        };
        let domain = pools_domain(self.config.chain, self.config.pools_contract);
        if leave.signature.recover(&statement.digest(&domain)) != Ok(id.0) {
            return Err(Rejected::denied(
                "leave/bad-signature",
                "the leave is not signed by the node's key",
                "sign it with the node's key for this chain, contract and pool",
            ));
        }
        // Whoever says that it leaves is there.
        self.renew_lease(id);
        self.note_said(id, LEAVE);
        self.stand(id, NodeLifecycle::Leaving { leave, submitted: false });
        self.scratch.push.insert(*id);
        self.arm_leave(id);
        self.empty_node(id, true);
        self.leave_if_empty(id);
        Ok(())
    }

    pub(crate) fn arm_leave(&mut self, id: &NodeId) {
        let Some(NodeLifecycle::Leaving { leave, submitted: false }) =
            self.nodes.get(id).map(|node| &node.standing)
        else {
            return;
        };
        let wait = time_to_leave(leave).since(self.now.wall);
        self.timers.set(after(self.now.monotonic, wait), Timer::Leave(*id));
    }

    /// The leave may not wait any longer for the node to become empty.
    pub(crate) fn leave_due(&mut self, id: &NodeId) {
        let Some(NodeLifecycle::Leaving { leave, submitted: false }) =
            self.nodes.get(id).map(|node| &node.standing)
        else {
            return;
        };
        // A leave that replaced the one this timer was for may have more time.
        if time_to_leave(leave) > self.now.wall { self.arm_leave(id) } else { self.submit_leave(id) }
    }

    pub(crate) fn submit_leave(&mut self, id: &NodeId) {
        let Some(leave) = self.nodes.get_mut(id).and_then(|node| node.submit_leave()) else { return };
        self.command_chain(ChainCommand::SubmitLeave { node: *id, leave });
    }
}

/// When a leave must go to the chain.
fn time_to_leave(leave: &Leave) -> Timestamp {
    Timestamp(leave.deadline.saturating_mul(1_000)).minus(LEAVE_MARGIN)
}

fn no_node(id: &NodeId) -> Rejected {
    Rejected::not_found("node/not-found", format!("there is no node {id}"), "list the nodes to see their ids")
}

fn not_member(id: &NodeId) -> Rejected {
    Rejected::conflict(
        "node/not-member",
        format!("node {id} is not a member of the pool"),
        "wait until it has joined",
    )
}
