//! Transactions written down, to be signed where their key is.

use lode_contracts::{Quote, TransactionPort as _, UnsignedTransaction};
use serde_json::Value;

use super::account::{Destination, Wallet};
use super::pasted::write;
use super::plan::Plan;
use super::rehearsal::Rehearsal;

impl Wallet {
    /// Writes one object, or a list where there are several, with nonces in order.
    pub(super) async fn write_down(
        &self,
        plan: &Plan,
        rehearsal: &Rehearsal,
        to: &Destination,
    ) -> anyhow::Result<()> {
        let from = self.address()?;
        let first = self.chain.pending_nonce(from).await?;
        let mut written = Vec::new();
        for ((intent, step), nonce) in plan.steps.iter().zip(&rehearsal.steps).zip(first..) {
            let Some(gas) = step.gas else { break };
            let quote = Quote { gas_limit: gas.limit, fees: rehearsal.fees };
            let transaction = UnsignedTransaction::new(self.deployment(), from, intent, nonce, quote);
            written.push(serde_json::to_value(transaction)?);
        }
        let missing = plan.steps.len() - written.len();
        let value = match <[Value; 1]>::try_from(written) {
            Ok([only]) => only,
            Err(several) => Value::Array(several),
        };
        write(&value, to)?;
        if self.chain.is_contract(from).await? {
            eprintln!(
                "this will {}; {from} is a contract, so that nobody signs it: have it call `to` with `value` and `data`{} \
                 (in a Safe: the transaction builder); nonce, gas and fees are the business of whoever sends that",
                plan.what,
                if plan.steps.len() > 1 { ", one after another" } else { "" }
            );
        } else {
            eprintln!(
                "this will {}; sign it as {from} (`eth_signTransaction`, or `lode key sign`), then run \
             `lode chain send --signed 0x…`{}",
                plan.what,
                if plan.steps.len() > 1 { ", one after another" } else { "" }
            );
        }
        if missing > 0 {
            eprintln!("run the same command again once it is mined: {missing} more will follow");
        }
        Ok(())
    }
}
