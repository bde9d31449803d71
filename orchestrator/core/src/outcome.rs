//! What follows when an assignment runs or ends.
//!
//! | end | replica |
//! |---|---|
//! | task stopped or deleted | idle |
//! | succeeded | done; a service that was taken away waits for a node |
//! | node lost, drained, ejected | waits for a node at once: not its fault |
//! | the node was full | back-off, then elsewhere; nobody's fault |
//! | failed by the node's fault | back-off, then elsewhere |
//! | failed by the task's fault | failed for good, unless its policy restarts for ever: back-off, then anywhere |
//!
//! A failure that seems to be the node's and comes again elsewhere is the task's ([`super::evidence`]).

use lode_protocol::assignment::{AssignmentState, Fault, Reason};
use lode_protocol::backoff::BackoffPolicy;
use lode_protocol::ids::{AssignmentId, Incarnation, NodeId, ReplicaId};
use lode_protocol::task::{RestartPolicy, TaskKind};
use lode_protocol::units::{Millis, Timestamp};

use super::Core;
use super::assignment::{Assignment, Wanted};
use super::node::{Liveness, NodeLifecycle, Orphan, Uses};
use super::placement::set_bytes;
use super::task::{Goal, Phase};
use super::timers::{Timer, after};
use super::work::Work;

/// What an end means for its replica.
enum Next {
    Done,
    Failed,
    AtOnce,
    /// After a back-off; the node is avoided if it was at fault.
    Later {
        avoid: bool,
    },
    /// After a back-off; the node takes nobody for a while.
    Elsewhere,
}

impl Core {
    /// Keeps the counter of running replicas.
    pub(crate) fn count_running(&mut self, id: &AssignmentId, from: AssignmentState, to: AssignmentState) {
        let current = Phase::Placed { incarnation: id.incarnation };
        if self.replica(&id.replica).is_none_or(|replica| replica.phase != current) {
            return;
        }
        let Some(task) = self.tasks.get_mut(&id.replica.task) else { return };
        let counts = &mut task.counts;
        match (from == AssignmentState::Running, to == AssignmentState::Running) {
            (false, true) => {
                counts.starting = counts.starting.saturating_sub(1);
                counts.running = counts.running.saturating_add(1);
            }
            (true, false) => {
                counts.running = counts.running.saturating_sub(1);
                counts.starting = counts.starting.saturating_add(1);
            }
            (true, true) | (false, false) => {}
        }
    }

    /// Brings up to date which replicas are covered: whose predecessor runs while they do not. Looks at what this step
    /// touched.
    pub(crate) fn recount_covered(&mut self) {
        let mut touched = self.tasks.touched_replicas().clone();
        touched.extend(self.assignments.touched().iter().map(|id| id.replica));
        for id in touched {
            self.recount_cover(&id);
        }
    }

    pub(crate) fn recount_cover(&mut self, id: &ReplicaId) {
        let Some(replica) = self.replica(id) else { return };
        let runs = |incarnation: Incarnation| {
            let known = self.assignments.get(&AssignmentId { replica: *id, incarnation });
            known.is_some_and(|known| known.state == AssignmentState::Running)
        };
        let needs_none = match replica.phase {
            Phase::Waiting | Phase::BackOff { .. } => false,
            Phase::Placed { incarnation } => runs(incarnation),
            Phase::Succeeded | Phase::Failed | Phase::Idle => true,
        };
        let covered = !needs_none && replica.leaving.is_some_and(runs);
        self.tasks.cover(id, covered);
    }

    /// An assignment runs: a predecessor on a node that is being emptied may go.
    pub(crate) fn ran(&mut self, id: &AssignmentId) {
        self.worked(id, false);
        if let Some(node) = self.assignments.get(id).map(|assignment| assignment.node)
            && let Some(mut node) = self.nodes.quiet(&node)
        {
            node.pulse().full_until = None;
        }
        let Some(replica) = self.replica(&id.replica) else { return };
        if replica.phase == (Phase::Placed { incarnation: id.incarnation })
            && let Some(incarnation) = replica.leaving
        {
            self.unassign(&AssignmentId { replica: id.replica, incarnation }, Reason::Drained);
        }
    }

    /// An assignment has ended: its resources are free, its replica goes on.
    pub(crate) fn ended(&mut self, id: &AssignmentId) {
        let Some(assignment) = self.assignments.get(id) else { return };
        let node = assignment.node;
        if assignment.wanted == Wanted::Yes {
            self.scratch.desired.insert(node);
        }
        self.unrate_assignment(id);
        self.note_room(id, &node);
        self.checkpoint(&node);
        self.release(id, &node);
        if let Some(task) = self.tasks.get_mut(&id.replica.task) {
            task.live = task.live.saturating_sub(1);
        }
        let worked = self
            .assignments
            .get(id)
            .is_some_and(|end| has_worked(end, self.now.wall, self.config.terms.forgive_after));
        if worked {
            self.worked(id, true);
        }
        self.settle_replica(id);
        self.trial_over(id, &node);
        self.prune(&id.replica);
        self.leave_if_empty(&node);
    }

    /// A node that said that it is full stands back for a while, or until something there has ended.
    fn note_room(&mut self, id: &AssignmentId, node: &NodeId) {
        let was_full = self.assignments.get(id).is_some_and(|end| end.reason() == Some(Reason::NodeFull));
        let until = was_full.then(|| self.now.wall.plus(self.config.terms.avoid));
        if let Some(mut node) = self.nodes.quiet(node)
            && (was_full || node.pulse.full_until.is_some())
        {
            node.pulse().full_until = until;
        }
    }

    /// Gives back what an assignment held.
    fn release(&mut self, id: &AssignmentId, node_id: &NodeId) {
        self.live_assignments = self.live_assignments.saturating_sub(1);
        let Some(task) = self.tasks.get(&id.replica.task) else { return };
        let resources = &task.spec.resources;
        let set_bytes = set_bytes(&task.spec);
        let Some(node) = self.nodes.get_mut(node_id) else { return };
        node.allocated.cpus = node.allocated.cpus.saturating_sub(resources.cpus.0.into());
        node.allocated.memory = node.allocated.memory.saturating_sub(resources.memory.0);
        node.allocated.disk = node.allocated.disk.saturating_sub(resources.disk.0);
        node.allocated.set_bytes = node.allocated.set_bytes.saturating_sub(set_bytes);
        node.remove_active(id);
        node.hardware.release(id);
    }

    fn settle_replica(&mut self, id: &AssignmentId) {
        let Some(replica) = self.replica(&id.replica) else { return };
        if replica.leaving == Some(id.incarnation) {
            if let Some(replica) = self.replica_mut(&id.replica) {
                replica.leaving = None;
            }
            return;
        }
        if replica.phase != (Phase::Placed { incarnation: id.incarnation }) {
            return;
        }
        let Some(task) = self.tasks.get(&id.replica.task) else { return };
        match task.goal {
            Goal::Run => {
                let next = self.next_after(id);
                self.go_on(id, next);
            }
            Goal::Stop | Goal::Delete => {
                let done =
                    self.assignments.get(id).is_some_and(|end| end.state == AssignmentState::Succeeded);
                self.set_replica_phase(&id.replica, if done { Phase::Succeeded } else { Phase::Idle });
            }
        }
    }

    fn next_after(&self, id: &AssignmentId) -> Next {
        let (Some(task), Some(end)) = (self.tasks.get(&id.replica.task), self.assignments.get(id)) else {
            return Next::AtOnce;
        };
        let withdrawn = match end.wanted {
            Wanted::Yes => None,
            Wanted::No { reason, .. } => Some(reason),
        };
        match (end.state, withdrawn) {
            (AssignmentState::Succeeded, None) => Next::Done,
            (AssignmentState::Succeeded, Some(_)) => match task.spec.kind {
                TaskKind::Batch => Next::Done,
                TaskKind::Service => Next::AtOnce,
            },
            (_, Some(Reason::NeverStarted)) => Next::Later { avoid: true },
            (_, Some(_)) | (AssignmentState::Lost, None) => Next::AtOnce,
            (AssignmentState::Failed, None)
                if matches!(end.reason(), Some(Reason::NodeFull | Reason::UnmetRequirement)) =>
            {
                Next::Elsewhere
            }
            (AssignmentState::Failed, None) => {
                match end.reason().and_then(Reason::fault).unwrap_or(Fault::Task) {
                    Fault::Node => Next::Later { avoid: true },
                    Fault::Operator => Next::Later { avoid: false },
                    Fault::Task => {
                        let restart = task.spec.effective_restart();
                        let moving =
                            self.replica(&id.replica).is_some_and(|replica| replica.leaving.is_some());
                        let for_ever = restart.policy == RestartPolicy::Always && restart.max_restarts == 0;
                        if for_ever || moving { Next::Later { avoid: false } } else { Next::Failed }
                    }
                }
            }
            // Stopped although it was wanted: somebody else stopped it.
            (AssignmentState::Stopped, None) => Next::Later { avoid: false },
            (
                AssignmentState::Assigned
                | AssignmentState::Pulling
                | AssignmentState::Starting
                | AssignmentState::Running
                | AssignmentState::Stopping,
                None,
            ) => Next::AtOnce,
        }
    }

    fn go_on(&mut self, id: &AssignmentId, next: Next) {
        let (now, terms) = (self.now, self.config.terms);
        let Some(end) = self.assignments.get(id) else { return };
        let node = end.node;
        let ran_long = ran_long(end, now.wall, terms.forgive_after);
        let Some(replica) = self.replica_mut(&id.replica) else { return };
        if ran_long {
            replica.failures = 0;
        }
        let wait = BackoffPolicy::new(terms.retry_first, terms.retry_most).wait(replica.failures);
        match next {
            Next::Done | Next::Failed => {
                let leaving = replica.leaving;
                let done = matches!(next, Next::Done);
                self.set_replica_phase(&id.replica, if done { Phase::Succeeded } else { Phase::Failed });
                if let Some(incarnation) = leaving {
                    self.unassign(&AssignmentId { replica: id.replica, incarnation }, Reason::Drained);
                }
            }
            Next::AtOnce => self.set_replica_phase(&id.replica, Phase::Waiting),
            Next::Elsewhere => {
                replica.avoid(node, now.wall.plus(terms.avoid));
                replica.failures = replica.failures.saturating_add(1);
                self.wait_to_retry(&id.replica, wait);
            }
            Next::Later { avoid } => {
                replica.failures = replica.failures.saturating_add(1);
                if avoid {
                    replica.avoid(node, now.wall.plus(terms.avoid));
                    self.accuse(id);
                }
                self.wait_to_retry(&id.replica, wait);
            }
        }
    }

    fn wait_to_retry(&mut self, id: &ReplicaId, wait: Millis) {
        self.set_replica_phase(id, Phase::BackOff { until: self.now.wall.plus(wait) });
        self.timers.set(after(self.now.monotonic, wait), Timer::Retry(*id));
    }

    /// A back-off may be over.
    pub(crate) fn retry_due(&mut self, id: &ReplicaId) {
        let wall = self.now.wall;
        let Some(Phase::BackOff { until }) = self.replica(id).map(|replica| replica.phase) else { return };
        if until > wall {
            let wait = until.since(wall);
            self.timers.set(after(self.now.monotonic, wait), Timer::Retry(*id));
            return;
        }
        if let Some(replica) = self.replica_mut(id) {
            replica.avoided.retain(|(_, until)| *until > wall);
        }
        self.set_replica_phase(id, Phase::Waiting);
    }

    /// Forgets the oldest ended assignments of a replica.
    fn prune(&mut self, id: &ReplicaId) {
        let ended: Vec<AssignmentId> = self
            .incarnations(id)
            .filter(|(_, assignment)| !assignment.is_live())
            .map(|(known, _)| *known)
            .collect();
        let surplus = ended.len().saturating_sub(self.config.limits.ended_assignments);
        for old in ended.into_iter().take(surplus) {
            self.assignments.remove(&old);
        }
    }

    /// All assignments that are kept of a replica, oldest first.
    pub(crate) fn incarnations(&self, id: &ReplicaId) -> impl Iterator<Item = (&AssignmentId, &Assignment)> {
        let first = AssignmentId { replica: *id, incarnation: Incarnation(0) };
        let last = AssignmentId { replica: *id, incarnation: Incarnation(u32::MAX) };
        self.assignments.range(first..=last)
    }

    /// Everything on a silent node is lost. If it is heard again before this is through, the rest stays as it is: it is
    /// then like a node whose lease never ran out.
    pub(crate) fn lose_assignments(&mut self, id: &NodeId) {
        let silent = self.nodes.get(id).filter(|node| node.liveness == Liveness::Lost);
        let active = silent.map(|node| node.active.clone()).unwrap_or_default();
        for assignment in active {
            if !self.has_room() {
                self.backlog.push(Work::Lose(*id));
                return;
            }
            self.decide(
                &assignment,
                AssignmentState::Lost,
                Reason::NodeLost,
                "no news of its node for a lease",
            );
        }
    }

    /// An assignment should have been reported on by now.
    pub(crate) fn start_due(&mut self, id: &AssignmentId) {
        let Some(assignment) = self.assignments.get(id).filter(|known| known.is_wanted() && !known.heard)
        else {
            return;
        };
        let working =
            self.nodes.get(&assignment.node).is_some_and(|node| node.is_alive() && node.has_reported());
        if working {
            self.unassign(id, Reason::NeverStarted);
        } else {
            self.timers.set(after(self.now.monotonic, self.config.terms.start_deadline), Timer::Start(*id));
        }
    }

    /// An assignment should have stopped by now. If its worker lives and does not say so, it is given up; whatever still
    /// runs there is an orphan that keeps what it uses until the worker says that it is gone. The worker is made to open a new
    /// session, because that begins with telling everything that runs.
    pub(crate) fn stop_due(&mut self, id: &AssignmentId) {
        let Some(assignment) = self.assignments.get(id).filter(|known| known.is_live() && !known.is_wanted())
        else {
            return;
        };
        let (node_id, gpus) = (assignment.node, assignment.gpus.clone().into_boxed_slice());
        let heard = assignment.heard;
        let uses = self.uses_of(id);
        let Some(node) = self.nodes.get_mut(&node_id) else { return };
        if !node.is_alive() || !node.has_reported() {
            self.timers.set(after(self.now.monotonic, self.config.terms.start_deadline), Timer::Stop(*id));
            return;
        }
        if heard {
            node.orphans.push(Orphan { id: *id, gpus, uses });
        }
        self.force_resync(&node_id);
        self.decide(id, AssignmentState::Lost, Reason::Superseded, "its worker did not stop it in time");
    }

    /// What an assignment takes of its node, where its task is known.
    pub(crate) fn uses_of(&self, id: &AssignmentId) -> Uses {
        let task = self.tasks.get(&id.replica.task);
        task.map(|task| Uses::of(&task.spec.resources)).unwrap_or_default()
    }

    /// A node that leaves has nothing left to do.
    pub(crate) fn leave_if_empty(&mut self, id: &NodeId) {
        let empty = self.nodes.get(id).is_some_and(|node| node.active.is_empty());
        let leaving = self
            .nodes
            .get(id)
            .is_some_and(|node| matches!(node.standing, NodeLifecycle::Leaving { submitted: false, .. }));
        if empty && leaving {
            self.submit_leave(id);
        }
    }
}

/// Whether an assignment that has ended shows that its node works.
fn has_worked(end: &Assignment, now: Timestamp, long: Millis) -> bool {
    end.state == AssignmentState::Succeeded || ran_long(end, now, long)
}

fn ran_long(end: &Assignment, now: Timestamp, long: Millis) -> bool {
    end.running_since.is_some_and(|since| now.since(since) >= long)
}

/// How long a back-off still lasts.
pub(crate) fn time_left(until: Timestamp, now: Timestamp) -> Millis {
    until.since(now)
}
