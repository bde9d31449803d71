//! Identities. A node's key is its Ethereum address and its libp2p peer id: one identity, three spellings.
//!
//! Ids are parsed at the edge and never travel as raw strings or integers past it.

mod gpu;
mod number;
mod work;

use std::fmt;
use std::str::FromStr;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::fixed_bytes::{fixed_bytes, plain_hex};
use crate::hash::keccak256;

pub use gpu::GpuUuid;
pub use number::{
    AccusationId, BootCounter, ChainId, Epoch, Generation, Incarnation, PoolId, Sequence, Term,
};
pub use work::{AssignmentId, ReplicaId, TaskId};

/// An id that could not be read from text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseIdError {
    /// Not hexadecimal, or of another length.
    #[error("{what}: expected 0x and {expected} hexadecimal digits, got {got:?}")]
    Hex {
        /// Which id was expected.
        what: &'static str,
        /// Number of digits after `0x`.
        expected: usize,
        /// The text (cut to 80 characters).
        got: String,
    },
    /// Mixed-case address whose EIP-55 checksum does not match: probably a typing error.
    #[error(
        "address {got}: the upper and lower case do not match its EIP-55 checksum; copy it again or write it in lower case"
    )]
    Checksum {
        /// The text as given.
        got: String,
    },
    /// Not an integer, uuid or composite of the expected form.
    #[error("{what}: {got:?} is not valid: {reason}")]
    Form {
        /// Which id was expected.
        what: &'static str,
        /// The text (cut to 80 characters).
        got: String,
        /// What is wrong with it.
        reason: String,
    },
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

pub(crate) fn parse_hex<const N: usize>(what: &'static str, text: &str) -> Result<[u8; N], ParseIdError> {
    let error = || ParseIdError::Hex { what, expected: 2 * N, got: cut(text) };
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).ok_or_else(error)?;
    let mut bytes = [0u8; N];
    hex::decode_to_slice(digits, &mut bytes).map_err(|_| error())?;
    Ok(bytes)
}

fixed_bytes!(
    /// An Ethereum address: of a contract, a wallet, or a node.
    Address,
    20
);

impl Address {
    /// The all-zero address, which no key owns.
    pub const ZERO: Address = Address([0; 20]);
}

impl fmt::Display for Address {
    /// EIP-55 mixed-case checksum form.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = hex::encode(self.0);
        let hash = keccak256(digits.as_bytes());
        f.write_str("0x")?;
        for (index, digit) in digits.chars().enumerate() {
            let nibble = hash.0.get(index / 2).copied().unwrap_or(0) >> (4 * (1 - index % 2)) & 0xf;
            let digit = if nibble >= 8 { digit.to_ascii_uppercase() } else { digit };
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

impl FromStr for Address {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let address = Address(parse_hex("address", text)?);
        let digits = &text[2..];
        let mixed =
            digits.chars().any(|c| c.is_ascii_uppercase()) && digits.chars().any(|c| c.is_ascii_lowercase());
        if mixed && address.to_string()[2..] != *digits {
            return Err(ParseIdError::Checksum { got: text.to_owned() });
        }
        Ok(address)
    }
}

/// A role-specific address. Roles do not mix: a provider is not a node although both are addresses.
macro_rules! address_role {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode, Serialize, Deserialize)]
        #[cbor(transparent)]
        #[serde(transparent)]
        pub struct $name(#[n(0)] pub Address);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }

        impl From<Address> for $name {
            fn from(address: Address) -> Self {
                Self(address)
            }
        }
    };
}

address_role!(
    /// One GPU host: the address of its node key.
    NodeId
);
address_role!(
    /// The wallet that owns machines and stakes for them.
    ProviderId
);
address_role!(
    /// A staked party that proves hardware.
    ValidatorId
);

fixed_bytes!(
    /// Random id of a session between a worker and an orchestrator, chosen by the orchestrator.
    SessionId,
    16
);
plain_hex!(SessionId);

fixed_bytes!(
    /// Random bytes that make an answer belong to one question.
    Nonce,
    16
);
plain_hex!(Nonce);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_print_their_eip55_checksum_and_refuse_a_wrong_one() {
        // Vector from EIP-55.
        let text = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed";
        let address: Address = text.parse().unwrap();
        assert_eq!(address.to_string(), text);
        assert_eq!(text.to_lowercase().parse::<Address>().unwrap(), address);
        let wrong = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD";
        assert!(matches!(wrong.parse::<Address>(), Err(ParseIdError::Checksum { .. })));
    }
}
