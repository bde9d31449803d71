//! Output of ended assignments: kept in files when their containers are removed, so that a user can read it afterwards,
//! until it is too old or too much.
//!
//! One file per assignment ([`file`] knows its form), in a folder that only this worker's user may read. A file appears
//! whole or not at all, and never gives way to less: keeping twice is harmless. Of long output the newest bytes are kept.
//! Trouble with it is a finding; it never keeps a container from being removed.

mod file;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::StreamExt as _;
use futures::stream::BoxStream;
use lode_program::files::{FileError, create_private_dir};
use lode_program::finding::{Finding, FindingSet};
use lode_protocol::ids::AssignmentId;
use lode_protocol::logs::LogLine;
use tokio::fs::{self, File};
use tokio::io::{AsyncWriteExt as _, BufWriter};
use tokio_util::sync::CancellationToken;

use crate::core::event::{ContainerId, EngineFailure};
use crate::engine::{Engine, LogQuery};

/// Time that copying one container's output may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks for what is too old or too much.
const SWEEP_EVERY: Duration = Duration::from_secs(600);
const NOT_KEPT: &str = "output/not-kept";
const KEPT: &str = "log";
const PART: &str = "part";

/// How much is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutputLimits {
    /// Bytes of one assignment; of more the newest.
    pub per_assignment: u64,
    /// Bytes of all; the oldest go first.
    pub total: u64,
    /// Time after the end.
    pub keep_for: Duration,
}

/// Why output was not kept.
#[derive(Debug, thiserror::Error)]
enum NotKept {
    #[error("the engine does not give it: {0:?}")]
    Engine(EngineFailure),
    #[error("it cannot be written: {0}")]
    Io(#[from] io::Error),
    #[error("copying it took longer than {PATIENCE:?}")]
    TooSlow,
}

/// The kept output of this node. Clones are the same.
#[derive(Clone, Debug)]
pub struct KeptOutput {
    folder: Arc<Path>,
    limits: OutputLimits,
    findings: FindingSet,
}

impl KeptOutput {
    /// Opens the folder, and makes it if needed. What a crash left half-made is removed.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(folder: PathBuf, limits: OutputLimits, findings: FindingSet) -> Result<Self, FileError> {
        create_private_dir(&folder)?;
        for path in std::fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
            if path.extension().is_some_and(|extension| extension == PART)
                && let Err(error) = std::fs::remove_file(&path)
            {
                tracing::warn!(%error, path = %path.display(), "left behind");
            }
        }
        Ok(Self { folder: folder.into(), limits, findings })
    }

    fn path(&self, id: &AssignmentId, extension: &str) -> PathBuf {
        self.folder.join(format!("{id}.{extension}"))
    }

    /// Keeps everything that a container has written.
    pub async fn keep(&self, id: AssignmentId, engine: &dyn Engine, container: &ContainerId) {
        let copied = tokio::time::timeout(PATIENCE, self.copy(&id, engine, container));
        let error = match copied.await {
            Ok(Ok(())) => {
                self.findings.clear_code(NOT_KEPT);
                return;
            }
            Ok(Err(error)) => error,
            Err(_) => NotKept::TooSlow,
        };
        let part = self.path(&id, PART);
        if let Err(error) = fs::remove_file(&part).await
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::debug!(%error, path = %part.display(), "left behind");
        }
        if fs::try_exists(self.path(&id, KEPT)).await.unwrap_or(false) {
            // An earlier try to remove the container has kept it.
            return;
        }
        let message = format!("the output of assignment {id} was lost with its container: {error}");
        self.findings.raise(
            Finding::warning(NOT_KEPT, message)
                .remedy("look at the disk of data_dir; output of tasks that end from now on is tried again"),
        );
    }

    async fn copy(
        &self,
        id: &AssignmentId,
        engine: &dyn Engine,
        container: &ContainerId,
    ) -> Result<(), NotKept> {
        let part = self.path(id, PART);
        let most = self.limits.per_assignment;
        let size = write_after(0, most, &part, engine, container).await?;
        if size > most {
            // How much there is was not known before: the second time it is, and its beginning is left out.
            write_after(size - most, u64::MAX, &part, engine, container).await?;
        }
        fs::rename(&part, self.path(id, KEPT)).await?;
        self.sweep().await?;
        Ok(())
    }

    /// What is kept of an assignment; `None` if nothing is.
    pub async fn read(
        &self,
        id: &AssignmentId,
        query: LogQuery,
    ) -> Option<BoxStream<'static, Result<LogLine, EngineFailure>>> {
        let file = File::open(self.path(id, KEPT)).await.ok()?.into_std().await;
        Some(file::lines(file, query))
    }

    /// Removes what is too old or too much, now and at intervals.
    pub async fn run(self, shutdown: CancellationToken) {
        loop {
            if let Err(error) = self.sweep().await {
                tracing::warn!(%error, folder = %self.folder.display(), "old output cannot be removed");
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(SWEEP_EVERY) => {}
            }
        }
    }

    async fn sweep(&self) -> io::Result<()> {
        let (folder, limits) = (Arc::clone(&self.folder), self.limits);
        tokio::task::spawn_blocking(move || sweep(&folder, limits, SystemTime::now()))
            .await
            .map_err(io::Error::other)?
    }
}

/// Writes lines behind the first `skip` bytes, as long as `most` bytes are not exceeded; tells how many there are in all.
async fn write_after(
    skip: u64,
    most: u64,
    path: &Path,
    engine: &dyn Engine,
    container: &ContainerId,
) -> Result<u64, NotKept> {
    let mut file = BufWriter::new(File::create(path).await?);
    // Follows to the end: of a container that has just ended, the engine may still be writing the last lines.
    let mut lines = engine.logs(container, LogQuery { follow: true, ..LogQuery::default() });
    let mut size = 0u64;
    while let Some(line) = lines.next().await {
        let text = file::text_of(&line.map_err(NotKept::Engine)?);
        size += text.len() as u64;
        if size > skip && size <= most {
            file.write_all(text.as_bytes()).await?;
        }
    }
    file.flush().await?;
    file.get_ref().sync_data().await?;
    Ok(size)
}

/// Blocking.
fn sweep(folder: &Path, limits: OutputLimits, now: SystemTime) -> io::Result<()> {
    let mut kept = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        // Gone meanwhile, or not ours.
        let Ok(metadata) = entry.metadata() else { continue };
        if entry.path().extension().is_some_and(|extension| extension == KEPT) {
            kept.push((metadata.modified()?, metadata.len(), entry.path()));
        }
    }
    kept.sort_by(|left, right| right.cmp(left));
    let mut total = 0u64;
    for (at, size, path) in kept {
        total = total.saturating_add(size);
        let age = now.duration_since(at).unwrap_or_default();
        if total > limits.total || age > limits.keep_for {
            std::fs::remove_file(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_first_when_there_is_too_much_and_the_old_goes_anyway() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let write = |name: &str, size: usize, age: u64| {
            let path = folder.path().join(name);
            std::fs::write(&path, "x".repeat(size)).unwrap();
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(now - Duration::from_secs(age)).unwrap();
        };
        write("new.log", 60, 1);
        write("middle.log", 30, 2);
        write("old.log", 30, 3);
        write("ancient.log", 1, 100);
        write("under-way.part", 1_000, 200);
        let limits = OutputLimits { per_assignment: 100, total: 100, keep_for: Duration::from_secs(50) };
        sweep(folder.path(), limits, now).unwrap();
        let mut left: Vec<String> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["middle.log", "new.log", "under-way.part"]);
    }
}
