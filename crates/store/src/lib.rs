//! Durable state. The programs keep their state in memory, in the shape they need; the store sees what changed, in
//! atomic batches, and is read at start.
//!
//! * [`Store`] is the port: load, commit, version. Blocking; when `commit` returns, the batch is on disk.
//! * [`Writer`] is group commit for async owners: a thread gathers what is queued and commits it at once.
//! * [`RedbStore`] keeps everything in one file; [`MemoryStore`] keeps nothing and fails on request.
//! * [`conformance`] is what every adapter must pass.
//!
//! Invariants: a batch is applied as a whole or not at all; what was acknowledged survives any crash; batches are
//! applied in the order in which they were handed over; the version grows by one with every commit and never
//! goes back unnoticed; an error never looks like an empty table.

mod batch;
pub mod conformance;
mod error;
mod memory;
mod oversize;
mod redb_store;
mod store;
mod version;
mod writer;

pub use batch::{Batch, Change, MAX_BATCH_BYTES, MAX_KEY_BYTES, MAX_VALUE_BYTES, Table};
pub use error::{ErrorClass, StoreError};
pub use memory::{Fault, MemoryStore};
pub use oversize::finish as finish_interrupted;
pub use redb_store::{RedbOptions, RedbStore};
pub use store::{Row, Store};
pub use version::Version;
pub use writer::{Ticket, Writer, WriterLimits, WriterStats, WriterThread};
