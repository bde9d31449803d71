//! Batches that are larger than one commit may be, applied as a whole all the same.
//!
//! The batch is written down first, cut into pieces, with a last row that says that all of it is there. Only then are
//! its changes applied, in as many commits as they need, and the pieces are removed. Changes are absolute: whoever opens
//! the store after a crash in between applies them again ([`finish`]), or removes pieces of a batch that was never
//! complete. So the batch is still applied as a whole or not at all.
//!
//! It costs every byte twice. Owners keep their batches small; this is for the one that could not.

use crate::batch::{Batch, Change, Table};
use crate::error::StoreError;
use crate::store::Store;
use crate::version::Version;

/// Pieces of the batch by their number, and [`WHOLE`].
const STAGED: Table = Table::reserved("lode_staged");
/// Key of the row that says how many pieces there are. Longer than a number, so that it is none.
const WHOLE: &[u8] = b"whole";
/// Bytes of one piece, and of one commit of the changes.
const PIECE: usize = 8 << 20;

/// Applies a batch of any size. Each of its rows must be within the limits.
pub(crate) fn commit(store: &dyn Store, batch: &Batch) -> Result<Version, StoreError> {
    commit_in(store, batch, PIECE)
}

fn commit_in(store: &dyn Store, batch: &Batch, piece: usize) -> Result<Version, StoreError> {
    batch.check_rows()?;
    let bytes = write_down(batch);
    let pieces = bytes.chunks(piece);
    let count = u32::try_from(pieces.len()).unwrap_or(u32::MAX);
    for (number, piece) in (0..count).zip(pieces) {
        let mut staged = Batch::new();
        staged.put(STAGED, number.to_be_bytes(), piece);
        store.commit(&staged)?;
    }
    let mut whole = Batch::new();
    whole.put(STAGED, WHOLE, count.to_be_bytes());
    store.commit(&whole)?;
    apply(store, batch, piece)?;
    remove(store, count)
}

/// Ends what a crash interrupted, if anything: to be called before the store is read.
pub fn finish(store: &dyn Store) -> Result<(), StoreError> {
    let Some(first) = store.scan(STAGED, None, 1)?.pop() else { return Ok(()) };
    let whole = store.get(STAGED, WHOLE)?.and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
    let Some(count) = whole else {
        tracing::warn!("a large batch was not complete when the store was closed; it does not count");
        let mut number = first.0.try_into().map_or(0, u32::from_be_bytes);
        while store.get(STAGED, &number.to_be_bytes())?.is_some() {
            number = number.saturating_add(1);
        }
        return remove(store, number).map(drop);
    };
    let mut bytes = Vec::new();
    for number in 0..count {
        let piece = store.get(STAGED, &number.to_be_bytes())?;
        bytes.extend(piece.ok_or_else(|| damaged("a piece of a large batch is missing"))?);
    }
    tracing::warn!(bytes = bytes.len(), "a large batch was interrupted; it is applied again");
    apply(store, &read_back(&bytes)?, PIECE)?;
    remove(store, count).map(drop)
}

fn apply(store: &dyn Store, batch: &Batch, piece: usize) -> Result<(), StoreError> {
    let mut part = Batch::new();
    for change in batch.changes() {
        if !part.is_empty() && part.bytes().saturating_add(change.bytes()) > piece {
            store.commit(&std::mem::take(&mut part))?;
        }
        part.push(change.clone());
    }
    store.commit(&part).map(drop)
}

fn remove(store: &dyn Store, count: u32) -> Result<Version, StoreError> {
    let mut gone = Batch::new();
    gone.delete(STAGED, WHOLE);
    for number in 0..count {
        gone.delete(STAGED, number.to_be_bytes());
    }
    store.commit(&gone)
}

/// Each change as table, key and value, each after its length; no value for a row that goes.
fn write_down(batch: &Batch) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(batch.bytes());
    let mut part = |part: &[u8]| {
        bytes.extend(u32::try_from(part.len()).unwrap_or(u32::MAX - 1).to_be_bytes());
        bytes.extend_from_slice(part);
    };
    for change in batch.changes() {
        match change {
            Change::Put { table, key, value } => {
                part(b"put");
                part(table.name().as_bytes());
                part(key);
                part(value);
            }
            Change::Delete { table, key } => {
                part(b"delete");
                part(table.name().as_bytes());
                part(key);
            }
        }
    }
    bytes
}

fn read_back(mut bytes: &[u8]) -> Result<Batch, StoreError> {
    let mut tables: Vec<Table> = Vec::new();
    let mut batch = Batch::new();
    while !bytes.is_empty() {
        let kind = part(&mut bytes)?;
        let name = part(&mut bytes)?;
        let table = match tables.iter().find(|table| table.name().as_bytes() == name) {
            Some(table) => *table,
            None => {
                let table = std::str::from_utf8(name).ok().and_then(Table::named);
                let table = table.ok_or_else(|| damaged("a large batch names a table that cannot be"))?;
                tables.push(table);
                table
            }
        };
        let key = part(&mut bytes)?;
        match kind {
            b"put" => batch.put(table, key, part(&mut bytes)?),
            b"delete" => batch.delete(table, key),
            _ => return Err(damaged("a large batch holds what is no change")),
        };
    }
    Ok(batch)
}

fn part<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], StoreError> {
    let split = bytes
        .split_first_chunk::<4>()
        .and_then(|(length, rest)| rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?));
    let (part, rest) = split.ok_or_else(|| damaged("a large batch breaks off"))?;
    *bytes = rest;
    Ok(part)
}

fn damaged(message: &str) -> StoreError {
    StoreError::Corrupt { path: "the store".into(), message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::MAX_BATCH_BYTES;
    use crate::memory::{Fault, MemoryStore};

    const ROWS: Table = Table::new("rows");
    const OTHERS: Table = Table::new("others");

    /// Small pieces, so that a few rows are many commits.
    const SMALL: usize = 100;
    const ROW_COUNT: u32 = 9;

    fn batch_of(rows: u32, value: &[u8]) -> Batch {
        let mut batch = Batch::new();
        for number in 0..rows {
            batch.put(ROWS, number.to_be_bytes(), value);
        }
        batch.put(OTHERS, "new", "here").delete(OTHERS, "old");
        batch
    }

    fn several() -> Batch {
        batch_of(ROW_COUNT, &[7; 60])
    }

    fn is_applied(store: &MemoryStore) -> bool {
        let rows = store.load(ROWS).unwrap();
        let others = store.load(OTHERS).unwrap();
        assert!(store.load(STAGED).unwrap().is_empty(), "nothing of the pieces stays");
        if rows.is_empty() {
            assert_eq!(others, [(b"old".to_vec(), b"here".to_vec())], "not at all");
            return false;
        }
        assert_eq!(rows.len(), ROW_COUNT as usize, "as a whole");
        assert!(rows.iter().all(|(_, value)| *value == [7; 60]));
        assert_eq!(others, [(b"new".to_vec(), b"here".to_vec())], "as a whole");
        true
    }

    fn before() -> MemoryStore {
        let store = MemoryStore::new();
        let mut batch = Batch::new();
        batch.put(OTHERS, "old", "here");
        store.commit(&batch).unwrap();
        store
    }

    #[test]
    fn a_batch_that_no_commit_takes_is_applied_all_the_same() {
        let store = before();
        let rows = u32::try_from(MAX_BATCH_BYTES >> 20).unwrap() + 2;
        let large = batch_of(rows, &vec![7; 1 << 20]);
        assert_eq!(store.commit(&large).unwrap_err().code(), "store/invalid");
        commit(&store, &large).unwrap();
        assert_eq!(store.load(ROWS).unwrap().len(), rows as usize);
        assert!(store.load(STAGED).unwrap().is_empty());
    }

    #[test]
    fn wherever_it_is_interrupted_it_is_applied_as_a_whole_or_not_at_all() {
        let commits = {
            let store = before();
            let version = store.version().unwrap();
            commit_in(&store, &several(), SMALL).unwrap().0 - version.0
        };
        let (mut whole, mut nothing) = (0, 0);
        for failing in 0..commits {
            for fault in [Fault::Io, Fault::IoButApplied] {
                let store = before();
                store.fail_commit_after(failing, fault);
                commit_in(&store, &several(), SMALL).unwrap_err();
                // The process ends here, and the store is opened again.
                finish(&store).unwrap();
                if is_applied(&store) {
                    whole += 1
                } else {
                    nothing += 1
                }
                finish(&store).unwrap();
            }
        }
        assert!(commits > 10 && whole > 5 && nothing > 5, "{commits}: {whole}, {nothing}");
    }

    #[test]
    fn it_can_be_tried_again_after_any_failure() {
        for failing in 0..10 {
            let store = before();
            store.fail_commit_after(failing, Fault::IoButApplied);
            commit_in(&store, &several(), SMALL).unwrap_err();
            commit_in(&store, &several(), SMALL).unwrap();
            assert!(is_applied(&store));
        }
    }

    #[test]
    fn pieces_that_make_no_batch_are_corrupt_and_never_applied() {
        let store = before();
        let mut batch = Batch::new();
        batch.put(STAGED, 0u32.to_be_bytes(), [0, 0, 0, 9, 1]).put(STAGED, WHOLE, 1u32.to_be_bytes());
        store.commit(&batch).unwrap();
        assert_eq!(finish(&store).unwrap_err().code(), "store/corrupt");
        assert_eq!(store.load(OTHERS).unwrap(), [(b"old".to_vec(), b"here".to_vec())]);
    }
}
