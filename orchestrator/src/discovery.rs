//! Follows every directory: reads all of it once, then its changes by cursor with a long poll.
//!
//! A directory is believed in nothing: every descriptor is verified as if it had come from the node itself, and the
//! core keeps the highest version. A directory that omits, replays or is down changes nothing about known nodes; all of
//! them down is a finding and no more.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lode_network::{DirectoryClient, DirectoryError};
use lode_program::Backoff;
use lode_program::backoff::{BackoffPolicy, random_seed};
use lode_program::finding::{Finding, FindingSet};
use lode_protocol::directory::{DirectoryChange, DirectoryEntry};

use crate::core::event::Event;
use crate::driver::Handle;
use crate::wire::Identity;

/// How long a directory may wait for a change before it answers that there is none.
const LONG_POLL: Duration = Duration::from_secs(25);
/// Largest sealed descriptor that is looked at.
const MAX_SEALED: usize = 72 << 10;
const FINDING: &str = "discovery/unreachable";

/// How each directory does: `None` is well. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct DirectoryStatus(Arc<Mutex<BTreeMap<String, Option<String>>>>);

impl DirectoryStatus {
    /// Every directory with what is wrong with it.
    pub fn current(&self) -> BTreeMap<String, Option<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, url: &str, trouble: Option<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(url.to_owned(), trouble);
    }
}

/// One directory's follower.
#[derive(Clone, Debug)]
pub struct DirectoryFollower {
    /// Its base URL.
    pub url: String,
    /// For verification.
    pub identity: Identity,
    /// The core.
    pub driver: Handle,
    /// For people.
    pub status: DirectoryStatus,
    /// For people.
    pub findings: FindingSet,
}

impl DirectoryFollower {
    /// Follows until dropped.
    pub async fn run(self) {
        let policy = BackoffPolicy::default();
        let mut backoff = Backoff::new(policy, random_seed());
        loop {
            let Err(error) = self.follow(&mut backoff).await;
            self.trouble(&error);
            tokio::time::sleep(backoff.next_wait()).await;
        }
    }

    async fn follow(&self, backoff: &mut Backoff) -> Result<std::convert::Infallible, DirectoryError> {
        let client = DirectoryClient::new(&self.url)?;
        loop {
            let mut cursor = self.read_all(&client).await?;
            self.fine(backoff);
            loop {
                let page = client.changes(Some(cursor), LONG_POLL).await?;
                self.fine(backoff);
                if page.resync {
                    break;
                }
                for change in page.changes {
                    match change {
                        DirectoryChange::Updated { entry } => self.learn(&entry).await,
                        // Absence never removes: the node itself, and the chain, say what is so.
                        DirectoryChange::Removed { .. } => {}
                    }
                }
                cursor = page.cursor;
            }
        }
    }

    /// Every page; the first page's cursor is where changes go on, so that nothing in between is missed.
    async fn read_all(
        &self,
        client: &DirectoryClient,
    ) -> Result<lode_protocol::cursor::Cursor, DirectoryError> {
        let (mut after, mut start) = (None, None);
        loop {
            let page = client.page(Some(self.identity.realm.pool), after).await?;
            let cursor = *start.get_or_insert(page.cursor);
            for entry in &page.nodes {
                self.learn(entry).await;
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(cursor),
            }
        }
    }

    async fn learn(&self, entry: &DirectoryEntry) {
        if entry.descriptor.len() > MAX_SEALED {
            return;
        }
        match self.identity.open_descriptor(&entry.descriptor, entry.node.0) {
            Ok(descriptor) => {
                self.driver.fact(Event::DescriptorLearned { descriptor }).await;
            }
            // One bad entry costs that entry.
            Err(rejected) => {
                tracing::debug!(node = %entry.node, url = %self.url, code = %rejected.code, "a directory's entry was refused: {rejected}")
            }
        }
    }

    fn fine(&self, backoff: &mut Backoff) {
        backoff.reset();
        self.status.set(&self.url, None);
        self.findings.clear(FINDING, &self.url);
    }

    fn trouble(&self, error: &DirectoryError) {
        let message = error.to_string();
        self.status.set(&self.url, Some(message.clone()));
        self.findings.raise(
            Finding::warning(
                FINDING,
                format!("the directory cannot be followed ({}): {message}", error.code()),
            )
            .about(self.url.clone())
            .remedy("Known nodes stay known and new ones may still dial in; check the URL if this lasts."),
        );
    }
}
