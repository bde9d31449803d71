//! Receipts and roots as the store keeps them: read for whoever asks, and deleted when the core says that they are paid.
//!
//! There may be many more of them than fit into memory: they are read a page at a time, on a blocking thread.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lode_contracts::EarningsTree;
use lode_protocol::envelope::decode;
use lode_protocol::ids::{Address, Epoch, NodeId};
use lode_store::{Batch, Store, StoreError, Writer};
use tokio::sync::watch;

use crate::core::effect::Table;
use crate::core::settlement::{ReceiptRow, RootRow, receipt_key, root_key};
use crate::driver::store_table;

/// Rows read at once.
const CHUNK: usize = 64;
/// Pages of leaves read at once.
const PAGES: usize = 16;
/// Rows deleted at once.
const DELETED: usize = 1_000;
/// Wait before a deletion that failed is tried again.
const AGAIN: Duration = Duration::from_secs(10);

/// Names a receipt of an epoch.
pub type ReceiptName = (NodeId, Address);

/// A page of an epoch's receipts.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ReceiptPage {
    /// Receipts, by node and payee.
    pub rows: Vec<ReceiptRow>,
    /// The last of them, if there are more.
    pub next: Option<ReceiptName>,
}

/// Why nothing was read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A row cannot be read.
    #[error("the leaves of epoch {0} cannot be read: {1}")]
    Damaged(Epoch, String),
    /// The thread that read ended.
    #[error("the reader ended: {0}")]
    Ended(String),
}

/// The tree that was asked for last.
type LastTree = Mutex<Option<(Epoch, Arc<EarningsTree>)>>;

/// Reads and deletes. Clones are the same.
#[derive(Clone, Debug)]
pub struct Archive {
    store: Arc<dyn Store>,
    writer: Writer,
    tree: Arc<LastTree>,
}

impl Archive {
    /// Over the orchestrator's store.
    pub fn new(store: Arc<dyn Store>, writer: Writer) -> Self {
        Archive { store, writer, tree: Arc::default() }
    }

    /// Receipts of an epoch after one of them: at most `limit`, and at most about `most_bytes`.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn receipts(
        &self,
        epoch: Epoch,
        after: Option<ReceiptName>,
        limit: usize,
        most_bytes: usize,
    ) -> Result<ReceiptPage, ArchiveError> {
        let store = Arc::clone(&self.store);
        blocking(move || read_receipts(store.as_ref(), epoch, after, limit, most_bytes)).await?
    }

    /// The tree of a root that is kept; `None` where none is. The latest one asked for is remembered.
    ///
    /// # Errors
    /// When its leaves cannot be read.
    pub async fn tree(&self, epoch: Epoch) -> Result<Option<Arc<EarningsTree>>, ArchiveError> {
        let known = self.last_tree().clone().filter(|(known, _)| *known == epoch);
        if let Some((_, tree)) = known {
            return Ok(Some(tree));
        }
        let store = Arc::clone(&self.store);
        let tree = blocking(move || read_tree(store.as_ref(), epoch)).await??.map(Arc::new);
        if let Some(tree) = &tree {
            *self.last_tree() = Some((epoch, Arc::clone(tree)));
        }
        Ok(tree)
    }

    fn last_tree(&self) -> std::sync::MutexGuard<'_, Option<(Epoch, Arc<EarningsTree>)>> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Deletes what is before the first epoch to keep, whenever that changes. Runs until the driver ends.
    pub async fn clean(self, mut kept_from: watch::Receiver<Epoch>) {
        while kept_from.changed().await.is_ok() {
            let from = *kept_from.borrow_and_update();
            while let Err(error) = self.delete_before(from).await {
                tracing::warn!(%error, "old receipts could not be deleted; trying again");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }

    async fn delete_before(&self, from: Epoch) -> Result<(), ArchiveError> {
        let table = store_table(Table::Receipts);
        loop {
            let store = Arc::clone(&self.store);
            let rows = blocking(move || store.scan(table, None, DELETED)).await??;
            let mut batch = Batch::new();
            for (key, _) in rows {
                if key.first_chunk().is_some_and(|epoch| u64::from_be_bytes(*epoch) < from.0) {
                    batch.delete(table, key);
                }
            }
            if batch.is_empty() {
                return Ok(());
            }
            self.writer.commit(batch).await?;
        }
    }
}

fn read_receipts(
    store: &dyn Store,
    epoch: Epoch,
    after: Option<ReceiptName>,
    limit: usize,
    most_bytes: usize,
) -> Result<ReceiptPage, ArchiveError> {
    let table = store_table(Table::Receipts);
    // All keys of an epoch begin with, and are longer than, the epoch's own.
    let mut from = after.map_or_else(|| root_key(epoch), |(node, payee)| receipt_key(epoch, node, payee));
    let mut page = ReceiptPage::default();
    let mut bytes = 0usize;
    loop {
        let chunk = store.scan(table, Some(&from), CHUNK)?;
        let last = chunk.len() < CHUNK;
        for (key, value) in chunk {
            if !key.starts_with(&root_key(epoch)) {
                return Ok(page);
            }
            if page.rows.len() >= limit || bytes >= most_bytes {
                page.next = page.rows.last().map(|row| (row.receipt.node, row.receipt.payee));
                return Ok(page);
            }
            bytes = bytes.saturating_add(value.len());
            match decode::<ReceiptRow>(&value) {
                Ok(row) => page.rows.push(row),
                Err(error) => {
                    tracing::error!(key = hex::encode(&key), %error, "a receipt cannot be read; it is left out");
                }
            }
            from = key;
        }
        if last {
            return Ok(page);
        }
    }
}

fn read_tree(store: &dyn Store, epoch: Epoch) -> Result<Option<EarningsTree>, ArchiveError> {
    let damaged = |error: String| ArchiveError::Damaged(epoch, error);
    let table = store_table(Table::Roots);
    let prefix = root_key(epoch);
    // What was written before there were pages is one row.
    let mut rows: Vec<_> = store.get(table, &prefix)?.into_iter().collect();
    let mut from = prefix.clone();
    loop {
        let chunk = store.scan(table, Some(&from), PAGES)?;
        let of_epoch = chunk.iter().filter(|(key, _)| key.starts_with(&prefix)).count();
        let goes_on = of_epoch == PAGES;
        rows.extend(chunk.into_iter().take(of_epoch).map(|(key, value)| {
            from = key;
            value
        }));
        if !goes_on {
            break;
        }
    }
    if rows.is_empty() {
        return Ok(None);
    }
    let mut leaves = Vec::new();
    for row in rows {
        let row: RootRow = decode(&row).map_err(|error| damaged(error.to_string()))?;
        leaves.extend(row.leaves);
    }
    EarningsTree::new(leaves).map(Some).map_err(|error| damaged(error.to_string()))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ArchiveError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| ArchiveError::Ended(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::settlement::root_page_key;
    use lode_contracts::EarningsLeaf;
    use lode_protocol::amount::Amount;
    use lode_protocol::envelope::encode;
    use lode_protocol::ids::PoolId;
    use lode_protocol::settlement::Receipt;
    use lode_protocol::usage::UsageStatement;
    use lode_store::{MemoryStore, WriterLimits};

    fn row(epoch: u64, node: u8) -> (Vec<u8>, Vec<u8>) {
        let (node, payee) = (NodeId(Address([node; 20])), Address([9; 20]));
        let usage = UsageStatement { pool: PoolId(1), epoch: Epoch(epoch), node, payee, lines: Vec::new() };
        let receipt = Receipt {
            pool: PoolId(1),
            epoch: Epoch(epoch),
            node,
            payee,
            usage: usage.digest(),
            amount: Amount::ZERO,
            cumulative: Amount::ZERO,
        };
        let row = ReceiptRow { receipt, usage, node_signature: None, refused: None };
        (receipt_key(Epoch(epoch), node, payee), encode(&row))
    }

    fn archive() -> (Archive, lode_store::WriterThread) {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let mut batch = Batch::new();
        for epoch in 1..=3 {
            for node in 0..200 {
                let (key, value) = row(epoch, node);
                batch.put(store_table(Table::Receipts), key, value);
            }
        }
        store.commit(&batch).unwrap();
        let (writer, thread) = Writer::start(Arc::clone(&store), WriterLimits::default()).unwrap();
        (Archive::new(store, writer), thread)
    }

    #[tokio::test]
    async fn pages_hold_every_receipt_of_their_epoch_once_and_no_other() {
        let (archive, _thread) = archive();
        for (limit, most_bytes) in [(150, usize::MAX), (1_000, 4_000)] {
            let (mut nodes, mut after, mut pages) = (Vec::new(), None, 0);
            loop {
                let page = archive.receipts(Epoch(2), after, limit, most_bytes).await.unwrap();
                assert!(
                    page.rows.len() <= limit && page.rows.iter().all(|row| row.receipt.epoch == Epoch(2))
                );
                nodes.extend(page.rows.iter().map(|row| row.receipt.node));
                pages += 1;
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            assert!(pages > 1, "it is cut");
            let sorted = nodes.is_sorted();
            nodes.dedup();
            assert!(sorted && nodes.len() == 200, "{}", nodes.len());
        }
    }

    fn leaves(count: u64) -> Vec<EarningsLeaf> {
        let payee = |place: u64| {
            let mut address = [0; 20];
            address[12..].copy_from_slice(&place.to_be_bytes());
            Address(address)
        };
        let leaf = |place| EarningsLeaf { payee: payee(place), cumulative: Amount::ZERO };
        (1..=count).map(leaf).collect()
    }

    fn pages(leaves: &[EarningsLeaf], size: usize) -> impl Iterator<Item = (u32, Vec<u8>)> {
        (0u32..).zip(leaves.chunks(size).map(|page| encode(&RootRow { leaves: page.to_vec() })))
    }

    #[tokio::test]
    async fn the_leaves_of_a_root_are_read_from_all_its_pages_and_from_the_one_row_of_older_stores() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let table = store_table(Table::Roots);
        let mut batch = Batch::new();
        // More pages than are read at once, exactly as many, and one row.
        let sizes = [(1, 40), (2, u64::try_from(PAGES).unwrap()), (3, 1)];
        for (epoch, count) in sizes {
            for (page, row) in pages(&leaves(count), 1) {
                batch.put(table, root_page_key(Epoch(epoch), page), row);
            }
        }
        for (_, row) in pages(&leaves(7), 10) {
            batch.put(table, root_key(Epoch(4)), row);
        }
        store.commit(&batch).unwrap();
        for (epoch, count) in sizes.into_iter().chain([(4, 7)]) {
            let tree = read_tree(store.as_ref(), Epoch(epoch)).unwrap().unwrap();
            assert_eq!(tree.root(), EarningsTree::new(leaves(count)).unwrap().root(), "epoch {epoch}");
        }
        assert!(read_tree(store.as_ref(), Epoch(5)).unwrap().is_none());
    }

    #[tokio::test]
    async fn what_is_paid_is_deleted_and_nothing_else() {
        let (archive, _thread) = archive();
        archive.delete_before(Epoch(3)).await.unwrap();
        for (epoch, count) in [(1, 0), (2, 0), (3, 200)] {
            let page = archive.receipts(Epoch(epoch), None, 1_000, usize::MAX).await.unwrap();
            assert_eq!(page.rows.len(), count, "epoch {epoch}");
        }
    }
}
