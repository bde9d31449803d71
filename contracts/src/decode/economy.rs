//! Logs of `Slashing` and `Rewards`.

use lode_protocol::ids::{AccusationId, PoolId};

use super::{OPERATION, node, provider, time, validator};
use crate::Epoch;
use crate::Offence;
use crate::abi::Rewards::RewardsEvents as Rewards;
use crate::abi::Slashing::{Offence as OnChain, SlashingEvents as Slashing};
use crate::convert::{amount, from_address, from_word};
use crate::error::ChainError;
use crate::revert::refusal_of_selector;
use crate::{ChainEvent, RewardsEvent, SlashingEvent};

/// An offence as the contract names it.
pub(crate) fn offence(operation: &'static str, offence: OnChain) -> Result<Offence, ChainError> {
    match offence {
        OnChain::ForgedProof => Ok(Offence::ForgedProof),
        OnChain::ForgedReceipt => Ok(Offence::ForgedReceipt),
        OnChain::ForeignHardware => Ok(Offence::ForeignHardware),
        OnChain::None | OnChain::__Invalid => {
            let detail = "an accusation is about something that this version does not know".to_owned();
            Err(ChainError::Malformed { operation, detail })
        }
    }
}

pub(super) fn slashing(event: Slashing) -> Result<ChainEvent, ChainError> {
    Ok(match event {
        Slashing::Accused(e) => ChainEvent::Slashing(SlashingEvent::Accused {
            id: AccusationId(e.accusationId),
            provider: provider(e.provider),
            node: node(e.node),
            accuser: from_address(e.accuser),
            offence: offence(OPERATION, e.offence)?,
            amount: amount(OPERATION, e.amount)?,
            bond: amount(OPERATION, e.bond)?,
            epoch: Epoch(e.epoch),
            evidence: from_word(e.evidenceHash),
            uri: e.evidenceUri,
        }),
        Slashing::Answered(e) => ChainEvent::Slashing(SlashingEvent::Answered {
            id: AccusationId(e.accusationId),
            provider: provider(e.provider),
            answer: from_word(e.answerHash),
            uri: e.answerUri,
        }),
        Slashing::Voted(e) => ChainEvent::Slashing(SlashingEvent::Voted {
            id: AccusationId(e.accusationId),
            validator: validator(e.validator),
            guilty: e.guilty,
            weight: amount(OPERATION, e.weight)?,
        }),
        Slashing::FoundGuilty(e) => ChainEvent::Slashing(SlashingEvent::FoundGuilty {
            id: AccusationId(e.accusationId),
            provider: provider(e.provider),
            slashed: amount(OPERATION, e.slashed)?,
            fee: amount(OPERATION, e.fee)?,
            to_treasury: amount(OPERATION, e.toTreasury)?,
        }),
        Slashing::Acquitted(e) => ChainEvent::Slashing(SlashingEvent::Acquitted {
            id: AccusationId(e.accusationId),
            provider: provider(e.provider),
            bond: amount(OPERATION, e.bond)?,
        }),
        Slashing::PaymentOwed(e) => ChainEvent::Slashing(SlashingEvent::PaymentOwed {
            to: from_address(e.to),
            amount: amount(OPERATION, e.amount)?,
            owed: amount(OPERATION, e.owed)?,
        }),
        Slashing::Collected(e) => ChainEvent::Slashing(SlashingEvent::Collected {
            to: from_address(e.to),
            amount: amount(OPERATION, e.amount)?,
        }),
    })
}

pub(super) fn rewards(event: Rewards) -> Result<ChainEvent, ChainError> {
    Ok(match event {
        Rewards::Funded(e) => ChainEvent::Rewards(RewardsEvent::Funded {
            pool: PoolId(e.poolId),
            from: from_address(e.from),
            amount: amount(OPERATION, e.amount)?,
            free: amount(OPERATION, e.free)?,
        }),
        Rewards::SpendCapChanged(e) => ChainEvent::Rewards(RewardsEvent::SpendCapChanged {
            pool: PoolId(e.poolId),
            cap: amount(OPERATION, e.spendCap)?,
        }),
        Rewards::WithdrawalRequested(e) => ChainEvent::Rewards(RewardsEvent::WithdrawalRequested {
            pool: PoolId(e.poolId),
            amount: amount(OPERATION, e.amount)?,
            withdrawable_at: time(e.withdrawableAt),
        }),
        Rewards::BudgetWithdrawn(e) => ChainEvent::Rewards(RewardsEvent::BudgetWithdrawn {
            pool: PoolId(e.poolId),
            to: from_address(e.to),
            amount: amount(OPERATION, e.amount)?,
            free: amount(OPERATION, e.free)?,
        }),
        Rewards::RootPosted(e) => ChainEvent::Rewards(RewardsEvent::RootPosted {
            pool: PoolId(e.poolId),
            epoch: Epoch(e.epoch),
            root: from_word(e.root),
            total: amount(OPERATION, e.total)?,
            increase: amount(OPERATION, e.increase)?,
            depth: e.depth,
            proven_epoch: Epoch(e.provenEpoch),
            final_at: time(e.finalAt),
        }),
        Rewards::VetoCast(e) => ChainEvent::Rewards(RewardsEvent::VetoCast {
            pool: PoolId(e.poolId),
            epoch: Epoch(e.epoch),
            validator: validator(e.validator),
            evidence: from_word(e.evidenceHash),
            votes: amount(OPERATION, e.votes)?,
            total_weight: amount(OPERATION, e.totalWeight)?,
        }),
        Rewards::RootVetoed(e) => ChainEvent::Rewards(RewardsEvent::RootVetoed {
            pool: PoolId(e.poolId),
            epoch: Epoch(e.epoch),
            root: from_word(e.root),
            released: amount(OPERATION, e.released)?,
        }),
        Rewards::RootRefuted(e) => ChainEvent::Rewards(RewardsEvent::RootRefuted {
            pool: PoolId(e.poolId),
            epoch: Epoch(e.epoch),
            index: e.index,
            payee: from_address(e.payee),
        }),
        Rewards::Claimed(e) => ChainEvent::Rewards(RewardsEvent::Claimed {
            pool: PoolId(e.poolId),
            epoch: Epoch(e.epoch),
            payee: from_address(e.payee),
            amount: amount(OPERATION, e.amount)?,
            cumulative: amount(OPERATION, e.cumulative)?,
        }),
        Rewards::ClaimFailed(e) => ChainEvent::Rewards(RewardsEvent::ClaimFailed {
            pool: PoolId(e.poolId),
            epoch: Epoch(e.epoch),
            payee: from_address(e.payee),
            reason: refusal_of_selector(e.reason.0),
        }),
        Rewards::RedemptionRequested(e) => ChainEvent::Rewards(RewardsEvent::RedemptionRequested {
            pool: PoolId(e.poolId),
            payee: from_address(e.payee),
            node: node(e.node),
            epoch: Epoch(e.epoch),
            cumulative: amount(OPERATION, e.cumulative)?,
            amount: amount(OPERATION, e.amount)?,
            payable_at: time(e.payableAt),
        }),
        Rewards::RedemptionVetoCast(e) => ChainEvent::Rewards(RewardsEvent::RedemptionVetoCast {
            pool: PoolId(e.poolId),
            payee: from_address(e.payee),
            validator: validator(e.validator),
            evidence: from_word(e.evidenceHash),
            votes: amount(OPERATION, e.votes)?,
            total_weight: amount(OPERATION, e.totalWeight)?,
        }),
        Rewards::RedemptionVetoed(e) => ChainEvent::Rewards(RewardsEvent::RedemptionVetoed {
            pool: PoolId(e.poolId),
            payee: from_address(e.payee),
            released: amount(OPERATION, e.released)?,
        }),
        Rewards::Redeemed(e) => ChainEvent::Rewards(RewardsEvent::Redeemed {
            pool: PoolId(e.poolId),
            payee: from_address(e.payee),
            amount: amount(OPERATION, e.amount)?,
            cumulative: amount(OPERATION, e.cumulative)?,
        }),
    })
}
