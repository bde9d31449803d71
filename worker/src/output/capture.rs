//! Reading a container's output from the engine, once, as it is written; through restarts of the container, of the
//! engine and of this worker.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::stream::{BoxStream, Peekable};
use futures::{FutureExt as _, StreamExt as _};
use lode_program::backoff::{self, BackoffPolicy};
use lode_protocol::ids::AssignmentId;
use lode_protocol::logs::EngineTime;
use lode_protocol::units::Millis;
use tokio::sync::watch;

use super::join::Joiner;
use super::reader::Progress;
use super::spool::{Body, Entry, Spool};
use crate::core::event::EngineFailure;
use crate::core::view::{Containers, Place};
use crate::engine::{Captured, Engine};

/// A part of a line is kept as such when its rest has not come for so long.
const REST: Duration = Duration::from_secs(1);
/// Records, or bytes of them, that are written at a time: with what waits for its rest, the memory of one container's
/// output stays below two megabytes.
const HANDFUL: usize = 512;
const HANDFUL_BYTES: usize = 256 << 10;
/// Between two readings of a container that is said to run.
const PAUSE: Duration = Duration::from_millis(200);
const RETRY: BackoffPolicy = BackoffPolicy::new(Millis(200), Millis::seconds(5));

/// Why output was not kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotKept {
    #[error("the engine does not give it: {0:?}")]
    Engine(EngineFailure),
    #[error("it cannot be written: {0}")]
    Io(#[from] io::Error),
    #[error("copying it took longer than {0:?}")]
    TooSlow(Duration),
}

/// One assignment's output on its way to its folder.
pub(super) struct Capture {
    pub(super) id: AssignmentId,
    pub(super) folder: PathBuf,
    pub(super) limit: u64,
    pub(super) containers: watch::Receiver<Containers>,
    /// Set when the container is about to be removed.
    pub(super) finish: watch::Receiver<bool>,
    pub(super) progress: watch::Sender<Progress>,
    pub(super) trouble: Trouble,
}

/// Hears what keeps output from being written; `None`: it is over.
type Tell = Box<dyn Fn(Option<&NotKept>) + Send + Sync>;

/// Told of what keeps output from being written, and when it is over.
pub(super) struct Trouble {
    pub(super) tell: Tell,
    pub(super) is_on: AtomicBool,
}

impl Trouble {
    fn raise(&self, error: &NotKept) {
        self.is_on.store(true, Ordering::Relaxed);
        (self.tell)(Some(error));
    }

    fn is_over(&self) {
        if self.is_on.swap(false, Ordering::Relaxed) {
            (self.tell)(None);
        }
    }
}

/// How far a stream of the engine was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Read {
    /// To where it was at that moment: its container may write more.
    UpToNow,
    /// To the end of its container.
    ToTheEnd,
}

type Pieces = BoxStream<'static, Result<Captured, EngineFailure>>;

impl Capture {
    /// Reads until nothing more can come.
    pub(super) async fn run(mut self, engine: &dyn Engine) -> Result<(), NotKept> {
        let mut pause = backoff::sequence(RETRY);
        loop {
            match self.read(engine).await {
                Err(error @ NotKept::Io(_)) => {
                    self.trouble.raise(&error);
                    tokio::time::sleep(pause.next_wait()).await;
                }
                other => return other,
            }
        }
    }

    async fn read(&mut self, engine: &dyn Engine) -> Result<(), NotKept> {
        let mut spool = self.open().await?;
        self.tell(&spool, false);
        let mut pause = backoff::sequence(RETRY);
        loop {
            let place = self.place();
            let Some(container) = place.container.clone() else {
                // Nothing was created, or the container is gone.
                if place.has_ended {
                    return self.end(spool).await;
                }
                self.wait_for_news().await;
                continue;
            };
            let restarts = place.restarts;
            spool.begin(&container, restarts)?;
            let marks = spool.standing().marks();
            // Only what is read after the container's end is all of it.
            let was_over = self.must_finish();
            let mut pieces = engine.output(&container, marks).peekable();
            let outcome;
            (spool, outcome) = self.copy(&mut pieces, spool).await?;
            let is_whole = matches!(outcome, Ok(Read::ToTheEnd)) || was_over && outcome.is_ok();
            match outcome {
                Ok(_) => pause.reset(),
                Err(EngineFailure::Unavailable(_)) => {
                    tokio::time::sleep(pause.next_wait()).await;
                    continue;
                }
                // There is no such container any more.
                Err(failure) if self.must_finish() && spool.next() == 0 => {
                    return Err(NotKept::Engine(failure));
                }
                Err(_) if self.must_finish() => {
                    let gap = missed(spool.last());
                    spool = self.write(spool, vec![gap]).await?;
                    return self.end(spool).await;
                }
                Err(_) => {}
            }
            loop {
                let place = self.place();
                let unread = !is_whole || restarts < place.restarts;
                if self.must_finish() && !unread {
                    return self.end(spool).await;
                }
                if place.is_running
                    || unread && self.must_finish()
                    || place.container != Some(container.clone())
                {
                    break;
                }
                self.wait_for_news().await;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Copies what comes until the engine's stream ends.
    async fn copy(
        &self,
        pieces: &mut Peekable<Pieces>,
        mut spool: Spool,
    ) -> Result<(Spool, Result<Read, EngineFailure>), NotKept> {
        let mut joiner = Joiner::resume(spool.standing());
        let mut read = Read::UpToNow;
        loop {
            if !joiner.is_waiting() && Pin::new(&mut *pieces).peek().now_or_never().is_none() {
                self.tell_caught_up();
            }
            let first = if joiner.is_waiting() {
                match tokio::time::timeout(REST, pieces.next()).await {
                    Ok(first) => first,
                    Err(_) => {
                        spool = self.write(spool, joiner.cut()).await?;
                        // What still waits is less than a character.
                        self.tell_caught_up();
                        pieces.next().await
                    }
                }
            } else {
                pieces.next().await
            };
            self.notice_restart(&mut spool)?;
            let mut entries = Vec::new();
            // Due until it is written.
            let mut restart_due = spool.standing().restart_due;
            let mut next = first;
            let mut outcome = None;
            let mut bytes = 0;
            loop {
                match next {
                    Some(Ok(Captured::Piece(piece))) => {
                        bytes += piece.bytes.len();
                        if std::mem::take(&mut restart_due) {
                            entries.push(Entry { at: piece.mark.at, body: Body::Restart, behind: None });
                        }
                        entries.extend(joiner.push(&piece));
                    }
                    Some(Ok(Captured::Missed)) => {
                        entries.extend(joiner.end());
                        entries.push(missed(spool.last()));
                    }
                    Some(Ok(Captured::End)) => read = Read::ToTheEnd,
                    // What waits for its rest is read again.
                    Some(Err(failure)) => outcome = Some(Err(failure)),
                    // The next reading goes on in the middle of a line, and of a character.
                    None if read == Read::UpToNow => {
                        entries.extend(joiner.cut());
                        outcome = Some(Ok(read));
                    }
                    None => {
                        entries.extend(joiner.end());
                        outcome = Some(Ok(read));
                    }
                }
                if outcome.is_some() || entries.len() >= HANDFUL || bytes >= HANDFUL_BYTES {
                    break;
                }
                // Only what is there already.
                if Pin::new(&mut *pieces).peek().now_or_never().is_none() {
                    break;
                }
                next = pieces.next().await;
            }
            spool = self.write(spool, entries).await?;
            if let Some(outcome) = outcome {
                if outcome.is_ok() {
                    self.tell_caught_up();
                }
                return Ok((spool, outcome));
            }
        }
    }

    /// The engine's stream may go on over a start of the same container.
    fn notice_restart(&self, spool: &mut Spool) -> Result<(), NotKept> {
        let Some(place) = self.containers.borrow().get(&self.id).cloned() else { return Ok(()) };
        if let Some(container) = place.container.filter(|_| place.is_running)
            && spool.standing().container.as_deref() == Some(&container.0)
        {
            spool.begin(&container, place.restarts)?;
        }
        Ok(())
    }

    async fn open(&self) -> Result<Spool, NotKept> {
        let (folder, limit) = (self.folder.clone(), self.limit);
        blocking(move || Spool::open(&folder, limit)).await
    }

    async fn write(&self, mut spool: Spool, entries: Vec<Entry>) -> Result<Spool, NotKept> {
        if entries.is_empty() {
            return Ok(spool);
        }
        let spool = blocking(move || spool.append(entries).map(|()| spool)).await?;
        self.trouble.is_over();
        self.tell(&spool, false);
        Ok(spool)
    }

    async fn end(&self, mut spool: Spool) -> Result<(), NotKept> {
        let spool = blocking(move || spool.end().map(|()| spool)).await?;
        self.tell(&spool, true);
        Ok(())
    }

    fn tell(&self, spool: &Spool, ended: bool) {
        self.progress.send_if_modified(|known| {
            let has_caught_up = known.has_caught_up || ended;
            let progress = Progress { is_known: true, next: spool.next(), ended, has_caught_up };
            std::mem::replace(known, progress) != progress
        });
    }

    fn tell_caught_up(&self) {
        self.progress.send_if_modified(|known| !std::mem::replace(&mut known.has_caught_up, true));
    }

    fn place(&mut self) -> Place {
        let known = self.containers.borrow_and_update().get(&self.id).cloned();
        self.finish.borrow_and_update();
        known.unwrap_or(Place { has_ended: true, ..Place::default() })
    }

    /// Whether the container is not started again.
    fn must_finish(&self) -> bool {
        let ended = self.containers.borrow().get(&self.id).is_none_or(|place| place.has_ended);
        ended || *self.finish.borrow()
    }

    async fn wait_for_news(&mut self) {
        tokio::select! {
            changed = self.containers.changed() => if changed.is_err() { std::future::pending::<()>().await },
            changed = self.finish.changed() => if changed.is_err() { std::future::pending::<()>().await },
        }
    }
}

fn missed(at: EngineTime) -> Entry {
    Entry { at, body: Body::Missed, behind: None }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, NotKept> {
    Ok(tokio::task::spawn_blocking(work).await.map_err(io::Error::other)??)
}
