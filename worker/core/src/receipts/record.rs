//! What is remembered of an epoch, and of a receipt.

use lode_protocol::amount::Amount;
use lode_protocol::ids::Address;
use lode_protocol::keys::EthereumSignature;
use lode_protocol::settlement::Receipt;
use lode_protocol::units::Millis;
use lode_protocol::usage::{MeterReading, UsageStatement};
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::CHECKPOINT;

/// An epoch by this node's own count.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct Record {
    /// GPU-milliseconds that ran between answered beats which count.
    #[n(0)]
    pub gpu_millis: u64,
    /// Most GPUs that ran at once.
    #[n(1)]
    pub most_gpus: u32,
    /// Providers that the chain named meanwhile.
    #[n(2)]
    pub payees: Vec<Address>,
    /// What the orchestrator's meter said last.
    #[n(3)]
    pub metered: u64,
    /// What it said was earned.
    #[n(4)]
    pub earned: Amount,
    /// GPU-milliseconds that may be missing here because the worker was restarted.
    #[n(5)]
    pub slack: u64,
    /// Whether a receipt of it was signed or refused.
    #[n(6)]
    pub settled: bool,
}

impl Record {
    pub(super) fn told(&mut self, reading: &MeterReading, payee: Option<Address>) {
        self.metered = reading.gpu_millis;
        self.earned = reading.earned;
        if let Some(payee) = payee.filter(|payee| !self.payees.contains(payee)) {
            self.payees.push(payee);
        }
    }

    pub(super) fn count(&mut self, interval: Millis, gpus: u32) {
        self.gpu_millis = self.gpu_millis.saturating_add(interval.0.saturating_mul(gpus.into()));
        self.most_gpus = self.most_gpus.max(gpus);
    }

    pub(super) fn after_restart(mut self) -> Self {
        let lost = CHECKPOINT.0.saturating_mul(u64::from(self.most_gpus.max(1)));
        self.slack = self.slack.saturating_add(lost);
        self
    }
}

/// A receipt with both signatures.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, Serialize, Deserialize)]
pub struct KeptReceipt {
    /// The receipt.
    #[n(0)]
    pub receipt: Receipt,
    /// The usage that it pays.
    #[n(1)]
    pub usage: UsageStatement,
    /// Of the pool's orchestrator key.
    #[n(2)]
    pub orchestrator_signature: EthereumSignature,
    /// Of this node's key.
    #[n(3)]
    pub node_signature: EthereumSignature,
}
