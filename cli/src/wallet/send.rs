//! A plan carried out: rehearsed, shown, asked about, sent, reported.

use lode_contracts::{ChainEvent, Receipt, RegistryEvent, RewardsEvent};
use serde_json::{Map, Value, json};

use super::account::{Wallet, Way};
use super::plan::Plan;
use super::preview::{self, Words};
use super::rehearsal::{Rehearsal, item_failure, refused};
use crate::commands::confirm;
use crate::failure::Failure;
use crate::output::{self, Format};

impl Wallet {
    /// Does what the flags say with the plan: sends it, simulates it, or writes it down to be signed elsewhere. `None`
    /// where nothing was sent.
    pub(crate) async fn carry_out(&self, plan: &Plan) -> anyhow::Result<Option<Vec<Receipt>>> {
        let Some(receipts) = self.carry_out_silently(plan).await? else { return Ok(None) };
        self.report(plan, &receipts)?;
        Ok(Some(receipts))
    }

    /// The same without the report at the end.
    pub(crate) async fn carry_out_silently(&self, plan: &Plan) -> anyhow::Result<Option<Vec<Receipt>>> {
        let rehearsal = self.rehearse(plan).await?;
        match &self.way {
            Way::Send => self.send(plan, &rehearsal).await.map(Some),
            Way::DryRun => self.show(plan, &rehearsal).map(|()| None),
            Way::SignElsewhere(to) => self.write_down(plan, &rehearsal, to).await.map(|()| None),
        }
    }

    fn words<'a>(&self, plan: &'a Plan) -> Words<'a> {
        Words { reward: &plan.reward, now: self.now }
    }

    /// Sends another plan of the same command, after the first was agreed to.
    pub(crate) async fn go_on(&self, plan: &Plan) -> anyhow::Result<Vec<Receipt>> {
        let operator = self.operator()?;
        let setting = self.setting(plan);
        let mut receipts = Vec::with_capacity(plan.steps.len());
        for intent in &plan.steps {
            let receipt = operator.execute(intent.clone()).await.map_err(|error| refused(error, &setting))?;
            if let Some(failure) = refused_item(&receipt) {
                return Err(failure.into());
            }
            receipts.push(receipt);
        }
        Ok(receipts)
    }

    async fn send(&self, plan: &Plan, rehearsal: &Rehearsal) -> anyhow::Result<Vec<Receipt>> {
        let from = self.operator()?.address();
        if !self.yes && confirm::can_ask() {
            let sheet = preview::sheet(rehearsal, from, &self.words(plan));
            eprint!("{}", sheet.render(output::terminal_width()));
        }
        confirm::confirm(&format!("{}, signed and paid by {from}", plan.what), self.yes)?;
        self.go_on(plan).await
    }

    fn show(&self, plan: &Plan, rehearsal: &Rehearsal) -> anyhow::Result<()> {
        let words = self.words(plan);
        match self.format {
            Format::Json => {
                let steps: Vec<Value> = rehearsal
                    .steps
                    .iter()
                    .map(|step| {
                        let mut value = preview::call_json(&step.call, &words);
                        if let Some(fields) = value.as_object_mut() {
                            fields.insert("gas".to_owned(), json!(step.gas.map(|gas| gas.used)));
                            let events: Vec<Value> =
                                step.events.iter().map(|event| preview::event_json(event, &words)).collect();
                            fields.insert("events".to_owned(), json!(events));
                        }
                        value
                    })
                    .collect();
                let cost = rehearsal.cost();
                output::json(&json!({
                    "dry_run": true,
                    "would": plan.what,
                    "from": self.address()?.to_string(),
                    "fee": cost.map(|(expected, _)| expected),
                    "fee_at_most": cost.map(|(_, most)| most),
                    "transactions": steps,
                }))
            }
            Format::Table | Format::Wide => {
                output::sheet(&preview::sheet(rehearsal, self.address()?, &words))?;
                output::line("")?;
                output::sheet(&preview::events(rehearsal, &words))?;
                output::line("")?;
                output::line(&format!("this would {}; nothing was sent", plan.what))
            }
        }
    }

    /// Says what was done.
    pub(crate) fn report(&self, plan: &Plan, receipts: &[Receipt]) -> anyhow::Result<()> {
        let Some(last) = receipts.last() else { return Ok(()) };
        match self.format {
            Format::Json => {
                let of = |receipt: &Receipt| {
                    json!({
                        "transaction": receipt.transaction.to_string(),
                        "block": receipt.block,
                        "gas_used": receipt.gas_used,
                    })
                };
                let mut body = Map::new();
                body.insert("done".to_owned(), json!(plan.done));
                if let Value::Object(fields) = of(last) {
                    body.extend(fields);
                }
                if receipts.len() > 1 {
                    body.insert("transactions".to_owned(), receipts.iter().map(of).collect());
                }
                body.extend(plan.more.clone());
                output::json(&Value::Object(body))
            }
            Format::Table | Format::Wide => output::line(&format!(
                "{} (block {}, {} gas, transaction {})",
                plan.done, last.block, last.gas_used, last.transaction
            )),
        }
    }
}

/// An item that was refused in a transaction that succeeded: the state has changed since the rehearsal.
fn refused_item(receipt: &Receipt) -> Option<Failure> {
    receipt.events.iter().find_map(|logged| match &logged.event {
        ChainEvent::Registry(RegistryEvent::NodeAddFailed { reason, .. })
        | ChainEvent::Rewards(RewardsEvent::ClaimFailed { reason, .. }) => Some(item_failure(reason)),
        _ => None,
    })
}
