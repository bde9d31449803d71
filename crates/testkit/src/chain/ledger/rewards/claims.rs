//! Claims under a final root.

use lode_contracts::{
    Amount, ChainEvent, ClaimItem, EarningsLeaf, ProvenEarnings, Revert, RewardsEvent, RootState,
};
use lode_protocol::ids::{Address, PoolId};

use super::budget::minus;
use crate::chain::ledger::{Ledger, item_refusal, refuse};

impl Ledger {
    pub(super) fn claim_or_report(&mut self, item: &ClaimItem) -> ChainEvent {
        let before = self.clone();
        match self.claim(item) {
            Ok(event) => event,
            Err(revert) => {
                *self = before;
                let ClaimItem { pool, epoch, payee, .. } = *item;
                ChainEvent::Rewards(RewardsEvent::ClaimFailed {
                    pool,
                    epoch,
                    payee,
                    reason: item_refusal(&revert),
                })
            }
        }
    }

    pub(super) fn claim(&mut self, item: &ClaimItem) -> Result<ChainEvent, Revert> {
        let ClaimItem { pool, epoch, index, payee, cumulative, .. } = *item;
        let root = match self.posted_roots.get(&(pool, epoch)) {
            Some(root) if root.state(self.now) == RootState::Final => *root,
            _ => return refuse("RootNotFinal"),
        };
        let proven = ProvenEarnings { leaf: EarningsLeaf { payee, cumulative }, path: item.path.clone() };
        if payee == Address::ZERO || !root.holds(index, &proven) {
            return refuse("InvalidClaimProof");
        }
        let amount = self.cover(pool, payee, cumulative)?;
        self.move_tokens(self.deployment.rewards, payee, amount)?;
        Ok(ChainEvent::Rewards(RewardsEvent::Claimed { pool, epoch, payee, amount, cumulative }))
    }

    fn cover(&mut self, pool: PoolId, payee: Address, cumulative: Amount) -> Result<Amount, Revert> {
        let mut earnings = self.earnings.get(&(pool, payee)).copied().unwrap_or_default();
        let covered = minus(earnings.paid, earnings.ahead);
        if cumulative <= covered {
            return refuse("NothingToClaim");
        }
        let covering = minus(cumulative, covered);
        let budget = self.budget(pool);
        let Some(promised) = budget.promised.checked_sub(covering) else {
            return refuse("PromiseExceeded");
        };
        budget.promised = promised;
        let released = earnings.ahead.min(covering);
        if released != Amount::ZERO {
            let parts = budget.parts_of(released);
            budget.unpromise(released, parts);
        }
        let amount = minus(covering, released);
        budget.paid = budget.paid.saturating_add(amount);
        earnings.ahead = minus(earnings.ahead, released);
        earnings.paid = earnings.paid.saturating_add(amount);
        self.earnings.insert((pool, payee), earnings);
        Ok(amount)
    }
}
