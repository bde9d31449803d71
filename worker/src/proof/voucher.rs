//! What this node signs for its provers in one run. What is signed can cost its provider's stake, so that each thing is
//! signed once, in its turn, for this run's session and demand; and an opening only after it was checked as a validator
//! would check it: a GPU that computes wrongly shall not be proven, but it is no fraud.

use std::collections::BTreeMap;

use lode_gpu_proof::prover_protocol::Response;
use lode_gpu_proof::{
    Challenge as Choice, Commit, EpochVerifier, FreivaldsSecret, Params, SessionInputs, WalkQuery,
};
use lode_protocol::hash::Digest;
use lode_protocol::ids::{GpuUuid, Nonce};
use lode_protocol::proof::{Answer, GpuOpening, Phase, Selection};
use rand::TryRngCore as _;
use rand::rngs::OsRng;

/// What a prover's word comes to.
#[derive(Debug)]
pub(super) enum Vouched {
    /// Nothing is to be said.
    Nothing,
    /// This is to be said.
    Say(Answer),
    /// This is to be said if it is right.
    Check(Box<Doubt>),
}

/// An opening before it is signed.
#[derive(Debug)]
pub(super) struct Doubt {
    params: Params,
    session: SessionInputs,
    commit: Commit,
    selection: Selection,
    /// What is signed if it is right.
    pub(super) answer: Answer,
}

/// One GPU's part of a run.
#[derive(Debug)]
struct Part {
    session: SessionInputs,
    walk: Option<Digest>,
    product: Option<Digest>,
    /// By which demand it was to be opened; once.
    demand: Option<(Digest, Selection)>,
    opened: bool,
}

/// The signatures of one run.
#[derive(Debug)]
pub(super) struct Voucher {
    run: Nonce,
    params: Params,
    /// The `Start` that is answered.
    start: Digest,
    parts: BTreeMap<GpuUuid, Part>,
}

impl Voucher {
    pub(super) fn new(run: Nonce, params: Params, start: Digest) -> Self {
        Self { run, params, start, parts: BTreeMap::new() }
    }

    /// A GPU begins to prove a session.
    pub(super) fn begin(&mut self, gpu: GpuUuid, session: SessionInputs) {
        let part = Part { session, walk: None, product: None, demand: None, opened: false };
        self.parts.insert(gpu, part);
    }

    /// Whether a demand is to be met: within the class's bounds, after the commits, and the first of its GPU.
    pub(super) fn demand(&mut self, digest: Digest, selection: &Selection) -> bool {
        let within = selection.rows.len() <= self.params.row_openings as usize
            && selection.walkers.len() <= self.params.walk_openings as usize;
        let Some(part) = self.parts.get_mut(&selection.gpu) else { return false };
        let due = within && part.product.is_some() && part.demand.is_none();
        if due {
            part.demand = Some((digest, selection.clone()));
        }
        due
    }

    /// What to make of a prover's word; the error is why its GPU takes no further part.
    pub(super) fn vouch(&mut self, gpu: &GpuUuid, response: Response) -> Result<Vouched, String> {
        let part = self.parts.get_mut(gpu).ok_or("the prover spoke before the start")?;
        let (run, start) = (self.run, Some(self.start));
        match response {
            Response::WalkRoot { session_seed, root } => {
                if session_seed != part.session.seed(&self.params) {
                    return Err("the prover works on another session than it was given".to_owned());
                }
                let root = Digest::from(root);
                if part.walk.replace(root).is_some() {
                    return Err("the prover told two walks".to_owned());
                }
                let (gpu, phase) = (gpu.clone(), Phase::Walk);
                Ok(Vouched::Say(Answer::Committed { run, gpu, phase, root, start, walk: None }))
            }
            Response::GemmRoot { root } => {
                let root = Digest::from(root);
                if part.walk.is_none() || part.product.replace(root).is_some() {
                    return Err("the prover told a product before its walk, or two".to_owned());
                }
                let (gpu, phase, walk) = (gpu.clone(), Phase::Product, part.walk);
                Ok(Vouched::Say(Answer::Committed { run, gpu, phase, root, start, walk }))
            }
            Response::Opening { bytes: opening } => {
                let (Some((demand, selection)), Some(walk), Some(product), false) =
                    (part.demand.clone(), part.walk, part.product, part.opened)
                else {
                    return Err("the prover opened something that was not asked for".to_owned());
                };
                part.opened = true;
                let opening = GpuOpening { gpu: gpu.clone(), opening };
                let answer = Answer::Opened { run, opening, start, demand: Some(demand) };
                let commit = Commit {
                    session_seed: part.session.seed(&self.params),
                    walk_root: walk.into(),
                    gemm_root: product.into(),
                };
                let (params, session) = (self.params, part.session.clone());
                Ok(Vouched::Check(Box::new(Doubt { params, session, commit, selection, answer })))
            }
            Response::Error { code, message } => Err(format!("{code}: {message}")),
            Response::Ready { .. } | Response::Released => Ok(Vouched::Nothing),
        }
    }
}

impl Doubt {
    /// Checks the opening as a validator would. Takes up to seconds for large classes.
    pub(super) fn check(self) -> Result<Answer, String> {
        let Answer::Opened { opening, .. } = &self.answer else { return Ok(self.answer) };
        let mut secret = [0; 32];
        OsRng.try_fill_bytes(&mut secret).map_err(|error| format!("no randomness: {error}"))?;
        // Any interval will do; the validator chooses its own.
        let intervals = secret.iter().cycle().map(|byte| u32::from(*byte) % self.params.intervals.max(1));
        let walks = self.selection.walkers.iter().zip(intervals);
        let walks = walks.map(|(walker, interval)| WalkQuery { walker: *walker, interval }).collect();
        let choice = Choice::new(self.selection.rows.clone(), walks);
        let verifier = EpochVerifier::new(self.params, &self.session.epoch(), FreivaldsSecret::new(secret));
        let checked = verifier.and_then(|verifier| {
            let seed = self.session.seed(&self.params);
            verifier.verify_bytes(&seed, &self.commit, &choice, &opening.opening)
        });
        match checked {
            Ok(()) => Ok(self.answer),
            Err(error) => Err(format!("{}: {error}: {}", error.code(), error.remedy())),
        }
    }
}
