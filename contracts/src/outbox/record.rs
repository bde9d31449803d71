//! What the store holds of an intent. Numbered fields: older records stay readable.

use lode_protocol::hash::Digest;
use lode_protocol::ids::{Address, ChainId};
use minicbor::{Decode, Encode};

use super::OutboxError;
use crate::Intent;
use crate::deployment::Deployment;
use crate::port::Fees;

/// Whose intents these are. A record is never sent with another key or to other contracts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub(crate) struct Owner {
    #[n(0)]
    pub(crate) sender: Address,
    #[n(1)]
    pub(crate) chain: ChainId,
    #[n(2)]
    pub(crate) registry: Address,
}

impl Owner {
    pub(crate) fn new(sender: Address, deployment: &Deployment) -> Self {
        Owner { sender, chain: deployment.chain_id, registry: deployment.registry }
    }
}

/// An intent and, once it was signed, its transaction.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub(crate) struct Record {
    #[n(0)]
    pub(crate) owner: Owner,
    #[n(1)]
    pub(crate) intent: Intent,
    #[n(2)]
    pub(crate) flight: Option<Flight>,
}

/// A signed transaction: durable before it is sent.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub(crate) struct Flight {
    #[n(0)]
    pub(crate) nonce: u64,
    #[n(1)]
    pub(crate) gas_limit: u64,
    #[n(2)]
    pub(crate) fees: Fees,
    /// Hashes of all versions of the transaction, latest last: any of them may be the one that is mined.
    #[n(3)]
    pub(crate) attempts: Vec<Digest>,
    /// Bytes of the latest version.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub(crate) bytes: Vec<u8>,
}

impl Record {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match minicbor::encode(self, &mut bytes) {
            Ok(()) => bytes,
            Err(error) => match error.into_write() {
                Some(infallible) => match infallible {},
                None => Vec::new(), // our derived encoders raise no error of their own
            },
        }
    }

    pub(crate) fn from_bytes(key: u64, bytes: &[u8], owner: &Owner) -> Result<Self, OutboxError> {
        let record: Record = minicbor::decode(bytes)
            .map_err(|error| OutboxError::Malformed { key, detail: error.to_string() })?;
        if record.owner != *owner {
            return Err(OutboxError::Foreign { key });
        }
        Ok(record)
    }
}

#[cfg(test)]
mod tests {
    use lode_protocol::ids::PoolId;

    use super::*;
    use crate::{PoolsCall, RegistryCall};

    fn record(intent: Intent) -> Record {
        let owner = Owner { sender: Address([1; 20]), chain: ChainId(5), registry: Address([2; 20]) };
        Record { owner, intent, flight: None }
    }

    #[test]
    fn the_form_of_records_is_fixed_because_older_outboxes_must_be_read() {
        let owner = format!("835 4{} 05 54{}", "01".repeat(20), "02".repeat(20)).replace(' ', "");
        for (intent, form) in [
            (Intent::Registry(RegistryCall::Withdraw), "820380"),
            (Intent::Pools(PoolsCall::StartPool(PoolId(7))), "820a8107"),
        ] {
            let written = record(intent).to_bytes();
            // minicbor leaves a trailing `None` out.
            assert_eq!(hex::encode(&written), format!("82{owner}{form}"));
        }
    }

    #[test]
    fn a_record_survives_its_bytes_and_none_is_read_for_another_owner() {
        let flight = Flight {
            nonce: 7,
            gas_limit: 21_000,
            fees: Fees { max_fee: 3, max_priority_fee: 1 },
            attempts: vec![Digest([3; 32]), Digest([4; 32])],
            bytes: vec![1, 2, 3],
        };
        let record =
            Record { flight: Some(flight), ..record(Intent::Registry(RegistryCall::RevokeAuthorizations)) };
        let bytes = record.to_bytes();
        assert_eq!(Record::from_bytes(1, &bytes, &record.owner).unwrap(), record);
        let other = Owner { chain: ChainId(6), ..record.owner };
        assert!(matches!(Record::from_bytes(1, &bytes, &other), Err(OutboxError::Foreign { key: 1 })));
        for length in 0..bytes.len() {
            let cut = bytes.get(..length).unwrap_or_default();
            assert!(matches!(Record::from_bytes(1, cut, &record.owner), Err(OutboxError::Malformed { .. })));
        }
    }
}
