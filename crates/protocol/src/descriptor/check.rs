//! The one check of a descriptor that came from outside. Signature, place and time come first, then every cap: a reader
//! keeps what it accepts, so whatever has no cap here is memory that a stranger fills.

use std::collections::BTreeSet;

use super::{MAX_ADDRESSES, MAX_DESCRIPTOR_LIFETIME, MAX_LABEL_KEY, MAX_LABELS, MAX_TEXT, NodeDescriptor};
use crate::envelope::{self, EnvelopeError, Expectation, MAX_CLOCK_SKEW, Realm};
use crate::error_code::ErrorCode;
use crate::hardware::MAX_GPUS;
use crate::ids::{GpuUuid, NodeId, PoolId};
use crate::keys::PublicKey;
use crate::units::Timestamp;

/// Where a descriptor must count to be accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// In this pool.
    Pool(Realm),
    /// In any pool of this deployment; the realm's own pool does not matter.
    Deployment(Realm),
}

/// A descriptor that [`open`] accepted: signed by the node that it describes, for the reader's scope, within all caps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifiedDescriptor {
    body: NodeDescriptor,
    public_key: PublicKey,
    pool: PoolId,
    expires_at: Timestamp,
    sealed: Vec<u8>,
}

impl VerifiedDescriptor {
    /// What the node says.
    pub fn body(&self) -> &NodeDescriptor {
        &self.body
    }

    /// What the node says, without the proof that it said so.
    pub fn into_body(self) -> NodeDescriptor {
        self.body
    }

    /// The node: described and signer.
    pub fn node(&self) -> NodeId {
        self.body.node
    }

    /// The node's key.
    pub fn public_key(&self) -> PublicKey {
        self.public_key
    }

    /// The pool that it is meant for; 0 is any.
    pub fn pool(&self) -> PoolId {
        self.pool
    }

    /// When it stops counting: the earlier of what envelope and body say.
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// As it was signed.
    pub fn sealed(&self) -> &[u8] {
        &self.sealed
    }
}

/// Why a descriptor was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DescriptorError {
    /// The envelope around it.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// A node may describe only itself.
    #[error("{signer} signed a descriptor of {described}")]
    WrongNode {
        /// Whom it describes.
        described: NodeId,
        /// Who signed.
        signer: NodeId,
    },
    /// More of something than is accepted.
    #[error("the descriptor has {count} {what}; at most {limit} are accepted")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
    /// A text that is longer than is accepted.
    #[error("the descriptor's {what} has {bytes} bytes; at most {limit} are accepted")]
    TooLong {
        /// Which text.
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// How long it may be.
        limit: usize,
    },
    /// One GPU is claimed twice.
    #[error("the descriptor lists GPU {0} twice")]
    RepeatedGpu(GpuUuid),
    /// It ends before it begins, begins in the future, or counts for more than a day.
    #[error(
        "the descriptor counts from {issued_at} to {expires_at}: that must begin by now, and be at most a day"
    )]
    Lifetime {
        /// When it says it was made.
        issued_at: Timestamp,
        /// When it stops counting.
        expires_at: Timestamp,
    },
    /// Its time is over.
    #[error("the descriptor expired at {expired_at}")]
    Expired {
        /// When.
        expired_at: Timestamp,
    },
}

impl DescriptorError {
    /// The stable code.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Envelope(error) => error.code(),
            Self::WrongNode { .. } => ErrorCode::new("descriptor/wrong-node"),
            Self::TooMany { .. } | Self::TooLong { .. } => ErrorCode::new("descriptor/too-large"),
            Self::RepeatedGpu(_) => ErrorCode::new("descriptor/repeated-gpu"),
            Self::Lifetime { .. } => ErrorCode::new("descriptor/lifetime"),
            Self::Expired { .. } => ErrorCode::new("descriptor/expired"),
        }
    }

    /// What whoever made it should do.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Envelope(_) => {
                "Sign a descriptor for this chain, deployment and pool with the node's key and a correct clock."
            }
            Self::WrongNode { .. } => "Sign the descriptor with the node's own key.",
            Self::TooMany { .. } | Self::TooLong { .. } => {
                "Describe less: fewer or shorter labels, addresses and names."
            }
            Self::RepeatedGpu(_) => "List each GPU once.",
            Self::Lifetime { .. } => "Check the machine's clock; descriptors live for at most 24 hours.",
            Self::Expired { .. } => "Sign a new descriptor; check the clocks of both machines.",
        }
    }
}

/// Verifies a sealed descriptor. `of` is whose it must be, where that is known.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn open(
    sealed: &[u8],
    scope: Scope,
    of: Option<NodeId>,
    now: Timestamp,
) -> Result<VerifiedDescriptor, DescriptorError> {
    let realm = match scope {
        Scope::Pool(realm) => realm,
        Scope::Deployment(realm) => Realm { pool: envelope::peek(sealed)?.realm.pool, ..realm },
    };
    let expected = Expectation { recipient: None, realm, now, signer: of.map(|node| node.0) };
    let opened = envelope::open::<NodeDescriptor>(sealed, &expected)?;
    let (body, signer) = (opened.body, NodeId(opened.signer));
    if body.node != signer {
        return Err(DescriptorError::WrongNode { described: body.node, signer });
    }
    within_time(&body, now)?;
    within_caps(&body)?;
    Ok(VerifiedDescriptor {
        public_key: opened.header.signer,
        pool: realm.pool,
        expires_at: body.expires_at.min(opened.header.expires_at),
        sealed: sealed.to_vec(),
        body,
    })
}

fn within_time(body: &NodeDescriptor, now: Timestamp) -> Result<(), DescriptorError> {
    let (issued_at, expires_at) = (body.issued_at, body.expires_at);
    let begun = issued_at <= now.plus(MAX_CLOCK_SKEW);
    if !begun || expires_at <= issued_at || expires_at > issued_at.plus(MAX_DESCRIPTOR_LIFETIME) {
        return Err(DescriptorError::Lifetime { issued_at, expires_at });
    }
    if expires_at.plus(MAX_CLOCK_SKEW) < now {
        return Err(DescriptorError::Expired { expired_at: expires_at });
    }
    Ok(())
}

fn within_caps(body: &NodeDescriptor) -> Result<(), DescriptorError> {
    let specs = &body.specs;
    for (what, count, limit) in [
        ("GPUs", specs.gpus.len(), MAX_GPUS),
        ("addresses", body.addresses.len(), MAX_ADDRESSES),
        ("labels", specs.labels.len(), MAX_LABELS),
    ] {
        if count > limit {
            return Err(DescriptorError::TooMany { what, count, limit });
        }
    }
    let short = |what: &'static str, text: &str, limit: usize| match text.len() {
        bytes if bytes > limit => Err(DescriptorError::TooLong { what, bytes, limit }),
        _ => Ok(()),
    };
    for address in &body.addresses {
        short("address", address, MAX_TEXT)?;
    }
    for (key, value) in &specs.labels {
        short("label key", key, MAX_LABEL_KEY)?;
        short("label value", value, MAX_TEXT)?;
    }
    short("agent version", &body.agent_version, MAX_TEXT)?;
    short("operating system", &specs.os, MAX_TEXT)?;
    short("architecture", &specs.architecture, MAX_TEXT)?;
    for (what, text) in [
        ("CPU model", &specs.cpu_model),
        ("driver version", &specs.driver_version),
        ("engine version", &specs.engine_version),
    ] {
        short(what, text.as_deref().unwrap_or_default(), MAX_TEXT)?;
    }
    let mut seen = BTreeSet::new();
    for gpu in &specs.gpus {
        short("GPU model", gpu.model.as_deref().unwrap_or_default(), MAX_TEXT)?;
        short("PCI bus id", gpu.pci_bus_id.as_deref().unwrap_or_default(), MAX_TEXT)?;
        if !seen.insert(&gpu.uuid) {
            return Err(DescriptorError::RepeatedGpu(gpu.uuid.clone()));
        }
    }
    Ok(())
}
