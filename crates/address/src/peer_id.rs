//! The libp2p peer id of a secp256k1 key, as text: base58 of an identity multihash of the key in protobuf
//! (libp2p specs, `peer-ids`). Such an id contains the key itself, so that its Ethereum address follows from it.

use lode_protocol::keys::{KeyError, PublicKey};

/// Multihash: identity, 37 bytes. Protobuf: field 1, key type 2 (secp256k1); field 2, 33 bytes.
const HEAD: [u8; 6] = [0x00, 37, 0x08, 2, 0x12, 33];
const LENGTH: usize = HEAD.len() + PublicKey::LENGTH;

/// The libp2p peer id of a key as people write it, like `16Uiu2HA…`.
///
/// # Errors
/// If the key is no point of the curve.
pub fn peer_id_text(key: &PublicKey) -> Result<String, KeyError> {
    key.check()?;
    Ok(encode(key))
}

pub(crate) fn encode(key: &PublicKey) -> String {
    let mut bytes = [0; LENGTH];
    let (head, rest) = bytes.split_at_mut(HEAD.len());
    head.copy_from_slice(&HEAD);
    rest.copy_from_slice(key.as_bytes());
    bs58::encode(bytes).into_string()
}

/// The key in a peer id; none for ids of other kinds of keys, and for what is no peer id.
pub(crate) fn decode(text: &str) -> Option<PublicKey> {
    let mut bytes = [0; LENGTH];
    let length = bs58::decode(text).onto(&mut bytes).ok()?;
    let (head, key) = bytes.split_at_checked(HEAD.len())?;
    (length == LENGTH && head == HEAD).then_some(())?;
    key.try_into().ok().map(PublicKey)
}

#[cfg(test)]
mod tests {
    use lode_protocol::keys::SigningKey;

    use super::*;

    #[test]
    fn a_key_and_its_peer_id_are_one() {
        for byte in [1u8, 7, 0x42] {
            let key = SigningKey::from_bytes(&[byte; 32]).unwrap().public();
            let text = peer_id_text(&key).unwrap();
            assert!(text.starts_with("16Uiu2HA") && text.len() == 53, "{text}");
            assert_eq!(decode(&text), Some(key));
        }
        assert!(peer_id_text(&PublicKey([9; 33])).is_err());
    }

    #[test]
    fn what_holds_no_secp256k1_key_is_none() {
        // The first is an Ed25519 key's, the second a hash.
        for text in [
            "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp",
            "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
            "",
            "0OIl",
            "16Uiu2HA",
        ] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
