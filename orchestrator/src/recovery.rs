//! From the store back to a core, and what the store remembers of the chain.

use anyhow::Context as _;
use lode_protocol::hash::Digest;
use lode_store::{Store, StoreError};

use crate::core::Core;
use crate::core::config::Config;
use crate::core::effect;
use crate::driver::store_table;

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

/// Hash of the pool's requirements as last seen on chain, should the chain be unreachable at start.
pub fn known_requirements(store: &dyn Store) -> Result<Option<Digest>, StoreError> {
    let (table, key) = Core::REQUIREMENTS;
    let row = store.get(store_table(table), key)?;
    Ok(row.and_then(|value| match Core::read_requirements(&value) {
        Ok(hash) => Some(hash),
        Err(problem) => {
            tracing::error!(problem, "what the store knows of the pool's requirements cannot be read");
            None
        }
    }))
}
