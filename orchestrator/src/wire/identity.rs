//! Who the orchestrator is: what it signs, and what it opens.

use lode_program::clock::Clock;
use lode_protocol::descriptor::{MAX_ADDRESSES, MAX_DESCRIPTOR_LIFETIME, NodeDescriptor};
use lode_protocol::eip712::Domain;
use lode_protocol::envelope::{
    Addressing, Audience, EnvelopeError, Expectation, Opened, Realm, Signable, open, seal,
};
use lode_protocol::hardware::MAX_GPUS;
use lode_protocol::ids::Address;
use lode_protocol::keys::{EthereumSignature, SigningKey};
use lode_protocol::settlement::Receipt;
use lode_protocol::units::{Millis, Timestamp};

use super::{refused_envelope, rejection};
use crate::core::error::{Class, Rejected};

/// Who the orchestrator is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The pool's orchestrator key.
    pub key: SigningKey,
    /// Chain, deployment and pool.
    pub realm: Realm,
    /// EIP-712 domain of the pools contract, for invites.
    pub pools_domain: Domain,
    /// EIP-712 domain of the rewards contract, for receipts.
    pub rewards_domain: Domain,
    /// Time.
    pub clock: Clock,
}

impl Identity {
    /// The wall clock.
    pub fn now(&self) -> Timestamp {
        Timestamp(self.clock.wall_millis())
    }

    /// Signs a receipt. Equal receipts have equal signatures, so that none needs to be kept.
    pub fn sign_receipt(&self, receipt: &Receipt) -> EthereumSignature {
        self.key.sign_recoverable(&receipt.digest(&self.rewards_domain))
    }

    /// Signs a body for one peer, or for anybody.
    pub fn seal<T: Signable>(&self, to: Option<Address>, lifetime: Millis, body: &T) -> Vec<u8> {
        let audience = to.map_or(Audience::Any, Audience::Peer);
        seal(&self.key, Addressing { audience, realm: self.realm, now: self.now(), lifetime }, body).bytes
    }

    /// Opens what is meant for the orchestrator.
    pub fn open<T: Signable>(
        &self,
        bytes: &[u8],
        signer: Option<Address>,
    ) -> Result<Opened<T>, EnvelopeError> {
        let expected =
            Expectation { recipient: Some(self.key.address()), realm: self.realm, now: self.now(), signer };
        open(bytes, &expected)
    }

    /// Opens a node's description of itself.
    ///
    /// # Errors
    /// What is wrong with it, as a refusal.
    pub fn open_descriptor(&self, bytes: &[u8], node: Address) -> Result<NodeDescriptor, Rejected> {
        let expected =
            Expectation { recipient: None, realm: self.realm, now: self.now(), signer: Some(node) };
        let opened: Opened<NodeDescriptor> =
            open(bytes, &expected).map_err(|error| refused_envelope(&error))?;
        let descriptor = opened.body;
        let wrong = |code: &'static str, message: String| {
            Err(rejection(Class::Invalid, code, message, "send a descriptor that the node made of itself"))
        };
        if descriptor.node.0 != node {
            return wrong(
                "descriptor/wrong-node",
                format!("{node} signed a descriptor of {}", descriptor.node),
            );
        }
        if descriptor.specs.gpus.len() > MAX_GPUS || descriptor.addresses.len() > MAX_ADDRESSES {
            return wrong(
                "descriptor/too-large",
                "the descriptor lists too many GPUs or addresses".to_owned(),
            );
        }
        if descriptor.expires_at > descriptor.issued_at.plus(MAX_DESCRIPTOR_LIFETIME) {
            return wrong(
                "descriptor/lifetime",
                "the descriptor is meant to count for more than a day".to_owned(),
            );
        }
        if descriptor.expires_at.plus(lode_protocol::envelope::MAX_CLOCK_SKEW) < self.now() {
            return wrong(
                "descriptor/expired",
                format!("the descriptor expired at {}", descriptor.expires_at),
            );
        }
        Ok(descriptor)
    }
}
