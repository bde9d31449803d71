//! What a session is bound to, and the keys that follow from it.
//!
//! Every input that must not be exchangeable stands in the seed: the sizes, the epoch's beacon and the
//! committee's nonce (freshness), chain and pool, the node's address and public key, and the GPU. Two sessions
//! that differ in any of them share no line of their datasets.

use crate::digest::{Digest, derive, derive_long};
use crate::lines::LineKey;
use crate::params::Params;
use lode_protocol::envelope::Realm;
use lode_protocol::hash::Digest as WireDigest;
use lode_protocol::ids::{GpuUuid, NodeId};
use lode_protocol::keys::PublicKey;
use minicbor::{Decode, Encode};
use std::fmt;

/// What all sessions of an epoch share: it keys the matrix B.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochInputs {
    pub chain_id: u64,
    /// The epoch's public randomness, unknown to anybody before the epoch.
    pub beacon: Digest,
}

/// Everything one session is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct SessionInputs {
    /// The epoch's public randomness.
    #[n(0)]
    pub epoch_beacon: Digest,
    /// Hash of the committee's nonces, revealed at the start.
    #[n(1)]
    pub validator_nonce: Digest,
    #[n(2)]
    pub chain_id: u64,
    /// The pool's identifier as 32 bytes (a number in big-endian form, an address left padded with zeros).
    #[n(3)]
    pub pool: Digest,
    /// The node's address on the chain.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub node_address: [u8; 20],
    /// The node's secp256k1 public key, compressed.
    #[cbor(n(5), with = "minicbor::bytes")]
    pub node_public_key: [u8; 33],
    /// The GPU's UUID as NVML gives it.
    #[n(6)]
    pub gpu_uuid: String,
}

impl SessionInputs {
    /// What node, validator and whoever judges them derive from the same facts: the deployment (a proof is for the
    /// node and not for one of its pools), the node and its key, the GPU, and what `Start` said.
    #[must_use]
    pub fn of(
        realm: Realm,
        (node, public_key): (NodeId, PublicKey),
        gpu: &GpuUuid,
        beacon: WireDigest,
        nonce: WireDigest,
    ) -> Self {
        let mut deployment = [0; 32];
        for (to, from) in deployment.iter_mut().rev().zip(realm.deployment.0.iter().rev()) {
            *to = *from;
        }
        Self {
            epoch_beacon: beacon.into(),
            validator_nonce: nonce.into(),
            chain_id: realm.chain.0,
            pool: Digest(deployment),
            node_address: node.0.0,
            node_public_key: public_key.0,
            gpu_uuid: gpu.as_str().to_owned(),
        }
    }

    /// The part that keys B.
    #[must_use]
    pub const fn epoch(&self) -> EpochInputs {
        EpochInputs { chain_id: self.chain_id, beacon: self.epoch_beacon }
    }

    /// The session seed σ.
    #[must_use]
    pub fn seed(&self, params: &Params) -> SessionSeed {
        SessionSeed(derive(
            "gpu-proof v1 session",
            &[
                params.hash().as_bytes(),
                self.epoch_beacon.as_bytes(),
                self.validator_nonce.as_bytes(),
                &self.chain_id.to_le_bytes(),
                self.pool.as_bytes(),
                &self.node_address,
                &self.node_public_key,
                self.gpu_uuid.as_bytes(),
            ],
        ))
    }
}

/// The session seed σ: keys the dataset, the start of each walk, and both Merkle trees. It is no secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct SessionSeed(#[n(0)] pub Digest);

impl SessionSeed {
    /// The key of the session's dataset lines.
    #[must_use]
    pub fn line_key(&self) -> LineKey {
        LineKey::new(&derive("gpu-proof v1 D", &[self.0.as_bytes()]))
    }

    /// The bytes with which every line is XORed to make A. They are unknown before the walk is done, so the
    /// product cannot be computed ahead of it.
    #[must_use]
    pub fn pad(&self, walk_root: &Digest) -> [u8; 64] {
        derive_long("gpu-proof v1 pad", &[self.0.as_bytes(), walk_root.as_bytes()])
    }
}

impl fmt::Display for SessionSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for SessionSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl EpochInputs {
    /// The key of the matrix B, common to all GPUs of a class in an epoch.
    pub(crate) fn matrix_key(&self, params: &Params) -> Digest {
        derive(
            "gpu-proof v1 B",
            &[params.hash().as_bytes(), &self.chain_id.to_le_bytes(), self.beacon.as_bytes()],
        )
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn inputs() -> SessionInputs {
        SessionInputs {
            epoch_beacon: Digest([1; 32]),
            validator_nonce: Digest([2; 32]),
            chain_id: 31_337,
            pool: Digest([3; 32]),
            node_address: [4; 20],
            node_public_key: [5; 33],
            gpu_uuid: "GPU-00000000-0000-0000-0000-000000000001".to_owned(),
        }
    }

    #[test]
    fn every_input_changes_the_session_seed() {
        let base = inputs();
        let changed = [
            SessionInputs { epoch_beacon: Digest([9; 32]), ..base.clone() },
            SessionInputs { validator_nonce: Digest([9; 32]), ..base.clone() },
            SessionInputs { chain_id: 1, ..base.clone() },
            SessionInputs { pool: Digest([9; 32]), ..base.clone() },
            SessionInputs { node_address: [9; 20], ..base.clone() },
            SessionInputs { node_public_key: [9; 33], ..base.clone() },
            SessionInputs { gpu_uuid: "GPU-2".to_owned(), ..base.clone() },
        ];
        let seed = base.seed(&Params::TINY);
        for other in changed {
            assert_ne!(other.seed(&Params::TINY), seed, "{other:?}");
        }
        assert_ne!(base.seed(&Params::H200_141), seed);
    }

    #[test]
    fn the_matrix_depends_on_class_chain_and_beacon_only() {
        let base = inputs();
        let key = base.epoch().matrix_key(&Params::TINY);
        let neighbour = SessionInputs { node_address: [9; 20], gpu_uuid: "GPU-2".to_owned(), ..base.clone() };
        assert_eq!(neighbour.epoch().matrix_key(&Params::TINY), key);
        assert_ne!(base.epoch().matrix_key(&Params::H200_141), key);
        assert_ne!(EpochInputs { chain_id: 1, ..base.epoch() }.matrix_key(&Params::TINY), key);
        assert_ne!(EpochInputs { beacon: Digest([8; 32]), ..base.epoch() }.matrix_key(&Params::TINY), key);
    }
}
