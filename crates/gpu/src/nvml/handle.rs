//! The async face of NVML: deadlines, and going on without a GPU that hangs.
//!
//! A caller waits as long as NVML makes progress. When one call gives no answer for [`NvmlConfig::call_timeout`]:
//! * about a GPU: the caller gets everything else that was read, the GPU is reported as timed out, and a second
//!   thread takes over that leaves this GPU alone until its call returns;
//! * about anything else, or too many GPUs hang already: the caller gets `TimedOut`, and everybody gets `Busy`
//!   at once until the call returns. Nothing piles up.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::fields::FieldReader;
use super::lane::{Gpus, Lane, LaneSender};
use super::pulse::Call;
use super::session::SessionSlot;
use super::walk::{Round, Walk};
use super::watch::{self, XidWatch};
use super::{read_gpu, read_health};
use crate::inventory::Inventory;
use crate::sample::HealthSample;
use crate::{GpuUuid, NvmlError};

/// Each costs a thread that waits for a GPU that hangs; a host with more of them has other troubles.
const MOST_STUCK_GPUS: usize = 4;

/// How to reach NVML and how patient to be.
#[derive(Clone, Debug)]
pub struct NvmlConfig {
    /// The library's path or loader name; `libnvidia-ml.so.1` by default.
    pub library: Option<PathBuf>,
    /// How long one NVML call may take. The first call on a cold GPU takes seconds.
    pub call_timeout: Duration,
    /// How long a whole round may take.
    pub round_timeout: Duration,
    /// First wait before a failed or stale initialisation is tried again; doubles each time.
    pub first_retry: Duration,
    pub longest_retry: Duration,
}

impl Default for NvmlConfig {
    fn default() -> Self {
        Self {
            library: None,
            call_timeout: Duration::from_secs(5),
            round_timeout: Duration::from_secs(30),
            first_retry: Duration::from_secs(1),
            longest_retry: Duration::from_secs(60),
        }
    }
}

/// A cheap handle to the thread that talks to NVML; the thread ends with the last handle.
#[derive(Clone, Debug)]
pub struct NvmlHandle {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: NvmlConfig,
    sessions: Arc<SessionSlot>,
    gpus: Arc<Gpus>,
    lane: Mutex<LaneSender>,
}

/// Why a request has no full answer.
enum Failure {
    Error(NvmlError),
    Hung { lane: LaneSender, call: Call, error: NvmlError },
}

impl NvmlHandle {
    /// Starts the thread. NVML itself is loaded by the first request.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(config: NvmlConfig) -> io::Result<Self> {
        let sessions =
            Arc::new(SessionSlot::new(config.library.clone(), config.first_retry, config.longest_retry));
        let gpus = Arc::<Gpus>::default();
        let lane = Mutex::new(LaneSender::spawn(Arc::clone(&sessions), Arc::clone(&gpus))?);
        Ok(Self { inner: Arc::new(Inner { config, sessions, gpus, lane }) })
    }

    /// Which GPUs there are.
    ///
    /// # Errors
    /// Only when NVML as a whole fails; single GPUs stand in [`Inventory::unreadable`]. A host without GPUs is
    /// [`NvmlError::NoGpus`].
    pub async fn inventory(&self) -> Result<Inventory, NvmlError> {
        let (facts, gpus, unreadable) = self.inner.round("inventory", read_gpu::gpu).await?;
        Ok(Inventory {
            driver_version: facts.driver_version,
            nvml_version: facts.nvml_version,
            cuda_version: facts.cuda_version,
            gpus,
            unreadable,
        })
    }

    /// How the GPUs are.
    ///
    /// # Errors
    /// As for [`NvmlHandle::inventory`].
    pub async fn sample(&self) -> Result<HealthSample, NvmlError> {
        let (_, readings, unreadable) = self.inner.round("health", read_health::reading).await?;
        Ok(HealthSample { readings, unreadable })
    }

    /// Whether a call hangs that nothing can step around.
    #[must_use]
    pub fn is_hung(&self) -> bool {
        self.inner.lane().pulse.hung().is_some()
    }

    /// Starts a thread that waits for XIDs. It begins once NVML was initialised by a request, and begins again
    /// with every new initialisation.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn watch_xids(&self) -> io::Result<XidWatch> {
        watch::start(Arc::clone(&self.inner.sessions))
    }
}

impl Inner {
    async fn round<T: Send + 'static>(
        &self,
        what: &'static str,
        read: fn(GpuUuid, &nvml_wrapper::Device<'_>, &mut FieldReader<'_>) -> T,
    ) -> Result<Round<T>, NvmlError> {
        let walk = Walk::new();
        let for_lane = walk.again();
        match self.request(what, move |lane| for_lane.run(lane, read)).await {
            Ok(()) => Ok(walk.take()),
            Err(Failure::Error(error)) => Err(error),
            Err(Failure::Hung { lane, call, error }) => {
                let Some(gpu) = call.gpu else { return Err(error) };
                self.step_around(&lane, gpu, &error);
                walk.take_partial(&self.gpus, gpu, &error).ok_or(error)
            }
        }
    }

    async fn request<T: Send + 'static>(
        &self,
        what: &'static str,
        job: impl FnOnce(&Lane) -> Result<T, NvmlError> + Send + 'static,
    ) -> Result<T, Failure> {
        let lane = self.lane();
        if let Some(call) = lane.pulse.hung() {
            return Err(Failure::Error(NvmlError::Busy { operation: call.operation }));
        }
        let (reply, mut answer) = oneshot::channel();
        let job = Box::new(move |lane: &Lane| {
            // Nobody waits any more: do not spend NVML's time on it.
            if !reply.is_closed() {
                let _ = reply.send(job(lane));
            }
        });
        lane.send(what, job).map_err(Failure::Error)?;
        let started = Instant::now();
        loop {
            let before = lane.pulse.sequence();
            match timeout(self.config.call_timeout, &mut answer).await {
                Ok(Ok(answer)) => return answer.map_err(Failure::Error),
                // The job panicked or its thread ended.
                Ok(Err(_)) => return Err(Failure::Error(NvmlError::Stopped)),
                Err(_) => {
                    let after_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
                    if let Some(call) = lane.pulse.mark_hung(before) {
                        let error = NvmlError::TimedOut { operation: call.operation, after_ms };
                        return Err(Failure::Hung { lane, call, error });
                    }
                    if started.elapsed() >= self.config.round_timeout {
                        return Err(Failure::Error(NvmlError::TimedOut { operation: what, after_ms }));
                    }
                }
            }
        }
    }

    /// Lets another thread take over from one that waits for `gpu`, if that is not too many already.
    fn step_around(&self, lane: &LaneSender, gpu: u32, error: &NvmlError) {
        let mut current = self.lane.lock().unwrap_or_else(PoisonError::into_inner);
        let already_replaced = !Arc::ptr_eq(&current.pulse, &lane.pulse);
        if already_replaced || self.gpus.stuck_count() >= MOST_STUCK_GPUS {
            return;
        }
        match LaneSender::spawn(Arc::clone(&self.sessions), Arc::clone(&self.gpus)) {
            Ok(fresh) => {
                self.gpus.mark_stuck(gpu, error.clone());
                lane.pulse.abandon(gpu);
                *current = fresh;
            }
            Err(error) => tracing::error!(%error, "no thread to go on without the GPU that hangs"),
        }
    }

    fn lane(&self) -> LaneSender {
        self.lane.lock().unwrap_or_else(PoisonError::into_inner).again()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.sessions.close();
    }
}
