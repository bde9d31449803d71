use std::sync::{Condvar, Mutex};

use super::*;
use crate::batch::{Change, Table};
use crate::memory::{Fault, MemoryStore};
use crate::store::Row;

const ROWS: Table = Table::new("rows");

fn batch(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Batch {
    let mut batch = Batch::new();
    batch.put(ROWS, key, value);
    batch
}

/// Commits only when told, so that a test decides what queues up behind a slow disk.
#[derive(Debug, Default)]
struct Gated {
    rows: MemoryStore,
    permits: Mutex<u64>,
    changed: Condvar,
}

impl Gated {
    fn permit(&self, commits: u64) {
        *self.permits.lock().expect("not poisoned") += commits;
        self.changed.notify_all();
    }
}

impl Store for Gated {
    fn load(&self, table: Table) -> Result<Vec<Row>, StoreError> {
        self.rows.load(table)
    }

    fn scan(&self, table: Table, after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, StoreError> {
        self.rows.scan(table, after, limit)
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.rows.get(table, key)
    }

    fn commit(&self, batch: &Batch) -> Result<Version, StoreError> {
        let permits = self.permits.lock().expect("not poisoned");
        let mut permits = self.changed.wait_while(permits, |permits| *permits == 0).expect("not poisoned");
        *permits -= 1;
        self.rows.commit(batch)
    }

    fn version(&self) -> Result<Version, StoreError> {
        self.rows.version()
    }
}

#[tokio::test]
async fn what_queues_behind_a_slow_commit_becomes_one_transaction_in_order() {
    let store = Arc::new(Gated::default());
    let (writer, thread) = Writer::start(store.clone(), WriterLimits::default()).expect("started");
    let mut tickets = Vec::new();
    for number in 0..100_u8 {
        // All write the same key: the last in order must win.
        tickets.push(writer.try_enqueue(batch("key", [number])).expect("room"));
    }
    store.permit(100);
    let mut last = Version(0);
    for ticket in tickets {
        let version = ticket.await.expect("committed");
        assert!(version >= last, "versions follow the order of the queue");
        last = version;
    }
    assert_eq!(store.get(ROWS, b"key").expect("readable"), Some(vec![99]));
    let stats = writer.stats();
    assert_eq!(stats.batches, 100);
    assert!(stats.groups <= 3, "{stats:?}");
    drop(writer);
    thread.finished().await;
}

#[tokio::test]
async fn a_full_disk_is_told_to_every_waiter_and_later_commits_succeed() {
    let store = MemoryStore::new();
    let (writer, _thread) = Writer::start(Arc::new(store.clone()), WriterLimits::default()).expect("started");
    store.set_fault(Some(Fault::Full));
    let tickets: Vec<Ticket> =
        (0..50_u8).map(|number| writer.try_enqueue(batch([number], "x")).expect("room")).collect();
    for ticket in tickets {
        assert_eq!(ticket.await.expect_err("full").code(), "store/full");
    }
    store.set_fault(None);
    writer.commit(batch("after", "x")).await.expect("there is space again");
    assert_eq!(store.load(ROWS).expect("readable").len(), 1);
    assert!(writer.stats().failed_groups >= 1);
}

#[tokio::test]
async fn a_full_queue_says_busy_at_once_and_makes_patient_callers_wait() {
    let store = Arc::new(Gated::default());
    let limits = WriterLimits { queued_batches: 2, ..WriterLimits::default() };
    let (writer, _thread) = Writer::start(store.clone(), limits).expect("started");
    let mut accepted = Vec::new();
    let busy = loop {
        match writer.try_enqueue(batch("key", "value")) {
            Ok(ticket) => accepted.push(ticket),
            Err(error) => break error,
        }
        assert!(accepted.len() <= 3, "the thread holds one, the queue two");
    };
    assert_eq!(busy.code(), "store/busy");
    assert!(busy.is_retryable());
    let patient = tokio::spawn({
        let writer = writer.clone();
        async move { writer.commit(batch("patient", "value")).await }
    });
    store.permit(10);
    patient.await.expect("no panic").expect("committed");
    for ticket in accepted {
        ticket.await.expect("committed");
    }
}

#[tokio::test]
async fn one_invalid_batch_does_not_spoil_its_neighbours() {
    let store = MemoryStore::new();
    let (writer, _thread) = Writer::start(Arc::new(store), WriterLimits::default()).expect("started");
    let good = writer.try_enqueue(batch("good", "x")).expect("room");
    let bad = writer.try_enqueue(batch(vec![0; 5000], "x")).expect_err("refused at the door");
    assert_eq!(bad.code(), "store/invalid");
    good.await.expect("committed");
}

#[tokio::test]
async fn large_batches_never_make_a_group_too_large_together() {
    let store = Arc::new(Gated::default());
    let (writer, _thread) = Writer::start(store.clone(), WriterLimits::default()).expect("started");
    let large = |number: u8| {
        let value = vec![number; 15 << 20];
        (0..4_u8)
            .map(|part| Change::Put { table: ROWS, key: vec![number, part], value: value.clone() })
            .collect::<Batch>()
    };
    let mut tickets = vec![writer.try_enqueue(batch("first", "x")).expect("room")];
    for number in 0..3 {
        tickets.push(writer.try_enqueue(large(number)).expect("room"));
        tickets.push(writer.try_enqueue(batch([number], "small")).expect("room"));
    }
    store.permit(100);
    for ticket in tickets {
        ticket.await.expect("committed");
    }
    assert_eq!(store.load(ROWS).expect("readable").len(), 1 + 3 * 5);
}

#[tokio::test]
async fn a_batch_that_no_commit_takes_is_written_whole_and_in_its_place() {
    let store = MemoryStore::new();
    let (writer, _thread) = Writer::start(Arc::new(store.clone()), WriterLimits::default()).expect("started");
    let mut large: Batch = (0..5_u8)
        .map(|part| Change::Put { table: ROWS, key: vec![part], value: vec![part; 15 << 20] })
        .collect();
    large.put(ROWS, "last", "large");
    assert!(large.bytes() > MAX_BATCH_BYTES);
    // It fails half-way, and is ended before what comes after it.
    store.fail_commit_after(4, Fault::IoButApplied);
    let large = writer.try_enqueue(large).expect("room");
    let after = writer.try_enqueue(batch("last", "small")).expect("room");
    assert_eq!(large.await.expect_err("a fault").code(), "store/io");
    after.await.expect("committed");
    assert_eq!(store.get(ROWS, b"last").expect("readable").as_deref(), Some(b"small".as_slice()));
}

#[tokio::test]
async fn the_thread_ends_with_its_last_handle_after_writing_what_was_queued() {
    let store = MemoryStore::new();
    let (writer, thread) = Writer::start(Arc::new(store.clone()), WriterLimits::default()).expect("started");
    for number in 0..20_u8 {
        drop(writer.try_enqueue(batch([number], "x")).expect("room"));
    }
    drop(writer);
    thread.finished().await;
    assert_eq!(store.load(ROWS).expect("readable").len(), 20);
}
