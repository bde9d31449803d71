//! Our types as the contracts' structs.

use alloy::primitives::U256;
use lode_chain_types::earnings_tree::path_bytes;
use lode_protocol::join::{Join, NodeConsent};
use lode_protocol::settlement::Receipt;

use crate::abi::{
    ComputePools as Pools, ComputeRegistry as Registry, Rewards, Slashing, ValidatorSet as Validators,
};
use crate::convert::{to_address, to_bytes, to_optional, to_word};
use crate::{AuthorizedNode, ClaimItem, Leaf, Offence, PoolParameters};

pub(super) fn consent(consent: &NodeConsent) -> Registry::NodeConsent {
    Registry::NodeConsent {
        node: to_address(consent.node.0),
        provider: to_address(consent.provider.0),
        nonce: U256::from(consent.nonce),
        deadline: U256::from(consent.deadline),
    }
}

pub(super) fn authorized_node(item: &AuthorizedNode) -> Registry::AuthorizedNode {
    Registry::AuthorizedNode {
        provider: to_address(item.authorization.provider.0),
        node: to_address(item.authorization.node.0),
        units: item.authorization.units,
        authorizationNonce: U256::from(item.authorization.nonce),
        authorizationDeadline: U256::from(item.authorization.deadline),
        consentNonce: U256::from(item.consent.nonce),
        consentDeadline: U256::from(item.consent.deadline),
        authorizationSignature: to_bytes(&item.authorization_signature),
        consentSignature: to_bytes(&item.consent_signature),
    }
}

pub(super) fn pool_parameters(parameters: &PoolParameters) -> Pools::PoolParameters {
    Pools::PoolParameters {
        orchestrator: to_address(parameters.orchestrator),
        rewardToken: to_optional(parameters.reward_token),
        requirementsHash: to_word(parameters.requirements),
        maxNodes: parameters.max_nodes.unwrap_or_default(),
        uri: parameters.uri.clone(),
        endpoints: parameters.endpoints.clone(),
    }
}

pub(super) fn join(join: &Join) -> Pools::Join {
    Pools::Join {
        poolId: join.invite.pool.0,
        node: to_address(join.invite.node.0),
        counter: join.invite.counter,
        deadline: join.invite.deadline,
        termsHash: to_word(join.invite.terms),
        inviteSignature: to_bytes(&join.invite_signature),
        consentSignature: to_bytes(&join.consent_signature),
    }
}

pub(super) fn leaf(leaf: &Leaf) -> Validators::Leaf {
    Validators::Leaf {
        node: to_address(leaf.node.0),
        classId: leaf.class.0,
        gpuCount: leaf.gpu_count,
        uuidSetHash: to_word(leaf.uuid_set),
        vramGib: leaf.vram_gib,
        walkScore: leaf.walk_score,
        gemmScore: leaf.gemm_score,
        medianMillis: leaf.median_millis,
        pass: leaf.pass,
        transcriptHash: to_word(leaf.transcript),
        expiryEpoch: leaf.expiry_epoch.0,
    }
}

pub(super) fn to_offence(offence: Offence) -> Slashing::Offence {
    match offence {
        Offence::ForgedProof => Slashing::Offence::ForgedProof,
        Offence::ForgedReceipt => Slashing::Offence::ForgedReceipt,
        Offence::ForeignHardware => Slashing::Offence::ForeignHardware,
    }
}

pub(super) fn claim(item: &ClaimItem) -> Rewards::Claim {
    Rewards::Claim {
        poolId: item.pool.0,
        epoch: item.epoch.0,
        index: item.index,
        payee: to_address(item.payee),
        cumulative: item.cumulative.0,
        path: path_bytes(&item.path).into(),
    }
}

pub(super) fn to_receipt(receipt: &Receipt) -> Rewards::Receipt {
    Rewards::Receipt {
        poolId: receipt.pool.0,
        epoch: receipt.epoch.0,
        node: to_address(receipt.node.0),
        payee: to_address(receipt.payee),
        usageHash: to_word(receipt.usage),
        amount: receipt.amount.0,
        cumulative: receipt.cumulative.0,
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::keccak256;
    use alloy::sol_types::SolValue;
    use lode_protocol::hash::Digest;
    use lode_protocol::ids::{Address, NodeId, ValidatorId};
    use lode_protocol::proof::ProofClassId;

    use alloy::primitives::B256;

    use super::*;
    use crate::Epoch;
    use crate::commitment;

    #[test]
    fn leaves_and_commitments_hash_as_abi_encoding_says() {
        let leaf_of_ours = Leaf {
            node: NodeId(Address([1; 20])),
            class: ProofClassId(0x0102_0304),
            gpu_count: 0x0506,
            uuid_set: Digest([2; 32]),
            vram_gib: 0x0708_090a,
            walk_score: 0x0b0c,
            gemm_score: 0x0d0e,
            median_millis: 0x0f10_1112,
            pass: true,
            transcript: Digest([3; 32]),
            expiry_epoch: Epoch(0x1314_1516_1718_191a),
        };
        let expected = keccak256(keccak256(leaf(&leaf_of_ours).abi_encode()));
        assert_eq!(to_word(leaf_of_ours.hash()), expected);

        let validator = ValidatorId(Address([4; 20]));
        let ours = commitment(validator, Epoch(7), Digest([5; 32]), Digest([6; 32]));
        let tuple = (to_address(validator.0), 7u64, B256::from([5; 32]), B256::from([6; 32]));
        assert_eq!(to_word(ours), keccak256(tuple.abi_encode()));
    }
}
