//! Between alloy's words and ours. Numbers that do not fit are an error of the answer, never cut.

use alloy::primitives::{Address as AlloyAddress, B256, Bytes, U256};
use lode_protocol::amount::Amount;
use lode_protocol::hash::Digest;
use lode_protocol::ids::Address;
use lode_protocol::keys::EthereumSignature;

use crate::error::ChainError;

pub(crate) fn to_address(address: Address) -> AlloyAddress {
    AlloyAddress::from(address.0)
}

pub(crate) fn from_address(address: AlloyAddress) -> Address {
    Address(address.into_array())
}

/// `None` for the zero address, which stands for "nobody" in the contracts.
pub(crate) fn from_optional(address: AlloyAddress) -> Option<Address> {
    (!address.is_zero()).then(|| from_address(address))
}

/// Zero for "nobody" and "no limit".
pub(crate) fn to_optional(address: Option<Address>) -> AlloyAddress {
    to_address(address.unwrap_or(Address::ZERO))
}

pub(crate) fn to_word(digest: Digest) -> B256 {
    B256::from(digest.0)
}

pub(crate) fn from_word(word: B256) -> Digest {
    Digest(word.0)
}

pub(crate) fn to_bytes(signature: &EthereumSignature) -> Bytes {
    Bytes::copy_from_slice(&signature.0)
}

pub(crate) fn to_u256(amount: Amount) -> U256 {
    U256::from(amount.0)
}

pub(crate) fn amount(operation: &'static str, value: U256) -> Result<Amount, ChainError> {
    u128::try_from(value).map(Amount).map_err(|_| too_large(operation, value))
}

/// Amounts of foreign coins may be anything; for them the largest amount stands for "more than that".
pub(crate) fn amount_saturating(value: U256) -> Amount {
    Amount(value.saturating_to())
}

pub(crate) fn number(operation: &'static str, value: U256) -> Result<u64, ChainError> {
    u64::try_from(value).map_err(|_| too_large(operation, value))
}

fn too_large(operation: &'static str, value: U256) -> ChainError {
    ChainError::Malformed { operation, detail: format!("the number {value} is larger than any valid answer") }
}
