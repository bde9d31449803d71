//! What a pool publishes about an epoch's earnings: read from the pool or a file, believed only as far as it hashes to
//! the root on chain.

use std::path::Path;
use std::time::Duration;

use lode_address::{EndpointUrl, HttpsAddress};
use lode_contracts::{Amount, ChainReader as _, EarningsLeaf, EarningsTree, Epoch, RootRecord, RpcChain};
use lode_outbound::{FetchPolicy, Fetcher, OutboundError};
use lode_protocol::ids::{Address, PoolId};
use serde::Deserialize;

use crate::api::Api;
use crate::arguments::{Global, ReceiptFlags};
use crate::failure::{Failure, Kind};
use crate::wallet::context;

/// Largest file of receipts that is read.
const MAX_BYTES: u64 = 256 << 20;
/// Largest page that is read from where the chain says.
const MAX_PAGE_BYTES: usize = 64 << 20;
/// And how slowly it may come.
const PAGE_TIMEOUT: Duration = Duration::from_secs(120);
const LEAST_RATE: u64 = 1_024;
const GRACE: Duration = Duration::from_secs(10);

/// A page of `GET /v1/epochs/{epoch}/receipts`, as far as claims need it.
#[derive(Debug, Deserialize)]
struct Page {
    pool: PoolId,
    epoch: Epoch,
    payees: Vec<Payee>,
    #[serde(default)]
    payees_next: Option<u64>,
}

/// A leaf as it is published.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Payee {
    index: u64,
    payee: Address,
    cumulative: Amount,
}

/// The tree of earnings under an epoch's root on chain.
pub(super) async fn tree(
    global: &Global,
    chain: &RpcChain,
    pool: PoolId,
    epoch: Epoch,
    root: &RootRecord,
    flags: &ReceiptFlags,
) -> anyhow::Result<EarningsTree> {
    let leaves = match flags.receipts.as_deref() {
        Some(file) => from_file(file, pool, epoch)?,
        None => {
            // No tree under this root has more: whoever sends more sends something else.
            let most = 1usize.checked_shl(root.depth.into()).unwrap_or(usize::MAX);
            from_pool(global, chain, (pool, epoch), most, flags.private_endpoints).await?
        }
    };
    let tree = EarningsTree::new(leaves).map_err(|error| wrong(epoch, &error.to_string()))?;
    if (tree.root(), tree.total(), tree.depth()) != (root.root, root.total, root.depth) {
        let detail = format!("they hash to {}, the chain says {}", tree.root(), root.root);
        return Err(wrong(epoch, &detail));
    }
    Ok(tree)
}

fn wrong(epoch: Epoch, detail: &str) -> anyhow::Error {
    let message = format!("the receipts of epoch {epoch} are not those of the root on chain: {detail}");
    let remedy = "ask the pool's owner; what the pool leaves out is paid with `lode provider redeem`";
    Failure::coded(Kind::Denied, "earnings/wrong-root", message, remedy).into()
}

fn from_file(file: &Path, pool: PoolId, epoch: Epoch) -> anyhow::Result<Vec<EarningsLeaf>> {
    let unreadable = |detail: String| {
        let message = format!("cannot read the receipts {}: {detail}", file.display());
        Kind::NotFound.with_remedy(message, "give the file that the pool serves at /v1/epochs/EPOCH/receipts")
    };
    let size = std::fs::metadata(file).map_err(|error| unreadable(error.to_string()))?.len();
    if size > MAX_BYTES {
        return Err(unreadable(format!("it has more than {MAX_BYTES} bytes")));
    }
    let text = std::fs::read_to_string(file).map_err(|error| unreadable(error.to_string()))?;
    let page: Page = serde_json::from_str(&text).map_err(|error| unreadable(error.to_string()))?;
    let next = page.payees_next;
    let leaves = leaves(page, pool, epoch, 0)?;
    if next.is_some() {
        let message = format!("{} holds only the first page of payees", file.display());
        return Err(Kind::Usage.with_remedy(message, "fetch all of them, or leave --receipts out"));
    }
    Ok(leaves)
}

async fn from_pool(
    global: &Global,
    chain: &RpcChain,
    (pool, epoch): (PoolId, Epoch),
    most: usize,
    private_endpoints: bool,
) -> anyhow::Result<Vec<EarningsLeaf>> {
    let mut failed = None;
    for source in sources(global, chain, pool, private_endpoints).await? {
        match all_pages(&source, pool, epoch, most).await {
            Ok(leaves) => return Ok(leaves),
            Err(error) => failed = Some(error),
        }
    }
    Err(failed.unwrap_or_else(|| {
        let message = format!("it is not known where the receipts of pool {pool} are served");
        Kind::Usage.with_remedy(message, OTHERWISE)
    }))
}

/// Where pages are read.
#[derive(Debug)]
enum Source {
    /// Whoever runs this command said so.
    Said(Api),
    /// The pool's owner wrote it on the chain: it must not lead into the network of whoever runs this.
    OnChain { fetcher: Fetcher, address: HttpsAddress, pool: PoolId },
}

impl Source {
    async fn page(&self, path: &str, after: Option<u64>) -> anyhow::Result<Page> {
        match self {
            Source::Said(api) => {
                let query: Vec<_> = after.iter().map(|after| ("payees_after", after.to_string())).collect();
                api.get(path, &query).await
            }
            Source::OnChain { fetcher, address, pool } => {
                let path = match after {
                    Some(after) => format!("{path}?payees_after={after}"),
                    None => path.to_owned(),
                };
                let bytes = fetcher
                    .get_below(address, &path, MAX_PAGE_BYTES)
                    .await
                    .map_err(|error| not_fetched(&error, *pool))?;
                serde_json::from_slice(&bytes).map_err(|error| {
                    let message = format!("what {address} serves is no list of receipts: {error}");
                    Failure::coded(Kind::Failed, "api/not-understood", message, OTHERWISE).into()
                })
            }
        }
    }
}

/// Where else receipts come from.
const OTHERWISE: &str = "give --url URL (the orchestrator's API), or --receipts FILE";

fn not_fetched(error: &OutboundError, pool: PoolId) -> Failure {
    let message = format!("{error}; the owner of pool {pool} wrote on the chain that it is there");
    let (kind, remedy) = match error {
        OutboundError::NotPublic { .. } | OutboundError::BadUrl { .. } => {
            (Kind::Denied, format!("if it is a pool of your own, add --private-endpoints; else {OTHERWISE}"))
        }
        OutboundError::Refused { status: 404 | 410, .. } => (Kind::NotFound, OTHERWISE.to_owned()),
        OutboundError::Unreachable { .. }
        | OutboundError::Timeout { .. }
        | OutboundError::TooSlow { .. }
        | OutboundError::TooLarge { .. }
        | OutboundError::TooManyRedirects { .. }
        | OutboundError::Refused { .. } => (Kind::Unavailable, OTHERWISE.to_owned()),
    };
    Failure::coded(kind, error.code().as_str(), message, remedy)
}

/// The orchestrator that the flags or the context mean, then what the pool says on chain.
async fn sources(
    global: &Global,
    chain: &RpcChain,
    pool: PoolId,
    private_endpoints: bool,
) -> anyhow::Result<Vec<Source>> {
    let mut sources = Vec::new();
    let of_context = context(global)?.is_some_and(|context| context.pool == Some(pool.0));
    if global.url.is_some() || of_context {
        sources.push(Source::Said(Api::of(global)?));
    }
    if global.url.is_none()
        && let Some(record) = chain.pool(pool).await?
    {
        let policy = FetchPolicy {
            private_addresses: private_endpoints,
            timeout: PAGE_TIMEOUT,
            least_rate: LEAST_RATE,
            grace: GRACE,
        };
        let fetcher = Fetcher::new(concat!("lode/", env!("CARGO_PKG_VERSION")), policy);
        // Whatever the owner wrote: a source that is none is passed over, and none is believed.
        for endpoint in record.endpoints.split(|sign: char| sign.is_whitespace() || sign == ',') {
            if let Ok(EndpointUrl::Https(address)) = endpoint.parse::<EndpointUrl>() {
                sources.push(Source::OnChain { fetcher: fetcher.clone(), address, pool });
            }
        }
    }
    Ok(sources)
}

async fn all_pages(
    source: &Source,
    pool: PoolId,
    epoch: Epoch,
    most: usize,
) -> anyhow::Result<Vec<EarningsLeaf>> {
    let path = format!("v1/epochs/{epoch}/receipts");
    let mut all = Vec::new();
    let mut after: Option<u64> = None;
    loop {
        let page = source.page(&path, after).await?;
        let next = page.payees_next;
        let more = leaves(page, pool, epoch, all.len())?;
        let stuck = more.is_empty();
        all.extend(more);
        if all.len() > most {
            return Err(wrong(epoch, &format!("there are more than {most} payees")));
        }
        match next {
            Some(next) if !stuck => after = Some(next),
            _ => return Ok(all),
        }
    }
}

/// The leaves of a page, which must begin at place `first` and have no gap.
fn leaves(page: Page, pool: PoolId, epoch: Epoch, first: usize) -> anyhow::Result<Vec<EarningsLeaf>> {
    if (page.pool, page.epoch) != (pool, epoch) {
        let message = format!("these are receipts of epoch {} of pool {}", page.epoch, page.pool);
        let remedy = format!("give those of epoch {epoch} of pool {pool}");
        return Err(Kind::Usage.with_remedy(message, remedy));
    }
    let mut leaves = Vec::with_capacity(page.payees.len());
    for (payee, place) in page.payees.into_iter().zip(first..) {
        if u64::try_from(place) != Ok(payee.index) {
            return Err(wrong(epoch, &format!("place {place} is missing")));
        }
        leaves.push(EarningsLeaf { payee: payee.payee, cumulative: payee.cumulative });
    }
    Ok(leaves)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn page(indices: &[u64]) -> Page {
        let payees: Vec<_> = indices
            .iter()
            .map(|index| json!({ "index": index, "payee": Address([9; 20]), "cumulative": "1.5" }))
            .collect();
        let receipts: Vec<u8> = Vec::new();
        let text = json!({
            "pool": 1, "epoch": 7, "root": null, "payees": payees, "payees_next": null, "receipts": receipts,
            "next": null, "of_a_later_version": true,
        });
        serde_json::from_value(text).unwrap()
    }

    #[test]
    fn pages_must_follow_each_other_without_a_gap() {
        let (pool, epoch) = (PoolId(1), Epoch(7));
        assert_eq!(leaves(page(&[0, 1]), pool, epoch, 0).unwrap().len(), 2);
        assert_eq!(leaves(page(&[2, 3]), pool, epoch, 2).unwrap().len(), 2);
        assert!(leaves(page(&[0, 2]), pool, epoch, 0).is_err());
        assert!(leaves(page(&[1]), pool, epoch, 0).is_err());
    }

    #[test]
    fn receipts_of_another_pool_or_epoch_are_refused() {
        assert!(leaves(page(&[0]), PoolId(2), Epoch(7), 0).is_err());
        assert!(leaves(page(&[0]), PoolId(1), Epoch(8), 0).is_err());
    }
}
