//! Checks openings on threads of their own. The secret that makes a check unforgeable is drawn from the operating
//! system once per epoch, lives in the verifier only, and is never stored or sent.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use lode_gpu_proof::evidence::verify_evidence;
use lode_gpu_proof::{ClassId, EpochInputs, EpochVerifier, FreivaldsSecret, ProofError};
use lode_protocol::error_code::ErrorCode;
use lode_protocol::proof::ProofFailure;
use rand::TryRngCore as _;
use rand::rngs::OsRng;
use tokio::sync::Semaphore;

use crate::core::{Event, RunVerdict, VerifyJob};

/// Epochs whose verifiers are kept: the running one, and one that runs may still belong to.
const KEPT: usize = 2;

type Prepared = Arc<OnceLock<Option<EpochVerifier>>>;

/// Makes checks, a few at once.
#[derive(Clone, Debug)]
pub struct Verifier {
    prepared: Arc<Mutex<VecDeque<(ClassId, EpochInputs, Prepared)>>>,
    threads: Arc<Semaphore>,
}

impl Verifier {
    /// With as many checks at once as there are processors.
    pub fn new() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self { prepared: Arc::default(), threads: Arc::new(Semaphore::new(threads)) }
    }

    /// Checks one opening.
    pub async fn check(self, job: Box<VerifyJob>) -> Event {
        let (node, run, gpu) = (job.node, job.run, job.gpu.clone());
        // The semaphore is never closed; if it were, the check would count as broken off.
        let verdict = match self.threads.clone().acquire_owned().await {
            Ok(permit) => {
                let checked = tokio::task::spawn_blocking(move || {
                    let verdict = self.check_now(*job);
                    drop(permit);
                    verdict
                });
                checked.await.unwrap_or_else(|error| {
                    tracing::error!(%error, "the check of an opening broke off: this is no verdict on the node");
                    RunVerdict::Crashed
                })
            }
            Err(_) => RunVerdict::Crashed,
        };
        Event::Verified { node, run, gpu, verdict }
    }

    fn check_now(&self, job: VerifyJob) -> RunVerdict {
        let prepared = self.prepared(&job);
        let Some(verifier) = prepared.get_or_init(|| prepare(&job)) else { return RunVerdict::Crashed };
        match verifier.verify_bytes(&job.seed, &job.commit, &job.choice, &job.opening) {
            Ok(()) => RunVerdict::Passed,
            Err(error) => RunVerdict::Failed { failure: failure(&error), file: file(job, &error) },
        }
    }

    fn prepared(&self, job: &VerifyJob) -> Prepared {
        let mut kept = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        let known = kept.iter().find(|(class, inputs, _)| *class == job.class.id && *inputs == job.inputs);
        if let Some((.., prepared)) = known {
            return Arc::clone(prepared);
        }
        let prepared = Prepared::default();
        kept.push_back((job.class.id, job.inputs, Arc::clone(&prepared)));
        while kept.len() > KEPT {
            kept.pop_front();
        }
        prepared
    }
}

impl Default for Verifier {
    fn default() -> Self {
        Self::new()
    }
}

fn prepare(job: &VerifyJob) -> Option<EpochVerifier> {
    let mut secret = [0; 32];
    OsRng
        .try_fill_bytes(&mut secret)
        .inspect_err(|error| tracing::error!(%error, "the operating system gives no randomness"))
        .ok()?;
    EpochVerifier::new(job.class.params, &job.inputs, FreivaldsSecret::new(secret))
        .inspect_err(|error| tracing::error!(%error, "the class cannot be verified"))
        .ok()
}

/// The file that shows others what is false, if this validator itself finds the node guilty by it.
fn file(job: VerifyJob, error: &ProofError) -> Option<Vec<u8>> {
    let (rows, walkers) = (job.choice.rows(), job.choice.walkers());
    let bytes = job.record?.evidence(job.class.params, error, rows, &walkers);
    verify_evidence(&bytes).is_guilty().then_some(bytes)
}

fn failure(error: &ProofError) -> ProofFailure {
    ProofFailure { code: ErrorCode::new(error.code()), message: format!("{error}: {}", error.remedy()) }
}
