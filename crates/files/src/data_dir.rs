//! A program's data directory, owned by one process at a time.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use crate::{FileError, access, create_private_dir};

const LOCK_FILE: &str = "lock";

/// An open data directory. While it lives, no other process can open the same one; the operating system releases
/// the lock when the process ends, however it ends.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    // Held, never read: closing it releases the lock.
    _lock: File,
}

impl DataDir {
    /// Makes the directory if needed (0700) and takes its lock.
    ///
    /// A full disk does not prevent opening: then the lock file simply does not name its owner.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        create_private_dir(path)?;
        let lock_path = path.join(LOCK_FILE);
        let mut lock = access::options(0o600)
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&lock_path)
            .map_err(FileError::io("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // A lock file that cannot be read only costs the owner's pid in the message.
                let _ = lock.read_to_string(&mut text);
                return Err(FileError::Locked { path: path.to_owned(), pid: text.trim().parse().ok() });
            }
            Err(TryLockError::Error(source)) => return Err(FileError::io("lock", &lock_path)(source)),
        }
        if let Err(error) = write_pid(&mut lock) {
            tracing::warn!(path = %lock_path.display(), %error, "the lock file does not name this process");
        }
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path beneath it. `name` is a name of ours, never one from outside.
    #[must_use]
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// A subdirectory, made if needed (0700).
    pub fn subdirectory(&self, name: &str) -> Result<PathBuf, FileError> {
        let path = self.path.join(name);
        create_private_dir(&path)?;
        Ok(path)
    }

    /// Bytes free for this process on the file system beneath.
    pub fn free_bytes(&self) -> Result<u64, FileError> {
        free_bytes(&self.path)
    }
}

fn write_pid(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", std::process::id())
}

fn free_bytes(path: &Path) -> Result<u64, FileError> {
    let path = fs::canonicalize(path).map_err(FileError::io("inspect", path))?;
    let statistics = rustix::fs::statvfs(&path)
        .map_err(|error| FileError::io("measure the free space of", &path)(error.into()))?;
    Ok(statistics.f_bavail.saturating_mul(statistics.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_directory_has_one_owner_at_a_time_and_the_error_names_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("data");
        let first = DataDir::open(&path).expect("free");
        let error = DataDir::open(&path).expect_err("in use");
        let expected = std::process::id();
        assert!(matches!(error, FileError::Locked { pid: Some(pid), .. } if pid == expected), "{error}");
        assert!(first.free_bytes().expect("measured") > 0);
        drop(first);
        DataDir::open(&path).expect("free again");
    }

    #[test]
    fn a_file_in_place_of_the_directory_is_named() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("data");
        fs::write(&path, b"").expect("written");
        assert!(matches!(DataDir::open(&path), Err(FileError::NotADirectory { .. })));
    }
}
