//! Everything that is remembered, as rows. A row that cannot be read is skipped and named: one bad row does not take
//! the others with it.

use lode_protocol::envelope::{decode, encode};
use lode_protocol::ids::{Address, AssignmentId, BootCounter, Epoch, Generation, Term};
use lode_protocol::image::ImageReference;
use lode_protocol::session::Leave;
use minicbor::{Decode, Encode};

use super::Entry;
use crate::chain::ChainFacts;
use crate::images::FetchedImage;
use crate::receipts::{KeptReceipt, Record};

const BOOT: &[u8] = b"boot";
const TERM: &[u8] = b"epoch";
const GENERATION: &[u8] = b"generation";
const CHAIN: &[u8] = b"chain";
const LEAVE: &[u8] = b"leave";

/// Tables of what is remembered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Table {
    /// Assignments, by their id as text.
    Assignments,
    /// Boot counter, highest term, desired set, the chain's last word, a leave: one row each.
    Facts,
    /// Counts of epochs, by number.
    Records,
    /// Receipts with both signatures, by epoch ‖ payee.
    Receipts,
    /// Images that this worker has fetched, by their reference.
    Images,
}

impl Table {
    /// All of them.
    pub const ALL: [Table; 5] =
        [Table::Assignments, Table::Facts, Table::Records, Table::Receipts, Table::Images];

    /// The table's name in the store; never changes.
    pub const fn name(self) -> &'static str {
        match self {
            Table::Assignments => "assignments",
            Table::Facts => "facts",
            Table::Records => "records",
            Table::Receipts => "receipts",
            Table::Images => "images",
        }
    }
}

/// One row to write or delete.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// Where.
    pub table: Table,
    /// Which row.
    pub key: Vec<u8>,
    /// Its new value; `None` deletes it.
    pub value: Option<Vec<u8>>,
}

impl Change {
    fn fact<T: Encode<()>>(key: &[u8], value: &T) -> Self {
        Self { table: Table::Facts, key: key.to_vec(), value: Some(encode(value)) }
    }

    pub(crate) fn boot(boot: BootCounter) -> Self {
        Self::fact(BOOT, &boot)
    }

    pub(crate) fn term(term: Term) -> Self {
        Self::fact(TERM, &term)
    }

    pub(crate) fn generation(desired: (Term, Generation)) -> Self {
        Self::fact(GENERATION, &Some(desired))
    }

    pub(crate) fn chain(facts: &ChainFacts) -> Self {
        Self::fact(CHAIN, &Some(facts))
    }

    pub(crate) fn leave(leave: Option<&Leave>) -> Self {
        Self::fact(LEAVE, &leave)
    }

    pub(crate) fn assignment(entry: &Entry) -> Self {
        let key = entry.order.id.to_string().into_bytes();
        Self { table: Table::Assignments, key, value: Some(encode(entry)) }
    }

    pub(crate) fn forget(id: &AssignmentId) -> Self {
        Self { table: Table::Assignments, key: id.to_string().into_bytes(), value: None }
    }

    pub(crate) fn record(epoch: Epoch, record: Option<&Record>) -> Self {
        Self { table: Table::Records, key: epoch.0.to_be_bytes().to_vec(), value: record.map(encode) }
    }

    pub(crate) fn image(image: &ImageReference, kept: Option<&FetchedImage>) -> Self {
        Self { table: Table::Images, key: image.to_string().into_bytes(), value: kept.map(encode) }
    }

    pub(crate) fn receipt(epoch: Epoch, payee: Address, kept: Option<&KeptReceipt>) -> Self {
        let mut key = epoch.0.to_be_bytes().to_vec();
        key.extend(payee.0);
        Self { table: Table::Receipts, key, value: kept.map(encode) }
    }
}

/// Everything that was remembered.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Memory {
    /// Boots so far.
    pub boot: BootCounter,
    /// Highest term of an orchestrator seen.
    pub term: Term,
    /// The desired set accepted last.
    pub generation: Option<(Term, Generation)>,
    /// Assignments.
    pub entries: Vec<Entry>,
    /// What the chain said last.
    pub chain: Option<ChainFacts>,
    /// A leave that was signed and has not taken effect yet.
    pub leave: Option<Leave>,
    /// What this node counted, by epoch.
    pub records: Vec<(Epoch, Record)>,
    /// Receipts with both signatures.
    pub receipts: Vec<KeptReceipt>,
    /// Images that this worker has fetched.
    pub images: Vec<(ImageReference, FetchedImage)>,
    /// Rows that could not be read: table and key.
    pub unreadable: Vec<String>,
}

impl Memory {
    /// Takes in one row.
    pub fn read(&mut self, table: Table, key: &[u8], value: &[u8]) {
        let read = match table {
            Table::Facts => match key {
                BOOT => into(value, &mut self.boot),
                TERM => into(value, &mut self.term),
                GENERATION => into(value, &mut self.generation),
                CHAIN => into(value, &mut self.chain),
                LEAVE => into(value, &mut self.leave),
                _ => false,
            },
            Table::Assignments => push(value, &mut self.entries),
            Table::Records => match (key.first_chunk(), decode::<Record>(value)) {
                (Some(epoch), Ok(record)) => {
                    self.records.push((Epoch(u64::from_be_bytes(*epoch)), record));
                    true
                }
                (_, _) => false,
            },
            Table::Receipts => push(value, &mut self.receipts),
            Table::Images => {
                let image = str::from_utf8(key).ok().and_then(|text| text.parse().ok());
                match (image, decode::<FetchedImage>(value)) {
                    (Some(image), Ok(fetched)) => {
                        self.images.push((image, fetched));
                        true
                    }
                    (_, _) => false,
                }
            }
        };
        if !read {
            self.unreadable.push(format!("{}/{}", table.name(), key.escape_ascii()));
        }
    }
}

fn into<T: for<'b> Decode<'b, ()>>(bytes: &[u8], into: &mut T) -> bool {
    decode(bytes).map(|value| *into = value).is_ok()
}

fn push<T: for<'b> Decode<'b, ()>>(bytes: &[u8], into: &mut Vec<T>) -> bool {
    decode(bytes).map(|value| into.push(value)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_a_row_that_cannot_be_read_is_named() {
        let mut memory = Memory::default();
        let changes = [
            Change::boot(BootCounter(3)),
            Change::term(Term(2)),
            Change::generation((Term(2), Generation(9))),
            Change::record(Epoch(7), Some(&Record::default())),
        ];
        for Change { table, key, value } in changes {
            memory.read(table, &key, &value.unwrap());
        }
        memory.read(Table::Assignments, b"broken", &[0xff]);
        memory.read(Table::Facts, b"of a later version", &[0]);
        assert_eq!((memory.boot, memory.term), (BootCounter(3), Term(2)));
        assert_eq!(memory.generation, Some((Term(2), Generation(9))));
        assert_eq!(memory.records, [(Epoch(7), Record::default())]);
        assert_eq!(memory.unreadable, ["assignments/broken", "facts/of a later version"]);
    }
}
