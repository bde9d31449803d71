//! Transactions over JSON-RPC.

use alloy::consensus::{SignableTransaction as _, TxEip1559, TxEnvelope};
use alloy::eips::Encodable2718 as _;
use alloy::primitives::{B256, Bytes, Signature, TxKind, U64};
use alloy::rpc::types::TransactionReceipt;
use async_trait::async_trait;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{Address, ChainId};
use lode_protocol::keys::SigningKey;

use super::{CallRequest, RpcChain, Transport};
use crate::Intent;
use crate::Receipt;
use crate::Revert;
use crate::convert::{from_word, to_address, to_word};
use crate::deployment::Deployment;
use crate::encode::{Call, ToCall as _};
use crate::error::ChainError;
use crate::port::{Fees, Quote, SendError, SignedTransaction, TransactionPort};

/// Most gas that one transaction may have (EIP-7825).
const MAX_TRANSACTION_GAS: u64 = 1 << 24;
/// Tip where the RPC does not suggest one: 1 gwei.
const USUAL_TIP: u64 = 1_000_000_000;

#[async_trait]
impl TransactionPort for RpcChain {
    fn contracts(&self) -> &Deployment {
        &self.deployment
    }

    async fn mined_nonce(&self, account: Address) -> Result<u64, ChainError> {
        self.verified().await?.nonce(account, "latest").await
    }

    async fn pending_nonce(&self, account: Address) -> Result<u64, ChainError> {
        self.verified().await?.nonce(account, "pending").await
    }

    async fn quote(&self, from: Address, intent: &Intent) -> Result<Quote, ChainError> {
        let Call { to, data, value } = intent.call(&self.deployment);
        self.verified().await?.quote(from, TxKind::Call(to), data, value).await
    }

    fn sign(
        &self,
        key: &SigningKey,
        intent: &Intent,
        nonce: u64,
        quote: Quote,
    ) -> Result<SignedTransaction, ChainError> {
        let Call { to, data, value } = intent.call(&self.deployment);
        let transaction = unsigned(self.deployment.chain_id, nonce, quote, TxKind::Call(to), data, value);
        sign(key, transaction)
    }

    async fn send(&self, transaction: &SignedTransaction) -> Result<(), SendError> {
        self.verified().await?.send(transaction).await
    }

    async fn receipt(&self, transaction: Digest) -> Result<Option<Receipt>, ChainError> {
        let Some(raw) = self.verified().await?.receipt(transaction).await? else { return Ok(None) };
        let (Some(block), Some(block_hash)) = (raw.block_number, raw.block_hash) else { return Ok(None) };
        let mut events = Vec::new();
        for log in raw.inner.logs() {
            events.extend(crate::decode::decode(&self.deployment, log)?);
        }
        Ok(Some(Receipt {
            transaction,
            block,
            block_hash: from_word(block_hash),
            succeeded: raw.inner.status(),
            gas_used: raw.gas_used,
            events,
        }))
    }

    async fn explain(&self, from: Address, intent: &Intent, block: u64) -> Result<Revert, ChainError> {
        let Call { to, data, value } = intent.call(&self.deployment);
        let request =
            CallRequest { from: Some(to_address(from)), to: Some(to), value: Some(value), input: data };
        let params = (request, format!("{block:#x}"));
        let again: Result<Bytes, ChainError> =
            self.verified().await?.request("ask why a transaction failed", "eth_call", params).await;
        match again {
            Err(ChainError::Reverted(refusal)) => Ok(refusal),
            Ok(_) => Ok(Revert {
                name: "Unknown".to_owned(),
                detail:
                    "it failed when it was mined and would succeed now: out of gas, or the state has changed"
                        .to_owned(),
            }),
            Err(error) => Err(error),
        }
    }

    async fn height(&self) -> Result<u64, ChainError> {
        let height: U64 = self.verified().await?.request("read the height", "eth_blockNumber", ()).await?;
        Ok(height.to())
    }
}

impl Transport {
    pub(crate) async fn nonce(&self, account: Address, tag: &'static str) -> Result<u64, ChainError> {
        let params = (to_address(account), tag);
        let nonce: U64 = self.request("read an account's nonce", "eth_getTransactionCount", params).await?;
        Ok(nonce.to())
    }

    pub(crate) async fn quote(
        &self,
        from: Address,
        to: TxKind,
        data: Bytes,
        value: alloy::primitives::U256,
    ) -> Result<Quote, ChainError> {
        let operation = "simulate the transaction";
        let request = CallRequest {
            from: Some(to_address(from)),
            to: to.to().copied(),
            value: Some(value),
            input: data,
        };
        let gas: U64 = self
            .request(operation, "eth_estimateGas", (request,))
            .await
            .map_err(|error| funds(from, error))?;
        // The state can change before the transaction is mined: a third more, unused gas is not paid. But no more than a
        // transaction may have, which a large batch comes near to.
        let gas = gas.to::<u64>();
        let gas_limit = gas.saturating_add(gas / 3).saturating_add(10_000).min(gas.max(MAX_TRANSACTION_GAS));
        let tip: Result<U64, ChainError> =
            self.request("ask for the usual tip", "eth_maxPriorityFeePerGas", ()).await;
        let tip = match tip {
            Ok(tip) => tip.to::<u64>(),
            Err(ChainError::Rpc { .. }) => USUAL_TIP, // not every node suggests one
            Err(error) => return Err(error),
        };
        let base = self.block("read the base fee", None).await?.map_or(0, |(_, base)| base);
        let max_fee = base.saturating_mul(2).saturating_add(tip);
        Ok(Quote { gas_limit, fees: Fees { max_fee, max_priority_fee: tip } })
    }

    pub(crate) async fn send(&self, transaction: &SignedTransaction) -> Result<(), SendError> {
        let operation = "send the transaction";
        let raw = Bytes::copy_from_slice(&transaction.bytes);
        let sent: Result<B256, ChainError> = self.request(operation, "eth_sendRawTransaction", (raw,)).await;
        let error = match sent {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        let ChainError::Rpc { message, .. } = &error else { return Err(error.into()) };
        // Nodes agree on these words more than on codes.
        let message = message.to_lowercase();
        if message.contains("already known") || message.contains("already imported") {
            return Ok(());
        }
        if message.contains("insufficient funds") {
            return Err(funds(transaction.sender, error).into());
        }
        if message.contains("nonce too low") {
            return Err(SendError::NonceUsed);
        }
        if message.contains("underpriced") || message.contains("less than block base fee") {
            return Err(SendError::Underpriced);
        }
        Err(error.into())
    }

    pub(crate) async fn receipt(
        &self,
        transaction: Digest,
    ) -> Result<Option<TransactionReceipt>, ChainError> {
        self.request("look for the receipt", "eth_getTransactionReceipt", (to_word(transaction),)).await
    }
}

/// Nodes answer a call that cannot be paid with an error of their own.
pub(super) fn funds(account: Address, error: ChainError) -> ChainError {
    match error {
        ChainError::Rpc { message, .. } if message.to_lowercase().contains("insufficient funds") => {
            ChainError::InsufficientFunds { account, detail: message }
        }
        other => other,
    }
}

pub(crate) fn unsigned(
    chain: ChainId,
    nonce: u64,
    quote: Quote,
    to: TxKind,
    data: Bytes,
    value: alloy::primitives::U256,
) -> TxEip1559 {
    TxEip1559 {
        chain_id: chain.0,
        nonce,
        gas_limit: quote.gas_limit,
        max_fee_per_gas: quote.fees.max_fee.into(),
        max_priority_fee_per_gas: quote.fees.max_priority_fee.into(),
        to,
        value,
        access_list: Default::default(),
        input: data,
    }
}

pub(crate) fn sign(key: &SigningKey, transaction: TxEip1559) -> Result<SignedTransaction, ChainError> {
    let signature = key.sign_recoverable(&from_word(transaction.signature_hash()));
    let signature = Signature::from_raw(&signature.0).map_err(|error| ChainError::Invalid {
        detail: format!("the transaction cannot be signed: {error}"),
    })?;
    let envelope = TxEnvelope::from(transaction.into_signed(signature));
    Ok(SignedTransaction {
        sender: key.address(),
        hash: from_word(*envelope.tx_hash()),
        bytes: envelope.encoded_2718(),
    })
}
