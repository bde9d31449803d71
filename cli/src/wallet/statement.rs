//! What a key signs and anybody may submit, as typed data for a wallet.

use lode_contracts::{Amount, Deployment, permit_digest};
use lode_protocol::eip712::Domain;
use lode_protocol::hash::Digest;
use lode_protocol::ids::Address;
use lode_protocol::join::{LeaveStatement, NodeAuthorization, PoolApproval};
use lode_protocol::settlement::{Answer, SpendAuthorization};
use serde_json::{Value, json};

use super::typed_data::{TypedData, TypedDomain};

/// The types of statements that are signed with a person's key. Others are the business of programs.
pub(crate) const TYPES: [&str; 6] =
    ["Permit", "NodeAuthorization", "PoolApproval", "Leave", "Answer", "SpendAuthorization"];

/// The owner of tokens lets a contract take some (ERC-2612).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PermitStatement {
    pub(crate) owner: Address,
    pub(crate) spender: Address,
    pub(crate) amount: Amount,
    pub(crate) nonce: u64,
    pub(crate) deadline: u64,
}

/// A statement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Statement {
    Permit(PermitStatement),
    NodeAuthorization(NodeAuthorization),
    PoolApproval(PoolApproval),
    Leave(LeaveStatement),
    Answer(Answer),
    SpendAuthorization(SpendAuthorization),
}

impl Statement {
    /// What the contracts recover the signer from.
    pub(crate) fn digest(&self, deployment: &Deployment) -> Digest {
        match self {
            Statement::Permit(permit) => permit_digest(
                deployment,
                permit.owner,
                permit.spender,
                permit.amount,
                permit.nonce,
                permit.deadline,
            ),
            Statement::NodeAuthorization(statement) => statement.digest(&deployment.registry_domain()),
            Statement::PoolApproval(statement) => statement.digest(&deployment.pools_domain()),
            Statement::Leave(statement) => statement.digest(&deployment.pools_domain()),
            Statement::Answer(statement) => statement.digest(&deployment.slashing_domain()),
            Statement::SpendAuthorization(statement) => statement.digest(&deployment.task_order_domain()),
        }
    }

    /// Until when it counts, in unix seconds.
    pub(crate) fn deadline(&self) -> u64 {
        match self {
            Statement::Permit(statement) => statement.deadline,
            Statement::NodeAuthorization(statement) => statement.deadline,
            Statement::PoolApproval(statement) => statement.deadline,
            Statement::Leave(statement) => statement.deadline,
            Statement::Answer(statement) => statement.deadline,
            Statement::SpendAuthorization(statement) => statement.deadline,
        }
    }

    /// What a wallet is given.
    pub(crate) fn typed_data(&self, deployment: &Deployment) -> TypedData {
        match self {
            Statement::Permit(permit) => {
                let domain = TypedDomain {
                    name: "Lode Token".to_owned(),
                    version: "1".to_owned(),
                    chain_id: deployment.chain_id.0,
                    verifying_contract: deployment.token,
                };
                let fields = [
                    ("owner", "address", json!(permit.owner)),
                    ("spender", "address", json!(permit.spender)),
                    ("value", "uint256", amount(permit.amount)),
                    ("nonce", "uint256", number(permit.nonce)),
                    ("deadline", "uint256", number(permit.deadline)),
                ];
                TypedData::new(domain, "Permit", fields)
            }
            Statement::NodeAuthorization(statement) => TypedData::new(
                of(deployment.registry_domain()),
                "NodeAuthorization",
                [
                    ("provider", "address", json!(statement.provider)),
                    ("node", "address", json!(statement.node)),
                    ("units", "uint32", number(statement.units.into())),
                    ("nonce", "uint256", number(statement.nonce)),
                    ("deadline", "uint256", number(statement.deadline)),
                ],
            ),
            Statement::PoolApproval(statement) => TypedData::new(
                of(deployment.pools_domain()),
                "PoolApproval",
                [
                    ("poolId", "uint64", number(statement.pool.0)),
                    ("provider", "address", json!(statement.provider)),
                    ("approved", "bool", json!(statement.approved)),
                    ("nonce", "uint256", number(statement.nonce)),
                    ("deadline", "uint64", number(statement.deadline)),
                ],
            ),
            Statement::Leave(statement) => TypedData::new(
                of(deployment.pools_domain()),
                "Leave",
                [
                    ("poolId", "uint64", number(statement.pool.0)),
                    ("node", "address", json!(statement.node)),
                    ("counter", "uint64", number(statement.counter)),
                    ("deadline", "uint64", number(statement.deadline)),
                ],
            ),
            Statement::Answer(statement) => TypedData::new(
                of(deployment.slashing_domain()),
                "Answer",
                [
                    ("accusationId", "uint64", number(statement.accusation.0)),
                    ("answerHash", "bytes32", json!(statement.answer)),
                    ("answerUri", "string", json!(statement.uri)),
                    ("deadline", "uint64", number(statement.deadline)),
                ],
            ),
            Statement::SpendAuthorization(statement) => TypedData::new(
                of(deployment.task_order_domain()),
                "SpendAuthorization",
                [
                    ("poolId", "uint64", number(statement.pool.0)),
                    ("tenant", "address", json!(statement.tenant)),
                    ("specHash", "bytes32", json!(statement.spec)),
                    ("pricePerGpuHour", "uint128", amount(statement.price_per_gpu_hour)),
                    ("budget", "uint128", amount(statement.budget)),
                    ("deadline", "uint64", number(statement.deadline)),
                ],
            ),
        }
    }
}

fn of(domain: Domain) -> TypedDomain {
    TypedDomain {
        name: domain.name.to_owned(),
        version: "1".to_owned(),
        chain_id: domain.chain.0,
        verifying_contract: domain.contract,
    }
}

/// Text: JSON's own numbers are not exact everywhere.
fn number(value: u64) -> Value {
    json!(value.to_string())
}

fn amount(amount: Amount) -> Value {
    json!(amount.0.to_string())
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeSet;

    use lode_protocol::ids::{AccusationId, ChainId, NodeId, PoolId, ProviderId};

    use super::*;

    pub(in crate::wallet) fn deployment() -> Deployment {
        Deployment {
            chain_id: ChainId(31_337),
            block: 1,
            rpc_url: None,
            token: Address([1; 20]),
            registry: Address([2; 20]),
            pools: Address([3; 20]),
            validators: Address([4; 20]),
            slashing: Address([5; 20]),
            rewards: Address([6; 20]),
            commit: None,
            code_hashes: Default::default(),
        }
    }

    pub(in crate::wallet) fn statements() -> Vec<Statement> {
        let (pool, node, provider) = (PoolId(7), NodeId(Address([8; 20])), ProviderId(Address([9; 20])));
        let deadline = 1_800_000_000;
        vec![
            Statement::Permit(PermitStatement {
                owner: Address([9; 20]),
                spender: Address([2; 20]),
                amount: Amount::tokens(500),
                nonce: 3,
                deadline,
            }),
            Statement::NodeAuthorization(NodeAuthorization {
                provider,
                node,
                units: 8,
                nonce: 1 << 48,
                deadline,
            }),
            Statement::PoolApproval(PoolApproval { pool, provider, approved: true, nonce: 4, deadline }),
            Statement::Leave(LeaveStatement { pool, node, counter: 2, deadline }),
            Statement::Answer(Answer {
                accusation: AccusationId(5),
                answer: Digest([0xab; 32]),
                uri: "https://provider.example/answer".to_owned(),
                deadline,
            }),
            Statement::SpendAuthorization(SpendAuthorization {
                pool,
                tenant: Address([9; 20]),
                spec: Digest([0xcd; 32]),
                price_per_gpu_hour: Amount::tokens(2),
                budget: Amount(u128::MAX),
                deadline,
            }),
        ]
    }

    #[test]
    fn the_json_of_every_statement_hashes_to_what_the_contracts_recover_from() {
        for statement in statements() {
            let typed_data = statement.typed_data(&deployment());
            let text = serde_json::to_string(&typed_data).unwrap();
            let read: TypedData = serde_json::from_str(&text).unwrap();
            assert_eq!(read.digest().unwrap(), statement.digest(&deployment()), "{text}");
            assert_eq!(statement.deadline(), 1_800_000_000);
        }
    }

    #[test]
    fn a_key_signs_statements_of_every_type_and_no_other() {
        let made: BTreeSet<String> =
            statements().iter().map(|statement| statement.typed_data(&deployment()).primary_type).collect();
        assert_eq!(made, TYPES.iter().map(|name| (*name).to_owned()).collect());
    }

    #[test]
    fn a_statement_for_another_deployment_is_another_statement() {
        let elsewhere = Deployment { chain_id: ChainId(1), ..deployment() };
        for statement in statements() {
            assert_ne!(statement.digest(&deployment()), statement.digest(&elsewhere));
        }
    }
}
