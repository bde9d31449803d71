//! The books of a pool, as its orchestrator publishes them, and what the chain says beside.

use std::collections::BTreeMap;

use lode_contracts::{ChainError, EarningsLeaf, Epoch, PoolRecord, RootState};
use lode_network::{EndpointUrl, GuardedError, HttpsAddress};
use lode_protocol::ids::{NodeId, PoolId};
use lode_protocol::published::{EpochDocument, PublishedPayee, PublishedReceipt};

use super::Inquirer;
use super::audit::{self, Books, ProvenAt};
use crate::core::{Audit, Matter, PostedRoot, RequestedRedemption};

/// Most bytes of one page.
const MAX_PAGE: usize = 16 << 20;
/// Most bytes of all pages of one look.
const MAX_BYTES: usize = 512 << 20;
/// Receipts and payees of one page.
const PAGE: u32 = 1_000;
/// Most epochs that one root may add.
const MOST_EPOCHS: u64 = 1_000;
/// Most places of a pool that are tried.
const MOST_ENDPOINTS: usize = 4;

/// Why books could not be looked at.
#[derive(Debug, thiserror::Error)]
enum Unseen {
    #[error("the chain cannot be read: {0}")]
    Chain(#[from] ChainError),
    #[error(transparent)]
    Fetch(#[from] GuardedError),
    #[error("what is published cannot be read: {0}")]
    Malformed(String),
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
    let mut budget = MAX_BYTES;
    let last = book(inquirer, place, posted.pool, posted.epoch, &mut budget).await?;
    let first = last.covers_from.unwrap_or(posted.epoch);
    if first > posted.epoch || posted.epoch.0.saturating_sub(first.0) > MOST_EPOCHS {
        return Err(Unseen::Malformed(format!("the root covers epochs from {first}")));
    }
    let mut receipts = last.receipts;
    for epoch in first.0..posted.epoch.0 {
        receipts.extend(book(inquirer, place, posted.pool, Epoch(epoch), &mut budget).await?.receipts);
    }
    let previous = match before {
        Some(epoch) => Some(previous(inquirer, place, posted.pool, epoch, &mut budget).await?),
        None => None,
    };
    let proven = proofs(inquirer, receipts.iter().map(|published| published.receipt.node)).await?;
    let books = Books { epochs: (first, posted.epoch), payees: last.payees, receipts, previous, proven };
    let (posted, orchestrator) = (*posted, pool.orchestrator);
    let domain = inquirer.deployment.rewards_domain();
    // A hundred thousand signatures take seconds.
    let checked =
        tokio::task::spawn_blocking(move || audit::check(&posted, books, orchestrator, &domain)).await;
    checked.map_err(|error| Unseen::Missing(format!("this validator's own check broke off: {error}")))
}

/// The leaves of the latest final root: only such that make that root.
async fn previous(
    inquirer: &Inquirer,
    place: &HttpsAddress,
    pool: PoolId,
    epoch: Epoch,
    budget: &mut usize,
) -> Result<Vec<EarningsLeaf>, Unseen> {
    let record = inquirer.reader.posted_root(pool, epoch).await?;
    let payees = book(inquirer, place, pool, epoch, budget).await?.payees;
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
        let leaves = previous(inquirer, &place, request.pool, epoch, &mut { MAX_BYTES }).await;
        match leaves {
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

/// Everything about an epoch.
#[derive(Debug, Default)]
struct Book {
    covers_from: Option<Epoch>,
    payees: Vec<PublishedPayee>,
    receipts: Vec<PublishedReceipt>,
}

/// Reads all pages of an epoch.
async fn book(
    inquirer: &Inquirer,
    place: &HttpsAddress,
    pool: PoolId,
    epoch: Epoch,
    budget: &mut usize,
) -> Result<Book, Unseen> {
    let mut book = Book::default();
    let (mut after, mut payees_after): (Option<String>, Option<u64>) = (None, None);
    let (mut more_receipts, mut more_payees) = (true, true);
    while more_receipts || more_payees {
        let mut path = format!("v1/epochs/{epoch}/receipts?limit={PAGE}");
        if let Some(after) = &after {
            path.push_str(&format!("&after={after}"));
        }
        if let Some(after) = payees_after {
            path.push_str(&format!("&payees_after={after}"));
        }
        let bytes = inquirer.fetch.get_below(place, &path, MAX_PAGE.min(*budget)).await?;
        *budget = budget.saturating_sub(bytes.len());
        let page: EpochDocument =
            serde_json::from_slice(&bytes).map_err(|error| Unseen::Malformed(error.to_string()))?;
        if page.pool != pool || page.epoch != epoch {
            return Err(Unseen::Malformed("it is of another pool or epoch".to_owned()));
        }
        book.covers_from = page.covers_from;
        // Of the list that has ended, its end is told again.
        if more_receipts {
            more_receipts = advanced(&after, &page.next) && page.next.is_some();
            book.receipts.extend(page.receipts);
            after = page.next.filter(|cursor| is_plain(cursor)).or(after);
        }
        if more_payees {
            more_payees = advanced(&payees_after, &page.payees_next) && page.payees_next.is_some();
            book.payees.extend(page.payees);
            payees_after = page.payees_next.or(payees_after);
        }
    }
    Ok(book)
}

/// Whether a cursor leads on: a server that gives the same one again would be asked for ever.
fn advanced<T: PartialEq>(asked: &Option<T>, next: &Option<T>) -> bool {
    next.is_none() || asked != next
}

/// Cursors go into an URL as they are.
fn is_plain(cursor: &str) -> bool {
    cursor.len() <= 256 && cursor.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
}
