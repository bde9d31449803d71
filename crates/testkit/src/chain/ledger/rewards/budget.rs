//! What `Rewards` stores, and how money moves between free, promised and paid.

use std::collections::BTreeSet;

use lode_contracts::{Amount, Epoch, ProvenEarnings, Revert, RootState, verify_earnings_path};
use lode_protocol::hash::Digest;
use lode_protocol::ids::{PoolId, ValidatorId};

use super::refuse;

const MAX_CAPPED_EPOCHS: u64 = 48;
/// Use of the cap is counted in this fraction of an epoch, rounded up.
pub(super) const PARTS_PER_EPOCH: u64 = 1 << 24;

#[derive(Clone, Copy, Default, Debug)]
pub(in crate::chain) struct Budget {
    pub(in crate::chain) free: Amount,
    pub(in crate::chain) promised: Amount,
    pub(in crate::chain) redeeming: Amount,
    pub(in crate::chain) posted: Amount,
    pub(in crate::chain) paid: Amount,
    pub(in crate::chain) spend_cap: Amount,
    pub(in crate::chain) withdrawing: Amount,
    pub(in crate::chain) withdrawable_at: u64,
    /// In parts of an epoch; zero before a cap is set.
    pub(super) capped_through: u64,
    pub(super) latest_epoch: u64,
    pub(super) latest_final_at: u64,
    pub(super) preceding_epoch: u64,
}

impl Budget {
    pub(in crate::chain) fn capped_through(&self) -> Epoch {
        Epoch(self.capped_through.div_ceil(PARTS_PER_EPOCH))
    }

    /// Epochs of the latest final and of the pending root; zero for none.
    pub(in crate::chain) fn epochs(&self, now: u64) -> (Epoch, Epoch) {
        if now < self.latest_final_at {
            (Epoch(self.preceding_epoch), Epoch(self.latest_epoch))
        } else {
            (Epoch(self.latest_epoch), Epoch(0))
        }
    }

    /// What the cap allows up to an epoch, and from where its use is counted.
    pub(super) fn allowance(&self, epoch: u64) -> (Amount, u64) {
        let end = epoch.saturating_mul(PARTS_PER_EPOCH);
        let from = self.capped_through.max(end.saturating_sub(MAX_CAPPED_EPOCHS * PARTS_PER_EPOCH));
        let parts = u128::from(end.saturating_sub(from));
        let allowed = self.spend_cap.0.saturating_mul(parts) / u128::from(PARTS_PER_EPOCH);
        (Amount(allowed), from)
    }

    /// Takes an amount from what is free and from the cap. Tells what it used of the cap.
    pub(super) fn promise(&mut self, epoch: u64, amount: Amount) -> Result<u64, Revert> {
        let Some(free) = self.free.checked_sub(amount) else { return refuse("InsufficientBudget") };
        let (allowed, from) = self.allowance(epoch);
        if amount > allowed {
            return refuse("SpendCapExceeded");
        }
        if amount == Amount::ZERO {
            return Ok(0);
        }
        let parts = amount.0.saturating_mul(PARTS_PER_EPOCH.into()).div_ceil(self.spend_cap.0);
        let parts = u64::try_from(parts).expect("at most as many parts as the capped epochs have");
        self.capped_through = from + parts;
        self.free = free;
        Ok(parts)
    }

    pub(super) fn unpromise(&mut self, amount: Amount, parts: u64) {
        self.free = self.free.saturating_add(amount);
        self.capped_through = self.capped_through.saturating_sub(parts);
    }

    /// What an amount uses of today's cap, rounded down.
    pub(super) fn parts_of(&self, amount: Amount) -> u64 {
        let parts = amount.0.saturating_mul(PARTS_PER_EPOCH.into()).checked_div(self.spend_cap.0);
        u64::try_from(parts.unwrap_or_default()).unwrap_or(u64::MAX)
    }

    /// Unlocks a redemption's money: `due` is to be paid, the rest is free again.
    pub(super) fn release(&mut self, redemption: &Redemption, due: Amount) {
        let rest = minus(redemption.amount, due);
        self.redeeming = minus(self.redeeming, redemption.amount);
        if rest != Amount::ZERO {
            let parts = u128::from(redemption.cap_parts).saturating_mul(rest.0) / redemption.amount.0;
            self.unpromise(rest, u64::try_from(parts).unwrap_or(u64::MAX));
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(in crate::chain) struct PostedRoot {
    pub(in crate::chain) root: Digest,
    pub(in crate::chain) total: Amount,
    pub(in crate::chain) depth: u8,
    pub(in crate::chain) final_at: u64,
    pub(super) cap_parts: u64,
    pub(super) attempt: u64,
    pub(super) vetoed: bool,
}

impl PostedRoot {
    pub(in crate::chain) fn state(&self, now: u64) -> RootState {
        if self.vetoed {
            RootState::Vetoed
        } else if now < self.final_at {
            RootState::Pending
        } else {
            RootState::Final
        }
    }

    pub(super) fn holds(&self, index: u64, proven: &ProvenEarnings) -> bool {
        proven.path.len() == usize::from(self.depth)
            && verify_earnings_path(self.root, self.total, index, &proven.leaf, &proven.path)
    }
}

#[derive(Clone, Copy, Debug)]
pub(in crate::chain) struct Redemption {
    pub(in crate::chain) cumulative: Amount,
    pub(in crate::chain) amount: Amount,
    pub(in crate::chain) payable_at: u64,
    pub(super) digest: Digest,
    pub(super) cap_parts: u64,
}

/// What is voted about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(in crate::chain) enum BallotId {
    Root { pool: PoolId, epoch: Epoch, attempt: u64 },
    Receipt(Digest),
}

#[derive(Clone, Default, Debug)]
pub(in crate::chain) struct Ballot {
    pub(super) votes: Amount,
    pub(super) passed: bool,
    pub(super) voted: BTreeSet<ValidatorId>,
}

/// A difference that the rules keep from being negative; a contract would panic.
pub(super) fn minus(larger: Amount, smaller: Amount) -> Amount {
    larger.checked_sub(smaller).expect("the ledger never takes more than there is")
}
