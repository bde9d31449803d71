//! Whether this node agrees to a receipt. What it cannot know yet is not answered; what it knows to be otherwise is
//! refused. Signing a receipt for work that was not done can be slashed, so that too much is refused like too little.
//!
//! Tolerance: a lease of everything that ran at once, two per cent, and what restarts of this worker may have lost. Clocks
//! of the two sides differ in when a beat was sent and when it came, by less than that.

use lode_protocol::amount::Amount;
use lode_protocol::eip712::Domain;
use lode_protocol::error_code::ErrorCode;
use lode_protocol::ids::{Address, NodeId, PoolId};
use lode_protocol::units::Millis;
use lode_protocol::usage::OfferedReceipt;

use super::{ReceiptBook, Record};

/// What a receipt is judged by besides the count.
#[derive(Clone, Copy, Debug)]
pub struct JudgeContext {
    /// The pool.
    pub pool: PoolId,
    /// This node.
    pub node: NodeId,
    /// EIP-712 domain of the rewards contract.
    pub domain: Domain,
    /// The pool's orchestrator key by the chain; `None`: it has never answered.
    pub orchestrator: Option<Address>,
    /// Silence after which a node counts as lost.
    pub lease: Millis,
}

/// Why a receipt is not signed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NotSigned {
    /// What is needed to judge it is not known yet.
    Unknown,
    /// It is not as it should be.
    Refused {
        /// Stable code.
        code: ErrorCode,
        /// In words.
        message: String,
    },
}

fn refuse<T>(code: &'static str, message: impl Into<String>) -> Result<T, NotSigned> {
    Err(NotSigned::Refused { code: ErrorCode::new(code), message: message.into() })
}

impl ReceiptBook {
    /// Judges an offered receipt. Order of the checks: addressee, orchestrator, statement, payee, total, count.
    ///
    /// # Errors
    /// Why it is not to be signed.
    pub fn judge(&self, offer: &OfferedReceipt, terms: &JudgeContext) -> Result<(), NotSigned> {
        let receipt = &offer.receipt;
        if receipt.pool != terms.pool || receipt.node != terms.node {
            return refuse("receipt/foreign", "the receipt is for another node or pool");
        }
        let orchestrator = terms.orchestrator.ok_or(NotSigned::Unknown)?;
        if offer.signature.recover(&receipt.digest(&terms.domain)) != Ok(orchestrator) {
            return refuse("receipt/bad-signature", "the receipt is not signed by the pool's orchestrator");
        }
        if !offer.usage.is_of(receipt) {
            return refuse("receipt/mismatch", "the receipt does not say what its usage statement says");
        }
        let Some(record) = self.records.get(&receipt.epoch) else {
            return refuse("receipt/unknown-work", "this node remembers no work in that epoch");
        };
        if !record.payees.contains(&receipt.payee) {
            return refuse(
                "receipt/wrong-payee",
                "the receipt pays somebody who was not this node's provider",
            );
        }
        self.judge_total(offer)?;
        self.judge_count(offer, record, terms)
    }

    /// A payee's total only grows, by at least what each receipt adds.
    fn judge_total(&self, offer: &OfferedReceipt) -> Result<(), NotSigned> {
        let receipt = &offer.receipt;
        let earlier = |total: Amount| Amount(receipt.cumulative.0.saturating_sub(receipt.amount.0)) >= total;
        let highest = self
            .kept
            .values()
            .filter(|kept| kept.receipt.payee == receipt.payee && kept.receipt.epoch < receipt.epoch)
            .map(|kept| kept.receipt.cumulative)
            .max()
            .unwrap_or_default();
        if receipt.cumulative < receipt.amount || !earlier(highest) {
            return refuse(
                "receipt/total-shrunk",
                format!("the receipt's total is {}, and {highest} were promised before", receipt.cumulative),
            );
        }
        Ok(())
    }

    fn judge_count(
        &self,
        offer: &OfferedReceipt,
        record: &Record,
        terms: &JudgeContext,
    ) -> Result<(), NotSigned> {
        let (said, own) = (offer.usage.gpu_millis(), record.gpu_millis);
        let tolerance = terms
            .lease
            .0
            .saturating_mul(u64::from(record.most_gpus.max(1)))
            .saturating_add(own / 50)
            .saturating_add(record.slack);
        let count = format!("it says {said} GPU-milliseconds, this node counted {own}");
        if said > own.saturating_add(tolerance) {
            return refuse("receipt/too-much", count);
        }
        // Where the provider changed, each receipt has a part of the epoch.
        let whole = record.payees.len() == 1;
        if whole && said.saturating_add(tolerance) < own {
            return refuse("receipt/too-little", count);
        }
        Ok(())
    }
}
