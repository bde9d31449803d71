//! The core's face: events in, effects out, one record per GPU.

use std::collections::{BTreeMap, BTreeSet};

use lode_protocol::hardware::GpuState;
use lode_protocol::ids::GpuUuid;
use lode_protocol::units::Timestamp;

use super::effect::{GpuHealth, HealthEffect};
use super::policy::HealthPolicy;
use super::reason::HealthReason;
use super::record::Record;
use crate::NvmlError;
use crate::inventory::UnreadableGpu;
use crate::sample::HealthSample;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthEvent {
    /// A round over all GPUs succeeded. A known GPU that is not in it is lost.
    Sampled(HealthSample),
    /// A round failed as a whole: nothing is known about any GPU.
    SampleFailed(NvmlError),
    /// A GPU reported an XID, while this workload ran on it if one did.
    Xid { uuid: GpuUuid, xid: u32, workload: Option<String> },
    /// A proof on a GPU ended.
    Proof { uuid: GpuUuid, passed: bool },
    /// An operator has looked after a GPU and gives it another chance.
    OperatorCleared { uuid: GpuUuid },
}

/// The health of all GPUs of one host.
#[derive(Clone, Debug)]
pub struct GpuHealthCore {
    policy: HealthPolicy,
    gpus: BTreeMap<GpuUuid, Record>,
}

impl GpuHealthCore {
    #[must_use]
    pub fn new(policy: HealthPolicy) -> Self {
        Self { policy, gpus: BTreeMap::new() }
    }

    /// Takes in one event. Unknown GPUs become known by their first reading and are healthy if it is clean.
    pub fn step(&mut self, now: Timestamp, event: HealthEvent) -> Vec<HealthEffect> {
        let mut effects = Vec::new();
        match event {
            HealthEvent::Sampled(sample) => self.sampled(now, &sample, &mut effects),
            HealthEvent::SampleFailed(error) => {
                for (uuid, record) in &mut self.gpus {
                    record.unreadable(now, uuid, error.clone(), &self.policy, &mut effects);
                }
            }
            HealthEvent::Xid { uuid, xid, workload } => {
                let record = self.gpus.entry(uuid.clone()).or_insert_with(Record::new);
                record.xid(now, &uuid, xid, workload, &self.policy, &mut effects);
            }
            HealthEvent::Proof { uuid, passed } => {
                if let Some(record) = self.gpus.get_mut(&uuid) {
                    record.proof(now, &uuid, passed, &self.policy, &mut effects);
                }
            }
            HealthEvent::OperatorCleared { uuid } => {
                if let Some(record) = self.gpus.get_mut(&uuid) {
                    record.clear(&uuid, &self.policy, &mut effects);
                }
            }
        }
        effects
    }

    /// Every known GPU.
    pub fn all(&self) -> impl Iterator<Item = GpuHealth> {
        self.gpus.iter().map(|(uuid, record)| record.health(uuid))
    }

    /// One GPU; `None` when it was never read.
    #[must_use]
    pub fn get(&self, uuid: &GpuUuid) -> Option<GpuHealth> {
        self.gpus.get(uuid).map(|record| record.health(uuid))
    }

    /// Forgets a GPU that is not there any more; should it come back, it is as new.
    pub fn forget(&mut self, uuid: &GpuUuid) {
        self.gpus.remove(uuid);
    }

    /// Whether a GPU may get new work.
    #[must_use]
    pub fn accepts_work(&self, uuid: &GpuUuid) -> bool {
        self.gpus.get(uuid).is_some_and(|record| record.wire_state() == GpuState::Healthy)
    }

    fn sampled(&mut self, now: Timestamp, sample: &HealthSample, effects: &mut Vec<HealthEffect>) {
        let mut seen = BTreeSet::new();
        for reading in &sample.readings {
            seen.insert(reading.uuid.clone());
            let is_new = !self.gpus.contains_key(&reading.uuid);
            let record = self.gpus.entry(reading.uuid.clone()).or_insert_with(Record::new);
            if is_new {
                effects.push(HealthEffect::StateChanged {
                    uuid: reading.uuid.clone(),
                    from: None,
                    to: GpuState::Healthy,
                    reason: None,
                });
            }
            record.read(now, reading, &self.policy, effects);
        }
        let named = |gpu: &UnreadableGpu| Some((gpu.last_known_uuid.clone()?, gpu.error.clone()));
        let unreadable: BTreeMap<GpuUuid, NvmlError> = sample.unreadable.iter().filter_map(named).collect();
        for (uuid, record) in &mut self.gpus {
            if seen.contains(uuid) {
                continue;
            }
            match unreadable.get(uuid) {
                Some(error) => record.unreadable(now, uuid, error.clone(), &self.policy, effects),
                None => record.fault(now, uuid, HealthReason::Lost, &self.policy, effects),
            }
        }
    }
}
