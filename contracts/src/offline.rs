//! Transactions whose key is elsewhere: what a wallet is given to sign, and what comes back.

use alloy::consensus::{Transaction as _, TxEnvelope};
use alloy::eips::Decodable2718 as _;
use alloy::primitives::{TxKind, U256};
use lode_protocol::hash::Digest;
use lode_protocol::ids::{Address, ChainId};
use lode_protocol::keys::{EthereumSignature, SigningKey};
use serde::{Deserialize, Serialize};

use crate::Amount;
use crate::Intent;
use crate::convert::{from_address, from_word, to_address};
use crate::deployment::Deployment;
use crate::encode::{Call, ToCall as _};
use crate::error::ChainError;
use crate::port::{Fees, Quote, SignedTransaction};
use crate::rpc::{sign, unsigned};

/// Largest transaction that is read, in bytes.
const MAX_BYTES: usize = 512 * 1024;

/// A transaction without its signature, as wallets take it (`eth_signTransaction`, `eth_sendTransaction`): numbers are
/// hexadecimal text.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnsignedTransaction {
    /// Always `0x2`: EIP-1559.
    #[serde(rename = "type", with = "quantity")]
    pub kind: u64,
    /// EIP-155 id of the chain.
    #[serde(with = "quantity")]
    pub chain_id: u64,
    /// Who has to sign, and pays.
    pub from: Address,
    /// Who is called, or paid.
    pub to: Address,
    /// The chain's coin that goes along, in its smallest unit.
    #[serde(with = "quantity")]
    pub value: u128,
    /// The call.
    #[serde(with = "bytes")]
    pub data: Vec<u8>,
    /// The sender's next nonce.
    #[serde(with = "quantity")]
    pub nonce: u64,
    /// Gas to allow.
    #[serde(with = "quantity")]
    pub gas: u64,
    /// Most per unit of gas, in the coin's smallest unit.
    #[serde(with = "quantity")]
    pub max_fee_per_gas: u64,
    /// The tip in it.
    #[serde(with = "quantity")]
    pub max_priority_fee_per_gas: u64,
}

impl UnsignedTransaction {
    /// What `from` has to sign to carry the intent out.
    pub fn new(deployment: &Deployment, from: Address, intent: &Intent, nonce: u64, quote: Quote) -> Self {
        let Call { to, data, value } = intent.call(deployment);
        UnsignedTransaction {
            kind: 2,
            chain_id: deployment.chain_id.0,
            from,
            to: from_address(to),
            value: value.saturating_to(),
            data: data.to_vec(),
            nonce,
            gas: quote.gas_limit,
            max_fee_per_gas: quote.fees.max_fee,
            max_priority_fee_per_gas: quote.fees.max_priority_fee,
        }
    }

    /// Signs with the key of `from`.
    pub fn sign(&self, key: &SigningKey) -> Result<SignedTransaction, ChainError> {
        let invalid = |detail: String| Err(ChainError::Invalid { detail });
        if self.kind != 2 {
            return invalid(format!("transactions of type {} are not signed here, only type 2", self.kind));
        }
        if key.address() != self.from {
            return invalid(format!(
                "the transaction is to be signed by {}, the key is {}'s",
                self.from,
                key.address()
            ));
        }
        let quote = Quote {
            gas_limit: self.gas,
            fees: Fees { max_fee: self.max_fee_per_gas, max_priority_fee: self.max_priority_fee_per_gas },
        };
        let (to, data) = (TxKind::Call(to_address(self.to)), self.data.clone().into());
        sign(key, unsigned(ChainId(self.chain_id), self.nonce, quote, to, data, U256::from(self.value)))
    }
}

/// A signed transaction that somebody else made, and what it does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RawTransaction {
    /// As it is sent.
    pub signed: SignedTransaction,
    /// The chain that it is for.
    pub chain: ChainId,
    /// Who is called, or paid; `None` creates a contract.
    pub to: Option<Address>,
    /// The chain's coin that goes along.
    pub value: Amount,
    /// The call.
    pub data: Vec<u8>,
    /// Its number among the sender's transactions.
    pub nonce: u64,
    /// Gas that it allows.
    pub gas_limit: u64,
    /// Most that it pays per unit of gas.
    pub max_fee: u128,
}

impl RawTransaction {
    /// Reads the bytes that a wallet gives, and recovers who signed.
    pub fn decode(bytes: &[u8]) -> Result<Self, ChainError> {
        let invalid = |detail: &str| ChainError::Invalid { detail: format!("the transaction {detail}") };
        if bytes.len() > MAX_BYTES {
            return Err(invalid("is larger than any chain takes"));
        }
        let mut rest = bytes;
        let envelope = TxEnvelope::decode_2718(&mut rest)
            .map_err(|error| invalid(&format!("cannot be read ({error}): give all bytes of a signed one")))?;
        if !rest.is_empty() {
            return Err(invalid("is followed by other bytes"));
        }
        let chain =
            envelope.chain_id().ok_or_else(|| invalid("names no chain: it would count on every one"))?;
        let signature = EthereumSignature(envelope.signature().as_bytes());
        let sender = signature
            .recover(&from_word(envelope.signature_hash()))
            .map_err(|_| invalid("is not validly signed"))?;
        Ok(RawTransaction {
            signed: SignedTransaction { sender, hash: hash(&envelope), bytes: bytes.to_vec() },
            chain: ChainId(chain),
            to: envelope.to().map(from_address),
            value: Amount(envelope.value().saturating_to()),
            data: envelope.input().to_vec(),
            nonce: envelope.nonce(),
            gas_limit: envelope.gas_limit(),
            max_fee: envelope.max_fee_per_gas(),
        })
    }
}

fn hash(envelope: &TxEnvelope) -> Digest {
    from_word(*envelope.tx_hash())
}

/// Numbers as JSON-RPC writes them.
mod quantity {
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<T, S>(value: &T, serializer: S) -> Result<S::Ok, S::Error>
    where
        T: Copy + Into<u128>,
        S: Serializer,
    {
        serializer.collect_str(&format_args!("{:#x}", (*value).into()))
    }

    pub(super) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: TryFrom<u128>,
        D: Deserializer<'de>,
    {
        let text = String::deserialize(deserializer)?;
        let number = match text.strip_prefix("0x") {
            Some(digits) => u128::from_str_radix(digits, 16),
            None => text.parse(),
        };
        let wrong = || serde::de::Error::custom(format!("{text:?} is not a number as JSON-RPC writes it"));
        T::try_from(number.map_err(|_| wrong())?).map_err(|_| wrong())
    }
}

/// Bytes as JSON-RPC writes them.
mod bytes {
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("0x{}", hex::encode(value)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        hex::decode(text.strip_prefix("0x").unwrap_or(&text)).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use lode_protocol::ids::PoolId;

    use super::*;
    use crate::PoolsCall;
    use crate::deployment::tests::deployment;

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[7; 32]).unwrap()
    }

    fn transaction() -> UnsignedTransaction {
        let quote = Quote { gas_limit: 100_000, fees: Fees { max_fee: 3, max_priority_fee: 1 } };
        UnsignedTransaction::new(
            &deployment(),
            key().address(),
            &Intent::Pools(PoolsCall::StartPool(PoolId(1))),
            5,
            quote,
        )
    }

    #[test]
    fn a_transaction_survives_its_json_and_comes_back_signed_as_it_was_given() {
        let text = serde_json::to_string(&transaction()).unwrap();
        assert!(text.contains(r#""chainId":"0x7a69""#) && text.contains(r#""type":"0x2""#), "{text}");
        let read: UnsignedTransaction = serde_json::from_str(&text).unwrap();
        assert_eq!(read, transaction());
        let raw = RawTransaction::decode(&read.sign(&key()).unwrap().bytes).unwrap();
        assert_eq!(raw.signed, read.sign(&key()).unwrap());
        assert_eq!(raw.signed.sender, key().address());
        assert_eq!((raw.chain, raw.to), (deployment().chain_id, Some(deployment().pools)));
        assert_eq!((raw.data, raw.nonce, raw.gas_limit, raw.max_fee), (transaction().data, 5, 100_000, 3));
    }

    #[test]
    fn another_key_does_not_sign_for_the_sender() {
        let other = SigningKey::from_bytes(&[8; 32]).unwrap();
        assert!(transaction().sign(&other).unwrap_err().to_string().contains(&other.address().to_string()));
        let legacy = UnsignedTransaction { kind: 0, ..transaction() };
        assert!(legacy.sign(&key()).is_err());
    }

    #[test]
    fn bytes_that_are_no_signed_transaction_are_refused() {
        let bytes = transaction().sign(&key()).unwrap().bytes;
        assert!(RawTransaction::decode(&bytes).is_ok());
        assert!(RawTransaction::decode(&[]).is_err());
        assert!(RawTransaction::decode(&bytes[..bytes.len() - 1]).is_err());
        assert!(RawTransaction::decode(&[&bytes[..], &[0]].concat()).is_err());
        assert!(RawTransaction::decode(&vec![2; MAX_BYTES + 1]).is_err());
    }
}
