//! The checks, on a CPU, without a second copy of any matrix.
//!
//! Per epoch the verifier draws two secret vectors r and computes `v = Btᵀ·r` once. A committed row `c = a·B` is
//! right if and, but for a chance of 2^-62, only if `c·r = a·v` for both, exactly, in integers. r is never sent,
//! never committed to and never shared: whoever knows it can forge rows. Every committee member draws its own.

use crate::challenge::Challenge;
use crate::checks::{
    Asked, check_committed_row, check_committed_walk, check_counts, check_session, check_shapes, interval_of,
};
use crate::digest::derive;
use crate::error::ProofError;
use crate::lines::vectorized;
use crate::matrix::{fill_column, padded_row};
use crate::params::Params;
use crate::seed::{EpochInputs, SessionSeed};
use crate::transcript::{Commit, Opening, RowOpening, WalkOpening};
use crate::walk::replay;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use std::fmt;
use zeroize::Zeroize;

/// 32 random bytes from which a verifier draws its vectors. Fresh for every epoch and verifier; never stored.
pub struct FreivaldsSecret([u8; 32]);

impl FreivaldsSecret {
    /// From 32 random bytes of the operating system.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for FreivaldsSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FreivaldsSecret(…)")
    }
}

impl Drop for FreivaldsSecret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// One secret vector and its image under Bᵀ.
struct Projection {
    /// `width` numbers below 2^31.
    random: Vec<i32>,
    /// `depth` numbers of at most 2^54.
    image: Vec<i64>,
}

/// Verifies all proofs of one class in one epoch. Costs `depth · width` once, then little per GPU.
pub struct EpochVerifier {
    params: Params,
    projections: [Projection; 2],
}

impl fmt::Debug for EpochVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EpochVerifier").field("params", &self.params).finish_non_exhaustive()
    }
}

impl Drop for EpochVerifier {
    fn drop(&mut self) {
        for projection in &mut self.projections {
            projection.random.zeroize();
            projection.image.zeroize();
        }
    }
}

impl EpochVerifier {
    /// Draws the secret vectors and computes their images.
    ///
    /// # Errors
    /// [`ProofError::Params`].
    pub fn new(params: Params, epoch: &EpochInputs, secret: FreivaldsSecret) -> Result<Self, ProofError> {
        params.check()?;
        let mut random = ChaCha8Rng::from_seed(derive("gpu-proof v1 freivalds", &[&secret.0]).0);
        let mut projections = [(); 2].map(|()| Projection {
            random: (0..params.width).map(|_| (random.next_u32() >> 1).cast_signed()).collect(),
            image: vec![0; params.depth as usize],
        });
        vectorized(
            #[inline(always)]
            || project(&params, epoch, &mut projections),
        );
        Ok(Self { params, projections })
    }

    /// The parameters all proofs must have.
    #[must_use]
    pub const fn params(&self) -> &Params {
        &self.params
    }

    /// As [`Self::verify`], from the bytes a prover sent.
    ///
    /// # Errors
    /// Those of [`Opening::from_bytes`] and [`Self::verify`].
    pub fn verify_bytes(
        &self,
        session: &SessionSeed,
        commit: &Commit,
        challenge: &Challenge,
        opening: &[u8],
    ) -> Result<(), ProofError> {
        check_session(session, commit)?;
        self.verify(session, commit, challenge, &Opening::from_bytes(opening, &self.params)?)
    }

    /// Checks an opening. In this order: session, counts, indexes and shapes (all before any hashing), then for
    /// each row range, Merkle path and product, then for each walk Merkle path and one replayed interval.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn verify(
        &self,
        session: &SessionSeed,
        commit: &Commit,
        challenge: &Challenge,
        opening: &Opening,
    ) -> Result<(), ProofError> {
        let asked = Asked { rows: challenge.rows(), walkers: &challenge.walkers() };
        check_session(session, commit)?;
        check_counts(&self.params, asked, opening)?;
        check_shapes(&self.params, asked, opening)?;
        self.check_rows(session, commit, &opening.rows)?;
        self.check_walks(session, commit, challenge, &opening.walks)
    }

    fn check_rows(
        &self,
        session: &SessionSeed,
        commit: &Commit,
        rows: &[RowOpening],
    ) -> Result<(), ProofError> {
        let params = &self.params;
        let key = session.line_key();
        let pad = session.pad(&commit.walk_root);
        for opened in rows {
            check_committed_row(params, session, commit, opened)?;
            let RowOpening { row, entries, .. } = opened;
            let factors = vectorized(
                #[inline(always)]
                || padded_row(params, &key, &pad, *row),
            );
            for Projection { random, image } in &self.projections {
                if weighted_entries(entries, random) != weighted_factors(&factors, image) {
                    return Err(ProofError::Freivalds { row: *row });
                }
            }
        }
        Ok(())
    }

    fn check_walks(
        &self,
        session: &SessionSeed,
        commit: &Commit,
        challenge: &Challenge,
        walks: &[WalkOpening],
    ) -> Result<(), ProofError> {
        let params = &self.params;
        let mut intervals = Vec::with_capacity(walks.len());
        let mut committed = Vec::with_capacity(walks.len());
        for (opened, query) in walks.iter().zip(challenge.walks()) {
            check_committed_walk(params, session, commit, opened)?;
            let failed = ProofError::WalkReplay { walker: opened.walker, interval: query.interval };
            let (interval, after) = interval_of(session, opened, query.interval).ok_or(failed)?;
            intervals.push(interval);
            committed.push(after);
        }
        let key = session.line_key();
        let replayed = vectorized(
            #[inline(always)]
            || replay(params, &key, &intervals),
        );
        for ((interval, replayed), committed) in intervals.iter().zip(&replayed).zip(&committed) {
            if replayed != committed {
                return Err(ProofError::WalkReplay { walker: interval.walker, interval: interval.interval });
            }
        }
        Ok(())
    }
}

/// `c·r`, exact: at most 2^16 products below 2^61.
#[inline(always)]
fn weighted_entries(entries: &[i32], random: &[i32]) -> i128 {
    entries.iter().zip(random).map(|(c, r)| i128::from(i64::from(*c) * i64::from(*r))).sum()
}

/// `a·v`, exact: at most 2^16 products of at most 2^61.
#[inline(always)]
fn weighted_factors(factors: &[u8], image: &[i64]) -> i128 {
    factors.iter().zip(image).map(|(a, v)| i128::from(i64::from(a.cast_signed()).wrapping_mul(*v))).sum()
}

/// Columns of B that are generated before they are added to the images; fewer passes over the images.
const COLUMNS: usize = 8;

/// `image[t] = Σ_j Bt[j,t] · random[j]`, exact in i64: at most 2^16 products below 2^38.
#[inline(always)]
fn project(params: &Params, epoch: &EpochInputs, projections: &mut [Projection; 2]) {
    let matrix_key = epoch.matrix_key(params);
    let mut columns: [Vec<u8>; COLUMNS] = [const { Vec::new() }; COLUMNS];
    for first in (0..params.width as usize).step_by(COLUMNS) {
        for (column, bytes) in (first as u64..).zip(&mut columns) {
            bytes.resize(params.depth as usize, 0);
            fill_column(&matrix_key, column, bytes);
        }
        for Projection { random, image } in projections.iter_mut() {
            for (bytes, factor) in columns.iter().zip(random.iter().skip(first)) {
                for (sum, entry) in image.iter_mut().zip(bytes) {
                    let product = i64::from(entry.cast_signed()).wrapping_mul(i64::from(*factor));
                    *sum = sum.wrapping_add(product);
                }
            }
        }
    }
}
