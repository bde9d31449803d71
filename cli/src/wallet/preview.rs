//! What would be sent and what it would do, for people and for programs.

use lode_contracts::{Argument, ArgumentValue, CallDescription, EventDescription};
use lode_protocol::ids::Address;
use lode_protocol::units::Timestamp;
use serde_json::{Map, Value, json};

use super::rehearsal::Rehearsal;
use crate::output::{Denomination, Sheet, moment, utc};

/// Most values of one call that are shown to people; JSON has all.
const MOST_VALUES: usize = 40;
/// Longest value that is shown whole.
const LONGEST: usize = 90;

/// In what words values are shown.
#[derive(Clone, Debug)]
pub(super) struct Words<'a> {
    pub(super) reward: &'a Denomination,
    pub(super) now: Timestamp,
}

impl Words<'_> {
    fn unit(&self, contract: Option<&str>) -> Denomination {
        if contract == Some("Rewards") { self.reward.clone() } else { Denomination::lode() }
    }

    fn value(&self, contract: Option<&str>, value: &ArgumentValue) -> String {
        match value {
            ArgumentValue::Amount(amount) => self.unit(contract).show(*amount),
            ArgumentValue::Time(time) if time.0 == 0 => "never".to_owned(),
            ArgumentValue::Time(time) => moment(*time, Some(self.now)),
            ArgumentValue::Text(text) => shortened(text),
        }
    }
}

/// The middle of long bytes is left out: nobody compares it.
fn shortened(text: &str) -> String {
    let length = text.chars().count();
    if length <= LONGEST || !text.starts_with("0x") {
        return text.to_owned();
    }
    let head: String = text.chars().take(34).collect();
    let tail: String = text.chars().skip(length - 16).collect();
    format!("{head}…{tail} ({} bytes)", (length - 2) / 2)
}

/// `ComputeRegistry.stake`.
pub(super) fn title(call: &CallDescription) -> String {
    match (call.contract, &call.function) {
        (Some(contract), Some(function)) => format!("{contract}.{function}"),
        (Some(contract), None) => format!("{contract}: bytes that are no call of it"),
        (None, _) if call.data.is_empty() => "a transfer of the chain's coin".to_owned(),
        (None, _) => "a call of a contract that is not of this deployment".to_owned(),
    }
}

/// What would be sent, in full sight before it is.
pub(super) fn sheet(rehearsal: &Rehearsal, from: Address, words: &Words<'_>) -> Sheet {
    let mut sheet = Sheet::new(["what", "value"]);
    let several = rehearsal.steps.len() > 1;
    for (number, step) in rehearsal.steps.iter().enumerate() {
        let name = if several { format!("transaction {}", number + 1) } else { "transaction".to_owned() };
        sheet.row([name, title(&step.call)]);
        sheet.row(["  to".to_owned(), step.call.to.to_string()]);
        call_rows(&mut sheet, &step.call, words);
    }
    sheet.row(["from".to_owned(), from.to_string()]);
    sheet.row(["fee".to_owned(), fee(rehearsal)]);
    sheet
}

/// One call alone.
pub(super) fn call_sheet(call: &CallDescription, words: &Words<'_>) -> Sheet {
    let mut sheet = Sheet::new(["what", "value"]);
    sheet.row(["transaction".to_owned(), title(call)]);
    sheet.row(["  to".to_owned(), call.to.to_string()]);
    call_rows(&mut sheet, call, words);
    sheet
}

fn call_rows(sheet: &mut Sheet, call: &CallDescription, words: &Words<'_>) {
    if call.value.0 > 0 {
        sheet.row(["  coin".to_owned(), format!("{} of the chain's coin", call.value)]);
    }
    for argument in call.arguments.iter().take(MOST_VALUES) {
        sheet.row([format!("  {}", argument.name), words.value(call.contract, &argument.value)]);
    }
    if let Some(more) = call.arguments.len().checked_sub(MOST_VALUES).filter(|more| *more > 0) {
        sheet.row(["  …".to_owned(), format!("{more} values more; -o json with --dry-run shows all")]);
    }
    if call.function.is_none() && !call.data.is_empty() {
        sheet.row(["  data".to_owned(), shortened(&format!("0x{}", hex::encode(&call.data)))]);
    }
}

fn fee(rehearsal: &Rehearsal) -> String {
    match (rehearsal.cost(), rehearsal.gas()) {
        (Some((expected, most)), Some(gas)) => {
            format!("about {expected} of the chain's coin, at most {most} ({gas} gas)")
        }
        _ => "known once the first transaction is mined".to_owned(),
    }
}

/// What would happen, one event a row.
pub(super) fn events(rehearsal: &Rehearsal, words: &Words<'_>) -> Sheet {
    let mut sheet = Sheet::new(["event", "values"]).or_else("no event of the contracts");
    for event in rehearsal.steps.iter().flat_map(|step| &step.events) {
        let values: Vec<String> = event
            .arguments
            .iter()
            .map(|argument| {
                format!("{}: {}", argument.name, words.value(Some(event.contract), &argument.value))
            })
            .collect();
        sheet.row([event.event.clone(), values.join("\n")]);
    }
    sheet
}

/// A call for programs.
pub(super) fn call_json(call: &CallDescription, words: &Words<'_>) -> Value {
    json!({
        "contract": call.contract,
        "call": call.function,
        "to": call.to.to_string(),
        "value": call.value,
        "arguments": arguments_json(call.contract, &call.arguments, words),
        "data": format!("0x{}", hex::encode(&call.data)),
    })
}

/// An event for programs.
pub(super) fn event_json(event: &EventDescription, words: &Words<'_>) -> Value {
    json!({
        "contract": event.contract,
        "event": event.event,
        "arguments": arguments_json(Some(event.contract), &event.arguments, words),
    })
}

fn arguments_json(contract: Option<&str>, arguments: &[Argument], words: &Words<'_>) -> Value {
    let fields: Map<String, Value> = arguments
        .iter()
        .map(|argument| {
            let value = match &argument.value {
                ArgumentValue::Amount(amount) => words.unit(contract).number(*amount),
                ArgumentValue::Time(time) => utc(*time),
                ArgumentValue::Text(text) => text.clone(),
            };
            (argument.name.clone(), Value::String(value))
        })
        .collect();
    Value::Object(fields)
}

#[cfg(test)]
mod tests {
    use lode_contracts::{Amount, Fees, Intent, RegistryCall, RewardsCall, TokenCall};
    use lode_protocol::ids::PoolId;

    use super::super::rehearsal::{Gas, Step};
    use super::super::statement::tests::deployment;
    use super::*;

    fn rehearsal(intents: &[Intent]) -> Rehearsal {
        let steps = intents
            .iter()
            .map(|intent| Step {
                call: lode_contracts::describe_intent(intent, &deployment()),
                gas: Some(Gas { used: 100_000, limit: 150_000 }),
                events: Vec::new(),
            })
            .collect();
        Rehearsal { steps, fees: Fees { max_fee: 3_000_000_000, max_priority_fee: 1_000_000_000 } }
    }

    fn text(intents: &[Intent], reward: &Denomination) -> String {
        let words = Words { reward, now: Timestamp(0) };
        sheet(&rehearsal(intents), Address([9; 20]), &words).render(None)
    }

    #[test]
    fn contract_call_amount_payer_and_fee_stand_there_before_anything_is_sent() {
        let spender = deployment().registry;
        let intents = [
            Intent::Token(TokenCall::Approve { spender, amount: Amount::tokens(5) }),
            Intent::Registry(RegistryCall::Stake { amount: Amount::tokens(5) }),
        ];
        let text = text(&intents, &Denomination::lode());
        for part in [
            "transaction 1  LodeToken.approve",
            "transaction 2  ComputeRegistry.stake",
            "5 LODE",
            &spender.to_string(),
            &Address([9; 20]).to_string(),
            "about 0.0004 of the chain's coin, at most 0.0009 (200000 gas)",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }

    #[test]
    fn amounts_of_a_pool_are_shown_in_the_token_that_it_pays_in() {
        let intents = [Intent::Rewards(RewardsCall::SetSpendCap { pool: PoolId(1), cap: Amount(1_500_000) })];
        let text = text(&intents, &Denomination::new("USDX", 6));
        assert!(text.contains("1.5 USDX"), "{text}");
    }

    #[test]
    fn long_bytes_are_shortened_for_people() {
        let long = format!("0x{}", "ab".repeat(65));
        assert!(shortened(&long).ends_with("abababababababab (65 bytes)"), "{}", shortened(&long));
        assert_eq!(shortened("0xabcd"), "0xabcd");
    }
}
