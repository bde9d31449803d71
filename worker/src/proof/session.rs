//! What both sides of a proof derive from the same facts.

use lode_gpu_proof::{Digest, SessionInputs};
use lode_protocol::envelope::Realm;
use lode_protocol::ids::GpuUuid;
use lode_protocol::keys::SigningKey;

/// The inputs of one GPU's session. The validator derives the same ones from its own knowledge.
pub(super) fn inputs(
    key: &SigningKey,
    realm: Realm,
    gpu: &GpuUuid,
    beacon: lode_protocol::hash::Digest,
    nonce: lode_protocol::hash::Digest,
) -> SessionInputs {
    let mut deployment = [0; 32];
    for (to, from) in deployment.iter_mut().rev().zip(realm.deployment.0.iter().rev()) {
        *to = *from;
    }
    SessionInputs {
        epoch_beacon: Digest(beacon.0),
        validator_nonce: Digest(nonce.0),
        chain_id: realm.chain.0,
        pool: Digest(deployment),
        node_address: key.address().0,
        node_public_key: key.public().0,
        gpu_uuid: gpu.as_str().to_owned(),
    }
}
