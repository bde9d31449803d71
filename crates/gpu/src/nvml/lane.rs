//! The thread that talks to NVML. Jobs run one after the other; a job that panics ends only itself.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{io, thread};

use lode_protocol::ids::GpuUuid;

use super::pulse::Pulse;
use super::session::SessionSlot;
use crate::NvmlError;

/// Requests that may wait. Health and inventory are asked for once per beat: more than a few is a stall.
const QUEUE: usize = 8;

type Job = Box<dyn FnOnce(&Lane) + Send>;

/// What a job has to work with.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) sessions: Arc<SessionSlot>,
    pub(super) gpus: Arc<Gpus>,
    pub(super) pulse: Arc<Pulse>,
}

/// What is remembered about GPUs by index, across calls and lanes.
#[derive(Debug, Default)]
pub(super) struct Gpus {
    known: Mutex<BTreeMap<u32, GpuUuid>>,
    stuck: Mutex<BTreeMap<u32, NvmlError>>,
}

impl Gpus {
    /// Notes which GPU is at an index. It is nowhere else then.
    pub(super) fn saw(&self, index: u32, uuid: &GpuUuid) {
        let mut known = lock(&self.known);
        known.retain(|_, other| other != uuid);
        known.insert(index, uuid.clone());
    }

    pub(super) fn last_known(&self, index: u32) -> Option<GpuUuid> {
        lock(&self.known).get(&index).cloned()
    }

    /// Why a GPU is left alone: an abandoned lane still waits for it.
    pub(super) fn stuck(&self, index: u32) -> Option<NvmlError> {
        lock(&self.stuck).get(&index).cloned()
    }

    pub(super) fn stuck_count(&self) -> usize {
        lock(&self.stuck).len()
    }

    pub(super) fn mark_stuck(&self, index: u32, error: NvmlError) {
        lock(&self.stuck).insert(index, error);
    }

    fn released(&self, index: u32) {
        lock(&self.stuck).remove(&index);
    }
}

/// The sending end of a lane.
#[derive(Debug)]
pub(super) struct LaneSender {
    jobs: SyncSender<Job>,
    pub(super) pulse: Arc<Pulse>,
}

impl LaneSender {
    pub(super) fn spawn(sessions: Arc<SessionSlot>, gpus: Arc<Gpus>) -> io::Result<Self> {
        let (jobs, queue) = sync_channel(QUEUE);
        let pulse = Arc::<Pulse>::default();
        let lane = Lane { sessions, gpus, pulse: Arc::clone(&pulse) };
        thread::Builder::new().name("nvml".to_owned()).spawn(move || run(&lane, &queue))?;
        Ok(Self { jobs, pulse })
    }

    pub(super) fn send(&self, operation: &'static str, job: Job) -> Result<(), NvmlError> {
        self.jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => NvmlError::Busy { operation },
            TrySendError::Disconnected(_) => NvmlError::Stopped,
        })
    }

    pub(super) fn again(&self) -> Self {
        Self { jobs: self.jobs.clone(), pulse: Arc::clone(&self.pulse) }
    }
}

fn run(lane: &Lane, queue: &Receiver<Job>) {
    for job in queue {
        // The job's answer is dropped with it, which its caller sees.
        if catch_unwind(AssertUnwindSafe(|| job(lane))).is_err() {
            tracing::error!("an NVML call panicked");
        }
        lane.pulse.rest();
        if lane.pulse.is_abandoned() {
            // Another lane has the session now.
            return;
        }
    }
    lane.sessions.release();
}

impl Drop for Lane {
    fn drop(&mut self) {
        if let Some(index) = self.pulse.abandoned_for() {
            self.gpus.released(index);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
