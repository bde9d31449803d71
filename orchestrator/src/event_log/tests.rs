use lode_protocol::ids::NodeId;
use lode_protocol::units::Millis;
use lode_store::MemoryStore;

use super::*;
use crate::core::effect::OccurrenceKind;
use crate::core::view::NodeState;

const YEAR: Millis = Millis::seconds(365 * 24 * 3_600);

fn keeping(most: usize) -> Retention {
    let bytes = u64::MAX;
    Retention {
        tasks: most,
        nodes: most,
        pool: most,
        task_bytes: bytes,
        node_bytes: bytes,
        pool_bytes: bytes,
        age: YEAR,
    }
}

fn started(epoch: u64) -> Occurrence {
    Occurrence { at: Timestamp(epoch), kind: OccurrenceKind::Started { epoch } }
}

fn deleted(at: u64) -> Occurrence {
    Occurrence { at: Timestamp(at), kind: OccurrenceKind::TaskDeleted { task: TaskId::default() } }
}

fn node_moved(at: u64) -> Occurrence {
    let kind = OccurrenceKind::Node {
        node: NodeId::default(),
        from: None,
        to: NodeState::Alive,
        message: String::new(),
    };
    Occurrence { at: Timestamp(at), kind }
}

fn commit(writer: &EventWriter, store: &MemoryStore, unpublished: Unpublished) {
    let mut batch = Batch::new();
    unpublished.write(&mut batch);
    store.commit(&batch).unwrap();
    writer.publish(unpublished);
}

fn append(writer: &mut EventWriter, store: &MemoryStore, happened: impl IntoIterator<Item = Occurrence>) {
    let mut unpublished = Unpublished::default();
    writer.record(happened.into_iter().collect(), &mut unpublished);
    commit(writer, store, unpublished);
}

fn epochs(page: &Page) -> Vec<u64> {
    page.entries.iter().map(|entry| entry.body["epoch"].as_u64().unwrap()).collect()
}

fn all(log: &EventLog, cursor: Option<Cursor>, limit: usize) -> Result<Page, CursorGone> {
    log.after(cursor, Scope::All, limit)
}

#[test]
fn a_follower_reads_everything_once_across_a_restart() {
    let store = MemoryStore::new();
    let (log, mut writer, fresh) = open(&store, keeping(100), 7).unwrap();
    store.commit(&fresh.unwrap()).unwrap();
    append(&mut writer, &store, (0..3).map(started));
    let page = all(&log, None, 2).unwrap();
    assert_eq!(epochs(&page), [0, 1]);
    let (log, mut writer, fresh) = open(&store, keeping(100), 8).unwrap();
    assert!(fresh.is_none());
    append(&mut writer, &store, (3..4).map(started));
    let rest = all(&log, Some(page.next), 10).unwrap();
    assert_eq!(epochs(&rest), [2, 3]);
    assert_eq!(rest.next, log.end());
    assert!(all(&log, Some(rest.next), 10).unwrap().entries.is_empty());
}

#[test]
fn a_cursor_into_what_is_gone_or_of_another_log_is_refused() {
    let store = MemoryStore::new();
    let (log, mut writer, _) = open(&store, keeping(2), 7).unwrap();
    let start = log.end();
    append(&mut writer, &store, (0..5).map(started));
    assert!(all(&log, Some(start), 10).is_err());
    assert_eq!(epochs(&all(&log, None, 10).unwrap()), [3, 4]);
    assert_eq!(store.load(EVENTS).unwrap().len(), 2, "the store keeps no more than the log");
    let foreign = Cursor { incarnation: 9, position: 4 };
    assert!(all(&log, Some(foreign), 10).is_err());
}

#[test]
fn what_is_not_committed_cannot_be_read() {
    let store = MemoryStore::new();
    let (log, mut writer, _) = open(&store, keeping(10), 7).unwrap();
    let mut unpublished = Unpublished::default();
    writer.record(vec![started(1)], &mut unpublished);
    assert!(all(&log, None, 10).unwrap().entries.is_empty());
    writer.publish(unpublished);
    assert_eq!(all(&log, None, 10).unwrap().entries.len(), 1);
}

#[test]
fn any_number_of_entries_about_nodes_displaces_none_about_tasks_and_the_other_way_round() {
    let store = MemoryStore::new();
    let (log, mut writer, fresh) = open(&store, Retention { nodes: 3, ..keeping(10) }, 7).unwrap();
    store.commit(&fresh.unwrap()).unwrap();
    append(&mut writer, &store, [started(1), deleted(1), deleted(2)]);
    append(&mut writer, &store, (0..1_000).map(node_moved));
    let count = |log: &EventLog, scope| log.after(None, scope, 10_000).unwrap().entries.len();
    let task = Scope::Task(TaskId::default());
    for reopened in [false, true] {
        let log = if reopened { open(&store, keeping(10), 8).unwrap().0 } else { log.clone() };
        assert_eq!(count(&log, Scope::About(EventSubject::Tasks)), 2);
        assert_eq!(count(&log, task), 2);
        assert_eq!(count(&log, Scope::About(EventSubject::Pool)), 1);
        assert_eq!(count(&log, Scope::About(EventSubject::Nodes)), 3);
        assert_eq!(count(&log, Scope::All), 3, "all together from where all are whole");
        assert_eq!(log.end().position, 1_003);
    }
    assert_eq!(store.load(EVENTS).unwrap().len(), 6);
    append(&mut writer, &store, (0..1_000).map(deleted));
    assert_eq!(count(&log, Scope::About(EventSubject::Nodes)), 3);
    assert_eq!(count(&log, task), 10);
}

#[test]
fn a_cursor_is_gone_where_something_is_missing_that_it_would_have_shown_and_only_there() {
    let store = MemoryStore::new();
    let (log, mut writer, _) = open(&store, Retention { nodes: 2, ..keeping(100) }, 7).unwrap();
    append(&mut writer, &store, [deleted(1)]);
    let cursor = Some(log.end());
    append(&mut writer, &store, [deleted(2), node_moved(3), node_moved(4), node_moved(5), deleted(6)]);
    let tasks = log.after(cursor, Scope::About(EventSubject::Tasks), 10).unwrap();
    assert_eq!(tasks.entries.iter().map(|entry| entry.position).collect::<Vec<_>>(), [2, 6]);
    assert!(log.after(cursor, Scope::About(EventSubject::Nodes), 10).is_err());
    let gone = all(&log, cursor, 10).unwrap_err();
    // From the oldest cursor on there is everything, page by page.
    let mut next = gone.oldest;
    let mut seen = Vec::new();
    loop {
        let page = all(&log, Some(next), 1).unwrap();
        next = page.next;
        if page.entries.is_empty() {
            break;
        }
        seen.extend(page.entries.iter().map(|entry| entry.position));
    }
    assert_eq!(seen, [4, 5, 6]);
}

#[test]
fn what_is_old_enough_falls_out_and_its_numbers_are_not_used_again() {
    let store = MemoryStore::new();
    let age = Millis::seconds(60);
    let retention = Retention { age, ..keeping(100) };
    let (log, mut writer, fresh) = open(&store, retention, 7).unwrap();
    store.commit(&fresh.unwrap()).unwrap();
    append(&mut writer, &store, [deleted(1_000), node_moved(2_000), deleted(30_000)]);
    assert!(!writer.has_expired(Timestamp(60_999)));
    assert!(writer.has_expired(Timestamp(61_000)));
    let mut unpublished = Unpublished::default();
    writer.expire(Timestamp(62_000), &mut unpublished);
    assert_eq!(unpublished.len(), 2);
    commit(&writer, &store, unpublished);
    let left = all(&log, None, 10).unwrap();
    assert_eq!(left.entries.iter().map(|entry| entry.position).collect::<Vec<_>>(), [3]);
    let mut unpublished = Unpublished::default();
    writer.expire(Timestamp(u64::MAX), &mut unpublished);
    commit(&writer, &store, unpublished);
    let (log, mut writer, _) = open(&store, retention, 8).unwrap();
    assert_eq!(log.end().position, 3, "an empty log goes on where it was");
    append(&mut writer, &store, [deleted(1)]);
    assert_eq!(all(&log, Some(left.next), 10).unwrap().entries[0].position, 4);
}

#[test]
fn smaller_settings_are_reached_little_by_little() {
    let store = MemoryStore::new();
    let (_, mut writer, fresh) = open(&store, keeping(200), 7).unwrap();
    store.commit(&fresh.unwrap()).unwrap();
    append(&mut writer, &store, (0..200).map(deleted));
    let (log, mut writer, _) = open(&store, keeping(10), 8).unwrap();
    append(&mut writer, &store, [deleted(1)]);
    assert_eq!(all(&log, None, 1_000).unwrap().entries.len(), 185);
    append(&mut writer, &store, (0..20).map(deleted));
    assert_eq!(all(&log, None, 1_000).unwrap().entries.len(), 10);
}

#[test]
fn a_log_that_lost_nothing_refuses_no_cursor_after_a_restart() {
    let store = MemoryStore::new();
    let retention = Retention { nodes: 2, ..keeping(100) };
    let (log, mut writer, fresh) = open(&store, retention, 7).unwrap();
    store.commit(&fresh.unwrap()).unwrap();
    let start = Some(log.end());
    append(&mut writer, &store, (0..10).map(node_moved));
    append(&mut writer, &store, [deleted(11)]);
    let (reopened, _, fresh) = open(&store, retention, 8).unwrap();
    assert!(fresh.is_none());
    for log in [log, reopened] {
        let tasks = log.after(start, Scope::About(EventSubject::Tasks), 10).unwrap();
        assert_eq!(tasks.entries.len(), 1);
        assert!(log.after(start, Scope::About(EventSubject::Pool), 10).is_ok());
        assert!(log.after(start, Scope::About(EventSubject::Nodes), 10).is_err());
    }
}

#[test]
fn one_start_with_a_clock_far_ahead_deletes_nothing() {
    const DAY: u64 = 24 * 3_600 * 1_000;
    let store = MemoryStore::new();
    let retention = Retention { age: Millis(30 * DAY), ..keeping(100) };
    let (_, mut writer, fresh) = open(&store, retention, 7).unwrap();
    store.commit(&fresh.unwrap()).unwrap();
    append(&mut writer, &store, [deleted(1_000), node_moved(2_000)]);
    let (log, mut writer, _) = open(&store, retention, 8).unwrap();
    let far = 3_650 * DAY;
    append(&mut writer, &store, [started(far)]);
    for days in [0, 1, 28] {
        assert!(!writer.has_expired(Timestamp(far + days * DAY)), "after {days} days");
    }
    let mut unpublished = Unpublished::default();
    writer.expire(Timestamp(far), &mut unpublished);
    assert_eq!(unpublished.len(), 0);
    // Time that passes while it runs counts as it always does.
    assert!(writer.has_expired(Timestamp(far + 31 * DAY)));
    assert_eq!(all(&log, None, 10).unwrap().entries.len(), 3);
}

#[test]
fn entries_fall_out_of_a_log_when_they_are_too_many_bytes_and_the_newest_stays_however_large_it_is() {
    let store = MemoryStore::new();
    let (log, mut writer, fresh) =
        open(&store, Retention { node_bytes: 40_000, ..keeping(1_000_000) }, 7).unwrap();
    store.commit(&fresh.unwrap()).unwrap();
    let said = |at: u64, length: usize| Occurrence {
        at: Timestamp(at),
        kind: OccurrenceKind::Node {
            node: NodeId::default(),
            from: None,
            to: NodeState::Alive,
            message: "x".repeat(length),
        },
    };
    append(&mut writer, &store, (1..=200).map(deleted));
    append(&mut writer, &store, (1..=1_000).map(|at| said(at, 1_024)));
    let sizes = |store: &MemoryStore| -> usize {
        let rows = store.load(EVENTS).unwrap();
        rows.iter().map(|(_, row)| row.len()).filter(|size| *size > 1_000).sum()
    };
    let count = |log: &EventLog, scope| log.after(None, scope, 100_000).unwrap().entries.len();
    let kept = count(&log, Scope::About(EventSubject::Nodes));
    assert!((28..=33).contains(&kept), "{kept}");
    assert!(sizes(&store) <= 40_000, "the store keeps no more than the log");
    assert_eq!(count(&log, Scope::About(EventSubject::Tasks)), 200, "room of its own");
    append(&mut writer, &store, [said(1_001, 60_000), said(1_002, 60_000), said(1_003, 60_000)]);
    assert_eq!(count(&log, Scope::About(EventSubject::Nodes)), 1);
    let (log, mut writer, _) = open(&store, Retention { task_bytes: 1, ..keeping(1_000_000) }, 8).unwrap();
    append(&mut writer, &store, (1..=20).map(deleted));
    assert_eq!(
        count(&log, Scope::About(EventSubject::Tasks)),
        1,
        "smaller settings are in force after some new entries"
    );
}
