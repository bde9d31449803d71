//! What the logs keep: so many entries each, so many bytes of them, and none that is older than so much.

use std::collections::VecDeque;

use lode_api_types::EventSubject;
use lode_protocol::units::{Millis, Timestamp};

/// The logs.
pub(super) const SUBJECTS: [EventSubject; 3] = [EventSubject::Tasks, EventSubject::Nodes, EventSubject::Pool];
/// Entries that fall out for a new one at most, where more are kept than may be: the settings were changed, or it is large.
const FALL_FOR_ONE: usize = 16;
/// Old entries that fall out at once.
const EXPIRE_AT_ONCE: usize = 256;
/// How far a start's clock is believed beyond the newest entry that it finds.
const BELIEVED: Millis = Millis::seconds(24 * 3_600);

/// What is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retention {
    /// Entries about tasks.
    pub tasks: usize,
    /// Entries about nodes.
    pub nodes: usize,
    /// Entries about the pool itself.
    pub pool: usize,
    /// Bytes of entries about tasks, about as many as their rows have.
    pub task_bytes: u64,
    /// The same about nodes.
    pub node_bytes: u64,
    /// The same about the pool itself.
    pub pool_bytes: u64,
    /// Age at which entries fall out.
    pub age: Millis,
}

impl Retention {
    fn most(&self, subject: EventSubject) -> usize {
        match subject {
            EventSubject::Tasks => self.tasks,
            EventSubject::Nodes => self.nodes,
            EventSubject::Pool => self.pool,
        }
        .max(1)
    }

    fn most_bytes(&self, subject: EventSubject) -> u64 {
        match subject {
            EventSubject::Tasks => self.task_bytes,
            EventSubject::Nodes => self.node_bytes,
            EventSubject::Pool => self.pool_bytes,
        }
    }
}

/// Where the store has the number of the last entry that fell out of a log.
pub(super) fn dropped_key(subject: EventSubject) -> &'static [u8] {
    match subject {
        EventSubject::Tasks => b"dropped_tasks",
        EventSubject::Nodes => b"dropped_nodes",
        EventSubject::Pool => b"dropped_pool",
    }
}

/// One of something for each log.
#[derive(Clone, Debug, Default)]
pub(super) struct BySubject<T> {
    tasks: T,
    nodes: T,
    pool: T,
}

impl<T> BySubject<T> {
    pub(super) fn get(&self, subject: EventSubject) -> &T {
        match subject {
            EventSubject::Tasks => &self.tasks,
            EventSubject::Nodes => &self.nodes,
            EventSubject::Pool => &self.pool,
        }
    }

    pub(super) fn get_mut(&mut self, subject: EventSubject) -> &mut T {
        match subject {
            EventSubject::Tasks => &mut self.tasks,
            EventSubject::Nodes => &mut self.nodes,
            EventSubject::Pool => &mut self.pool,
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (EventSubject, &T)> {
        SUBJECTS.into_iter().map(|subject| (subject, self.get(subject)))
    }
}

/// One entry that is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    pub(super) position: u64,
    pub(super) at: Timestamp,
    /// Bytes, about as many as its row has.
    pub(super) size: u64,
}

/// Those of one log, oldest first.
#[derive(Debug, Default)]
struct Kept {
    entries: VecDeque<Placed>,
    /// Of all of them.
    bytes: u64,
}

impl Kept {
    fn push(&mut self, placed: Placed) {
        self.bytes = self.bytes.saturating_add(placed.size);
        self.entries.push_back(placed);
    }

    fn pop(&mut self) -> Option<u64> {
        let oldest = self.entries.pop_front()?;
        self.bytes = self.bytes.saturating_sub(oldest.size);
        Some(oldest.position)
    }
}

/// Which entries there are, and when they happened: the writer's side, ahead of what can be read.
#[derive(Debug)]
pub(super) struct Places {
    retention: Retention,
    kept: BySubject<Kept>,
    /// When the newest entry of earlier runs happened.
    before: Option<Timestamp>,
    /// When the first entry of this run happened.
    began: Option<Timestamp>,
}

impl Places {
    pub(super) fn new(retention: Retention) -> Self {
        Places { retention, kept: BySubject::default(), before: None, began: None }
    }

    /// An entry of an earlier run.
    pub(super) fn load(&mut self, subject: EventSubject, placed: Placed) {
        self.before = self.before.max(Some(placed.at));
        self.kept.get_mut(subject).push(placed);
    }

    /// An entry of this run.
    pub(super) fn add(&mut self, subject: EventSubject, placed: Placed) {
        self.began.get_or_insert(placed.at);
        self.kept.get_mut(subject).push(placed);
    }

    /// Lets the oldest fall out of a log that is too full. The newest stays, however large it is.
    pub(super) fn make_room(&mut self, subject: EventSubject, fallen: &mut Vec<(EventSubject, u64)>) {
        let (most, most_bytes) = (self.retention.most(subject), self.retention.most_bytes(subject));
        let kept = self.kept.get_mut(subject);
        for _ in 0..FALL_FOR_ONE {
            let count = kept.entries.len();
            if count <= 1 || (count <= most && kept.bytes <= most_bytes) {
                return;
            }
            fallen.extend(kept.pop().map(|position| (subject, position)));
        }
    }

    pub(super) fn has_expired(&self, now: Timestamp) -> bool {
        let now = self.believed(now);
        self.kept
            .iter()
            .any(|(_, kept)| kept.entries.front().is_some_and(|oldest| self.is_over(oldest.at, now)))
    }

    pub(super) fn expire(&mut self, now: Timestamp, fallen: &mut Vec<(EventSubject, u64)>) {
        let now = self.believed(now);
        for subject in SUBJECTS {
            for _ in 0..EXPIRE_AT_ONCE {
                let oldest = self.kept.get(subject).entries.front();
                if !oldest.is_some_and(|oldest| self.is_over(oldest.at, now)) {
                    break;
                }
                fallen.extend(self.kept.get_mut(subject).pop().map(|position| (subject, position)));
            }
        }
    }

    /// The time by which ages are measured. A clock that is far ahead at one start would otherwise delete everything; after
    /// a long rest what is old falls out by and by, or at the next start.
    fn believed(&self, now: Timestamp) -> Timestamp {
        let Some(before) = self.before else { return now };
        let run = self.began.map_or(Millis(0), |began| now.since(began));
        now.min(before.plus(BELIEVED).plus(run))
    }

    fn is_over(&self, at: Timestamp, now: Timestamp) -> bool {
        now.since(at) >= self.retention.age
    }
}
