//! The directory as its handlers use it: publications go to the owner, everything else is read where it is.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use lode_program::clock::Clock;
use lode_program::finding::FindingSet;
use lode_protocol::cursor::Cursor;
use lode_protocol::descriptor::{self, DescriptorError, Scope, VerifiedDescriptor};
use lode_protocol::directory::{ChangesPage, DirectoryEntry, DirectoryPage};
use lode_protocol::envelope::Realm;
use lode_protocol::ids::NodeId;
use tokio::sync::{mpsc, oneshot, watch};

use crate::core::{Core, Listed, Moved, Query, Rejected};

/// Why a descriptor was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It does not pass the check of descriptors.
    #[error(transparent)]
    Descriptor(#[from] DescriptorError),
    /// It was sent to another node's place.
    #[error("the descriptor describes {described} and was sent to the place of {place}")]
    WrongPlace {
        /// Node in the descriptor.
        described: NodeId,
        /// Node in the URL.
        place: NodeId,
    },
    /// Too many from one network address.
    #[error("too many publications from this address")]
    TooMany,
    /// The core's reason.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// The program ends.
    #[error("the directory is stopping")]
    Stopping,
}

/// What handlers and the chain tell the owner.
#[derive(Debug)]
pub enum Incoming {
    /// A node describes itself, and waits.
    Publication {
        /// What it says, verified.
        descriptor: Box<VerifiedDescriptor>,
        /// Where it waits.
        reply: oneshot::Sender<Result<(), Rejected>>,
    },
    /// Something happened on chain.
    ChainMoved(Moved),
}

/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(crate) core: Arc<RwLock<Core>>,
    pub(crate) incoming: mpsc::Sender<Incoming>,
    pub(crate) changed: watch::Receiver<Cursor>,
    pub(crate) realm: Realm,
    pub(crate) clock: Clock,
    /// What is wrong now.
    pub findings: FindingSet,
}

impl Handle {
    /// Only the owner writes, for one pure step at a time; nobody holds this across an await.
    fn core(&self) -> RwLockReadGuard<'_, Core> {
        self.core.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Verifies a sealed descriptor and waits until it is listed and durable.
    ///
    /// # Errors
    /// Why it was not taken.
    pub async fn publish(&self, place: NodeId, sealed: &[u8]) -> Result<(), Refused> {
        let now = self.clock.now().wall;
        let descriptor = descriptor::open(sealed, Scope::Deployment(self.realm), None, now)?;
        if descriptor.node() != place {
            return Err(Refused::WrongPlace { described: descriptor.node(), place });
        }
        let (reply, answer) = oneshot::channel();
        let incoming = Incoming::Publication { descriptor: Box::new(descriptor), reply };
        self.incoming.send(incoming).await.map_err(|_| Refused::Stopping)?;
        Ok(answer.await.map_err(|_| Refused::Stopping)??)
    }

    /// Something happened on chain. False when the owner is gone.
    pub async fn chain_moved(&self, moved: Moved) -> bool {
        self.incoming.send(Incoming::ChainMoved(moved)).await.is_ok()
    }

    /// One page of nodes that match.
    pub fn query(&self, query: &Query) -> DirectoryPage {
        query.run(self.core().listing())
    }

    /// One node.
    pub fn entry(&self, node: &NodeId) -> Option<DirectoryEntry> {
        self.core().listing().get(node).map(Listed::entry)
    }

    /// Number of listed nodes.
    pub fn listed(&self) -> usize {
        self.core().listing().len()
    }

    /// Changes after a cursor, so many of so many bytes at most; waits up to `wait` for the first one.
    pub async fn changes(
        &self,
        after: Option<Cursor>,
        (limit, most_bytes): (usize, usize),
        wait: Duration,
    ) -> ChangesPage {
        let mut changed = self.changed.clone();
        let deadline = tokio::time::Instant::now() + wait;
        loop {
            changed.mark_unchanged();
            let page = self.core().listing().changes(after, limit, most_bytes);
            if page.resync || !page.changes.is_empty() || after != Some(page.cursor) {
                return page;
            }
            if !matches!(tokio::time::timeout_at(deadline, changed.changed()).await, Ok(Ok(()))) {
                return page;
            }
        }
    }
}
