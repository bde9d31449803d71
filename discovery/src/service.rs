//! The directory as its handlers use it: verifies, asks the chain, lists, stores, wakes followers.
//!
//! The lock around the directory is held for one pure step at a time, never across an await.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::clock::DefaultClock;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use lode_contracts::{ChainError, ChainReader};
use lode_program::clock::Clock;
use lode_program::finding::{Finding, FindingSet};
use lode_protocol::cursor::Cursor;
use lode_protocol::descriptor::NodeDescriptor;
use lode_protocol::directory::{ChangesPage, DirectoryEntry, DirectoryPage};
use lode_protocol::envelope::{self, EnvelopeError, Expectation, Realm};
use lode_protocol::ids::{NodeId, PoolId, ProviderId};
use lode_protocol::units::Timestamp;
use lode_store::{Batch, Store, StoreError, Table, Writer};
use tokio::sync::watch;

use crate::config::Limits;
use crate::core::directory::{Directory, NotListed, Stored, Verified};
use crate::core::query::Query;

const DESCRIPTORS: Table = Table::new("descriptors");

type KeyedLimiter<K> = RateLimiter<K, DashMapStateStore<K>, DefaultClock>;

/// Why a descriptor was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The envelope is not acceptable.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// The signer, the described node and the address that was written to differ.
    #[error(
        "the descriptor describes {described}, was signed by {signer} and was sent to the place of {place}"
    )]
    WrongNode {
        /// Node in the descriptor.
        described: NodeId,
        /// Who signed.
        signer: NodeId,
        /// Node in the URL.
        place: NodeId,
    },
    /// The chain does not know the node.
    #[error("node {0} is not registered on chain")]
    NotRegistered(NodeId),
    /// The node's provider has too little stake.
    #[error("the stake of node {0}'s provider does not cover its nodes")]
    NotEligible(NodeId),
    /// The chain cannot be asked: nothing is known, which is not a no.
    #[error("the chain cannot be asked whether the node is registered: {0}")]
    ChainUnknown(ChainError),
    /// Too often.
    #[error("too many publications")]
    TooMany,
    /// The directory holds as many nodes as it may.
    #[error("the directory is full")]
    Full,
    /// Its place in the order of descriptors, or its lifetime.
    #[error(transparent)]
    NotListed(#[from] NotListed),
}

/// The directory.
#[derive(Debug)]
pub struct Service {
    directory: Mutex<Directory>,
    changed: watch::Sender<Cursor>,
    chain: Arc<dyn ChainReader>,
    realm: Realm,
    writer: Writer,
    clock: Clock,
    limits: Limits,
    // Goes up with every look at what the chain did.
    looks: AtomicU64,
    per_node: KeyedLimiter<NodeId>,
    /// What is wrong now.
    pub findings: FindingSet,
}

fn quota(per_minute: u32) -> Quota {
    Quota::per_minute(NonZeroU32::new(per_minute.max(1)).unwrap_or(NonZeroU32::MIN))
}

impl Service {
    /// Takes up what the store holds. Descriptors are verified again; those that no longer verify are dropped.
    pub fn open(
        store: &dyn Store,
        writer: Writer,
        chain: Arc<dyn ChainReader>,
        clock: Clock,
        limits: Limits,
        incarnation: u64,
    ) -> Result<Self, StoreError> {
        let realm = chain.deployment().realm(PoolId(0));
        let mut directory = Directory::new(incarnation, limits.retained_changes);
        let now = Timestamp(clock.wall_millis());
        let mut dropped = 0;
        for (key, value) in store.load(DESCRIPTORS)? {
            // The provider follows from the chain at the first recheck; until then the stored one stands.
            let Some((provider, sealed)) = value.split_first_chunk::<20>() else { continue };
            let provider = ProviderId(lode_protocol::ids::Address(*provider));
            let listed = verify(sealed, realm, now)
                .ok()
                .and_then(|(descriptor, pool)| {
                    let verified = Verified { descriptor, sealed: sealed.to_vec(), pool, provider };
                    directory.publish(now, verified).ok()
                })
                .is_some();
            if !listed {
                dropped += 1;
                tracing::debug!(node = %String::from_utf8_lossy(&key), "a stored descriptor no longer counts");
            }
        }
        tracing::info!(nodes = directory.len(), dropped, "directory loaded");
        let (changed, _) = watch::channel(directory.cursor());
        Ok(Self {
            directory: Mutex::new(directory),
            changed,
            chain,
            realm,
            writer,
            clock,
            looks: AtomicU64::new(0),
            per_node: RateLimiter::dashmap(quota(limits.publications_per_node)),
            limits,
            findings: FindingSet::new(clock),
        })
    }

    /// A limiter for publications by network address.
    pub fn address_limiter(&self) -> KeyedLimiter<std::net::IpAddr> {
        RateLimiter::dashmap(quota(self.limits.publications_per_address))
    }

    fn directory(&self) -> MutexGuard<'_, Directory> {
        self.directory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Timestamp {
        Timestamp(self.clock.wall_millis())
    }

    /// Verifies a sealed descriptor and lists it.
    pub async fn publish(&self, place: NodeId, sealed: Vec<u8>) -> Result<(), Refused> {
        let (descriptor, pool) = verify(&sealed, self.realm, self.now())?;
        if descriptor.node != place {
            return Err(Refused::WrongNode { described: descriptor.node, signer: descriptor.node, place });
        }
        if self.per_node.check_key(&place).is_err() {
            return Err(Refused::TooMany);
        }
        let (provider, stored) = loop {
            let look = self.looks.load(Ordering::SeqCst);
            let record = self.chain.node(place).await.map_err(Refused::ChainUnknown)?;
            let record = record.ok_or(Refused::NotRegistered(place))?;
            if !record.eligible {
                return Err(Refused::NotEligible(place));
            }
            let mut directory = self.directory();
            // What the chain did meanwhile was applied to known nodes only: this one is asked about again.
            if self.looks.load(Ordering::SeqCst) != look {
                continue;
            }
            if !directory.knows(&place) && directory.held() >= self.limits.nodes {
                let Some(forgotten) = directory.forget_aside() else { return Err(Refused::Full) };
                self.delete([forgotten]);
            }
            let provider = record.provider;
            let verified = Verified { descriptor, sealed, pool, provider };
            break (provider, directory.publish(self.now(), verified)?);
        };
        if let Some(Stored::Put(node, sealed)) = stored {
            let mut value = provider.0.as_bytes().to_vec();
            value.extend_from_slice(&sealed);
            let mut batch = Batch::new();
            batch.put(DESCRIPTORS, node.to_string().into_bytes(), value);
            self.store(batch);
        }
        self.wake();
        Ok(())
    }

    /// The chain may have changed: whoever asked it before asks again.
    pub fn look_again(&self) {
        self.looks.fetch_add(1, Ordering::SeqCst);
    }

    /// What the chain says of a node: whose it is with enough stake, or that it does not vouch for it.
    pub fn chain_says(&self, node: NodeId, provider: Option<ProviderId>) {
        let changed = {
            let mut directory = self.directory();
            match provider {
                Some(provider) => directory.vouched(node, provider),
                None => directory.disowned(node),
            }
        };
        if changed {
            self.wake();
        }
    }

    /// Delists what has expired, for ever.
    pub async fn expire(&self) {
        let mut changed = self.changed.subscribe();
        loop {
            let now = self.now();
            let (expired, next) = {
                let mut directory = self.directory();
                (directory.expire(now), directory.next_expiry())
            };
            if !expired.is_empty() {
                self.delete(expired);
                self.wake();
            }
            self.per_node.retain_recent();
            changed.mark_unchanged();
            let wait = next.map_or(Duration::from_secs(60), |next| next.since(now).to_duration());
            tokio::select! {
                () = tokio::time::sleep(wait.clamp(Duration::from_millis(10), Duration::from_secs(60))) => {}
                _ = changed.changed() => {}
            }
        }
    }

    fn delete(&self, deleted: impl IntoIterator<Item = Stored>) {
        let mut batch = Batch::new();
        let mut any = false;
        for stored in deleted {
            if let Stored::Delete(node) = stored {
                batch.delete(DESCRIPTORS, node.to_string().into_bytes());
                any = true;
            }
        }
        if any {
            self.store(batch);
        }
    }

    /// The store only spares nodes a new publication after a restart: a failure is told, and harms nobody.
    fn store(&self, batch: Batch) {
        let failure = match self.writer.try_enqueue(batch) {
            Ok(ticket) => {
                let findings = self.findings.clone();
                tokio::spawn(async move {
                    match ticket.await {
                        Ok(_) => drop(findings.clear_code("store/behind")),
                        Err(error) => drop(findings.raise(behind(&error))),
                    }
                });
                return;
            }
            Err(error) => error,
        };
        self.findings.raise(behind(&failure));
    }

    fn wake(&self) {
        let cursor = self.directory().cursor();
        self.changed.send_replace(cursor);
    }

    /// One page of nodes that match.
    pub fn query(&self, query: &Query) -> DirectoryPage {
        query.run(&self.directory())
    }

    /// One node.
    pub fn entry(&self, node: &NodeId) -> Option<DirectoryEntry> {
        self.directory().get(node).map(crate::core::directory::Listed::entry)
    }

    /// Number of listed nodes.
    pub fn listed(&self) -> usize {
        self.directory().len()
    }

    /// Every node with a descriptor, listed or not.
    pub fn known(&self) -> Vec<NodeId> {
        self.directory().known()
    }

    /// Whether there is a descriptor of a node.
    pub fn knows(&self, node: &NodeId) -> bool {
        self.directory().knows(node)
    }

    /// Nodes of a provider with a descriptor.
    pub fn nodes_of(&self, provider: ProviderId) -> Vec<NodeId> {
        self.directory().nodes_of(provider)
    }

    /// Changes after a cursor; waits up to `wait` for the first one.
    pub async fn changes(&self, after: Option<Cursor>, limit: usize, wait: Duration) -> ChangesPage {
        let mut changed = self.changed.subscribe();
        let deadline = tokio::time::Instant::now() + wait;
        loop {
            changed.mark_unchanged();
            let page = self.directory().changes(after, limit);
            if page.resync || !page.changes.is_empty() || after != Some(page.cursor) {
                return page;
            }
            if tokio::time::timeout_at(deadline, changed.changed()).await.is_err() {
                return page;
            }
        }
    }
}

fn behind(error: &StoreError) -> Finding {
    Finding::warning("store/behind", format!("descriptors are listed but not stored: {error}")).remedy(
        "Make room on the disk of the data directory; until then a restart forgets recent descriptors.",
    )
}

/// Opens a sealed descriptor of any pool of this deployment. The signer is the described node.
fn verify(sealed: &[u8], realm: Realm, now: Timestamp) -> Result<(NodeDescriptor, PoolId), Refused> {
    let claimed = envelope::peek(sealed)?;
    let expected = Expectation {
        recipient: None,
        realm: Realm { pool: claimed.realm.pool, ..realm },
        now,
        signer: None,
    };
    let opened = envelope::open::<NodeDescriptor>(sealed, &expected)?;
    let signer = NodeId(opened.signer);
    if opened.body.node != signer {
        return Err(Refused::WrongNode { described: opened.body.node, signer, place: opened.body.node });
    }
    Ok((opened.body, claimed.realm.pool))
}
