//! The log of what happened: numbered, durable, bounded, followed by cursor.
//!
//! Entries are numbered by the driver as the core makes them, are committed in the same transaction as the changes they
//! tell of, and become readable only then. What is told of tasks, of nodes and of the pool are three logs with room of
//! their own ([`retention`]), so that none displaces another; their entries are numbered together, and are read together
//! or one by one. The oldest fall out of a log when it has too many or too large ones, or when they are old enough; a cursor into what is gone is
//! refused, never silently moved on. A log that was made anew has another incarnation.

mod entry;
mod retention;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};

use lode_api_types::EventSubject;
use lode_protocol::cursor::Cursor;
use lode_protocol::ids::TaskId;
use lode_protocol::units::Timestamp;
use lode_store::{Batch, Store, StoreError, Table};
use serde_json::Value;
use tokio::sync::watch;

use crate::core::effect::Occurrence;
pub use entry::Entry;
use entry::Kept;
pub use retention::Retention;
use retention::{BySubject, Places};

/// Entries by their number.
const EVENTS: Table = Table::new("events");
/// The log's incarnation, and what has fallen out.
const META: Table = Table::new("events_meta");
const INCARNATION: &[u8] = b"incarnation";

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

/// Which entries are read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// All, from where all three logs are whole.
    All,
    /// Of one of the three.
    About(EventSubject),
    /// Of one task; what nodes falsely claimed of it as far as the nodes' log has it.
    Task(TaskId),
}

#[derive(Debug)]
struct Shared {
    incarnation: u64,
    /// Number of the last entry.
    last: u64,
    logs: BySubject<Log>,
}

/// One of the three.
#[derive(Debug, Default)]
struct Log {
    /// Number of the last entry that fell out.
    dropped: u64,
    entries: VecDeque<Arc<Kept>>,
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
    places: Places,
}

/// Entries that are not durable yet, and what falls out.
#[derive(Clone, Debug, Default)]
pub struct Unpublished {
    entries: Vec<Arc<Kept>>,
    fallen: Vec<(EventSubject, u64)>,
}

impl Unpublished {
    /// Rows that it changes, about.
    pub(crate) fn len(&self) -> usize {
        self.entries.len().saturating_add(self.fallen.len())
    }

    /// Puts their rows into the batch that makes them durable: work for whoever writes, not for the owner of the core.
    pub fn write(&self, batch: &mut Batch) {
        for entry in &self.entries {
            if let Some(row) = entry.row() {
                batch.put(EVENTS, entry.position.to_be_bytes(), row);
            }
        }
        let mut dropped: BySubject<Option<u64>> = BySubject::default();
        for (subject, position) in &self.fallen {
            batch.delete(EVENTS, position.to_be_bytes());
            *dropped.get_mut(*subject) = Some(*position);
        }
        for (subject, position) in dropped.iter() {
            if let Some(position) = position {
                batch.put(META, retention::dropped_key(subject), position.to_be_bytes());
            }
        }
    }
}

/// Reads the log from the store, or begins one. `incarnation` is used for a new one: random, never 0. The batch, if there
/// is one, is to be committed before anything is recorded.
pub fn open(
    store: &dyn Store,
    retention: Retention,
    incarnation: u64,
) -> Result<(EventLog, EventWriter, Option<Batch>), StoreError> {
    let number = |key: &[u8]| -> Result<Option<u64>, StoreError> {
        Ok(store.get(META, key)?.and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes))
    };
    let known = number(INCARNATION)?;
    let mut batch = Batch::new();
    if known.is_none() {
        batch.put(META, INCARNATION, incarnation.to_be_bytes());
    }
    let mut entries = Vec::new();
    for (key, value) in store.load(EVENTS)? {
        let position = key.try_into().ok().map(u64::from_be_bytes);
        match (position, serde_json::from_slice::<Value>(&value)) {
            (Some(position), Ok(body)) => entries.push(Kept::stored(position, body, value.len() as u64)),
            // One bad row costs one entry, not the log.
            (position, _) => tracing::warn!(?position, "an entry of the event log cannot be read; skipped"),
        }
    }
    // What fell out before the three logs had room of their own fell out of all of them. That is noted at once: later the
    // oldest entry there is says nothing of a log that lost none.
    let first = entries.first().map_or(1, |entry| entry.position);
    let mut logs: BySubject<Log> = BySubject::default();
    for subject in retention::SUBJECTS {
        let key = retention::dropped_key(subject);
        let noted = number(key)?;
        let dropped = noted.unwrap_or(first.saturating_sub(1));
        if noted.is_none() {
            batch.put(META, key, dropped.to_be_bytes());
        }
        logs.get_mut(subject).dropped = dropped;
    }
    let fresh = (!batch.is_empty()).then_some(batch);
    let mut places = Places::new(retention);
    for entry in entries {
        places.load(entry.subject, entry.placed());
        logs.get_mut(entry.subject).entries.push_back(Arc::new(entry));
    }
    let ends = |(_, log): (EventSubject, &Log)| {
        log.entries.back().map_or(log.dropped, |entry| entry.position.max(log.dropped))
    };
    let last = logs.iter().map(ends).max().unwrap_or(0);
    let (sender, latest) = watch::channel(last);
    let shared = Arc::new(RwLock::new(Shared { incarnation: known.unwrap_or(incarnation), last, logs }));
    let writer =
        EventWriter { shared: Arc::clone(&shared), latest: sender, next: last.saturating_add(1), places };
    Ok((EventLog { shared, latest }, writer, fresh))
}

impl EventWriter {
    /// Numbers occurrences. They are durable with the batch that [`Unpublished::write`] puts them into.
    pub fn record(&mut self, occurrences: Vec<Occurrence>, unpublished: &mut Unpublished) {
        for occurrence in occurrences {
            let position = self.next;
            self.next = self.next.saturating_add(1);
            let entry = Kept::happened(position, occurrence);
            self.places.add(entry.subject, entry.placed());
            self.places.make_room(entry.subject, &mut unpublished.fallen);
            unpublished.entries.push(Arc::new(entry));
        }
    }

    /// Whether entries are old enough to fall out.
    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.places.has_expired(now)
    }

    /// Lets what is old enough fall out, some of it at a time.
    pub fn expire(&mut self, now: Timestamp, unpublished: &mut Unpublished) {
        self.places.expire(now, &mut unpublished.fallen);
    }

    /// Makes entries readable: after their commit.
    pub fn publish(&self, unpublished: Unpublished) {
        let Unpublished { entries, fallen } = unpublished;
        let last = entries.last().map(|entry| entry.position);
        {
            let mut shared = self.shared.write().unwrap_or_else(PoisonError::into_inner);
            for entry in entries {
                shared.logs.get_mut(entry.subject).entries.push_back(entry);
            }
            for (subject, position) in fallen {
                let log = shared.logs.get_mut(subject);
                log.dropped = log.dropped.max(position);
                while log.entries.front().is_some_and(|entry| entry.position <= position) {
                    log.entries.pop_front();
                }
            }
            shared.last = last.unwrap_or(shared.last);
        }
        if let Some(last) = last {
            self.latest.send_replace(last);
        }
    }
}

impl EventLog {
    /// Where the log ends now: what comes after is new.
    pub fn end(&self) -> Cursor {
        let shared = self.shared.read().unwrap_or_else(PoisonError::into_inner);
        Cursor { incarnation: shared.incarnation, position: shared.last }
    }

    /// Entries after a cursor (`None`: from the oldest).
    pub fn after(&self, cursor: Option<Cursor>, scope: Scope, limit: usize) -> Result<Page, CursorGone> {
        let (kept, next) = self.kept_after(cursor, scope, limit)?;
        // Outside of the lock, which the driver waits for.
        Ok(Page { entries: kept.iter().map(|entry| entry.shown()).collect(), next })
    }

    fn kept_after(
        &self,
        cursor: Option<Cursor>,
        scope: Scope,
        limit: usize,
    ) -> Result<(Vec<Arc<Kept>>, Cursor), CursorGone> {
        let shared = self.shared.read().unwrap_or_else(PoisonError::into_inner);
        let at = |position: u64| Cursor { incarnation: shared.incarnation, position };
        let oldest = at(shared.begins(scope));
        let from = cursor.unwrap_or(oldest);
        if from.incarnation != shared.incarnation
            || from.position < oldest.position
            || from.position > shared.last
        {
            return Err(CursorGone { oldest });
        }
        let mut entries = shared.some_after(from.position, scope, limit.saturating_add(1));
        entries.sort_unstable_by_key(|entry| entry.position);
        let more = entries.len() > limit;
        entries.truncate(limit);
        let ends =
            if more { entries.last().map_or(from.position, |entry| entry.position) } else { shared.last };
        Ok((entries, at(ends)))
    }

    /// Tells when something new is readable.
    pub fn news(&self) -> watch::Receiver<u64> {
        self.latest.clone()
    }
}

impl Shared {
    /// The position after which nothing that is read so has fallen out.
    fn begins(&self, scope: Scope) -> u64 {
        match scope {
            Scope::All => self.logs.iter().map(|(_, log)| log.dropped).max().unwrap_or(0),
            Scope::About(subject) => self.logs.get(subject).dropped,
            Scope::Task(_) => self.logs.get(EventSubject::Tasks).dropped,
        }
    }

    /// At least the first entries that are read so, from each log as many.
    fn some_after(&self, position: u64, scope: Scope, most: usize) -> Vec<Arc<Kept>> {
        let wanted = |entry: &&Arc<Kept>| match scope {
            Scope::All => true,
            Scope::About(subject) => entry.subject == subject,
            Scope::Task(task) => entry.task == Some(task),
        };
        let of = |(_, log): (EventSubject, &Log)| -> Vec<Arc<Kept>> {
            let start = log.entries.partition_point(|entry| entry.position <= position);
            log.entries.range(start..).filter(wanted).take(most).cloned().collect()
        };
        self.logs.iter().flat_map(of).collect()
    }
}
