//! One round over all GPUs. Each is read on its own: what one does never costs the others their answer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lode_protocol::ids::GpuUuid;
use nvml_wrapper::{Device, Nvml};

use super::errors;
use super::fields::FieldReader;
use super::lane::Lane;
use crate::NvmlError;
use crate::inventory::UnreadableGpu;

/// Everything that a round found.
pub(super) type Round<T> = (SystemFacts, Vec<T>, Vec<UnreadableGpu>);

/// What a round has found so far. Shared with whoever waits, so that a GPU that hangs costs only itself.
#[derive(Debug)]
pub(super) struct Walk<T> {
    progress: Arc<Mutex<Progress<T>>>,
}

#[derive(Debug)]
struct Progress<T> {
    facts: SystemFacts,
    total: Option<u32>,
    read: Vec<T>,
    unreadable: Vec<UnreadableGpu>,
}

impl<T> Walk<T> {
    pub(super) fn new() -> Self {
        let progress =
            Progress { facts: SystemFacts::default(), total: None, read: Vec::new(), unreadable: Vec::new() };
        Self { progress: Arc::new(Mutex::new(progress)) }
    }

    pub(super) fn again(&self) -> Self {
        Self { progress: Arc::clone(&self.progress) }
    }

    /// Takes what was found.
    pub(super) fn take(&self) -> Round<T> {
        let mut progress = self.lock();
        let (facts, read) = (std::mem::take(&mut progress.facts), std::mem::take(&mut progress.read));
        (facts, read, std::mem::take(&mut progress.unreadable))
    }

    /// Takes what was found before `stuck` hung; `None` when the round had not even begun.
    pub(super) fn take_partial(
        &self,
        lane: &super::lane::Gpus,
        stuck: u32,
        error: &NvmlError,
    ) -> Option<Round<T>> {
        let total = self.lock().total?;
        let (facts, read, mut unreadable) = self.take();
        let unread = |index: u32, error: NvmlError| UnreadableGpu {
            index,
            last_known_uuid: lane.last_known(index),
            error,
        };
        unreadable.push(unread(stuck, error.clone()));
        for index in stuck.saturating_add(1)..total {
            let error = lane.stuck(index).unwrap_or(NvmlError::NotReached);
            unreadable.push(unread(index, error));
        }
        Some((facts, read, unreadable))
    }

    fn lock(&self) -> MutexGuard<'_, Progress<T>> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads every GPU with `read`. Returns an error only when NVML as a whole fails.
    pub(super) fn run(
        &self,
        lane: &Lane,
        read: impl Fn(GpuUuid, &Device<'_>, &mut FieldReader<'_>) -> T,
    ) -> Result<(), NvmlError> {
        let session = lane.sessions.open(&lane.pulse)?;
        let outcome = self.round(lane, session.nvml(), read);
        let stale = match &outcome {
            Ok(_) => {
                let progress = self.lock();
                progress.unreadable.iter().map(|gpu| gpu.error.clone()).find(needs_a_new_session)
            }
            Err(error) => Some(error.clone()).filter(needs_a_new_session),
        };
        match stale {
            Some(error) => lane.sessions.retire(&session, &error),
            None if outcome.is_ok() => lane.sessions.calm_down(),
            None => {}
        }
        outcome
    }

    fn round(
        &self,
        lane: &Lane,
        nvml: &Nvml,
        read: impl Fn(GpuUuid, &Device<'_>, &mut FieldReader<'_>) -> T,
    ) -> Result<(), NvmlError> {
        lane.pulse.begin("nvmlDeviceGetCount_v2", None);
        let total = nvml.device_count().map_err(|error| errors::of_call("nvmlDeviceGetCount_v2", error))?;
        if total == 0 {
            return Err(NvmlError::NoGpus);
        }
        let facts = SystemFacts::read(lane, nvml);
        {
            let mut progress = self.lock();
            progress.facts = facts;
            progress.total = Some(total);
        }
        for index in 0..total {
            let answer = match lane.gpus.stuck(index) {
                Some(error) => Err(error),
                None => one(lane, nvml, index, &read),
            };
            if lane.pulse.is_abandoned() {
                // Somebody else answers now; what this round found is no longer asked for.
                return Err(NvmlError::Stopped);
            }
            let mut progress = self.lock();
            match answer {
                Ok(value) => progress.read.push(value),
                Err(error) => {
                    let last_known_uuid = lane.gpus.last_known(index);
                    progress.unreadable.push(UnreadableGpu { index, last_known_uuid, error });
                }
            }
        }
        Ok(())
    }
}

fn one<T>(
    lane: &Lane,
    nvml: &Nvml,
    index: u32,
    read: &impl Fn(GpuUuid, &Device<'_>, &mut FieldReader<'_>) -> T,
) -> Result<T, NvmlError> {
    const HANDLE: &str = "nvmlDeviceGetHandleByIndex_v2";
    const UUID: &str = "nvmlDeviceGetUUID";
    lane.pulse.begin(HANDLE, Some(index));
    let device = nvml.device_by_index(index).map_err(|error| errors::of_call(HANDLE, error))?;
    lane.pulse.begin(UUID, Some(index));
    let text = device.uuid().map_err(|error| errors::of_call(UUID, error))?;
    let uuid: GpuUuid =
        text.parse().map_err(|error| NvmlError::Other { operation: UUID, detail: format!("{error}") })?;
    lane.gpus.saw(index, &uuid);
    let mut fields = FieldReader::new(&lane.pulse, index);
    let value = read(uuid, &device, &mut fields);
    match fields.fatal() {
        Some(error) => Err(error),
        None => Ok(value),
    }
}

/// Driver and versions.
#[derive(Clone, Debug, Default)]
pub(super) struct SystemFacts {
    pub(super) driver_version: Option<String>,
    pub(super) nvml_version: Option<String>,
    pub(super) cuda_version: Option<u32>,
}

impl SystemFacts {
    fn read(lane: &Lane, nvml: &Nvml) -> Self {
        lane.pulse.begin("nvmlSystemGetDriverVersion", None);
        Self {
            driver_version: nvml.sys_driver_version().ok(),
            nvml_version: nvml.sys_nvml_version().ok(),
            cuda_version: nvml.sys_cuda_driver_version().ok().and_then(|version| u32::try_from(version).ok()),
        }
    }
}

/// Whether NVML answers the same for ever unless it is initialised again.
fn needs_a_new_session(error: &NvmlError) -> bool {
    matches!(error, NvmlError::GpuLost { .. } | NvmlError::Uninitialized { .. } | NvmlError::DriverNotLoaded)
}
