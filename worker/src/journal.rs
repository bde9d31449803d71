//! What the worker remembers across restarts, in its store. What the rows say, [`crate::core::journal`] knows.

use lode_store::{Batch, Store, StoreError, Table as StoreTable};

use crate::core::journal::{Change, Memory, Table};

const fn stored(table: Table) -> StoreTable {
    StoreTable::new(table.name())
}

/// Reads everything. Blocking.
pub fn load(store: &dyn Store) -> Result<Memory, StoreError> {
    let mut memory = Memory::default();
    for table in Table::ALL {
        for (key, value) in store.load(stored(table))? {
            memory.read(table, &key, &value);
        }
    }
    Ok(memory)
}

/// Changes of one step, to be written together.
pub fn batch(changes: &[Change]) -> Batch {
    let mut batch = Batch::new();
    for Change { table, key, value } in changes {
        match value {
            Some(value) => batch.put(stored(*table), key.clone(), value.clone()),
            None => batch.delete(stored(*table), key.clone()),
        };
    }
    batch
}

#[cfg(test)]
mod tests {
    use super::*;
    use lode_store::MemoryStore;

    #[test]
    fn what_was_written_is_read_and_what_was_deleted_is_not() {
        let store = MemoryStore::new();
        let change = |key: &[u8], value: Option<&[u8]>| Change {
            table: Table::Assignments,
            key: key.to_vec(),
            value: value.map(<[u8]>::to_vec),
        };
        store.commit(&batch(&[change(b"a", Some(&[0xff])), change(b"b", Some(&[0xff]))])).unwrap();
        store.commit(&batch(&[change(b"b", None)])).unwrap();
        assert_eq!(load(&store).unwrap().unreadable, ["assignments/a"]);
    }
}
