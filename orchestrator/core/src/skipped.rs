//! Rows of the store as they are read: each for itself, and one that cannot be read is named.

use lode_protocol::envelope::decode;

use super::effect::Table;

/// A row that could not be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SkippedRow {
    /// Its table.
    pub table: Table,
    /// Its key.
    pub key: Vec<u8>,
    /// What is wrong with it.
    pub problem: String,
}

pub(crate) fn read<T: for<'b> minicbor::Decode<'b, ()>>(value: &[u8]) -> Result<T, String> {
    decode(value).map_err(|error| error.to_string())
}

pub(crate) fn orphan(table: Table, key: Vec<u8>) -> SkippedRow {
    SkippedRow { table, key, problem: "the task it belongs to could not be read".to_owned() }
}
