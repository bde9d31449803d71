//! The embedded adapter: one redb file.
//!
//! Every table is a redb table of byte rows; a table of our own holds the format and the version, which is written in
//! the same transaction as the rows. Commits are two-phase with quick repair: the next open after a crash does not
//! walk the file.
//!
//! redb refuses everything after an I/O error until it is opened again. This adapter does that by itself: after a
//! failure it closes the file, and the next call opens it again, so a disk that was full for a while costs the
//! commits of that while and nothing else. What it finds then must not be older than what it acknowledged.

mod classify;
mod place;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard};

use redb::{Database, ReadableDatabase as _, TableDefinition, TableError, WriteTransaction};

use crate::batch::{Batch, Change, Table};
use crate::error::StoreError;
use crate::oversize;
use crate::store::{Row, Store};
use crate::version::Version;
use classify::Classifier;
use place::{FilePlace, Place};

/// The format of our own records. Raised when a program could misread an older file or be misread by an older program.
const FORMAT: u64 = 1;
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("lode_meta");
const META_FORMAT: &str = "format";
const META_VERSION: &str = "version";

type Rows<'a> = TableDefinition<'a, &'static [u8], &'static [u8]>;

/// How to open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RedbOptions {
    /// Bytes of pages kept in memory. Rows are read at start and written since, so little is enough.
    pub cache_bytes: usize,
}

impl Default for RedbOptions {
    fn default() -> Self {
        Self { cache_bytes: 16 << 20 }
    }
}

/// A store in one file.
#[derive(Debug)]
pub struct RedbStore {
    place: Box<dyn Place>,
    /// None after a failure, until the next call opens it again. Readers and the committer share it; closing and
    /// opening take it alone.
    database: RwLock<Option<Database>>,
    /// One commit at a time.
    committing: Mutex<()>,
    /// The version of the last commit that was acknowledged or found.
    version: AtomicU64,
}

impl RedbStore {
    /// Opens the file, or makes it (mode 0600).
    pub fn open(path: &Path, options: RedbOptions) -> Result<Self, StoreError> {
        Self::open_at(Box::new(FilePlace::new(path, options)))
    }

    fn open_at(place: Box<dyn Place>) -> Result<Self, StoreError> {
        let store = Self {
            place,
            database: RwLock::new(None),
            committing: Mutex::new(()),
            version: AtomicU64::new(0),
        };
        store.ensure_open()?;
        oversize::finish(&store)?;
        Ok(store)
    }

    fn classifier(&self) -> Classifier<'_> {
        Classifier { path: self.place.path() }
    }

    /// Opens the file if it is closed.
    fn ensure_open(&self) -> Result<(), StoreError> {
        let mut slot = self.database.write().unwrap_or_else(PoisonError::into_inner);
        if slot.is_some() {
            return Ok(());
        }
        let (database, found) = self.guard("open", || {
            let database = self.place.open()?;
            let found = self.read_meta(&database)?;
            Ok((database, found))
        })?;
        let acknowledged = Version(self.version.load(Ordering::Acquire));
        if found < acknowledged {
            return Err(StoreError::WentBack { seen: acknowledged, found });
        }
        // It may be higher: a commit that failed to be confirmed can have reached the disk.
        self.version.store(found.0, Ordering::Release);
        *slot = Some(database);
        Ok(())
    }

    /// Checks the format and returns the version.
    fn read_meta(&self, database: &Database) -> Result<Version, StoreError> {
        let classify = self.classifier();
        let transaction = database.begin_read().map_err(|error| classify.error("read", error))?;
        let meta = match transaction.open_table(META) {
            Ok(meta) => meta,
            // A redb file without our record: somebody else's.
            Err(TableError::TableDoesNotExist(_) | TableError::TableTypeMismatch { .. }) => {
                return Err(StoreError::NotAStore { path: self.place.path().to_owned() });
            }
            Err(error) => return Err(classify.error("read", error)),
        };
        let number = |key: &'static str| {
            meta.get(key)
                .map_err(|error| classify.error("read", error))?
                .map(|value| value.value())
                .ok_or_else(|| classify.corrupt(format!("its record `{key}` is missing")))
        };
        match number(META_FORMAT)? {
            FORMAT => number(META_VERSION).map(Version),
            found => Err(StoreError::Format {
                path: self.place.path().to_owned(),
                found: found.to_string(),
                supported: FORMAT,
            }),
        }
    }

    /// Runs something on the open database. After a failure that redb does not recover from, closes it, so that the
    /// next call opens it afresh.
    fn with_database<R>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Database) -> Result<R, StoreError>,
    ) -> Result<R, StoreError> {
        let slot = loop {
            let slot = self.read_slot();
            if slot.is_some() {
                break slot;
            }
            drop(slot);
            self.ensure_open()?;
        };
        let Some(database) = slot.as_ref() else { return Err(StoreError::Closed) };
        let result = self.guard(operation, || work(database));
        drop(slot);
        if matches!(&result, Err(error) if !matches!(error, StoreError::Invalid(_))) {
            let mut slot = self.database.write().unwrap_or_else(PoisonError::into_inner);
            // Closing reads and writes, too: a damaged file must not take the caller down here either.
            if let Some(database) = slot.take() {
                let _ = self.guard("close", move || {
                    drop(database);
                    Ok(())
                });
            }
        }
        result
    }

    fn read_slot(&self) -> RwLockReadGuard<'_, Option<Database>> {
        self.database.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// redb asserts some properties of what it reads: a damaged file can make it panic.
    fn guard<R>(
        &self,
        operation: &'static str,
        work: impl FnOnce() -> Result<R, StoreError>,
    ) -> Result<R, StoreError> {
        catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
            Err(self
                .classifier()
                .corrupt(format!("the storage engine panicked while it tried to {operation} it")))
        })
    }

    fn write(&self, database: &Database, batch: &Batch) -> Result<Version, StoreError> {
        let classify = self.classifier();
        let version = Version(self.version.load(Ordering::Acquire)).next();
        let mut transaction = database.begin_write().map_err(|error| classify.error("write to", error))?;
        transaction.set_quick_repair(true);
        self.apply(&transaction, batch, version)?;
        transaction.commit().map_err(|error| classify.error("commit to", error))?;
        self.version.store(version.0, Ordering::Release);
        Ok(version)
    }

    fn apply(
        &self,
        transaction: &WriteTransaction,
        batch: &Batch,
        version: Version,
    ) -> Result<(), StoreError> {
        let classify = self.classifier();
        let mut changes = batch.changes();
        while let Some(first) = changes.first() {
            // Neighbours of one table share an open table; order across tables does not matter to the result, order
            // within one does.
            let name = table_of(first);
            let run = changes.iter().take_while(|change| table_of(change) == name).count();
            let (same, rest) = changes.split_at(run);
            changes = rest;
            let mut rows = transaction
                .open_table(Rows::new(name.name()))
                .map_err(|error| classify.error("write to", error))?;
            for change in same {
                match change {
                    Change::Put { key, value, .. } => rows.insert(key.as_slice(), value.as_slice()),
                    Change::Delete { key, .. } => rows.remove(key.as_slice()),
                }
                .map_err(|error| classify.error("write to", error))?;
            }
        }
        let mut meta = transaction.open_table(META).map_err(|error| classify.error("write to", error))?;
        meta.insert(META_VERSION, version.0).map_err(|error| classify.error("write to", error))?;
        Ok(())
    }

    fn read_rows(
        &self,
        database: &Database,
        table: Table,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        use std::ops::Bound;
        let classify = self.classifier();
        let transaction = database.begin_read().map_err(|error| classify.error("read", error))?;
        let rows = match transaction.open_table(Rows::new(table.name())) {
            Ok(rows) => rows,
            Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            Err(error) => return Err(classify.error("read", error)),
        };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        rows.range::<&[u8]>((from, Bound::Unbounded))
            .map_err(|error| classify.error("read", error))?
            .take(limit)
            .map(|row| {
                let (key, value) = row.map_err(|error| classify.error("read", error))?;
                Ok((key.value().to_vec(), value.value().to_vec()))
            })
            .collect()
    }
}

impl Store for RedbStore {
    fn load(&self, table: Table) -> Result<Vec<Row>, StoreError> {
        self.scan(table, None, usize::MAX)
    }

    fn scan(&self, table: Table, after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, StoreError> {
        self.with_database("read", |database| self.read_rows(database, table, after, limit))
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.with_database("read", |database| {
            let classify = self.classifier();
            let transaction = database.begin_read().map_err(|error| classify.error("read", error))?;
            match transaction.open_table(Rows::new(table.name())) {
                Ok(rows) => Ok(rows
                    .get(key)
                    .map_err(|error| classify.error("read", error))?
                    .map(|value| value.value().to_vec())),
                Err(TableError::TableDoesNotExist(_)) => Ok(None),
                Err(error) => Err(classify.error("read", error)),
            }
        })
    }

    fn commit(&self, batch: &Batch) -> Result<Version, StoreError> {
        batch.check()?;
        if batch.is_empty() {
            return self.version();
        }
        let _alone = self.committing.lock().unwrap_or_else(PoisonError::into_inner);
        self.with_database("write to", |database| self.write(database, batch))
    }

    fn version(&self) -> Result<Version, StoreError> {
        Ok(Version(self.version.load(Ordering::Acquire)))
    }
}

fn table_of(change: &Change) -> Table {
    match change {
        Change::Put { table, .. } | Change::Delete { table, .. } => *table,
    }
}

#[cfg(test)]
mod simulated_disk;
#[cfg(test)]
mod tests;
