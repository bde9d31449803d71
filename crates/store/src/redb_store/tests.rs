use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;

use proptest::prelude::*;

use super::simulated_disk::{SimulatedDisk, SimulatedPlace};
use super::*;
use crate::conformance::{self, Random, Subject, random_batch};

const NODES: Table = Table::new("nodes");
const TASKS: Table = Table::new("tasks");

struct OnDisk {
    disk: SimulatedDisk,
    random: Random,
}

impl Subject for OnDisk {
    fn open(&mut self) -> Arc<dyn Store> {
        Arc::new(open(&self.disk).expect("the simulated disk opens"))
    }

    fn crash(&mut self) {
        self.disk.crash(&mut self.random);
    }
}

struct InFile {
    folder: tempfile::TempDir,
}

impl Subject for InFile {
    fn open(&mut self) -> Arc<dyn Store> {
        let path = self.folder.path().join("store.redb");
        Arc::new(RedbStore::open(&path, RedbOptions::default()).expect("the file opens"))
    }

    fn crash(&mut self) {
        // A file cannot forget what the kernel has: the simulated disk tests that. Here a restart is a restart.
    }
}

fn open(disk: &SimulatedDisk) -> Result<RedbStore, StoreError> {
    RedbStore::open_at(Box::new(SimulatedPlace(disk.clone())))
}

fn batch(key: &str, value: &[u8]) -> Batch {
    let mut batch = Batch::new();
    batch.put(NODES, key, value);
    batch
}

fn contents(store: &RedbStore) -> BTreeMap<(Table, Vec<u8>), Vec<u8>> {
    [NODES, TASKS]
        .into_iter()
        .flat_map(|table| {
            let rows = store.load(table).expect("readable");
            rows.into_iter().map(move |(key, value)| ((table, key), value))
        })
        .collect()
}

#[test]
fn redb_in_a_file_conforms() {
    conformance::run(|| Box::new(InFile { folder: tempfile::tempdir().expect("a temporary folder") }));
}

#[test]
fn redb_on_a_disk_that_drops_unsynced_writes_conforms() {
    let mut seed = 0;
    conformance::run(|| {
        seed += 1;
        Box::new(OnDisk { disk: SimulatedDisk::default(), random: Random::new(seed) })
    });
}

#[test]
fn the_suite_notices_a_disk_that_lies_about_sync() {
    let disk = SimulatedDisk::default();
    let store = open(&disk).expect("opens");
    store.commit(&batch("a", b"1")).expect("committed");
    disk.lie_about_sync();
    store.commit(&batch("b", b"2")).expect("the lie is not visible yet");
    drop(store);
    let mut lost = 0;
    // Each seed loses another half of the unsynced sectors; some of them must hurt.
    for seed in 0..8 {
        disk.crash(&mut Random::new(seed));
        let kept =
            open(&disk).is_ok_and(|store| matches!(store.get(NODES, b"b"), Ok(Some(value)) if value == b"2"));
        lost += u32::from(!kept);
    }
    assert!(lost > 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Power fails at any operation of the disk, also while opening, again and again.
    #[test]
    fn a_power_cut_at_any_moment_loses_nothing_acknowledged_and_leaves_nothing_half_applied(
        seed: u64,
        cuts in proptest::collection::vec(1_u64..120, 1..6),
    ) {
        let disk = SimulatedDisk::default();
        drop(open(&disk).expect("opens"));
        let mut random = Random::new(seed);
        let (mut model, mut version) = (BTreeMap::new(), Version(0));
        for cut in cuts {
            disk.cut_power_after(cut);
            let mut in_flight = None;
            if let Ok(store) = open(&disk) {
                for _ in 0..40 {
                    let batch = random_batch(&mut random, &[NODES, TASKS]);
                    match store.commit(&batch) {
                        Ok(acknowledged) => {
                            prop_assert_eq!(acknowledged, version.next());
                            version = acknowledged;
                            apply(&mut model, &batch);
                        }
                        Err(_) => {
                            in_flight = Some(batch);
                            break;
                        }
                    }
                }
            }
            disk.crash(&mut random);
            let store = open(&disk).expect("opens after any crash");
            let found = store.version().expect("readable");
            if let Some(batch) = in_flight && found == version.next() {
                apply(&mut model, &batch);
                version = found;
            }
            prop_assert_eq!(found, version);
            prop_assert!(contents(&store) == model);
        }
    }
}

fn apply(model: &mut BTreeMap<(Table, Vec<u8>), Vec<u8>>, batch: &Batch) {
    for change in batch.changes() {
        match change {
            Change::Put { table, key, value } => model.insert((*table, key.clone()), value.clone()),
            Change::Delete { table, key } => model.remove(&(*table, key.clone())),
        };
    }
}

#[test]
fn a_full_disk_refuses_commits_and_takes_them_again_when_there_is_space() {
    let disk = SimulatedDisk::default();
    let mut store = open(&disk).expect("opens");
    let mut expected = BTreeMap::new();
    let mut number = 0_u32;
    for round in 0..5 {
        disk.set_capacity(Some(disk.visible_bytes()));
        let mut refused = 0;
        while refused < 3 {
            let key = format!("{number:08}");
            let value = vec![7; 50_000];
            match store.commit(&batch(&key, &value)) {
                Ok(_) => {
                    expected.insert((NODES, key.into_bytes()), value);
                    number += 1;
                }
                Err(error) => {
                    assert_eq!(error.code(), "store/full", "round {round}: {error}");
                    assert!(error.is_retryable());
                    refused += 1;
                }
            }
            assert!(number < 10_000, "the disk must run full");
        }
        assert!(contents(&store) == expected, "reads go on while the disk is full");
        if round == 2 {
            drop(store);
            store = open(&disk).expect("a program starts on a full disk");
            assert!(contents(&store) == expected);
        }
        disk.set_capacity(None);
        store.commit(&batch("after", b"x")).expect("there is space again, and nobody reopened anything");
        expected.insert((NODES, b"after".to_vec()), b"x".to_vec());
        assert!(contents(&store) == expected);
    }
    drop(store);
    assert!(contents(&open(&disk).expect("opens")) == expected);
}

#[test]
fn a_passing_io_error_costs_its_commits_and_nothing_else() {
    let disk = SimulatedDisk::default();
    let store = open(&disk).expect("opens");
    store.commit(&batch("a", b"1")).expect("committed");
    let before = disk.operations();
    store.commit(&batch("b", b"2")).expect("committed");
    let length = disk.operations() - before;
    assert!(length > 0);
    for cut in 0..length {
        disk.cut_power_after(cut);
        let refused = store.commit(&batch("c", b"3")).expect_err("the disk fails");
        assert_eq!(refused.code(), "store/io");
        disk.cut_power_after(u64::MAX);
        store.commit(&batch("c", b"3")).expect("works again by itself");
        assert_eq!(store.load(NODES).expect("readable").len(), 3);
    }
}

#[test]
fn a_store_that_was_put_back_under_a_running_program_is_refused() {
    let disk = SimulatedDisk::default();
    let store = open(&disk).expect("opens");
    store.commit(&batch("a", b"1")).expect("committed");
    let backup = disk.durable_bytes();
    store.commit(&batch("b", b"2")).expect("committed");
    disk.put_back(backup);
    store.commit(&batch("c", b"3")).expect_err("the old handle is dead");
    for _ in 0..2 {
        let error = store.commit(&batch("c", b"3")).expect_err("going on would lose what was acknowledged");
        assert!(matches!(error, StoreError::WentBack { seen: Version(2), found: Version(1) }), "{error}");
        assert_eq!(store.load(NODES).expect_err("neither is it read").code(), "store/went-back");
    }
}

#[test]
fn a_damaged_file_is_an_error_never_a_panic_and_never_looks_empty() {
    let disk = SimulatedDisk::default();
    let store = open(&disk).expect("opens");
    for number in 0..50 {
        store.commit(&batch(&format!("{number:04}"), &[9; 300])).expect("committed");
    }
    drop(store);
    let length = disk.visible_bytes();
    let mut noticed = 0;
    for step in 0..400 {
        let offset = step * (length / 400).max(1);
        disk.flip_bit(offset);
        match open(&disk).and_then(|store| store.load(NODES)) {
            Ok(rows) => assert_eq!(rows.len(), 50, "bit at {offset}: rows do not vanish silently"),
            Err(error) => {
                noticed += 1;
                assert!(
                    matches!(
                        error.code(),
                        "store/corrupt" | "store/not-a-store" | "store/format" | "store/io"
                    ),
                    "bit at {offset}: {error}"
                );
            }
        }
        disk.flip_bit(offset);
    }
    assert!(noticed > 0, "some of these bits matter");
}

#[test]
fn a_second_process_finds_the_file_locked() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("store.redb");
    let _first = RedbStore::open(&path, RedbOptions::default()).expect("opens");
    let error = RedbStore::open(&path, RedbOptions::default()).expect_err("locked");
    assert_eq!(error.code(), "store/locked");
    assert!(error.to_string().contains("store.redb"), "{error}");
}

#[test]
fn the_file_is_private_and_nothing_else_is_left_beside_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("store.redb");
    fs::write(folder.path().join("store.redb.new"), b"left by a crash while it was made").expect("written");
    drop(RedbStore::open(&path, RedbOptions::default()).expect("opens"));
    assert_eq!(fs::metadata(&path).expect("there").mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 1);
}

#[test]
fn foreign_files_are_told_apart_from_damaged_and_newer_ones() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let code = |path: &Path| RedbStore::open(path, RedbOptions::default()).expect_err("refused").code();

    let text = folder.path().join("text");
    fs::write(&text, b"this is a letter, not a store").expect("written");
    assert_eq!(code(&text), "store/not-a-store");
    assert_eq!(fs::read(&text).expect("there"), b"this is a letter, not a store", "it is left as it was");
    assert_eq!(code(folder.path()), "store/not-a-store");

    let foreign = folder.path().join("foreign");
    drop(Database::create(&foreign).expect("made"));
    assert_eq!(code(&foreign), "store/not-a-store");

    let newer = folder.path().join("newer");
    drop(RedbStore::open(&newer, RedbOptions::default()).expect("opens"));
    let database = Database::open(&newer).expect("opens");
    let transaction = database.begin_write().expect("begins");
    transaction.open_table(META).expect("opens").insert(META_FORMAT, FORMAT + 1).expect("inserted");
    transaction.commit().expect("committed");
    drop(database);
    assert_eq!(code(&newer), "store/format");

    let cut = folder.path().join("cut");
    drop(RedbStore::open(&cut, RedbOptions::default()).expect("opens"));
    fs::OpenOptions::new().write(true).open(&cut).expect("opens").set_len(5000).expect("cut");
    assert_eq!(code(&cut), "store/corrupt");

    assert_eq!(code(&folder.path().join("no such folder/store")), "store/io");
}
