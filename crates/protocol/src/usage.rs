//! What work was done, and how both sides agree on it.
//!
//! The orchestrator meters acknowledged beats: the time between two of them in which an assignment ran at both ends.
//! Every answer tells the reading, so that both sides count into the same epoch. When an epoch is over, a
//! [`UsageStatement`] says what a node did for one payee; the [`Receipt`] names its digest and what it earned. The worker
//! checks it against its own record and answers with its signature, or says why not.

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::amount::Amount;
use crate::envelope::encode;
use crate::error_code::ErrorCode;
use crate::hash::{Digest, keccak256};
use crate::ids::{Address, Epoch, NodeId, PoolId};
use crate::keys::EthereumSignature;
use crate::proof::ProofClassId;
use crate::settlement::Receipt;

/// Milliseconds of an hour: prices are per GPU and hour, usage is in GPU-milliseconds.
pub const MILLIS_PER_HOUR: u128 = 3_600_000;

/// Work of one class at one price, under one order.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Encode, Decode, Serialize, Deserialize, ToSchema,
)]
pub struct UsageLine {
    /// Hardware class that the node had proven.
    #[n(0)]
    pub class: ProofClassId,
    /// Digest of the tenant's order that it was done under ([`crate::settlement::SpendAuthorization`]); `None`: at the pool's
    /// price.
    #[n(1)]
    pub order: Option<Digest>,
    /// What one GPU costs for one hour.
    #[n(2)]
    pub price_per_gpu_hour: Amount,
    /// GPUs times milliseconds.
    #[n(3)]
    pub gpu_millis: u64,
}

impl UsageLine {
    /// What the line earned, rounded down; `None` where it does not fit.
    pub fn amount(&self) -> Option<Amount> {
        let product = self.price_per_gpu_hour.0.checked_mul(self.gpu_millis.into())?;
        Some(Amount(product / MILLIS_PER_HOUR))
    }
}

/// What one node did for one payee in one epoch. Its digest is the receipt's `usage`.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, Serialize, Deserialize, ToSchema)]
pub struct UsageStatement {
    /// The pool.
    #[n(0)]
    pub pool: PoolId,
    /// When the work was acknowledged.
    #[n(1)]
    pub epoch: Epoch,
    /// Which node did it.
    #[n(2)]
    pub node: NodeId,
    /// The node's provider when it was done.
    #[n(3)]
    pub payee: Address,
    /// The work, sorted; no two lines of the same class, order and price.
    #[n(4)]
    pub lines: Vec<UsageLine>,
}

impl UsageStatement {
    /// Most lines. Work beyond is put together with work at the same price without an order.
    pub const MAX_LINES: usize = 1_024;

    /// keccak-256 of its CBOR.
    pub fn digest(&self) -> Digest {
        keccak256(&encode(self))
    }

    /// What it earned: the sum of its lines; `None` where that does not fit.
    pub fn amount(&self) -> Option<Amount> {
        self.lines
            .iter()
            .try_fold(Amount::ZERO, |sum, line| Some(Amount(sum.0.checked_add(line.amount()?.0)?)))
    }

    /// All work in it, in GPU-milliseconds.
    pub fn gpu_millis(&self) -> u64 {
        self.lines.iter().fold(0, |sum, line| sum.saturating_add(line.gpu_millis))
    }

    /// Whether a receipt is of this statement.
    pub fn is_of(&self, receipt: &Receipt) -> bool {
        self.pool == receipt.pool
            && self.epoch == receipt.epoch
            && self.node == receipt.node
            && self.payee == receipt.payee
            && self.digest() == receipt.usage
            && self.amount() == Some(receipt.amount)
    }
}

/// What a node's meter shows. Told with every answer to a beat in a pool that pays.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, Serialize, Deserialize)]
pub struct MeterReading {
    /// The epoch that is being counted.
    #[n(0)]
    pub epoch: Epoch,
    /// GPU-milliseconds that were counted in it.
    #[n(1)]
    pub gpu_millis: u64,
    /// What they earned so far.
    #[n(2)]
    pub earned: Amount,
    /// Whether the beat that is answered ends a time that counts, and begins one: the node is proven, its provider is
    /// known, and no second process uses its key.
    #[n(3)]
    pub counts: bool,
}

/// A receipt for the node to sign; the orchestrator's signature is on it already.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, Serialize, Deserialize)]
pub struct OfferedReceipt {
    /// The receipt.
    #[n(0)]
    pub receipt: Receipt,
    /// The usage that it pays.
    #[n(1)]
    pub usage: UsageStatement,
    /// EIP-712 signature of the pool's orchestrator key.
    #[n(2)]
    pub signature: EthereumSignature,
}

impl OfferedReceipt {
    /// Most of them in one instruction; the others follow when these are answered.
    pub const MAX_AT_ONCE: usize = 4;
}

/// What a node says to an offered receipt.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct ReceiptAnswer {
    /// The receipt's epoch.
    #[n(0)]
    pub epoch: Epoch,
    /// The receipt's payee.
    #[n(1)]
    pub payee: Address,
    /// What.
    #[n(2)]
    pub verdict: ReceiptVerdict,
}

/// Whether a node agrees to a receipt.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum ReceiptVerdict {
    /// EIP-712 signature of the node's key.
    #[n(0)]
    Signed(#[n(0)] EthereumSignature),
    /// Why not.
    #[n(1)]
    Refused {
        /// Stable code.
        #[n(0)]
        code: ErrorCode,
        /// In words.
        #[n(1)]
        message: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(gpu_millis: u64, price: Amount) -> UsageLine {
        UsageLine { class: ProofClassId(1), order: None, price_per_gpu_hour: price, gpu_millis }
    }

    fn statement(lines: Vec<UsageLine>) -> UsageStatement {
        UsageStatement {
            pool: PoolId(1),
            epoch: Epoch(2),
            node: NodeId(Address([1; 20])),
            payee: Address([2; 20]),
            lines,
        }
    }

    #[test]
    fn an_hour_of_a_gpu_costs_its_price_and_fractions_are_rounded_down() {
        assert_eq!(line(3_600_000, Amount::tokens(2)).amount(), Some(Amount::tokens(2)));
        assert_eq!(line(1, Amount(3_599_999)).amount(), Some(Amount(0)));
        assert_eq!(line(1, Amount(3_600_000)).amount(), Some(Amount(1)));
        assert_eq!(line(u64::MAX, Amount::MAX).amount(), None, "what does not fit is no amount");
    }

    #[test]
    fn a_receipt_belongs_to_its_statement_only() {
        let usage = statement(vec![line(3_600_000, Amount::tokens(1)), line(7_200_000, Amount::tokens(3))]);
        assert_eq!((usage.amount(), usage.gpu_millis()), (Some(Amount::tokens(7)), 10_800_000));
        let receipt = Receipt {
            pool: usage.pool,
            epoch: usage.epoch,
            node: usage.node,
            payee: usage.payee,
            usage: usage.digest(),
            amount: Amount::tokens(7),
            cumulative: Amount::tokens(9),
        };
        assert!(usage.is_of(&receipt));
        for other in [
            Receipt { epoch: Epoch(3), ..receipt },
            Receipt { payee: Address([3; 20]), ..receipt },
            Receipt { amount: Amount::tokens(6), ..receipt },
            Receipt { usage: statement(vec![]).digest(), ..receipt },
        ] {
            assert!(!usage.is_of(&other), "{other:?}");
        }
    }
}
