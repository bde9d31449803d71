//! Rewards: budgets here; roots, claims and redemptions beside each other below.

mod budget;
mod claims;
mod redemptions;
mod roots;
mod votes;

use lode_contracts::{
    Amount, ChainEvent, Epoch, Intent, Revert, RewardsCall, RewardsEvent, timestamp_of_seconds,
};
use lode_protocol::ids::{Address, PoolId, ValidatorId};

use self::budget::{PARTS_PER_EPOCH, minus};
use super::{Ledger, refuse};

pub(in crate::chain) use budget::{Ballot, BallotId, Budget, PostedRoot, Redemption};

impl Ledger {
    fn budget(&mut self, pool: PoolId) -> &mut Budget {
        self.budgets.entry(pool).or_default()
    }

    pub(in crate::chain) fn spendable(&self, pool: PoolId, epoch: Epoch) -> Amount {
        self.budgets.get(&pool).copied().unwrap_or_default().allowance(epoch.0).0
    }

    fn check_owner(&self, pool: PoolId, sender: Address) -> Result<(), Revert> {
        if self.pools.get(&pool).is_some_and(|record| record.owner == sender) {
            return Ok(());
        }
        refuse("NotPoolOwner")
    }

    fn orchestrator_of(&self, pool: PoolId) -> Address {
        self.pools.get(&pool).map_or(Address::ZERO, |record| record.parameters.orchestrator)
    }

    /// The last second in which the epoch's root can be posted.
    fn posting_deadline(&self, epoch: Epoch) -> u64 {
        let end = epoch.0.saturating_add(1).saturating_mul(self.parameters.epoch_seconds);
        end.saturating_add(self.parameters.settlement.posting_seconds)
    }

    fn last_epoch(&self) -> u64 {
        self.epoch().0.saturating_sub(1)
    }

    pub(super) fn rewards_call(
        &mut self,
        sender: Address,
        intent: &Intent,
    ) -> Result<Vec<ChainEvent>, Revert> {
        let event = match intent {
            Intent::Rewards(RewardsCall::FundPool { pool, amount, permit }) => {
                let token = self.pools.get(pool).and_then(|record| record.parameters.reward_token);
                let rewards = self.deployment.rewards;
                if permit.is_some() {
                    if token.is_none() {
                        return refuse("NoRewardToken");
                    }
                    self.use_permit(sender, rewards, *amount, permit.as_ref());
                }
                if *amount == Amount::ZERO {
                    return refuse("ZeroAmount");
                }
                match token {
                    None => return refuse("NoRewardToken"),
                    // Nobody else's token is on this chain.
                    Some(token) if token != self.deployment.token => return refuse("AddressEmptyCode"),
                    Some(_) => {}
                }
                let budget = self.budget(*pool);
                budget.free = budget.free.saturating_add(*amount);
                let free = budget.free;
                self.pull(sender, rewards, *amount)?;
                ChainEvent::Rewards(RewardsEvent::Funded { pool: *pool, from: sender, amount: *amount, free })
            }
            Intent::Rewards(RewardsCall::SetSpendCap { pool, cap }) => {
                self.check_owner(*pool, sender)?;
                let last = self.last_epoch() * PARTS_PER_EPOCH;
                let budget = self.budget(*pool);
                if budget.capped_through == 0 {
                    budget.capped_through = last;
                }
                budget.spend_cap = *cap;
                ChainEvent::Rewards(RewardsEvent::SpendCapChanged { pool: *pool, cap: *cap })
            }
            Intent::Rewards(RewardsCall::RequestBudgetWithdrawal { pool, amount }) => {
                self.check_owner(*pool, sender)?;
                let at = self.now + self.parameters.settlement.withdrawal_seconds;
                if *amount == Amount::ZERO {
                    return refuse("ZeroAmount");
                }
                let budget = self.budget(*pool);
                if *amount > budget.free {
                    return refuse("InsufficientBudget");
                }
                budget.withdrawing = *amount;
                budget.withdrawable_at = at;
                let withdrawable_at = timestamp_of_seconds(at);
                ChainEvent::Rewards(RewardsEvent::WithdrawalRequested {
                    pool: *pool,
                    amount: *amount,
                    withdrawable_at,
                })
            }
            Intent::Rewards(RewardsCall::WithdrawBudget { pool, to }) => {
                self.withdraw_budget(*pool, sender, *to)?
            }
            Intent::Rewards(RewardsCall::PostRoot { .. }) => self.post_root(sender, intent)?,
            Intent::Rewards(RewardsCall::VetoRoot { pool, epoch, evidence }) => {
                return self.veto_root(*pool, *epoch, ValidatorId(sender), *evidence);
            }
            Intent::Rewards(RewardsCall::RefuteRoot { pool, index, proven, other }) => {
                return self.refute_root(*pool, *index, proven, other);
            }
            Intent::Rewards(RewardsCall::Claim(item)) => self.claim(item)?,
            Intent::Rewards(RewardsCall::ClaimBatch(items)) => {
                return Ok(items.iter().map(|item| self.claim_or_report(item)).collect());
            }
            Intent::Rewards(RewardsCall::Redeem { receipt, orchestrator_signature, node_signature }) => {
                self.redeem(sender, receipt, orchestrator_signature, node_signature)?
            }
            Intent::Rewards(RewardsCall::VetoRedemption { pool, payee, evidence }) => {
                return self.veto_redemption(*pool, *payee, ValidatorId(sender), *evidence);
            }
            Intent::Rewards(RewardsCall::SettleRedemption { pool, payee }) => {
                self.settle_redemption(*pool, *payee)?
            }
            other => unreachable!("{} is no call of the rewards", other.name()),
        };
        Ok(vec![event])
    }

    fn withdraw_budget(&mut self, pool: PoolId, sender: Address, to: Address) -> Result<ChainEvent, Revert> {
        self.check_owner(pool, sender)?;
        if to == Address::ZERO {
            return refuse("ZeroAddress");
        }
        let now = self.now;
        let budget = self.budget(pool);
        let amount = budget.withdrawing.min(budget.free);
        if amount == Amount::ZERO {
            return refuse("NothingToWithdraw");
        }
        if now < budget.withdrawable_at {
            return refuse("TooEarly");
        }
        budget.free = minus(budget.free, amount);
        budget.withdrawing = Amount::ZERO;
        budget.withdrawable_at = 0;
        let free = budget.free;
        self.move_tokens(self.deployment.rewards, to, amount)?;
        Ok(ChainEvent::Rewards(RewardsEvent::BudgetWithdrawn { pool, to, amount, free }))
    }
}
