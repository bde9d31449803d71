//! Groups on their way to the disk.
//!
//! One group is being committed while the next one grows; so the core is at most two groups (and one step) ahead of the
//! store, and a commit never begins before the one before it has ended: what fails can be tried again as it was, with
//! nothing after it. Groups are released in their order, each after its own commit; one that changes nothing waits only
//! for those before it.
//!
//! An answer may overtake all of this if it tells nothing that is not durable: see [`Pipeline::may_overtake`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use lode_protocol::ids::NodeId;
use lode_store::{Batch, StoreError, Version, Writer};
use tokio::task::JoinSet;

use super::group::Group;

/// A batch as it was committed, and what became of it.
type Committed = (Arc<Batch>, Result<Version, StoreError>);

/// A group whose commit has ended.
pub(super) struct Landed {
    pub(super) group: Group,
    /// What was to be committed, to be tried again as it is.
    pub(super) batch: Arc<Batch>,
    pub(super) result: Result<Version, StoreError>,
    pub(super) started: Instant,
}

/// What is on its way, in order.
#[derive(Default)]
pub(super) struct Pipeline {
    /// Being committed: its rows are with `commit`.
    flight: Option<(Group, Instant)>,
    /// The one task that makes the rows of log entries and waits for the writer.
    commit: JoinSet<Committed>,
    /// Stepped, the oldest first; the last one still grows.
    waiting: VecDeque<Group>,
}

impl Pipeline {
    /// The group that still grows.
    pub(super) fn open(&mut self) -> &mut Group {
        if self.waiting.is_empty() {
            self.waiting.push_back(Group::default());
        }
        self.waiting.back_mut().expect("there is one now")
    }

    /// The group for a step of this size: groups end at the border of a step.
    pub(super) fn open_for(&mut self, bytes: usize, rows: usize) -> &mut Group {
        if !self.open().has_room(bytes, rows) {
            self.waiting.push_back(Group::default());
        }
        self.open()
    }

    /// Whether anything else may be stepped.
    pub(super) fn has_room(&self) -> bool {
        match self.waiting.len() {
            0 => true,
            1 => self.waiting.front().is_none_or(|group| !group.is_full()),
            _ => false,
        }
    }

    /// Whether nothing is on its way.
    pub(super) fn is_empty(&self) -> bool {
        self.flight.is_none() && self.waiting.iter().all(|group| group.is_quiet() && group.outputs.is_empty())
    }

    /// Whether an answer without news to this node may leave before everything that waits.
    ///
    /// Such an answer is made of the node's own rows (its standing, its set's generation, its receipts), of the term and
    /// the settlement's epoch, and of what is never durable (leases, meters between checkpoints, the chain's facts). So it
    /// waits if a group that is not durable has touched rows of this node or rows that concern everybody, or holds an
    /// earlier answer to this node. Other tables reach a node through its set, and a set is news.
    pub(super) fn may_overtake(&self, node: &NodeId) -> bool {
        let flight = self.flight.iter().map(|(group, _)| group);
        !flight.chain(&self.waiting).any(|group| group.concerns(node))
    }

    /// Everything that waits, the oldest first, with what is being committed.
    pub(super) fn groups_mut(&mut self) -> impl Iterator<Item = &mut Group> {
        self.flight.iter_mut().map(|(group, _)| group).chain(&mut self.waiting)
    }

    /// The next group if it needs no commit and nothing is before it.
    pub(super) fn next_quiet(&mut self) -> Option<Group> {
        if self.flight.is_some() || !self.waiting.front()?.is_quiet() {
            return None;
        }
        self.waiting.pop_front()
    }

    /// Hands the next group to the writer, if nothing is with it.
    pub(super) fn hand_over(&mut self, writer: &Writer) {
        if self.flight.is_some() {
            return;
        }
        let Some(mut group) = self.waiting.pop_front() else { return };
        let mut batch = std::mem::take(&mut group.batch);
        let entries = group.unpublished.clone();
        let writer = writer.clone();
        self.commit.spawn(async move {
            entries.write(&mut batch);
            let batch = Arc::new(batch);
            let result = writer.commit(Arc::clone(&batch)).await;
            (batch, result)
        });
        self.flight = Some((group, Instant::now()));
    }

    /// The group whose commit has ended. Cancel-safe; waits for ever while nothing is committed.
    pub(super) async fn landed(&mut self) -> Landed {
        let committed = match self.commit.join_next().await {
            Some(Ok(committed)) => committed,
            // Making rows panicked, or the runtime ends: nothing is known of the batch, and nothing may follow it.
            Some(Err(error)) => {
                tracing::error!(%error, "a commit ended without a result");
                (Arc::default(), Err(StoreError::Closed))
            }
            None => std::future::pending().await,
        };
        let (group, started) = self.flight.take().unwrap_or_else(|| (Group::default(), Instant::now()));
        Landed { group, batch: committed.0, result: committed.1, started }
    }
}
