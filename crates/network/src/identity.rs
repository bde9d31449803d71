//! One identity in three spellings: secp256k1 key, Ethereum address, libp2p peer id.
//!
//! The peer id of a secp256k1 key contains the key itself (identity multihash), so that the address follows from it
//! without asking anybody. The reverse needs the public key: an address is a hash.

use libp2p::PeerId;
use libp2p::identity::{self, Keypair, secp256k1};
use lode_protocol::ids::Address;
use lode_protocol::keys::{PublicKey, SigningKey};

use crate::error::NetworkError;

/// Multihash code of "the bytes themselves".
const IDENTITY_MULTIHASH: u64 = 0;

pub(crate) fn keypair(key: &SigningKey) -> Result<Keypair, NetworkError> {
    let secret =
        secp256k1::SecretKey::try_from_bytes(*key.to_bytes()).map_err(|_| NetworkError::UnsupportedPeer)?;
    Ok(Keypair::from(secp256k1::Keypair::from(secret)))
}

/// The address of the key that a peer id contains; `None` for other kinds of keys.
pub(crate) fn address_of(peer: &PeerId) -> Option<Address> {
    key_of(peer)?.address().ok()
}

/// The key that a peer id contains; `None` for other kinds of keys.
pub(crate) fn key_of(peer: &PeerId) -> Option<PublicKey> {
    let multihash = peer.as_ref();
    if multihash.code() != IDENTITY_MULTIHASH {
        return None;
    }
    let key = identity::PublicKey::try_decode_protobuf(multihash.digest()).ok()?;
    let key = key.try_into_secp256k1().ok()?;
    Some(PublicKey(key.to_bytes()))
}

pub(crate) fn peer_id_of(key: &PublicKey) -> Result<PeerId, NetworkError> {
    let key =
        secp256k1::PublicKey::try_from_bytes(key.as_bytes()).map_err(|_| NetworkError::UnsupportedPeer)?;
    Ok(PeerId::from_public_key(&identity::PublicKey::from(key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_follows_from_the_peer_id() {
        for byte in [1u8, 7, 0x42] {
            let key = SigningKey::from_bytes(&[byte; 32]).unwrap();
            let peer = keypair(&key).unwrap().public().to_peer_id();
            assert_eq!(address_of(&peer), Some(key.address()));
            assert_eq!(peer_id_of(&key.public()).unwrap(), peer);
            assert_eq!(lode_address::peer_id_text(&key.public()).unwrap(), peer.to_string());
        }
    }

    #[test]
    fn a_hashed_peer_id_has_no_address() {
        // A random peer id is a SHA-256-like digest under the identity code: it decodes to no key.
        assert_eq!(address_of(&PeerId::random()), None);
    }
}
