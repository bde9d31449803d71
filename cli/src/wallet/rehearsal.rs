//! Transactions before they are sent: what they would cost and do, or why they would be refused.

use lode_contracts::{
    Amount, ArgumentValue, CallDescription, ChainError, EventDescription, Fees, Refusal, Revert, Simulated,
    TransactionPort as _,
};

use super::account::Wallet;
use super::plan::Plan;
use crate::failure::{Failure, Kind};
use crate::refusal::{Setting, explain, explain_name};

/// Most of a simulated transaction's gas that the state of the next block may add, in parts of three.
const MARGIN: u64 = 3;

/// One transaction that would succeed.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) call: CallDescription,
    /// What it would use; `None` where the RPC cannot say before those before it are mined.
    pub(super) gas: Option<Gas>,
    pub(super) events: Vec<EventDescription>,
}

/// Gas of one transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Gas {
    /// Expected.
    pub(super) used: u64,
    /// To allow.
    pub(super) limit: u64,
}

/// All transactions of a plan, none of them refused.
#[derive(Clone, Debug)]
pub(super) struct Rehearsal {
    pub(super) steps: Vec<Step>,
    pub(super) fees: Fees,
}

impl Rehearsal {
    /// What it is expected to cost, and what it costs at most, in the chain's coin; `None` where gas is unknown.
    pub(super) fn cost(&self) -> Option<(Amount, Amount)> {
        // Fees allow twice the present base fee.
        let base = self.fees.max_fee.saturating_sub(self.fees.max_priority_fee) / 2;
        let price = base.saturating_add(self.fees.max_priority_fee);
        let mut expected = 0u128;
        let mut most = 0u128;
        for step in &self.steps {
            let gas = step.gas?;
            expected = expected.saturating_add(u128::from(gas.used) * u128::from(price));
            most = most.saturating_add(u128::from(gas.limit) * u128::from(self.fees.max_fee));
        }
        Some((Amount(expected), Amount(most)))
    }

    /// Gas that all of them are expected to use.
    pub(super) fn gas(&self) -> Option<u64> {
        self.steps.iter().map(|step| step.gas.map(|gas| gas.used)).sum()
    }
}

impl Wallet {
    /// How values of a plan are told.
    pub(super) fn setting(&self, plan: &Plan) -> Setting {
        Setting { reward: plan.reward.clone(), now: Some(self.now) }
    }

    /// Simulates a plan. `Err` is the refusal that it would meet.
    pub(super) async fn rehearse(&self, plan: &Plan) -> anyhow::Result<Rehearsal> {
        let from = self.address()?;
        let Some(first) = plan.steps.first() else {
            return Err(Kind::Failed.because("there is nothing to send"));
        };
        let setting = self.setting(plan);
        let quote = self.chain.quote(from, first).await.map_err(|error| refused(error, &setting))?;
        let simulated = self.chain.simulate(from, &plan.steps).await?;
        let mut steps = Vec::with_capacity(plan.steps.len());
        for (index, intent) in plan.steps.iter().enumerate() {
            let call = lode_contracts::describe_intent(intent, self.deployment());
            let told = simulated.as_ref().and_then(|list| list.get(index));
            let (gas, events) = match told {
                Some(Simulated { gas_used, outcome }) => {
                    let events = outcome.as_ref().map_err(|revert| refusal(revert, &setting))?;
                    if let Some(failure) = refused_item(events) {
                        return Err(failure.into());
                    }
                    let limit = if index == 0 {
                        quote.gas_limit
                    } else {
                        gas_used.saturating_add(gas_used / MARGIN).saturating_add(10_000)
                    };
                    (Some(Gas { used: *gas_used, limit }), events.clone())
                }
                None if index == 0 => {
                    (Some(Gas { used: quote.gas_limit, limit: quote.gas_limit }), Vec::new())
                }
                None => (None, Vec::new()),
            };
            steps.push(Step { call, gas, events });
        }
        Ok(Rehearsal { steps, fees: quote.fees })
    }
}

/// An item of a batch that would be refused within a transaction that succeeds.
pub(super) fn refused_item(events: &[EventDescription]) -> Option<Failure> {
    let failed = events.iter().find(|event| event.event.ends_with("Failed"))?;
    let selector = failed.arguments.iter().find_map(|argument| match &argument.value {
        ArgumentValue::Text(text) if argument.name == "reason" => {
            let mut selector = [0u8; 4];
            hex::decode_to_slice(text.strip_prefix("0x")?, &mut selector).ok().map(|()| selector)
        }
        ArgumentValue::Text(_) | ArgumentValue::Amount(_) | ArgumentValue::Time(_) => None,
    })?;
    Some(item_failure(&lode_contracts::refusal_of_selector(selector)))
}

/// Why an item of a batch was refused.
pub(super) fn item_failure(reason: &Refusal) -> Failure {
    let name = reason.to_string();
    let explained = explain_name(&name);
    Failure {
        kind: explained.kind,
        code: Some("chain/reverted".to_owned()),
        message: explained.message,
        remedy: explained.remedy,
        refusal: Some(name),
    }
}

/// A contract's refusal as an error of the command line.
pub(crate) fn refusal(revert: &Revert, setting: &Setting) -> Failure {
    let explained = explain(revert, setting);
    Failure {
        kind: explained.kind,
        code: Some("chain/reverted".to_owned()),
        message: explained.message,
        remedy: explained.remedy,
        refusal: Some(revert.name.clone()),
    }
}

/// The same for any error of the chain.
pub(crate) fn refused(error: ChainError, setting: &Setting) -> anyhow::Error {
    match error {
        ChainError::Reverted(revert) => refusal(&revert, setting).into(),
        other => other.into(),
    }
}
