//! The port.

use std::fmt;

use crate::batch::{Batch, Table};
use crate::error::StoreError;
use crate::version::Version;

/// A key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// Durable state in named tables of byte rows.
///
/// All calls block: call them before the runtime is busy (at start), through [`crate::Writer`], or on a blocking
/// thread.
pub trait Store: Send + Sync + fmt::Debug + 'static {
    /// All rows of a table in the order of their keys. A table that was never written is empty; anything that
    /// cannot be read is an error.
    fn load(&self, table: Table) -> Result<Vec<Row>, StoreError>;

    /// At most `limit` rows of a table in the order of their keys, beginning after the key `after`, or with the
    /// first row.
    fn scan(&self, table: Table, after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, StoreError>;

    /// One row.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Applies a batch, as a whole, durably: when this returns its version, the batch survives a power cut. An empty
    /// batch changes nothing and returns the current version.
    ///
    /// After an error the batch is either applied as a whole or not at all, and the caller cannot know which (the
    /// disk may have kept what it failed to confirm). Changes are absolute, so committing the same batch again is
    /// always right, as long as no later one was committed in between.
    fn commit(&self, batch: &Batch) -> Result<Version, StoreError>;

    /// The version of the last commit.
    fn version(&self) -> Result<Version, StoreError>;

    /// Refuses a store that is older than what somebody has seen of it before.
    fn require_at_least(&self, seen: Version) -> Result<(), StoreError> {
        let found = self.version()?;
        if found < seen { Err(StoreError::WentBack { seen, found }) } else { Ok(()) }
    }
}
