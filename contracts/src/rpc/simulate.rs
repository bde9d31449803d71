//! What transactions would do, one after another, without sending them (`eth_simulateV1`).

use alloy::primitives::{Bytes, U64};
use alloy::rpc::types::Log;
use lode_protocol::ids::Address;
use serde::Deserialize;
use serde_json::json;

use super::writer::funds;
use super::{CallRequest, RpcChain};
use crate::Intent;
use crate::convert::{from_address, to_address, to_u256};
use crate::describe::{EventDescription, describe_log};
use crate::encode::{Call, ToCall as _};
use crate::error::ChainError;
use crate::offline::RawTransaction;
use crate::{Revert, decode_revert};

/// What one transaction would do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Simulated {
    /// Gas that it would use.
    pub gas_used: u64,
    /// What it would make happen in our contracts, or why it would be refused.
    pub outcome: Result<Vec<EventDescription>, Revert>,
}

#[derive(Debug, Deserialize)]
struct SimulatedBlock {
    calls: Vec<SimulatedCall>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SimulatedCall {
    #[serde(default)]
    return_data: Bytes,
    #[serde(default)]
    logs: Vec<Log>,
    gas_used: U64,
    status: U64,
}

impl RpcChain {
    /// Carries intents out in the sender's name, one after another, on a copy of the latest state. `None`: the RPC does
    /// not offer this.
    pub async fn simulate(
        &self,
        from: Address,
        intents: &[Intent],
    ) -> Result<Option<Vec<Simulated>>, ChainError> {
        let calls = intents.iter().map(|intent| {
            let Call { to, data, value } = intent.call(&self.deployment);
            CallRequest { from: Some(to_address(from)), to: Some(to), value: Some(value), input: data }
        });
        self.simulated(calls.collect()).await
    }

    /// The same for a transaction that was signed elsewhere.
    pub async fn simulate_raw(&self, raw: &RawTransaction) -> Result<Option<Simulated>, ChainError> {
        let call = CallRequest {
            from: Some(to_address(raw.signed.sender)),
            to: raw.to.map(to_address),
            value: Some(to_u256(raw.value)),
            input: raw.data.clone().into(),
        };
        Ok(self.simulated(vec![call]).await?.and_then(|mut simulated| simulated.pop()))
    }

    async fn simulated(&self, calls: Vec<CallRequest>) -> Result<Option<Vec<Simulated>>, ChainError> {
        let operation = "simulate the transactions";
        let asked = calls.len();
        let payer = calls.first().and_then(|call| call.from).map(from_address).unwrap_or_default();
        let params = json!([{ "blockStateCalls": [{ "calls": calls }] }, "latest"]);
        let answer: Result<Vec<SimulatedBlock>, ChainError> =
            self.verified().await?.request(operation, "eth_simulateV1", params).await;
        let blocks = match answer {
            Ok(blocks) => blocks,
            Err(ChainError::Rpc { rpc_code, message, .. }) if is_unknown_method(rpc_code, &message) => {
                return Ok(None);
            }
            Err(error) => return Err(funds(payer, error)),
        };
        let simulated: Vec<Simulated> = blocks
            .into_iter()
            .flat_map(|block| block.calls)
            .map(|call| Simulated {
                gas_used: call.gas_used.to(),
                outcome: if call.status.is_zero() {
                    Err(decode_revert(&call.return_data))
                } else {
                    Ok(call.logs.iter().filter_map(|log| self.described(log)).collect())
                },
            })
            .collect();
        if simulated.len() != asked {
            let detail = format!("asked for {asked}, got {}", simulated.len());
            return Err(ChainError::Malformed { operation, detail });
        }
        Ok(Some(simulated))
    }

    fn described(&self, log: &Log) -> Option<EventDescription> {
        describe_log(&self.deployment, from_address(log.inner.address), &log.inner.data)
    }
}

/// JSON-RPC has a code for it; some services have words of their own.
fn is_unknown_method(rpc_code: i64, message: &str) -> bool {
    let message = message.to_lowercase();
    rpc_code == -32_601
        || ["not supported", "unsupported", "not found", "not available", "does not exist"]
            .iter()
            .any(|words| message.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_rpc_without_the_method_is_told_apart_from_one_that_fails() {
        assert!(is_unknown_method(-32_601, "Method not found"));
        assert!(is_unknown_method(-32_600, "Unsupported method: eth_simulateV1"));
        assert!(!is_unknown_method(-32_005, "rate limit exceeded"));
    }
}
