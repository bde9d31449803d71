//! A transaction that was signed elsewhere: checked, shown, sent, waited for.

use std::time::Duration;

use lode_contracts::{
    CallDescription, ChainReader as _, RawTransaction, Receipt, RpcChain, SendError, Simulated,
    TransactionPort as _, describe_call,
};
use lode_protocol::ids::Address;
use serde_json::json;
use tokio::time::Instant;

use super::preview::{self, Words};
use super::rehearsal::{refusal, refused_item};
use crate::commands::confirm;
use crate::failure::Kind;
use crate::output::{self, Denomination, Format, Sheet};
use crate::refusal::Setting;

/// Longest wait for the receipt.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks for it.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Sends it, or says what it would do.
pub(crate) async fn send_signed(
    chain: &RpcChain,
    hexadecimal: &str,
    format: Format,
    yes: bool,
    dry_run: bool,
) -> anyhow::Result<()> {
    let digits = hexadecimal.trim().trim_start_matches("0x");
    let bytes = hex::decode(digits).map_err(|error| {
        let remedy = "give all of what the wallet gave: 0x and digits";
        Kind::Usage.with_remedy(format!("the signed transaction is not hexadecimal: {error}"), remedy)
    })?;
    let raw = RawTransaction::decode(&bytes)?;
    let deployment = chain.deployment();
    if raw.chain != deployment.chain_id {
        let message =
            format!("the transaction is for chain {}, this is chain {}", raw.chain, deployment.chain_id);
        return Err(Kind::Denied.with_remedy(message, "use the RPC and deployment file of its chain"));
    }
    let head = chain.head().await?;
    let setting = Setting { now: Some(head.timestamp), ..Setting::default() };
    let reward = Denomination::lode();
    let words = Words { reward: &reward, now: head.timestamp };
    let call = describe_call(deployment, raw.to.unwrap_or(Address::ZERO), &raw.data, raw.value);
    if let Some(receipt) = chain.receipt(raw.signed.hash).await? {
        return finish(chain, &raw, &receipt, &call, format, &setting).await;
    }
    if let Some(Simulated { outcome, .. }) = chain.simulate_raw(&raw).await? {
        let events = outcome.map_err(|revert| refusal(&revert, &setting))?;
        if let Some(failure) = refused_item(&events) {
            return Err(failure.into());
        }
        if dry_run && format == Format::Json {
            let events: Vec<_> = events.iter().map(|event| preview::event_json(event, &words)).collect();
            return output::json(&json!({
                "dry_run": true,
                "from": raw.signed.sender.to_string(),
                "transaction": raw.signed.hash.to_string(),
                "transactions": [preview::call_json(&call, &words)],
                "events": events,
            }));
        }
    }
    if dry_run {
        output::sheet(&shown(&raw, &call, &words))?;
        return output::line("it would succeed; nothing was sent");
    }
    if !yes && confirm::can_ask() {
        eprint!("{}", shown(&raw, &call, &words).render(output::terminal_width()));
    }
    confirm::confirm(
        &format!("send {}, signed and paid by {}", preview::title(&call), raw.signed.sender),
        yes,
    )?;
    match chain.send(&raw.signed).await {
        Ok(()) => {}
        Err(SendError::Chain(error)) => return Err(error.into()),
        Err(error @ SendError::NonceUsed) => {
            let remedy = "it, or another in its place, is mined already; sign a new one";
            return Err(Kind::Conflict.with_remedy(error.to_string(), remedy));
        }
        Err(error @ SendError::Underpriced) => {
            return Err(Kind::Conflict.with_remedy(error.to_string(), "sign it again with higher fees"));
        }
    }
    let receipt = wait(chain, &raw).await?;
    finish(chain, &raw, &receipt, &call, format, &setting).await
}

fn shown(raw: &RawTransaction, call: &CallDescription, words: &Words<'_>) -> Sheet {
    let mut sheet = preview::call_sheet(call, words);
    sheet.row(["from".to_owned(), raw.signed.sender.to_string()]);
    sheet.row(["nonce".to_owned(), raw.nonce.to_string()]);
    let most = lode_contracts::Amount(raw.max_fee.saturating_mul(raw.gas_limit.into()));
    sheet.row(["fee".to_owned(), format!("at most {most} of the chain's coin ({} gas)", raw.gas_limit)]);
    sheet
}

async fn wait(chain: &RpcChain, raw: &RawTransaction) -> anyhow::Result<Receipt> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match chain.receipt(raw.signed.hash).await {
            Ok(Some(receipt)) => return Ok(receipt),
            Ok(None) => {}
            Err(error) if error.is_transient() && Instant::now() < deadline => {}
            Err(error) => return Err(error.into()),
        }
        if Instant::now() >= deadline {
            let message = format!("transaction {} is not mined after {PATIENCE:?}", raw.signed.hash);
            let remedy = "it may still be: run the same command again to look, or sign one with higher fees";
            return Err(Kind::Unavailable.with_remedy(message, remedy));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn finish(
    chain: &RpcChain,
    raw: &RawTransaction,
    receipt: &Receipt,
    call: &CallDescription,
    format: Format,
    setting: &Setting,
) -> anyhow::Result<()> {
    if !receipt.succeeded {
        if let Some(Simulated { outcome: Err(revert), .. }) = chain.simulate_raw(raw).await? {
            return Err(refusal(&revert, setting).into());
        }
        let message = format!(
            "transaction {} failed when it was mined, in block {}",
            receipt.transaction, receipt.block
        );
        return Err(Kind::Failed
            .with_remedy(message, "sign it again with more gas, or look whether it is still needed"));
    }
    let title = preview::title(call);
    match format {
        Format::Json => output::json(&json!({
            "done": format!("{title} was sent"),
            "transaction": receipt.transaction.to_string(),
            "block": receipt.block,
            "gas_used": receipt.gas_used,
            "from": raw.signed.sender.to_string(),
        })),
        Format::Table | Format::Wide => output::line(&format!(
            "{title} is done for {} (block {}, {} gas, transaction {})",
            raw.signed.sender, receipt.block, receipt.gas_used, receipt.transaction
        )),
    }
}
