//! Proofs that are wrong in content.

use crate::challenge::{Challenge, OpeningSecret};
use crate::digest::Digest;
use crate::error::ProofError;
use crate::merkle::MerkleTree;
use crate::seed::SessionInputs;
use crate::transcript::{Commit, Opening};
use crate::verifier::EpochVerifier;
use crate::walk::WalkState;
use crate::workload::Workload;

/// One way to forge a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgery {
    /// No forgery: the control that shows the others are caught for what they do.
    Honest,
    /// Every other row of the product is left out (zeros).
    SkippedRows,
    /// One entry of each row is off by one bit.
    FlippedEntry,
    /// The low byte of every entry is rounded away, as narrower number formats do.
    RoundedProduct,
    /// All rows are the first one, shifted: what structured (Hankel, circulant) matrices would allow.
    ShiftedRows,
    /// The product was computed before the walk (without the pad that the walk yields).
    EarlyProduct,
    /// Every other walk was not walked.
    SkippedWalks,
    /// One honest walk stands for all walkers.
    CopiedChain,
    /// The openings are empty lists.
    EmptyOpenings,
    /// One row is opened again and again.
    RepeatedRow,
    /// Rows of the prover's choice instead of those asked for.
    OtherRows,
    /// Rows cut short.
    ShortRows,
    /// Entries beyond what a product can have.
    HugeEntries,
    /// Nothing was computed at the commitment; rows are computed when they are asked for.
    LateRows,
    /// The two roots stand in each other's place.
    SwappedRoots,
    /// The proof of an earlier session (another nonce), as it was.
    ReplayedSession,
    /// The proof of an earlier session under the name of this one.
    RelabelledSession,
    /// The proof of another node, as it was.
    ForeignNode,
    /// One GPU's proof given again for a second GPU.
    OneGpuSoldTwice,
}

impl Forgery {
    /// All of them, the honest control first.
    pub const ALL: &'static [Self] = &[
        Self::Honest,
        Self::SkippedRows,
        Self::FlippedEntry,
        Self::RoundedProduct,
        Self::ShiftedRows,
        Self::EarlyProduct,
        Self::SkippedWalks,
        Self::CopiedChain,
        Self::EmptyOpenings,
        Self::RepeatedRow,
        Self::OtherRows,
        Self::ShortRows,
        Self::HugeEntries,
        Self::LateRows,
        Self::SwappedRoots,
        Self::ReplayedSession,
        Self::RelabelledSession,
        Self::ForeignNode,
        Self::OneGpuSoldTwice,
    ];

    /// A name for listings.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Honest => "honest",
            Self::SkippedRows => "skipped-rows",
            Self::FlippedEntry => "flipped-entry",
            Self::RoundedProduct => "rounded-product",
            Self::ShiftedRows => "shifted-rows",
            Self::EarlyProduct => "early-product",
            Self::SkippedWalks => "skipped-walks",
            Self::CopiedChain => "copied-chain",
            Self::EmptyOpenings => "empty-openings",
            Self::RepeatedRow => "repeated-row",
            Self::OtherRows => "other-rows",
            Self::ShortRows => "short-rows",
            Self::HugeEntries => "huge-entries",
            Self::LateRows => "late-rows",
            Self::SwappedRoots => "swapped-roots",
            Self::ReplayedSession => "replayed-session",
            Self::RelabelledSession => "relabelled-session",
            Self::ForeignNode => "foreign-node",
            Self::OneGpuSoldTwice => "one-gpu-sold-twice",
        }
    }

    /// The check that must catch it; none for the honest control.
    #[must_use]
    pub const fn caught_by(self) -> Option<&'static str> {
        match self {
            Self::Honest => None,
            Self::SkippedRows
            | Self::FlippedEntry
            | Self::RoundedProduct
            | Self::ShiftedRows
            | Self::EarlyProduct => Some("proof/freivalds"),
            Self::SkippedWalks | Self::CopiedChain => Some("proof/walk-replay"),
            Self::EmptyOpenings => Some("proof/opening-count"),
            Self::RepeatedRow | Self::OtherRows => Some("proof/opening-index"),
            Self::ShortRows => Some("proof/opening-shape"),
            Self::HugeEntries => Some("proof/row-range"),
            Self::LateRows | Self::SwappedRoots | Self::RelabelledSession | Self::OneGpuSoldTwice => {
                Some("proof/row-merkle")
            }
            Self::ReplayedSession | Self::ForeignNode => Some("proof/session-seed"),
        }
    }

    /// Forges a proof for `session` and has it verified, through the same bytes a peer would send.
    ///
    /// # Errors
    /// The check that caught it. `Ok` means that the forgery passed.
    pub fn attempt(
        self,
        verifier: &EpochVerifier,
        session: &SessionInputs,
        secret: &OpeningSecret,
        later_beacon: &Digest,
    ) -> Result<(), ProofError> {
        let params = *verifier.params();
        let workload = Workload::fill(params, &self.worked_session(session));
        let mut walks = workload.walks();
        self.spoil_walks(&mut walks);
        let walk_tree = workload.walk_tree(&walks);
        let pad = match self {
            Self::EarlyProduct => [0; 64],
            _ => workload.seed.pad(&walk_tree.root()),
        };
        let honest: Vec<_> = (0..params.rows).map(|row| workload.product(&pad, row)).collect();
        let mut committed = honest.clone();
        self.spoil_rows(&mut committed);
        let gemm_tree = MerkleTree::new(
            &workload.seed,
            committed.iter().map(|entries| workload.row_leaf(entries)).collect(),
        );

        let commit = self.commit(&workload, session, &walk_tree, &gemm_tree);
        let challenge = Challenge::derive(&params, secret, &commit, later_beacon);
        let shown = if self == Self::LateRows { &honest } else { &committed };
        let mut opening = Workload::open(
            &self.opened_rows(&challenge, params.rows),
            &challenge.walkers(),
            &gemm_tree,
            &walk_tree,
            |row| shown[row as usize].clone(),
            |walker| walks[walker as usize].clone(),
        );
        self.spoil_opening(&mut opening);
        let commit = Commit::from_bytes(&commit.to_bytes())?;
        verifier.verify_bytes(&session.seed(&params), &commit, &challenge, &opening.to_bytes())
    }

    /// The session the work is really done for.
    fn worked_session(self, session: &SessionInputs) -> SessionInputs {
        let mut worked = session.clone();
        match self {
            Self::ReplayedSession | Self::RelabelledSession => worked.validator_nonce.0[0] ^= 1,
            Self::ForeignNode => worked.node_address[0] ^= 1,
            Self::OneGpuSoldTwice => worked.gpu_uuid.push_str("-twin"),
            _ => {}
        }
        worked
    }

    fn spoil_walks(self, walks: &mut [Vec<WalkState>]) {
        match self {
            Self::SkippedWalks => {
                for state in walks.iter_mut().step_by(2).flatten() {
                    state.a ^= 1;
                }
            }
            Self::CopiedChain => {
                if let Some((first, others)) = walks.split_first_mut() {
                    others.iter_mut().for_each(|walk| walk.clone_from(first));
                }
            }
            _ => {}
        }
    }

    fn spoil_rows(self, rows: &mut [Vec<i32>]) {
        match self {
            Self::SkippedRows => rows.iter_mut().step_by(2).for_each(|row| row.fill(0)),
            Self::FlippedEntry => rows.iter_mut().filter_map(|row| row.last_mut()).for_each(|c| *c ^= 1),
            Self::RoundedProduct => rows.iter_mut().flatten().for_each(|c| *c &= !0xff),
            Self::ShiftedRows => {
                if let Some((first, others)) = rows.split_first_mut() {
                    for (shift, row) in others.iter_mut().enumerate() {
                        row.clone_from(first);
                        row.rotate_left((shift + 1) % first.len().max(1));
                    }
                }
            }
            Self::HugeEntries => {
                rows.iter_mut().filter_map(|row| row.first_mut()).for_each(|c| *c = i32::MIN)
            }
            Self::LateRows => rows.iter_mut().for_each(|row| row.fill(0)),
            _ => {}
        }
    }

    fn commit(
        self,
        workload: &Workload,
        session: &SessionInputs,
        walk_tree: &MerkleTree,
        gemm_tree: &MerkleTree,
    ) -> Commit {
        let session_seed = match self {
            Self::RelabelledSession | Self::OneGpuSoldTwice => session.seed(&workload.params),
            _ => workload.seed,
        };
        match self {
            Self::SwappedRoots => {
                Commit { session_seed, walk_root: gemm_tree.root(), gemm_root: walk_tree.root() }
            }
            _ => Commit { session_seed, walk_root: walk_tree.root(), gemm_root: gemm_tree.root() },
        }
    }

    fn opened_rows(self, challenge: &Challenge, rows: u64) -> Vec<u64> {
        let mut opened = challenge.rows().to_vec();
        match self {
            Self::RepeatedRow => {
                let first = opened.first().copied().unwrap_or_default();
                opened.fill(first);
            }
            Self::OtherRows => opened.iter_mut().for_each(|row| *row = (*row + 1) % rows),
            _ => {}
        }
        opened
    }

    fn spoil_opening(self, opening: &mut Opening) {
        match self {
            Self::EmptyOpenings => {
                opening.rows.clear();
                opening.walks.clear();
            }
            Self::ShortRows => opening.rows.iter_mut().for_each(|row| row.entries.truncate(1)),
            _ => {}
        }
    }
}
