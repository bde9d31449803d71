//! Everything that nodes must not foresee: drawn from one secret that the shell takes from the operating system.

use std::fmt;

use lode_gpu_proof::OpeningSecret;
use lode_protocol::hash::{Digest, keccak256_of};
use lode_protocol::ids::Nonce;

/// The secret of one run of the program. Never stored; another one after a restart.
#[derive(Clone)]
pub struct Secret {
    bytes: [u8; 32],
    drawn: u64,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Secret {
    /// From 32 random bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self { bytes, drawn: 0 }
    }

    /// A digest that nobody has seen.
    pub(super) fn digest(&mut self) -> Digest {
        self.drawn = self.drawn.saturating_add(1);
        keccak256_of([b"Lode validator draw".as_slice(), &self.bytes, &self.drawn.to_be_bytes()])
    }

    /// A name for a run.
    pub(super) fn nonce(&mut self) -> Nonce {
        let digest = self.digest();
        let mut nonce = [0; 16];
        for (to, from) in nonce.iter_mut().zip(digest.0) {
            *to = from;
        }
        Nonce(nonce)
    }

    /// A secret from which a run's openings are chosen.
    pub(super) fn opening(&mut self) -> OpeningSecret {
        OpeningSecret::new(self.digest().0)
    }
}
