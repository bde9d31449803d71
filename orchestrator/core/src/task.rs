//! Tasks and their replicas: submit, stop, start, delete.
//!
//! A task says what its owner wants (the goal), its replicas say how far that is. The task's state is derived from
//! counters that every change of a replica keeps up, so that a task of ten thousand replicas costs no more per change
//! than one of one.

use lode_protocol::assignment::Reason;
use lode_protocol::ids::{AssignmentId, Incarnation, NodeId, ReplicaId, TaskId};
use lode_protocol::image::PinnedImage;
use lode_protocol::task::ValidTaskSpec;

use super::Core;
use super::effect::{Action, OccurrenceKind};
use super::error::Rejected;
use super::event::{ImageResolution, Unpinned};
use super::faults::Evidence;
use super::settlement::SignedSpendAuthorization;
pub(crate) use super::state::task::{Goal, Phase, Replica, Task, TaskRow};
use super::view::{ReplicaCounts, TaskState};
use super::work::Work;

/// The counter that a phase belongs to. A placed replica counts as starting; running ones are moved over.
fn counter(counts: &mut ReplicaCounts, phase: Phase, running: bool) -> Option<&mut u32> {
    match phase {
        Phase::Waiting | Phase::BackOff { .. } => Some(&mut counts.pending),
        Phase::Placed { .. } if running => Some(&mut counts.running),
        Phase::Placed { .. } => Some(&mut counts.starting),
        Phase::Succeeded => Some(&mut counts.succeeded),
        Phase::Failed => Some(&mut counts.failed),
        Phase::Idle => None,
    }
}

impl Core {
    pub(crate) fn submit(
        &mut self,
        id: TaskId,
        spec: ValidTaskSpec,
        order: Option<SignedSpendAuthorization>,
        idempotency_key: Option<String>,
        image: ImageResolution,
    ) -> Result<(), Rejected> {
        if let Some(existing) = idempotency_key.as_ref().and_then(|key| self.idempotency.get(key)).copied() {
            let same = self
                .tasks
                .get(&existing)
                .is_some_and(|task| task.spec == spec && task.order.map(|known| known.signed) == order);
            if !same {
                return Err(Rejected::conflict(
                    "task/idempotency-conflict",
                    format!(
                        "the idempotency key was used for task {existing}, which has another spec or order"
                    ),
                    "use a new key for a new task",
                ));
            }
            self.act(Action::TaskAccepted { task: existing, created: false });
            return Ok(());
        }
        if self.tasks.contains_key(&id) {
            return Err(Rejected::conflict(
                "task/id-taken",
                format!("there is a task {id} already"),
                "use a fresh id",
            ));
        }
        if self.tasks.len() >= usize::try_from(self.config.limits.tasks).unwrap_or(usize::MAX) {
            return Err(Rejected::transient(
                "task/too-many",
                "the pool holds as many tasks as it can",
                "delete tasks that have ended",
            ));
        }
        self.check_declared(&spec)?;
        let order = order.map(|signed| self.judge_order(&spec, &signed)).transpose()?;
        let shape = self.queue.acquire(&spec);
        if let Some(key) = &idempotency_key {
            self.idempotency.insert(key.clone(), id);
        }
        let total = spec.replicas;
        let row = TaskRow {
            spec,
            created: self.now.wall,
            goal: Goal::Run,
            pinned_image: None,
            idempotency_key,
            signed: order.map(|order| order.signed),
        };
        let task = Task::new(row, order, shape);
        self.tasks.insert(id, task);
        if let Some(order) = order {
            self.use_order(id, &order);
        }
        for replica in 0..total {
            self.queue.enqueue(shape, ReplicaId { task: id, replica });
        }
        match image {
            ImageResolution::Pinned(image) => self.pin_image(&id, image, None),
            ImageResolution::Unpinned(Unpinned { code, message }) => {
                self.log(OccurrenceKind::ImageUnpinned { task: id, code, message });
            }
        }
        self.act(Action::TaskAccepted { task: id, created: true });
        Ok(())
    }

    pub(crate) fn stop_task(&mut self, id: &TaskId) -> Result<(), Rejected> {
        let task = self.tasks.get(id).ok_or_else(|| no_task(id))?;
        match task.state() {
            TaskState::Pending | TaskState::Running => {}
            TaskState::Stopping | TaskState::Stopped | TaskState::Succeeded | TaskState::Failed => {
                return Ok(());
            }
            TaskState::Deleting => return Err(being_deleted(id)),
        }
        self.set_goal(id, Goal::Stop);
        self.stop_all(id, Reason::StopRequested);
        Ok(())
    }

    /// The task's own budget is used up.
    pub(crate) fn exhaust_task(&mut self, id: &TaskId) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        task.set_goal(Goal::Stop);
        self.stop_all(id, Reason::BudgetExhausted);
    }

    pub(crate) fn delete_task(&mut self, id: &TaskId) -> Result<(), Rejected> {
        let task = self.tasks.get(id).ok_or_else(|| no_task(id))?;
        if task.goal == Goal::Delete {
            return Ok(());
        }
        self.set_goal(id, Goal::Delete);
        self.stop_all(id, Reason::StopRequested);
        Ok(())
    }

    fn set_goal(&mut self, id: &TaskId, goal: Goal) {
        if let Some(task) = self.tasks.get_mut(id) {
            task.set_goal(goal);
        }
    }

    /// Nothing of the task is to run any longer. What waits is not placed from now on, whenever its turn comes.
    fn stop_all(&mut self, id: &TaskId, reason: Reason) {
        let Some(task) = self.tasks.get(id) else { return };
        let shape = task.shape;
        for (number, replica) in (0u32..).zip(&task.replicas) {
            if replica.phase == Phase::Waiting {
                self.queue.dequeue(shape, &ReplicaId { task: *id, replica: number });
            }
        }
        self.stop_some(id, reason);
    }

    /// Stops replicas of a task that is not to run, as far as there is room.
    pub(crate) fn stop_some(&mut self, id: &TaskId, reason: Reason) {
        let Some(task) = self.tasks.get(id).filter(|task| task.goal != Goal::Run) else { return };
        let phases: Vec<(u32, Phase, Option<Incarnation>)> = (0u32..)
            .zip(&task.replicas)
            .map(|(number, replica)| (number, replica.phase, replica.leaving))
            .collect();
        for (number, phase, leaving) in phases {
            if !self.has_room() {
                self.backlog.push(Work::Stop(*id, reason));
                return;
            }
            let replica = ReplicaId { task: *id, replica: number };
            if let Some(incarnation) = leaving {
                self.unassign(&AssignmentId { replica, incarnation }, reason);
            }
            match phase {
                Phase::Waiting | Phase::BackOff { .. } => self.set_replica_phase(&replica, Phase::Idle),
                Phase::Placed { incarnation } => {
                    self.unassign(&AssignmentId { replica, incarnation }, reason);
                }
                Phase::Succeeded | Phase::Failed | Phase::Idle => {}
            }
        }
        self.money_may_be_free();
    }

    pub(crate) fn start_task(&mut self, id: &TaskId) -> Result<(), Rejected> {
        if self.tasks.get(id).is_some_and(|task| !self.bears_itself(task)) {
            return Err(Rejected::conflict(
                "order/budget-used-up",
                format!("the budget of task {id} is used up"),
                "submit it again with a new order",
            ));
        }
        let task = self.tasks.get(id).ok_or_else(|| no_task(id))?;
        match task.state() {
            TaskState::Pending | TaskState::Running => return Ok(()),
            TaskState::Deleting => return Err(being_deleted(id)),
            TaskState::Stopping | TaskState::Stopped | TaskState::Succeeded | TaskState::Failed => {}
        }
        // Replicas that ended well are repeated only if there is nothing else to do.
        let everything = task.state() == TaskState::Succeeded;
        let shape = task.shape;
        let total = u32::try_from(task.replicas.len()).unwrap_or(u32::MAX);
        self.set_goal(id, Goal::Run);
        // Whoever starts it again may have mended what was wrong.
        if let Some(evidence) = self.tasks.evidence_mut(id) {
            *evidence = Evidence::default();
        }
        for number in 0..total {
            let replica = ReplicaId { task: *id, replica: number };
            let Some(phase) = self.replica(&replica).map(|known| known.phase) else { continue };
            let again = match phase {
                Phase::Failed | Phase::Idle => true,
                Phase::Succeeded => everything,
                Phase::Waiting => {
                    // Its turn to be stopped had not come yet.
                    self.queue.enqueue(shape, replica);
                    false
                }
                Phase::BackOff { .. } | Phase::Placed { .. } => false,
            };
            if again {
                if let Some(known) = self.replica_mut(&replica) {
                    known.failures = 0;
                }
                self.set_replica_phase(&replica, Phase::Waiting);
            }
        }
        Ok(())
    }

    /// From now on every order of the task names this content. `by` is the worker that said so; without one it was the
    /// registry. The first pin stays.
    pub(crate) fn pin_image(&mut self, id: &TaskId, image: PinnedImage, by: Option<NodeId>) {
        let Some(task) = self.tasks.get_mut(id).filter(|task| task.pinned_image.is_none()) else { return };
        let told = image.to_string();
        task.pin(image);
        self.log(OccurrenceKind::ImagePinned { task: *id, image: told, by });
    }

    pub(crate) fn replica(&self, id: &ReplicaId) -> Option<&Replica> {
        self.tasks.replica(id)
    }

    pub(crate) fn replica_mut(&mut self, id: &ReplicaId) -> Option<&mut Replica> {
        self.tasks.replica_mut(id)
    }

    /// The only way a replica changes its phase: keeps the counters and the queue.
    pub(crate) fn set_replica_phase(&mut self, id: &ReplicaId, phase: Phase) {
        let before = self.replica(id).map(|replica| replica.phase);
        let Some(before) = before else { return };
        let was_running = self.is_running(id, before);
        let is_running = self.is_running(id, phase);
        let Some(task) = self.tasks.get_mut(&id.task) else { return };
        if let Some(count) = counter(&mut task.counts, before, was_running) {
            *count = count.saturating_sub(1);
        }
        if let Some(count) = counter(&mut task.counts, phase, is_running) {
            *count = count.saturating_add(1);
        }
        let (shape, runs) = (task.shape, task.goal == Goal::Run);
        if let Some(replica) = self.replica_mut(id) {
            replica.phase = phase;
        }
        match (before, phase) {
            (Phase::Waiting, Phase::Waiting) => {}
            (Phase::Waiting, _) => self.queue.dequeue(shape, id),
            (_, Phase::Waiting) if runs => self.queue.enqueue(shape, *id),
            (_, _) => {}
        }
    }

    fn is_running(&self, id: &ReplicaId, phase: Phase) -> bool {
        use lode_protocol::assignment::AssignmentState;
        match phase {
            Phase::Placed { incarnation } => self
                .assignments
                .get(&AssignmentId { replica: *id, incarnation })
                .is_some_and(|assignment| assignment.state == AssignmentState::Running),
            Phase::Waiting | Phase::BackOff { .. } | Phase::Succeeded | Phase::Failed | Phase::Idle => false,
        }
    }
}

pub(crate) fn no_task(id: &TaskId) -> Rejected {
    Rejected::not_found("task/not-found", format!("there is no task {id}"), "list the tasks to see their ids")
}

fn being_deleted(id: &TaskId) -> Rejected {
    Rejected::conflict("task/being-deleted", format!("task {id} is being deleted"), "submit it as a new task")
}
