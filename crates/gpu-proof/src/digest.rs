//! A 32-byte digest and the one way in which this crate derives keys.

use minicbor::{Decode, Encode};
use std::fmt;

/// 32 bytes: a BLAKE3 hash, a Merkle root, a beacon or a nonce.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub struct Digest(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 32]);

impl Digest {
    /// All zero bytes; nobody knows a preimage of it.
    pub const ZERO: Self = Self([0; 32]);

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for Digest {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl From<lode_protocol::hash::Digest> for Digest {
    fn from(digest: lode_protocol::hash::Digest) -> Self {
        Self(digest.0)
    }
}

impl From<Digest> for lode_protocol::hash::Digest {
    fn from(digest: Digest) -> Self {
        Self(digest.0)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `BLAKE3.derive_key(context, Σ u64-LE(len part) ‖ part)`. The length prefixes keep `("ab","c")` and
/// `("a","bc")` apart.
pub(crate) fn derive(context: &str, parts: &[&[u8]]) -> Digest {
    Digest(*hasher(context, parts).finalize().as_bytes())
}

/// As [`derive`], with `N` bytes of output.
pub(crate) fn derive_long<const N: usize>(context: &str, parts: &[&[u8]]) -> [u8; N] {
    let mut out = [0; N];
    hasher(context, parts).finalize_xof().fill(&mut out);
    out
}

/// As [`derive`], as an endless stream.
pub(crate) fn derive_stream(context: &str, parts: &[&[u8]]) -> blake3::OutputReader {
    hasher(context, parts).finalize_xof()
}

fn hasher(context: &str, parts: &[&[u8]]) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moving_a_byte_between_two_parts_changes_the_derived_key() {
        assert_ne!(derive("test", &[b"ab", b"c"]), derive("test", &[b"a", b"bc"]));
        assert_ne!(derive("test", &[b"ab"]), derive("other", &[b"ab"]));
    }
}
