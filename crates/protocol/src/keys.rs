//! secp256k1 keys and signatures: signing, verifying against a known key, recovering where only the address is known.
//!
//! Verification against a known public key is the hot path (about 40 µs); recovery is dearer and used for EIP-712
//! signatures only.

mod text;

use std::cell::Cell;
use std::fmt;
use std::ptr;
use std::str::FromStr;

use secp256k1::ecdh::SharedSecret;
use secp256k1::ecdsa::{self, RecoverableSignature, RecoveryId};
use secp256k1::ffi::{self, CPtr as _};
use secp256k1::{Message, with_raw_global_context};
use zeroize::Zeroizing;

use crate::fixed_bytes::{fixed_bytes, plain_hex};
use crate::hash::{Digest, keccak256};
use crate::ids::Address;

pub use text::ForeignKey;

/// Signatures of one thread between two blindings of its context. A blinding costs as much as a signature, and the
/// library's own function does one after each: what it protects against (whoever measures how long signing takes, or how
/// much power) needs many signatures of one blinding.
const SIGNATURES_PER_BLINDING: u32 = 64;

/// A key or signature that is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not a valid secret scalar.
    #[error("not a secp256k1 secret key: expected 32 bytes between 1 and the group order")]
    Secret,
    /// Not the text of a secret key.
    #[error("no secret key: {0}")]
    Foreign(ForeignKey),
    /// Not a valid point.
    #[error("not a compressed secp256k1 public key")]
    Public,
    /// Malformed, high-s, or not made by this key over this message.
    #[error("the signature does not verify")]
    Signature,
}

/// A secret key. `Debug` is redacted; the text form is zeroized when dropped.
#[derive(Clone)]
pub struct SigningKey {
    secret: secp256k1::SecretKey,
    public: PublicKey,
    address: Address,
}

impl SigningKey {
    /// From 32 bytes; callers pass entropy here to generate a key.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        let secret = secp256k1::SecretKey::from_secret_bytes(*bytes).map_err(|_| KeyError::Secret)?;
        let point = secp256k1::PublicKey::from_secret_key(&secret);
        Ok(Self { secret, public: PublicKey(point.serialize()), address: address_of(&point) })
    }

    /// The secret as hexadecimal text for a 0600 file. Never log this.
    pub fn to_hex(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("0x{}", hex::encode(self.secret.to_secret_bytes())))
    }

    /// The raw secret for libraries that need it (libp2p, transaction signers).
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.secret.to_secret_bytes())
    }

    /// The public key.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// The Ethereum address of this key.
    pub fn address(&self) -> Address {
        self.address
    }

    /// Signs a digest (64 bytes, low s).
    pub fn sign(&self, digest: &Digest) -> Signature {
        thread_local! {
            static SIGNED: Cell<u32> = const { Cell::new(0) };
        }
        let signed = SIGNED.get().wrapping_add(1);
        SIGNED.set(signed);
        let blinding = signed.is_multiple_of(SIGNATURES_PER_BLINDING).then_some(&digest.0);
        let mut made = ecdsa::Signature::from(ffi_signature());
        let done = with_raw_global_context(
            // SAFETY: the context is this thread's, made for signing and alive during the call. The function writes one
            // signature, and reads 32 bytes of digest and 32 of a valid secret; without nonce data there is none to read.
            |context| unsafe {
                ffi::secp256k1_ecdsa_sign(
                    context.as_ptr(),
                    made.as_mut_c_ptr(),
                    digest.0.as_ptr(),
                    self.secret.as_c_ptr(),
                    ffi::secp256k1_nonce_function_rfc6979,
                    ptr::null(),
                )
            },
            blinding,
        );
        // It fails for no valid secret; if it ever does, the library's own function says so in its own way.
        let made = if done == 1 { made } else { ecdsa::sign(Message::from_digest(digest.0), &self.secret) };
        Signature(made.serialize_compact())
    }

    /// A secret that only the holders of both keys know: SHA-256 of the compressed point of the Diffie-Hellman exchange.
    pub(crate) fn agree(&self, theirs: &VerifyingKey) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(SharedSecret::new(&theirs.point, &self.secret).to_secret_bytes())
    }

    /// Signs a digest so that contracts can recover the signer (65 bytes: r, s, v with v = 27 or 28).
    pub fn sign_recoverable(&self, digest: &Digest) -> EthereumSignature {
        let signature =
            RecoverableSignature::sign_ecdsa_recoverable(Message::from_digest(digest.0), &self.secret);
        let (recovery, compact) = signature.serialize_compact();
        let mut bytes = [0u8; 65];
        let (head, tail) = bytes.split_at_mut(64);
        head.copy_from_slice(&compact);
        tail.fill(27 + recovery.to_u8());
        EthereumSignature(bytes)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({}, secret redacted)", self.address())
    }
}

impl Drop for SigningKey {
    fn drop(&mut self) {
        self.secret.non_secure_erase();
    }
}

fixed_bytes!(
    /// A compressed secp256k1 public key. Holding one does not mean that it is a valid point: [`PublicKey::address`]
    /// and [`PublicKey::verify`] check.
    PublicKey,
    33
);
plain_hex!(PublicKey);

impl PublicKey {
    /// The point, which may be kept to check further signatures.
    pub fn check(&self) -> Result<VerifyingKey, KeyError> {
        let point = secp256k1::PublicKey::from_byte_array_compressed(self.0).map_err(|_| KeyError::Public)?;
        Ok(VerifyingKey { point, address: address_of(&point) })
    }

    /// The Ethereum address: the last 20 bytes of keccak-256 of the uncompressed point.
    pub fn address(&self) -> Result<Address, KeyError> {
        Ok(self.check()?.address)
    }

    /// Verifies a signature over a digest; high-s signatures are refused.
    pub fn verify(&self, digest: &Digest, signature: &Signature) -> Result<(), KeyError> {
        self.check()?.verify(digest, signature)
    }
}

/// A public key that is a valid point. Making one costs a tenth of a signature's check.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VerifyingKey {
    point: secp256k1::PublicKey,
    address: Address,
}

impl VerifyingKey {
    /// Its Ethereum address.
    pub fn address(&self) -> Address {
        self.address
    }

    /// Verifies a signature over a digest; high-s signatures are refused.
    pub fn verify(&self, digest: &Digest, signature: &Signature) -> Result<(), KeyError> {
        let signature = ecdsa::Signature::from_compact(&signature.0).map_err(|_| KeyError::Signature)?;
        ecdsa::verify(&signature, Message::from_digest(digest.0), &self.point)
            .map_err(|_| KeyError::Signature)
    }
}

fn ffi_signature() -> ffi::Signature {
    // SAFETY: all zeros, to be written to; nothing reads it before.
    unsafe { ffi::Signature::new() }
}

fn address_of(point: &secp256k1::PublicKey) -> Address {
    let uncompressed = point.serialize_uncompressed();
    let hash = keccak256(uncompressed.get(1..).unwrap_or_default());
    let mut address = [0u8; 20];
    address.copy_from_slice(hash.0.get(12..).unwrap_or(&[0; 20]));
    Address(address)
}

/// A 64-byte compact signature of the wire envelope.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; 64]);

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{}", hex::encode(self.0))
    }
}

impl<C> minicbor::Encode<C> for Signature {
    fn encode<W: minicbor::encode::Write>(
        &self,
        encoder: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        encoder.bytes(&self.0)?.ok()
    }
}

impl<'b, C> minicbor::Decode<'b, C> for Signature {
    fn decode(decoder: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        <[u8; 64]>::try_from(decoder.bytes()?)
            .map(Signature)
            .map_err(|_| minicbor::decode::Error::message("wrong length of Signature"))
    }
}

/// A 65-byte Ethereum signature (r, s, v) over an EIP-712 digest.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct EthereumSignature(pub [u8; 65]);

impl EthereumSignature {
    /// The address whose key signed `digest`. Refuses high s (EIP-2) and v other than 27 and 28.
    pub fn recover(&self, digest: &Digest) -> Result<Address, KeyError> {
        let (compact, v) = self.0.split_at(64);
        let recovery = match v {
            [27] => RecoveryId::Zero,
            [28] => RecoveryId::One,
            _ => return Err(KeyError::Signature),
        };
        let signature =
            RecoverableSignature::from_compact(compact, recovery).map_err(|_| KeyError::Signature)?;
        let mut normalized = signature.to_standard();
        normalized.normalize_s();
        if normalized != signature.to_standard() {
            return Err(KeyError::Signature);
        }
        let point = signature.recover(Message::from_digest(digest.0)).map_err(|_| KeyError::Signature)?;
        Ok(address_of(&point))
    }
}

impl fmt::Display for EthereumSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{}", hex::encode(self.0))
    }
}

impl fmt::Debug for EthereumSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for EthereumSignature {
    type Err = crate::ids::ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        crate::ids::parse_hex("signature", text).map(EthereumSignature)
    }
}

impl serde::Serialize for EthereumSignature {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for EthereumSignature {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl<C> minicbor::Encode<C> for EthereumSignature {
    fn encode<W: minicbor::encode::Write>(
        &self,
        encoder: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        encoder.bytes(&self.0)?.ok()
    }
}

impl<'b, C> minicbor::Decode<'b, C> for EthereumSignature {
    fn decode(decoder: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        <[u8; 65]>::try_from(decoder.bytes()?)
            .map(EthereumSignature)
            .map_err(|_| minicbor::decode::Error::message("wrong length of EthereumSignature"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> SigningKey {
        SigningKey::from_bytes(&[byte; 32]).unwrap()
    }

    #[test]
    fn the_address_of_key_one_is_the_well_known_one() {
        let mut bytes = [0u8; 32];
        bytes[31] = 1;
        let address = SigningKey::from_bytes(&bytes).unwrap().address();
        assert_eq!(address.to_string(), "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf");
    }

    #[test]
    fn a_signature_verifies_for_its_key_and_digest_only() {
        let digest = keccak256(b"beat");
        let signature = key(1).sign(&digest);
        assert_eq!(key(1).public().verify(&digest, &signature), Ok(()));
        assert!(key(2).public().verify(&digest, &signature).is_err());
        assert!(key(1).public().verify(&keccak256(b"other"), &signature).is_err());
    }

    #[test]
    fn signatures_are_deterministic_and_the_library_s_own_across_blindings() {
        for number in 0..=2 * SIGNATURES_PER_BLINDING {
            let digest = keccak256(&number.to_be_bytes());
            let ours = key(1).sign(&digest);
            let theirs = ecdsa::sign(Message::from_digest(digest.0), &key(1).secret);
            assert_eq!(ours.0, theirs.serialize_compact(), "signature {number}");
        }
    }

    #[test]
    fn a_malleated_signature_is_refused() {
        // n - s, with v flipped, is a second valid signature of the same message: it must not pass.
        const ORDER: [u8; 32] = [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe,
            0xba, 0xae, 0xdc, 0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41,
        ];
        let digest = keccak256(b"invite");
        let signature = key(1).sign_recoverable(&digest);
        assert_eq!(signature.recover(&digest), Ok(key(1).address()));
        let mut high = signature.0;
        let mut borrow = 0i16;
        for i in (0..32).rev() {
            let difference = i16::from(ORDER[i]) - i16::from(signature.0[32 + i]) - borrow;
            borrow = i16::from(difference < 0);
            high[32 + i] = difference.rem_euclid(256) as u8;
        }
        high[64] = 55 - high[64];
        assert_eq!(EthereumSignature(high).recover(&digest), Err(KeyError::Signature));
    }

    #[test]
    fn debug_shows_no_secret() {
        let text = format!("{:?}", key(0x42));
        assert!(!text.contains("4242"), "{text}");
    }
}
