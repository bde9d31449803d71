//! Redemptions of a receipt for which no root was posted.

use lode_contracts::{Amount, ChainEvent, Revert, RewardsEvent, timestamp_of_seconds};
use lode_protocol::hash::Digest;
use lode_protocol::ids::{Address, PoolId, ValidatorId};
use lode_protocol::keys::EthereumSignature;
use lode_protocol::settlement::Receipt;

use super::budget::{BallotId, Redemption};
use crate::chain::ledger::{Ledger, refuse};

impl Ledger {
    pub(super) fn redeem(
        &mut self,
        sender: Address,
        receipt: &Receipt,
        orchestrator_signature: &EthereumSignature,
        node_signature: &EthereumSignature,
    ) -> Result<ChainEvent, Revert> {
        let Receipt { pool, epoch, node, payee, cumulative, .. } = *receipt;
        if payee == Address::ZERO {
            return refuse("ZeroAddress");
        }
        if self.now <= self.posting_deadline(epoch) {
            return refuse("PostingStillOpen");
        }
        let digest = receipt.digest(&self.deployment.rewards_domain());
        if self.ballots.get(&BallotId::Receipt(digest)).is_some_and(|ballot| ballot.passed) {
            return refuse("ReceiptIsVoid");
        }
        if orchestrator_signature.recover(&digest) != Ok(self.orchestrator_of(pool)) {
            return refuse("InvalidOrchestratorSignature");
        }
        if node_signature.recover(&digest) != Ok(node.0) {
            return refuse("InvalidNodeSignature");
        }
        if let Some(pending) = self.redemptions.get(&(pool, payee)).copied() {
            if sender != payee || cumulative <= pending.cumulative {
                return refuse("RedemptionIsPending");
            }
            self.budget(pool).release(&pending, Amount::ZERO);
        }
        let paid = self.earnings.get(&(pool, payee)).map_or(Amount::ZERO, |earnings| earnings.paid);
        let amount = cumulative.checked_sub(paid).filter(|amount| *amount != Amount::ZERO);
        let Some(amount) = amount else { return refuse("NothingToClaim") };
        let payable_at = self.now + self.parameters.settlement.veto_seconds;
        let last = self.last_epoch();
        let budget = self.budget(pool);
        let cap_parts = budget.promise(last, amount)?;
        budget.redeeming = budget.redeeming.saturating_add(amount);
        let redemption = Redemption { cumulative, amount, payable_at, digest, cap_parts };
        self.redemptions.insert((pool, payee), redemption);
        let payable_at = timestamp_of_seconds(payable_at);
        Ok(ChainEvent::Rewards(RewardsEvent::RedemptionRequested {
            pool,
            payee,
            node,
            epoch,
            cumulative,
            amount,
            payable_at,
        }))
    }

    pub(super) fn veto_redemption(
        &mut self,
        pool: PoolId,
        payee: Address,
        validator: ValidatorId,
        evidence: Digest,
    ) -> Result<Vec<ChainEvent>, Revert> {
        let Some(record) =
            self.redemptions.get(&(pool, payee)).copied().filter(|record| self.now < record.payable_at)
        else {
            return refuse("NoRedemption");
        };
        let ballot = BallotId::Receipt(record.digest);
        let (votes, total_weight, passed) = self.cast(ballot, record.payable_at, validator)?;
        let cast = ChainEvent::Rewards(RewardsEvent::RedemptionVetoCast {
            pool,
            payee,
            validator,
            evidence,
            votes,
            total_weight,
        });
        if !passed {
            return Ok(vec![cast]);
        }
        self.budget(pool).release(&record, Amount::ZERO);
        self.redemptions.remove(&(pool, payee));
        Ok(vec![
            cast,
            ChainEvent::Rewards(RewardsEvent::RedemptionVetoed { pool, payee, released: record.amount }),
        ])
    }

    pub(super) fn settle_redemption(&mut self, pool: PoolId, payee: Address) -> Result<ChainEvent, Revert> {
        let Some(record) = self.redemptions.get(&(pool, payee)).copied() else {
            return refuse("NoRedemption");
        };
        let mut earnings = self.earnings.get(&(pool, payee)).copied().unwrap_or_default();
        let due = record.cumulative.checked_sub(earnings.paid).unwrap_or_default();
        if due != Amount::ZERO && self.now < record.payable_at {
            return refuse("TooEarly");
        }
        self.redemptions.remove(&(pool, payee));
        let budget = self.budget(pool);
        budget.release(&record, due);
        budget.paid = budget.paid.saturating_add(due);
        earnings.paid = earnings.paid.saturating_add(due);
        earnings.ahead = earnings.ahead.saturating_add(due);
        self.earnings.insert((pool, payee), earnings);
        self.move_tokens(self.deployment.rewards, payee, due)?;
        Ok(ChainEvent::Rewards(RewardsEvent::Redeemed {
            pool,
            payee,
            amount: due,
            cumulative: record.cumulative,
        }))
    }
}
