//! The log of what happened: numbered, durable, bounded, followed by cursor.
//!
//! Entries are numbered by the driver as the core makes them, are committed in the same transaction as the changes they
//! tell of, and become readable only then. The oldest fall out when the log is full; a cursor into what is gone is
//! refused, never silently moved on. A log that was made anew has another incarnation.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};

use lode_protocol::cursor::Cursor;
use lode_protocol::ids::TaskId;
use lode_store::{Batch, Store, StoreError, Table};
use serde_json::Value;
use tokio::sync::watch;

use crate::core::effect::{Occurrence, OccurrenceKind};

/// Entries by their number.
const EVENTS: Table = Table::new("events");
/// The log's incarnation.
const META: Table = Table::new("events_meta");
const INCARNATION: &[u8] = b"incarnation";

/// One thing that happened.
#[derive(Clone, PartialEq, Debug)]
pub struct Entry {
    /// Its number.
    pub position: u64,
    /// The task it concerns, if one.
    pub task: Option<TaskId>,
    /// Its JSON form: an object with `at` and `type`.
    pub body: Value,
}

/// A cursor that this log cannot go on from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the log begins at {oldest}; what stands between the given cursor and there is gone")]
pub struct CursorGone {
    /// The oldest cursor that can be used.
    pub oldest: Cursor,
}

/// A page of the log.
#[derive(Clone, PartialEq, Debug)]
pub struct Page {
    /// Entries, oldest first.
    pub entries: Vec<Entry>,
    /// Where to go on.
    pub next: Cursor,
}

#[derive(Debug)]
struct Shared {
    incarnation: u64,
    /// Number of the last entry that fell out.
    dropped: u64,
    entries: VecDeque<Arc<Entry>>,
}

/// Reads the log. Clones are the same log.
#[derive(Clone, Debug)]
pub struct EventLog {
    shared: Arc<RwLock<Shared>>,
    latest: watch::Receiver<u64>,
}

/// Writes the log; the driver has the only one.
#[derive(Debug)]
pub struct EventWriter {
    shared: Arc<RwLock<Shared>>,
    latest: watch::Sender<u64>,
    next: u64,
    oldest: u64,
    capacity: u64,
}

/// Entries that are not durable yet.
#[derive(Debug, Default)]
pub struct Unpublished(Vec<Arc<Entry>>);

/// Reads the log from the store, or begins one. `incarnation` is used for a new one: random, never 0.
pub fn open(
    store: &dyn Store,
    capacity: usize,
    incarnation: u64,
) -> Result<(EventLog, EventWriter, Option<Batch>), StoreError> {
    let known = store.get(META, INCARNATION)?.and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes);
    let fresh = known.is_none().then(|| {
        let mut batch = Batch::new();
        batch.put(META, INCARNATION, incarnation.to_be_bytes());
        batch
    });
    let mut entries = VecDeque::new();
    for (key, value) in store.load(EVENTS)? {
        let position = key.try_into().ok().map(u64::from_be_bytes);
        match (position, serde_json::from_slice::<Value>(&value)) {
            (Some(position), Ok(body)) => {
                entries.push_back(Arc::new(Entry { position, task: task_of(&body), body }));
            }
            // One bad row costs one entry, not the log.
            (position, _) => tracing::warn!(?position, "an entry of the event log cannot be read; skipped"),
        }
    }
    let last = entries.back().map_or(0, |entry| entry.position);
    let first = entries.front().map_or(1, |entry| entry.position);
    let (sender, latest) = watch::channel(last);
    let shared = Arc::new(RwLock::new(Shared {
        incarnation: known.unwrap_or(incarnation),
        dropped: first.saturating_sub(1),
        entries,
    }));
    let writer = EventWriter {
        shared: Arc::clone(&shared),
        latest: sender,
        next: last.saturating_add(1),
        oldest: first,
        capacity: u64::try_from(capacity.max(1)).unwrap_or(u64::MAX),
    };
    Ok((EventLog { shared, latest }, writer, fresh))
}

/// The task an entry's body names, by its `task` or `assignment` field.
fn task_of(body: &Value) -> Option<TaskId> {
    let text = |field: &str| body.get(field).and_then(Value::as_str);
    let task = text("task").or_else(|| text("assignment").and_then(|id| id.split('.').next()))?;
    task.parse().ok()
}

impl EventWriter {
    /// Numbers occurrences and puts them into the batch that makes them durable.
    pub fn record(&mut self, occurrences: &[Occurrence], batch: &mut Batch, unpublished: &mut Unpublished) {
        for occurrence in occurrences {
            let body = match serde_json::to_value(occurrence) {
                Ok(body) => body,
                Err(error) => {
                    tracing::error!(%error, "an occurrence has no JSON form; it is not logged");
                    continue;
                }
            };
            let position = self.next;
            self.next = self.next.saturating_add(1);
            batch.put(EVENTS, position.to_be_bytes(), body.to_string().into_bytes());
            if position.saturating_sub(self.oldest) >= self.capacity {
                batch.delete(EVENTS, self.oldest.to_be_bytes());
                self.oldest = self.oldest.saturating_add(1);
            }
            unpublished.0.push(Arc::new(Entry { position, task: task_in(&occurrence.kind), body }));
        }
    }

    /// Makes entries readable: after their commit.
    pub fn publish(&self, unpublished: Unpublished) {
        let Some(last) = unpublished.0.last().map(|entry| entry.position) else { return };
        {
            let mut shared = self.shared.write().unwrap_or_else(PoisonError::into_inner);
            shared.entries.extend(unpublished.0);
            while shared.entries.front().is_some_and(|entry| entry.position < self.oldest) {
                shared.dropped = shared.entries.pop_front().map_or(shared.dropped, |entry| entry.position);
            }
        }
        self.latest.send_replace(last);
    }
}

fn task_in(kind: &OccurrenceKind) -> Option<TaskId> {
    match kind {
        OccurrenceKind::Task { task, .. }
        | OccurrenceKind::ImagePinned { task, .. }
        | OccurrenceKind::ImageUnpinned { task, .. }
        | OccurrenceKind::TaskDeleted { task }
        | OccurrenceKind::TaskBudgetExhausted { task, .. } => Some(*task),
        OccurrenceKind::Assignment { assignment, .. } | OccurrenceKind::ReportRefused { assignment, .. } => {
            Some(assignment.replica.task)
        }
        OccurrenceKind::Started { .. }
        | OccurrenceKind::Node { .. }
        | OccurrenceKind::EpochClosed { .. }
        | OccurrenceKind::RootSubmitted { .. } => None,
    }
}

impl EventLog {
    /// Where the log ends now: what comes after is new.
    pub fn end(&self) -> Cursor {
        let shared = self.shared.read().unwrap_or_else(PoisonError::into_inner);
        let position = shared.entries.back().map_or(shared.dropped, |entry| entry.position);
        Cursor { incarnation: shared.incarnation, position }
    }

    /// Entries after a cursor (`None`: from the oldest), of one task or of all.
    pub fn after(
        &self,
        cursor: Option<Cursor>,
        task: Option<TaskId>,
        limit: usize,
    ) -> Result<Page, CursorGone> {
        let shared = self.shared.read().unwrap_or_else(PoisonError::into_inner);
        let oldest = Cursor { incarnation: shared.incarnation, position: shared.dropped };
        let from = cursor.unwrap_or(oldest);
        let last = shared.entries.back().map_or(shared.dropped, |entry| entry.position);
        if from.incarnation != shared.incarnation || from.position < shared.dropped || from.position > last {
            return Err(CursorGone { oldest });
        }
        let start = shared.entries.partition_point(|entry| entry.position <= from.position);
        let mut entries = Vec::new();
        let mut position = last;
        for entry in shared.entries.range(start..) {
            if task.is_some() && entry.task != task {
                continue;
            }
            if entries.len() >= limit {
                position = entries.last().map_or(from.position, |entry: &Entry| entry.position);
                break;
            }
            entries.push(Entry::clone(entry));
        }
        Ok(Page { entries, next: Cursor { incarnation: shared.incarnation, position } })
    }

    /// Tells when something new is readable.
    pub fn news(&self) -> watch::Receiver<u64> {
        self.latest.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lode_protocol::units::Timestamp;
    use lode_store::MemoryStore;

    fn started(epoch: u64) -> Occurrence {
        Occurrence { at: Timestamp(epoch), kind: OccurrenceKind::Started { epoch } }
    }

    fn append(writer: &mut EventWriter, store: &MemoryStore, epochs: std::ops::Range<u64>) {
        let (mut batch, mut unpublished) = (Batch::new(), Unpublished::default());
        writer.record(&epochs.map(started).collect::<Vec<_>>(), &mut batch, &mut unpublished);
        store.commit(&batch).unwrap();
        writer.publish(unpublished);
    }

    fn epochs(page: &Page) -> Vec<u64> {
        page.entries.iter().map(|entry| entry.body["epoch"].as_u64().unwrap()).collect()
    }

    #[test]
    fn a_follower_reads_everything_once_across_a_restart() {
        let store = MemoryStore::new();
        let (log, mut writer, fresh) = open(&store, 100, 7).unwrap();
        store.commit(&fresh.unwrap()).unwrap();
        append(&mut writer, &store, 0..3);
        let page = log.after(None, None, 2).unwrap();
        assert_eq!(epochs(&page), [0, 1]);
        let (log, mut writer, fresh) = open(&store, 100, 8).unwrap();
        assert!(fresh.is_none());
        append(&mut writer, &store, 3..4);
        let rest = log.after(Some(page.next), None, 10).unwrap();
        assert_eq!(epochs(&rest), [2, 3]);
        assert_eq!(rest.next, log.end());
        assert!(log.after(Some(rest.next), None, 10).unwrap().entries.is_empty());
    }

    #[test]
    fn a_cursor_into_what_is_gone_or_of_another_log_is_refused() {
        let store = MemoryStore::new();
        let (log, mut writer, _) = open(&store, 2, 7).unwrap();
        let start = log.end();
        append(&mut writer, &store, 0..5);
        assert!(log.after(Some(start), None, 10).is_err());
        assert_eq!(epochs(&log.after(None, None, 10).unwrap()), [3, 4]);
        assert_eq!(store.load(EVENTS).unwrap().len(), 2, "the store keeps no more than the log");
        let foreign = Cursor { incarnation: 9, position: 4 };
        assert!(log.after(Some(foreign), None, 10).is_err());
    }

    #[test]
    fn what_is_not_committed_cannot_be_read() {
        let store = MemoryStore::new();
        let (log, mut writer, _) = open(&store, 10, 7).unwrap();
        let (mut batch, mut unpublished) = (Batch::new(), Unpublished::default());
        writer.record(&[started(1)], &mut batch, &mut unpublished);
        assert!(log.after(None, None, 10).unwrap().entries.is_empty());
        writer.publish(unpublished);
        assert_eq!(log.after(None, None, 10).unwrap().entries.len(), 1);
    }
}
