//! One epoch's attestation, as it is stored. How it gets on: [`super::attestor`].

use lode_chain_types::{Epoch, EpochTree, Leaf};
use lode_protocol::hash::Digest;
use minicbor::{Decode, Encode};

/// How far an attestation is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum Stage {
    /// The commitment is on its way.
    #[n(0)]
    Committing,
    /// It is mined.
    #[n(1)]
    Committed,
    /// The reveal is on its way.
    #[n(2)]
    Revealing,
    /// It is mined.
    #[n(3)]
    Revealed,
    /// The leaves are being shown.
    #[n(4)]
    Proving,
    /// Nothing more is done about it.
    #[n(5)]
    Over,
}

/// One epoch's attestation. Saved before its commitment is sent.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Attestation {
    /// The epoch.
    #[n(0)]
    pub epoch: Epoch,
    /// Hides the root until it is revealed.
    #[n(1)]
    pub salt: Digest,
    /// What is attested.
    #[n(2)]
    pub leaves: Vec<Leaf>,
    /// How far it is.
    #[n(3)]
    pub stage: Stage,
}

impl Attestation {
    pub(super) fn tree(&self) -> Option<EpochTree> {
        EpochTree::new(self.leaves.clone()).ok()
    }

    /// The root; zero only for an attestation without leaves, which is never made.
    pub fn root(&self) -> Digest {
        self.tree().map(|tree| tree.root()).unwrap_or_default()
    }
}
