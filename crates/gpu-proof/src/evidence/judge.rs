//! The judgement itself.

use std::collections::BTreeSet;

use lode_protocol::ids::GpuUuid;
use lode_protocol::proof::{Phase, Selection};
use lode_protocol::units::Timestamp;

use super::acquittal::Acquittal;
use super::conversation::{Commitment, Conversation};
use super::file::{Evidence, Exhibit, Suspect};
use super::verdict::{Deed, Guilt, Verdict};
use crate::checks::{
    Asked, check_committed_row, check_committed_walk, check_counts, check_interval_exactly,
    check_row_exactly, check_shapes,
};
use crate::error::ProofError;
use crate::params::Params;
use crate::seed::EpochInputs;
use crate::transcript::{Commit, Opening};

/// Judges a file of evidence. Pure, without secrets, never panics: the same bytes give the same verdict everywhere.
///
/// Who is accused of what, and whether the deed was judged before or is too old, is the caller's to compare with
/// [`Deed`].
#[must_use]
pub fn verify_evidence(bytes: &[u8]) -> Verdict {
    match judge(bytes) {
        Ok((deed, guilt)) => Verdict::Guilty { deed, guilt },
        Err(acquittal) => Verdict::Innocent(acquittal),
    }
}

fn judge(bytes: &[u8]) -> Result<(Deed, Guilt), Acquittal> {
    let evidence = Evidence::from_bytes(bytes)?;
    let params = evidence.params();
    let (prepare, start) = evidence.challenge();
    let conversation = Conversation::open(params, prepare, start)?;
    let deed = |gpu: GpuUuid, at: Timestamp| Deed {
        realm: conversation.realm(),
        node: conversation.node,
        validator: conversation.validator,
        gpu,
        start: conversation.start,
        at,
    };
    match evidence.exhibit() {
        Exhibit::TwoCommits { first, second } => {
            let first = conversation.commitment("the first commit", first)?;
            let second = conversation.commitment("the second commit", second)?;
            if first.gpu != second.gpu || !exclude_each_other(&first, &second) {
                return Err(Acquittal::NothingFalse);
            }
            let at = first.at.max(second.at);
            Ok((deed(first.gpu, at), Guilt::TwoCommits))
        }
        Exhibit::Opening { product, demand, opened, suspect } => {
            let product = conversation.commitment("the product's commit", product)?;
            let gpu = &product.gpu;
            let (Phase::Product, Some(walk)) = (product.phase, product.walk) else {
                let reason = "it is not the commit of a product, with its walk";
                return Err(Acquittal::Unbound { what: "the product's commit", reason });
            };
            let (asked, selection) = conversation.demand(demand, gpu)?;
            is_lawful(params, &selection)?;
            let (opening, at) = conversation.opening(opened, gpu, asked)?;
            let session = conversation.session(gpu, product.key);
            let commit = Commit {
                session_seed: session.seed(params),
                walk_root: walk.into(),
                gemm_root: product.root.into(),
            };
            let error = falsehood(params, &session.epoch(), &commit, &selection, &opening, *suspect)?;
            let at = product.at.max(at);
            Ok((deed(product.gpu, at), Guilt::Opening(error)))
        }
    }
}

/// Whether no honest node signs both: a session gives the same roots wherever and whenever it is computed.
fn exclude_each_other(first: &Commitment, second: &Commitment) -> bool {
    let walk = |commitment: &Commitment| match commitment.phase {
        Phase::Walk => Some(commitment.root),
        Phase::Product => commitment.walk,
    };
    let product = |commitment: &Commitment| match commitment.phase {
        Phase::Walk => None,
        Phase::Product => Some(commitment.root),
    };
    let differ = |one: Option<_>, other: Option<_>| one.is_some() && other.is_some() && one != other;
    differ(walk(first), walk(second)) || differ(product(first), product(second))
}

/// A validator asks for as many different rows and walks as the class opens, all of which there are. A node that was
/// asked for anything else owes nothing.
fn is_lawful(params: &Params, selection: &Selection) -> Result<(), Acquittal> {
    let distinct = |asked: &[u64], count: u32, below: u64| {
        asked.len() == count as usize
            && asked.iter().all(|number| *number < below)
            && asked.iter().collect::<BTreeSet<_>>().len() == asked.len()
    };
    if !distinct(&selection.rows, params.row_openings, params.rows) {
        return Err(Acquittal::UnlawfulDemand("its rows are not those that the class opens"));
    }
    if !distinct(&selection.walkers, params.walk_openings, params.walkers) {
        return Err(Acquittal::UnlawfulDemand("its walks are not those that the class opens"));
    }
    Ok(())
}

/// The first check that the opening fails.
fn falsehood(
    params: &Params,
    epoch: &EpochInputs,
    commit: &Commit,
    selection: &Selection,
    opening: &[u8],
    suspect: Option<Suspect>,
) -> Result<ProofError, Acquittal> {
    let opening = match Opening::from_bytes(opening, params) {
        Ok(opening) => opening,
        Err(
            error @ (ProofError::OpeningCount { .. }
            | ProofError::OpeningShape { .. }
            | ProofError::RowRange { .. }),
        ) => return Ok(error),
        Err(
            error @ (ProofError::Params { .. }
            | ProofError::Size { .. }
            | ProofError::Encoding { .. }
            | ProofError::SessionSeed { .. }
            | ProofError::OpeningIndex { .. }
            | ProofError::RowMerkle { .. }
            | ProofError::Freivalds { .. }
            | ProofError::WalkMerkle { .. }
            | ProofError::WalkReplay { .. }
            | ProofError::WalkLate { .. }
            | ProofError::GemmLate { .. }
            | ProofError::RootOrder { .. }),
        ) => return Err(Acquittal::Unreadable(error)),
    };
    let checked = check_opening(params, commit, selection, &opening);
    match checked.and_then(|()| check_suspect(params, epoch, commit, &opening, suspect)) {
        Err(error) => Ok(error),
        Ok(()) => Err(Acquittal::NothingFalse),
    }
}

fn check_opening(
    params: &Params,
    commit: &Commit,
    selection: &Selection,
    opening: &Opening,
) -> Result<(), ProofError> {
    let asked = Asked { rows: &selection.rows, walkers: &selection.walkers };
    check_counts(params, asked, opening)?;
    check_shapes(params, asked, opening)?;
    for row in &opening.rows {
        check_committed_row(params, &commit.session_seed, commit, row)?;
    }
    for walk in &opening.walks {
        check_committed_walk(params, &commit.session_seed, commit, walk)?;
    }
    Ok(())
}

/// A suspicion about something that was not opened is none.
fn check_suspect(
    params: &Params,
    epoch: &EpochInputs,
    commit: &Commit,
    opening: &Opening,
    suspect: Option<Suspect>,
) -> Result<(), ProofError> {
    match suspect {
        None => Ok(()),
        Some(Suspect::Row { position }) => match opening.rows.get(position as usize) {
            Some(row) => check_row_exactly(params, epoch, commit, row),
            None => Ok(()),
        },
        Some(Suspect::Walk { position, interval }) => match opening.walks.get(position as usize) {
            Some(walk) => check_interval_exactly(params, commit, walk, interval).unwrap_or(Ok(())),
            None => Ok(()),
        },
    }
}
