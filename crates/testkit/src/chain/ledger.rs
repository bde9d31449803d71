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
    Amount, ChainEvent, DeployParameters, Deployment, EarningsRecord, Epoch, Intent, Permit, Refusal, Revert,
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
    Refusal::of_name(&revert.name).expect("the fake refuses by names that the contracts declare")
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
            Intent::Approve { spender, amount } => {
                self.allowances.insert((sender, *spender), *amount);
                Ok(vec![])
            }
            Intent::ApproveToken { token, spender, amount } => {
                // A call of an address without a contract succeeds and does nothing.
                if *token == self.deployment.token {
                    self.allowances.insert((sender, *spender), *amount);
                }
                Ok(vec![])
            }
            Intent::Mint { to, amount } => {
                if sender != self.minter {
                    return refuse("OwnableUnauthorizedAccount");
                }
                let balance = self.tokens.entry(*to).or_default();
                *balance = balance.saturating_add(*amount);
                Ok(vec![])
            }
            Intent::TransferToken { to, amount } => {
                self.move_tokens(sender, *to, *amount)?;
                Ok(vec![])
            }
            Intent::TransferNative { to, amount } => {
                let balance = self.coins.get(&sender).copied().unwrap_or_default();
                let Some(rest) = balance.checked_sub(*amount) else { return refuse("Unknown") };
                self.coins.insert(sender, rest);
                let other = self.coins.entry(*to).or_default();
                *other = other.saturating_add(*amount);
                Ok(vec![])
            }
            Intent::RegisterProvider { .. }
            | Intent::Stake { .. }
            | Intent::RequestUnstake { .. }
            | Intent::Withdraw
            | Intent::AddNode { .. }
            | Intent::AddNodes(_)
            | Intent::ReplaceNode { .. }
            | Intent::RemoveNode(_)
            | Intent::RevokeAuthorizations
            | Intent::SetSlasher => self.registry_call(sender, intent),
            Intent::RegisterValidator { .. }
            | Intent::StakeValidator { .. }
            | Intent::SetValidatorEndpoint { .. }
            | Intent::RequestExit
            | Intent::WithdrawValidator
            | Intent::Commit { .. }
            | Intent::Reveal { .. }
            | Intent::ProveBatch { .. }
            | Intent::DrawBeacon { .. }
            | Intent::PenalizeMissedReveal { .. } => self.validators_call(sender, intent),
            Intent::Accuse { .. }
            | Intent::AnswerAccusation { .. }
            | Intent::AnswerAccusationBySignature { .. }
            | Intent::VoteAccusation { .. }
            | Intent::ResolveAccusation { .. }
            | Intent::CollectOwed { .. } => self.slashing_call(sender, intent),
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
            | Intent::SettleRedemption { .. } => self.rewards_call(sender, intent),
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
            | Intent::SetPoolApprovalBySignature { .. } => self.pools_call(sender, intent),
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
