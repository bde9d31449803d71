//! The port through which transactions reach the chain. The outbox and the one-shot calls use nothing else.

use async_trait::async_trait;
use lode_protocol::hash::Digest;
use lode_protocol::ids::Address;
use lode_protocol::keys::SigningKey;
use minicbor::{Decode, Encode};

use crate::Intent;
use crate::Receipt;
use crate::Revert;
use crate::deployment::Deployment;
use crate::error::ChainError;

/// What a unit of gas may cost at most, in the coin's smallest unit (EIP-1559).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Fees {
    /// Base fee and tip together.
    #[n(0)]
    pub max_fee: u64,
    /// The tip.
    #[n(1)]
    pub max_priority_fee: u64,
}

impl Fees {
    /// A quarter more, and at least `floor`: nodes replace a pending transaction only for a clear raise.
    pub fn raised(self, floor: Fees) -> Fees {
        let more = |fee: u64| fee.saturating_add(fee / 4).saturating_add(1);
        Fees {
            max_fee: more(self.max_fee).max(floor.max_fee),
            max_priority_fee: more(self.max_priority_fee).max(floor.max_priority_fee),
        }
    }
}

/// A simulated call: it would succeed now, at this cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quote {
    /// Gas to allow, with a margin.
    pub gas_limit: u64,
    /// Fees that get it mined soon.
    pub fees: Fees,
}

/// A transaction that can be sent again and again, and counts once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedTransaction {
    /// Who signed and pays.
    pub sender: Address,
    /// Its hash.
    pub hash: Digest,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Sends transactions. The real one is `RpcChain`; the test kit has a fake.
#[async_trait]
pub trait TransactionPort: Send + Sync + std::fmt::Debug {
    /// The contracts that intents mean.
    fn contracts(&self) -> &Deployment;

    /// How many transactions of the account are mined: the nonce of its next one.
    async fn mined_nonce(&self, account: Address) -> Result<u64, ChainError>;

    /// Like [`Self::mined_nonce`], with those that wait to be mined.
    async fn pending_nonce(&self, account: Address) -> Result<u64, ChainError>;

    /// Simulates. `Err(Reverted)` is the contract's refusal by name; nothing was sent.
    async fn quote(&self, from: Address, intent: &Intent) -> Result<Quote, ChainError>;

    /// Signs. Pure: the same input gives the same bytes.
    fn sign(
        &self,
        key: &SigningKey,
        intent: &Intent,
        nonce: u64,
        quote: Quote,
    ) -> Result<SignedTransaction, ChainError>;

    /// Hands a transaction to the chain. One that the chain knows already is a success.
    async fn send(&self, transaction: &SignedTransaction) -> Result<(), SendError>;

    /// What became of a transaction; `None` while it is not mined (or was never seen).
    async fn receipt(&self, transaction: Digest) -> Result<Option<Receipt>, ChainError>;

    /// Why a mined transaction failed, by simulating it again.
    async fn explain(&self, from: Address, intent: &Intent, block: u64) -> Result<Revert, ChainError>;

    /// Number of the latest block.
    async fn height(&self) -> Result<u64, ChainError>;
}

/// Why a transaction was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Its nonce is used: it, or another in its place, is mined.
    #[error("the transaction's nonce is used already")]
    NonceUsed,
    /// It pays too little: another transaction with its nonce waits and pays as much, or the base fee is higher.
    #[error("the transaction pays too little to be taken; raise the fees")]
    Underpriced,
    /// Anything else.
    #[error(transparent)]
    Chain(#[from] ChainError),
}
