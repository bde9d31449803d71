//! Statements that end up on chain: who runs which node, which pools a provider approves, who is invited to which pool,
//! who leaves it.
//!
//! Field order and type strings are those of the contracts (`contracts/solidity/interfaces`).

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::eip712::{Domain, struct_hash, word_address, word_bool, word_u64};
use crate::hash::Digest;
use crate::ids::{Address, ChainId, NodeId, PoolId, ProviderId};
use crate::keys::EthereumSignature;

/// EIP-712 domain of `ComputePools`.
pub fn pools_domain(chain: ChainId, contract: Address) -> Domain {
    Domain { name: "Lode ComputePools", chain, contract }
}

/// EIP-712 domain of `ComputeRegistry`.
pub fn registry_domain(chain: ChainId, contract: Address) -> Domain {
    Domain { name: "Lode ComputeRegistry", chain, contract }
}

/// The orchestrator's invitation of a node. The node's consent is over the same values.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, Serialize, Deserialize)]
pub struct Invite {
    /// The pool.
    #[n(0)]
    pub pool: PoolId,
    /// The node.
    #[n(1)]
    pub node: NodeId,
    /// Its provider.
    #[n(2)]
    pub provider: ProviderId,
    /// The node's join counter in the pool before this join.
    #[n(3)]
    pub counter: u64,
    /// Hash of the pool's requirements and terms that both sides mean.
    #[n(4)]
    pub terms: Digest,
    /// Unix seconds until which both signatures count.
    #[n(5)]
    pub deadline: u64,
}

impl Invite {
    fn words(&self) -> [[u8; 32]; 6] {
        [
            word_u64(self.pool.0),
            word_address(self.node.0),
            word_address(self.provider.0),
            word_u64(self.counter),
            self.terms.0,
            word_u64(self.deadline),
        ]
    }

    /// What the pool's orchestrator key signs.
    pub fn invite_digest(&self, domain: &Domain) -> Digest {
        domain.digest(struct_hash(
            "Invite(uint64 poolId,address node,address provider,uint64 counter,bytes32 termsHash,uint64 deadline)",
            &self.words(),
        ))
    }

    /// What the node's key signs.
    pub fn consent_digest(&self, domain: &Domain) -> Digest {
        domain.digest(struct_hash(
            "Consent(uint64 poolId,address node,address provider,uint64 counter,bytes32 termsHash,uint64 deadline)",
            &self.words(),
        ))
    }
}

/// An invitation with its signature.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct SignedInvite {
    /// The invitation.
    #[n(0)]
    pub invite: Invite,
    /// Of the pool's orchestrator key.
    #[n(1)]
    pub signature: EthereumSignature,
}

/// Everything `joinBatch` needs for one node.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Join {
    /// The invitation.
    #[n(0)]
    pub invite: Invite,
    /// Of the pool's orchestrator key.
    #[n(1)]
    pub invite_signature: EthereumSignature,
    /// Of the node's key.
    #[n(2)]
    pub consent_signature: EthereumSignature,
}

/// A node agrees to be run by a provider.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, Serialize, Deserialize)]
pub struct NodeConsent {
    /// The node.
    #[n(0)]
    pub node: NodeId,
    /// The provider.
    #[n(1)]
    pub provider: ProviderId,
    /// The node's consent nonce in the registry.
    #[n(2)]
    pub nonce: u64,
    /// Unix seconds until which it counts.
    #[n(3)]
    pub deadline: u64,
}

impl NodeConsent {
    /// What the node's key signs.
    pub fn digest(&self, domain: &Domain) -> Digest {
        domain.digest(struct_hash(
            "NodeConsent(address node,address provider,uint256 nonce,uint256 deadline)",
            &[
                word_address(self.node.0),
                word_address(self.provider.0),
                word_u64(self.nonce),
                word_u64(self.deadline),
            ],
        ))
    }
}

/// A provider takes a node on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, Serialize, Deserialize)]
pub struct NodeAuthorization {
    /// The provider.
    #[n(0)]
    pub provider: ProviderId,
    /// The node.
    #[n(1)]
    pub node: NodeId,
    /// Units of compute (GPUs, at least 1) that stake must cover.
    #[n(2)]
    pub units: u32,
    /// Authorisation nonce in the registry.
    #[n(3)]
    pub nonce: u64,
    /// Unix seconds until which it counts.
    #[n(4)]
    pub deadline: u64,
}

impl NodeAuthorization {
    /// What the provider's key signs.
    pub fn digest(&self, domain: &Domain) -> Digest {
        domain.digest(struct_hash(
            "NodeAuthorization(address provider,address node,uint32 units,uint256 nonce,uint256 deadline)",
            &[
                word_address(self.provider.0),
                word_address(self.node.0),
                word_u64(self.units.into()),
                word_u64(self.nonce),
                word_u64(self.deadline),
            ],
        ))
    }
}

/// A provider lets its nodes join a pool, or not any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, Serialize, Deserialize)]
pub struct PoolApproval {
    /// The pool.
    #[n(0)]
    pub pool: PoolId,
    /// The provider.
    #[n(1)]
    pub provider: ProviderId,
    /// Whether its nodes may join.
    #[n(2)]
    pub approved: bool,
    /// The provider's approval nonce in `ComputePools`.
    #[n(3)]
    pub nonce: u64,
    /// Unix seconds until which it counts.
    #[n(4)]
    pub deadline: u64,
}

impl PoolApproval {
    /// What the provider's key signs, in the domain of `ComputePools`.
    pub fn digest(&self, domain: &Domain) -> Digest {
        domain.digest(struct_hash(
            "PoolApproval(uint64 poolId,address provider,bool approved,uint256 nonce,uint64 deadline)",
            &[
                word_u64(self.pool.0),
                word_address(self.provider.0),
                word_bool(self.approved),
                word_u64(self.nonce),
                word_u64(self.deadline),
            ],
        ))
    }
}

/// A node (or its provider) leaves a pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, Serialize, Deserialize)]
pub struct LeaveStatement {
    /// The pool.
    #[n(0)]
    pub pool: PoolId,
    /// The node.
    #[n(1)]
    pub node: NodeId,
    /// The membership's join counter.
    #[n(2)]
    pub counter: u64,
    /// Unix seconds until which it counts.
    #[n(3)]
    pub deadline: u64,
}

impl LeaveStatement {
    /// What the node's or provider's key signs.
    pub fn digest(&self, domain: &Domain) -> Digest {
        domain.digest(struct_hash(
            "Leave(uint64 poolId,address node,uint64 counter,uint64 deadline)",
            &[
                word_u64(self.pool.0),
                word_address(self.node.0),
                word_u64(self.counter),
                word_u64(self.deadline),
            ],
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::SigningKey;

    fn invite() -> Invite {
        Invite {
            pool: PoolId(1),
            node: NodeId(Address([1; 20])),
            provider: ProviderId(Address([2; 20])),
            counter: 0,
            terms: Digest([3; 32]),
            deadline: 1_800_000_000,
        }
    }

    #[test]
    fn an_invite_and_its_consent_are_different_statements() {
        let domain = pools_domain(ChainId(1), Address([9; 20]));
        assert_ne!(invite().invite_digest(&domain), invite().consent_digest(&domain));
    }

    #[test]
    fn an_approval_is_void_for_another_pool_provider_nonce_or_meaning() {
        let key = SigningKey::from_bytes(&[7; 32]).unwrap();
        let domain = pools_domain(ChainId(1), Address([9; 20]));
        let approval = PoolApproval {
            pool: PoolId(1),
            provider: ProviderId(key.address()),
            approved: true,
            nonce: 4,
            deadline: 1_800_000_000,
        };
        let signature = key.sign_recoverable(&approval.digest(&domain));
        assert_eq!(signature.recover(&approval.digest(&domain)), Ok(key.address()));
        let others = [
            PoolApproval { pool: PoolId(2), ..approval }.digest(&domain),
            PoolApproval { provider: ProviderId(Address([1; 20])), ..approval }.digest(&domain),
            PoolApproval { approved: false, ..approval }.digest(&domain),
            PoolApproval { nonce: 5, ..approval }.digest(&domain),
            PoolApproval { deadline: 1_800_000_001, ..approval }.digest(&domain),
            approval.digest(&pools_domain(ChainId(2), Address([9; 20]))),
            approval.digest(&registry_domain(ChainId(1), Address([9; 20]))),
        ];
        for other in others {
            assert_ne!(signature.recover(&other), Ok(key.address()));
        }
    }

    #[test]
    fn a_signature_is_void_on_another_chain_contract_pool_or_counter() {
        let key = SigningKey::from_bytes(&[7; 32]).unwrap();
        let domain = pools_domain(ChainId(1), Address([9; 20]));
        let signature = key.sign_recoverable(&invite().consent_digest(&domain));
        assert_eq!(signature.recover(&invite().consent_digest(&domain)), Ok(key.address()));
        let others = [
            invite().consent_digest(&pools_domain(ChainId(2), Address([9; 20]))),
            invite().consent_digest(&pools_domain(ChainId(1), Address([8; 20]))),
            Invite { pool: PoolId(2), ..invite() }.consent_digest(&domain),
            Invite { counter: 1, ..invite() }.consent_digest(&domain),
            Invite { deadline: 1_800_000_001, ..invite() }.consent_digest(&domain),
        ];
        for other in others {
            assert_ne!(signature.recover(&other), Ok(key.address()));
        }
    }
}
