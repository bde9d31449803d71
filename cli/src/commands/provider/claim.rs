//! Having earnings paid out: anybody may, for anybody; the money goes to the payee.

use lode_contracts::{
    Amount, ChainReader as _, ClaimItem, EarningsRecord, EarningsTree, Epoch, Intent, Receipt, RewardsCall,
    RootRecord, RootState, RpcChain, verify_earnings_path,
};
use lode_protocol::ids::{Address, PoolId};
use serde_json::json;

use super::source;
use crate::arguments::{Global, ReceiptFlags, SignerFlags};
use crate::commands::pool::reward_token;
use crate::failure::{Failure, Kind};
use crate::output::{Denomination, moment};
use crate::wallet::{Plan, Wallet, pool_meant};

/// Most claims in one transaction: far below the gas of a block.
const BATCH: usize = 100;

/// The root that can be claimed under: the one asked for, or the latest final one.
pub(super) async fn claimable_root(
    chain: &RpcChain,
    pool: PoolId,
    asked: Option<Epoch>,
) -> anyhow::Result<(Epoch, RootRecord)> {
    let budget = chain.budget(pool).await?;
    let now = chain.head().await?.timestamp;
    let none_yet = || {
        let message = format!("pool {pool} has no final root yet, so that nothing can be claimed");
        Failure::coded(
            Kind::Conflict,
            "earnings/no-root",
            message,
            "`lode pool budget` shows what is pending",
        )
    };
    let Some(epoch) = asked.or(budget.final_epoch) else {
        let Some(pending) = budget.pending_epoch else { return Err(none_yet().into()) };
        let root = chain.posted_root(pool, pending).await?;
        let at = root.map_or_else(|| "later".to_owned(), |root| moment(root.final_at, Some(now)));
        let message = format!(
            "the first root of pool {pool}, of epoch {pending}, is in its veto window, which ends {at}"
        );
        return Err(Failure::coded(Kind::Conflict, "earnings/no-root", message, "come back then").into());
    };
    match chain.posted_root(pool, epoch).await? {
        Some(root) if root.state == RootState::Final => Ok((epoch, root)),
        Some(root) => {
            let message = match root.state {
                RootState::Vetoed => format!("the root of epoch {epoch} of pool {pool} was vetoed"),
                RootState::Pending | RootState::Final => format!(
                    "the root of epoch {epoch} of pool {pool} can be claimed under {}",
                    moment(root.final_at, Some(now))
                ),
            };
            let remedy = "leave --epoch out: the latest final root pays everything before it";
            Err(Failure::coded(Kind::Conflict, "earnings/no-root", message, remedy).into())
        }
        None => {
            let message = format!("pool {pool} posted no root for epoch {epoch}");
            let remedy = "leave --epoch out: the latest final root pays everything before it";
            Err(Failure::coded(Kind::NotFound, "earnings/no-root", message, remedy).into())
        }
    }
}

/// What a claim would pay: what the leaf says and no root has covered, less what was redeemed ahead of it.
pub(super) fn payable(cumulative: Amount, had: &EarningsRecord) -> Amount {
    let covered = had.paid.0.saturating_sub(had.ahead.0);
    let newly = cumulative.0.saturating_sub(covered);
    Amount(newly.saturating_sub(had.ahead.0))
}

/// Whether the contract would take the claim: also one that pays nothing covers what was redeemed.
fn is_new(cumulative: Amount, had: &EarningsRecord) -> bool {
    cumulative.0 > had.paid.0.saturating_sub(had.ahead.0)
}

pub(super) async fn run(
    global: &Global,
    signer: &SignerFlags,
    receipts: &ReceiptFlags,
    payees: Vec<Address>,
    all: bool,
) -> anyhow::Result<()> {
    let pool = pool_meant(global, receipts.pool)?;
    let wallet = Wallet::open(global, signer).await?;
    let chain = &wallet.chain;
    let (_, unit) = reward_token(chain, pool).await?;
    let (epoch, root) = claimable_root(chain, pool, receipts.epoch).await?;
    let tree = source::tree(global, chain, pool, epoch, &root, receipts).await?;
    let wanted = if all {
        tree.leaves().iter().map(|leaf| leaf.payee).collect()
    } else if payees.is_empty() {
        vec![wallet.address()?]
    } else {
        payees
    };
    let mut claims = items(pool, epoch, &root, &tree, &wanted)?;
    let had = chain.earnings(pool, &wanted).await?;
    let mut sums: Vec<(ClaimItem, Amount)> = Vec::new();
    for (item, had) in claims.drain(..).zip(&had) {
        if is_new(item.cumulative, had) {
            let pays = payable(item.cumulative, had);
            sums.push((item, pays));
        } else if !all {
            return Err(nothing(&item, had, &unit).into());
        }
    }
    if sums.is_empty() {
        let message =
            format!("nobody has anything to claim from pool {pool} under the root of epoch {epoch}");
        let remedy = "`lode provider earnings` shows what was paid and what is to come";
        return Err(Failure::coded(Kind::Conflict, "earnings/nothing", message, remedy).into());
    }
    carry_out(&wallet, pool, epoch, &unit, sums).await
}

fn nothing(item: &ClaimItem, had: &EarningsRecord, unit: &Denomination) -> Failure {
    let message = format!(
        "{} has nothing to claim from pool {}: {} were paid, the root of epoch {} says {}",
        item.payee,
        item.pool,
        unit.show(had.paid),
        item.epoch,
        unit.show(item.cumulative)
    );
    let remedy = "wait for a later root: `lode provider earnings` shows what is to come";
    Failure::coded(Kind::Conflict, "earnings/nothing", message, remedy)
}

/// A proven claim for each payee, in the order asked for.
fn items(
    pool: PoolId,
    epoch: Epoch,
    root: &RootRecord,
    tree: &EarningsTree,
    wanted: &[Address],
) -> anyhow::Result<Vec<ClaimItem>> {
    let mut items = Vec::with_capacity(wanted.len());
    for payee in wanted {
        let place = tree.leaves().iter().zip(0u64..).find(|(leaf, _)| leaf.payee == *payee);
        let item = place.and_then(|(leaf, index)| {
            let item = ClaimItem::from_tree(pool, epoch, tree, index)?;
            verify_earnings_path(root.root, root.total, index, leaf, &item.path).then_some(item)
        });
        let Some(item) = item else {
            let message = format!("{payee} has earned nothing in pool {pool} up to epoch {epoch}");
            let remedy = "check the address; `lode provider earnings` lists who has";
            return Err(Failure::coded(Kind::NotFound, "earnings/nothing", message, remedy).into());
        };
        items.push(item);
    }
    Ok(items)
}

async fn carry_out(
    wallet: &Wallet,
    pool: PoolId,
    epoch: Epoch,
    unit: &Denomination,
    claims: Vec<(ClaimItem, Amount)>,
) -> anyhow::Result<()> {
    let total = claims.iter().fold(Amount::ZERO, |sum, (_, pays)| sum.saturating_add(*pays));
    let shown = unit.show(total);
    let whom = match claims.as_slice() {
        [(item, _)] => item.payee.to_string(),
        several => format!("{} payees", several.len()),
    };
    let listed: Vec<_> = claims
        .iter()
        .map(|(item, pays)| json!({ "payee": item.payee.to_string(), "amount": unit.number(*pays) }))
        .collect();
    let mut steps: Vec<Intent> = match <[_; 1]>::try_from(claims) {
        Ok([(item, _)]) => vec![Intent::Rewards(RewardsCall::Claim(item))],
        Err(several) => several
            .chunks(BATCH)
            .map(|chunk| {
                Intent::Rewards(RewardsCall::ClaimBatch(chunk.iter().map(|(item, _)| item.clone()).collect()))
            })
            .collect(),
    };
    let Some(last) = steps.pop() else { return Ok(()) };
    let what = format!("have pool {pool} pay {shown} to {whom}, under its root of epoch {epoch}");
    let plan = Plan::new(what, format!("pool {pool} paid {shown} to {whom}"), last)
        .after(steps)
        .paid_in(unit.clone())
        .with("pool", json!(pool.0))
        .with("epoch", json!(epoch.0))
        .with("unit", json!(unit.symbol()))
        .with("paid", json!(listed));
    let sent: Option<Vec<Receipt>> = wallet.carry_out(&plan).await?;
    drop(sent);
    Ok(())
}

#[cfg(test)]
mod tests {
    use lode_contracts::EarningsLeaf;
    use lode_protocol::units::Timestamp;

    use super::*;

    #[test]
    fn a_claim_pays_what_no_root_has_covered_less_what_was_redeemed_ahead() {
        let had = |paid, ahead| EarningsRecord { paid: Amount(paid), ahead: Amount(ahead) };
        assert_eq!(payable(Amount(100), &had(0, 0)), Amount(100));
        assert_eq!(payable(Amount(100), &had(30, 0)), Amount(70));
        // 20 of the 30 were redeemed: 90 are new to roots, 20 of them were paid.
        assert_eq!(payable(Amount(100), &had(30, 20)), Amount(70));
        assert_eq!(payable(Amount(30), &had(30, 20)), Amount(0));
        assert!(is_new(Amount(30), &had(30, 20)) && !is_new(Amount(30), &had(30, 0)));
        assert_eq!(payable(Amount(10), &had(30, 0)), Amount(0));
    }

    #[test]
    fn a_payee_without_a_leaf_is_told_so() {
        let leaf = |byte, amount| EarningsLeaf { payee: Address([byte; 20]), cumulative: Amount(amount) };
        let tree = EarningsTree::new(vec![leaf(1, 10), leaf(2, 20), leaf(3, 30)]).unwrap();
        let root = RootRecord {
            root: tree.root(),
            total: tree.total(),
            depth: tree.depth(),
            final_at: Timestamp(0),
            state: RootState::Final,
        };
        let (pool, epoch) = (PoolId(1), Epoch(7));
        let found = items(pool, epoch, &root, &tree, &[Address([3; 20]), Address([1; 20])]).unwrap();
        assert_eq!(found.iter().map(|item| item.index).collect::<Vec<_>>(), [2, 0]);
        let error = items(pool, epoch, &root, &tree, &[Address([9; 20])]).unwrap_err();
        assert_eq!(crate::report::classify(&error).0, Kind::NotFound);
        let other = RootRecord { total: Amount(61), ..root };
        assert!(items(pool, epoch, &other, &tree, &[Address([1; 20])]).is_err());
    }
}
