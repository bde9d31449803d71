//! Rewards: budgets, roots, claims, redemptions.

mod budget;

use lode_contracts::{
    Amount, ChainEvent, ClaimItem, EarningsLeaf, Epoch, Intent, ProvenEarnings, Revert, RootState,
    timestamp_of_seconds,
};
use lode_protocol::hash::Digest;
use lode_protocol::ids::{Address, PoolId, ValidatorId};
use lode_protocol::keys::EthereumSignature;
use lode_protocol::settlement::Receipt;

use self::budget::{PARTS_PER_EPOCH, minus};
use super::{Ledger, item_refusal, refuse};

pub(in crate::chain) use budget::{Ballot, BallotId, Budget, PostedRoot, Redemption};

const MAX_DEPTH: u8 = 32;
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
            Intent::FundPool { pool, amount, permit } => {
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
                ChainEvent::Funded { pool: *pool, from: sender, amount: *amount, free }
            }
            Intent::SetSpendCap { pool, cap } => {
                self.check_owner(*pool, sender)?;
                let last = self.last_epoch() * PARTS_PER_EPOCH;
                let budget = self.budget(*pool);
                if budget.capped_through == 0 {
                    budget.capped_through = last;
                }
                budget.spend_cap = *cap;
                ChainEvent::SpendCapChanged { pool: *pool, cap: *cap }
            }
            Intent::RequestBudgetWithdrawal { pool, amount } => {
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
                ChainEvent::WithdrawalRequested { pool: *pool, amount: *amount, withdrawable_at }
            }
            Intent::WithdrawBudget { pool, to } => self.withdraw_budget(*pool, sender, *to)?,
            Intent::PostRoot { .. } => self.post_root(sender, intent)?,
            Intent::VetoRoot { pool, epoch, evidence } => {
                return self.veto_root(*pool, *epoch, ValidatorId(sender), *evidence);
            }
            Intent::RefuteRoot { pool, index, proven, other } => {
                return self.refute_root(*pool, *index, proven, other);
            }
            Intent::Claim(item) => self.claim(item)?,
            Intent::ClaimBatch(items) => {
                return Ok(items.iter().map(|item| self.claim_or_report(item)).collect());
            }
            Intent::Redeem { receipt, orchestrator_signature, node_signature } => {
                self.redeem(sender, receipt, orchestrator_signature, node_signature)?
            }
            Intent::VetoRedemption { pool, payee, evidence } => {
                return self.veto_redemption(*pool, *payee, ValidatorId(sender), *evidence);
            }
            Intent::SettleRedemption { pool, payee } => self.settle_redemption(*pool, *payee)?,
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
        Ok(ChainEvent::BudgetWithdrawn { pool, to, amount, free })
    }

    fn post_root(&mut self, sender: Address, intent: &Intent) -> Result<ChainEvent, Revert> {
        let Intent::PostRoot { pool, epoch, root, total, depth, proven_epoch } = *intent else {
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
        Ok(ChainEvent::RootPosted { pool, epoch, root, total, increase, depth, proven_epoch, final_at })
    }

    fn pending_root(&self, pool: PoolId, epoch: Epoch) -> Result<PostedRoot, Revert> {
        match self.posted_roots.get(&(pool, epoch)) {
            Some(root) if root.state(self.now) == RootState::Pending => Ok(*root),
            _ => refuse("RootNotPending"),
        }
    }

    fn veto_root(
        &mut self,
        pool: PoolId,
        epoch: Epoch,
        validator: ValidatorId,
        evidence: Digest,
    ) -> Result<Vec<ChainEvent>, Revert> {
        let root = self.pending_root(pool, epoch)?;
        let ballot = BallotId::Root { pool, epoch, attempt: root.attempt };
        let (votes, total_weight, passed) = self.cast(ballot, root.final_at, validator)?;
        let cast = ChainEvent::VetoCast { pool, epoch, validator, evidence, votes, total_weight };
        if !passed {
            return Ok(vec![cast]);
        }
        Ok(vec![cast, self.drop_root(pool, epoch)])
    }

    fn refute_root(
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
        let refuted = ChainEvent::RootRefuted { pool, epoch: pending_epoch, index, payee };
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
        ChainEvent::RootVetoed { pool, epoch, root: record.root, released }
    }

    fn claim_or_report(&mut self, item: &ClaimItem) -> ChainEvent {
        let before = self.clone();
        match self.claim(item) {
            Ok(event) => event,
            Err(revert) => {
                *self = before;
                let ClaimItem { pool, epoch, payee, .. } = *item;
                ChainEvent::ClaimFailed { pool, epoch, payee, reason: item_refusal(&revert) }
            }
        }
    }

    fn claim(&mut self, item: &ClaimItem) -> Result<ChainEvent, Revert> {
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
        Ok(ChainEvent::Claimed { pool, epoch, payee, amount, cumulative })
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

    fn redeem(
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
        Ok(ChainEvent::RedemptionRequested { pool, payee, node, epoch, cumulative, amount, payable_at })
    }

    fn veto_redemption(
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
        let cast = ChainEvent::RedemptionVetoCast { pool, payee, validator, evidence, votes, total_weight };
        if !passed {
            return Ok(vec![cast]);
        }
        self.budget(pool).release(&record, Amount::ZERO);
        self.redemptions.remove(&(pool, payee));
        Ok(vec![cast, ChainEvent::RedemptionVetoed { pool, payee, released: record.amount }])
    }

    fn settle_redemption(&mut self, pool: PoolId, payee: Address) -> Result<ChainEvent, Revert> {
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
        Ok(ChainEvent::Redeemed { pool, payee, amount: due, cumulative: record.cumulative })
    }

    /// Counts a vote, by the weights of the epoch in which the window began.
    fn cast(
        &mut self,
        ballot: BallotId,
        window_end: u64,
        validator: ValidatorId,
    ) -> Result<(Amount, Amount, bool), Revert> {
        let began = window_end - self.parameters.settlement.veto_seconds;
        let epoch = self.timing().epoch_at(timestamp_of_seconds(began));
        let (weight, total_weight) = (self.weight(validator, epoch), self.total_weight(epoch));
        if weight == Amount::ZERO {
            return refuse("NoVotingWeight");
        }
        let ballot = self.ballots.entry(ballot).or_default();
        if !ballot.voted.insert(validator) {
            return refuse("AlreadyVoted");
        }
        ballot.votes = ballot.votes.saturating_add(weight);
        ballot.passed = ballot.votes.saturating_mul(3) > total_weight.saturating_mul(2);
        Ok((ballot.votes, total_weight, ballot.passed))
    }
}
