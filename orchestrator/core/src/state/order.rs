//! What a tenant signed for, and how far it is used.

use lode_protocol::amount::Amount;
use lode_protocol::hash::Digest;
use lode_protocol::keys::EthereumSignature;
use lode_protocol::settlement::SpendAuthorization;
use minicbor::{Decode, Encode};

use super::cost::Cost;

/// An order with the tenant's signature.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct SignedSpendAuthorization {
    /// What was signed.
    #[n(0)]
    pub order: SpendAuthorization,
    /// EIP-712 signature of the tenant's key.
    #[n(1)]
    pub signature: EthereumSignature,
}

/// A task's order and how far it is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TaskOrderState {
    pub(crate) signed: SignedSpendAuthorization,
    pub(crate) digest: Digest,
    pub(crate) spent: Cost,
}

impl TaskOrderState {
    /// What a GPU costs under it: the pool's price, and never more than the tenant signed for.
    pub(crate) fn price(&self, pool_price: Amount) -> Amount {
        pool_price.min(self.signed.order.price_per_gpu_hour)
    }
}
