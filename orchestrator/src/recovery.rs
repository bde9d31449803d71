//! From the store back to a core, and what the store remembers of the chain.

use anyhow::Context as _;
use lode_contracts::PoolRecord;
use lode_protocol::hash::Digest;
use lode_store::{Batch, Store, StoreError, Table};

use crate::core::Core;
use crate::core::config::Config;
use crate::core::effect;
use crate::driver::store_table;

/// The pool as it was last seen on chain.
const CHAIN: Table = Table::new("chain_memory");
const TERMS: &[u8] = b"terms";

/// Makes the core of what is durable.
pub fn recover(store: &dyn Store, config: Config) -> anyhow::Result<Core> {
    let mut rows = Vec::new();
    for table in effect::Table::RECOVERED {
        let loaded =
            store.load(store_table(table)).with_context(|| format!("cannot read {}", table.name()))?;
        rows.extend(loaded.into_iter().map(|(key, value)| (table, key, value)));
    }
    let core = Core::recover(config, rows)?;
    for skipped in core.skipped_rows() {
        tracing::error!(
            table = skipped.table.name(),
            key = hex::encode(&skipped.key),
            problem = %skipped.problem,
            "a row of the store cannot be read; it is skipped, everything else goes on"
        );
    }
    Ok(core)
}

/// Hash of the pool's terms as last seen on chain, should the chain be unreachable at start.
pub fn known_terms(store: &dyn Store) -> Result<Option<Digest>, StoreError> {
    Ok(store.get(CHAIN, TERMS)?.and_then(|bytes| bytes.try_into().ok()).map(Digest))
}

/// The change that remembers it.
pub fn remember_terms(record: &PoolRecord) -> Batch {
    let mut batch = Batch::new();
    batch.put(CHAIN, TERMS, record.requirements.0);
    batch
}
