//! What pools owe.

use lode_protocol::amount::Amount;
use lode_protocol::hash::Digest;
use lode_protocol::units::Timestamp;
use serde::{Deserialize, Serialize};

use crate::epoch::Epoch;

/// A pool's money, in its reward token.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize)]
pub struct BudgetRecord {
    /// Funded and not promised.
    pub free: Amount,
    /// Promised by roots and redemptions, not paid yet.
    pub locked: Amount,
    /// Total of the latest root that was not vetoed, pending or final.
    pub posted: Amount,
    /// Everything that was ever paid to payees.
    pub paid: Amount,
    /// Most that one epoch may promise; zero promises nothing.
    pub spend_cap: Amount,
    /// Up to which epoch the cap is used up.
    pub capped_through: Epoch,
    /// Epoch of the latest finalised root.
    pub final_epoch: Option<Epoch>,
    /// Epoch of the root in its veto window.
    pub pending_epoch: Option<Epoch>,
    /// What the owner asked back.
    pub withdrawing: Amount,
    /// From when it can have it; `None` while it has not asked.
    pub withdrawable_at: Option<Timestamp>,
}

/// Where a posted root is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RootState {
    /// Can be vetoed.
    Pending,
    /// Can be claimed under, for good.
    Final,
    /// Void.
    Vetoed,
}

/// A posted root of earnings.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct RootRecord {
    /// Hash of the tree's top.
    pub root: Digest,
    /// Sum of all leaves.
    pub total: Amount,
    /// Height of the tree.
    pub depth: u8,
    /// From when it can be claimed under.
    pub final_at: Timestamp,
    /// Where it is in its life.
    pub state: RootState,
}

/// What a payee has had from a pool.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize)]
pub struct EarningsRecord {
    /// Everything paid.
    pub paid: Amount,
    /// The part of it that was redeemed and that no claimed root has covered yet.
    pub ahead: Amount,
}

/// A receipt on its way to be paid.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct RedemptionRecord {
    /// What the receipt says.
    pub cumulative: Amount,
    /// What is held for it.
    pub amount: Amount,
    /// From when it is paid.
    pub payable_at: Timestamp,
}

/// How fast pools settle, fixed when the contract was deployed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettlementParameters {
    /// Seconds after an epoch's end in which its root can be posted.
    pub posting_seconds: u64,
    /// Seconds in which a root or redemption can be vetoed.
    pub veto_seconds: u64,
    /// Seconds between an owner's request for budget and its withdrawal.
    pub withdrawal_seconds: u64,
    /// Most epochs that the validators' root may be older than the epoch whose work it vouches for.
    pub max_proven_age_epochs: u64,
}
