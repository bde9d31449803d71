//! Files that must be private, whole, or owned by one process.
//!
//! Secret files are 0600 and refused if others could read them. Atomic writes survive a crash at any moment:
//! readers see the old bytes or the new ones. A data directory belongs to one process at a time.

mod access;
#[cfg(unix)]
mod data_dir;

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use zeroize::Zeroizing;

#[cfg(unix)]
pub use data_dir::DataDir;

/// What can be wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The operating system refused.
    #[error("cannot {operation} {}: {source}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A secret that others could read.
    #[error(
        "{} holds a secret but has mode {mode:04o}; only its owner may read it: run `chmod 600 {}`, and replace the secret if others had access",
        path.display(), path.display()
    )]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A secret that must not be overwritten is there already.
    #[error("{} exists; it is not overwritten: move it away first if you want a new one", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Another process owns the data directory.
    #[error(
        "the data directory {} is in use by {}; stop that process or choose another data directory",
        path.display(),
        pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
    )]
    Locked {
        /// The directory.
        path: PathBuf,
        /// Its owner, where known.
        pid: Option<u32>,
    },
    /// Something else stands where a directory should be.
    #[error("{} is not a directory; choose another path", path.display())]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
}

impl FileError {
    fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { operation, path, source }
    }

    /// Stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => "file/full",
            Self::Io { .. } => "file/io",
            Self::TooOpen { .. } => "file/too-open",
            Self::Exists { .. } => "file/exists",
            Self::Locked { .. } => "data-dir/locked",
            Self::NotADirectory { .. } => "data-dir/not-a-directory",
        }
    }

    /// Whether the file is simply not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// Reads a secret file, refusing it if its group or others could read or write it. The bytes are wiped when
/// dropped.
pub fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let mut file = File::open(path).map_err(FileError::io("read", path))?;
    // Metadata of the open file, not of the path: nobody can swap the file in between.
    let metadata = file.metadata().map_err(FileError::io("inspect", path))?;
    if let Some(mode) = access::open_to_others(&metadata) {
        return Err(FileError::TooOpen { path: path.to_owned(), mode });
    }
    let size = usize::try_from(metadata.len()).unwrap_or(0);
    let mut bytes = Zeroizing::new(Vec::with_capacity(size.saturating_add(1)));
    io::Read::read_to_end(&mut file, &mut bytes).map_err(FileError::io("read", path))?;
    Ok(bytes)
}

/// Reads a secret file as text without its surrounding white space.
pub fn read_secret_text(path: &Path) -> Result<Zeroizing<String>, FileError> {
    let bytes = read_secret(path)?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|error| FileError::io("read", path)(io::Error::new(io::ErrorKind::InvalidData, error)))?;
    Ok(Zeroizing::new(text.trim().to_owned()))
}

/// Writes a new secret with mode 0600, durable when this returns. Refuses to overwrite.
pub fn create_secret(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let temporary = write_temporary(path, bytes, 0o600)?;
    // Linking fails where the name exists, so two starts cannot overwrite each other's key.
    let linked = fs::hard_link(&temporary, path);
    let removed = fs::remove_file(&temporary);
    linked.map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => FileError::Exists { path: path.to_owned() },
        _ => FileError::io("create", path)(source),
    })?;
    removed.map_err(FileError::io("remove", &temporary))?;
    sync_parent(path)
}

/// Replaces a secret, or makes it, with mode 0600, atomically and durably.
pub fn replace_secret(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    write_atomic(path, bytes, 0o600)
}

/// Replaces a file by these bytes: temporary file, fsync, rename, fsync of the directory. After a crash the file
/// holds the old bytes or the new ones, never a mixture; when this returns, the new ones for good.
pub fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    let temporary = write_temporary(path, bytes, mode)?;
    fs::rename(&temporary, path).map_err(|source| {
        // Best effort: the rename's error is the one to report.
        let _ = fs::remove_file(&temporary);
        FileError::io("replace", path)(source)
    })?;
    sync_parent(path)
}

/// Makes a directory and its parents, readable by its owner alone if it is new.
pub fn create_private_dir(path: &Path) -> Result<(), FileError> {
    if path.exists() && !path.is_dir() {
        return Err(FileError::NotADirectory { path: path.to_owned() });
    }
    access::private_directories().create(path).map_err(FileError::io("create", path))
}

fn write_temporary(path: &Path, bytes: &[u8], mode: u32) -> Result<PathBuf, FileError> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}-{number}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    let write = || -> io::Result<()> {
        // `create_new`: never follow a link that somebody laid under the temporary name.
        let open = || access::options(mode).write(true).create_new(true).open(&temporary);
        let mut file = match open() {
            // Left by an earlier process with our pid that died half-way.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_file(&temporary)?;
                open()?
            }
            other => other?,
        };
        // The umask may have taken bits away.
        access::set_mode(&file, mode)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|source| {
        // Best effort: the write's error is the one to report.
        let _ = fs::remove_file(&temporary);
        FileError::io("write", path)(source)
    })?;
    Ok(temporary)
}

fn sync_parent(path: &Path) -> Result<(), FileError> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    access::sync_directory(parent).map_err(FileError::io("sync", parent))
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    use super::*;

    #[test]
    fn a_secret_is_private_and_never_overwritten_by_creation() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("node.key");
        create_secret(&path, b" one\n").expect("created");
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o777, 0o600);
        assert!(matches!(create_secret(&path, b"two"), Err(FileError::Exists { .. })));
        assert_eq!(read_secret_text(&path).expect("readable").as_str(), "one");
        replace_secret(&path, b"three").expect("replaced");
        assert_eq!(read_secret(&path).expect("readable").as_slice(), b"three");
        assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 1, "no temporary file stays");
    }

    #[test]
    fn a_secret_that_others_can_read_is_refused_with_the_remedy() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("node.key");
        fs::write(&path, b"secret").expect("written");
        for mode in [0o640, 0o604, 0o620] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("set");
            let error = read_secret(&path).expect_err("refused").to_string();
            assert!(error.contains("chmod 600"), "{error}");
            assert!(!error.contains("secret\""), "{error}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).expect("set");
        read_secret(&path).expect("read-only for its owner is fine");
    }

    #[test]
    fn a_missing_secret_is_told_apart_from_other_errors() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        assert!(read_secret(&folder.path().join("none")).expect_err("missing").is_not_found());
    }

    #[test]
    fn a_failed_atomic_write_leaves_the_old_bytes_and_no_rubbish() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("target");
        fs::create_dir(&path).expect("a directory stands where the file should go");
        assert!(write_atomic(&path, b"new", 0o644).is_err());
        assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 1);
    }
}
