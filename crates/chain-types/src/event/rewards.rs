//! Events of the budgets and earnings.

use lode_protocol::amount::Amount;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{Address, NodeId, PoolId, ValidatorId};
use lode_protocol::units::Timestamp;

use crate::epoch::Epoch;
use crate::refusal::Refusal;

/// Events of the budgets and earnings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RewardsEvent {
    /// A pool's budget grew.
    Funded {
        /// The pool.
        pool: PoolId,
        /// Who paid.
        from: Address,
        /// How much.
        amount: Amount,
        /// What is not promised now.
        free: Amount,
    },
    /// An epoch of a pool may promise another amount.
    SpendCapChanged {
        /// The pool.
        pool: PoolId,
        /// How much.
        cap: Amount,
    },
    /// A pool's owner asks for budget back.
    WithdrawalRequested {
        /// The pool.
        pool: PoolId,
        /// How much.
        amount: Amount,
        /// From when it can have it.
        withdrawable_at: Timestamp,
    },
    /// A pool's owner took budget back.
    BudgetWithdrawn {
        /// The pool.
        pool: PoolId,
        /// To whom it went.
        to: Address,
        /// How much.
        amount: Amount,
        /// What is not promised now.
        free: Amount,
    },
    /// A root of earnings stands and can be vetoed.
    RootPosted {
        /// The pool.
        pool: PoolId,
        /// The epoch.
        epoch: Epoch,
        /// The root.
        root: Digest,
        /// Sum of all leaves.
        total: Amount,
        /// What it promises beyond the root before.
        increase: Amount,
        /// Height of the tree.
        depth: u8,
        /// Epoch of the validators' root under which the work's nodes are proven.
        proven_epoch: Epoch,
        /// From when it can be claimed under.
        final_at: Timestamp,
    },
    /// A validator asks for a root to be dropped.
    VetoCast {
        /// The pool.
        pool: PoolId,
        /// The root's epoch.
        epoch: Epoch,
        /// Who asks.
        validator: ValidatorId,
        /// Digest of why.
        evidence: Digest,
        /// Weight of all who ask.
        votes: Amount,
        /// What all votes weigh.
        total_weight: Amount,
    },
    /// A root is void.
    RootVetoed {
        /// The pool.
        pool: PoolId,
        /// The root's epoch.
        epoch: Epoch,
        /// The root.
        root: Digest,
        /// What is not promised any more.
        released: Amount,
    },
    /// A root took something away from a payee: it is void.
    RootRefuted {
        /// The pool.
        pool: PoolId,
        /// The root's epoch.
        epoch: Epoch,
        /// The payee's place in the tree.
        index: u64,
        /// The payee.
        payee: Address,
    },
    /// A payee was paid.
    Claimed {
        /// The pool.
        pool: PoolId,
        /// Epoch of the root.
        epoch: Epoch,
        /// Who was paid.
        payee: Address,
        /// How much.
        amount: Amount,
        /// What the leaf says.
        cumulative: Amount,
    },
    /// An item of `ClaimBatch` was refused.
    ClaimFailed {
        /// The pool named in the item.
        pool: PoolId,
        /// The epoch named in the item.
        epoch: Epoch,
        /// The payee named in the item.
        payee: Address,
        /// Why.
        reason: Refusal,
    },
    /// A receipt that was left out is on its way to be paid.
    RedemptionRequested {
        /// The pool.
        pool: PoolId,
        /// Who will be paid.
        payee: Address,
        /// Which node did the work.
        node: NodeId,
        /// When.
        epoch: Epoch,
        /// What the receipt says.
        cumulative: Amount,
        /// What is held for it.
        amount: Amount,
        /// From when it is paid.
        payable_at: Timestamp,
    },
    /// A validator asks for a redemption to be dropped.
    RedemptionVetoCast {
        /// The pool.
        pool: PoolId,
        /// Who would be paid.
        payee: Address,
        /// Who asks.
        validator: ValidatorId,
        /// Digest of why.
        evidence: Digest,
        /// Weight of all who ask.
        votes: Amount,
        /// What all votes weigh.
        total_weight: Amount,
    },
    /// A redemption is void.
    RedemptionVetoed {
        /// The pool.
        pool: PoolId,
        /// Who is not paid.
        payee: Address,
        /// What is not promised any more.
        released: Amount,
    },
    /// A redemption was paid.
    Redeemed {
        /// The pool.
        pool: PoolId,
        /// Who was paid.
        payee: Address,
        /// How much.
        amount: Amount,
        /// What the receipt says.
        cumulative: Amount,
    },
}
