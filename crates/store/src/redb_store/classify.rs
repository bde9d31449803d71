//! What redb says, in our words.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::error::StoreError;

/// The newest file format that the linked redb reads.
const REDB_FORMAT: u64 = 3;

#[derive(Debug, Clone, Copy)]
pub(super) struct Classifier<'a> {
    pub(super) path: &'a Path,
}

impl Classifier<'_> {
    pub(super) fn error(&self, operation: &'static str, error: impl Into<redb::Error>) -> StoreError {
        match error.into() {
            redb::Error::Io(source) => self.io(operation, source),
            redb::Error::Corrupted(message) if message.starts_with("Expected file format version") => {
                StoreError::Format { path: self.path.to_owned(), found: message, supported: REDB_FORMAT }
            }
            redb::Error::Corrupted(message) => self.corrupt(message),
            redb::Error::UpgradeRequired(version) => StoreError::Format {
                path: self.path.to_owned(),
                found: format!("redb {version}, which only older programs read"),
                supported: REDB_FORMAT,
            },
            redb::Error::DatabaseAlreadyOpen => StoreError::Locked { path: self.path.to_owned() },
            error @ (redb::Error::TableTypeMismatch { .. }
            | redb::Error::TableIsMultimap(_)
            | redb::Error::TypeDefinitionChanged { .. }) => self.corrupt(error.to_string()),
            // An earlier I/O error closed it: opening it again is what the next call does.
            other => StoreError::Io {
                operation,
                path: self.path.to_owned(),
                source: Arc::new(io::Error::other(other.to_string())),
            },
        }
    }

    pub(super) fn io(&self, operation: &'static str, source: io::Error) -> StoreError {
        match source.kind() {
            // redb says so where the magic number is wrong.
            io::ErrorKind::InvalidData if operation == "open" => {
                StoreError::NotAStore { path: self.path.to_owned() }
            }
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => self.corrupt(source.to_string()),
            _ => StoreError::from_io(operation, self.path, source),
        }
    }

    pub(super) fn corrupt(&self, message: impl Into<String>) -> StoreError {
        StoreError::Corrupt { path: self.path.to_owned(), message: message.into() }
    }
}
