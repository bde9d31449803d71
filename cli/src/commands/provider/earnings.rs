//! What was earned and paid.

use lode_contracts::{Amount, ChainReader as _};
use lode_protocol::ids::Address;
use serde_json::json;

use super::claim::{claimable_root, payable};
use super::source;
use crate::arguments::{ChainFlags, Global, ReceiptFlags};
use crate::commands::pool::reward_token;
use crate::failure::{Failure, Kind};
use crate::output::{self, Format, Sheet, moment, utc};
use crate::wallet::{chain, pool_meant};

pub(super) async fn run(
    global: &Global,
    flags: &ChainFlags,
    receipts: &ReceiptFlags,
    payee: Option<Address>,
) -> anyhow::Result<()> {
    let pool = pool_meant(global, receipts.pool)?;
    let chain = chain(global, flags).await?;
    let (_, unit) = reward_token(&chain, pool).await?;
    let (epoch, root) = claimable_root(&chain, pool, receipts.epoch).await?;
    let tree = source::tree(global, &chain, pool, epoch, &root, receipts).await?;
    let leaves: Vec<_> =
        tree.leaves().iter().filter(|leaf| payee.is_none_or(|payee| payee == leaf.payee)).collect();
    if let (Some(payee), true) = (payee, leaves.is_empty()) {
        let message = format!("{payee} has earned nothing in pool {pool} up to epoch {epoch}");
        return Err(Failure::coded(Kind::NotFound, "earnings/nothing", message, "check the address").into());
    }
    let addresses: Vec<Address> = leaves.iter().map(|leaf| leaf.payee).collect();
    let had = chain.earnings(pool, &addresses).await?;
    let now = chain.head().await?.timestamp;
    let redemption = match payee {
        Some(payee) => chain.redemption(pool, payee).await?,
        None => None,
    };
    match global.output {
        Format::Json => {
            let items: Vec<_> = leaves
                .iter()
                .zip(&had)
                .map(|(leaf, had)| {
                    json!({
                        "payee": leaf.payee.to_string(),
                        "earned": unit.number(leaf.cumulative),
                        "paid": unit.number(had.paid),
                        "claimable": unit.number(payable(leaf.cumulative, had)),
                    })
                })
                .collect();
            output::json(&json!({
                "pool": pool.0,
                "epoch": epoch.0,
                "unit": unit.symbol(),
                "total": unit.number(root.total),
                "items": items,
                "redemption": redemption.map(|redemption| json!({
                    "amount": unit.number(redemption.amount),
                    "payable_at": utc(redemption.payable_at),
                })),
            }))
        }
        Format::Table | Format::Wide => {
            output::line(&format!(
                "pool {pool}, root of epoch {epoch}, final {}",
                moment(root.final_at, Some(now))
            ))?;
            let mut sheet = Sheet::new(["payee", "earned", "paid", "claimable"]);
            let mut claimable = Amount::ZERO;
            for (leaf, had) in leaves.iter().zip(&had) {
                let pays = payable(leaf.cumulative, had);
                claimable = claimable.saturating_add(pays);
                sheet.row([
                    leaf.payee.to_string(),
                    unit.show(leaf.cumulative),
                    unit.show(had.paid),
                    unit.show(pays),
                ]);
            }
            output::sheet(&sheet)?;
            if let Some(redemption) = redemption {
                output::line(&format!(
                    "a receipt of {} is being redeemed; it is paid {}",
                    unit.show(redemption.amount),
                    moment(redemption.payable_at, Some(now))
                ))?;
            }
            output::line(&format!("{} can be claimed: `lode provider claim`", unit.show(claimable)))
        }
    }
}
