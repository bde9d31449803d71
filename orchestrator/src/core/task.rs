//! Tasks and their replicas: submit, stop, start, delete.
//!
//! A task says what its owner wants (the goal), its replicas say how far that is. The task's state is derived from
//! counters that every change of a replica keeps up, so that a task of ten thousand replicas costs no more per change
//! than one of one.

use lode_protocol::assignment::Reason;
use lode_protocol::ids::{AssignmentId, Incarnation, NodeId, ReplicaId, TaskId};
use lode_protocol::task::{TaskKind, ValidTaskSpec};
use lode_protocol::units::Timestamp;
use minicbor::{Decode, Encode};

use super::Core;
use super::effect::{Action, OccurrenceKind};
use super::error::Rejected;
use super::event::{ImageStanding, Unpinned};
use super::placement::ShapeId;
use super::settlement::{SignedOrder, TaskOrderState};
use super::view::{ReplicaCounts, TaskState};

/// Nodes remembered that a replica failed on.
const MOST_AVOIDED: usize = 8;

/// What the task's owner wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(index_only)]
pub(crate) enum Goal {
    #[n(0)]
    Run,
    #[n(1)]
    Stop,
    #[n(2)]
    Delete,
}

/// How far one replica is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub(crate) enum Phase {
    /// Waits for a node.
    #[n(0)]
    Waiting,
    /// Waits out a back-off.
    #[n(1)]
    BackOff {
        #[n(0)]
        until: Timestamp,
    },
    /// Has a live assignment.
    #[n(2)]
    Placed {
        #[n(0)]
        incarnation: Incarnation,
    },
    /// Ended well.
    #[n(3)]
    Succeeded,
    /// Ended for good, not well.
    #[n(4)]
    Failed,
    /// Is not to run.
    #[n(5)]
    Idle,
}

/// A replica; also its row in the store.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub(crate) struct Replica {
    #[n(0)]
    pub(crate) phase: Phase,
    /// Number of the next incarnation.
    #[n(1)]
    pub(crate) next: Incarnation,
    /// Failures in a row.
    #[n(2)]
    pub(crate) failures: u32,
    /// An incarnation on a node that is being emptied: it runs until its successor does.
    #[n(3)]
    pub(crate) leaving: Option<Incarnation>,
    /// Nodes it failed on by their fault, and until when they are avoided.
    #[n(4)]
    pub(crate) avoided: Vec<(NodeId, Timestamp)>,
}

impl Replica {
    pub(crate) fn new() -> Self {
        Replica {
            phase: Phase::Waiting,
            next: Incarnation(1),
            failures: 0,
            leaving: None,
            avoided: Vec::new(),
        }
    }

    pub(crate) fn avoid(&mut self, node: NodeId, until: Timestamp) {
        self.avoided.retain(|(other, _)| *other != node);
        if self.avoided.len() >= MOST_AVOIDED {
            self.avoided.remove(0);
        }
        self.avoided.push((node, until));
    }
}

/// A task.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) spec: ValidTaskSpec,
    pub(crate) created: Timestamp,
    pub(crate) goal: Goal,
    pub(crate) pinned_image: Option<String>,
    pub(crate) idempotency_key: Option<String>,
    /// What it may cost, where somebody signed for it.
    pub(crate) order: Option<TaskOrderState>,
    pub(crate) replicas: Vec<Replica>,
    pub(crate) shape: ShapeId,
    /// Replicas by phase.
    pub(crate) counts: ReplicaCounts,
    /// Non-final assignments, those that are leaving included.
    pub(crate) live: u32,
    /// Replicas that do not run yet, but whose predecessor still does: nobody misses them.
    pub(crate) covered: u32,
    /// State that was last told to the event log.
    pub(crate) shown: Option<TaskState>,
}

impl Task {
    /// What people see.
    pub(crate) fn state(&self) -> TaskState {
        let counts = &self.counts;
        match self.goal {
            Goal::Delete => TaskState::Deleting,
            Goal::Stop if self.live > 0 => TaskState::Stopping,
            Goal::Stop => TaskState::Stopped,
            Goal::Run if counts.pending == 0 && counts.starting == 0 && counts.running == 0 => {
                if counts.failed > 0 { TaskState::Failed } else { TaskState::Succeeded }
            }
            Goal::Run => {
                let failed = match self.spec.kind {
                    TaskKind::Batch => counts.failed,
                    // A service of which a replica is gone for good does not do what was asked for.
                    TaskKind::Service => 0,
                };
                let settled = counts.running + counts.succeeded + failed + self.covered;
                if settled >= counts.total { TaskState::Running } else { TaskState::Pending }
            }
        }
    }
}

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
        order: Option<SignedOrder>,
        idempotency_key: Option<String>,
        image: ImageStanding,
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
        let replicas = vec![Replica::new(); usize::try_from(spec.replicas).unwrap_or(0)];
        let counts =
            ReplicaCounts { total: spec.replicas, pending: spec.replicas, ..ReplicaCounts::default() };
        if let Some(key) = &idempotency_key {
            self.idempotency.insert(key.clone(), id);
        }
        let total = spec.replicas;
        let task = Task {
            spec,
            created: self.now.wall,
            goal: Goal::Run,
            pinned_image: None,
            idempotency_key,
            order,
            replicas,
            shape,
            counts,
            live: 0,
            covered: 0,
            shown: None,
        };
        self.tasks.insert(id, task);
        if let Some(order) = order {
            self.use_order(id, &order);
        }
        self.scratch.tasks.insert(id);
        self.scratch.task_states.insert(id);
        for replica in 0..total {
            self.queue.enqueue(shape, ReplicaId { task: id, replica });
        }
        match image {
            ImageStanding::Pinned(image) => self.pin_image(&id, image, None),
            ImageStanding::Unpinned(Unpinned { code, message }) => {
                self.log(OccurrenceKind::ImageUnpinned { task: id, code, message });
            }
        }
        self.act(Action::TaskAccepted { task: id, created: true });
        Ok(())
    }

    pub(crate) fn stop_task(&mut self, id: &TaskId) -> Result<(), Rejected> {
        let task = self.tasks.get_mut(id).ok_or_else(|| no_task(id))?;
        match task.state() {
            TaskState::Pending | TaskState::Running => {}
            TaskState::Stopping | TaskState::Stopped | TaskState::Succeeded | TaskState::Failed => {
                return Ok(());
            }
            TaskState::Deleting => return Err(being_deleted(id)),
        }
        task.goal = Goal::Stop;
        self.scratch.tasks.insert(*id);
        self.wind_down(id, Reason::StopRequested);
        Ok(())
    }

    /// The task's own budget is used up.
    pub(crate) fn exhaust_task(&mut self, id: &TaskId) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        task.goal = Goal::Stop;
        self.scratch.tasks.insert(*id);
        self.wind_down(id, Reason::BudgetExhausted);
    }

    pub(crate) fn delete_task(&mut self, id: &TaskId) -> Result<(), Rejected> {
        let task = self.tasks.get_mut(id).ok_or_else(|| no_task(id))?;
        if task.goal == Goal::Delete {
            return Ok(());
        }
        task.goal = Goal::Delete;
        self.scratch.tasks.insert(*id);
        self.wind_down(id, Reason::StopRequested);
        Ok(())
    }

    /// Nothing of the task is to run any longer.
    fn wind_down(&mut self, id: &TaskId, reason: Reason) {
        self.scratch.task_states.insert(*id);
        let Some(task) = self.tasks.get(id) else { return };
        let phases: Vec<(u32, Phase, Option<Incarnation>)> = (0u32..)
            .zip(&task.replicas)
            .map(|(number, replica)| (number, replica.phase, replica.leaving))
            .collect();
        for (number, phase, leaving) in phases {
            let replica = ReplicaId { task: *id, replica: number };
            if let Some(incarnation) = leaving {
                self.withdraw(&AssignmentId { replica, incarnation }, reason);
            }
            match phase {
                Phase::Waiting | Phase::BackOff { .. } => self.set_replica_phase(&replica, Phase::Idle),
                Phase::Placed { incarnation } => {
                    self.withdraw(&AssignmentId { replica, incarnation }, reason);
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
        let task = self.tasks.get_mut(id).ok_or_else(|| no_task(id))?;
        match task.state() {
            TaskState::Pending | TaskState::Running => return Ok(()),
            TaskState::Deleting => return Err(being_deleted(id)),
            TaskState::Stopping | TaskState::Stopped | TaskState::Succeeded | TaskState::Failed => {}
        }
        // Replicas that ended well are repeated only if there is nothing else to do.
        let everything = task.state() == TaskState::Succeeded;
        task.goal = Goal::Run;
        self.scratch.tasks.insert(*id);
        self.scratch.task_states.insert(*id);
        let total = u32::try_from(task.replicas.len()).unwrap_or(u32::MAX);
        for number in 0..total {
            let replica = ReplicaId { task: *id, replica: number };
            let Some(known) = self.replica_mut(&replica) else { continue };
            let again = match known.phase {
                Phase::Failed | Phase::Idle => true,
                Phase::Succeeded => everything,
                Phase::Waiting | Phase::BackOff { .. } | Phase::Placed { .. } => false,
            };
            if again {
                known.failures = 0;
                self.set_replica_phase(&replica, Phase::Waiting);
            }
        }
        Ok(())
    }

    /// From now on every order of the task names this content. `by` is the worker that said so; without one it was the
    /// registry. The first pin stays.
    pub(crate) fn pin_image(&mut self, id: &TaskId, image: String, by: Option<NodeId>) {
        let Some(task) = self.tasks.get_mut(id).filter(|task| task.pinned_image.is_none()) else { return };
        task.pinned_image = Some(image.clone());
        self.scratch.tasks.insert(*id);
        self.log(OccurrenceKind::ImagePinned { task: *id, image, by });
    }

    pub(crate) fn replica(&self, id: &ReplicaId) -> Option<&Replica> {
        self.tasks.get(&id.task)?.replicas.get(usize::try_from(id.replica).ok()?)
    }

    pub(crate) fn replica_mut(&mut self, id: &ReplicaId) -> Option<&mut Replica> {
        self.tasks.get_mut(&id.task)?.replicas.get_mut(usize::try_from(id.replica).ok()?)
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
        let shape = task.shape;
        if let Some(replica) = self.replica_mut(id) {
            replica.phase = phase;
        }
        match (before, phase) {
            (Phase::Waiting, Phase::Waiting) => {}
            (Phase::Waiting, _) => self.queue.dequeue(shape, id),
            (_, Phase::Waiting) => self.queue.enqueue(shape, *id),
            (_, _) => {}
        }
        self.scratch.replicas.insert(*id);
        self.scratch.task_states.insert(id.task);
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
