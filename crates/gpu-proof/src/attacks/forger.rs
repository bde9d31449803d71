//! A prover that forges, behind the same trait as the honest ones: a worker that runs it signs what it says.

use super::forgery::Forgery;
use crate::error::ProverError;
use crate::merkle::MerkleTree;
use crate::params::Params;
use crate::prover::{Prover, ProverEvent};
use crate::seed::SessionInputs;
use crate::transcript::{Commit, Opening};
use crate::walk::WalkState;
use crate::workload::Workload;

/// Forges in one way.
#[derive(Debug)]
pub struct ForgingProver {
    forgery: Forgery,
    gpu_uuid: String,
    params: Option<Params>,
    forged: Option<Forged>,
}

#[derive(Debug)]
struct Forged {
    params: Params,
    /// Rows as they are shown.
    shown: Vec<Vec<i32>>,
    walks: Vec<Vec<WalkState>>,
    gemm_tree: MerkleTree,
    walk_tree: MerkleTree,
}

impl ForgingProver {
    /// A forger that says it computes on this GPU.
    #[must_use]
    pub const fn new(forgery: Forgery, gpu_uuid: String) -> Self {
        Self { forgery, gpu_uuid, params: None, forged: None }
    }
}

impl Prover for ForgingProver {
    fn gpu_uuid(&self) -> &str {
        &self.gpu_uuid
    }

    fn name(&self) -> String {
        format!("a forger: {}", self.forgery.name())
    }

    fn prepare(&mut self, params: &Params) -> Result<(), ProverError> {
        params.check()?;
        self.params = Some(*params);
        self.forged = None;
        Ok(())
    }

    fn start(
        &mut self,
        session: &SessionInputs,
        emit: &mut dyn FnMut(ProverEvent),
    ) -> Result<Commit, ProverError> {
        let params = self.params.ok_or(ProverError::NotPrepared)?;
        let forgery = self.forgery;
        let workload = Workload::fill(params, &forgery.worked_session(session));
        let mut walks = workload.walks();
        forgery.spoil_walks(&mut walks);
        let walk_tree = workload.walk_tree(&walks);
        let pad = match forgery {
            Forgery::EarlyProduct => [0; 64],
            _ => workload.seed.pad(&walk_tree.root()),
        };
        let honest: Vec<_> = (0..params.rows).map(|row| workload.product(&pad, row)).collect();
        let mut committed = honest.clone();
        forgery.spoil_rows(&mut committed);
        let leaves = committed.iter().map(|entries| workload.row_leaf(entries)).collect();
        let gemm_tree = MerkleTree::new(&workload.seed, leaves);
        let commit = forgery.commit(&workload, session, &walk_tree, &gemm_tree);
        emit(ProverEvent::WalkRoot { session_seed: commit.session_seed, root: commit.walk_root });
        emit(ProverEvent::GemmRoot { root: commit.gemm_root });
        let shown = if forgery == Forgery::LateRows { honest } else { committed };
        self.forged = Some(Forged { params, shown, walks, gemm_tree, walk_tree });
        Ok(commit)
    }

    fn open(&mut self, rows: &[u64], walkers: &[u64]) -> Result<Opening, ProverError> {
        let forged = self.forged.as_ref().ok_or(ProverError::NotStarted)?;
        let (row_count, walker_count) = (forged.params.rows, forged.params.walkers);
        let missing = |what, index: &u64, count| ProverError::NoSuchIndex { what, index: *index, count };
        if let Some(index) = rows.iter().find(|row| **row >= row_count) {
            return Err(missing("rows", index, row_count));
        }
        if let Some(index) = walkers.iter().find(|walker| **walker >= walker_count) {
            return Err(missing("walkers", index, walker_count));
        }
        let mut opening = Workload::open(
            &self.forgery.opened_rows(rows, row_count),
            walkers,
            &forged.gemm_tree,
            &forged.walk_tree,
            |row| forged.shown[row as usize].clone(), // checked above
            |walker| forged.walks[walker as usize].clone(),
        );
        self.forgery.spoil_opening(&mut opening);
        Ok(opening)
    }

    fn release(&mut self) {
        self.params = None;
        self.forged = None;
    }
}

impl Forgery {
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

    fn opened_rows(self, asked: &[u64], rows: u64) -> Vec<u64> {
        let mut opened = asked.to_vec();
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
