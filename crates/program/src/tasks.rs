//! Supervised tasks: everything a program runs in the background has a name, and its end is noticed.
//!
//! | kind | when it ends | at shutdown |
//! |---|---|---|
//! | critical | the program stops with an error that names it | must watch the `Shutdown` and finish its work |
//! | best effort | logged, restarted with back-off | dropped at once |
//! | once | an error or panic is logged | awaited |
//!
//! What still runs when the grace is over is named in the error and dropped.

use std::any::Any;
use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use crate::backoff::{self, BackoffPolicy};
use crate::shutdown::{Cause, Shutdown};

/// How a program's tasks failed it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// A critical task ended.
    #[error("task `{name}` ended: {error}")]
    Critical {
        /// Which.
        name: String,
        /// How.
        error: String,
    },
    /// Tasks did not finish within the grace and were dropped.
    #[error("these tasks did not finish within {grace:?} and were dropped: {}", names.join(", "))]
    NotDrained {
        /// How long they were given.
        grace: Duration,
        /// Which.
        names: Vec<String>,
    },
}

/// What a task may return: nothing, or a result.
pub trait TaskOutcome: Send {
    /// As a result.
    fn into_result(self) -> anyhow::Result<()>;
}

impl TaskOutcome for () {
    fn into_result(self) -> anyhow::Result<()> {
        Ok(())
    }
}

impl<E: Into<anyhow::Error> + Send> TaskOutcome for Result<(), E> {
    fn into_result(self) -> anyhow::Result<()> {
        self.map_err(Into::into)
    }
}

/// A program's background tasks. Cheap to clone.
#[derive(Debug, Clone)]
pub struct TaskGroup {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shutdown: Shutdown,
    tracker: TaskTracker,
    kill: CancellationToken,
    live: Mutex<BTreeMap<u64, String>>,
    next_id: AtomicU64,
}

impl TaskGroup {
    /// A group whose critical tasks raise this sign when they end.
    #[must_use]
    pub fn new(shutdown: Shutdown) -> Self {
        Self {
            inner: Arc::new(Inner {
                shutdown,
                tracker: TaskTracker::new(),
                kill: CancellationToken::new(),
                live: Mutex::default(),
                next_id: AtomicU64::new(0),
            }),
        }
    }

    /// The sign that this group obeys.
    #[must_use]
    pub fn shutdown(&self) -> &Shutdown {
        &self.inner.shutdown
    }

    /// Spawns a task that the program cannot live without. It may end only after shutdown was requested.
    pub fn critical<F>(&self, name: impl Into<String>, future: F)
    where
        F: Future + Send + 'static,
        F::Output: TaskOutcome,
    {
        let name = name.into();
        let shutdown = self.inner.shutdown.clone();
        let label = name.clone();
        self.spawn(name, async move {
            let error = match (outcome(future).await, shutdown.is_requested()) {
                (Ok(()), true) => return,
                (Ok(()), false) => "it returned although nobody asked it to stop".to_owned(),
                (Err(error), true) => {
                    tracing::error!(error = format!("{error:#}"), "task failed while stopping");
                    return;
                }
                (Err(error), false) => format!("{error:#}"),
            };
            shutdown.request(Cause::CriticalTask { name: label, error });
        });
    }

    /// Spawns a task that is made anew whenever it ends, after a wait that grows while it keeps failing.
    pub fn best_effort<M, F>(&self, name: impl Into<String>, policy: BackoffPolicy, mut make: M)
    where
        M: FnMut() -> F + Send + 'static,
        F: Future + Send + 'static,
        F::Output: TaskOutcome,
    {
        let shutdown = self.inner.shutdown.clone();
        let restarting = async move {
            let mut backoff = backoff::sequence(policy);
            loop {
                let started = Instant::now();
                let result = outcome(make()).await;
                if started.elapsed() > policy.most.to_duration() {
                    backoff.reset();
                }
                let wait = backoff.next_wait();
                match result {
                    Ok(()) => tracing::debug!(?wait, "task ended, starting it again"),
                    Err(error) => {
                        tracing::warn!(error = format!("{error:#}"), ?wait, "task failed, starting it again");
                    }
                }
                tokio::time::sleep(wait).await;
            }
        };
        self.spawn(name.into(), async move {
            tokio::select! {
                () = shutdown.requested() => {}
                () = restarting => {}
            }
        });
    }

    /// Spawns a task that runs to its end once; its failure is logged.
    pub fn once<F>(&self, name: impl Into<String>, future: F)
    where
        F: Future + Send + 'static,
        F::Output: TaskOutcome,
    {
        self.spawn(name.into(), async move {
            if let Err(error) = outcome(future).await {
                tracing::warn!(error = format!("{error:#}"), "task failed");
            }
        });
    }

    /// Names of the tasks that run now.
    #[must_use]
    pub fn live(&self) -> Vec<String> {
        self.inner.names().values().cloned().collect()
    }

    /// Waits until shutdown is requested, then until all tasks have ended, for at most `grace`.
    pub async fn finish(&self, grace: Duration) -> Result<(), TaskError> {
        self.inner.shutdown.requested().await;
        self.drain(grace).await?;
        match self.inner.shutdown.cause() {
            Some(Cause::CriticalTask { name, error }) => Err(TaskError::Critical { name, error }),
            Some(Cause::Signal(_) | Cause::Requested(_)) | None => Ok(()),
        }
    }

    async fn drain(&self, grace: Duration) -> Result<(), TaskError> {
        self.inner.tracker.close();
        if tokio::time::timeout(grace, self.inner.tracker.wait()).await.is_ok() {
            return Ok(());
        }
        let names = self.live();
        self.inner.kill.cancel();
        if names.is_empty() {
            return Ok(());
        }
        let critical = match self.inner.shutdown.cause() {
            Some(Cause::CriticalTask { name, error }) => Some(TaskError::Critical { name, error }),
            Some(Cause::Signal(_) | Cause::Requested(_)) | None => None,
        };
        let late = TaskError::NotDrained { grace, names };
        match critical {
            // The first cause is what an operator must know; the stragglers are its consequence.
            Some(first) => {
                tracing::warn!("{late}");
                Err(first)
            }
            None => Err(late),
        }
    }

    fn spawn(&self, name: String, future: impl Future<Output = ()> + Send + 'static) {
        let span = tracing::info_span!("task", task = %name);
        let id = self.inner.next_id.fetch_add(1, Ordering::Relaxed);
        self.inner.names().insert(id, name);
        let listed = Listed { inner: Arc::clone(&self.inner), id };
        let kill = self.inner.kill.clone();
        let supervised = async move {
            let _listed = listed;
            kill.run_until_cancelled(future).await;
        };
        self.inner.tracker.spawn(supervised.instrument(span));
    }
}

impl Inner {
    fn names(&self) -> MutexGuard<'_, BTreeMap<u64, String>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a task off the list when its future is dropped, however it ends.
struct Listed {
    inner: Arc<Inner>,
    id: u64,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.inner.names().remove(&self.id);
    }
}

/// Runs a future; a panic becomes an error.
async fn outcome<F>(future: F) -> anyhow::Result<()>
where
    F: Future,
    F::Output: TaskOutcome,
{
    match AssertUnwindSafe(future).catch_unwind().await {
        Ok(output) => output.into_result(),
        Err(payload) => Err(anyhow::anyhow!("panicked: {}", panic_message(payload.as_ref()))),
    }
}

pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use lode_protocol::units::Millis;

    use super::*;

    const GRACE: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn the_end_of_a_critical_task_stops_the_program_and_names_it() {
        let group = TaskGroup::new(Shutdown::new());
        let shutdown = group.shutdown().clone();
        group.critical("watcher", async move { shutdown.requested().await });
        group.critical("owner loop", async { Err::<(), _>(anyhow::anyhow!("no more events")) });
        let error = group.finish(GRACE).await.expect_err("failed");
        assert!(
            matches!(&error, TaskError::Critical { name, error } if name == "owner loop" && error == "no more events"),
            "{error}"
        );
        assert!(group.live().is_empty());
    }

    #[tokio::test]
    async fn a_panic_of_a_critical_task_is_caught_and_reported() {
        let group = TaskGroup::new(Shutdown::new());
        group.critical("fragile", async {
            if !std::hint::black_box(false) {
                panic!("index {}", 7)
            }
        });
        let error = group.finish(GRACE).await.expect_err("failed").to_string();
        assert!(error.contains("fragile") && error.contains("index 7"), "{error}");
    }

    #[tokio::test]
    async fn a_best_effort_task_is_started_again_after_errors_and_panics() {
        let group = TaskGroup::new(Shutdown::new());
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        let mut runs = 0;
        let policy = BackoffPolicy::new(Millis(1), Millis(2));
        group.best_effort("flaky", policy, move || {
            runs += 1;
            let (run, sender) = (runs, sender.clone());
            async move {
                sender.send(run)?;
                assert_ne!(run, 2, "the second run panics");
                anyhow::bail!("the others fail")
            }
        });
        for expected in 1..=4 {
            assert_eq!(receiver.recv().await, Some(expected));
        }
        group.shutdown().request(Cause::Requested("enough".into()));
        group.finish(GRACE).await.expect("best effort never fails a program");
    }

    #[tokio::test]
    async fn a_task_that_does_not_stop_is_named_and_dropped() {
        let group = TaskGroup::new(Shutdown::new());
        group.critical("stubborn", std::future::pending::<()>());
        group.shutdown().request(Cause::Signal("SIGTERM"));
        let error = group.finish(Duration::from_millis(10)).await.expect_err("late");
        assert!(matches!(error, TaskError::NotDrained { names, .. } if names == ["stubborn"]));
        group.inner.tracker.wait().await;
        assert!(group.live().is_empty());
    }
}
