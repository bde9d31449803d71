//! Calls and events in words, read back from their bytes by the ABI files: what a person is asked to confirm is what is
//! sent, whoever made it.

use alloy::dyn_abi::{DynSolValue, EventExt as _, JsonAbiExt as _};
use alloy::json_abi::Param;
use alloy::primitives::{LogData, U256};
use lode_protocol::ids::Address;
use lode_protocol::units::Timestamp;

use crate::Amount;
use crate::Intent;
use crate::artifact::Artifact;
use crate::deployment::Deployment;
use crate::encode::{Call, ToCall as _};
use crate::revert::show;
use crate::timestamp_of_seconds;

/// Parameters that are amounts of a token, whatever contract has them.
const AMOUNTS: [&str; 23] = [
    "ahead",
    "amount",
    "bond",
    "cumulative",
    "fee",
    "free",
    "increase",
    "locked",
    "otherCumulative",
    "paid",
    "released",
    "slashed",
    "spendCap",
    "stake",
    "toTreasury",
    "total",
    "totalWeight",
    "unbonding",
    "value",
    "votes",
    "weight",
    "withdrawing",
    "needed",
];
/// Parameters that are unix seconds.
const TIMES: [&str; 9] = [
    "authorizationDeadline",
    "consentDeadline",
    "deadline",
    "exitAt",
    "finalAt",
    "openedAt",
    "payableAt",
    "releaseAt",
    "withdrawableAt",
];

/// One value of a call or event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Argument {
    /// The parameter's name in the contract, with its place where it is part of something: `items[0].payee`.
    pub name: String,
    /// Its value.
    pub value: ArgumentValue,
}

/// What a value means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ArgumentValue {
    /// So much of a token, in its smallest unit.
    Amount(Amount),
    /// A point in time.
    Time(Timestamp),
    /// Anything else.
    Text(String),
}

/// What a transaction does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CallDescription {
    /// Name of the contract that is called; `None` for an address that is none of the deployment's contracts.
    pub contract: Option<&'static str>,
    /// Who is called, or paid.
    pub to: Address,
    /// The function; `None` where the bytes are no call of the contract.
    pub function: Option<String>,
    /// Its arguments.
    pub arguments: Vec<Argument>,
    /// The chain's coin that goes along.
    pub value: Amount,
    /// The bytes.
    pub data: Vec<u8>,
}

/// What a transaction would make happen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EventDescription {
    /// Name of the contract.
    pub contract: &'static str,
    /// The event.
    pub event: String,
    /// Its arguments.
    pub arguments: Vec<Argument>,
}

/// What the transaction of an intent does.
pub fn describe_intent(intent: &Intent, deployment: &Deployment) -> CallDescription {
    let Call { to, data, value } = intent.call(deployment);
    describe_call(deployment, Address(to.into_array()), &data, Amount(value.saturating_to()))
}

/// What a transaction with these fields does.
pub fn describe_call(deployment: &Deployment, to: Address, data: &[u8], value: Amount) -> CallDescription {
    let mut description =
        CallDescription { contract: None, to, function: None, arguments: vec![], value, data: data.to_vec() };
    let Some((contract, artifact)) = contract_at(deployment, to) else { return description };
    description.contract = Some(contract);
    let Some((selector, rest)) = data.split_first_chunk::<4>() else { return description };
    let Some(function) = artifact.abi.functions().find(|function| function.selector() == *selector) else {
        return description;
    };
    if let Ok(values) = function.abi_decode_input(rest) {
        description.function = Some(function.name.clone());
        for (parameter, value) in function.inputs.iter().zip(&values) {
            flatten(parameter, parameter.name.clone(), value, &mut description.arguments);
        }
    }
    description
}

/// What a log says; `None` where it is no event of the deployment's contracts.
pub(crate) fn describe_log(
    deployment: &Deployment,
    address: Address,
    log: &LogData,
) -> Option<EventDescription> {
    let (contract, artifact) = contract_at(deployment, address)?;
    let topic = log.topics().first()?;
    let event = artifact.abi.events().find(|event| event.selector() == *topic)?;
    let decoded = event.decode_log(log).ok()?;
    let (mut indexed, mut body) = (decoded.indexed.iter(), decoded.body.iter());
    let mut arguments = Vec::new();
    for input in &event.inputs {
        let value = if input.indexed { indexed.next() } else { body.next() }?;
        arguments.push(Argument { name: input.name.clone(), value: meaning(&input.name, value) });
    }
    Some(EventDescription { contract, event: event.name.clone(), arguments })
}

fn contract_at(deployment: &Deployment, address: Address) -> Option<(&'static str, &'static Artifact)> {
    let (name, _) = deployment.contracts().into_iter().find(|(_, at)| *at == address)?;
    let artifact = Artifact::all().into_iter().find(|artifact| artifact.contract_name == name)?;
    Some((name, artifact))
}

/// Parts of structs and lists get lines of their own.
fn flatten(parameter: &Param, name: String, value: &DynSolValue, into: &mut Vec<Argument>) {
    match value {
        DynSolValue::Tuple(parts) => {
            for (part, value) in parameter.components.iter().zip(parts) {
                flatten(part, format!("{name}.{}", part.name), value, into);
            }
        }
        DynSolValue::Array(items) | DynSolValue::FixedArray(items) => {
            for (index, item) in items.iter().enumerate() {
                flatten(parameter, format!("{name}[{index}]"), item, into);
            }
        }
        plain => {
            let value = meaning(&parameter.name, plain);
            into.push(Argument { name, value });
        }
    }
}

fn meaning(name: &str, value: &DynSolValue) -> ArgumentValue {
    if let DynSolValue::Uint(number, _) = value {
        if let (true, Ok(amount)) = (AMOUNTS.contains(&name), u128::try_from(*number)) {
            return ArgumentValue::Amount(Amount(amount));
        }
        if TIMES.contains(&name) && *number <= U256::from(u64::MAX) {
            return ArgumentValue::Time(timestamp_of_seconds(number.saturating_to()));
        }
    }
    ArgumentValue::Text(match value {
        DynSolValue::Bytes(bytes) => format!("0x{}", hex::encode(bytes)),
        DynSolValue::FixedBytes(word, size) => {
            format!("0x{}", hex::encode(word.get(..*size).unwrap_or_default()))
        }
        DynSolValue::String(text) => text.clone(),
        other => show(other),
    })
}

#[cfg(test)]
mod tests {
    use lode_protocol::hash::Digest;
    use lode_protocol::ids::{NodeId, PoolId, ProviderId};
    use lode_protocol::join::{Invite, Join};
    use lode_protocol::keys::EthereumSignature;

    use super::*;
    use crate::deployment::tests::deployment;
    use crate::{PoolsCall, RegistryCall, TokenCall};

    fn argument<'a>(description: &'a CallDescription, name: &str) -> &'a ArgumentValue {
        let found = description.arguments.iter().find(|argument| argument.name == name);
        &found.unwrap_or_else(|| panic!("no {name} in {description:#?}")).value
    }

    #[test]
    fn a_call_is_told_by_contract_function_amount_and_time() {
        let intent = Intent::Registry(RegistryCall::RegisterProvider {
            amount: Amount::tokens(500),
            permit: Some(crate::Permit { deadline: 1_800_000_000, signature: EthereumSignature([1; 65]) }),
        });
        let description = describe_intent(&intent, &deployment());
        assert_eq!(description.contract, Some("ComputeRegistry"));
        assert_eq!(description.to, deployment().registry);
        assert_eq!(description.function.as_deref(), Some("registerProvider"));
        assert_eq!(argument(&description, "amount"), &ArgumentValue::Amount(Amount::tokens(500)));
        assert_eq!(
            argument(&description, "deadline"),
            &ArgumentValue::Time(timestamp_of_seconds(1_800_000_000))
        );
    }

    #[test]
    fn items_of_a_batch_are_told_one_by_one() {
        let join = |node: u8| Join {
            invite: Invite {
                pool: PoolId(7),
                node: NodeId(Address([node; 20])),
                provider: ProviderId(Address([2; 20])),
                counter: 0,
                terms: Digest([3; 32]),
                deadline: 1_800_000_000,
            },
            invite_signature: EthereumSignature([4; 65]),
            consent_signature: EthereumSignature([5; 65]),
        };
        let description =
            describe_intent(&Intent::Pools(PoolsCall::JoinBatch(vec![join(1), join(9)])), &deployment());
        assert_eq!(argument(&description, "joins[0].poolId"), &ArgumentValue::Text("7".to_owned()));
        assert_eq!(
            argument(&description, "joins[1].node"),
            &ArgumentValue::Text(Address([9; 20]).to_string())
        );
        let ArgumentValue::Text(signature) = argument(&description, "joins[1].consentSignature") else {
            panic!("a signature is text");
        };
        assert_eq!(signature, &format!("0x{}", "05".repeat(65)));
    }

    #[test]
    fn a_transfer_of_coins_and_foreign_bytes_are_told_as_they_are() {
        let to = Address([0x77; 20]);
        let coins = describe_intent(
            &Intent::Token(TokenCall::TransferNative { to, amount: Amount::tokens(2) }),
            &deployment(),
        );
        assert_eq!((coins.contract, coins.function.as_deref()), (None, None));
        assert_eq!((coins.to, coins.value), (to, Amount::tokens(2)));
        let foreign = describe_call(&deployment(), deployment().pools, &[1, 2, 3, 4, 5], Amount::ZERO);
        assert_eq!((foreign.contract, foreign.function), (Some("ComputePools"), None));
        assert_eq!(foreign.data, [1, 2, 3, 4, 5]);
        // Cut in the middle of an argument: it is not told as a call that it is not.
        let whole = describe_intent(&Intent::Pools(PoolsCall::StartPool(PoolId(1))), &deployment()).data;
        let cut = describe_call(&deployment(), deployment().pools, &whole[..20], Amount::ZERO);
        assert_eq!(cut.function, None);
    }
}
