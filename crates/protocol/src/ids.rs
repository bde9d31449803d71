//! Identities. A node's key is its Ethereum address and its libp2p peer id: one identity, three spellings.
//!
//! Ids are parsed at the edge and never travel as raw strings or integers past it.

use std::fmt;
use std::str::FromStr;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::fixed_bytes::{fixed_bytes, plain_hex};
use crate::hash::keccak256;

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

macro_rules! number {
    ($(#[$meta:meta])* $name:ident, $inner:ty) => {
        $(#[$meta])*
        #[derive(
            Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Encode, Decode, Serialize, Deserialize,
        )]
        #[cbor(transparent)]
        #[serde(transparent)]
        pub struct $name(#[n(0)] pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self).map_err(|error: std::num::ParseIntError| ParseIdError::Form {
                    what: stringify!($name),
                    got: cut(text),
                    reason: error.to_string(),
                })
            }
        }
    };
}

number!(
    /// EIP-155 chain id.
    ChainId,
    u64
);
number!(
    /// Number of a pool in its `ComputePools` contract; 0 is no pool.
    PoolId,
    u64
);
number!(
    /// How often an assignment was placed anew. A report of a lower incarnation is refused.
    Incarnation,
    u32
);
number!(
    /// Version of the desired set of one node; grows by one with every change of the set.
    Generation,
    u64
);
number!(
    /// The orchestrator's term of office: grows with every start and every takeover.
    LeaderEpoch,
    u64
);
number!(
    /// How often a worker started with this data directory. Persisted, only grows.
    BootCounter,
    u64
);
number!(
    /// Number of a message within a session and direction, from 1.
    Sequence,
    u64
);

number!(
    /// Number of an epoch of the validators: block time divided by the epoch's length.
    Epoch,
    u64
);
number!(
    /// Number of an accusation in its `Slashing` contract; 0 is none.
    AccusationId,
    u64
);

impl Epoch {
    /// The epoch `count` later.
    pub fn plus(self, count: u64) -> Self {
        Self(self.0.saturating_add(count))
    }
}

impl Incarnation {
    /// The next incarnation.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl Generation {
    /// The next generation.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl BootCounter {
    /// The next boot.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl Sequence {
    /// The next sequence number.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

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

/// What a user submitted: UUID version 7, so that ids sort by creation time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskId(pub uuid::Uuid);

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for TaskId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        uuid::Uuid::try_parse(text).map(TaskId).map_err(|error| ParseIdError::Form {
            what: "task id",
            got: cut(text),
            reason: error.to_string(),
        })
    }
}

impl<C> Encode<C> for TaskId {
    fn encode<W: minicbor::encode::Write>(
        &self,
        encoder: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        encoder.bytes(self.0.as_bytes())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for TaskId {
    fn decode(decoder: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        uuid::Uuid::from_slice(decoder.bytes()?)
            .map(TaskId)
            .map_err(|_| minicbor::decode::Error::message("wrong length of TaskId"))
    }
}

/// One replica of a task, over all its incarnations.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode, Serialize, Deserialize,
)]
pub struct ReplicaId {
    /// The task.
    #[n(0)]
    pub task: TaskId,
    /// Replica number from 0.
    #[n(1)]
    pub replica: u32,
}

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.task, self.replica)
    }
}

/// One replica of a task placed on one node: the orchestrator's promise and the worker's order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode)]
pub struct AssignmentId {
    /// The replica.
    #[n(0)]
    pub replica: ReplicaId,
    /// Which placement of the replica this is.
    #[n(1)]
    pub incarnation: Incarnation,
}

impl fmt::Display for AssignmentId {
    /// `TASK.REPLICA.INCARNATION`: letters Docker accepts in a container's name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.replica, self.incarnation)
    }
}

impl FromStr for AssignmentId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseIdError::Form {
            what: "assignment id",
            got: cut(text),
            reason: "expected TASK.REPLICA.INCARNATION".to_owned(),
        };
        let mut parts = text.split('.');
        let (Some(task), Some(replica), Some(incarnation), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(error());
        };
        Ok(AssignmentId {
            replica: ReplicaId { task: task.parse()?, replica: replica.parse().map_err(|_| error())? },
            incarnation: incarnation.parse()?,
        })
    }
}

impl Serialize for AssignmentId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AssignmentId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// NVIDIA's name of a GPU (`GPU-…`) or of a MIG instance (`MIG-…`): the key of everything about GPUs, never an index.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Serialize)]
#[cbor(transparent)]
#[serde(transparent)]
pub struct GpuUuid(#[n(0)] String);

impl GpuUuid {
    /// Longest accepted name, in bytes.
    pub const MAX_LENGTH: usize = 96;

    /// The name as NVML gives it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for GpuUuid {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = text.starts_with("GPU-") || text.starts_with("MIG-");
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'/');
        if known && plain && text.len() <= Self::MAX_LENGTH && text.len() > 4 {
            return Ok(GpuUuid(text.to_owned()));
        }
        Err(ParseIdError::Form {
            what: "GPU uuid",
            got: cut(text),
            reason: "expected GPU-… or MIG-… of letters, digits and dashes".to_owned(),
        })
    }
}

impl fmt::Display for GpuUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for GpuUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'b, C> Decode<'b, C> for GpuUuid {
    fn decode(decoder: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        decoder.str()?.parse().map_err(|_| minicbor::decode::Error::message("not a GPU uuid"))
    }
}

impl<'de> Deserialize<'de> for GpuUuid {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

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

    #[test]
    fn assignment_ids_survive_text() {
        let id = AssignmentId {
            replica: ReplicaId { task: TaskId(uuid::Uuid::from_u128(7)), replica: 3 },
            incarnation: Incarnation(2),
        };
        assert_eq!(id.to_string().parse::<AssignmentId>().unwrap(), id);
        assert!("x.1.2".parse::<AssignmentId>().is_err());
        assert!(format!("{id}.1").parse::<AssignmentId>().is_err());
    }

    #[test]
    fn gpu_uuids_take_no_characters_that_mean_something_elsewhere() {
        assert!("GPU-11111111-1111-1111-1111-111111111111".parse::<GpuUuid>().is_ok());
        for bad in ["all", "GPU-", "GPU-a,GPU-b", "GPU-a b", "0"] {
            assert!(bad.parse::<GpuUuid>().is_err(), "{bad}");
        }
    }
}
