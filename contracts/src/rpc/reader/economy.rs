//! Reads `Slashing` and `Rewards`.

use alloy::primitives::{Address as AlloyAddress, B256};
use lode_protocol::amount::Amount;
use lode_protocol::ids::{AccusationId, Address, NodeId, PoolId, ProviderId};
use lode_protocol::units::Timestamp;

use super::RpcChain;
use crate::Epoch;
use crate::abi::{Rewards, Slashing};
use crate::convert::{amount, amount_saturating, from_address, from_word, number, to_address};
use crate::decode::offence;
use crate::error::ChainError;
use crate::timestamp_of_seconds;
use crate::{
    AccusationPhase, AccusationRecord, BudgetRecord, EarningsRecord, RedemptionRecord, RootRecord, RootState,
    SettlementParameters, SlashingParameters,
};

impl RpcChain {
    fn slashing(&self) -> AlloyAddress {
        to_address(self.deployment.slashing)
    }

    fn rewards(&self) -> AlloyAddress {
        to_address(self.deployment.rewards)
    }

    pub(super) async fn read_slashing_terms(&self) -> Result<SlashingParameters, ChainError> {
        let operation = "read the terms of slashing";
        let terms = self.verified().await?.call(operation, self.slashing(), Slashing::termsCall {}).await?;
        Ok(SlashingParameters {
            min_bond: Amount(terms.minBond),
            bond_basis_points: terms.bondBasisPoints,
            max_slash_basis_points: terms.maxSlashBasisPoints,
            fee_basis_points: terms.feeBasisPoints,
            max_fee: Amount(terms.maxFee),
            detection_seconds: terms.detectionSeconds,
            evidence_seconds: terms.evidenceSeconds,
            answer_seconds: terms.answerSeconds,
            vote_seconds: terms.voteSeconds,
            execution_seconds: terms.executionSeconds,
        })
    }

    pub(super) async fn count_accusations(&self) -> Result<u64, ChainError> {
        let call = Slashing::accusationCountCall {};
        self.verified().await?.call("count accusations", self.slashing(), call).await
    }

    pub(super) async fn read_accusations(
        &self,
        ids: &[AccusationId],
    ) -> Result<Vec<Option<AccusationRecord>>, ChainError> {
        let operation = "read accusations";
        let count = self.count_accusations().await?;
        let opened = |id: &AccusationId| (1..=count).contains(&id.0);
        let known: Vec<AccusationId> = ids.iter().copied().filter(opened).collect();
        let calls = known.iter().map(|id| Slashing::accusationOfCall { accusationId: id.0 });
        let answers = self.verified().await?.calls(operation, self.slashing(), calls).await?;
        let mut found = known.iter().zip(answers);
        let mut records = Vec::with_capacity(ids.len());
        for id in ids {
            let answer = if opened(id) { found.next() } else { None };
            records.push(match answer {
                Some((id, record)) => Some(accusation(operation, *id, &record)?),
                None => None,
            });
        }
        Ok(records)
    }

    pub(super) async fn read_open_accusation(
        &self,
        provider: ProviderId,
        node: NodeId,
    ) -> Result<Option<AccusationId>, ChainError> {
        let call =
            Slashing::openAccusationCall { provider: to_address(provider.0), node: to_address(node.0) };
        let id = self.verified().await?.call("look for an accusation", self.slashing(), call).await?;
        Ok((id != 0).then_some(AccusationId(id)))
    }

    pub(super) async fn read_owed(&self, account: Address) -> Result<Amount, ChainError> {
        let operation = "read what is owed";
        let call = Slashing::owedToCall { to: to_address(account) };
        amount(operation, self.verified().await?.call(operation, self.slashing(), call).await?)
    }

    pub(super) async fn read_bond_for(&self, accused: Amount) -> Result<Amount, ChainError> {
        let operation = "read an accuser's bond";
        let call = Slashing::bondForCall { amount: accused.0 };
        amount(operation, self.verified().await?.call(operation, self.slashing(), call).await?)
    }

    pub(super) async fn read_max_slash(&self, provider: ProviderId) -> Result<Amount, ChainError> {
        let operation = "read what an accusation can hold";
        let call = Slashing::maxSlashCall { provider: to_address(provider.0) };
        amount(operation, self.verified().await?.call(operation, self.slashing(), call).await?)
    }

    pub(super) async fn read_settlement_terms(&self) -> Result<SettlementParameters, ChainError> {
        let operation = "read the terms of settlement";
        let (transport, rewards) = (self.verified().await?, self.rewards());
        let posting = transport.call(operation, rewards, Rewards::postingSecondsCall {}).await?;
        let veto = transport.call(operation, rewards, Rewards::vetoSecondsCall {}).await?;
        let withdrawal = transport.call(operation, rewards, Rewards::withdrawalDelayCall {}).await?;
        let age = transport.call(operation, rewards, Rewards::maxProvenAgeEpochsCall {}).await?;
        Ok(SettlementParameters {
            posting_seconds: number(operation, posting)?,
            veto_seconds: number(operation, veto)?,
            withdrawal_seconds: number(operation, withdrawal)?,
            max_proven_age_epochs: number(operation, age)?,
        })
    }

    pub(super) async fn read_budget(&self, pool: PoolId) -> Result<BudgetRecord, ChainError> {
        let call = Rewards::budgetOfCall { poolId: pool.0 };
        let budget = self.verified().await?.call("read a budget", self.rewards(), call).await?;
        Ok(BudgetRecord {
            free: Amount(budget.free),
            locked: Amount(budget.locked),
            posted: Amount(budget.posted),
            paid: Amount(budget.paid),
            spend_cap: Amount(budget.spendCap),
            capped_through: Epoch(budget.cappedThrough),
            final_epoch: some_epoch(budget.finalEpoch),
            pending_epoch: some_epoch(budget.pendingEpoch),
            withdrawing: Amount(budget.withdrawing),
            withdrawable_at: some_time(budget.withdrawableAt),
        })
    }

    pub(super) async fn read_spendable(&self, pool: PoolId, epoch: Epoch) -> Result<Amount, ChainError> {
        let operation = "read what may be promised";
        let call = Rewards::spendableCall { poolId: pool.0, epoch: epoch.0 };
        // A cap may allow more than there is money.
        Ok(amount_saturating(self.verified().await?.call(operation, self.rewards(), call).await?))
    }

    pub(super) async fn read_posted_root(
        &self,
        pool: PoolId,
        epoch: Epoch,
    ) -> Result<Option<RootRecord>, ChainError> {
        let operation = "read a posted root";
        let call = Rewards::rootOfCall { poolId: pool.0, epoch: epoch.0 };
        let root = self.verified().await?.call(operation, self.rewards(), call).await?;
        let state = match root.state {
            Rewards::RootState::None => return Ok(None),
            Rewards::RootState::Pending => RootState::Pending,
            Rewards::RootState::Final => RootState::Final,
            Rewards::RootState::Vetoed => RootState::Vetoed,
            Rewards::RootState::__Invalid => return Err(strange(operation)),
        };
        Ok(Some(RootRecord {
            root: from_word(root.root),
            total: Amount(root.total),
            depth: root.depth,
            final_at: timestamp_of_seconds(root.finalAt),
            state,
        }))
    }

    pub(super) async fn read_earnings(
        &self,
        pool: PoolId,
        payees: &[Address],
    ) -> Result<Vec<EarningsRecord>, ChainError> {
        let calls =
            payees.iter().map(|payee| Rewards::earningsOfCall { poolId: pool.0, payee: to_address(*payee) });
        let answers = self.verified().await?.calls("read what was paid", self.rewards(), calls).await?;
        Ok(answers
            .into_iter()
            .map(|earnings| EarningsRecord { paid: Amount(earnings.paid), ahead: Amount(earnings.ahead) })
            .collect())
    }

    pub(super) async fn read_redemption(
        &self,
        pool: PoolId,
        payee: Address,
    ) -> Result<Option<RedemptionRecord>, ChainError> {
        let call = Rewards::redemptionOfCall { poolId: pool.0, payee: to_address(payee) };
        let redemption = self.verified().await?.call("read a redemption", self.rewards(), call).await?;
        Ok(some_time(redemption.payableAt).map(|payable_at| RedemptionRecord {
            cumulative: Amount(redemption.cumulative),
            amount: Amount(redemption.amount),
            payable_at,
        }))
    }
}

fn some_epoch(epoch: u64) -> Option<Epoch> {
    (epoch != 0).then_some(Epoch(epoch))
}

fn some_time(seconds: u64) -> Option<Timestamp> {
    (seconds != 0).then(|| timestamp_of_seconds(seconds))
}

fn strange(operation: &'static str) -> ChainError {
    let detail = "it is in a state that this version does not know".to_owned();
    ChainError::Malformed { operation, detail }
}

fn accusation(
    operation: &'static str,
    id: AccusationId,
    record: &Slashing::Accusation,
) -> Result<AccusationRecord, ChainError> {
    let phase = match record.phase {
        Slashing::Phase::Evidence => AccusationPhase::Evidence,
        Slashing::Phase::Answer => AccusationPhase::Answer,
        Slashing::Phase::Vote => AccusationPhase::Vote,
        Slashing::Phase::Decided => AccusationPhase::Decided,
        Slashing::Phase::Guilty => AccusationPhase::Guilty,
        Slashing::Phase::Acquitted => AccusationPhase::Acquitted,
        Slashing::Phase::None | Slashing::Phase::__Invalid => return Err(strange(operation)),
    };
    Ok(AccusationRecord {
        id,
        accuser: from_address(record.accuser),
        provider: ProviderId(from_address(record.provider)),
        node: NodeId(from_address(record.node)),
        offence: offence(operation, record.offence)?,
        phase,
        amount: Amount(record.amount),
        bond: Amount(record.bond),
        opened_at: timestamp_of_seconds(record.openedAt),
        epoch: Epoch(record.epoch),
        guilty_weight: amount(operation, record.guiltyWeight)?,
        innocent_weight: amount(operation, record.innocentWeight)?,
        evidence: from_word(record.evidenceHash),
        answer: (record.answerHash != B256::ZERO).then(|| from_word(record.answerHash)),
    })
}
