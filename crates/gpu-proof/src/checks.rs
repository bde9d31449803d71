//! What can be checked of an opening without any secret: counts, indexes, shapes, ranges and Merkle paths, and, at the
//! cost of computing it, one row or one interval exactly.
//!
//! [`crate::EpochVerifier`] replaces the exact check of rows by one that costs little and is as good; whoever judges
//! evidence wants the same answer as everybody else and pays for it.

use crate::encoding::{check_range, check_shape};
use crate::error::ProofError;
use crate::lines::vectorized;
use crate::matrix::{is_product, padded_row, row_bytes};
use crate::merkle::{leaf_hash, path_leads_to, path_length};
use crate::params::Params;
use crate::seed::{EpochInputs, SessionSeed};
use crate::transcript::{Commit, Opening, RowOpening, WalkOpening, state_bytes};
use crate::walk::{Interval, WalkState, replay};

/// What was to be opened, in this order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) rows: &'a [u64],
    pub(crate) walkers: &'a [u64],
}

pub(crate) fn check_session(session: &SessionSeed, commit: &Commit) -> Result<(), ProofError> {
    if commit.session_seed == *session {
        Ok(())
    } else {
        Err(ProofError::SessionSeed { expected: session.to_string(), found: commit.session_seed.to_string() })
    }
}

pub(crate) fn check_counts(params: &Params, asked: Asked<'_>, opening: &Opening) -> Result<(), ProofError> {
    let counts = [
        ("rows", params.row_openings, opening.rows.len()),
        ("walks", params.walk_openings, opening.walks.len()),
        // a challenge derived from other parameters must not make the proof easier
        ("challenged rows", params.row_openings, asked.rows.len()),
        ("challenged walks", params.walk_openings, asked.walkers.len()),
    ];
    for (what, expected, found) in counts {
        if found as u64 != u64::from(expected) {
            return Err(ProofError::OpeningCount { what, expected: expected.into(), found: found as u64 });
        }
    }
    Ok(())
}

pub(crate) fn check_shapes(params: &Params, asked: Asked<'_>, opening: &Opening) -> Result<(), ProofError> {
    for (position, (row, asked)) in opening.rows.iter().zip(asked.rows).enumerate() {
        check_index("rows", position, *asked, row.row)?;
        check_shape("row", position, params.row_bytes(), row.entries.len() * 4)?;
        check_shape("row path", position, path_length(params.rows) * 32, row.path.len() * 32)?;
    }
    for (position, (walk, asked)) in opening.walks.iter().zip(asked.walkers).enumerate() {
        check_index("walks", position, *asked, walk.walker)?;
        check_shape("walk", position, params.walk_bytes(), walk.states.len() * WalkState::BYTES)?;
        check_shape("walk path", position, path_length(params.walkers) * 32, walk.path.len() * 32)?;
    }
    Ok(())
}

fn check_index(what: &'static str, position: usize, expected: u64, found: u64) -> Result<(), ProofError> {
    if expected == found { Ok(()) } else { Err(ProofError::OpeningIndex { what, position, expected, found }) }
}

/// Whether the row can be a product, and is the one under the GEMM root.
pub(crate) fn check_committed_row(
    params: &Params,
    session: &SessionSeed,
    commit: &Commit,
    RowOpening { row, entries, path }: &RowOpening,
) -> Result<(), ProofError> {
    check_range(params, *row, entries)?;
    let leaf = leaf_hash(session, &row_bytes(entries));
    if path_leads_to(session, &commit.gemm_root, params.rows, *row, leaf, path) {
        Ok(())
    } else {
        Err(ProofError::RowMerkle { row: *row })
    }
}

/// Whether the states are the ones under the WALK root.
pub(crate) fn check_committed_walk(
    params: &Params,
    session: &SessionSeed,
    commit: &Commit,
    WalkOpening { walker, states, path }: &WalkOpening,
) -> Result<(), ProofError> {
    let leaf = leaf_hash(session, &state_bytes(states));
    if path_leads_to(session, &commit.walk_root, params.walkers, *walker, leaf, path) {
        Ok(())
    } else {
        Err(ProofError::WalkMerkle { walker: *walker })
    }
}

/// An interval of an opened walk, and the state in which it ends by the prover's word; `None` is no interval of it.
pub(crate) fn interval_of(
    session: &SessionSeed,
    WalkOpening { walker, states, .. }: &WalkOpening,
    interval: u32,
) -> Option<(Interval, WalkState)> {
    let before = match interval.checked_sub(1) {
        None => WalkState::start(session, *walker),
        Some(earlier) => *states.get(earlier as usize)?,
    };
    let after = *states.get(interval as usize)?;
    Some((Interval { walker: *walker, interval, before }, after))
}

/// Whether a row is the product, by computing all of it.
pub(crate) fn check_row_exactly(
    params: &Params,
    epoch: &EpochInputs,
    commit: &Commit,
    RowOpening { row, entries, .. }: &RowOpening,
) -> Result<(), ProofError> {
    let key = commit.session_seed.line_key();
    let pad = commit.session_seed.pad(&commit.walk_root);
    let right = vectorized(
        #[inline(always)]
        || is_product(&padded_row(params, &key, &pad, *row), &epoch.matrix_key(params), entries),
    );
    if right { Ok(()) } else { Err(ProofError::Freivalds { row: *row }) }
}

/// Whether one interval of a walk comes out as committed; `None` is no interval of it.
pub(crate) fn check_interval_exactly(
    params: &Params,
    commit: &Commit,
    walk: &WalkOpening,
    interval: u32,
) -> Option<Result<(), ProofError>> {
    let (begun, after) = interval_of(&commit.session_seed, walk, interval)?;
    let key = commit.session_seed.line_key();
    let replayed = vectorized(
        #[inline(always)]
        || replay(params, &key, &[begun]),
    );
    let right = replayed == [after];
    Some(if right { Ok(()) } else { Err(ProofError::WalkReplay { walker: walk.walker, interval }) })
}
