//! The bytes that an intent calls a contract with. One match over all intents, so that one that is forgotten here does
//! not compile.

use alloy::primitives::{B256, Bytes, U256};
use alloy::sol_types::SolCall;
use lode_chain_types::earnings_tree::path_bytes;

use super::parts::{authorized_node, claim, consent, join, leaf, pool_parameters, to_offence, to_receipt};
use crate::abi::{
    ComputePools as Pools, ComputeRegistry as Registry, LodeToken as Token, Rewards, Slashing,
    ValidatorSet as Validators,
};
use crate::convert::{to_address, to_bytes, to_optional, to_u256, to_word};
use crate::deployment::Deployment;
use crate::{Intent, Permit, PoolsCall, RegistryCall, RewardsCall, SlashingCall, TokenCall, ValidatorsCall};

pub(super) fn data(intent: &Intent, deployment: &Deployment) -> Bytes {
    match intent {
        Intent::Registry(RegistryCall::RegisterProvider { amount, permit }) => {
            let (deadline, v, r, s) = split(permit);
            encode(Registry::registerProviderCall { amount: to_u256(*amount), deadline, v, r, s })
        }
        Intent::Registry(RegistryCall::Stake { amount }) => {
            encode(Registry::stakeCall { amount: to_u256(*amount) })
        }
        Intent::Registry(RegistryCall::RequestUnstake { amount }) => {
            encode(Registry::requestUnstakeCall { amount: to_u256(*amount) })
        }
        Intent::Registry(RegistryCall::Withdraw) => encode(Registry::withdrawCall {}),
        Intent::Registry(RegistryCall::AddNode { consent: statement, units, signature }) => {
            encode(Registry::addNodeCall {
                consent: consent(statement),
                units: *units,
                nodeSignature: to_bytes(signature),
            })
        }
        Intent::Registry(RegistryCall::AddNodes(items)) => {
            encode(Registry::addNodesCall { items: items.iter().map(authorized_node).collect() })
        }
        Intent::Registry(RegistryCall::ReplaceNode { old, consent: statement, signature }) => {
            encode(Registry::replaceNodeCall {
                oldNode: to_address(old.0),
                consent: consent(statement),
                newNodeSignature: to_bytes(signature),
            })
        }
        Intent::Registry(RegistryCall::RemoveNode(node)) => {
            encode(Registry::removeNodeCall { node: to_address(node.0) })
        }
        Intent::Registry(RegistryCall::RevokeAuthorizations) => encode(Registry::revokeAuthorizationsCall {}),
        Intent::Pools(PoolsCall::CreatePool(parameters)) => {
            encode(Pools::createPoolCall { parameters: pool_parameters(parameters) })
        }
        Intent::Pools(PoolsCall::StartPool(pool)) => encode(Pools::startPoolCall { poolId: pool.0 }),
        Intent::Pools(PoolsCall::EndPool(pool)) => encode(Pools::endPoolCall { poolId: pool.0 }),
        Intent::Pools(PoolsCall::SetOrchestrator { pool, orchestrator }) => {
            encode(Pools::setOrchestratorCall { poolId: pool.0, orchestrator: to_address(*orchestrator) })
        }
        Intent::Pools(PoolsCall::SetEndpoints { pool, endpoints }) => {
            encode(Pools::setEndpointsCall { poolId: pool.0, endpoints: endpoints.clone() })
        }
        Intent::Pools(PoolsCall::SetRequirements { pool, requirements, uri }) => {
            encode(Pools::setRequirementsCall {
                poolId: pool.0,
                requirementsHash: to_word(*requirements),
                uri: uri.clone(),
            })
        }
        Intent::Pools(PoolsCall::TransferPool { pool, to }) => {
            encode(Pools::transferPoolCall { poolId: pool.0, newOwner: to_optional(*to) })
        }
        Intent::Pools(PoolsCall::AcceptPool(pool)) => encode(Pools::acceptPoolCall { poolId: pool.0 }),
        Intent::Pools(PoolsCall::JoinBatch(joins)) => {
            encode(Pools::joinBatchCall { joins: joins.iter().map(join).collect() })
        }
        Intent::Pools(PoolsCall::Leave { pool, node }) => {
            encode(Pools::leaveCall { poolId: pool.0, node: to_address(node.0) })
        }
        Intent::Pools(PoolsCall::LeaveBySignature { statement, signature }) => {
            encode(Pools::leaveBySignatureCall {
                poolId: statement.pool.0,
                node: to_address(statement.node.0),
                counter: statement.counter,
                deadline: statement.deadline,
                signature: to_bytes(signature),
            })
        }
        Intent::Pools(PoolsCall::Eject { pool, node }) => {
            encode(Pools::ejectCall { poolId: pool.0, node: to_address(node.0) })
        }
        Intent::Pools(PoolsCall::BanNode { pool, node }) => {
            encode(Pools::banNodeCall { poolId: pool.0, node: to_address(node.0) })
        }
        Intent::Pools(PoolsCall::UnbanNode { pool, node }) => {
            encode(Pools::unbanNodeCall { poolId: pool.0, node: to_address(node.0) })
        }
        Intent::Pools(PoolsCall::BanProvider { pool, provider }) => {
            encode(Pools::banProviderCall { poolId: pool.0, provider: to_address(provider.0) })
        }
        Intent::Pools(PoolsCall::UnbanProvider { pool, provider }) => {
            encode(Pools::unbanProviderCall { poolId: pool.0, provider: to_address(provider.0) })
        }
        Intent::Pools(PoolsCall::SetPoolApproval { pool, approved }) => {
            encode(Pools::setPoolApprovalCall { poolId: pool.0, approved: *approved })
        }
        Intent::Pools(PoolsCall::SetPoolApprovalBySignature { statement, signature }) => {
            encode(Pools::setPoolApprovalBySignatureCall {
                poolId: statement.pool.0,
                provider: to_address(statement.provider.0),
                approved: statement.approved,
                nonce: U256::from(statement.nonce),
                deadline: statement.deadline,
                signature: to_bytes(signature),
            })
        }
        Intent::Validators(ValidatorsCall::RegisterValidator { amount, permit, endpoint }) => {
            let (deadline, v, r, s) = split(permit);
            let endpoint = endpoint.clone();
            encode(Validators::registerCall { amount: to_u256(*amount), deadline, v, r, s, endpoint })
        }
        Intent::Validators(ValidatorsCall::StakeValidator { amount }) => {
            encode(Validators::stakeCall { amount: to_u256(*amount) })
        }
        Intent::Validators(ValidatorsCall::SetValidatorEndpoint { endpoint }) => {
            encode(Validators::setEndpointCall { endpoint: endpoint.clone() })
        }
        Intent::Validators(ValidatorsCall::RequestExit) => encode(Validators::requestExitCall {}),
        Intent::Validators(ValidatorsCall::WithdrawValidator) => encode(Validators::withdrawCall {}),
        Intent::Validators(ValidatorsCall::Commit { epoch, commitment }) => {
            encode(Validators::commitCall { epoch: epoch.0, commitment: to_word(*commitment) })
        }
        Intent::Validators(ValidatorsCall::Reveal { epoch, root, salt }) => {
            encode(Validators::revealCall { epoch: epoch.0, root: to_word(*root), salt: to_word(*salt) })
        }
        Intent::Validators(ValidatorsCall::ProveBatch { epoch, items }) => {
            encode(Validators::proveBatchCall {
                epoch: epoch.0,
                leaves: items.iter().map(|item| leaf(&item.leaf)).collect(),
                paths: items
                    .iter()
                    .map(|item| item.path.iter().map(|sibling| to_word(*sibling)).collect())
                    .collect(),
            })
        }
        Intent::Validators(ValidatorsCall::DrawBeacon { epoch }) => {
            encode(Validators::drawBeaconCall { epoch: epoch.0 })
        }
        Intent::Validators(ValidatorsCall::PenalizeMissedReveal { epoch, validator }) => {
            encode(Validators::penalizeMissedRevealCall {
                epoch: epoch.0,
                validator: to_address(validator.0),
            })
        }
        Intent::Slashing(SlashingCall::Accuse { provider, node, offence, amount, evidence, uri }) => {
            encode(Slashing::accuseCall {
                provider: to_address(provider.0),
                node: to_address(node.0),
                offence: to_offence(*offence),
                amount: amount.0,
                evidenceHash: to_word(*evidence),
                evidenceUri: uri.clone(),
            })
        }
        Intent::Slashing(SlashingCall::AnswerAccusation { id, answer, uri }) => {
            encode(Slashing::answerCall {
                accusationId: id.0,
                answerHash: to_word(*answer),
                answerUri: uri.clone(),
            })
        }
        Intent::Slashing(SlashingCall::AnswerAccusationBySignature { statement, signature }) => {
            encode(Slashing::answerBySignatureCall {
                accusationId: statement.accusation.0,
                answerHash: to_word(statement.answer),
                answerUri: statement.uri.clone(),
                deadline: statement.deadline,
                signature: to_bytes(signature),
            })
        }
        Intent::Slashing(SlashingCall::VoteAccusation { id, guilty }) => {
            encode(Slashing::voteCall { accusationId: id.0, guilty: *guilty })
        }
        Intent::Slashing(SlashingCall::CollectOwed { to }) => {
            encode(Slashing::collectCall { to: to_address(*to) })
        }
        Intent::Slashing(SlashingCall::ResolveAccusation { id }) => {
            encode(Slashing::resolveCall { accusationId: id.0 })
        }
        Intent::Rewards(RewardsCall::FundPool { pool, amount, permit: None }) => {
            encode(Rewards::fundCall { poolId: pool.0, amount: to_u256(*amount) })
        }
        Intent::Rewards(RewardsCall::FundPool { pool, amount, permit }) => {
            let (deadline, v, r, s) = split(permit);
            let amount = to_u256(*amount);
            encode(Rewards::fundWithPermitCall { poolId: pool.0, amount, deadline, v, r, s })
        }
        Intent::Rewards(RewardsCall::SetSpendCap { pool, cap }) => {
            encode(Rewards::setSpendCapCall { poolId: pool.0, spendCap: cap.0 })
        }
        Intent::Rewards(RewardsCall::RequestBudgetWithdrawal { pool, amount }) => {
            encode(Rewards::requestWithdrawalCall { poolId: pool.0, amount: amount.0 })
        }
        Intent::Rewards(RewardsCall::WithdrawBudget { pool, to }) => {
            encode(Rewards::withdrawCall { poolId: pool.0, to: to_address(*to) })
        }
        Intent::Rewards(RewardsCall::PostRoot { pool, epoch, root, total, depth, proven_epoch }) => {
            encode(Rewards::postRootCall {
                poolId: pool.0,
                epoch: epoch.0,
                root: to_word(*root),
                total: total.0,
                depth: *depth,
                provenEpoch: proven_epoch.0,
            })
        }
        Intent::Rewards(RewardsCall::VetoRoot { pool, epoch, evidence }) => {
            encode(Rewards::vetoRootCall { poolId: pool.0, epoch: epoch.0, evidenceHash: to_word(*evidence) })
        }
        Intent::Rewards(RewardsCall::RefuteRoot { pool, index, proven, other }) => {
            encode(Rewards::refuteRootCall {
                poolId: pool.0,
                index: *index,
                payee: to_address(proven.leaf.payee),
                cumulative: proven.leaf.cumulative.0,
                path: path_bytes(&proven.path).into(),
                otherPayee: to_address(other.leaf.payee),
                otherCumulative: other.leaf.cumulative.0,
                otherPath: path_bytes(&other.path).into(),
            })
        }
        Intent::Rewards(RewardsCall::Claim(item)) => encode(Rewards::claimCall { item: claim(item) }),
        Intent::Rewards(RewardsCall::ClaimBatch(items)) => {
            encode(Rewards::claimBatchCall { items: items.iter().map(claim).collect() })
        }
        Intent::Rewards(RewardsCall::Redeem { receipt, orchestrator_signature, node_signature }) => {
            encode(Rewards::redeemCall {
                receipt: to_receipt(receipt),
                orchestratorSignature: to_bytes(orchestrator_signature),
                nodeSignature: to_bytes(node_signature),
            })
        }
        Intent::Rewards(RewardsCall::VetoRedemption { pool, payee, evidence }) => {
            encode(Rewards::vetoRedemptionCall {
                poolId: pool.0,
                payee: to_address(*payee),
                evidenceHash: to_word(*evidence),
            })
        }
        Intent::Rewards(RewardsCall::SettleRedemption { pool, payee }) => {
            encode(Rewards::settleRedemptionCall { poolId: pool.0, payee: to_address(*payee) })
        }
        Intent::Registry(RegistryCall::SetSlasher) => {
            encode(Registry::setSlasherCall { slasher: to_address(deployment.slashing) })
        }
        Intent::Token(TokenCall::ApproveToken { token: _, spender, amount })
        | Intent::Token(TokenCall::Approve { spender, amount }) => {
            encode(Token::approveCall { spender: to_address(*spender), value: to_u256(*amount) })
        }
        Intent::Token(TokenCall::Mint { to, amount }) => {
            encode(Token::mintCall { to: to_address(*to), amount: to_u256(*amount) })
        }
        Intent::Token(TokenCall::TransferToken { to, amount }) => {
            encode(Token::transferCall { to: to_address(*to), value: to_u256(*amount) })
        }
        Intent::Token(TokenCall::TransferNative { .. }) => Bytes::new(),
    }
}

fn encode(call: impl SolCall) -> Bytes {
    call.abi_encode().into()
}

fn split(permit: &Option<Permit>) -> (U256, u8, B256, B256) {
    let Some(permit) = permit else { return (U256::ZERO, 0, B256::ZERO, B256::ZERO) };
    let (r, rest) = permit.signature.0.split_at(32);
    let (s, v) = rest.split_at(32);
    let v = v.first().copied().unwrap_or_default();
    (U256::from(permit.deadline), v, B256::from_slice(r), B256::from_slice(s))
}
