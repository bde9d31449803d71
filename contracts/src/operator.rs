//! One call at a time, for a person at a command line: simulate, send, wait for the receipt.
//!
//! Programs that run for long use the outbox: two owners of one key's nonces get into each other's way. An operator
//! holds its nonce only while it waits.

use std::sync::Arc;
use std::time::Duration;

use lode_protocol::amount::Amount;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{Address, NodeId, PoolId, ProviderId};
use lode_protocol::join::NodeConsent;
use lode_protocol::keys::SigningKey;
use tokio::time::Instant;

use crate::Receipt;
use crate::error::ChainError;
use crate::permit::sign_permit;
use crate::port::{SendError, TransactionPort};
use crate::reader::ChainReader;
use crate::seconds_of_timestamp;
use crate::{ChainEvent, PoolsEvent};
use crate::{Intent, PoolParameters, PoolsCall, RegistryCall, RewardsCall, ValidatorsCall};

/// Between two looks for a receipt.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long permits and consents count that are used at once.
const SIGNATURE_VALIDITY_SECONDS: u64 = 3600;

/// A chain that can be read and written.
pub trait Chain: ChainReader + TransactionPort {}

impl<T: ChainReader + TransactionPort> Chain for T {}

/// A key at work on a chain.
#[derive(Clone, Debug)]
pub struct Operator {
    chain: Arc<dyn Chain>,
    key: SigningKey,
    patience: Duration,
}

impl Operator {
    /// Works with a key; waits two minutes for each receipt.
    pub fn new(chain: Arc<dyn Chain>, key: SigningKey) -> Self {
        Operator { chain, key, patience: Duration::from_secs(120) }
    }

    /// The same with another longest wait for a receipt.
    pub fn with_patience(self, patience: Duration) -> Self {
        Operator { patience, ..self }
    }

    /// Who pays and signs.
    pub fn address(&self) -> Address {
        self.key.address()
    }

    /// Carries an intent out. A refusal comes by name, before anything is sent if possible. Items of a batch may be
    /// refused in a transaction that succeeds: see the receipt's events.
    pub async fn execute(&self, intent: Intent) -> Result<Receipt, ChainError> {
        let sender = self.key.address();
        let quote = self.chain.quote(sender, &intent).await?;
        let nonce = self.chain.pending_nonce(sender).await?;
        let signed = self.chain.sign(&self.key, &intent, nonce, quote)?;
        match self.chain.send(&signed).await {
            Ok(()) => {}
            Err(SendError::Chain(error)) => return Err(error),
            Err(error @ (SendError::NonceUsed | SendError::Underpriced)) => {
                let detail =
                    format!("{error}: another program sends with this key at the same time; try again");
                return Err(ChainError::Invalid { detail });
            }
        }
        let receipt = self.wait(signed.hash).await?;
        if receipt.succeeded {
            return Ok(receipt);
        }
        Err(ChainError::Reverted(self.chain.explain(sender, &intent, receipt.block).await?))
    }

    async fn wait(&self, transaction: Digest) -> Result<Receipt, ChainError> {
        let operation = "wait for the transaction to be mined";
        let deadline = Instant::now() + self.patience;
        loop {
            // The transaction is on its way: a look that fails is repeated until patience ends.
            match self.chain.receipt(transaction).await {
                Ok(Some(receipt)) => return Ok(receipt),
                Ok(None) => {}
                Err(error) if error.is_transient() && Instant::now() < deadline => {}
                Err(error) => return Err(error),
            }
            if Instant::now() >= deadline {
                return Err(ChainError::Timeout { operation, after: self.patience });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Becomes a provider with this stake, by a permit: one transaction.
    pub async fn register_provider(&self, stake: Amount) -> Result<Receipt, ChainError> {
        let permit = self.permit(self.chain.deployment().registry, stake).await?;
        self.execute(Intent::Registry(RegistryCall::RegisterProvider { amount: stake, permit: Some(permit) }))
            .await
    }

    /// Becomes a validator with this bond, by a permit: one transaction.
    pub async fn register_validator(&self, bond: Amount, endpoint: &str) -> Result<Receipt, ChainError> {
        let permit = self.permit(self.chain.deployment().validators, bond).await?;
        let endpoint = endpoint.to_owned();
        self.execute(Intent::Validators(ValidatorsCall::RegisterValidator {
            amount: bond,
            permit: Some(permit),
            endpoint,
        }))
        .await
    }

    /// Adds to a pool's budget in the staking token, by a permit: one transaction.
    pub async fn fund_pool(&self, pool: PoolId, amount: Amount) -> Result<Receipt, ChainError> {
        let permit = self.permit(self.chain.deployment().rewards, amount).await?;
        self.execute(Intent::Rewards(RewardsCall::FundPool { pool, amount, permit: Some(permit) })).await
    }

    /// Adds a node whose key is at hand. `units`: its GPUs, at least 1.
    pub async fn add_node(&self, node: &SigningKey, units: u32) -> Result<Receipt, ChainError> {
        let id = NodeId(node.address());
        let consent = NodeConsent {
            node: id,
            provider: ProviderId(self.key.address()),
            nonce: self.chain.consent_nonce(id).await?,
            deadline: self.deadline().await?,
        };
        let signature = node.sign_recoverable(&consent.digest(&self.chain.deployment().registry_domain()));
        self.execute(Intent::Registry(RegistryCall::AddNode { consent, units, signature })).await
    }

    /// Creates a pool and tells its number. It takes joins once it is started.
    pub async fn create_pool(&self, parameters: PoolParameters) -> Result<PoolId, ChainError> {
        let receipt = self.execute(Intent::Pools(PoolsCall::CreatePool(parameters))).await?;
        receipt
            .events
            .iter()
            .find_map(|logged| match &logged.event {
                ChainEvent::Pools(PoolsEvent::PoolCreated { pool, .. }) => Some(*pool),
                _ => None,
            })
            .ok_or(ChainError::Malformed {
                operation: "create a pool",
                detail: "the receipt does not name the pool".to_owned(),
            })
    }

    async fn permit(&self, spender: Address, amount: Amount) -> Result<crate::Permit, ChainError> {
        let nonce = self.chain.permit_nonce(self.key.address()).await?;
        let deadline = self.deadline().await?;
        Ok(sign_permit(self.chain.deployment(), &self.key, spender, amount, nonce, deadline))
    }

    /// By the chain's clock, which need not be ours.
    async fn deadline(&self) -> Result<u64, ChainError> {
        let now = seconds_of_timestamp(self.chain.head().await?.timestamp);
        Ok(now.saturating_add(SIGNATURE_VALIDITY_SECONDS))
    }
}
