//! From an intent to the call that a transaction carries.

mod data;
mod parts;

use alloy::primitives::{Address as AlloyAddress, Bytes, U256};
use lode_protocol::ids::Address;

use crate::convert::{to_address, to_u256};
use crate::deployment::Deployment;
use crate::{Intent, PoolsCall, RegistryCall, RewardsCall, SlashingCall, TokenCall, ValidatorsCall};

/// What a transaction does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Call {
    pub(crate) to: AlloyAddress,
    pub(crate) data: Bytes,
    pub(crate) value: U256,
}

/// The call that an intent stands for.
pub(crate) trait ToCall {
    /// As a transaction to one of the deployed contracts carries it.
    fn call(&self, deployment: &Deployment) -> Call;
}

impl ToCall for Intent {
    fn call(&self, deployment: &Deployment) -> Call {
        let value = if let Intent::Token(TokenCall::TransferNative { amount, .. }) = self {
            to_u256(*amount)
        } else {
            U256::ZERO
        };
        Call { to: to_address(target(self, deployment)), data: data::data(self, deployment), value }
    }
}

/// Whom an intent calls.
fn target(intent: &Intent, deployment: &Deployment) -> Address {
    match intent {
        Intent::Registry(RegistryCall::RegisterProvider { .. })
        | Intent::Registry(RegistryCall::Stake { .. })
        | Intent::Registry(RegistryCall::RequestUnstake { .. })
        | Intent::Registry(RegistryCall::Withdraw)
        | Intent::Registry(RegistryCall::AddNode { .. })
        | Intent::Registry(RegistryCall::AddNodes(_))
        | Intent::Registry(RegistryCall::ReplaceNode { .. })
        | Intent::Registry(RegistryCall::RemoveNode(_))
        | Intent::Registry(RegistryCall::RevokeAuthorizations)
        | Intent::Registry(RegistryCall::SetSlasher) => deployment.registry,
        Intent::Pools(PoolsCall::CreatePool(_))
        | Intent::Pools(PoolsCall::StartPool(_))
        | Intent::Pools(PoolsCall::EndPool(_))
        | Intent::Pools(PoolsCall::SetOrchestrator { .. })
        | Intent::Pools(PoolsCall::SetEndpoints { .. })
        | Intent::Pools(PoolsCall::SetRequirements { .. })
        | Intent::Pools(PoolsCall::TransferPool { .. })
        | Intent::Pools(PoolsCall::AcceptPool(_))
        | Intent::Pools(PoolsCall::JoinBatch(_))
        | Intent::Pools(PoolsCall::Leave { .. })
        | Intent::Pools(PoolsCall::LeaveBySignature { .. })
        | Intent::Pools(PoolsCall::Eject { .. })
        | Intent::Pools(PoolsCall::BanNode { .. })
        | Intent::Pools(PoolsCall::UnbanNode { .. })
        | Intent::Pools(PoolsCall::BanProvider { .. })
        | Intent::Pools(PoolsCall::UnbanProvider { .. })
        | Intent::Pools(PoolsCall::SetPoolApproval { .. })
        | Intent::Pools(PoolsCall::SetPoolApprovalBySignature { .. }) => deployment.pools,
        Intent::Validators(ValidatorsCall::RegisterValidator { .. })
        | Intent::Validators(ValidatorsCall::StakeValidator { .. })
        | Intent::Validators(ValidatorsCall::SetValidatorEndpoint { .. })
        | Intent::Validators(ValidatorsCall::RequestExit)
        | Intent::Validators(ValidatorsCall::WithdrawValidator)
        | Intent::Validators(ValidatorsCall::Commit { .. })
        | Intent::Validators(ValidatorsCall::Reveal { .. })
        | Intent::Validators(ValidatorsCall::ProveBatch { .. })
        | Intent::Validators(ValidatorsCall::DrawBeacon { .. })
        | Intent::Validators(ValidatorsCall::PenalizeMissedReveal { .. }) => deployment.validators,
        Intent::Slashing(SlashingCall::Accuse { .. })
        | Intent::Slashing(SlashingCall::AnswerAccusation { .. })
        | Intent::Slashing(SlashingCall::AnswerAccusationBySignature { .. })
        | Intent::Slashing(SlashingCall::VoteAccusation { .. })
        | Intent::Slashing(SlashingCall::ResolveAccusation { .. })
        | Intent::Slashing(SlashingCall::CollectOwed { .. }) => deployment.slashing,
        Intent::Rewards(RewardsCall::FundPool { .. })
        | Intent::Rewards(RewardsCall::SetSpendCap { .. })
        | Intent::Rewards(RewardsCall::RequestBudgetWithdrawal { .. })
        | Intent::Rewards(RewardsCall::WithdrawBudget { .. })
        | Intent::Rewards(RewardsCall::PostRoot { .. })
        | Intent::Rewards(RewardsCall::VetoRoot { .. })
        | Intent::Rewards(RewardsCall::RefuteRoot { .. })
        | Intent::Rewards(RewardsCall::Claim(_))
        | Intent::Rewards(RewardsCall::ClaimBatch(_))
        | Intent::Rewards(RewardsCall::Redeem { .. })
        | Intent::Rewards(RewardsCall::VetoRedemption { .. })
        | Intent::Rewards(RewardsCall::SettleRedemption { .. }) => deployment.rewards,
        Intent::Token(TokenCall::ApproveToken { token, .. }) => *token,
        Intent::Token(TokenCall::Approve { .. })
        | Intent::Token(TokenCall::Mint { .. })
        | Intent::Token(TokenCall::TransferToken { .. }) => deployment.token,
        Intent::Token(TokenCall::TransferNative { to, .. }) => *to,
    }
}
