//! `/v1/epochs` and `/v1/payees`: what a stranger needs to check every root and every receipt. Public, without a token;
//! therefore pages are capped in items and bytes, a few are made at a time, and everybody may cache them for a moment.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use lode_api_types::{EpochListQuery, MAX_LIMIT, PayeeQuery, ReceiptQuery};
use lode_contracts::EarningsTree;
use lode_program::Problem;
use lode_protocol::hash::keccak256;
use lode_protocol::ids::{Address, Epoch, NodeId};
use lode_protocol::published::{
    EpochDocument, EpochPage, PayeeDocument, PublishedPayee, PublishedReceipt, PublishedSibling,
};
use serde::Serialize;

use super::extract::{PathId, QueryParams, limit};
use super::refusal::of_write;
use super::tasks::parse;
use super::{ApiState, Shared};
use crate::archive::{ArchiveError, ReceiptName};
use crate::core::settlement::ReceiptRow;

/// Bytes of receipts on a page, as the store holds them; JSON makes about three times as much of it.
const MOST_BYTES: usize = 1 << 20;
/// How long others may keep a page.
const CACHE: HeaderValue = HeaderValue::from_static("public, max-age=10");

/// List epochs with work or a root, newest first.
#[utoipa::path(
    get, path = "/v1/epochs", operation_id = "list_epochs", tag = "settlement", security(()), params(EpochListQuery),
    responses(
        (status = 200, description = "A page of epochs", body = EpochPage),
        (status = 304, description = "Unchanged since the `ETag` in `If-None-Match`"), (status = 400), (status = 503)
    )
)]
pub(super) async fn list(
    State(state): Shared,
    QueryParams(query): QueryParams<EpochListQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let limit = limit(query.limit)?;
    let items = state.driver.read(move |core, _| core.epochs(query.after, limit)).await.map_err(of_write)?;
    let next = (items.len() == limit).then(|| items.last().map(|epoch| epoch.epoch)).flatten();
    cacheable(&headers, &EpochPage { pool: state.about.realm.pool, items, next })
}

/// Show an epoch: its root with all leaves, and all receipts of work in it.
#[utoipa::path(
    get, path = "/v1/epochs/{epoch}/receipts", operation_id = "get_epoch", tag = "settlement", security(()),
    params(("epoch" = Epoch, Path, description = "The epoch"), ReceiptQuery),
    responses(
        (status = 200, description = "A page of the epoch: all pages have every leaf and every receipt", body = EpochDocument),
        (status = 304, description = "Unchanged since the `ETag` in `If-None-Match`"), (status = 400), (status = 404), (status = 503)
    )
)]
pub(super) async fn receipts(
    State(state): Shared,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    PathId(epoch): PathId<Epoch>,
    QueryParams(query): QueryParams<ReceiptQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let limit = limit(query.limit.or(Some(MAX_LIMIT)))?;
    let after = query.after.as_deref().map(receipt_name).transpose()?;
    let _turn = state.turnstile.enter(peer).await?;
    let known = state.driver.read(move |core, _| core.epoch_summary(epoch)).await.map_err(of_write)?;
    let (summary, covers_from) = known.ok_or_else(|| no_epoch(epoch))?;
    let page = state.archive.receipts(epoch, after, limit, MOST_BYTES).await.map_err(|e| unreadable(&e))?;
    let tree = match summary.root {
        Some(_) => state.archive.tree(epoch).await.map_err(|error| unreadable(&error))?,
        None => None,
    };
    let (payees, payees_next) = tree.map(|tree| payees(&tree, query.payees_after, limit)).unwrap_or_default();
    let name = |(node, payee): ReceiptName| format!("{node}.{payee}");
    let document = EpochDocument {
        pool: state.about.realm.pool,
        epoch,
        root: summary.root,
        covers_from,
        payees,
        payees_next,
        receipts: page.rows.into_iter().map(|row| publish(&state, row)).collect(),
        next: page.next.map(name),
    };
    cacheable(&headers, &document)
}

/// Show what a payee can claim under the latest posted root, or under another one.
#[utoipa::path(
    get, path = "/v1/payees/{address}", operation_id = "get_payee", tag = "settlement", security(()),
    params(("address" = Address, Path, description = "Who is paid"), PayeeQuery),
    responses(
        (status = 200, description = "The payee's leaf, and its way to the root", body = PayeeDocument),
        (status = 304, description = "Unchanged since the `ETag` in `If-None-Match`"), (status = 400), (status = 404), (status = 503)
    )
)]
pub(super) async fn payee(
    State(state): Shared,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    PathId(payee): PathId<Address>,
    QueryParams(query): QueryParams<PayeeQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let _turn = state.turnstile.enter(peer).await?;
    let known = move |core: &crate::core::Core| {
        let epoch = query.epoch.or_else(|| core.latest_posted())?;
        let root = core.epoch_summary(epoch)?.0.root?;
        Some((epoch, root, core.place_of(&payee)))
    };
    let found = state.driver.read(move |core, _| known(core)).await.map_err(of_write)?;
    let Some((epoch, root, place)) = found else { return Err(no_root()) };
    let tree = state.archive.tree(epoch).await.map_err(|error| unreadable(&error))?.ok_or_else(no_root)?;
    let nobody = || {
        Problem::new(StatusCode::NOT_FOUND, "payee/not-found", "This payee has no leaf under this root")
            .remedy("Earnings are posted some time after the epoch in which they were made.")
    };
    let place = place.ok_or_else(nobody)?;
    let (leaf, path) = tree.path(place).filter(|(leaf, _)| leaf.payee == payee).ok_or_else(nobody)?;
    let document = PayeeDocument {
        pool: state.about.realm.pool,
        epoch,
        root,
        leaf: PublishedPayee { index: place, payee, cumulative: leaf.cumulative },
        path: path
            .into_iter()
            .map(|sibling| PublishedSibling { hash: sibling.hash, sum: sibling.sum })
            .collect(),
    };
    cacheable(&headers, &document)
}

fn payees(tree: &EarningsTree, after: Option<u64>, limit: usize) -> (Vec<PublishedPayee>, Option<u64>) {
    let from = after.map_or(0, |after| after.saturating_add(1));
    let all = (0u64..).zip(tree.leaves());
    let page: Vec<PublishedPayee> = all
        .skip(usize::try_from(from).unwrap_or(usize::MAX))
        .take(limit)
        .map(|(index, leaf)| PublishedPayee { index, payee: leaf.payee, cumulative: leaf.cumulative })
        .collect();
    let last = page.last().map(|payee| payee.index);
    let next = last.filter(|last| tree.path(last.saturating_add(1)).is_some());
    (page, next)
}

fn publish(state: &ApiState, row: ReceiptRow) -> PublishedReceipt {
    PublishedReceipt {
        receipt: row.receipt,
        orchestrator_signature: state.identity.sign_receipt(&row.receipt),
        usage: row.usage,
        node_signature: row.node_signature,
        refused: row.refused,
    }
}

fn receipt_name(text: &str) -> Result<ReceiptName, Problem> {
    let (node, payee) = text.split_once('.').unwrap_or((text, ""));
    Ok((parse::<NodeId>(node)?, parse::<Address>(payee)?))
}

/// JSON that anybody may keep for a moment, and need not be sent again while it is the same.
fn cacheable(headers: &HeaderMap, document: &impl Serialize) -> Result<Response, Problem> {
    let body = serde_json::to_vec(document).map_err(|_| Problem::internal())?;
    let digest = keccak256(&body).to_string();
    let tag = format!("\"{}\"", digest.get(2..34).unwrap_or_default());
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let unchanged = known.split(',').any(|known| known.trim().trim_start_matches("W/") == tag);
    let etag = HeaderValue::from_str(&tag).map_err(|_| Problem::internal())?;
    let caching = [(header::CACHE_CONTROL, CACHE), (header::ETAG, etag)];
    if unchanged {
        return Ok((StatusCode::NOT_MODIFIED, caching).into_response());
    }
    let json = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    Ok((caching, json, body).into_response())
}

fn no_epoch(epoch: Epoch) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "epoch/not-found", "Nothing is kept of this epoch")
        .detail(format!("Nobody earned anything in epoch {epoch}, or it was paid for long ago."))
        .remedy("See /v1/epochs for what there is.")
}

fn no_root() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "epoch/no-root", "No such root is on chain")
        .remedy("See /v1/epochs for the roots that are posted.")
}

fn unreadable(error: &ArchiveError) -> Problem {
    tracing::error!(%error, "receipts cannot be read");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "store/failing", "The receipts cannot be read at present")
        .remedy("Try again later; the operator sees the reason in the log.")
}
