//! EIP-712 digests of the few statements that contracts read. Each has one function, used to sign and to verify.

use crate::amount::Amount;
use crate::hash::{Digest, keccak256, keccak256_of};
use crate::ids::{Address, ChainId};

/// Domain of a contract: name, version, chain and address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Domain {
    /// Name as the contract gives it to OpenZeppelin's `EIP712`.
    pub name: &'static str,
    /// EIP-155 id of the chain.
    pub chain: ChainId,
    /// Address of the contract.
    pub contract: Address,
}

impl Domain {
    fn separator(&self) -> Digest {
        struct_hash(
            "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)",
            &[
                keccak256(self.name.as_bytes()).0,
                keccak256(b"1").0,
                word_u64(self.chain.0),
                word_address(self.contract),
            ],
        )
    }

    /// Digest to sign for a struct with this hash.
    pub fn digest(&self, message: Digest) -> Digest {
        keccak256_of([&b"\x19\x01"[..], &self.separator().0, &message.0])
    }
}

/// Hash of a struct: its type string, then one word per field.
pub(crate) fn struct_hash(type_string: &str, words: &[[u8; 32]]) -> Digest {
    let type_hash = keccak256(type_string.as_bytes());
    keccak256_of(std::iter::once(&type_hash.0[..]).chain(words.iter().map(|word| &word[..])))
}

/// An unsigned integer as a word.
pub(crate) fn word_u64(value: u64) -> [u8; 32] {
    let mut word = [0u8; 32];
    let (_, low) = word.split_at_mut(24);
    low.copy_from_slice(&value.to_be_bytes());
    word
}

/// An amount as a word.
pub(crate) fn word_amount(amount: Amount) -> [u8; 32] {
    let mut word = [0u8; 32];
    let (_, low) = word.split_at_mut(16);
    low.copy_from_slice(&amount.0.to_be_bytes());
    word
}

/// A truth value as a word.
pub(crate) fn word_bool(value: bool) -> [u8; 32] {
    word_u64(value.into())
}

/// An address as a word.
pub(crate) fn word_address(address: Address) -> [u8; 32] {
    let mut word = [0u8; 32];
    let (_, low) = word.split_at_mut(12);
    low.copy_from_slice(address.as_bytes());
    word
}
