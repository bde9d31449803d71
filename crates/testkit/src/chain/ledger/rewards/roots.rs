//! Roots of earnings: posted once per epoch, pending for a time, vetoed or refuted meanwhile.

use lode_contracts::{
    Amount, ChainEvent, EarningsLeaf, Epoch, Intent, ProvenEarnings, Revert, RewardsCall, RewardsEvent,
    RootState, timestamp_of_seconds,
};
use lode_protocol::hash::Digest;
use lode_protocol::ids::{Address, PoolId, ValidatorId};

use super::budget::{BallotId, PostedRoot, minus};
use crate::chain::ledger::{Ledger, refuse};

const MAX_DEPTH: u8 = 32;

impl Ledger {
    pub(super) fn post_root(&mut self, sender: Address, intent: &Intent) -> Result<ChainEvent, Revert> {
        let Intent::Rewards(RewardsCall::PostRoot { pool, epoch, root, total, depth, proven_epoch }) =
            *intent
        else {
            unreachable!("only roots are posted")
        };
        if sender != self.orchestrator_of(pool) {
            return refuse("NotOrchestrator");
        }
        if root == Digest::default() {
            return refuse("ZeroDigest");
        }
        if depth > MAX_DEPTH {
            return refuse("InvalidDepth");
        }
        let (now, settlement) = (self.now, self.parameters.settlement);
        let mut budget = *self.budget(pool);
        if epoch >= self.epoch() {
            return refuse("EpochNotOver");
        }
        if epoch.0 <= budget.latest_epoch {
            return refuse("EpochAlreadyPosted");
        }
        if now > self.posting_deadline(epoch) {
            return refuse("PostingDeadlinePassed");
        }
        if now < budget.latest_final_at {
            return refuse("RootIsPending");
        }
        let age = epoch.0.checked_sub(proven_epoch.0);
        if age.is_none_or(|age| age > settlement.max_proven_age_epochs)
            || !self.roots.contains_key(&proven_epoch)
        {
            return refuse("NotProven");
        }
        let Some(increase) = total.checked_sub(budget.posted) else { return refuse("TotalDecreased") };
        let cap_parts = budget.promise(epoch.0, increase)?;
        let final_at = now + settlement.veto_seconds;
        budget.promised = budget.promised.saturating_add(increase);
        budget.posted = total;
        budget.preceding_epoch = budget.latest_epoch;
        budget.latest_epoch = epoch.0;
        budget.latest_final_at = final_at;
        let attempt = self.posted_roots.get(&(pool, epoch)).map_or(1, |earlier| earlier.attempt + 1);
        let record = PostedRoot { root, total, depth, final_at, cap_parts, attempt, vetoed: false };
        self.posted_roots.insert((pool, epoch), record);
        *self.budget(pool) = budget;
        let final_at = timestamp_of_seconds(final_at);
        Ok(ChainEvent::Rewards(RewardsEvent::RootPosted {
            pool,
            epoch,
            root,
            total,
            increase,
            depth,
            proven_epoch,
            final_at,
        }))
    }

    fn pending_root(&self, pool: PoolId, epoch: Epoch) -> Result<PostedRoot, Revert> {
        match self.posted_roots.get(&(pool, epoch)) {
            Some(root) if root.state(self.now) == RootState::Pending => Ok(*root),
            _ => refuse("RootNotPending"),
        }
    }

    pub(super) fn veto_root(
        &mut self,
        pool: PoolId,
        epoch: Epoch,
        validator: ValidatorId,
        evidence: Digest,
    ) -> Result<Vec<ChainEvent>, Revert> {
        let root = self.pending_root(pool, epoch)?;
        let ballot = BallotId::Root { pool, epoch, attempt: root.attempt };
        let (votes, total_weight, passed) = self.cast(ballot, root.final_at, validator)?;
        let cast = ChainEvent::Rewards(RewardsEvent::VetoCast {
            pool,
            epoch,
            validator,
            evidence,
            votes,
            total_weight,
        });
        if !passed {
            return Ok(vec![cast]);
        }
        Ok(vec![cast, self.drop_root(pool, epoch)])
    }

    pub(super) fn refute_root(
        &mut self,
        pool: PoolId,
        index: u64,
        proven: &ProvenEarnings,
        other: &ProvenEarnings,
    ) -> Result<Vec<ChainEvent>, Revert> {
        let budget = *self.budget(pool);
        let (pending_epoch, final_epoch) = (Epoch(budget.latest_epoch), Epoch(budget.preceding_epoch));
        let pending = self.pending_root(pool, pending_epoch)?;
        let Some(last) = self.posted_roots.get(&(pool, final_epoch)) else { return refuse("RootNotFinal") };
        if !last.holds(index, proven) {
            return refuse("InvalidClaimProof");
        }
        let EarningsLeaf { payee, cumulative } = proven.leaf;
        if index >> pending.depth == 0 {
            if !pending.holds(index, other) {
                return refuse("InvalidClaimProof");
            }
            if other.leaf.payee == payee && other.leaf.cumulative >= cumulative {
                return refuse("NothingTaken");
            }
        }
        if cumulative == Amount::ZERO {
            return refuse("NothingTaken");
        }
        let refuted =
            ChainEvent::Rewards(RewardsEvent::RootRefuted { pool, epoch: pending_epoch, index, payee });
        Ok(vec![refuted, self.drop_root(pool, pending_epoch)])
    }

    /// The pending root is void; the one before it is the latest again.
    fn drop_root(&mut self, pool: PoolId, epoch: Epoch) -> ChainEvent {
        let preceding = Epoch(self.budget(pool).preceding_epoch);
        let posted = self.posted_roots.get(&(pool, preceding)).map_or(Amount::ZERO, |earlier| earlier.total);
        let record = self.posted_roots.get_mut(&(pool, epoch)).expect("a pending root was posted");
        record.vetoed = true;
        let record = *record;
        let budget = self.budget(pool);
        let released = minus(record.total, posted).min(budget.promised);
        budget.promised = minus(budget.promised, released);
        budget.posted = posted;
        budget.latest_epoch = preceding.0;
        budget.latest_final_at = 0;
        budget.preceding_epoch = 0;
        budget.unpromise(released, record.cap_parts);
        ChainEvent::Rewards(RewardsEvent::RootVetoed { pool, epoch, root: record.root, released })
    }
}
