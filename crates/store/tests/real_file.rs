//! The embedded store on a real file, with a process that is really killed and a file system that really refuses.
//!
//! Each test runs itself again as a child process; the environment variable tells the child that it is one.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use lode_store::{Batch, RedbOptions, RedbStore, Store as _, StoreError, Table, Version};
use rustix::process::{Resource, getrlimit, setrlimit};

const ROWS: Table = Table::new("rows");
const CHILD: &str = "LODE_STORE_TEST_CHILD";

fn open(path: &Path) -> Result<RedbStore, StoreError> {
    RedbStore::open(path, RedbOptions::default())
}

/// The path given to a child, or none in the parent.
fn child_path() -> Option<PathBuf> {
    std::env::var_os(CHILD).map(PathBuf::from)
}

/// Ends a child whatever happens to its parent.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Two rows a batch, so that a half-applied one would show.
fn batch(number: u64) -> Batch {
    let mut batch = Batch::new();
    let value = vec![number.to_le_bytes()[0]; 3000];
    batch.put(ROWS, [b"a".as_slice(), &number.to_be_bytes()].concat(), value.clone());
    batch.put(ROWS, [b"b".as_slice(), &number.to_be_bytes()].concat(), value);
    batch
}

#[test]
fn a_killed_process_loses_nothing_that_it_acknowledged() {
    const NAME: &str = "a_killed_process_loses_nothing_that_it_acknowledged";
    if let Some(path) = child_path() {
        let store = open(&path).expect("opens");
        loop {
            let version = store.commit(&batch(store.version().expect("known").0)).expect("commits");
            let mut out = std::io::stdout();
            writeln!(out, "acknowledged {version}").and_then(|()| out.flush()).expect("the parent reads");
        }
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("store.redb");
    let mut acknowledged = 0;
    for round in 1..=5_u64 {
        let mut child = Running(
            Command::new(std::env::current_exe().expect("known"))
                .args(["--exact", NAME, "--nocapture"])
                .env(CHILD, &path)
                .stdout(Stdio::piped())
                .spawn()
                .expect("spawned"),
        );
        let mut lines = BufReader::new(child.0.stdout.take().expect("piped")).lines();
        let version_in =
            |line: std::io::Result<String>| line.ok()?.rsplit_once("acknowledged ")?.1.parse::<u64>().ok();
        let enough = acknowledged + 20 * round;
        while acknowledged < enough {
            let line = lines.next().expect("the child goes on until it is killed");
            acknowledged = version_in(line).unwrap_or(acknowledged);
        }
        child.0.kill().expect("killed");
        // What it acknowledged before the signal arrived counts, too.
        acknowledged = lines.filter_map(version_in).last().unwrap_or(acknowledged);
        child.0.wait().expect("ended");

        let store = open(&path).expect("opens after a kill");
        let Version(found) = store.version().expect("known");
        assert!(
            found == acknowledged || found == acknowledged + 1,
            "{found} after {acknowledged} acknowledged"
        );
        let rows = store.load(ROWS).expect("readable");
        let expected: Vec<_> = [b"a", b"b"]
            .into_iter()
            .flat_map(|letter| {
                (0..found).map(move |number| {
                    let key = [letter.as_slice(), &number.to_be_bytes()].concat();
                    (key, vec![number.to_le_bytes()[0]; 3000])
                })
            })
            .collect();
        assert!(rows == expected, "round {round}: rows are those of {found} whole batches");
        acknowledged = found;
    }
}

#[test]
fn a_file_system_that_refuses_more_bytes_is_full_until_it_takes_them_again() {
    const NAME: &str = "a_file_system_that_refuses_more_bytes_is_full_until_it_takes_them_again";
    if let Some(path) = child_path() {
        return commit_against_a_limit(&path);
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    // A limit on the size of files gives real refusals of the kernel without privileges; the shell makes the signal
    // that comes with them ignored, and the limit soft.
    let status = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -S -f 6000; exec \"$@\"", "sh"])
        .arg(std::env::current_exe().expect("known"))
        .args(["--exact", NAME, "--nocapture"])
        .env(CHILD, folder.path().join("store.redb"))
        .status()
        .expect("spawned");
    assert!(status.success(), "{status}");
}

fn commit_against_a_limit(path: &Path) {
    let limits = getrlimit(Resource::Fsize);
    assert!(limits.current.is_some(), "the parent set a limit");
    let store = open(path).expect("opens");
    let mut number = 0;
    for _ in 0..3 {
        let mut refused = 0;
        while refused < 3 {
            match store.commit(&batch(number)) {
                Ok(_) => number += 1,
                Err(error) => {
                    assert_eq!(error.code(), "store/full", "{error}");
                    refused += 1;
                }
            }
            assert!(number < 100_000, "the limit must be reached");
        }
        let rows = store.load(ROWS).expect("reads go on");
        assert_eq!(rows.len() as u64, 2 * number);
        // redb grows its file by doubling it.
        let more = getrlimit(Resource::Fsize).current.map(|bytes| bytes * 3);
        setrlimit(Resource::Fsize, rustix::process::Rlimit { current: more, maximum: limits.maximum })
            .expect("raised");
        store.commit(&batch(number)).expect("taken again without reopening");
        number += 1;
    }
}
