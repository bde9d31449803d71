//! What an intent means to those who queue it: its name, and when once more is the same as once.

use super::Intent;
use crate::revert::Revert;

impl Intent {
    /// Short name for logs and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Intent::RegisterProvider { .. } => "register-provider",
            Intent::Stake { .. } => "stake",
            Intent::RequestUnstake { .. } => "request-unstake",
            Intent::Withdraw => "withdraw",
            Intent::AddNode { .. } => "add-node",
            Intent::AddNodes(_) => "add-nodes",
            Intent::ReplaceNode { .. } => "replace-node",
            Intent::RemoveNode(_) => "remove-node",
            Intent::RevokeAuthorizations => "revoke-authorizations",
            Intent::CreatePool(_) => "create-pool",
            Intent::StartPool(_) => "start-pool",
            Intent::EndPool(_) => "end-pool",
            Intent::SetOrchestrator { .. } => "set-orchestrator",
            Intent::SetEndpoints { .. } => "set-endpoints",
            Intent::SetRequirements { .. } => "set-requirements",
            Intent::TransferPool { .. } => "transfer-pool",
            Intent::AcceptPool(_) => "accept-pool",
            Intent::JoinBatch(_) => "join-batch",
            Intent::Leave { .. } => "leave",
            Intent::LeaveBySignature { .. } => "leave-by-signature",
            Intent::Eject { .. } => "eject",
            Intent::BanNode { .. } => "ban-node",
            Intent::UnbanNode { .. } => "unban-node",
            Intent::BanProvider { .. } => "ban-provider",
            Intent::UnbanProvider { .. } => "unban-provider",
            Intent::RegisterValidator { .. } => "register-validator",
            Intent::StakeValidator { .. } => "stake-validator",
            Intent::SetValidatorEndpoint { .. } => "set-validator-endpoint",
            Intent::RequestExit => "request-exit",
            Intent::WithdrawValidator => "withdraw-validator",
            Intent::Commit { .. } => "commit",
            Intent::Reveal { .. } => "reveal",
            Intent::ProveBatch { .. } => "prove-batch",
            Intent::Approve { .. } => "approve",
            Intent::Mint { .. } => "mint",
            Intent::TransferToken { .. } => "transfer-token",
            Intent::TransferNative { .. } => "transfer-native",
            Intent::SetSlasher => "set-slasher",
            Intent::SetPoolApproval { .. } => "set-pool-approval",
            Intent::SetPoolApprovalBySignature { .. } => "set-pool-approval-by-signature",
            Intent::DrawBeacon { .. } => "draw-beacon",
            Intent::PenalizeMissedReveal { .. } => "penalize-missed-reveal",
            Intent::FundPool { .. } => "fund-pool",
            Intent::SetSpendCap { .. } => "set-spend-cap",
            Intent::RequestBudgetWithdrawal { .. } => "request-budget-withdrawal",
            Intent::WithdrawBudget { .. } => "withdraw-budget",
            Intent::PostRoot { .. } => "post-root",
            Intent::VetoRoot { .. } => "veto-root",
            Intent::RefuteRoot { .. } => "refute-root",
            Intent::Claim(_) => "claim",
            Intent::ClaimBatch(_) => "claim-batch",
            Intent::Redeem { .. } => "redeem",
            Intent::VetoRedemption { .. } => "veto-redemption",
            Intent::SettleRedemption { .. } => "settle-redemption",
            Intent::Accuse { .. } => "accuse",
            Intent::AnswerAccusation { .. } => "answer-accusation",
            Intent::AnswerAccusationBySignature { .. } => "answer-accusation-by-signature",
            Intent::VoteAccusation { .. } => "vote-accusation",
            Intent::ResolveAccusation { .. } => "resolve-accusation",
            Intent::ApproveToken { .. } => "approve-token",
            Intent::CollectOwed { .. } => "collect-owed",
        }
    }

    /// Whether doing it twice is worse than doing it once: such intents are never merged with an equal one that is
    /// still pending.
    pub fn adds_up(&self) -> bool {
        matches!(
            self,
            Intent::Stake { .. }
                | Intent::RequestUnstake { .. }
                | Intent::StakeValidator { .. }
                | Intent::CreatePool(_)
                | Intent::Mint { .. }
                | Intent::TransferToken { .. }
                | Intent::TransferNative { .. }
                | Intent::FundPool { .. }
        )
    }

    /// Whether a refusal says that what is wanted is already so.
    pub fn is_fulfilled_by(&self, refusal: &Revert) -> bool {
        match self {
            Intent::Leave { .. } | Intent::LeaveBySignature { .. } | Intent::Eject { .. } => {
                refusal.name == "NotMember"
            }
            Intent::BanNode { .. } => refusal.name == "NodeIsBanned",
            Intent::BanProvider { .. } => refusal.name == "ProviderIsBanned",
            Intent::UnbanNode { .. } | Intent::UnbanProvider { .. } => refusal.name == "NotBanned",
            Intent::RegisterProvider { .. } => refusal.name == "ProviderAlreadyRegistered",
            Intent::DrawBeacon { .. } => refusal.name == "BeaconAlreadyDrawn",
            Intent::Claim(_) => refusal.name == "NothingToClaim",
            Intent::SettleRedemption { .. } => refusal.name == "NoRedemption",
            Intent::CollectOwed { .. } => refusal.name == "NothingOwed",
            Intent::VetoRoot { .. } | Intent::VetoRedemption { .. } | Intent::VoteAccusation { .. } => {
                refusal.name == "AlreadyVoted"
            }
            _ => false,
        }
    }
}
