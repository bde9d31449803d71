//! The checks.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Subject;
use super::random::{Random, random_batch};
use crate::batch::{Batch, Change, MAX_KEY_BYTES, MAX_VALUE_BYTES, Table};
use crate::error::StoreError;
use crate::store::{Row, Store};
use crate::version::Version;

const NODES: Table = Table::new("nodes");
const TASKS: Table = Table::new("tasks");
const TABLES: [Table; 2] = [NODES, TASKS];

pub(super) const ALL: [fn(&mut dyn Subject); 9] = [
    a_new_store_is_empty_and_at_version_zero,
    rows_come_back_in_the_order_of_their_keys,
    tables_are_apart,
    the_last_change_of_a_key_in_a_batch_wins,
    an_empty_batch_changes_nothing,
    every_commit_raises_the_version_by_one_also_across_restarts,
    an_invalid_batch_is_refused_as_a_whole,
    keys_and_values_are_any_bytes_up_to_their_limits,
    scans_page_through_a_table,
];

fn row(key: &[u8], value: &[u8]) -> Row {
    (key.to_vec(), value.to_vec())
}

fn load(store: &Arc<dyn Store>, table: Table) -> Vec<Row> {
    store.load(table).expect("a readable store loads")
}

fn commit(store: &Arc<dyn Store>, batch: &Batch) -> Version {
    store.commit(batch).expect("a healthy store commits")
}

fn version(store: &Arc<dyn Store>) -> Version {
    store.version().expect("a readable store knows its version")
}

fn a_new_store_is_empty_and_at_version_zero(subject: &mut dyn Subject) {
    let store = subject.open();
    assert_eq!(load(&store, NODES), []);
    assert_eq!(store.get(NODES, b"a").expect("readable"), None);
    assert_eq!(version(&store), Version(0));
}

fn rows_come_back_in_the_order_of_their_keys(subject: &mut dyn Subject) {
    let store = subject.open();
    let mut batch = Batch::new();
    batch.put(NODES, "b", "2").put(NODES, "a", "1").put(NODES, "c", "3");
    commit(&store, &batch);
    assert_eq!(load(&store, NODES), [row(b"a", b"1"), row(b"b", b"2"), row(b"c", b"3")]);
    assert_eq!(store.get(NODES, b"b").expect("readable").as_deref(), Some(b"2".as_slice()));
}

fn tables_are_apart(subject: &mut dyn Subject) {
    let store = subject.open();
    let mut batch = Batch::new();
    batch.put(NODES, "same", "node").put(TASKS, "same", "task").put(NODES, "other", "node");
    commit(&store, &batch);
    let mut batch = Batch::new();
    batch.delete(NODES, "same");
    commit(&store, &batch);
    assert_eq!(load(&store, NODES), [row(b"other", b"node")]);
    assert_eq!(load(&store, TASKS), [row(b"same", b"task")]);
}

fn the_last_change_of_a_key_in_a_batch_wins(subject: &mut dyn Subject) {
    let store = subject.open();
    let mut batch = Batch::new();
    batch.put(NODES, "a", "1").put(TASKS, "x", "1").put(NODES, "a", "2").delete(TASKS, "x");
    batch.delete(NODES, "b").put(NODES, "b", "3").put(NODES, "c", "4").delete(NODES, "c");
    commit(&store, &batch);
    assert_eq!(load(&store, NODES), [row(b"a", b"2"), row(b"b", b"3")]);
    assert_eq!(load(&store, TASKS), []);
}

fn an_empty_batch_changes_nothing(subject: &mut dyn Subject) {
    let store = subject.open();
    let mut batch = Batch::new();
    batch.put(NODES, "a", "1");
    let before = commit(&store, &batch);
    assert_eq!(commit(&store, &Batch::new()), before);
    assert_eq!(version(&store), before);
}

fn every_commit_raises_the_version_by_one_also_across_restarts(subject: &mut dyn Subject) {
    let mut expected = Version(0);
    for restart in 0..4 {
        let store = subject.open();
        assert_eq!(version(&store), expected, "the version survives restart {restart}");
        for number in 0..3_u8 {
            let mut batch = Batch::new();
            batch.put(NODES, [number], [restart]).delete(TASKS, "absent");
            expected = expected.next();
            assert_eq!(commit(&store, &batch), expected);
        }
        store.require_at_least(expected).expect("it is as seen");
        let ahead = store.require_at_least(expected.next()).expect_err("nobody has seen that");
        assert_eq!(ahead.code(), "store/went-back");
        drop(store);
        if restart % 2 == 0 {
            subject.crash();
        }
    }
}

fn an_invalid_batch_is_refused_as_a_whole(subject: &mut dyn Subject) {
    let store = subject.open();
    let bad = [
        Change::Put { table: NODES, key: vec![0; MAX_KEY_BYTES + 1], value: Vec::new() },
        Change::Delete { table: NODES, key: vec![0; MAX_KEY_BYTES + 1] },
        Change::Put { table: NODES, key: vec![0], value: vec![0; MAX_VALUE_BYTES + 1] },
    ];
    for change in bad {
        let mut batch = Batch::new();
        batch.put(NODES, "good", "1").push(change);
        assert!(matches!(store.commit(&batch), Err(StoreError::Invalid(_))));
        assert_eq!(load(&store, NODES), []);
        assert_eq!(version(&store), Version(0));
    }
    let mut batch = Batch::new();
    batch.put(NODES, "good", "1");
    assert_eq!(commit(&store, &batch), Version(1), "a refusal leaves the store usable");
}

fn keys_and_values_are_any_bytes_up_to_their_limits(subject: &mut dyn Subject) {
    let store = subject.open();
    let rows = [
        row(b"", b"the empty key is a key"),
        row(&[0], b""),
        row(&[0, 0xff, 0], &[0xff; 3]),
        row(&[0xfe; MAX_KEY_BYTES], &vec![7; MAX_VALUE_BYTES]),
    ];
    let batch: Batch = rows
        .iter()
        .map(|(key, value)| Change::Put { table: NODES, key: key.clone(), value: value.clone() })
        .collect();
    commit(&store, &batch);
    drop(store);
    subject.crash();
    let store = subject.open();
    assert!(load(&store, NODES) == rows, "rows of any bytes come back as they were");
}

fn scans_page_through_a_table(subject: &mut dyn Subject) {
    let store = subject.open();
    let batch: Batch = (0..25_u8)
        .map(|number| Change::Put { table: NODES, key: vec![number, 0], value: vec![number] })
        .collect();
    commit(&store, &batch);
    let mut seen = Vec::new();
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = store.scan(NODES, after.as_deref(), 10).expect("readable");
        assert!(page.len() <= 10);
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        seen.extend(page);
    }
    assert_eq!(seen, load(&store, NODES));
    assert_eq!(seen.len(), 25);
    assert_eq!(
        store.scan(NODES, Some(&[3]), 1).expect("readable"),
        [row(&[3, 0], &[3])],
        "`after` need not exist"
    );
    assert_eq!(store.scan(TASKS, None, 10).expect("readable"), []);
}

/// The model: what must be there.
type Model = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

fn apply(model: &mut Model, batch: &Batch) {
    for change in batch.changes() {
        match change {
            Change::Put { table, key, value } => model.insert((*table, key.clone()), value.clone()),
            Change::Delete { table, key } => model.remove(&(*table, key.clone())),
        };
    }
}

fn contents(store: &Arc<dyn Store>) -> Model {
    TABLES
        .into_iter()
        .flat_map(|table| load(store, table).into_iter().map(move |(key, value)| ((table, key), value)))
        .collect()
}

pub(super) fn random_batches_survive_random_restarts(subject: &mut dyn Subject, seed: u64) {
    let mut random = Random::new(seed);
    let mut model = Model::new();
    let mut expected = Version(0);
    for _ in 0..6 {
        let store = subject.open();
        assert!(contents(&store) == model, "seed {seed}: everything acknowledged is there, and nothing else");
        assert_eq!(version(&store), expected, "seed {seed}");
        for _ in 0..random.below(12) {
            let batch = random_batch(&mut random, &TABLES);
            expected = commit(&store, &batch);
            apply(&mut model, &batch);
        }
        drop(store);
        if random.below(2) == 0 {
            subject.crash();
        }
    }
}
