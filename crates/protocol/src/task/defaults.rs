//! What a replica gets that names no limit of its own.
//!
//! One place for it, and part of a spec's normal form: a [`super::ValidTaskSpec`] names its limits. So what is counted
//! when a node is chosen, what the engine enforces and what people are shown is the same number on every machine.

use super::Resources;
use crate::units::{Bytes, MilliCpus};

/// CPU limit of a task with at most one GPU.
pub const CPUS: MilliCpus = MilliCpus(1_000);
/// CPU limit of a task with more. Whoever feeds many GPUs names more; a small host can still take the task.
pub const CPUS_WITH_GPUS: MilliCpus = MilliCpus(2_000);
/// Memory limit without GPUs.
pub const MEMORY: Bytes = Bytes::mebi(512);
/// Memory limit for each GPU, and once more with any: a framework and the driver's contexts, before there is much data.
pub const MEMORY_PER_GPU: Bytes = Bytes::gibi(2);

impl Resources {
    /// Puts a limit wherever none was named.
    pub(super) fn settle(&mut self) {
        if self.cpus == MilliCpus(0) {
            self.cpus = if self.gpus > 1 { CPUS_WITH_GPUS } else { CPUS };
        }
        if self.memory == Bytes(0) {
            self.memory = match u64::from(self.gpus) {
                0 => MEMORY,
                gpus => Bytes(MEMORY_PER_GPU.0.saturating_mul(gpus.saturating_add(1))),
            };
        }
        self.shm = self.shm.filter(|size| *size > Bytes(0));
    }

    /// Size of `/dev/shm`: as asked for, else half of the memory. What is in it counts as memory.
    pub fn shared_memory(&self) -> Bytes {
        self.shm.unwrap_or(Bytes(self.memory.0 / 2))
    }
}
