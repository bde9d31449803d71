//! The books of a pool, as its orchestrator publishes them, and what the chain says beside.
//!
//! They are read page by page: a receipt is checked when it comes, and what it adds to its payee is all that is kept of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use lode_contracts::{ChainError, EarningsLeaf, Epoch, PoolRecord, RootState};
use lode_network::{EndpointUrl, HttpsAddress, OutboundError};
use lode_protocol::ids::NodeId;
use lode_protocol::published::{PublishedPayee, PublishedReceipt};

use super::Inquirer;
use super::audit::{self, Books, Earned, ProvenAt, Terms};
use super::budget::{Budget, Kept};
use super::pages::{Pages, Shelf};
use crate::core::{Audit, Matter, PostedRoot, RequestedRedemption};

/// Most epochs that one root may add.
const MOST_EPOCHS: u64 = 1_000;
/// Most places of a pool that are tried.
const MOST_ENDPOINTS: usize = 4;

/// Why books could not be looked at.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unseen {
    #[error("the chain cannot be read: {0}")]
    Chain(#[from] ChainError),
    #[error(transparent)]
    Fetch(#[from] OutboundError),
    #[error("what is published cannot be read: {0}")]
    Malformed(String),
    #[error("what is published is more than one look may hold")]
    TooLarge,
    #[error("{0}")]
    Missing(String),
}

/// Looks at a promise of a pool.
pub(super) async fn look(inquirer: &Inquirer, matter: &Matter) -> Audit {
    let looked = match matter {
        Matter::Root(posted) => root(inquirer, posted).await,
        Matter::Redemption(request) => redemption(inquirer, request).await,
    };
    looked.unwrap_or_else(|error| Audit::Unavailable { message: error.to_string() })
}

async fn root(inquirer: &Inquirer, posted: &PostedRoot) -> Result<Audit, Unseen> {
    let reader = inquirer.reader.as_ref();
    let (pool, record) =
        tokio::try_join!(reader.pool(posted.pool), reader.posted_root(posted.pool, posted.epoch))?;
    let current =
        record.is_some_and(|record| record.root == posted.root && record.state == RootState::Pending);
    // What is not pending any more needs no look.
    let (Some(pool), true) = (pool, current) else { return Ok(Audit::Right) };
    let before = reader.budget(posted.pool).await?.final_epoch.filter(|epoch| *epoch < posted.epoch);
    let mut wrong = None;
    let mut unseen = None;
    for place in places(&pool)? {
        // One place that tells the truth is enough: what is published is checked, not believed.
        match root_at(inquirer, &place, &pool, posted, before).await {
            Ok(Audit::Right) => return Ok(Audit::Right),
            Ok(audit) => wrong = Some(audit),
            Err(error) => unseen = Some(error),
        }
    }
    match (wrong, unseen) {
        (Some(audit), _) => Ok(audit),
        (None, Some(error)) => Err(error),
        (None, None) => Err(Unseen::Missing("the pool names no place that serves its books".to_owned())),
    }
}

async fn root_at(
    inquirer: &Inquirer,
    place: &HttpsAddress,
    pool: &PoolRecord,
    posted: &PostedRoot,
    before: Option<Epoch>,
) -> Result<Audit, Unseen> {
    let shelf = Shelf { inquirer, place, pool: posted.pool };
    let mut budget = Budget::new(inquirer.limits.bytes_per_audit);
    let mut pages = Pages::of(shelf, posted.epoch);
    let mut page = pages.next(&mut budget).await?;
    let first = page.as_ref().and_then(|page| page.covers_from).unwrap_or(posted.epoch);
    if first > posted.epoch || posted.epoch.0.saturating_sub(first.0) > MOST_EPOCHS {
        return Err(Unseen::Malformed(format!("the root covers epochs from {first}")));
    }
    let terms = Terms {
        pool: posted.pool,
        epochs: (first, posted.epoch),
        orchestrator: pool.orchestrator,
        domain: inquirer.deployment.rewards_domain(),
    };
    let mut payees = Vec::new();
    let mut receipts = Receipts::new(inquirer, terms);
    while let Some(read) = page {
        budget.keep(read.payees.len(), Kept::Payee)?;
        payees.extend(read.payees);
        receipts.add(read.receipts, &mut budget).await?;
        page = pages.next(&mut budget).await?;
    }
    for epoch in first.0..posted.epoch.0 {
        let mut pages = Pages::of(shelf, Epoch(epoch));
        while let Some(read) = pages.next(&mut budget).await? {
            receipts.add(read.receipts, &mut budget).await?;
        }
    }
    let previous = match before {
        Some(epoch) => Some(previous(shelf, epoch, &mut budget).await?),
        None => None,
    };
    let books = Books { payees, earned: receipts.earned, previous };
    let posted = *posted;
    aside(move || audit::check(&posted, books)).await
}

/// Receipts as they come.
#[derive(Debug)]
struct Receipts<'a> {
    inquirer: &'a Inquirer,
    terms: Arc<Terms>,
    proven: BTreeMap<NodeId, ProvenAt>,
    earned: Earned,
}

impl<'a> Receipts<'a> {
    fn new(inquirer: &'a Inquirer, terms: Terms) -> Self {
        Self { inquirer, terms: Arc::new(terms), proven: BTreeMap::new(), earned: Earned::default() }
    }

    async fn add(&mut self, receipts: Vec<PublishedReceipt>, budget: &mut Budget) -> Result<(), Unseen> {
        let nodes = receipts.iter().map(|published| published.receipt.node);
        let unknown: Vec<NodeId> = nodes.filter(|node| !self.proven.contains_key(node)).collect();
        let found = proofs(self.inquirer, unknown).await?;
        budget.keep(receipts.len(), Kept::Receipt)?;
        budget.keep(found.len(), Kept::Node)?;
        self.proven.extend(found);
        let (terms, proven) = (Arc::clone(&self.terms), std::mem::take(&mut self.proven));
        let mut earned = std::mem::take(&mut self.earned);
        // Some hundred signatures.
        let checked = move || {
            earned.add(&receipts, &terms, &proven);
            (earned, proven)
        };
        (self.earned, self.proven) = aside(checked).await?;
        Ok(())
    }
}

/// Computes beside the tasks that wait for others.
async fn aside<T: Send + 'static>(compute: impl FnOnce() -> T + Send + 'static) -> Result<T, Unseen> {
    let computed = tokio::task::spawn_blocking(compute).await;
    computed.map_err(|error| Unseen::Missing(format!("this validator's own check broke off: {error}")))
}

/// The leaves of the latest final root: only such that make that root.
async fn previous(shelf: Shelf<'_>, epoch: Epoch, budget: &mut Budget) -> Result<Vec<EarningsLeaf>, Unseen> {
    let record = shelf.inquirer.reader.posted_root(shelf.pool, epoch).await?;
    let mut payees: Vec<PublishedPayee> = Vec::new();
    let mut pages = Pages::of(shelf, epoch);
    while let Some(page) = pages.next(budget).await? {
        budget.keep(page.payees.len(), Kept::Payee)?;
        payees.extend(page.payees);
    }
    let leaves = audit::leaves(&payees).map_err(Unseen::Malformed)?;
    let tree = audit::tree(&leaves).map_err(Unseen::Malformed)?;
    let same = record.is_some_and(|record| {
        (record.root, record.total, record.depth) == (tree.root(), tree.total(), tree.depth())
    });
    if same {
        Ok(leaves)
    } else {
        Err(Unseen::Malformed(format!("the leaves of epoch {epoch} do not make its root")))
    }
}

async fn redemption(inquirer: &Inquirer, request: &RequestedRedemption) -> Result<Audit, Unseen> {
    let reader = inquirer.reader.as_ref();
    let pending = reader.redemption(request.pool, request.payee).await?;
    if pending.is_none_or(|pending| pending.cumulative != request.cumulative) {
        return Ok(Audit::Right);
    }
    let proven = proofs(inquirer, [request.node]).await?;
    if let Some(audit) = audit::redeemed_without_proof(request, &proven) {
        return Ok(audit);
    }
    // Only a root that nobody can take back pays for good: a veto makes the receipt void for ever.
    let Some(epoch) = reader.budget(request.pool).await?.final_epoch else { return Ok(Audit::Right) };
    let Some(pool) = reader.pool(request.pool).await? else { return Ok(Audit::Right) };
    for place in places(&pool)? {
        let shelf = Shelf { inquirer, place: &place, pool: request.pool };
        match previous(shelf, epoch, &mut Budget::new(inquirer.limits.bytes_per_audit)).await {
            Ok(leaves) => return Ok(audit::redeemed_though_covered(request, epoch, &leaves)),
            Err(error) => tracing::debug!(%error, "books cannot be looked at there"),
        }
    }
    // A silent orchestrator is what redemptions are made for.
    Ok(Audit::Right)
}

async fn proofs(
    inquirer: &Inquirer,
    nodes: impl IntoIterator<Item = NodeId>,
) -> Result<BTreeMap<NodeId, ProvenAt>, Unseen> {
    let mut proven: BTreeMap<NodeId, ProvenAt> = nodes.into_iter().map(|node| (node, None)).collect();
    let nodes: Vec<NodeId> = proven.keys().copied().collect();
    for batch in nodes.chunks(500) {
        let records = inquirer.reader.proven(batch).await?;
        for (node, record) in batch.iter().zip(records) {
            proven.insert(*node, record);
        }
    }
    Ok(proven)
}

fn places(pool: &PoolRecord) -> Result<Vec<HttpsAddress>, Unseen> {
    let named = pool.endpoints.split([',', ' ']).filter_map(|text| text.trim().parse::<EndpointUrl>().ok());
    let served = named.filter_map(|endpoint| match endpoint {
        EndpointUrl::Https(address) => Some(address),
        EndpointUrl::Peer(_) => None,
    });
    let places: Vec<HttpsAddress> = served.take(MOST_ENDPOINTS).collect();
    if places.is_empty() {
        return Err(Unseen::Missing("the pool names no place that serves its books".to_owned()));
    }
    Ok(places)
}
