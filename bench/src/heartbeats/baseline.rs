//! What one bare check of a signature takes on this machine.

use std::hint::black_box;
use std::time::Instant;

use lode_protocol::hash::keccak256;
use lode_protocol::keys::SigningKey;

/// Checks in one short measurement.
const CHECKS: u32 = 200;
/// Short measurements at one time.
const ROUNDS: u32 = 20;

/// The best of everything measured.
#[derive(Debug, Default)]
pub(super) struct Baseline(Option<f64>);

impl Baseline {
    /// Measures again. libsecp256k1 with a key that was decompressed before.
    pub(super) fn measure(&mut self) {
        let key = SigningKey::from_bytes(&[5; 32]).expect("a valid key");
        let (digest, public) = (keccak256(b"bench"), key.public().check().expect("a point"));
        let signature = key.sign(&digest);
        for _ in 0..ROUNDS {
            let began = Instant::now();
            for _ in 0..CHECKS {
                public.verify(black_box(&digest), black_box(&signature)).expect("it is right");
            }
            let took = began.elapsed().as_secs_f64() / f64::from(CHECKS) * 1e6;
            self.0 = Some(self.0.map_or(took, |best| best.min(took)));
        }
    }

    pub(super) fn best_micros(&self) -> Option<f64> {
        self.0
    }
}
