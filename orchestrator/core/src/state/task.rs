//! Tasks and their replicas.
//!
//! A task's row can be changed by the methods of [`Task`] alone, which mark it; a replica's through [`Tasks::replica_mut`]
//! alone, which marks it and its task.

use std::collections::BTreeSet;
use std::ops::{Deref, DerefMut};

use lode_protocol::ids::{Incarnation, NodeId, ReplicaId, TaskId};
use lode_protocol::image::PinnedImage;
use lode_protocol::task::{TaskKind, ValidTaskSpec};
use lode_protocol::units::Timestamp;
use minicbor::{Decode, Encode};

use super::faults::Evidence;
use super::order::{SignedSpendAuthorization, TaskOrderState};
use super::shape::ShapeId;
use super::tracked::{Row, Tracked};
use super::words::{ReplicaCounts, TaskState};

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

/// All replicas of a task, by number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Replicas {
    all: Vec<Replica>,
    /// Those that do not run yet, but whose predecessor still does: nobody misses them.
    covered: BTreeSet<u32>,
}

impl Deref for Replicas {
    type Target = [Replica];

    fn deref(&self) -> &[Replica] {
        &self.all
    }
}

impl<'a> IntoIterator for &'a Replicas {
    type Item = &'a Replica;
    type IntoIter = std::slice::Iter<'a, Replica>;

    fn into_iter(self) -> Self::IntoIter {
        self.all.iter()
    }
}

/// What its owner wants, as it is stored.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub(crate) struct TaskRow {
    #[n(0)]
    pub(crate) spec: ValidTaskSpec,
    #[n(1)]
    pub(crate) created: Timestamp,
    #[n(2)]
    pub(crate) goal: Goal,
    #[n(3)]
    pub(crate) pinned_image: Option<PinnedImage>,
    #[n(4)]
    pub(crate) idempotency_key: Option<String>,
    /// What it may cost, where somebody signed for it.
    #[n(5)]
    pub(crate) signed: Option<SignedSpendAuthorization>,
}

/// A task.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    row: Row<TaskRow>,
    /// How far what was signed is used. Durable with the meters, which lag behind.
    pub(crate) order: Option<TaskOrderState>,
    pub(crate) replicas: Replicas,
    pub(crate) shape: ShapeId,
    pub(crate) evidence: Evidence,
    /// Replicas by phase.
    pub(crate) counts: ReplicaCounts,
    /// Non-final assignments, those that are leaving included.
    pub(crate) live: u32,
    /// State that was last told to the event log.
    pub(crate) last_published: Option<TaskState>,
}

/// A task is its row, and more.
impl Deref for Task {
    type Target = TaskRow;

    fn deref(&self) -> &TaskRow {
        &self.row
    }
}

/// All tasks. A replica has a row of its own, and can be changed through here only, which marks it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tasks {
    tasks: Tracked<TaskId, Task>,
    replicas: BTreeSet<ReplicaId>,
}

impl Deref for Tasks {
    type Target = Tracked<TaskId, Task>;

    fn deref(&self) -> &Self::Target {
        &self.tasks
    }
}

impl DerefMut for Tasks {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.tasks
    }
}

impl<'a> IntoIterator for &'a Tasks {
    type Item = (&'a TaskId, &'a Task);
    type IntoIter = std::collections::btree_map::Iter<'a, TaskId, Task>;

    fn into_iter(self) -> Self::IntoIter {
        (&self.tasks).into_iter()
    }
}

impl Tasks {
    pub(crate) fn replica(&self, id: &ReplicaId) -> Option<&Replica> {
        self.tasks.get(&id.task)?.replicas.get(usize::try_from(id.replica).ok()?)
    }

    /// Marks the replica and its task.
    pub(crate) fn replica_mut(&mut self, id: &ReplicaId) -> Option<&mut Replica> {
        let replica =
            self.tasks.get_mut(&id.task)?.replicas.all.get_mut(usize::try_from(id.replica).ok()?)?;
        self.replicas.insert(*id);
        Some(replica)
    }

    /// How far an order is used, without a mark: nothing else of the task follows from it.
    pub(crate) fn order_mut(&mut self, id: &TaskId) -> Option<&mut TaskOrderState> {
        self.tasks.unmarked(id)?.order.as_mut()
    }

    /// What is known of a task's failures, without a mark: no row and no state of it follows from that.
    pub(crate) fn evidence_mut(&mut self, id: &TaskId) -> Option<&mut Evidence> {
        Some(&mut self.tasks.unmarked(id)?.evidence)
    }

    /// Notes whether a replica is covered.
    pub(crate) fn cover(&mut self, id: &ReplicaId, covered: bool) {
        let Some(known) = self.tasks.get(&id.task).map(|task| task.replicas.covered.contains(&id.replica))
        else {
            return;
        };
        if known != covered
            && let Some(task) = self.tasks.get_mut(&id.task)
        {
            if covered {
                task.replicas.covered.insert(id.replica);
            } else {
                task.replicas.covered.remove(&id.replica);
            }
        }
    }

    pub(crate) fn touched_replicas(&self) -> &BTreeSet<ReplicaId> {
        &self.replicas
    }

    pub(crate) fn take_touched_replicas(&mut self) -> BTreeSet<ReplicaId> {
        std::mem::take(&mut self.replicas)
    }

    /// A task's state is told; tells which one was before.
    pub(crate) fn publish(&mut self, id: &TaskId, state: TaskState) -> Option<TaskState> {
        self.tasks.unmarked(id)?.last_published.replace(state)
    }

    /// Whether a task's row must be written; it counts as written then.
    pub(crate) fn take_changed(&mut self, id: &TaskId) -> bool {
        self.tasks.unmarked(id).is_some_and(|task| task.row.take_changed())
    }
}

impl Task {
    /// A new one of which nothing has happened yet.
    pub(crate) fn new(row: TaskRow, order: Option<TaskOrderState>, shape: ShapeId) -> Self {
        Self::made(Row::new(row), order, shape)
    }

    /// From its row; its replicas are as new ones.
    pub(crate) fn stored(row: TaskRow, order: Option<TaskOrderState>, shape: ShapeId) -> Self {
        Self::made(Row::stored(row), order, shape)
    }

    fn made(row: Row<TaskRow>, order: Option<TaskOrderState>, shape: ShapeId) -> Self {
        let total = row.spec.replicas;
        let all = vec![Replica::new(); usize::try_from(total).unwrap_or(0)];
        Task {
            row,
            order,
            replicas: Replicas { all, covered: BTreeSet::new() },
            shape,
            evidence: Evidence::default(),
            counts: ReplicaCounts { total, pending: total, ..ReplicaCounts::default() },
            live: 0,
            last_published: None,
        }
    }

    pub(crate) fn set_goal(&mut self, goal: Goal) {
        self.row.edit().goal = goal;
    }

    /// The first pin stays.
    pub(crate) fn pin(&mut self, image: PinnedImage) {
        if self.row.pinned_image.is_none() {
            self.row.edit().pinned_image = Some(image);
        }
    }

    /// Replicas that do not run yet, but whose predecessor still does.
    pub(crate) fn covered(&self) -> u32 {
        u32::try_from(self.replicas.covered.len()).unwrap_or(u32::MAX)
    }

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
                let settled = counts.running + counts.succeeded + failed + self.covered();
                if settled >= counts.total { TaskState::Running } else { TaskState::Pending }
            }
        }
    }
}
