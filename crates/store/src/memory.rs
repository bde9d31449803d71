//! A store that keeps nothing across processes and fails when told to: for tests and dry runs.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::batch::{Batch, Change, Table};
use crate::error::StoreError;
use crate::store::{Row, Store};
use crate::version::Version;

/// A way in which the next calls fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// No space left; nothing is applied.
    Full,
    /// An I/O error; nothing is applied.
    Io,
    /// An I/O error although the batch is applied: the disk kept what it failed to confirm.
    IoButApplied,
    /// The contents cannot be trusted.
    Corrupt,
}

/// Rows in memory. Clones share them, so a clone serves as the same store "reopened".
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    tables: BTreeMap<Table, BTreeMap<Vec<u8>, Vec<u8>>>,
    version: Version,
    lasting_fault: Option<Fault>,
    next_commits: VecDeque<Fault>,
    /// Commits until one fails, and how.
    later: Option<(u64, Fault)>,
    fail_reads: bool,
}

impl MemoryStore {
    /// Empty.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes every commit fail like this until told otherwise.
    pub fn set_fault(&self, fault: Option<Fault>) {
        self.lock().lasting_fault = fault;
    }

    /// Makes the next commit fail like this; several queue up.
    pub fn fail_next_commit(&self, fault: Fault) {
        self.lock().next_commits.push_back(fault);
    }

    /// Makes one commit fail like this, after so many that succeed.
    pub fn fail_commit_after(&self, commits: u64, fault: Fault) {
        self.lock().later = Some((commits, fault));
    }

    /// Makes reads fail until told otherwise.
    pub fn set_reads_fail(&self, fail: bool) {
        self.lock().fail_reads = fail;
    }

    /// Puts the version back, as a restored backup would.
    pub fn put_back_version(&self, version: Version) {
        self.lock().version = version;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn readable(&self) -> Result<MutexGuard<'_, Inner>, StoreError> {
        let inner = self.lock();
        if inner.fail_reads { Err(error_of(Fault::Io)) } else { Ok(inner) }
    }
}

impl Store for MemoryStore {
    fn load(&self, table: Table) -> Result<Vec<Row>, StoreError> {
        self.scan(table, None, usize::MAX)
    }

    fn scan(&self, table: Table, after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, StoreError> {
        let inner = self.readable()?;
        let Some(rows) = inner.tables.get(&table) else { return Ok(Vec::new()) };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let range = rows.range::<[u8], _>((from, Bound::Unbounded));
        Ok(range.take(limit).map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.readable()?.tables.get(&table).and_then(|rows| rows.get(key)).cloned())
    }

    fn commit(&self, batch: &Batch) -> Result<Version, StoreError> {
        batch.check()?;
        let mut inner = self.lock();
        if batch.is_empty() {
            return Ok(inner.version);
        }
        let fault = inner.next_commits.pop_front().or_else(|| inner.due()).or(inner.lasting_fault);
        match fault {
            None | Some(Fault::IoButApplied) => inner.apply(batch),
            Some(Fault::Full | Fault::Io | Fault::Corrupt) => {}
        }
        fault.map_or(Ok(inner.version), |fault| Err(error_of(fault)))
    }

    fn version(&self) -> Result<Version, StoreError> {
        Ok(self.readable()?.version)
    }
}

impl Inner {
    fn due(&mut self) -> Option<Fault> {
        let (left, fault) = self.later.take()?;
        match left.checked_sub(1) {
            None => Some(fault),
            Some(left) => {
                self.later = Some((left, fault));
                None
            }
        }
    }

    fn apply(&mut self, batch: &Batch) {
        for change in batch.changes() {
            match change {
                Change::Put { table, key, value } => {
                    self.tables.entry(*table).or_default().insert(key.clone(), value.clone());
                }
                Change::Delete { table, key } => {
                    self.tables.entry(*table).or_default().remove(key);
                }
            }
        }
        self.version = self.version.next();
    }
}

fn error_of(fault: Fault) -> StoreError {
    let path = PathBuf::from("(memory)");
    match fault {
        Fault::Full => StoreError::Full { operation: "commit to", path },
        Fault::Io | Fault::IoButApplied => StoreError::Io {
            operation: "use",
            path,
            source: Arc::new(io::Error::other("a fault was asked for")),
        },
        Fault::Corrupt => StoreError::Corrupt { path, message: "a fault was asked for".to_owned() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: Table = Table::new("rows");

    struct Shared(MemoryStore);

    impl crate::conformance::Subject for Shared {
        fn open(&mut self) -> Arc<dyn Store> {
            Arc::new(self.0.clone())
        }

        fn crash(&mut self) {}
    }

    #[test]
    fn the_memory_store_conforms() {
        crate::conformance::run(|| Box::new(Shared(MemoryStore::new())));
    }

    fn batch(key: &str) -> Batch {
        let mut batch = Batch::new();
        batch.put(TABLE, key, "value");
        batch
    }

    #[test]
    fn faults_refuse_commits_as_asked_and_then_end() {
        let store = MemoryStore::new();
        store.fail_next_commit(Fault::Full);
        store.fail_next_commit(Fault::IoButApplied);
        assert_eq!(store.commit(&batch("a")).expect_err("full").code(), "store/full");
        assert_eq!(store.load(TABLE).expect("readable"), []);
        assert_eq!(store.commit(&batch("b")).expect_err("unconfirmed").code(), "store/io");
        assert_eq!(store.load(TABLE).expect("readable").len(), 1);
        assert_eq!(store.commit(&batch("c")).expect("committed"), Version(2));
        store.set_reads_fail(true);
        assert!(store.load(TABLE).is_err(), "an error is not an empty table");
    }

    #[test]
    fn a_store_that_was_put_back_is_noticed() {
        let store = MemoryStore::new();
        let seen = store.commit(&batch("a")).expect("committed");
        store.require_at_least(seen).expect("as seen");
        store.put_back_version(Version(0));
        assert_eq!(store.require_at_least(seen).expect_err("went back").code(), "store/went-back");
    }
}
