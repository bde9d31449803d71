//! Where a redb database lives and how it is opened, again and again.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use redb::{Builder, Database};

use super::classify::Classifier;
use super::{FORMAT, META, META_FORMAT, META_VERSION, RedbOptions};
use crate::error::StoreError;

/// Something that can be opened as a database, also after it was closed.
pub(super) trait Place: fmt::Debug + Send + Sync {
    /// Opens it, making it first if it is not there.
    fn open(&self) -> Result<Database, StoreError>;

    /// For messages.
    fn path(&self) -> &Path;
}

/// A file.
#[derive(Debug)]
pub(super) struct FilePlace {
    path: PathBuf,
    options: RedbOptions,
}

impl FilePlace {
    pub(super) fn new(path: &Path, options: RedbOptions) -> Self {
        Self { path: path.to_owned(), options }
    }

    fn builder(&self) -> Builder {
        let mut builder = Builder::new();
        builder.set_cache_size(self.options.cache_bytes);
        builder
    }

    /// Makes the file under another name and gives it its own when it is whole: a crash while redb lays out a new
    /// file would leave one that no open accepts.
    fn create(&self) -> Result<(), StoreError> {
        let classify = Classifier { path: &self.path };
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let temporary = self.path.with_file_name(name);
        match fs::remove_file(&temporary) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(classify.io("create", error)),
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)
            .map_err(|error| classify.io("create", error))?;
        let database = self.builder().create_file(file).map_err(|error| classify.error("create", error))?;
        let result = initialize(&database, classify);
        drop(database);
        result?;
        let publish = || {
            File::open(&temporary)?.sync_all()?;
            // Never over a file that somebody else made meanwhile.
            fs::hard_link(&temporary, &self.path)?;
            fs::remove_file(&temporary)?;
            let parent = match self.path.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent,
                _ => Path::new("."),
            };
            File::open(parent)?.sync_all()
        };
        publish().map_err(|error| classify.io("create", error))
    }
}

impl Place for FilePlace {
    fn open(&self) -> Result<Database, StoreError> {
        let classify = Classifier { path: &self.path };
        match fs::symlink_metadata(&self.path) {
            Ok(metadata) if metadata.is_dir() => {
                return Err(StoreError::NotAStore { path: self.path.clone() });
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.create()?,
            Err(error) => return Err(classify.io("open", error)),
        }
        self.builder().open(&self.path).map_err(|error| classify.error("open", error))
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

/// Writes our records into a new database.
pub(super) fn initialize(database: &Database, classify: Classifier<'_>) -> Result<(), StoreError> {
    let mut transaction = database.begin_write().map_err(|error| classify.error("create", error))?;
    transaction.set_quick_repair(true);
    {
        let mut meta = transaction.open_table(META).map_err(|error| classify.error("create", error))?;
        for (key, value) in [(META_FORMAT, FORMAT), (META_VERSION, 0)] {
            meta.insert(key, value).map_err(|error| classify.error("create", error))?;
        }
    }
    transaction.commit().map_err(|error| classify.error("create", error))
}
