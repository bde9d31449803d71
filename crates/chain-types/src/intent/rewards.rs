//! Calls of the budgets and earnings.

use lode_protocol::amount::Amount;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{Address, PoolId};
use lode_protocol::keys::EthereumSignature;
use lode_protocol::settlement::Receipt;
use minicbor::{Decode, Encode};

use super::{ClaimItem, Permit, ProvenEarnings};
use crate::epoch::Epoch;

/// Calls of the budgets and earnings.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum RewardsCall {
    /// Anybody adds to a pool's budget, in its reward token. Without a permit an allowance must stand; permits work
    /// where the reward token is the deployment's own.
    #[n(42)]
    FundPool {
        /// The pool.
        #[n(0)]
        pool: PoolId,
        /// How much.
        #[n(1)]
        amount: Amount,
        /// Permit for `Rewards`.
        #[n(2)]
        permit: Option<Permit>,
    },
    /// The owner says how much one epoch may promise.
    #[n(43)]
    SetSpendCap {
        /// The pool.
        #[n(0)]
        pool: PoolId,
        /// How much; zero promises nothing.
        #[n(1)]
        cap: Amount,
    },
    /// The owner asks for budget back that is not promised. A further request replaces the one under way.
    #[n(44)]
    RequestBudgetWithdrawal {
        /// The pool.
        #[n(0)]
        pool: PoolId,
        /// How much.
        #[n(1)]
        amount: Amount,
    },
    /// The owner takes the budget that it asked for, once the delay is over.
    #[n(45)]
    WithdrawBudget {
        /// The pool.
        #[n(0)]
        pool: PoolId,
        /// Who gets it.
        #[n(1)]
        to: Address,
    },
    /// The orchestrator posts an epoch's root of earnings.
    #[n(46)]
    PostRoot {
        /// The pool.
        #[n(0)]
        pool: PoolId,
        /// The epoch: over, and later than the latest one posted.
        #[n(1)]
        epoch: Epoch,
        /// Hash of the tree's top.
        #[n(2)]
        root: Digest,
        /// Sum of all leaves.
        #[n(3)]
        total: Amount,
        /// Height of the tree.
        #[n(4)]
        depth: u8,
        /// Epoch of the validators' root under which the work's nodes are proven.
        #[n(5)]
        proven_epoch: Epoch,
    },
    /// A validator asks for a pending root to be dropped.
    #[n(47)]
    VetoRoot {
        /// The pool.
        #[n(0)]
        pool: PoolId,
        /// The root's epoch.
        #[n(1)]
        epoch: Epoch,
        /// Digest of why.
        #[n(2)]
        evidence: Digest,
    },
    /// Anybody shows that the pending root gives the payee at a place less than the latest final one did.
    #[n(48)]
    RefuteRoot {
        /// The pool.
        #[n(0)]
        pool: PoolId,
        /// The payee's place.
        #[n(1)]
        index: u64,
        /// What the final root says at that place.
        #[n(2)]
        proven: ProvenEarnings,
        /// What the pending root says at that place; of no account when its tree has no such place.
        #[n(3)]
        other: ProvenEarnings,
    },
    /// Anybody has a payee paid.
    #[n(49)]
    Claim(#[n(0)] ClaimItem),
    /// Anybody has payees paid; an item that is refused is reported by `ClaimFailed`.
    #[n(50)]
    ClaimBatch(#[n(0)] Vec<ClaimItem>),
    /// Anybody submits a receipt that no root has paid.
    #[n(51)]
    Redeem {
        /// The receipt.
        #[n(0)]
        receipt: Receipt,
        /// Of the pool's orchestrator key.
        #[n(1)]
        orchestrator_signature: EthereumSignature,
        /// Of the node's key.
        #[n(2)]
        node_signature: EthereumSignature,
    },
    /// A validator asks for a pending redemption to be dropped.
    #[n(52)]
    VetoRedemption {
        /// The pool.
        #[n(0)]
        pool: PoolId,
        /// Who would be paid.
        #[n(1)]
        payee: Address,
        /// Digest of why.
        #[n(2)]
        evidence: Digest,
    },
    /// Anybody has a redemption paid whose veto window is over.
    #[n(53)]
    SettleRedemption {
        /// The pool.
        #[n(0)]
        pool: PoolId,
        /// Who is paid.
        #[n(1)]
        payee: Address,
    },
}
