//! The start of a term: what the rows do not agree on is settled, everybody gets a full lease, and what was under way goes
//! on.

use lode_protocol::assignment::{AssignmentState, Reason};
use lode_protocol::ids::{AssignmentId, NodeId, ReplicaId, TaskId, Term};
use lode_protocol::units::Millis;

use super::Core;
use super::admission::{Admission, Phase as AdmissionPhase};
use super::assignment::Assignment;
use super::effect::{Action, ChainCommand, OccurrenceKind};
use super::node::{NodeLifecycle, Probation};
use super::task::{Goal, Phase, Task};
use super::timers::{Timer, after};
use super::work::Work;

impl Core {
    /// The program takes office: a new term, full leases, timers, and everything that may have been under way again.
    pub(crate) fn start_term(&mut self) {
        self.epoch = Term(self.epoch.0.saturating_add(1));
        self.scratch.epoch = true;
        self.scratch.requirements = true;
        self.lease_floor = self.now.monotonic;
        self.recovering_until = after(self.now.monotonic, self.config.terms.recovery_window);
        self.log(OccurrenceKind::Started { epoch: self.epoch.0 });
        if !self.chain_is_fresh() {
            self.act(Action::RaiseFinding(super::chain::stale_finding()));
        }
        self.settle_disagreements();
        self.renew_all_leases();
        let ids: Vec<NodeId> = self.nodes.keys().copied().collect();
        for id in ids {
            self.command_chain(ChainCommand::FollowNode(id));
            self.resume_node(&id);
        }
        self.evaluate_admissions(None);
        self.resume_tasks();
        self.set_timers();
        self.resume_settlement();
        self.carry_on();
    }

    fn resume_node(&mut self, id: &NodeId) {
        let Some(node) = self.nodes.get(id) else { return };
        match &node.standing {
            NodeLifecycle::Joining(Admission {
                phase: AdmissionPhase::Consented { invite, consent, .. },
                ..
            }) => {
                let (invite, consent) = (*invite, *consent);
                self.command_chain(ChainCommand::SubmitJoin { invite, consent });
            }
            NodeLifecycle::Member(Probation::Awaited { .. }) => self.wake_admission(id, Millis(0)),
            NodeLifecycle::Leaving { .. } => {
                self.arm_leave(id);
                self.backlog.push(Work::Empty(*id));
            }
            NodeLifecycle::Draining { .. } if !node.active.is_empty() => {
                self.backlog.push(Work::Empty(*id));
            }
            NodeLifecycle::Joining(_)
            | NodeLifecycle::Member(Probation::Passed)
            | NodeLifecycle::Draining { .. }
            | NodeLifecycle::Ejected { .. }
            | NodeLifecycle::Gone => {}
        }
        self.resume_withdrawal(id);
    }

    /// Nothing is wanted on a node that is out of the pool: where something is, the last term had no time left for it.
    fn resume_withdrawal(&mut self, id: &NodeId) {
        let Some(node) = self.nodes.get(id) else { return };
        let reason = match node.standing {
            NodeLifecycle::Joining(_) | NodeLifecycle::Ejected { .. } => Reason::Ejected,
            NodeLifecycle::Gone => Reason::Drained,
            NodeLifecycle::Member(_) | NodeLifecycle::Draining { .. } | NodeLifecycle::Leaving { .. } => {
                return;
            }
        };
        let wanted = |id| self.assignments.get(id).is_some_and(Assignment::is_wanted);
        if node.active.iter().any(wanted) {
            self.backlog.push(Work::Withdraw(*id, reason));
        }
    }

    /// Nothing runs or waits of a task that is not to run: where something does, the last term had no time left for it.
    fn resume_tasks(&mut self) {
        let stopped: Vec<TaskId> =
            self.tasks.iter().filter(|(_, task)| task.goal != Goal::Run).map(|(id, _)| *id).collect();
        for id in stopped {
            // Its deletion may have nothing left to wait for: the end of the step looks.
            self.tasks.touch(&id);
            let Some(task) = self.tasks.get(&id).filter(|task| self.has_something_left(&id, task)) else {
                continue;
            };
            let reason =
                if self.bears_itself(task) { Reason::StopRequested } else { Reason::BudgetExhausted };
            self.backlog.push(Work::Stop(id, reason));
        }
    }

    fn has_something_left(&self, id: &TaskId, task: &Task) -> bool {
        let wanted = |replica: u32, incarnation| {
            let known = AssignmentId { replica: ReplicaId { task: *id, replica }, incarnation };
            self.assignments.get(&known).is_some_and(Assignment::is_wanted)
        };
        (0u32..).zip(&task.replicas).any(|(number, replica)| {
            let left = match replica.phase {
                Phase::Waiting | Phase::BackOff { .. } => true,
                Phase::Placed { incarnation } => wanted(number, incarnation),
                Phase::Succeeded | Phase::Failed | Phase::Idle => false,
            };
            left || replica.leaving.is_some_and(|incarnation| wanted(number, incarnation))
        })
    }

    /// A skipped row leaves others that refer to it: what cannot be known to run is placed anew.
    pub(crate) fn settle_disagreements(&mut self) {
        let homeless: Vec<AssignmentId> = self
            .assignments
            .iter()
            .filter(|(_, assignment)| assignment.is_live() && !self.nodes.contains_key(&assignment.node))
            .map(|(id, _)| *id)
            .collect();
        for id in homeless {
            if !self.has_room() {
                self.backlog.push(Work::Settle);
                return;
            }
            self.decide(&id, AssignmentState::Lost, Reason::NodeLost, "its node's record could not be read");
        }
        let mut adrift: Vec<ReplicaId> = Vec::new();
        for (id, task) in &self.tasks {
            for (number, replica) in (0u32..).zip(&task.replicas) {
                let replica_id = ReplicaId { task: *id, replica: number };
                if let Phase::Placed { incarnation } = replica.phase
                    && !self
                        .assignments
                        .get(&AssignmentId { replica: replica_id, incarnation })
                        .is_some_and(Assignment::is_live)
                {
                    adrift.push(replica_id);
                }
            }
        }
        for id in adrift {
            if !self.has_room() {
                self.backlog.push(Work::Settle);
                return;
            }
            self.set_replica_phase(&id, Phase::Waiting);
        }
    }

    fn set_timers(&mut self) {
        let now = self.now.monotonic;
        let wait = self.config.terms.start_deadline;
        for (id, assignment) in &self.assignments {
            if assignment.is_wanted() && !assignment.heard {
                self.timers.set(after(now, wait), Timer::Start(*id));
            } else if assignment.is_live() && !assignment.is_wanted() {
                self.timers.set(after(now, wait), Timer::Stop(*id));
            }
        }
        for (id, task) in &self.tasks {
            for (number, replica) in (0u32..).zip(&task.replicas) {
                if let Phase::BackOff { until } = replica.phase {
                    let left = until.since(self.now.wall);
                    self.timers.set(after(now, left), Timer::Retry(ReplicaId { task: *id, replica: number }));
                }
            }
        }
    }
}
