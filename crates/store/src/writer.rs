//! Group commit for async owners.
//!
//! One thread owns the writing. It takes everything that is queued, commits it as one durable transaction and answers
//! every waiter. So a commit costs one fsync for all that arrived during the one before; batches keep their order, and
//! each stays whole, however large it is. An error goes to every waiter of its group; the thread goes on, and later commits succeed as soon
//! as the store can.

use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio::sync::{mpsc, oneshot};

use crate::batch::{Batch, MAX_BATCH_BYTES};
use crate::error::StoreError;
use crate::oversize;
use crate::store::Store;
use crate::version::Version;

/// Bounds of the queue and of one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriterLimits {
    /// Batches that may wait: what arrives during a few slow fsyncs. Beyond it, callers wait or are told to.
    pub queued_batches: usize,
    /// A group takes no further batch once it has this many changes.
    pub group_changes: usize,
    /// A group takes no further batch once it has this many bytes.
    pub group_bytes: usize,
}

impl Default for WriterLimits {
    fn default() -> Self {
        Self { queued_batches: 4096, group_changes: 16_384, group_bytes: 8 << 20 }
    }
}

/// What the writer has done since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WriterStats {
    /// Batches made durable.
    pub batches: u64,
    /// Transactions that this took.
    pub groups: u64,
    /// Transactions that failed.
    pub failed_groups: u64,
}

#[derive(Debug, Default)]
struct Counters {
    batches: AtomicU64,
    groups: AtomicU64,
    failed_groups: AtomicU64,
}

struct Request {
    batch: Arc<Batch>,
    answer: oneshot::Sender<Result<Version, StoreError>>,
}

/// The handle of async owners. Cheap to clone. The thread ends when the last handle is gone and the queue is empty.
#[derive(Debug, Clone)]
pub struct Writer {
    queue: mpsc::Sender<Request>,
    counters: Arc<Counters>,
}

/// A batch on its way to the disk: a future of the version under which it became durable. Dropping it does not take
/// the batch back.
#[derive(Debug)]
#[must_use = "a batch is durable only when its ticket says so"]
pub struct Ticket(oneshot::Receiver<Result<Version, StoreError>>);

impl Future for Ticket {
    type Output = Result<Version, StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|answer| answer.unwrap_or(Err(StoreError::Closed)))
    }
}

/// The running thread.
#[derive(Debug)]
pub struct WriterThread(oneshot::Receiver<()>);

impl WriterThread {
    /// Completes when all handles are gone and everything that was queued is written.
    pub async fn finished(self) {
        // The sender is dropped when the thread ends: an error is the signal.
        let _ = self.0.await;
    }
}

impl Writer {
    /// Starts the thread.
    pub fn start(store: Arc<dyn Store>, limits: WriterLimits) -> io::Result<(Self, WriterThread)> {
        let (queue, requests) = mpsc::channel(limits.queued_batches.max(1));
        let (alive, ended) = oneshot::channel::<()>();
        let counters = Arc::new(Counters::default());
        let thread = Thread {
            store,
            limits,
            requests,
            counters: Arc::clone(&counters),
            failing: false,
            held: None,
            interrupted: false,
        };
        std::thread::Builder::new().name("store-writer".to_owned()).spawn(move || {
            thread.run();
            drop(alive);
        })?;
        Ok((Self { queue, counters }, WriterThread(ended)))
    }

    /// Commits a batch: waits for room in the queue, then until the batch is durable.
    pub async fn commit(&self, batch: impl Into<Arc<Batch>>) -> Result<Version, StoreError> {
        self.enqueue(batch).await?.await
    }

    /// Queues a batch, waiting for room. Batches are committed in the order in which this returns.
    pub async fn enqueue(&self, batch: impl Into<Arc<Batch>>) -> Result<Ticket, StoreError> {
        let batch = batch.into();
        batch.check_rows()?;
        let (answer, ticket) = oneshot::channel();
        self.queue.send(Request { batch, answer }).await.map_err(|_| StoreError::Closed)?;
        Ok(Ticket(ticket))
    }

    /// Queues a batch now, or refuses with `store/busy`: for owners that must not wait.
    pub fn try_enqueue(&self, batch: impl Into<Arc<Batch>>) -> Result<Ticket, StoreError> {
        let batch = batch.into();
        batch.check_rows()?;
        let (answer, ticket) = oneshot::channel();
        self.queue.try_send(Request { batch, answer }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StoreError::Busy,
            mpsc::error::TrySendError::Closed(_) => StoreError::Closed,
        })?;
        Ok(Ticket(ticket))
    }

    /// What was done so far.
    #[must_use]
    pub fn stats(&self) -> WriterStats {
        WriterStats {
            batches: self.counters.batches.load(Ordering::Relaxed),
            groups: self.counters.groups.load(Ordering::Relaxed),
            failed_groups: self.counters.failed_groups.load(Ordering::Relaxed),
        }
    }
}

struct Thread {
    store: Arc<dyn Store>,
    limits: WriterLimits,
    requests: mpsc::Receiver<Request>,
    counters: Arc<Counters>,
    failing: bool,
    /// Taken from the queue but too large for the group before it.
    held: Option<Request>,
    /// A large batch failed half-way: it is ended before anything else is written, so that it never comes later.
    interrupted: bool,
}

impl Thread {
    fn run(mut self) {
        while let Some(first) = self.held.take().or_else(|| self.requests.blocking_recv()) {
            let (group, waiters) = self.gather(first);
            let result = self.commit(&group);
            self.count(&result, waiters.len());
            for waiter in waiters {
                // A caller that no longer waits has its batch written all the same.
                let _ = waiter.send(result.clone());
            }
        }
    }

    /// Takes what is queued, up to the limits, into one batch.
    fn gather(&mut self, first: Request) -> (Arc<Batch>, Vec<oneshot::Sender<Result<Version, StoreError>>>) {
        let (mut group, mut waiters) = (first.batch, vec![first.answer]);
        while group.len() < self.limits.group_changes && group.bytes() < self.limits.group_bytes {
            let Ok(next) = self.requests.try_recv() else { break };
            if group.bytes() + next.batch.bytes() > MAX_BATCH_BYTES {
                self.held = Some(next);
                break;
            }
            // A batch that nobody keeps is moved; one that comes alone is never copied.
            Arc::make_mut(&mut group).append(Arc::unwrap_or_clone(next.batch));
            waiters.push(next.answer);
        }
        (group, waiters)
    }

    fn commit(&mut self, group: &Batch) -> Result<Version, StoreError> {
        let (store, interrupted) = (self.store.as_ref(), self.interrupted);
        let large = group.bytes() > MAX_BATCH_BYTES;
        let work = || {
            if interrupted {
                oversize::finish(store)?;
            }
            if large { oversize::commit(store, group) } else { store.commit(group) }
        };
        // Adapters do not panic; if one does, its waiters must not wait for ever.
        let result = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
            Err(StoreError::Io {
                operation: "commit to",
                path: PathBuf::from("the store"),
                source: Arc::new(io::Error::other("the store panicked")),
            })
        });
        self.interrupted = (large || interrupted) && result.is_err();
        result
    }

    fn count(&mut self, result: &Result<Version, StoreError>, batches: usize) {
        match result {
            Ok(version) => {
                self.counters.groups.fetch_add(1, Ordering::Relaxed);
                self.counters
                    .batches
                    .fetch_add(u64::try_from(batches).unwrap_or(u64::MAX), Ordering::Relaxed);
                if std::mem::take(&mut self.failing) {
                    tracing::info!(%version, "the store takes writes again");
                }
            }
            Err(error) => {
                self.counters.failed_groups.fetch_add(1, Ordering::Relaxed);
                // Once per outage: callers that retry would fill the log, and the disk may be what is full.
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::error!(code = error.code(), batches, "{error}");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
