//! What an intent means to those who queue it: its name, and when once more is the same as once.

use super::{Intent, PoolsCall, RegistryCall, RewardsCall, SlashingCall, TokenCall, ValidatorsCall};
use crate::refusal::Revert;

impl Intent {
    /// Short name for logs and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Intent::Registry(RegistryCall::RegisterProvider { .. }) => "register-provider",
            Intent::Registry(RegistryCall::Stake { .. }) => "stake",
            Intent::Registry(RegistryCall::RequestUnstake { .. }) => "request-unstake",
            Intent::Registry(RegistryCall::Withdraw) => "withdraw",
            Intent::Registry(RegistryCall::AddNode { .. }) => "add-node",
            Intent::Registry(RegistryCall::AddNodes(_)) => "add-nodes",
            Intent::Registry(RegistryCall::ReplaceNode { .. }) => "replace-node",
            Intent::Registry(RegistryCall::RemoveNode(_)) => "remove-node",
            Intent::Registry(RegistryCall::RevokeAuthorizations) => "revoke-authorizations",
            Intent::Pools(PoolsCall::CreatePool(_)) => "create-pool",
            Intent::Pools(PoolsCall::StartPool(_)) => "start-pool",
            Intent::Pools(PoolsCall::EndPool(_)) => "end-pool",
            Intent::Pools(PoolsCall::SetOrchestrator { .. }) => "set-orchestrator",
            Intent::Pools(PoolsCall::SetEndpoints { .. }) => "set-endpoints",
            Intent::Pools(PoolsCall::SetRequirements { .. }) => "set-requirements",
            Intent::Pools(PoolsCall::TransferPool { .. }) => "transfer-pool",
            Intent::Pools(PoolsCall::AcceptPool(_)) => "accept-pool",
            Intent::Pools(PoolsCall::JoinBatch(_)) => "join-batch",
            Intent::Pools(PoolsCall::Leave { .. }) => "leave",
            Intent::Pools(PoolsCall::LeaveBySignature { .. }) => "leave-by-signature",
            Intent::Pools(PoolsCall::Eject { .. }) => "eject",
            Intent::Pools(PoolsCall::BanNode { .. }) => "ban-node",
            Intent::Pools(PoolsCall::UnbanNode { .. }) => "unban-node",
            Intent::Pools(PoolsCall::BanProvider { .. }) => "ban-provider",
            Intent::Pools(PoolsCall::UnbanProvider { .. }) => "unban-provider",
            Intent::Validators(ValidatorsCall::RegisterValidator { .. }) => "register-validator",
            Intent::Validators(ValidatorsCall::StakeValidator { .. }) => "stake-validator",
            Intent::Validators(ValidatorsCall::SetValidatorEndpoint { .. }) => "set-validator-endpoint",
            Intent::Validators(ValidatorsCall::RequestExit) => "request-exit",
            Intent::Validators(ValidatorsCall::WithdrawValidator) => "withdraw-validator",
            Intent::Validators(ValidatorsCall::Commit { .. }) => "commit",
            Intent::Validators(ValidatorsCall::Reveal { .. }) => "reveal",
            Intent::Validators(ValidatorsCall::ProveBatch { .. }) => "prove-batch",
            Intent::Token(TokenCall::Approve { .. }) => "approve",
            Intent::Token(TokenCall::Mint { .. }) => "mint",
            Intent::Token(TokenCall::TransferToken { .. }) => "transfer-token",
            Intent::Token(TokenCall::TransferNative { .. }) => "transfer-native",
            Intent::Registry(RegistryCall::SetSlasher) => "set-slasher",
            Intent::Pools(PoolsCall::SetPoolApproval { .. }) => "set-pool-approval",
            Intent::Pools(PoolsCall::SetPoolApprovalBySignature { .. }) => "set-pool-approval-by-signature",
            Intent::Validators(ValidatorsCall::DrawBeacon { .. }) => "draw-beacon",
            Intent::Validators(ValidatorsCall::PenalizeMissedReveal { .. }) => "penalize-missed-reveal",
            Intent::Rewards(RewardsCall::FundPool { .. }) => "fund-pool",
            Intent::Rewards(RewardsCall::SetSpendCap { .. }) => "set-spend-cap",
            Intent::Rewards(RewardsCall::RequestBudgetWithdrawal { .. }) => "request-budget-withdrawal",
            Intent::Rewards(RewardsCall::WithdrawBudget { .. }) => "withdraw-budget",
            Intent::Rewards(RewardsCall::PostRoot { .. }) => "post-root",
            Intent::Rewards(RewardsCall::VetoRoot { .. }) => "veto-root",
            Intent::Rewards(RewardsCall::RefuteRoot { .. }) => "refute-root",
            Intent::Rewards(RewardsCall::Claim(_)) => "claim",
            Intent::Rewards(RewardsCall::ClaimBatch(_)) => "claim-batch",
            Intent::Rewards(RewardsCall::Redeem { .. }) => "redeem",
            Intent::Rewards(RewardsCall::VetoRedemption { .. }) => "veto-redemption",
            Intent::Rewards(RewardsCall::SettleRedemption { .. }) => "settle-redemption",
            Intent::Slashing(SlashingCall::Accuse { .. }) => "accuse",
            Intent::Slashing(SlashingCall::AnswerAccusation { .. }) => "answer-accusation",
            Intent::Slashing(SlashingCall::AnswerAccusationBySignature { .. }) => {
                "answer-accusation-by-signature"
            }
            Intent::Slashing(SlashingCall::VoteAccusation { .. }) => "vote-accusation",
            Intent::Slashing(SlashingCall::ResolveAccusation { .. }) => "resolve-accusation",
            Intent::Token(TokenCall::ApproveToken { .. }) => "approve-token",
            Intent::Slashing(SlashingCall::CollectOwed { .. }) => "collect-owed",
        }
    }

    /// Whether doing it twice is worse than doing it once: such intents are never merged with an equal one that is
    /// still pending.
    pub fn adds_up(&self) -> bool {
        matches!(
            self,
            Intent::Registry(RegistryCall::Stake { .. })
                | Intent::Registry(RegistryCall::RequestUnstake { .. })
                | Intent::Validators(ValidatorsCall::StakeValidator { .. })
                | Intent::Pools(PoolsCall::CreatePool(_))
                | Intent::Token(TokenCall::Mint { .. })
                | Intent::Token(TokenCall::TransferToken { .. })
                | Intent::Token(TokenCall::TransferNative { .. })
                | Intent::Rewards(RewardsCall::FundPool { .. })
        )
    }

    /// Whether a refusal says that what is wanted is already so.
    pub fn is_fulfilled_by(&self, refusal: &Revert) -> bool {
        match self {
            Intent::Pools(PoolsCall::Leave { .. })
            | Intent::Pools(PoolsCall::LeaveBySignature { .. })
            | Intent::Pools(PoolsCall::Eject { .. }) => refusal.name == "NotMember",
            Intent::Pools(PoolsCall::BanNode { .. }) => refusal.name == "NodeIsBanned",
            Intent::Pools(PoolsCall::BanProvider { .. }) => refusal.name == "ProviderIsBanned",
            Intent::Pools(PoolsCall::UnbanNode { .. }) | Intent::Pools(PoolsCall::UnbanProvider { .. }) => {
                refusal.name == "NotBanned"
            }
            Intent::Registry(RegistryCall::RegisterProvider { .. }) => {
                refusal.name == "ProviderAlreadyRegistered"
            }
            Intent::Validators(ValidatorsCall::DrawBeacon { .. }) => refusal.name == "BeaconAlreadyDrawn",
            Intent::Rewards(RewardsCall::Claim(_)) => refusal.name == "NothingToClaim",
            Intent::Rewards(RewardsCall::SettleRedemption { .. }) => refusal.name == "NoRedemption",
            Intent::Slashing(SlashingCall::CollectOwed { .. }) => refusal.name == "NothingOwed",
            Intent::Rewards(RewardsCall::VetoRoot { .. })
            | Intent::Rewards(RewardsCall::VetoRedemption { .. })
            | Intent::Slashing(SlashingCall::VoteAccusation { .. }) => refusal.name == "AlreadyVoted",
            _ => false,
        }
    }
}
