//! A node's public description of itself: what discovery lists and orchestrators read.
//!
//! It comes from anybody, so that there is one way to read it: [`open`]. What that accepts is a [`VerifiedDescriptor`],
//! and nothing else makes one.

mod check;
#[cfg(test)]
mod tests;

pub use check::{DescriptorError, Scope, VerifiedDescriptor, open};

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::envelope::{Purpose, Signable};
use crate::hardware::NodeSpecs;
use crate::ids::{BootCounter, NodeId};
use crate::units::{Millis, Timestamp};

/// Longest time for which a descriptor may be valid.
pub const MAX_DESCRIPTOR_LIFETIME: Millis = Millis::seconds(24 * 3600);
/// Most addresses in a descriptor.
pub const MAX_ADDRESSES: usize = 16;
/// Most labels in a descriptor.
pub const MAX_LABELS: usize = 64;
/// Longest key of a label, in bytes.
pub const MAX_LABEL_KEY: usize = 128;
/// Longest of all other texts in a descriptor, in bytes.
pub const MAX_TEXT: usize = 256;

/// Signed by the node's key for anybody, in the realm of its deployment and pool. Of two descriptors of a node the one
/// with the higher (boot, sequence) counts.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, Serialize, Deserialize)]
pub struct NodeDescriptor {
    /// The node; must be the signer.
    #[n(0)]
    pub node: NodeId,
    /// Hardware and software, as claimed.
    #[n(1)]
    pub specs: NodeSpecs,
    /// libp2p multiaddresses under which the node may be dialled; may be empty (outbound only).
    #[n(2)]
    pub addresses: Vec<String>,
    /// X25519 key to which secrets for this node are sealed.
    #[n(3)]
    pub sealing_key: Option<[u8; 32]>,
    /// Version of the worker.
    #[n(4)]
    pub agent_version: String,
    /// How often the worker has started.
    #[n(5)]
    pub boot: BootCounter,
    /// Grows with every descriptor of one boot.
    #[n(6)]
    pub sequence: u64,
    /// When it was made, by the node's clock.
    #[n(7)]
    pub issued_at: Timestamp,
    /// When it stops counting.
    #[n(8)]
    pub expires_at: Timestamp,
}

impl NodeDescriptor {
    /// What orders descriptors of one node.
    pub fn version(&self) -> (BootCounter, u64) {
        (self.boot, self.sequence)
    }
}

impl Signable for NodeDescriptor {
    const PURPOSE: Purpose = Purpose::Descriptor;
    const MAX_BYTES: usize = 64 << 10;
}
