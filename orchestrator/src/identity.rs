//! Who the orchestrator is: what it signs, and what it opens.

use lode_program::clock::Clock;
use lode_protocol::descriptor::{self, DescriptorError, NodeDescriptor, Scope, VerifiedDescriptor};
use lode_protocol::eip712::Domain;
use lode_protocol::envelope::{
    Addressing, Audience, EnvelopeError, Expectation, Opened, Realm, Signable, open, seal,
};
use lode_protocol::error_code::ErrorCode;
use lode_protocol::ids::{Address, NodeId};
use lode_protocol::keys::{EthereumSignature, SigningKey};
use lode_protocol::settlement::Receipt;
use lode_protocol::units::{Millis, Timestamp};

use crate::core::error::{Class, Rejected};

/// A refusal of the shell, in the core's form.
pub(crate) fn rejection(
    class: Class,
    code: impl Into<ErrorCode>,
    message: impl Into<String>,
    remedy: impl Into<String>,
) -> Rejected {
    Rejected {
        code: code.into(),
        class,
        message: message.into(),
        remedy: remedy.into(),
        reopen: false,
        retry_after: None,
    }
}

/// An envelope that was not opened, as a refusal.
pub(crate) fn refused_envelope(error: &EnvelopeError) -> Rejected {
    let remedy = match error {
        EnvelopeError::TooLarge { .. } => "send less in one message",
        EnvelopeError::Malformed(_)
        | EnvelopeError::NotCanonical(_)
        | EnvelopeError::UnsupportedVersion { .. }
        | EnvelopeError::ExpiresBeforeIssue { .. }
        | EnvelopeError::CountsTooLong { .. }
        | EnvelopeError::NotAddressed { .. } => "use a worker of the same version as the orchestrator",
        EnvelopeError::WrongPurpose { .. } => "send only hello, beat and leave over this channel",
        EnvelopeError::Expired { .. } | EnvelopeError::NotYetValid { .. } => {
            "synchronise the clocks of both machines (chrony or systemd-timesyncd)"
        }
        EnvelopeError::WrongAudience { .. } | EnvelopeError::WrongRealm { .. } => {
            "check chain, deployment and pool in the worker's configuration"
        }
        EnvelopeError::WrongSigner { .. } | EnvelopeError::BadSignature | EnvelopeError::BadTag => {
            "sign with the key that holds the connection, and speak only for your own node"
        }
    };
    rejection(Class::Unauthenticated, error.code(), error.to_string(), remedy)
}

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
        seal(&self.key, self.addressing(to, lifetime), body).bytes
    }

    /// How a message is addressed to one peer, or to anybody.
    pub fn addressing(&self, to: Option<Address>, lifetime: Millis) -> Addressing {
        let audience = to.map_or(Audience::Any, Audience::Peer);
        Addressing { audience, realm: self.realm, now: self.now(), lifetime }
    }

    /// What is expected of a message to the orchestrator.
    pub fn expectation(&self, signer: Option<Address>) -> Expectation {
        Expectation { recipient: Some(self.key.address()), realm: self.realm, now: self.now(), signer }
    }

    /// Opens what is meant for the orchestrator.
    pub fn open<T: Signable>(
        &self,
        bytes: &[u8],
        signer: Option<Address>,
    ) -> Result<Opened<T>, EnvelopeError> {
        open(bytes, &self.expectation(signer))
    }

    /// Opens a node's description of itself.
    ///
    /// # Errors
    /// What is wrong with it, as a refusal.
    pub fn open_descriptor(&self, bytes: &[u8], node: Address) -> Result<NodeDescriptor, Rejected> {
        let opened = descriptor::open(bytes, Scope::Pool(self.realm), Some(NodeId(node)), self.now());
        opened.map(VerifiedDescriptor::into_body).map_err(|error| match error {
            DescriptorError::Envelope(error) => refused_envelope(&error),
            DescriptorError::WrongNode { .. }
            | DescriptorError::TooMany { .. }
            | DescriptorError::TooLong { .. }
            | DescriptorError::RepeatedGpu(_)
            | DescriptorError::Lifetime { .. }
            | DescriptorError::Expired { .. } => {
                rejection(Class::Invalid, error.code(), error.to_string(), error.remedy())
            }
        })
    }
}
