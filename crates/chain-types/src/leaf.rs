//! What the validators say about one node, hashed as the contract hashes it.

use lode_protocol::hash::{Digest, keccak256_of};
use lode_protocol::ids::{NodeId, ValidatorId};
use lode_protocol::proof::ProofClassId;
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::epoch::Epoch;

/// One leaf of an epoch's tree. Scores are in basis points of the class's reference.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, Serialize, Deserialize)]
pub struct Leaf {
    /// The node.
    #[n(0)]
    pub node: NodeId,
    /// Its hardware class.
    #[n(1)]
    pub class: ProofClassId,
    /// GPUs challenged at one instant.
    #[n(2)]
    pub gpu_count: u16,
    /// Hash of their sorted uuids.
    #[n(3)]
    pub uuid_set: Digest,
    /// GPU memory in GiB.
    #[n(4)]
    pub vram_gib: u32,
    /// Memory score.
    #[n(5)]
    pub walk_score: u16,
    /// Arithmetic score.
    #[n(6)]
    pub gemm_score: u16,
    /// Median of the validators' measurements, in milliseconds.
    #[n(7)]
    pub median_millis: u32,
    /// Whether it passed.
    #[n(8)]
    pub pass: bool,
    /// Hash of the transcript.
    #[n(9)]
    pub transcript: Digest,
    /// Last epoch in which it counts.
    #[n(10)]
    pub expiry_epoch: Epoch,
}

impl Leaf {
    /// keccak256(keccak256(abi.encode(leaf))): twice, so that an inner node can never pass for a leaf.
    pub fn hash(&self) -> Digest {
        let words = [
            word(&self.node.0.0),
            word(&self.class.0.to_be_bytes()),
            word(&self.gpu_count.to_be_bytes()),
            self.uuid_set.0,
            word(&self.vram_gib.to_be_bytes()),
            word(&self.walk_score.to_be_bytes()),
            word(&self.gemm_score.to_be_bytes()),
            word(&self.median_millis.to_be_bytes()),
            word(&[u8::from(self.pass)]),
            self.transcript.0,
            word(&self.expiry_epoch.0.to_be_bytes()),
        ];
        let inner = keccak256_of(words.iter().map(|word| &word[..]));
        keccak256_of([&inner.0[..]])
    }
}

/// What a validator commits to: nobody can copy it, because it names the validator.
pub fn commitment(validator: ValidatorId, epoch: Epoch, salt: Digest, root: Digest) -> Digest {
    keccak256_of([&word(&validator.0.0)[..], &word(&epoch.0.to_be_bytes()), &salt.0, &root.0])
}

/// A number or address of at most 32 big-endian bytes as a word.
fn word(bytes: &[u8]) -> [u8; 32] {
    let mut word = [0u8; 32];
    for (to, from) in word.iter_mut().rev().zip(bytes.iter().rev()) {
        *to = *from;
    }
    word
}
