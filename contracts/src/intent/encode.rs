//! From an intent to the call that a transaction carries.

use alloy::primitives::{Address as AlloyAddress, B256, Bytes, U256};
use alloy::sol_types::SolCall;
use lode_protocol::join::{Join, NodeConsent};

use super::{AuthorizedNode, Intent, Permit, PoolParameters};
use crate::abi::{
    ComputePools as Pools, ComputeRegistry as Registry, LodeToken as Token, ValidatorSet as Validators,
};
use crate::convert::{to_address, to_bytes, to_optional, to_u256, to_word};
use crate::deployment::Deployment;
use crate::leaf::Leaf;

/// What a transaction does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Call {
    pub(crate) to: AlloyAddress,
    pub(crate) data: Bytes,
    pub(crate) value: U256,
}

impl Intent {
    pub(crate) fn call(&self, deployment: &Deployment) -> Call {
        let (to, data) = match self {
            Intent::RegisterProvider { .. }
            | Intent::Stake { .. }
            | Intent::RequestUnstake { .. }
            | Intent::Withdraw
            | Intent::AddNode { .. }
            | Intent::AddNodes(_)
            | Intent::ReplaceNode { .. }
            | Intent::RemoveNode(_)
            | Intent::RevokeAuthorizations => (deployment.registry, self.registry_call()),
            Intent::SetSlasher => (
                deployment.registry,
                encode(Registry::setSlasherCall { slasher: to_address(deployment.slashing) }),
            ),
            Intent::CreatePool(_)
            | Intent::StartPool(_)
            | Intent::EndPool(_)
            | Intent::SetOrchestrator { .. }
            | Intent::SetEndpoints { .. }
            | Intent::SetRequirements { .. }
            | Intent::TransferPool { .. }
            | Intent::AcceptPool(_)
            | Intent::JoinBatch(_)
            | Intent::Leave { .. }
            | Intent::LeaveBySignature { .. }
            | Intent::Eject { .. }
            | Intent::BanNode { .. }
            | Intent::UnbanNode { .. }
            | Intent::BanProvider { .. }
            | Intent::UnbanProvider { .. }
            | Intent::SetPoolApproval { .. }
            | Intent::SetPoolApprovalBySignature { .. } => (deployment.pools, self.pools_call()),
            Intent::RegisterValidator { .. }
            | Intent::StakeValidator { .. }
            | Intent::SetValidatorEndpoint { .. }
            | Intent::RequestExit
            | Intent::WithdrawValidator
            | Intent::Commit { .. }
            | Intent::Reveal { .. }
            | Intent::ProveBatch { .. }
            | Intent::DrawBeacon { .. }
            | Intent::PenalizeMissedReveal { .. } => (deployment.validators, self.validators_call()),
            Intent::Accuse { .. }
            | Intent::AnswerAccusation { .. }
            | Intent::AnswerAccusationBySignature { .. }
            | Intent::VoteAccusation { .. }
            | Intent::ResolveAccusation { .. }
            | Intent::CollectOwed { .. } => (deployment.slashing, self.slashing_call()),
            Intent::FundPool { .. }
            | Intent::SetSpendCap { .. }
            | Intent::RequestBudgetWithdrawal { .. }
            | Intent::WithdrawBudget { .. }
            | Intent::PostRoot { .. }
            | Intent::VetoRoot { .. }
            | Intent::RefuteRoot { .. }
            | Intent::Claim(_)
            | Intent::ClaimBatch(_)
            | Intent::Redeem { .. }
            | Intent::VetoRedemption { .. }
            | Intent::SettleRedemption { .. } => (deployment.rewards, self.rewards_call()),
            Intent::ApproveToken { token, spender, amount } => (
                *token,
                encode(Token::approveCall { spender: to_address(*spender), value: to_u256(*amount) }),
            ),
            Intent::Approve { spender, amount } => (
                deployment.token,
                encode(Token::approveCall { spender: to_address(*spender), value: to_u256(*amount) }),
            ),
            Intent::Mint { to, amount } => {
                (deployment.token, encode(Token::mintCall { to: to_address(*to), amount: to_u256(*amount) }))
            }
            Intent::TransferToken { to, amount } => (
                deployment.token,
                encode(Token::transferCall { to: to_address(*to), value: to_u256(*amount) }),
            ),
            Intent::TransferNative { to, .. } => (*to, Bytes::new()),
        };
        let value = match self {
            Intent::TransferNative { amount, .. } => to_u256(*amount),
            _ => U256::ZERO,
        };
        Call { to: to_address(to), data, value }
    }

    fn registry_call(&self) -> Bytes {
        match self {
            Intent::RegisterProvider { amount, permit } => {
                let (deadline, v, r, s) = split(permit);
                encode(Registry::registerProviderCall { amount: to_u256(*amount), deadline, v, r, s })
            }
            Intent::Stake { amount } => encode(Registry::stakeCall { amount: to_u256(*amount) }),
            Intent::RequestUnstake { amount } => {
                encode(Registry::requestUnstakeCall { amount: to_u256(*amount) })
            }
            Intent::Withdraw => encode(Registry::withdrawCall {}),
            Intent::AddNode { consent: statement, units, signature } => encode(Registry::addNodeCall {
                consent: consent(statement),
                units: *units,
                nodeSignature: to_bytes(signature),
            }),
            Intent::AddNodes(items) => {
                encode(Registry::addNodesCall { items: items.iter().map(authorized_node).collect() })
            }
            Intent::ReplaceNode { old, consent: statement, signature } => encode(Registry::replaceNodeCall {
                oldNode: to_address(old.0),
                consent: consent(statement),
                newNodeSignature: to_bytes(signature),
            }),
            Intent::RemoveNode(node) => encode(Registry::removeNodeCall { node: to_address(node.0) }),
            Intent::RevokeAuthorizations => encode(Registry::revokeAuthorizationsCall {}),
            _ => Bytes::new(), // `call` sends only the registry's intents here
        }
    }

    fn pools_call(&self) -> Bytes {
        match self {
            Intent::CreatePool(parameters) => {
                encode(Pools::createPoolCall { parameters: pool_parameters(parameters) })
            }
            Intent::StartPool(pool) => encode(Pools::startPoolCall { poolId: pool.0 }),
            Intent::EndPool(pool) => encode(Pools::endPoolCall { poolId: pool.0 }),
            Intent::SetOrchestrator { pool, orchestrator } => {
                encode(Pools::setOrchestratorCall { poolId: pool.0, orchestrator: to_address(*orchestrator) })
            }
            Intent::SetEndpoints { pool, endpoints } => {
                encode(Pools::setEndpointsCall { poolId: pool.0, endpoints: endpoints.clone() })
            }
            Intent::SetRequirements { pool, requirements, uri } => encode(Pools::setRequirementsCall {
                poolId: pool.0,
                requirementsHash: to_word(*requirements),
                uri: uri.clone(),
            }),
            Intent::TransferPool { pool, to } => {
                encode(Pools::transferPoolCall { poolId: pool.0, newOwner: to_optional(*to) })
            }
            Intent::AcceptPool(pool) => encode(Pools::acceptPoolCall { poolId: pool.0 }),
            Intent::JoinBatch(joins) => {
                encode(Pools::joinBatchCall { joins: joins.iter().map(join).collect() })
            }
            Intent::Leave { pool, node } => {
                encode(Pools::leaveCall { poolId: pool.0, node: to_address(node.0) })
            }
            Intent::LeaveBySignature { statement, signature } => encode(Pools::leaveBySignatureCall {
                poolId: statement.pool.0,
                node: to_address(statement.node.0),
                counter: statement.counter,
                deadline: statement.deadline,
                signature: to_bytes(signature),
            }),
            Intent::Eject { pool, node } => {
                encode(Pools::ejectCall { poolId: pool.0, node: to_address(node.0) })
            }
            Intent::BanNode { pool, node } => {
                encode(Pools::banNodeCall { poolId: pool.0, node: to_address(node.0) })
            }
            Intent::UnbanNode { pool, node } => {
                encode(Pools::unbanNodeCall { poolId: pool.0, node: to_address(node.0) })
            }
            Intent::BanProvider { pool, provider } => {
                encode(Pools::banProviderCall { poolId: pool.0, provider: to_address(provider.0) })
            }
            Intent::UnbanProvider { pool, provider } => {
                encode(Pools::unbanProviderCall { poolId: pool.0, provider: to_address(provider.0) })
            }
            Intent::SetPoolApproval { pool, approved } => {
                encode(Pools::setPoolApprovalCall { poolId: pool.0, approved: *approved })
            }
            Intent::SetPoolApprovalBySignature { statement, signature } => {
                encode(Pools::setPoolApprovalBySignatureCall {
                    poolId: statement.pool.0,
                    provider: to_address(statement.provider.0),
                    approved: statement.approved,
                    nonce: U256::from(statement.nonce),
                    deadline: statement.deadline,
                    signature: to_bytes(signature),
                })
            }
            _ => Bytes::new(), // `call` sends only the pools' intents here
        }
    }

    fn validators_call(&self) -> Bytes {
        match self {
            Intent::RegisterValidator { amount, permit, endpoint } => {
                let (deadline, v, r, s) = split(permit);
                let endpoint = endpoint.clone();
                encode(Validators::registerCall { amount: to_u256(*amount), deadline, v, r, s, endpoint })
            }
            Intent::StakeValidator { amount } => encode(Validators::stakeCall { amount: to_u256(*amount) }),
            Intent::SetValidatorEndpoint { endpoint } => {
                encode(Validators::setEndpointCall { endpoint: endpoint.clone() })
            }
            Intent::RequestExit => encode(Validators::requestExitCall {}),
            Intent::WithdrawValidator => encode(Validators::withdrawCall {}),
            Intent::Commit { epoch, commitment } => {
                encode(Validators::commitCall { epoch: epoch.0, commitment: to_word(*commitment) })
            }
            Intent::Reveal { epoch, root, salt } => {
                encode(Validators::revealCall { epoch: epoch.0, root: to_word(*root), salt: to_word(*salt) })
            }
            Intent::ProveBatch { epoch, items } => encode(Validators::proveBatchCall {
                epoch: epoch.0,
                leaves: items.iter().map(|item| leaf(&item.leaf)).collect(),
                paths: items
                    .iter()
                    .map(|item| item.path.iter().map(|sibling| to_word(*sibling)).collect())
                    .collect(),
            }),
            Intent::DrawBeacon { epoch } => encode(Validators::drawBeaconCall { epoch: epoch.0 }),
            Intent::PenalizeMissedReveal { epoch, validator } => {
                encode(Validators::penalizeMissedRevealCall {
                    epoch: epoch.0,
                    validator: to_address(validator.0),
                })
            }
            _ => Bytes::new(), // `call` sends only the validators' intents here
        }
    }
}

pub(super) fn encode(call: impl SolCall) -> Bytes {
    call.abi_encode().into()
}

pub(super) fn split(permit: &Option<Permit>) -> (U256, u8, B256, B256) {
    let Some(permit) = permit else { return (U256::ZERO, 0, B256::ZERO, B256::ZERO) };
    let (r, rest) = permit.signature.0.split_at(32);
    let (s, v) = rest.split_at(32);
    let v = v.first().copied().unwrap_or_default();
    (U256::from(permit.deadline), v, B256::from_slice(r), B256::from_slice(s))
}

fn consent(consent: &NodeConsent) -> Registry::NodeConsent {
    Registry::NodeConsent {
        node: to_address(consent.node.0),
        provider: to_address(consent.provider.0),
        nonce: U256::from(consent.nonce),
        deadline: U256::from(consent.deadline),
    }
}

fn authorized_node(item: &AuthorizedNode) -> Registry::AuthorizedNode {
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

fn pool_parameters(parameters: &PoolParameters) -> Pools::PoolParameters {
    Pools::PoolParameters {
        orchestrator: to_address(parameters.orchestrator),
        rewardToken: to_optional(parameters.reward_token),
        requirementsHash: to_word(parameters.requirements),
        maxNodes: parameters.max_nodes.unwrap_or_default(),
        uri: parameters.uri.clone(),
        endpoints: parameters.endpoints.clone(),
    }
}

fn join(join: &Join) -> Pools::Join {
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

pub(crate) fn leaf(leaf: &Leaf) -> Validators::Leaf {
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

#[cfg(test)]
mod tests {
    use alloy::primitives::keccak256;
    use alloy::sol_types::SolValue;
    use lode_protocol::hash::Digest;
    use lode_protocol::ids::{Address, NodeId, ValidatorId};
    use lode_protocol::proof::ProofClassId;

    use super::*;
    use crate::epoch::Epoch;
    use crate::leaf::commitment;

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
