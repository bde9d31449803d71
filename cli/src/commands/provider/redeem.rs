//! Receipts that a pool left out of its roots.

use std::path::Path;

use lode_contracts::{ChainReader as _, Intent, RewardsCall};
use lode_protocol::ids::{Address, PoolId};
use lode_protocol::keys::EthereumSignature;
use lode_protocol::settlement::Receipt;
use lode_protocol::units::Millis;
use serde::Deserialize;
use serde_json::json;

use crate::arguments::{Global, SignerFlags};
use crate::commands::pool::reward_token;
use crate::failure::{Failure, Kind};
use crate::output::moment;
use crate::wallet::{Plan, Wallet, pool_meant};

/// Largest file of receipts.
const MAX_BYTES: u64 = 64 << 20;

/// A receipt with its signatures, as a pool serves it and a worker keeps it. The usage it pays is beside the point here.
#[derive(Clone, Debug, Deserialize)]
struct SignedReceipt {
    receipt: Receipt,
    orchestrator_signature: EthereumSignature,
    node_signature: Option<EthereumSignature>,
}

/// One receipt, or all that a worker keeps (`lode-worker receipts`).
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Receipts {
    One(SignedReceipt),
    Kept(Vec<SignedReceipt>),
}

pub(super) async fn begin(
    global: &Global,
    signer: &SignerFlags,
    pool: Option<PoolId>,
    file: &Path,
) -> anyhow::Result<()> {
    let receipts = load(file)?;
    let wallet = Wallet::open(global, signer).await?;
    let signed = match receipts {
        Receipts::One(signed) => signed,
        Receipts::Kept(receipts) => best(&wallet, receipts, pool).await?,
    };
    let receipt = signed.receipt;
    if pool.is_some_and(|pool| pool != receipt.pool) {
        return Err(Kind::Usage.because(format!("the receipt is of pool {}", receipt.pool)));
    }
    let (_, unit) = reward_token(&wallet.chain, receipt.pool).await?;
    let Some(record) = wallet.chain.pool(receipt.pool).await? else {
        return Err(Kind::NotFound.because(format!("the chain has no pool {}", receipt.pool)));
    };
    let node_signature = checked(&signed, &wallet, record.orchestrator)?;
    let had = wallet.chain.earnings(receipt.pool, &[receipt.payee]).await?;
    let paid = had.first().map(|had| had.paid).unwrap_or_default();
    let due = receipt.cumulative.checked_sub(paid).unwrap_or_default();
    let what = format!(
        "have {} held for {}, which pool {} owes by a receipt of epoch {}",
        unit.show(due),
        receipt.payee,
        receipt.pool,
        receipt.epoch
    );
    let intent = Intent::Rewards(RewardsCall::Redeem {
        receipt,
        orchestrator_signature: signed.orchestrator_signature,
        node_signature,
    });
    let delay = wallet.chain.settlement_terms().await?.veto_seconds;
    let payable = wallet.now.plus(Millis(delay.saturating_mul(1_000)));
    let done = format!(
        "the receipt is held; unless validators veto it, `lode provider redeem --settle --pool {} --payee {}` pays it {}",
        receipt.pool,
        receipt.payee,
        moment(payable, Some(wallet.now))
    );
    let plan = Plan::new(what, done, intent).paid_in(unit).with("pool", json!(receipt.pool.0));
    wallet.carry_out(&plan).await.map(drop)
}

pub(super) async fn settle(
    global: &Global,
    signer: &SignerFlags,
    pool: Option<PoolId>,
    payee: Option<Address>,
) -> anyhow::Result<()> {
    let pool = pool_meant(global, pool)?;
    let wallet = Wallet::open(global, signer).await?;
    let (_, unit) = reward_token(&wallet.chain, pool).await?;
    let payee = match payee {
        Some(payee) => payee,
        None => wallet.address()?,
    };
    let held = wallet.chain.redemption(pool, payee).await?.map(|redemption| redemption.amount);
    let shown = unit.show(held.unwrap_or_default());
    let (what, done) = (
        format!("have pool {pool} pay up to {shown} to {payee}, by a receipt that is held"),
        format!("the receipt of {payee} is paid by pool {pool}"),
    );
    let plan =
        Plan::new(what, done, Intent::Rewards(RewardsCall::SettleRedemption { pool, payee })).paid_in(unit);
    wallet.carry_out(&plan).await.map(drop)
}

/// Of a worker's receipts the one that promises most, among those whose epoch can no longer be posted.
async fn best(
    wallet: &Wallet,
    mut receipts: Vec<SignedReceipt>,
    pool: Option<PoolId>,
) -> anyhow::Result<SignedReceipt> {
    receipts.retain(|signed| pool.is_none_or(|pool| signed.receipt.pool == pool));
    let whose = |signed: &SignedReceipt| (signed.receipt.pool, signed.receipt.payee);
    let Some(first) = receipts.first().map(whose) else {
        return Err(Kind::NotFound.because("there is no receipt of this pool in the file"));
    };
    if receipts.iter().any(|signed| whose(signed) != first) {
        let message = "the receipts are of several pools or payees";
        return Err(Kind::Usage.with_remedy(message, "name the pool (--pool), or give one receipt alone"));
    }
    let timing = wallet.chain.epoch_timing().await?;
    let posting = Millis(wallet.chain.settlement_terms().await?.posting_seconds.saturating_mul(1_000));
    let is_due = |signed: &&SignedReceipt| timing.ends(signed.receipt.epoch).plus(posting) < wallet.now;
    let promises = |signed: &&SignedReceipt| signed.receipt.cumulative;
    let earliest = receipts.iter().min_by_key(|signed| signed.receipt.epoch);
    // Where none is due yet, the contract says when the earliest one will be.
    let chosen = receipts.iter().filter(is_due).max_by_key(promises).or(earliest);
    chosen.cloned().ok_or_else(|| Kind::NotFound.because("there is no receipt in the file"))
}

fn load(file: &Path) -> anyhow::Result<Receipts> {
    let unreadable = |detail: String| {
        let message = format!("cannot read receipts from {}: {detail}", file.display());
        let remedy = "give a receipt with its signatures, as /v1/epochs/EPOCH/receipts lists them, or what `lode-worker receipts` prints";
        Kind::NotFound.with_remedy(message, remedy)
    };
    let size = std::fs::metadata(file).map_err(|error| unreadable(error.to_string()))?.len();
    if size > MAX_BYTES {
        return Err(unreadable(format!("it has more than {MAX_BYTES} bytes")));
    }
    let text = std::fs::read_to_string(file).map_err(|error| unreadable(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| unreadable(error.to_string()))
}

/// Both signatures, before anybody pays for sending them. Gives the node's.
fn checked(
    signed: &SignedReceipt,
    wallet: &Wallet,
    orchestrator: Address,
) -> anyhow::Result<EthereumSignature> {
    let receipt = &signed.receipt;
    let digest = receipt.digest(&wallet.deployment().rewards_domain());
    let refuse = |message: String, remedy: &str| {
        anyhow::Error::from(Failure::coded(Kind::Denied, "signature/wrong-signer", message, remedy))
    };
    if signed.orchestrator_signature.recover(&digest) != Ok(orchestrator) {
        let message =
            format!("the receipt is not signed by the orchestrator {orchestrator} of pool {}", receipt.pool);
        return Err(refuse(message, "one of a replaced orchestrator key does not count"));
    }
    let Some(node_signature) = signed.node_signature else {
        let message = format!("node {} has not signed the receipt", receipt.node);
        return Err(refuse(message, "take it from the node's worker, which signs what it agrees with"));
    };
    if node_signature.recover(&digest) != Ok(receipt.node.0) {
        return Err(refuse(
            format!("the receipt is not signed by node {}", receipt.node),
            "take it as it was given",
        ));
    }
    Ok(node_signature)
}
