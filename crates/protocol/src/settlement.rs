//! Statements about money: what work earned, what a task may cost, what an accused provider answers.
//!
//! Field order and type strings are those of the contracts (`contracts/solidity/interfaces`). A tenant's order never
//! reaches the chain; it is EIP-712 so that wallets show what they sign.

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::amount::Amount;
use crate::eip712::{Domain, struct_hash, word_address, word_amount, word_u64};
use crate::hash::{Digest, keccak256};
use crate::ids::{AccusationId, Address, ChainId, Epoch, NodeId, PoolId};

/// EIP-712 domain of `Rewards`.
pub fn rewards_domain(chain: ChainId, contract: Address) -> Domain {
    Domain { name: "Lode Rewards", chain, contract }
}

/// EIP-712 domain of `Slashing`.
pub fn slashing_domain(chain: ChainId, contract: Address) -> Domain {
    Domain { name: "Lode Slashing", chain, contract }
}

/// EIP-712 domain of tenants' orders. `contract` is the deployment's `ComputePools`, whose pool the order names.
pub fn task_order_domain(chain: ChainId, contract: Address) -> Domain {
    Domain { name: "Lode SpendAuthorization", chain, contract }
}

/// What a pool promises for the work of one node in one epoch. Signed by the pool's orchestrator key and by the node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, Serialize, Deserialize, ToSchema)]
pub struct Receipt {
    /// The pool.
    #[n(0)]
    pub pool: PoolId,
    /// When the work was done.
    #[n(1)]
    pub epoch: Epoch,
    /// Which node did it.
    #[n(2)]
    pub node: NodeId,
    /// Who is paid for it: the node's provider when the work was done.
    #[n(3)]
    pub payee: Address,
    /// keccak-256 of the canonical CBOR of the usage statement that it pays.
    #[n(4)]
    pub usage: Digest,
    /// What this work earned.
    #[n(5)]
    pub amount: Amount,
    /// Everything that the payee has earned in the pool, this receipt included.
    #[n(6)]
    pub cumulative: Amount,
}

impl Receipt {
    /// What orchestrator and node sign.
    pub fn digest(&self, domain: &Domain) -> Digest {
        domain.digest(struct_hash(
            "Receipt(uint64 poolId,uint64 epoch,address node,address payee,bytes32 usageHash,uint128 amount,uint128 cumulative)",
            &[
                word_u64(self.pool.0),
                word_u64(self.epoch.0),
                word_address(self.node.0),
                word_address(self.payee),
                self.usage.0,
                word_amount(self.amount),
                word_amount(self.cumulative),
            ],
        ))
    }
}

/// Where an accused provider's answer lies.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, Serialize, Deserialize)]
pub struct Answer {
    /// Which accusation.
    #[n(0)]
    pub accusation: AccusationId,
    /// Digest of the answer.
    #[n(1)]
    pub answer: Digest,
    /// Where it can be read.
    #[n(2)]
    pub uri: String,
    /// Unix seconds until which the signature counts.
    #[n(3)]
    pub deadline: u64,
}

impl Answer {
    /// What the accused provider's key signs.
    pub fn digest(&self, domain: &Domain) -> Digest {
        domain.digest(struct_hash(
            "Answer(uint64 accusationId,bytes32 answerHash,string answerUri,uint64 deadline)",
            &[
                word_u64(self.accusation.0),
                self.answer.0,
                keccak256(self.uri.as_bytes()).0,
                word_u64(self.deadline),
            ],
        ))
    }
}

/// What a tenant is willing to pay for a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, Serialize, Deserialize, ToSchema)]
pub struct SpendAuthorization {
    /// The pool that runs the task.
    #[n(0)]
    pub pool: PoolId,
    /// Who pays, and signs.
    #[n(1)]
    pub tenant: Address,
    /// Digest of the task's specification.
    #[n(2)]
    pub spec: Digest,
    /// Most that one GPU may cost for one hour.
    #[n(3)]
    pub price_per_gpu_hour: Amount,
    /// Most that the task may cost in all.
    #[n(4)]
    pub budget: Amount,
    /// Unix seconds until which work may be begun under it.
    #[n(5)]
    pub deadline: u64,
}

impl SpendAuthorization {
    /// What the tenant's key signs.
    pub fn digest(&self, domain: &Domain) -> Digest {
        domain.digest(struct_hash(
            "SpendAuthorization(uint64 poolId,address tenant,bytes32 specHash,uint128 pricePerGpuHour,uint128 budget,uint64 deadline)",
            &[
                word_u64(self.pool.0),
                word_address(self.tenant),
                self.spec.0,
                word_amount(self.price_per_gpu_hour),
                word_amount(self.budget),
                word_u64(self.deadline),
            ],
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::SigningKey;

    const CONTRACT: Address = Address([9; 20]);

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[7; 32]).unwrap()
    }

    fn receipt() -> Receipt {
        Receipt {
            pool: PoolId(1),
            epoch: Epoch(2),
            node: NodeId(Address([1; 20])),
            payee: Address([2; 20]),
            usage: Digest([3; 32]),
            amount: Amount(5),
            cumulative: Amount(u128::MAX),
        }
    }

    #[test]
    fn a_receipt_is_void_in_every_field_that_differs() {
        let domain = rewards_domain(ChainId(1), CONTRACT);
        let signature = key().sign_recoverable(&receipt().digest(&domain));
        assert_eq!(signature.recover(&receipt().digest(&domain)), Ok(key().address()));
        let others = [
            Receipt { pool: PoolId(2), ..receipt() }.digest(&domain),
            Receipt { epoch: Epoch(3), ..receipt() }.digest(&domain),
            Receipt { node: NodeId(Address([2; 20])), ..receipt() }.digest(&domain),
            Receipt { payee: Address([1; 20]), ..receipt() }.digest(&domain),
            Receipt { usage: Digest([4; 32]), ..receipt() }.digest(&domain),
            Receipt { amount: Amount(6), ..receipt() }.digest(&domain),
            Receipt { cumulative: Amount(u128::MAX - 1), ..receipt() }.digest(&domain),
            receipt().digest(&rewards_domain(ChainId(2), CONTRACT)),
            receipt().digest(&rewards_domain(ChainId(1), Address([8; 20]))),
            receipt().digest(&slashing_domain(ChainId(1), CONTRACT)),
        ];
        for other in others {
            assert_ne!(signature.recover(&other), Ok(key().address()));
        }
    }

    #[test]
    fn an_answer_counts_for_its_accusation_only() {
        let domain = slashing_domain(ChainId(1), CONTRACT);
        let answer = Answer {
            accusation: AccusationId(1),
            answer: Digest([2; 32]),
            uri: "https://provider.example/answer".to_owned(),
            deadline: 3,
        };
        let signature = key().sign_recoverable(&answer.digest(&domain));
        assert_eq!(signature.recover(&answer.digest(&domain)), Ok(key().address()));
        let others = [
            Answer { accusation: AccusationId(2), ..answer.clone() },
            Answer { answer: Digest([3; 32]), ..answer.clone() },
            Answer { uri: "https://elsewhere.example".to_owned(), ..answer.clone() },
            Answer { deadline: 4, ..answer },
        ];
        for other in others {
            assert_ne!(signature.recover(&other.digest(&domain)), Ok(key().address()));
        }
    }

    #[test]
    fn an_order_with_a_higher_price_or_budget_is_another_order() {
        let domain = task_order_domain(ChainId(1), CONTRACT);
        let order = SpendAuthorization {
            pool: PoolId(1),
            tenant: key().address(),
            spec: Digest([3; 32]),
            price_per_gpu_hour: Amount::tokens(2),
            budget: Amount::tokens(100),
            deadline: 1_800_000_000,
        };
        let signature = key().sign_recoverable(&order.digest(&domain));
        assert_eq!(signature.recover(&order.digest(&domain)), Ok(order.tenant));
        let others = [
            SpendAuthorization { pool: PoolId(2), ..order },
            SpendAuthorization { tenant: Address([1; 20]), ..order },
            SpendAuthorization { spec: Digest([4; 32]), ..order },
            SpendAuthorization { price_per_gpu_hour: Amount::tokens(3), ..order },
            SpendAuthorization { budget: Amount::tokens(101), ..order },
            SpendAuthorization { deadline: 1_800_000_001, ..order },
        ];
        for other in others {
            assert_ne!(signature.recover(&other.digest(&domain)), Ok(order.tenant));
        }
    }

    #[test]
    fn statements_survive_cbor_and_json() {
        let bytes = minicbor::to_vec(receipt()).unwrap();
        assert_eq!(minicbor::decode::<Receipt>(&bytes).unwrap(), receipt());
        let text = serde_json::to_string(&receipt()).unwrap();
        assert_eq!(serde_json::from_str::<Receipt>(&text).unwrap(), receipt());
    }
}
