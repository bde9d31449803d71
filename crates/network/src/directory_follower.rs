//! Follows a directory: reads all of it once, then its changes by cursor with a long poll, for as long as it is wanted.
//!
//! A directory is believed in nothing. Every descriptor passes the one check, as if it had come from the node itself;
//! what does not is skipped and counted. What a directory leaves out or takes off its list means nothing. Nor can it
//! keep its follower busy: pages, their entries and their order are held to what was agreed, and one that answers at
//! once without news, or wants to be read from the start again and again, is asked ever less often.

use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use lode_protocol::backoff::{Backoff, BackoffPolicy};
use lode_protocol::cursor::Cursor;
use lode_protocol::descriptor::{self, DescriptorError, Scope, VerifiedDescriptor};
use lode_protocol::directory::{DirectoryChange, DirectoryEntry, MAX_PAGE};
use lode_protocol::ids::NodeId;
use lode_protocol::units::{Millis, Timestamp};
use tokio::time::Instant;

use crate::directory_client::{DirectoryClient, DirectoryError};

/// How long a directory may wait for a change before it answers that there is none.
const LONG_POLL: Duration = Duration::from_secs(25);
/// Pages of one reading. A page has fewer entries than it may where they are large, or few match: a full directory of the
/// largest descriptors that nodes can sign has some tens of thousands.
const MOST_PAGES: usize = 40_000;
/// An answer without news that comes sooner was not waited for.
const SHORTEST_WAIT: Duration = Duration::from_millis(500);
/// Waits before it is asked again.
const WAITS: BackoffPolicy = BackoffPolicy::new(Millis(200), Millis::seconds(30));

/// Who follows.
pub trait DirectoryReader: Send + Sync {
    /// The wall clock.
    fn now(&self) -> Timestamp;

    /// A descriptor that passed the check; the same one may come again. False: nobody wants more.
    fn learn(&self, descriptor: VerifiedDescriptor) -> impl Future<Output = bool> + Send;

    /// An entry that did not pass the check: it costs itself and no more.
    fn skipped(&self, entry: &DirectoryEntry, error: &DescriptorError);

    /// How the directory does, after every answer and every failure.
    fn state(&self, state: Result<(), &DirectoryError>);
}

/// Follows one directory.
#[derive(Debug)]
pub struct DirectoryFollower {
    url: String,
    scope: Scope,
    most_pages: usize,
    backoff: Backoff,
}

/// Why following stopped for now.
#[derive(Debug)]
enum Stop {
    Failed(DirectoryError),
    /// Nobody wants more.
    Over,
}

impl From<DirectoryError> for Stop {
    fn from(error: DirectoryError) -> Self {
        Stop::Failed(error)
    }
}

impl DirectoryFollower {
    /// Of the directory at `url`, the nodes that count in `scope`.
    pub fn new(url: impl Into<String>, scope: Scope) -> Self {
        Self { url: url.into(), scope, most_pages: MOST_PAGES, backoff: Backoff::new(WAITS, rand::random()) }
    }

    /// Gives one reading up after so many pages, instead of the 40,000 that the largest directory may have.
    #[must_use]
    pub fn with_most_pages(self, most_pages: usize) -> Self {
        Self { most_pages, ..self }
    }

    /// Follows until the reader wants no more.
    pub async fn run(mut self, reader: impl DirectoryReader) {
        loop {
            match self.follow(&reader).await {
                Err(Stop::Over) => return,
                Err(Stop::Failed(error)) => reader.state(Err(&error)),
            }
            self.pause().await;
        }
    }

    async fn pause(&mut self) {
        tokio::time::sleep(self.backoff.next_wait()).await;
    }

    async fn follow(&mut self, reader: &impl DirectoryReader) -> Result<Infallible, Stop> {
        let client = DirectoryClient::new(&self.url)?;
        loop {
            let mut cursor = self.read_all(&client, reader).await?;
            reader.state(Ok(()));
            while let Some(next) = self.read_changes(&client, cursor, reader).await? {
                reader.state(Ok(()));
                cursor = next;
            }
            // It was started anew, or is ahead by more than it keeps: rare, unless it wants to be read for ever.
            self.pause().await;
        }
    }

    /// Every page; changes go on at the first page's cursor, so that nothing in between is missed.
    async fn read_all(
        &self,
        client: &DirectoryClient,
        reader: &impl DirectoryReader,
    ) -> Result<Cursor, Stop> {
        let pool = match self.scope {
            Scope::Pool(realm) => Some(realm.pool),
            Scope::Deployment(_) => None,
        };
        let (mut after, mut start): (Option<NodeId>, Option<Cursor>) = (None, None);
        for _ in 0..self.most_pages {
            let page = client.page(pool, after).await?;
            let cursor = *start.get_or_insert(page.cursor);
            within(page.nodes.len())?;
            for entry in &page.nodes {
                self.learn(entry, reader).await?;
            }
            match page.next {
                None => return Ok(cursor),
                Some(next) if Some(next) > after => after = Some(next),
                Some(next) => {
                    let text = format!("the page after {next} is said to follow one that is not before it");
                    return Err(DirectoryError::Malformed(text).into());
                }
            }
        }
        Err(DirectoryError::Malformed(format!("it has more than {} pages", self.most_pages)).into())
    }

    /// The next changes and where to go on; `None`: everything has to be read again.
    async fn read_changes(
        &mut self,
        client: &DirectoryClient,
        cursor: Cursor,
        reader: &impl DirectoryReader,
    ) -> Result<Option<Cursor>, Stop> {
        let asked = Instant::now();
        let page = client.changes(Some(cursor), LONG_POLL).await?;
        if page.resync {
            return Ok(None);
        }
        within(page.changes.len())?;
        for change in &page.changes {
            match change {
                DirectoryChange::Updated { entry } => self.learn(entry, reader).await?,
                // A directory can omit: the node itself, its descriptor's lifetime and the chain say what is so.
                DirectoryChange::Removed { .. } => {}
            }
        }
        if page.changes.is_empty() && asked.elapsed() < SHORTEST_WAIT {
            self.pause().await;
        } else {
            self.backoff.reset();
        }
        Ok(Some(page.cursor))
    }

    async fn learn(&self, entry: &DirectoryEntry, reader: &impl DirectoryReader) -> Result<(), Stop> {
        match descriptor::open(&entry.descriptor, self.scope, Some(entry.node), reader.now()) {
            Ok(descriptor) => reader.learn(descriptor).await.then_some(()).ok_or(Stop::Over),
            Err(error) => {
                reader.skipped(entry, &error);
                Ok(())
            }
        }
    }
}

fn within(entries: usize) -> Result<(), DirectoryError> {
    if entries > MAX_PAGE {
        let text = format!("a page has {entries} entries; at most {MAX_PAGE} were agreed");
        return Err(DirectoryError::Malformed(text));
    }
    Ok(())
}
