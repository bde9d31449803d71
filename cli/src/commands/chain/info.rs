//! The chain, the contracts, their terms.

use lode_contracts::{ChainError, ChainReader as _, CodeReport, chain_id};
use lode_protocol::units::Millis;
use serde_json::json;

use crate::arguments::{ChainFlags, Global};
use crate::output::{self, Denomination, Format, Sheet, moment, span, utc};
use crate::wallet::{chain, unchecked_chain};

pub(super) async fn show(global: &Global, flags: &ChainFlags) -> anyhow::Result<()> {
    let chain = chain(global, flags).await?;
    let head = chain.head().await?;
    let terms = chain.staking_terms().await?;
    let slashing = chain.slashing_terms().await?;
    let settlement = chain.settlement_terms().await?;
    let timing = chain.epoch_timing().await?;
    let epoch = timing.epoch_at(head.timestamp);
    let pools = chain.pool_count().await?;
    let deployment = chain.deployment();
    if global.output == Format::Json {
        return output::json(&json!({
            "deployment": deployment,
            "head": { "number": head.number, "hash": head.hash.to_string(), "time": head.timestamp },
            "staking": terms,
            "slashing": slashing,
            "settlement": settlement,
            "epoch": { "current": epoch.0, "seconds": timing.epoch_seconds, "max_validity": timing.max_validity_epochs },
            "pools": pools,
        }));
    }
    let lode = Denomination::lode();
    let seconds = |seconds: u64| span(Millis(seconds.saturating_mul(1_000)));
    let mut sheet = Sheet::new(["what", "value"]);
    sheet.row(["chain".to_owned(), deployment.chain_id.to_string()]);
    sheet.row(["head".to_owned(), format!("block {} of {}", head.number, utc(head.timestamp))]);
    for (name, address) in deployment.contracts() {
        sheet.row([name.to_owned(), address.to_string()]);
    }
    sheet.row(["stake per unit".to_owned(), lode.show(terms.min_stake_per_unit)]);
    sheet.row(["unbonding".to_owned(), seconds(terms.unbonding_seconds)]);
    sheet.row(["validator's least bond".to_owned(), lode.show(terms.validator_min_stake)]);
    sheet.row(["validator's exit".to_owned(), seconds(terms.validator_exit_seconds)]);
    sheet.row([
        "epoch".to_owned(),
        format!(
            "{epoch}, {} each, ends {}",
            seconds(timing.epoch_seconds),
            moment(timing.ends(epoch), Some(head.timestamp))
        ),
    ]);
    sheet.row([
        "accusation".to_owned(),
        format!(
            "evidence {}, answer {}, vote {}; bond {} % and at least {}; takes at most {} % of a stake",
            seconds(slashing.evidence_seconds),
            seconds(slashing.answer_seconds),
            seconds(slashing.vote_seconds),
            percent(slashing.bond_basis_points),
            lode.show(slashing.min_bond),
            percent(slashing.max_slash_basis_points)
        ),
    ]);
    sheet.row([
        "settlement".to_owned(),
        format!(
            "roots are posted within {}, vetoed within {}; budget is withdrawn after {}",
            seconds(settlement.posting_seconds),
            seconds(settlement.veto_seconds),
            seconds(settlement.withdrawal_seconds)
        ),
    ]);
    sheet.row(["pools".to_owned(), pools.to_string()]);
    output::sheet(&sheet)
}

/// Basis points as per cent, exactly.
fn percent(basis_points: u16) -> String {
    let (whole, rest) = (basis_points / 100, basis_points % 100);
    if rest == 0 { whole.to_string() } else { format!("{whole}.{rest:02}") }
}

/// Compares the code at every address with what the deployment file recorded and with this program's own sources.
pub(super) async fn verify(global: &Global, flags: &ChainFlags) -> anyhow::Result<()> {
    let (config, chain) = unchecked_chain(global, flags)?;
    let got = chain_id(&config).await?;
    let expected = chain.deployment().chain_id;
    if got != expected {
        return Err(ChainError::WrongChain { expected, got }.into());
    }
    let reports = chain.code_reports().await?;
    let verdict = reports.iter().try_for_each(CodeReport::verdict);
    match global.output {
        Format::Json => {
            output::json(&json!({ "chain_id": got, "contracts": reports, "verified": verdict.is_ok() }))?
        }
        Format::Table | Format::Wide => {
            let mut sheet = Sheet::new(["contract", "address", "code", "as deployed", "as these sources"]);
            for report in &reports {
                let word = |known: Option<bool>| match known {
                    Some(true) => "yes",
                    Some(false) => "no",
                    None => "not recorded",
                };
                sheet.row([
                    report.contract.to_owned(),
                    report.address.to_string(),
                    report.code_hash.map_or_else(|| "none".to_owned(), |hash| hash.to_string()),
                    word(report.as_recorded).to_owned(),
                    word(Some(report.as_compiled)).to_owned(),
                ]);
            }
            output::sheet(&sheet)?;
        }
    }
    Ok(verdict?)
}
