//! One stream of a node, shared by all who follow its assignment.
//!
//! A task reads the stream and keeps the newest records in a window ([`super::window`]); every reader has a position in
//! it. The fastest reader sets the pace, as if it were alone: who falls behind it by a window has lost its place and is
//! told so. The task ends with the last reader.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lode_program::TaskGroup;
use tokio::sync::{Notify, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::LogQuery;
use super::stream::LogStream;
use super::window::{Begin, Read, Window};

/// A shared stream.
#[derive(Debug)]
pub(super) struct LogBuffer {
    window: Mutex<Window>,
    changed: watch::Sender<()>,
    /// Somebody has read on, or has left.
    read: Notify,
    /// The task ends when this is dropped, which is when nobody reads any more.
    _readers: DropGuard,
}

impl LogBuffer {
    /// Reads a stream that begins with the newest [`SHARED_TAIL`] lines, from now on.
    pub(super) fn start(mut stream: LogStream, tasks: &TaskGroup) -> Arc<Self> {
        let unread = CancellationToken::new();
        let feed = Arc::new(Self {
            window: Mutex::default(),
            changed: watch::channel(()).0,
            read: Notify::new(),
            _readers: unread.clone().drop_guard(),
        });
        let (shared, shutdown) = (Arc::downgrade(&feed), tasks.shutdown().token());
        tasks.once("log-feed", async move {
            let copy = async {
                while let Some(piece) = stream.next().await {
                    let Some(feed) = shared.upgrade() else { break };
                    feed.window().take(piece, stream.is_live());
                    feed.changed.send_replace(());
                    feed.keep_pace().await;
                }
            };
            tokio::select! {
                () = unread.cancelled() => {}
                () = shutdown.cancelled() => {}
                () = copy => {}
            }
            Ok::<(), anyhow::Error>(())
        });
        feed
    }

    /// Waits until the fastest reader has read most of what there is.
    async fn keep_pace(&self) {
        loop {
            // Listens before it looks: what is read in between is not missed.
            let read = self.read.notified();
            if !self.window().is_ahead() {
                return;
            }
            read.await;
        }
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.window().has_ended()
    }

    /// Told of every change.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Where a reader with this query may begin. Known once history has come.
    pub(super) fn place_for(&self, query: &LogQuery) -> Begin {
        self.window().place_for(query)
    }

    /// What is at this position. Whoever asks has a [`ReaderGuard`].
    pub(super) fn read(&self, position: u64) -> Read {
        let (read, on) = self.window().read_on(position);
        if on {
            self.read.notify_waiters();
        }
        read
    }

    /// The position behind the record with this ordinal, if nothing is missing in between.
    pub(super) fn position_behind(&self, ordinal: u64) -> Option<u64> {
        self.window().position_behind(ordinal)
    }
}

/// A reader's place. While somebody has one, the stream is not read faster than the fastest of them reads.
#[derive(Debug)]
pub(super) struct ReaderGuard(Arc<LogBuffer>);

impl ReaderGuard {
    pub(super) fn take(feed: &Arc<LogBuffer>) -> Self {
        feed.window().take_seat();
        ReaderGuard(Arc::clone(feed))
    }
}

impl Drop for ReaderGuard {
    fn drop(&mut self) {
        let mut window = self.0.window();
        window.leave_seat();
        drop(window);
        self.0.read.notify_waiters();
    }
}
