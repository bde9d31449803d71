//! Transactions of the fake chain: real bytes that can be kept and sent again, without a virtual machine behind them.

use async_trait::async_trait;
use lode_contracts::{
    Amount, ChainError, Deployment, Fees, Intent, Quote, Receipt, Revert, SendError, SignedTransaction,
    TokenCall, TransactionPort,
};
use lode_protocol::hash::{Digest, keccak256};
use lode_protocol::ids::Address;
use lode_protocol::keys::SigningKey;
use minicbor::{Decode, Encode};

use super::{FakeChain, World};

/// A signed transaction.
#[derive(Clone, Debug, Encode, Decode)]
pub(super) struct Transaction {
    #[n(0)]
    pub(super) sender: Address,
    #[n(1)]
    pub(super) nonce: u64,
    #[n(2)]
    pub(super) fees: Fees,
    #[n(3)]
    pub(super) intent: Intent,
}

impl Transaction {
    fn to_bytes(&self) -> Vec<u8> {
        minicbor::to_vec(self).expect("encoding into memory cannot fail")
    }

    pub(super) fn hash(&self) -> Digest {
        keccak256(&self.to_bytes())
    }
}

#[async_trait]
impl TransactionPort for FakeChain {
    fn contracts(&self) -> &Deployment {
        &self.deployment
    }

    async fn mined_nonce(&self, account: Address) -> Result<u64, ChainError> {
        let world = self.reach("read an account's nonce")?;
        Ok(mined_nonce(&world, account))
    }

    async fn pending_nonce(&self, account: Address) -> Result<u64, ChainError> {
        let world = self.reach("read an account's nonce")?;
        let mut nonce = mined_nonce(&world, account);
        while world.pending.contains_key(&(account, nonce)) {
            nonce += 1;
        }
        Ok(nonce)
    }

    async fn quote(&self, from: Address, intent: &Intent) -> Result<Quote, ChainError> {
        let world = self.reach("simulate the transaction")?;
        let coins = world.latest().ledger.coins.get(&from).copied().unwrap_or_default();
        if let Intent::Token(TokenCall::TransferNative { amount, .. }) = intent
            && coins < *amount
        {
            return Err(poor(from));
        }
        let mut ledger = world.latest().ledger.clone();
        ledger.now += 1;
        ledger.apply(from, intent).map_err(ChainError::Reverted)?;
        let tip = 1_000_000_000;
        let fees = Fees { max_fee: world.base_fee * 2 + tip, max_priority_fee: tip };
        Ok(Quote { gas_limit: 1_000_000, fees })
    }

    fn sign(
        &self,
        key: &SigningKey,
        intent: &Intent,
        nonce: u64,
        quote: Quote,
    ) -> Result<SignedTransaction, ChainError> {
        let sender = key.address();
        let transaction = Transaction { sender, nonce, fees: quote.fees, intent: intent.clone() };
        Ok(SignedTransaction { sender, hash: transaction.hash(), bytes: transaction.to_bytes() })
    }

    async fn send(&self, transaction: &SignedTransaction) -> Result<(), SendError> {
        let mut world = self.reach("send the transaction")?;
        let transaction: Transaction = minicbor::decode(&transaction.bytes)
            .map_err(|error| ChainError::Invalid { detail: error.to_string() })?;
        let sender = transaction.sender;
        if transaction.nonce < mined_nonce(&world, sender) {
            return Err(SendError::NonceUsed);
        }
        if world.latest().ledger.coins.get(&sender).copied().unwrap_or_default() == Amount::ZERO {
            return Err(poor(sender).into());
        }
        let key = (sender, transaction.nonce);
        if let Some(waiting) = world.pending.get(&key) {
            if waiting.hash() == transaction.hash() {
                return Ok(());
            }
            // Nodes replace for a tenth more.
            if transaction.fees.max_fee < waiting.fees.max_fee + waiting.fees.max_fee / 10 {
                return Err(SendError::Underpriced);
            }
        }
        if world.lose_sends > 0 {
            world.lose_sends -= 1;
            return Ok(());
        }
        world.pending.insert(key, transaction);
        if world.automine {
            world.mine_pending();
        }
        Ok(())
    }

    async fn receipt(&self, transaction: Digest) -> Result<Option<Receipt>, ChainError> {
        let world = self.reach("look for the receipt")?;
        Ok(world.seen().iter().rev().find_map(|block| block.receipts.get(&transaction).cloned()))
    }

    async fn explain(&self, from: Address, intent: &Intent, block: u64) -> Result<Revert, ChainError> {
        let world = self.reach("ask why a transaction failed")?;
        let Some(at) = world.blocks.iter().find(|candidate| candidate.block.number == block) else {
            return Err(ChainError::Invalid { detail: format!("there is no block {block}") });
        };
        Ok(match at.ledger.clone().apply(from, intent) {
            Err(revert) => revert,
            Ok(_) => Revert { name: "Unknown".to_owned(), detail: "it would succeed now".to_owned() },
        })
    }

    async fn height(&self) -> Result<u64, ChainError> {
        Ok(self.reach("read the height")?.head().block.number)
    }
}

fn mined_nonce(world: &World, account: Address) -> u64 {
    world.latest().ledger.nonces.get(&account).copied().unwrap_or_default()
}

fn poor(account: Address) -> ChainError {
    ChainError::InsufficientFunds { account, detail: "insufficient funds".to_owned() }
}
