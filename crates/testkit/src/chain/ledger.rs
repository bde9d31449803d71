//! The contracts' rules in memory: the same checks in the same order, errors of the same names.
//!
//! A call works on a copy of the state: refused, the copy is dropped, as a revert does.

mod pools;
mod registry;
mod rewards;
mod slashing;
mod validators;

use std::collections::{BTreeMap, BTreeSet};

use lode_contracts::{
    Amount, ChainEvent, DeployParameters, Deployment, EarningsRecord, Epoch, Intent, Permit, PoolsCall,
    Refusal, RegistryCall, Revert, RewardsCall, SlashingCall, TokenCall, ValidatorsCall,
};
use lode_protocol::hash::Digest;
use lode_protocol::ids::{AccusationId, Address, NodeId, PoolId, ProviderId, ValidatorId};

pub(super) use pools::{Membership, Pool};
pub(super) use registry::{Node, Provider};
pub(super) use rewards::{Ballot, BallotId, Budget, PostedRoot, Redemption};
pub(super) use slashing::Accusation;
pub(super) use validators::{Proof, Validator};

/// A refusal by the name of the contract's error.
pub(super) fn refuse<T>(name: &str) -> Result<T, Revert> {
    Err(Revert { name: name.to_owned(), detail: format!("{name}(…)") })
}

/// The refusal of a batch's item.
fn item_refusal(revert: &Revert) -> Refusal {
    lode_contracts::refusal_of_name(&revert.name)
        .expect("the fake refuses by names that the contracts declare")
}

/// Everything the contracts store.
#[derive(Clone, Debug)]
pub(super) struct Ledger {
    pub(super) deployment: Deployment,
    pub(super) parameters: DeployParameters,
    pub(super) minter: Address,
    /// Time of the block that is being made, in seconds.
    pub(super) now: u64,
    pub(super) nonces: BTreeMap<Address, u64>,
    pub(super) coins: BTreeMap<Address, Amount>,
    pub(super) tokens: BTreeMap<Address, Amount>,
    pub(super) allowances: BTreeMap<(Address, Address), Amount>,
    pub(super) permit_nonces: BTreeMap<Address, u64>,
    pub(super) providers: BTreeMap<ProviderId, Provider>,
    pub(super) nodes: BTreeMap<NodeId, Node>,
    pub(super) pools: BTreeMap<PoolId, Pool>,
    pub(super) memberships: BTreeMap<(PoolId, NodeId), Membership>,
    pub(super) banned_providers: BTreeSet<(PoolId, ProviderId)>,
    pub(super) validators: BTreeMap<ValidatorId, Validator>,
    /// Weight from an epoch on.
    pub(super) weights: BTreeMap<ValidatorId, BTreeMap<Epoch, Amount>>,
    pub(super) commitments: BTreeMap<(Epoch, ValidatorId), Digest>,
    pub(super) reveals: BTreeMap<(Epoch, ValidatorId), Digest>,
    pub(super) roots: BTreeMap<Epoch, Digest>,
    pub(super) proofs: BTreeMap<NodeId, Proof>,
    pub(super) beacons: BTreeMap<Epoch, Digest>,
    /// Hash of the block before the one that is being made.
    pub(super) parent: Digest,
    pub(super) slasher: Option<Address>,
    pub(super) approvals: BTreeSet<(PoolId, ProviderId)>,
    pub(super) approval_nonces: BTreeMap<ProviderId, u64>,
    pub(super) accusations: BTreeMap<AccusationId, Accusation>,
    pub(super) open_accusations: BTreeMap<(ProviderId, NodeId), AccusationId>,
    pub(super) accusation_votes: BTreeSet<(AccusationId, ValidatorId)>,
    pub(super) budgets: BTreeMap<PoolId, Budget>,
    pub(super) posted_roots: BTreeMap<(PoolId, Epoch), PostedRoot>,
    pub(super) earnings: BTreeMap<(PoolId, Address), EarningsRecord>,
    pub(super) redemptions: BTreeMap<(PoolId, Address), Redemption>,
    pub(super) ballots: BTreeMap<BallotId, Ballot>,
}

impl Ledger {
    pub(super) fn new(
        deployment: Deployment,
        parameters: DeployParameters,
        minter: Address,
        now: u64,
    ) -> Self {
        let slasher = deployment.slashing;
        Ledger {
            deployment,
            parameters,
            minter,
            now,
            nonces: BTreeMap::new(),
            coins: BTreeMap::new(),
            tokens: BTreeMap::new(),
            allowances: BTreeMap::new(),
            permit_nonces: BTreeMap::new(),
            providers: BTreeMap::new(),
            nodes: BTreeMap::new(),
            pools: BTreeMap::new(),
            memberships: BTreeMap::new(),
            banned_providers: BTreeSet::new(),
            validators: BTreeMap::new(),
            weights: BTreeMap::new(),
            commitments: BTreeMap::new(),
            reveals: BTreeMap::new(),
            roots: BTreeMap::new(),
            proofs: BTreeMap::new(),
            beacons: BTreeMap::new(),
            parent: Digest::default(),
            slasher: Some(slasher),
            approvals: BTreeSet::new(),
            approval_nonces: BTreeMap::new(),
            accusations: BTreeMap::new(),
            open_accusations: BTreeMap::new(),
            accusation_votes: BTreeSet::new(),
            budgets: BTreeMap::new(),
            posted_roots: BTreeMap::new(),
            earnings: BTreeMap::new(),
            redemptions: BTreeMap::new(),
            ballots: BTreeMap::new(),
        }
    }

    /// Where cuts of bonds and slashed stake go.
    pub(super) fn treasury(&self) -> Address {
        self.parameters.treasury.unwrap_or(self.minter)
    }

    /// Carries a call out, wholly or not at all.
    pub(super) fn apply(&mut self, sender: Address, intent: &Intent) -> Result<Vec<ChainEvent>, Revert> {
        let mut after = self.clone();
        let events = after.call(sender, intent)?;
        *self = after;
        Ok(events)
    }

    fn call(&mut self, sender: Address, intent: &Intent) -> Result<Vec<ChainEvent>, Revert> {
        match intent {
            Intent::Token(TokenCall::Approve { spender, amount }) => {
                self.allowances.insert((sender, *spender), *amount);
                Ok(vec![])
            }
            Intent::Token(TokenCall::ApproveToken { token, spender, amount }) => {
                // A call of an address without a contract succeeds and does nothing.
                if *token == self.deployment.token {
                    self.allowances.insert((sender, *spender), *amount);
                }
                Ok(vec![])
            }
            Intent::Token(TokenCall::Mint { to, amount }) => {
                if sender != self.minter {
                    return refuse("OwnableUnauthorizedAccount");
                }
                let balance = self.tokens.entry(*to).or_default();
                *balance = balance.saturating_add(*amount);
                Ok(vec![])
            }
            Intent::Token(TokenCall::TransferToken { to, amount }) => {
                self.move_tokens(sender, *to, *amount)?;
                Ok(vec![])
            }
            Intent::Token(TokenCall::TransferNative { to, amount }) => {
                let balance = self.coins.get(&sender).copied().unwrap_or_default();
                let Some(rest) = balance.checked_sub(*amount) else { return refuse("Unknown") };
                self.coins.insert(sender, rest);
                let other = self.coins.entry(*to).or_default();
                *other = other.saturating_add(*amount);
                Ok(vec![])
            }
            Intent::Registry(RegistryCall::RegisterProvider { .. })
            | Intent::Registry(RegistryCall::Stake { .. })
            | Intent::Registry(RegistryCall::RequestUnstake { .. })
            | Intent::Registry(RegistryCall::Withdraw)
            | Intent::Registry(RegistryCall::AddNode { .. })
            | Intent::Registry(RegistryCall::AddNodes(_))
            | Intent::Registry(RegistryCall::ReplaceNode { .. })
            | Intent::Registry(RegistryCall::RemoveNode(_))
            | Intent::Registry(RegistryCall::RevokeAuthorizations)
            | Intent::Registry(RegistryCall::SetSlasher) => self.registry_call(sender, intent),
            Intent::Validators(ValidatorsCall::RegisterValidator { .. })
            | Intent::Validators(ValidatorsCall::StakeValidator { .. })
            | Intent::Validators(ValidatorsCall::SetValidatorEndpoint { .. })
            | Intent::Validators(ValidatorsCall::RequestExit)
            | Intent::Validators(ValidatorsCall::WithdrawValidator)
            | Intent::Validators(ValidatorsCall::Commit { .. })
            | Intent::Validators(ValidatorsCall::Reveal { .. })
            | Intent::Validators(ValidatorsCall::ProveBatch { .. })
            | Intent::Validators(ValidatorsCall::DrawBeacon { .. })
            | Intent::Validators(ValidatorsCall::PenalizeMissedReveal { .. }) => {
                self.validators_call(sender, intent)
            }
            Intent::Slashing(SlashingCall::Accuse { .. })
            | Intent::Slashing(SlashingCall::AnswerAccusation { .. })
            | Intent::Slashing(SlashingCall::AnswerAccusationBySignature { .. })
            | Intent::Slashing(SlashingCall::VoteAccusation { .. })
            | Intent::Slashing(SlashingCall::ResolveAccusation { .. })
            | Intent::Slashing(SlashingCall::CollectOwed { .. }) => self.slashing_call(sender, intent),
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
            | Intent::Rewards(RewardsCall::SettleRedemption { .. }) => self.rewards_call(sender, intent),
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
            | Intent::Pools(PoolsCall::SetPoolApprovalBySignature { .. }) => self.pools_call(sender, intent),
        }
    }

    fn move_tokens(&mut self, from: Address, to: Address, amount: Amount) -> Result<(), Revert> {
        let balance = self.tokens.get(&from).copied().unwrap_or_default();
        let Some(rest) = balance.checked_sub(amount) else { return refuse("ERC20InsufficientBalance") };
        self.tokens.insert(from, rest);
        let other = self.tokens.entry(to).or_default();
        *other = other.saturating_add(amount);
        Ok(())
    }

    /// Turns a valid permit into an allowance. Whether it was one.
    fn use_permit(
        &mut self,
        owner: Address,
        contract: Address,
        amount: Amount,
        permit: Option<&Permit>,
    ) -> bool {
        let nonce = self.permit_nonces.get(&owner).copied().unwrap_or_default();
        let valid = permit.is_some_and(|permit| {
            let digest = lode_contracts::permit_digest(
                &self.deployment,
                owner,
                contract,
                amount,
                nonce,
                permit.deadline,
            );
            self.now <= permit.deadline && permit.signature.recover(&digest) == Ok(owner)
        });
        if valid {
            self.permit_nonces.insert(owner, nonce + 1);
            self.allowances.insert((owner, contract), amount);
        }
        valid
    }

    fn pull_with_permit(
        &mut self,
        owner: Address,
        contract: Address,
        amount: Amount,
        permit: Option<&Permit>,
    ) -> Result<(), Revert> {
        if !self.use_permit(owner, contract, amount, permit)
            && self.allowances.get(&(owner, contract)).copied().unwrap_or_default() < amount
        {
            return refuse("InsufficientAllowance");
        }
        self.pull(owner, contract, amount)
    }

    fn pull(&mut self, owner: Address, contract: Address, amount: Amount) -> Result<(), Revert> {
        let allowance = self.allowances.get(&(owner, contract)).copied().unwrap_or_default();
        let Some(rest) = allowance.checked_sub(amount) else { return refuse("ERC20InsufficientAllowance") };
        self.move_tokens(owner, contract, amount)?;
        self.allowances.insert((owner, contract), rest);
        Ok(())
    }
}
