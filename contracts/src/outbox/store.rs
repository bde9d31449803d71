//! Where an outbox keeps its intents: a port, a store in memory for tests, and one in files for the command line.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;

/// A store that failed; nothing is known about what it holds now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StoreFailure(pub String);

/// Keeps bytes under numbers. `save` and `remove` return when the change is durable.
#[async_trait]
pub trait OutboxStore: Send + Sync + std::fmt::Debug {
    /// Keeps `bytes` under `key`, in place of what was there.
    async fn save(&self, key: u64, bytes: Vec<u8>) -> Result<(), StoreFailure>;
    /// Everything that is kept, by ascending key.
    async fn load(&self) -> Result<Vec<(u64, Vec<u8>)>, StoreFailure>;
    /// Forgets a key; one that is not there is a success.
    async fn remove(&self, key: u64) -> Result<(), StoreFailure>;
}

/// Forgets everything when the process ends: for one-shot programs and tests.
#[derive(Debug, Default)]
pub struct MemoryOutboxStore {
    entries: Mutex<BTreeMap<u64, Vec<u8>>>,
}

#[async_trait]
impl OutboxStore for MemoryOutboxStore {
    async fn save(&self, key: u64, bytes: Vec<u8>) -> Result<(), StoreFailure> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).insert(key, bytes);
        Ok(())
    }

    async fn load(&self) -> Result<Vec<(u64, Vec<u8>)>, StoreFailure> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(entries.iter().map(|(key, bytes)| (*key, bytes.clone())).collect())
    }

    async fn remove(&self, key: u64) -> Result<(), StoreFailure> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        Ok(())
    }
}

/// One file per intent in a directory of its own, written beside its name, flushed and renamed.
#[derive(Debug)]
pub struct FileOutboxStore {
    directory: PathBuf,
}

const SUFFIX: &str = ".intent";

impl FileOutboxStore {
    /// Opens or creates the directory.
    pub fn open(directory: &Path) -> Result<Self, StoreFailure> {
        std::fs::create_dir_all(directory).map_err(|error| failure(directory, &error))?;
        Ok(FileOutboxStore { directory: directory.to_owned() })
    }

    fn path(&self, key: u64) -> PathBuf {
        self.directory.join(format!("{key:020}{SUFFIX}"))
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, StoreFailure> {
        let directory = self.directory.clone();
        tokio::task::spawn_blocking(move || work(&directory).map_err(|error| failure(&directory, &error)))
            .await
            .map_err(|error| StoreFailure(error.to_string()))?
    }
}

fn failure(directory: &Path, error: &io::Error) -> StoreFailure {
    StoreFailure(format!("{}: {error}", directory.display()))
}

#[async_trait]
impl OutboxStore for FileOutboxStore {
    async fn save(&self, key: u64, bytes: Vec<u8>) -> Result<(), StoreFailure> {
        let path = self.path(key);
        self.blocking(move |directory| {
            let beside = path.with_extension("new");
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&beside)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            std::fs::rename(&beside, &path)?;
            File::open(directory)?.sync_all()
        })
        .await
    }

    async fn load(&self) -> Result<Vec<(u64, Vec<u8>)>, StoreFailure> {
        self.blocking(|directory| {
            let mut entries = Vec::new();
            for entry in std::fs::read_dir(directory)? {
                let entry = entry?;
                let name = entry.file_name();
                // What is not named like an intent was left by a write that never finished.
                let key =
                    name.to_str().and_then(|name| name.strip_suffix(SUFFIX)).and_then(|key| key.parse().ok());
                if let Some(key) = key {
                    entries.push((key, std::fs::read(entry.path())?));
                }
            }
            entries.sort_by_key(|(key, _)| *key);
            Ok(entries)
        })
        .await
    }

    async fn remove(&self, key: u64) -> Result<(), StoreFailure> {
        let path = self.path(key);
        self.blocking(move |directory| {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            File::open(directory)?.sync_all()
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn keeps_replaces_and_forgets(store: &dyn OutboxStore) {
        assert_eq!(store.load().await.unwrap(), vec![]);
        store.save(10, b"ten".to_vec()).await.unwrap();
        store.save(2, b"two".to_vec()).await.unwrap();
        store.save(10, b"TEN".to_vec()).await.unwrap();
        assert_eq!(store.load().await.unwrap(), vec![(2, b"two".to_vec()), (10, b"TEN".to_vec())]);
        store.remove(2).await.unwrap();
        store.remove(2).await.unwrap();
        assert_eq!(store.load().await.unwrap(), vec![(10, b"TEN".to_vec())]);
    }

    #[tokio::test]
    async fn both_stores_keep_replace_and_forget() {
        keeps_replaces_and_forgets(&MemoryOutboxStore::default()).await;
        let directory = tempfile::tempdir().unwrap();
        let store = FileOutboxStore::open(directory.path()).unwrap();
        keeps_replaces_and_forgets(&store).await;
        // A write that was cut off leaves no entry, and the rest stays readable.
        std::fs::write(directory.path().join("00000000000000000003.new"), b"half").unwrap();
        let again = FileOutboxStore::open(directory.path()).unwrap();
        assert_eq!(again.load().await.unwrap(), vec![(10, b"TEN".to_vec())]);
    }
}
