//! A pool's money.

use lode_contracts::{BudgetRecord, ChainReader as _, Intent, RewardsCall, RpcChain};
use lode_protocol::ids::{Address, PoolId};
use lode_protocol::units::Timestamp;
use serde_json::json;

use super::cap_words;
use super::show::no_pool;
use crate::arguments::{ChainFlags, Global, SignerFlags, StatementFlags};
use crate::failure::Kind;
use crate::output::{self, Denomination, Format, Sheet, Written, moment, utc};
use crate::wallet::{Payment, Plan, Wallet, chain, pool_meant};

/// The token that a pool pays in, and how its amounts are read.
pub(crate) async fn reward_token(chain: &RpcChain, pool: PoolId) -> anyhow::Result<(Address, Denomination)> {
    let Some(record) = chain.pool(pool).await? else { return Err(no_pool(pool)) };
    match record.reward_token {
        Some(token) if token == chain.deployment().token => Ok((token, Denomination::lode())),
        Some(token) => {
            let info = chain.token_info(token).await?;
            Ok((token, Denomination::new(&info.symbol, info.decimals)))
        }
        None => {
            let remedy =
                "a pool's reward token is chosen when it is created: `lode pool create --reward-token`";
            Err(Kind::Conflict.with_remedy(format!("pool {pool} pays nothing on the chain"), remedy))
        }
    }
}

fn read(denomination: &Denomination, written: &Written) -> anyhow::Result<lode_contracts::Amount> {
    denomination.read(written).map_err(|message| Kind::Usage.because(message))
}

pub(super) async fn fund(
    global: &Global,
    signer: &SignerFlags,
    permit: &StatementFlags,
    pool: PoolId,
    written: &Written,
) -> anyhow::Result<()> {
    let wallet = Wallet::open(global, signer).await?;
    let (token, unit) = reward_token(&wallet.chain, pool).await?;
    let amount = read(&unit, written)?;
    let spender = wallet.deployment().rewards;
    let shown = unit.show(amount);
    let plan = |permit| {
        let intent = Intent::Rewards(RewardsCall::FundPool { pool, amount, permit });
        let (what, done) = (format!("give {shown} to pool {pool}"), format!("gave {shown} to pool {pool}"));
        Plan::new(what, done, intent).paid_in(unit.clone())
    };
    if token != wallet.deployment().token {
        if permit.typed_data.is_some() || permit.signature.is_some() {
            let message = format!("permits are known of LODE only, pool {pool} pays in {token}");
            return Err(Kind::Usage.with_remedy(message, "leave --typed-data and --signature out"));
        }
        let earlier = wallet.approval_of(token, spender, amount).await?;
        return wallet.carry_out(&plan(None).after(earlier)).await.map(drop);
    }
    match wallet.pay(spender, amount, permit).await? {
        Payment::Asked => Ok(()),
        Payment::Permit(permit) => wallet.carry_out(&plan(Some(permit))).await.map(drop),
        Payment::Approved(earlier) => wallet.carry_out(&plan(None).after(earlier)).await.map(drop),
    }
}

pub(super) async fn spend_cap(
    global: &Global,
    signer: &SignerFlags,
    pool: PoolId,
    written: &Written,
) -> anyhow::Result<()> {
    let wallet = Wallet::open(global, signer).await?;
    let (_, unit) = reward_token(&wallet.chain, pool).await?;
    let cap = read(&unit, written)?;
    let (what, done) = cap_words(pool, cap, &unit.show(cap));
    wallet
        .carry_out(
            &Plan::new(what, done, Intent::Rewards(RewardsCall::SetSpendCap { pool, cap })).paid_in(unit),
        )
        .await
        .map(drop)
}

pub(super) async fn request(
    global: &Global,
    signer: &SignerFlags,
    pool: PoolId,
    written: &Written,
) -> anyhow::Result<()> {
    let wallet = Wallet::open(global, signer).await?;
    let (_, unit) = reward_token(&wallet.chain, pool).await?;
    let amount = read(&unit, written)?;
    let shown = unit.show(amount);
    let what = format!("ask {shown} back from the budget of pool {pool}; it replaces an earlier request");
    let done = format!("asked {shown} back; collect it with `lode pool withdraw {pool} --collect`");
    let intent = Intent::Rewards(RewardsCall::RequestBudgetWithdrawal { pool, amount });
    wallet.carry_out(&Plan::new(what, done, intent).paid_in(unit)).await.map(drop)
}

pub(super) async fn collect(
    global: &Global,
    signer: &SignerFlags,
    pool: PoolId,
    to: Option<Address>,
) -> anyhow::Result<()> {
    let wallet = Wallet::open(global, signer).await?;
    let (_, unit) = reward_token(&wallet.chain, pool).await?;
    let to = match to {
        Some(to) => to,
        None => wallet.address()?,
    };
    let asked = unit.show(wallet.chain.budget(pool).await?.withdrawing);
    let what = format!("pay up to {asked} of the budget of pool {pool} to {to}");
    let done = format!("the budget of pool {pool} that was asked for and is free is paid to {to}");
    wallet
        .carry_out(
            &Plan::new(what, done, Intent::Rewards(RewardsCall::WithdrawBudget { pool, to })).paid_in(unit),
        )
        .await
        .map(drop)
}

pub(super) async fn show(global: &Global, flags: &ChainFlags, pool: Option<PoolId>) -> anyhow::Result<()> {
    let pool = pool_meant(global, pool)?;
    let chain = chain(global, flags).await?;
    let (token, unit) = reward_token(&chain, pool).await?;
    let budget = chain.budget(pool).await?;
    let now = chain.head().await?.timestamp;
    let epoch = chain.current_epoch().await?;
    let spendable = chain.spendable(pool, epoch).await?;
    match global.output {
        Format::Json => output::json(&json!({
            "pool": pool.0,
            "token": token.to_string(),
            "unit": unit.symbol(),
            "free": unit.number(budget.free),
            "locked": unit.number(budget.locked),
            "posted": unit.number(budget.posted),
            "paid": unit.number(budget.paid),
            "spend_cap": unit.number(budget.spend_cap),
            "spendable": unit.number(spendable.min(budget.free)),
            "epoch": epoch.0,
            "final_epoch": budget.final_epoch.map(|epoch| epoch.0),
            "pending_epoch": budget.pending_epoch.map(|epoch| epoch.0),
            "withdrawing": unit.number(budget.withdrawing),
            "withdrawable_at": budget.withdrawable_at.map(utc),
        })),
        Format::Table | Format::Wide => {
            output::sheet(&sheet(pool, &budget, &unit, &unit.show(spendable.min(budget.free)), now))
        }
    }
}

fn sheet(pool: PoolId, budget: &BudgetRecord, unit: &Denomination, spendable: &str, now: Timestamp) -> Sheet {
    let mut sheet = Sheet::new(["what", "value"]);
    sheet.row(["pool".to_owned(), pool.to_string()]);
    sheet.row(["free".to_owned(), unit.show(budget.free)]);
    sheet.row(["promised, not paid".to_owned(), unit.show(budget.locked)]);
    sheet.row(["paid so far".to_owned(), unit.show(budget.paid)]);
    let cap = if budget.spend_cap.0 == 0 {
        "0: nothing is promised until `lode pool spend-cap` allows it".to_owned()
    } else {
        format!("{} an epoch", unit.show(budget.spend_cap))
    };
    sheet.row(["spend cap".to_owned(), cap]);
    sheet.row(["may be promised now".to_owned(), spendable.to_owned()]);
    let epoch = |epoch: Option<lode_contracts::Epoch>, none: &str| {
        epoch.map_or_else(|| none.to_owned(), |epoch| format!("epoch {epoch}"))
    };
    sheet.row(["latest final root".to_owned(), epoch(budget.final_epoch, "none yet")]);
    sheet.row(["root in its veto window".to_owned(), epoch(budget.pending_epoch, "none")]);
    let withdrawal = match budget.withdrawable_at {
        Some(at) => format!("{}, to be collected {}", unit.show(budget.withdrawing), moment(at, Some(now))),
        None => "not asked for".to_owned(),
    };
    sheet.row(["withdrawal".to_owned(), withdrawal]);
    sheet
}

#[cfg(test)]
mod tests {
    use super::*;
    use lode_contracts::Amount;

    #[test]
    fn a_budget_is_shown_in_its_token_with_times_as_distance_and_date() {
        let budget = BudgetRecord {
            free: Amount(1_500_000),
            withdrawing: Amount(1_000_000),
            withdrawable_at: Some(Timestamp(7_200_000)),
            ..BudgetRecord::default()
        };
        let unit = Denomination::new("USDX", 6);
        let text = sheet(PoolId(1), &budget, &unit, "0 USDX", Timestamp(3_600_000)).render(None);
        assert!(text.contains("1.5 USDX"), "{text}");
        assert!(text.contains("1 USDX, to be collected in 1h (1970-01-01T02:00:00Z)"), "{text}");
        assert!(text.contains("nothing is promised until `lode pool spend-cap`"), "{text}");
    }
}
