//! What the worker remembers across restarts, in its store: boot counter, leader epoch, desired set, assignments, and
//! what the chain said last.
//!
//! A row that cannot be read is skipped and named: one bad row does not take the others with it.

use lode_protocol::envelope::{decode, encode};
use lode_protocol::ids::{BootCounter, Epoch, Generation, LeaderEpoch};
use lode_protocol::session::Leave;
use lode_store::{Batch, Store, StoreError, Table};
use minicbor::{Decode, Encode};

use crate::chain_view::KnownChain;
use crate::core::effect::JournalChange;
use crate::core::journal::Entry;
use crate::core::receipts::{Change, KeptReceipt, Record};

const ASSIGNMENTS: Table = Table::new("assignments");
const FACTS: Table = Table::new("facts");
/// Counts of epochs, by number.
const RECORDS: Table = Table::new("records");
/// Receipts with both signatures, by epoch and payee.
const RECEIPTS: Table = Table::new("receipts");

const BOOT: &[u8] = b"boot";
const EPOCH: &[u8] = b"epoch";
const GENERATION: &[u8] = b"generation";
const CHAIN: &[u8] = b"chain";
const LEAVE: &[u8] = b"leave";

/// Everything that was remembered.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// Boots so far.
    pub boot: BootCounter,
    /// Highest leader epoch seen.
    pub epoch: LeaderEpoch,
    /// The desired set accepted last.
    pub generation: Option<(LeaderEpoch, Generation)>,
    /// Assignments.
    pub entries: Vec<Entry>,
    /// What the chain said last.
    pub chain: Option<KnownChain>,
    /// A leave that was signed and has not taken effect yet.
    pub leave: Option<Leave>,
    /// What this node counted, by epoch.
    pub records: Vec<(Epoch, Record)>,
    /// Receipts with both signatures.
    pub receipts: Vec<KeptReceipt>,
    /// Rows that could not be read: table and key.
    pub unreadable: Vec<String>,
}

/// Reads everything. Blocking.
pub fn load(store: &dyn Store) -> Result<Memory, StoreError> {
    let mut memory = Memory::default();
    for (key, value) in store.load(FACTS)? {
        let read = match key.as_slice() {
            BOOT => read(&value, &mut memory.boot),
            EPOCH => read(&value, &mut memory.epoch),
            GENERATION => read(&value, &mut memory.generation),
            CHAIN => read(&value, &mut memory.chain),
            LEAVE => read(&value, &mut memory.leave),
            _ => false,
        };
        if !read {
            memory.unreadable.push(format!("facts/{}", String::from_utf8_lossy(&key)));
        }
    }
    for (key, value) in store.load(ASSIGNMENTS)? {
        match decode::<Entry>(&value) {
            Ok(entry) => memory.entries.push(entry),
            Err(_) => memory.unreadable.push(format!("assignments/{}", String::from_utf8_lossy(&key))),
        }
    }
    for (key, value) in store.load(RECORDS)? {
        match (key.first_chunk(), decode::<Record>(&value)) {
            (Some(epoch), Ok(record)) => memory.records.push((Epoch(u64::from_be_bytes(*epoch)), record)),
            (_, _) => memory.unreadable.push(format!("records/{}", hex::encode(&key))),
        }
    }
    for (key, value) in store.load(RECEIPTS)? {
        match decode::<KeptReceipt>(&value) {
            Ok(kept) => memory.receipts.push(kept),
            Err(_) => memory.unreadable.push(format!("receipts/{}", hex::encode(&key))),
        }
    }
    Ok(memory)
}

fn read<T: for<'b> Decode<'b, ()>>(bytes: &[u8], into: &mut T) -> bool {
    decode(bytes).map(|value| *into = value).is_ok()
}

fn fact<T: Encode<()>>(key: &[u8], value: &T) -> Batch {
    let mut batch = Batch::new();
    batch.put(FACTS, key, encode(value));
    batch
}

/// The worker has started once more.
pub fn boot(counter: BootCounter) -> Batch {
    fact(BOOT, &counter)
}

/// The highest leader epoch.
pub fn epoch(epoch: LeaderEpoch) -> Batch {
    fact(EPOCH, &epoch)
}

/// What the chain says.
pub fn chain(known: &KnownChain) -> Batch {
    fact(CHAIN, &Some(known.clone()))
}

/// A leave under way, or none.
pub fn leave(leave: Option<&Leave>) -> Batch {
    fact(LEAVE, &leave.cloned())
}

/// Writes a change of the core's journal into a batch.
pub fn apply(batch: &mut Batch, change: &JournalChange) {
    match change {
        JournalChange::Put(entry) => {
            batch.put(ASSIGNMENTS, entry.order.id.to_string().into_bytes(), encode(entry.as_ref()));
        }
        JournalChange::Delete(id) => {
            batch.delete(ASSIGNMENTS, id.to_string().into_bytes());
        }
        JournalChange::Generation(epoch, generation) => {
            batch.put(FACTS, GENERATION, encode(&Some((*epoch, *generation))));
        }
    }
}

/// Writes a change of counts or receipts into a batch.
pub fn apply_receipt(batch: &mut Batch, change: &Change) {
    match change {
        Change::Record(epoch, Some(record)) => {
            batch.put(RECORDS, epoch.0.to_be_bytes(), encode(record));
        }
        Change::Record(epoch, None) => {
            batch.delete(RECORDS, epoch.0.to_be_bytes());
        }
        Change::Receipt(epoch, payee, kept) => {
            let mut key = epoch.0.to_be_bytes().to_vec();
            key.extend(payee.0);
            match kept {
                Some(kept) => batch.put(RECEIPTS, key, encode(kept.as_ref())),
                None => batch.delete(RECEIPTS, key),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lode_store::MemoryStore;

    #[test]
    fn what_was_written_is_read_and_a_row_that_cannot_be_read_is_named() {
        let store = MemoryStore::new();
        store.commit(&boot(BootCounter(3))).unwrap();
        store.commit(&epoch(LeaderEpoch(2))).unwrap();
        let mut batch = Batch::new();
        apply(&mut batch, &JournalChange::Generation(LeaderEpoch(2), Generation(9)));
        batch.put(ASSIGNMENTS, b"broken".to_vec(), vec![0xff]);
        store.commit(&batch).unwrap();
        let memory = load(&store).unwrap();
        assert_eq!((memory.boot, memory.epoch), (BootCounter(3), LeaderEpoch(2)));
        assert_eq!(memory.generation, Some((LeaderEpoch(2), Generation(9))));
        assert_eq!(memory.unreadable, ["assignments/broken"]);
    }
}
