//! Which rows and walks the verifier wants to see.
//!
//! The choice follows from a secret the verifier committed to before the epoch, from the commitment, and from
//! public randomness younger than the commitment. So the prover cannot foresee it, and the verifier cannot
//! choose in a colluding node's favour without being found out when the secret is revealed.

use crate::digest::{Digest, derive, derive_stream};
use crate::params::Params;
use crate::transcript::Commit;
use std::collections::HashSet;
use std::fmt;
use zeroize::Zeroize;

/// S_v: the validator's secret of an epoch. Its hash is published before the epoch, itself afterwards.
pub struct OpeningSecret([u8; 32]);

impl OpeningSecret {
    /// From 32 random bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// What is published before the epoch.
    #[must_use]
    pub fn commitment(&self) -> Digest {
        derive("gpu-proof v1 opening secret", &[&self.0])
    }
}

impl fmt::Debug for OpeningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpeningSecret(…)")
    }
}

impl Drop for OpeningSecret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// One walk to be opened, and the interval of it that is replayed. The prover is told the walker only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalkQuery {
    pub walker: u64,
    pub interval: u32,
}

/// The rows and walks to be opened; all rows differ, and all walkers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    rows: Vec<u64>,
    walks: Vec<WalkQuery>,
}

impl Challenge {
    /// Any rows and walks: for whoever checks its own opening before it answers a demand.
    #[must_use]
    pub const fn new(rows: Vec<u64>, walks: Vec<WalkQuery>) -> Self {
        Self { rows, walks }
    }

    /// Derives the challenge. `later_beacon` is the first public randomness after the commitment was received.
    /// `params` must have passed [`Params::check`], as those of an [`EpochVerifier`](crate::EpochVerifier) have.
    #[must_use]
    pub fn derive(params: &Params, secret: &OpeningSecret, commit: &Commit, later_beacon: &Digest) -> Self {
        let mut stream = derive_stream(
            "gpu-proof v1 openings",
            &[
                &secret.0,
                commit.session_seed.0.as_bytes(),
                commit.walk_root.as_bytes(),
                commit.gemm_root.as_bytes(),
                later_beacon.as_bytes(),
            ],
        );
        let mut draw = |below: u64| {
            let mut bytes = [0; 8];
            stream.fill(&mut bytes);
            ((u128::from(u64::from_le_bytes(bytes)) * u128::from(below)) >> 64) as u64
        };
        let rows = distinct(params.row_openings, params.rows, &mut draw);
        let walkers = distinct(params.walk_openings, params.walkers, &mut draw);
        let walks = walkers
            .into_iter()
            .map(|walker| WalkQuery { walker, interval: draw(params.intervals.into()) as u32 })
            .collect();
        Self { rows, walks }
    }

    /// The rows, in the order in which they must be opened.
    #[must_use]
    pub fn rows(&self) -> &[u64] {
        &self.rows
    }

    /// The walks, in the order in which they must be opened.
    #[must_use]
    pub fn walks(&self) -> &[WalkQuery] {
        &self.walks
    }

    /// The walkers of [`Self::walks`]: what the prover is told.
    #[must_use]
    pub fn walkers(&self) -> Vec<u64> {
        self.walks.iter().map(|query| query.walker).collect()
    }
}

/// `count` different numbers below `below`. Ends, because never more are wanted than exist.
fn distinct(count: u32, below: u64, draw: &mut impl FnMut(u64) -> u64) -> Vec<u64> {
    let wanted = u64::from(count).min(below) as usize;
    let mut seen = HashSet::with_capacity(wanted);
    let mut chosen = Vec::with_capacity(wanted);
    while chosen.len() < wanted {
        let number = draw(below);
        if seen.insert(number) {
            chosen.push(number);
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::SessionSeed;

    fn commit(byte: u8) -> Commit {
        Commit {
            session_seed: SessionSeed(Digest([1; 32])),
            walk_root: Digest([byte; 32]),
            gemm_root: Digest([3; 32]),
        }
    }

    #[test]
    fn rows_and_walkers_are_distinct_and_in_range() {
        for params in [Params::TINY, Params::H200_141, Params { walkers: 40, ..Params::TINY }] {
            let challenge =
                Challenge::derive(&params, &OpeningSecret::new([5; 32]), &commit(2), &Digest([4; 32]));
            let rows: HashSet<_> = challenge.rows().iter().collect();
            let walkers: HashSet<_> = challenge.walkers().into_iter().collect();
            assert_eq!(rows.len(), 64);
            assert_eq!(walkers.len(), 40);
            assert!(rows.iter().all(|row| **row < params.rows));
            assert!(
                challenge.walks().iter().all(|w| w.walker < params.walkers && w.interval < params.intervals)
            );
        }
    }

    #[test]
    fn secret_commitment_and_later_beacon_each_change_the_choice() {
        let of = |secret, commit_byte, beacon| {
            Challenge::derive(
                &Params::H200_141,
                &OpeningSecret::new([secret; 32]),
                &commit(commit_byte),
                &Digest([beacon; 32]),
            )
        };
        assert_eq!(of(1, 2, 3), of(1, 2, 3));
        assert_ne!(of(1, 2, 3), of(9, 2, 3));
        assert_ne!(of(1, 2, 3), of(1, 9, 3));
        assert_ne!(of(1, 2, 3), of(1, 2, 9));
    }

    #[test]
    fn the_secret_is_not_printed() {
        assert_eq!(format!("{:?}", OpeningSecret::new([7; 32])), "OpeningSecret(…)");
    }
}
