//! Keeps the outbox's intents in the orchestrator's store.

use std::sync::Arc;

use async_trait::async_trait;
use lode_contracts::{OutboxStore, StoreFailure};
use lode_store::{Batch, Store, StoreError, Table, Writer};

const TABLE: Table = Table::new("outbox");

/// The outbox's part of the store.
#[derive(Debug)]
pub struct StoreOutbox {
    store: Arc<dyn Store>,
    writer: Writer,
}

impl StoreOutbox {
    /// Writes through the same group commits as everything else.
    pub fn new(store: Arc<dyn Store>, writer: Writer) -> Self {
        StoreOutbox { store, writer }
    }

    async fn commit(&self, batch: Batch) -> Result<(), StoreFailure> {
        self.writer.commit(batch).await.map(drop).map_err(|error| failure(&error))
    }
}

fn failure(error: &StoreError) -> StoreFailure {
    StoreFailure(format!("{}: {error}", error.code()))
}

#[async_trait]
impl OutboxStore for StoreOutbox {
    async fn save(&self, key: u64, bytes: Vec<u8>) -> Result<(), StoreFailure> {
        let mut batch = Batch::new();
        batch.put(TABLE, key.to_be_bytes(), bytes);
        self.commit(batch).await
    }

    async fn load(&self) -> Result<Vec<(u64, Vec<u8>)>, StoreFailure> {
        let store = Arc::clone(&self.store);
        let rows = tokio::task::spawn_blocking(move || store.load(TABLE))
            .await
            .map_err(|error| StoreFailure(error.to_string()))?
            .map_err(|error| failure(&error))?;
        rows.into_iter()
            .map(|(key, value)| {
                let key: [u8; 8] =
                    key.try_into().map_err(|_| StoreFailure("a key is no number".to_owned()))?;
                Ok((u64::from_be_bytes(key), value))
            })
            .collect()
    }

    async fn remove(&self, key: u64) -> Result<(), StoreFailure> {
        let mut batch = Batch::new();
        batch.delete(TABLE, key.to_be_bytes());
        self.commit(batch).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lode_store::{Fault, MemoryStore, WriterLimits};

    #[tokio::test]
    async fn an_intent_is_kept_until_it_is_removed_and_a_full_disk_is_an_error() {
        let memory = MemoryStore::new();
        let store: Arc<dyn Store> = Arc::new(memory.clone());
        let (writer, _thread) = Writer::start(Arc::clone(&store), WriterLimits::default()).unwrap();
        let outbox = StoreOutbox::new(store, writer);
        outbox.save(2, b"two".to_vec()).await.unwrap();
        outbox.save(1, b"one".to_vec()).await.unwrap();
        memory.fail_next_commit(Fault::Full);
        assert!(outbox.save(3, b"three".to_vec()).await.is_err());
        outbox.remove(2).await.unwrap();
        assert_eq!(outbox.load().await.unwrap(), [(1, b"one".to_vec())]);
    }
}
