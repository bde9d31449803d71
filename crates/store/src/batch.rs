//! What is written: changes to rows of named tables, applied together.

use std::fmt;

use crate::error::StoreError;

/// Longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 1 << 10;
/// Longest value, in bytes.
pub const MAX_VALUE_BYTES: usize = 16 << 20;
/// Largest batch: the bytes of its keys and values together.
pub const MAX_BATCH_BYTES: usize = 64 << 20;

/// A table's name: lower-case letters, digits and underscores, not starting with `lode_` (the store's own).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Table(&'static str);

impl Table {
    /// Names a table: `const TASKS: Table = Table::new("tasks");`
    ///
    /// # Panics
    /// When evaluated with a name that breaks the rule, in a constant thus at compile time.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        let bytes = name.as_bytes();
        assert!(!bytes.is_empty() && bytes.len() <= 64, "a table's name has 1 to 64 letters");
        let mut rest = bytes;
        while let [letter, tail @ ..] = rest {
            assert!(
                letter.is_ascii_lowercase() || letter.is_ascii_digit() || *letter == b'_',
                "a table's name consists of a-z, 0-9 and _"
            );
            rest = tail;
        }
        assert!(!matches!(bytes, [b'l', b'o', b'd', b'e', b'_', ..]), "names with lode_ are the store's own");
        Self(name)
    }

    /// A table of the store's own.
    pub(crate) const fn reserved(name: &'static str) -> Self {
        Self(name)
    }

    /// A table by a name that was read from the store. The names of a program are few; each stays in memory.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let letters = |letter: u8| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == b'_';
        let valid = (1..=64).contains(&name.len()) && name.bytes().all(letters) && !name.starts_with("lode_");
        valid.then(|| Self(name.to_owned().leak()))
    }

    /// The name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0)
    }
}

/// One change of one row.
#[derive(Clone, PartialEq, Eq)]
pub enum Change {
    /// The row has this value from now on, whether or not it existed.
    Put {
        /// Which table.
        table: Table,
        /// Which row.
        key: Vec<u8>,
        /// Its value.
        value: Vec<u8>,
    },
    /// The row is gone, whether or not it existed.
    Delete {
        /// Which table.
        table: Table,
        /// Which row.
        key: Vec<u8>,
    },
}

impl Change {
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Put { key, value, .. } => key.len() + value.len(),
            Self::Delete { key, .. } => key.len(),
        }
    }

    fn check(&self) -> Result<(), StoreError> {
        let (table, key, value_bytes) = match self {
            Self::Put { table, key, value } => (table, key, value.len()),
            Self::Delete { table, key } => (table, key, 0),
        };
        if key.len() > MAX_KEY_BYTES {
            return Err(StoreError::Invalid(format!(
                "a key of {} bytes in table {table}; at most {MAX_KEY_BYTES} are allowed",
                key.len()
            )));
        }
        if value_bytes > MAX_VALUE_BYTES {
            return Err(StoreError::Invalid(format!(
                "a value of {value_bytes} bytes in table {table}; at most {MAX_VALUE_BYTES} are allowed"
            )));
        }
        Ok(())
    }
}

/// Values may be secrets: only their lengths are shown.
impl fmt::Debug for Change {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put { table, key, value } => {
                write!(formatter, "Put({table}, key of {} bytes, value of {} bytes)", key.len(), value.len())
            }
            Self::Delete { table, key } => write!(formatter, "Delete({table}, key of {} bytes)", key.len()),
        }
    }
}

/// Changes that are applied together, in this order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    changes: Vec<Change>,
    bytes: usize,
}

impl Batch {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a row.
    pub fn put(&mut self, table: Table, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> &mut Self {
        self.push(Change::Put { table, key: key.into(), value: value.into() })
    }

    /// Removes a row.
    pub fn delete(&mut self, table: Table, key: impl Into<Vec<u8>>) -> &mut Self {
        self.push(Change::Delete { table, key: key.into() })
    }

    /// Adds a change.
    pub fn push(&mut self, change: Change) -> &mut Self {
        self.bytes = self.bytes.saturating_add(change.bytes());
        self.changes.push(change);
        self
    }

    /// Adds another batch's changes after these.
    pub fn append(&mut self, mut other: Self) -> &mut Self {
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.changes.append(&mut other.changes);
        self
    }

    /// The changes, in order.
    #[must_use]
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// How many changes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Bytes of keys and values together.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Refuses what no adapter would take.
    pub fn check(&self) -> Result<(), StoreError> {
        if self.bytes > MAX_BATCH_BYTES {
            return Err(StoreError::Invalid(format!(
                "a batch of {} bytes; at most {MAX_BATCH_BYTES} are allowed, split it",
                self.bytes
            )));
        }
        self.check_rows()
    }

    /// Refuses rows that no adapter would take, however they are committed.
    pub fn check_rows(&self) -> Result<(), StoreError> {
        self.changes.iter().try_for_each(Change::check)
    }
}

impl FromIterator<Change> for Batch {
    fn from_iter<I: IntoIterator<Item = Change>>(changes: I) -> Self {
        let mut batch = Self::new();
        for change in changes {
            batch.push(change);
        }
        batch
    }
}

impl Extend<Change> for Batch {
    fn extend<I: IntoIterator<Item = Change>>(&mut self, changes: I) {
        for change in changes {
            self.push(change);
        }
    }
}
