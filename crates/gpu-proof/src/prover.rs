//! The prover's side: the trait every prover implements, and the CPU reference.

use crate::digest::Digest;
use crate::error::ProverError;
use crate::merkle::MerkleTree;
use crate::params::Params;
use crate::seed::{SessionInputs, SessionSeed};
use crate::transcript::{Commit, Opening};
use crate::walk::WalkState;
use crate::workload::Workload;

/// What a prover tells while a session runs, the moment it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProverEvent {
    /// WALK is done.
    WalkRoot { session_seed: SessionSeed, root: Digest },
    /// GEMM is done; the commitment is complete.
    GemmRoot { root: Digest },
}

/// A prover for one GPU.
pub trait Prover {
    /// The GPU it computes on, as NVML names it.
    fn gpu_uuid(&self) -> &str;

    /// What it is, for logs: name and version.
    fn name(&self) -> String;

    /// Allocates and warms up, before the start is known. Ends a session that is still open.
    ///
    /// # Errors
    /// When the parameters are invalid or the device cannot hold them.
    fn prepare(&mut self, params: &Params) -> Result<(), ProverError>;

    /// Runs FILL, WALK and GEMM; calls `emit` with each root as soon as it is known.
    ///
    /// # Errors
    /// When it was not prepared, the session is for another GPU, or the device fails.
    fn start(
        &mut self,
        session: &SessionInputs,
        emit: &mut dyn FnMut(ProverEvent),
    ) -> Result<Commit, ProverError>;

    /// Opens rows and walks of the last session, in the order asked for.
    ///
    /// # Errors
    /// When no session was proven, an index does not exist, or more is asked for than the class allows.
    fn open(&mut self, rows: &[u64], walkers: &[u64]) -> Result<Opening, ProverError>;

    /// Frees the device's memory and forgets the session.
    fn release(&mut self);
}

/// The reference prover. Exact, slow, and limited in memory.
#[derive(Debug)]
pub struct CpuProver {
    gpu_uuid: String,
    memory_limit_bytes: u64,
    state: State,
}

/// Idle —prepare→ Prepared —start→ Proven —start→ Proven; prepare and release lead back from anywhere.
#[derive(Debug)]
enum State {
    Idle,
    Prepared(Params),
    Proven(Box<Proven>),
}

#[derive(Debug)]
struct Proven {
    workload: Workload,
    pad: [u8; 64],
    walks: Vec<Vec<WalkState>>,
    walk_tree: MerkleTree,
    gemm_tree: MerkleTree,
}

impl CpuProver {
    /// How much a session may allocate unless told otherwise: 1 GiB.
    pub const DEFAULT_MEMORY_LIMIT_BYTES: u64 = 1 << 30;

    /// A prover that says it computes on this GPU.
    #[must_use]
    pub const fn new(gpu_uuid: String) -> Self {
        Self { gpu_uuid, memory_limit_bytes: Self::DEFAULT_MEMORY_LIMIT_BYTES, state: State::Idle }
    }

    /// Dataset, matrix, walk states and leaf hashes.
    const fn memory_needed(params: &Params) -> u64 {
        let matrix = params.depth as u64 * params.width as u64;
        let walks = params.walkers.saturating_mul(params.walk_bytes() as u64 + 128);
        let leaves = params.rows.saturating_mul(64);
        params.dataset_bytes().saturating_add(matrix).saturating_add(walks).saturating_add(leaves)
    }
}

impl Prover for CpuProver {
    fn gpu_uuid(&self) -> &str {
        &self.gpu_uuid
    }

    fn name(&self) -> String {
        concat!("lode-prove-cpu ", env!("CARGO_PKG_VERSION")).to_owned()
    }

    fn prepare(&mut self, params: &Params) -> Result<(), ProverError> {
        params.check()?;
        let (needed, limit) = (Self::memory_needed(params), self.memory_limit_bytes);
        if needed > limit {
            return Err(ProverError::TooLarge { needed, limit });
        }
        self.state = State::Prepared(*params);
        Ok(())
    }

    fn start(
        &mut self,
        session: &SessionInputs,
        emit: &mut dyn FnMut(ProverEvent),
    ) -> Result<Commit, ProverError> {
        let params = match &self.state {
            State::Idle => return Err(ProverError::NotPrepared),
            State::Prepared(params) => *params,
            State::Proven(proven) => proven.workload.params,
        };
        if session.gpu_uuid != self.gpu_uuid {
            return Err(ProverError::WrongGpu {
                session: session.gpu_uuid.clone(),
                own: self.gpu_uuid.clone(),
            });
        }
        self.state = State::Prepared(params); // frees an earlier session before this one allocates

        let workload = Workload::fill(params, session);
        let seed = workload.seed;
        let walks = workload.walks();
        let walk_tree = workload.walk_tree(&walks);
        emit(ProverEvent::WalkRoot { session_seed: seed, root: walk_tree.root() });

        let pad = seed.pad(&walk_tree.root());
        let leaves = (0..params.rows).map(|row| workload.row_leaf(&workload.product(&pad, row))).collect();
        let gemm_tree = MerkleTree::new(&seed, leaves);
        emit(ProverEvent::GemmRoot { root: gemm_tree.root() });

        let commit = Commit { session_seed: seed, walk_root: walk_tree.root(), gemm_root: gemm_tree.root() };
        self.state = State::Proven(Box::new(Proven { workload, pad, walks, walk_tree, gemm_tree }));
        Ok(commit)
    }

    fn open(&mut self, rows: &[u64], walkers: &[u64]) -> Result<Opening, ProverError> {
        let State::Proven(proven) = &self.state else { return Err(ProverError::NotStarted) };
        let params = &proven.workload.params;
        check_request("rows", rows, params.rows, params.row_openings)?;
        check_request("walkers", walkers, params.walkers, params.walk_openings)?;
        Ok(Workload::open(
            rows,
            walkers,
            &proven.gemm_tree,
            &proven.walk_tree,
            |row| proven.workload.product(&proven.pad, row),
            |walker| proven.walks[walker as usize].clone(), // checked above
        ))
    }

    fn release(&mut self) {
        self.state = State::Idle;
    }
}

/// Refuses indexes that do not exist and more of them than the class opens.
fn check_request(what: &'static str, indexes: &[u64], count: u64, limit: u32) -> Result<(), ProverError> {
    if indexes.len() as u64 > u64::from(limit) {
        return Err(ProverError::TooManyOpenings { what, found: indexes.len() as u64, limit: limit.into() });
    }
    match indexes.iter().find(|index| **index >= count) {
        Some(&index) => Err(ProverError::NoSuchIndex { what, index, count }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::tests::inputs;

    #[test]
    fn requests_out_of_order_are_refused_and_change_nothing() {
        let mut prover = CpuProver::new(inputs().gpu_uuid);
        let start = |prover: &mut CpuProver| prover.start(&inputs(), &mut |_| ());
        assert_eq!(start(&mut prover), Err(ProverError::NotPrepared));
        assert_eq!(prover.open(&[0], &[0]), Err(ProverError::NotStarted));
        prover.prepare(&Params::TINY).unwrap();
        assert_eq!(prover.open(&[0], &[0]), Err(ProverError::NotStarted));
        let first = start(&mut prover).unwrap();
        assert_eq!(start(&mut prover).unwrap(), first);
        assert_eq!(prover.open(&[256], &[0]).unwrap_err().code(), "prover/no-such-index");
        assert_eq!(prover.open(&[0], &[u64::MAX]).unwrap_err().code(), "prover/no-such-index");
        assert_eq!(prover.open(&[0; 65], &[0]).unwrap_err().code(), "prover/too-many-openings");
        assert_eq!(prover.open(&[7], &[1, 2]).unwrap().walks.len(), 2);
        prover.release();
        assert_eq!(prover.open(&[0], &[0]), Err(ProverError::NotStarted));
    }

    #[test]
    fn a_session_for_another_gpu_is_refused() {
        let mut prover = CpuProver::new("GPU-other".to_owned());
        prover.prepare(&Params::TINY).unwrap();
        let refused = prover.start(&inputs(), &mut |_| panic!("no root may be emitted"));
        assert_eq!(refused.unwrap_err().code(), "prover/wrong-gpu");
    }

    #[test]
    fn a_class_that_does_not_fit_into_memory_is_refused_before_allocating() {
        let mut prover = CpuProver::new("GPU-1".to_owned());
        assert_eq!(prover.prepare(&Params::H200_141).unwrap_err().code(), "prover/too-large");
        let invalid = Params { rows: 0, ..Params::TINY };
        assert_eq!(prover.prepare(&invalid).unwrap_err().code(), "proof/params");
    }

    #[test]
    fn roots_are_emitted_in_order_and_equal_the_commitment() {
        let mut prover = CpuProver::new(inputs().gpu_uuid);
        prover.prepare(&Params::TINY).unwrap();
        let mut events = Vec::new();
        let commit = prover.start(&inputs(), &mut |event| events.push(event)).unwrap();
        let expected = [
            ProverEvent::WalkRoot { session_seed: commit.session_seed, root: commit.walk_root },
            ProverEvent::GemmRoot { root: commit.gemm_root },
        ];
        assert_eq!(events, expected);
    }
}
