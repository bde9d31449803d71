//! The output of this node's assignments: read from the engine once, as it is written, and kept in files until it is too
//! old or too much, so that readers need neither the engine nor the container.
//!
//! One folder per assignment ([`segment`] knows its form), which only this worker's user may read. Records get their
//! positions when they are written there and keep them ([`spool`]); whoever reads is never waited for ([`reader`]). Of
//! long output the newest bytes are kept. Trouble with it is a finding; it never keeps a container from being removed.

mod capture;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod join;
mod reader;
mod segment;
mod spool;
mod standing;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use capture::{Capture, NotKept, Trouble};
use lode_program::TaskGroup;
use lode_program::files::{FileError, create_private_dir};
use lode_program::finding::{Finding, FindingSet};
use lode_protocol::ids::AssignmentId;
pub use reader::{OutputQuery, OutputReader, Progress};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::core::event::ContainerId;
pub use crate::core::view::{Containers, Place};
use crate::engine::Engine;

/// Time that reading the rest of one container's output may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks for what is too old or too much.
const SWEEP_EVERY: Duration = Duration::from_secs(600);
const NOT_KEPT: &str = "output/not-kept";
/// How long lost output of an assignment that is not written any more is told of.
const TOLD_FOR: Duration = Duration::from_secs(3_600);

/// How much is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutputLimits {
    /// Bytes of one assignment; of more the newest.
    pub per_assignment: u64,
    /// Bytes of all; the oldest go first.
    pub total: u64,
    /// Time after it was last written to.
    pub keep_for: Duration,
}

/// The output of this node. Clones are the same.
#[derive(Clone, Debug)]
pub struct KeptOutput {
    folder: Arc<Path>,
    limits: OutputLimits,
    findings: FindingSet,
    active: Arc<Mutex<HashMap<AssignmentId, Active>>>,
}

/// Output that is being read from the engine.
#[derive(Clone, Debug)]
struct Active {
    progress: watch::Receiver<Progress>,
    finish: watch::Sender<bool>,
}

/// The right to write an assignment's output; one at a time.
struct Claim {
    id: AssignmentId,
    kept: KeptOutput,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.kept.active().remove(&self.id);
    }
}

impl KeptOutput {
    /// Opens the folder, and makes it if needed.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(folder: PathBuf, limits: OutputLimits, findings: FindingSet) -> Result<Self, FileError> {
        create_private_dir(&folder)?;
        Ok(Self { folder: folder.into(), limits, findings, active: Arc::default() })
    }

    fn active(&self) -> MutexGuard<'_, HashMap<AssignmentId, Active>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn folder_of(&self, id: &AssignmentId) -> PathBuf {
        self.folder.join(id.to_string())
    }

    /// Begins to write, unless somebody does.
    fn claim(&self, id: AssignmentId, containers: watch::Receiver<Containers>) -> Option<(Capture, Claim)> {
        let folder = self.folder_of(&id);
        let mut active = self.active();
        if active.contains_key(&id) {
            return None;
        }
        if let Err(error) = create_private_dir(&folder) {
            self.raise(&id, &NotKept::Io(io::Error::other(error)));
            return None;
        }
        let (progress, written) = watch::channel(Progress::default());
        let (finish, must_finish) = watch::channel(false);
        active.insert(id, Active { progress: written, finish });
        let limit = self.limits.per_assignment;
        let kept = self.clone();
        let tell = Box::new(move |error: Option<&NotKept>| match error {
            Some(error) => kept.raise(&id, error),
            None => kept.clear(&id),
        });
        let trouble = Trouble { tell, is_on: AtomicBool::new(false) };
        let capture = Capture { id, folder, limit, containers, finish: must_finish, progress, trouble };
        Some((capture, Claim { id, kept: self.clone() }))
    }

    /// Reads the output of all containers that there are, until shutdown.
    pub async fn capture(
        self,
        engine: Arc<dyn Engine>,
        mut containers: watch::Receiver<Containers>,
        tasks: TaskGroup,
        shutdown: CancellationToken,
    ) {
        loop {
            let places = containers.borrow_and_update().clone();
            for (id, place) in places {
                if place.container.is_none() || spool::has_ended(&self.folder_of(&id)) {
                    continue;
                }
                let Some((capture, claim)) = self.claim(id, containers.clone()) else { continue };
                let (kept, engine, shutdown) = (self.clone(), Arc::clone(&engine), shutdown.clone());
                tasks.once("output", async move {
                    tokio::select! {
                        () = shutdown.cancelled() => {}
                        () = kept.run_capture(capture, claim, engine.as_ref()) => {}
                    }
                    Ok::<(), anyhow::Error>(())
                });
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                changed = containers.changed() => if changed.is_err() { return },
            }
        }
    }

    async fn run_capture(&self, capture: Capture, claim: Claim, engine: &dyn Engine) {
        let id = claim.id;
        match capture.run(engine).await {
            Ok(()) => self.clear(&id),
            Err(error) => {
                self.raise(&id, &error);
                // There is nothing in it.
                let folder = self.folder_of(&id);
                if let Err(error) = tokio::fs::remove_dir_all(&folder).await {
                    tracing::debug!(%error, folder = %folder.display(), "left behind");
                }
            }
        }
        drop(claim);
        if let Err(error) = self.sweep().await {
            tracing::warn!(%error, folder = %self.folder.display(), "old output cannot be removed");
        }
    }

    /// Waits until everything that a container has written is kept.
    pub async fn keep(&self, id: AssignmentId, engine: &dyn Engine, container: &ContainerId) {
        if spool::has_ended(&self.folder_of(&id)) {
            return;
        }
        let place = Place { container: Some(container.clone()), has_ended: true, ..Place::default() };
        let (_places, containers) = watch::channel(Containers::from([(id, place)]));
        let copied = async {
            match self.claim(id, containers) {
                Some((capture, claim)) => self.run_capture(capture, claim, engine).await,
                None => self.finish(&id).await,
            }
        };
        if tokio::time::timeout(PATIENCE, copied).await.is_err() {
            self.raise(&id, &NotKept::TooSlow(PATIENCE));
        }
    }

    /// Tells the one who writes that the container is about to go, and waits for it.
    async fn finish(&self, id: &AssignmentId) {
        let Some(active) = self.active().get(id).cloned() else { return };
        active.finish.send_replace(true);
        let mut progress = active.progress;
        // An error means that it has stopped.
        let _ = progress.wait_for(|progress| progress.ended).await;
    }

    fn raise(&self, id: &AssignmentId, error: &NotKept) {
        let message = format!("output of assignment {id} is not kept: {error}");
        self.findings.raise(
            Finding::warning(NOT_KEPT, message)
                .about(id.to_string())
                .remedy("look at the disk of data_dir; output that the engine still has is tried again"),
        );
    }

    fn clear(&self, id: &AssignmentId) {
        self.findings.clear(NOT_KEPT, &id.to_string());
    }

    /// What can no longer become better is told for a while.
    fn clear_old(&self, now: SystemTime) {
        let written: Vec<String> = self.active().keys().map(ToString::to_string).collect();
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let is_old = |since: u64| now.saturating_sub(Duration::from_millis(since)) > TOLD_FOR;
        for told in self.findings.list() {
            let subject = told.finding.subject;
            if told.finding.code.as_str() == NOT_KEPT
                && is_old(told.since_millis)
                && !written.contains(&subject)
            {
                self.findings.clear(NOT_KEPT, &subject);
            }
        }
    }

    /// What there is of an assignment's output; `None` if nothing is.
    pub async fn read(&self, id: &AssignmentId, query: OutputQuery) -> Option<OutputReader> {
        let folder = self.folder_of(id);
        if let Some(written) = self.written(id, query) {
            return Some(written);
        }
        let looked_at = folder.clone();
        let look = tokio::task::spawn_blocking(move || {
            let next = spool::next_of(&looked_at)?;
            io::Result::Ok(Progress {
                is_known: true,
                next,
                ended: spool::has_ended(&looked_at),
                has_caught_up: true,
            })
        });
        let progress = look.await.ok()?.ok()?;
        // Writing it may have begun meanwhile.
        if let Some(written) = self.written(id, query) {
            return Some(written);
        }
        let (_, progress) = watch::channel(progress);
        Some(OutputReader::new(folder, progress, false, query))
    }

    /// Output that is being written.
    fn written(&self, id: &AssignmentId, query: OutputQuery) -> Option<OutputReader> {
        let progress = self.active().get(id)?.progress.clone();
        let is_known = progress.borrow().is_known;
        Some(OutputReader::new(self.folder_of(id), progress, is_known, query))
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
        self.clear_old(SystemTime::now());
        let (folder, limits) = (Arc::clone(&self.folder), self.limits);
        let busy: Vec<PathBuf> = self.active().keys().map(|id| self.folder_of(id)).collect();
        tokio::task::spawn_blocking(move || sweep(&folder, limits, &busy, SystemTime::now(), remove))
            .await
            .map_err(io::Error::other)?
    }
}

fn remove(path: &Path) -> io::Result<()> {
    if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }
}

/// Blocking. What is being written counts, and stays. What cannot be removed keeps nothing else from being removed.
fn sweep(
    folder: &Path,
    limits: OutputLimits,
    busy: &[PathBuf],
    now: SystemTime,
    remove: impl Fn(&Path) -> io::Result<()>,
) -> io::Result<()> {
    let mut kept = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let files: Vec<_> = match std::fs::read_dir(&path) {
            Ok(files) => files.flatten().filter_map(|file| file.metadata().ok()).collect(),
            // A file is output as an older worker kept it, which ages like the rest.
            Err(_) => path.metadata().into_iter().collect(),
        };
        let files = files.into_iter();
        let (size, written) = files.fold((0u64, SystemTime::UNIX_EPOCH), |(size, written), file| {
            (size + file.len(), file.modified().unwrap_or(written).max(written))
        });
        kept.push((busy.contains(&path), written, size, path));
    }
    kept.sort_by(|left, right| right.cmp(left));
    let mut total = 0u64;
    let mut outcome = Ok(());
    for (is_busy, at, size, path) in kept {
        total = total.saturating_add(size);
        let age = now.duration_since(at).unwrap_or_default();
        if !is_busy
            && (total > limits.total || age > limits.keep_for)
            && let Err(error) = remove(&path)
        {
            let error = io::Error::new(error.kind(), format!("{}: {error}", path.display()));
            outcome = outcome.and(Err(error));
        }
    }
    outcome
}
