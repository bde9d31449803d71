//! Why the store refused, classified, with stable codes.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::version::Version;

/// What a caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// Trying again later may succeed, without reopening anything.
    Transient,
    /// The disk is full: trying again succeeds once there is space.
    Full,
    /// What is stored cannot be trusted: restore a backup.
    Corrupt,
    /// The request itself is wrong: trying again is useless.
    Invalid,
    /// An operator must act: the store cannot be used as it is.
    Fatal,
}

/// Why the store refused. Cheap to clone, because one failed group commit answers many.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No space, or a quota reached.
    #[error("the disk under {} is full ({operation}): free some space, it goes on by itself", path.display())]
    Full {
        /// What was tried.
        operation: &'static str,
        /// The store.
        path: PathBuf,
    },
    /// The operating system failed to read or write.
    #[error("cannot {operation} {}: {source}; look at the disk and the kernel's log", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The store.
        path: PathBuf,
        /// Why.
        #[source]
        source: Arc<io::Error>,
    },
    /// No permission.
    #[error("not allowed to {operation} {}: {source}; it must belong to the user that runs this program", path.display())]
    Denied {
        /// What was tried.
        operation: &'static str,
        /// The store.
        path: PathBuf,
        /// Why.
        #[source]
        source: Arc<io::Error>,
    },
    /// Another process has it open.
    #[error("{} is open in another process; stop that one first", path.display())]
    Locked {
        /// The store.
        path: PathBuf,
    },
    /// The bytes are not what was written.
    #[error("{} is damaged ({message}): keep a copy of it and restore a backup", path.display())]
    Corrupt {
        /// The store.
        path: PathBuf,
        /// What was found.
        message: String,
    },
    /// Something else stands where the store should be.
    #[error("{} is not a store of this program; choose another path or move it away", path.display())]
    NotAStore {
        /// The path.
        path: PathBuf,
    },
    /// Written by a program with another format.
    #[error(
        "{} has format {found}, this program reads up to {supported}: run the version that wrote it, or a newer one",
        path.display()
    )]
    Format {
        /// The store.
        path: PathBuf,
        /// What it says.
        found: String,
        /// The newest that this program reads.
        supported: u64,
    },
    /// The store is older than what was seen of it before.
    #[error(
        "the store is at version {found}, but version {seen} was seen before: it was put back to an older state; \
         if that was a restored backup, follow the procedure for it, otherwise do not go on"
    )]
    WentBack {
        /// The highest version seen.
        seen: Version,
        /// What it is at now.
        found: Version,
    },
    /// The batch breaks a limit.
    #[error("the batch is not valid: {0}")]
    Invalid(String),
    /// The writer's queue is full.
    #[error("too many writes are waiting: try again shortly")]
    Busy,
    /// The writer has ended.
    #[error("the store's writer has ended: the program is stopping")]
    Closed,
}

impl StoreError {
    /// What a caller can do about it.
    #[must_use]
    pub const fn class(&self) -> ErrorClass {
        match self {
            Self::Full { .. } => ErrorClass::Full,
            Self::Io { .. } | Self::Busy => ErrorClass::Transient,
            Self::Corrupt { .. } => ErrorClass::Corrupt,
            Self::Invalid(_) => ErrorClass::Invalid,
            Self::Denied { .. }
            | Self::Locked { .. }
            | Self::NotAStore { .. }
            | Self::Format { .. }
            | Self::WentBack { .. }
            | Self::Closed => ErrorClass::Fatal,
        }
    }

    /// Stable code, `store/reason`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Full { .. } => "store/full",
            Self::Io { .. } => "store/io",
            Self::Denied { .. } => "store/denied",
            Self::Locked { .. } => "store/locked",
            Self::Corrupt { .. } => "store/corrupt",
            Self::NotAStore { .. } => "store/not-a-store",
            Self::Format { .. } => "store/format",
            Self::WentBack { .. } => "store/went-back",
            Self::Invalid(_) => "store/invalid",
            Self::Busy => "store/busy",
            Self::Closed => "store/closed",
        }
    }

    /// Whether the same request may succeed later without anybody reopening the store.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self.class(), ErrorClass::Transient | ErrorClass::Full)
    }

    /// Classifies an error of the operating system.
    pub(crate) fn from_io(operation: &'static str, path: &std::path::Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::Full { operation, path }
            }
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::Denied { operation, path, source: Arc::new(source) }
            }
            _ => Self::Io { operation, path, source: Arc::new(source) },
        }
    }
}
