//! keccak-256, the one hash of signed messages and of everything the chain reads.

use sha3::{Digest as _, Keccak256};

use crate::fixed_bytes::{fixed_bytes, plain_hex};

fixed_bytes!(
    /// A 32-byte hash.
    Digest,
    32
);
plain_hex!(Digest);

/// keccak-256 of `bytes` (Ethereum's variant, not SHA-3).
pub fn keccak256(bytes: &[u8]) -> Digest {
    keccak256_of([bytes])
}

/// keccak-256 of the concatenation of `parts`.
pub fn keccak256_of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Digest {
    let mut hasher = Keccak256::new();
    for part in parts {
        hasher.update(part);
    }
    Digest(hasher.finalize().into())
}
