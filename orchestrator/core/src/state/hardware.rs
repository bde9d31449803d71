//! What a node says it has, in the compact form that placement works on.
//!
//! A GPU slot lives as long as the node's descriptor names the GPU, or an assignment holds it: a GPU that vanishes while
//! it is in use is never handed out a second time should it come back. A GPU that the pool does not take, because it is
//! too small, has a slot to be seen, and counts nowhere else: it is left out, not its node.

use std::collections::{BTreeMap, BTreeSet};

use lode_protocol::descriptor::NodeDescriptor;
use lode_protocol::hardware::{GpuSpec, GpuState, GpuStatus, SoftwareVersion, has_memory};
use lode_protocol::hash::Digest;
use lode_protocol::ids::{AssignmentId, BootCounter, GpuUuid, NodeId};
use lode_protocol::units::{Bytes, MilliCpus};

/// Longest reason kept for a GPU, in bytes.
const MOST_REASON: usize = 200;

/// A kind of GPU. Ordered by memory first: small ones are given away first.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct GpuKind {
    pub(crate) memory: Option<Bytes>,
    pub(crate) model: Option<Box<str>>,
    /// An instance of a GPU (MIG).
    pub(crate) slice: bool,
}

/// Distinct kinds of GPU on a node, sorted. Placement groups nodes by it.
pub(crate) type Profile = Vec<GpuKind>;

/// Why a GPU that a node names is not used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Withheld {
    /// It has less memory than the pool asks for.
    TooSmall,
    /// Another node of the pool has named it before, and lives.
    ClaimedBy(NodeId),
}

/// The last sample of a GPU.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct GpuSample {
    pub(crate) temperature: Option<u32>,
    pub(crate) power: Option<u32>,
    pub(crate) utilization: Option<u32>,
    pub(crate) memory_used: Option<Bytes>,
}

/// One GPU and who holds it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct GpuSlot {
    pub(crate) uuid: GpuUuid,
    pub(crate) kind: GpuKind,
    /// The physical GPU: itself, or the one that this is an instance of.
    parent: Option<GpuUuid>,
    pub(crate) withheld: Option<Withheld>,
    /// Health; `None` while unknown, which is not usable.
    pub(crate) state: Option<GpuState>,
    pub(crate) reason: Option<Box<str>>,
    pub(crate) sample: GpuSample,
    pub(crate) holder: Option<AssignmentId>,
    /// Whether the node's descriptor names it.
    pub(crate) described: bool,
}

impl GpuSlot {
    fn new(uuid: GpuUuid) -> Self {
        GpuSlot {
            uuid,
            kind: GpuKind { memory: None, model: None, slice: false },
            parent: None,
            withheld: None,
            state: None,
            reason: None,
            sample: GpuSample::default(),
            holder: None,
            described: false,
        }
    }

    /// Whether it may be used at all.
    pub(crate) fn is_healthy(&self) -> bool {
        self.described
            && self.withheld.is_none()
            && match self.state {
                Some(GpuState::Healthy) => true,
                Some(GpuState::Suspect | GpuState::Quarantined | GpuState::Recovering) | None => false,
            }
    }
}

/// A node's hardware.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Hardware {
    /// Version of the descriptor that it was read from; `None`: nothing is described yet.
    pub(crate) version: Option<(BootCounter, u64)>,
    pub(crate) specs: Digest,
    pub(crate) cpus: MilliCpus,
    pub(crate) memory: Bytes,
    pub(crate) disk: Bytes,
    /// Sorted by UUID.
    pub(crate) gpus: Vec<GpuSlot>,
    pub(crate) profile: Profile,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) architecture: Box<str>,
    pub(crate) os: Box<str>,
    /// (major, minor) of the container engine.
    pub(crate) engine: Option<(u32, u32)>,
    /// Newest CUDA that the driver runs, like `12.8`.
    pub(crate) cuda: Option<Box<str>>,
    /// NVIDIA's driver.
    pub(crate) driver: Option<Box<str>>,
}

impl Hardware {
    /// Whether a descriptor is newer than what is known.
    pub(crate) fn is_outdated_by(&self, descriptor: &NodeDescriptor) -> bool {
        self.version.is_none_or(|known| descriptor.version() > known)
    }

    /// Takes over a descriptor. GPUs with less memory than `least` are left out.
    pub(super) fn describe(&mut self, descriptor: &NodeDescriptor, least: Bytes) {
        self.version = Some(descriptor.version());
        let specs = &descriptor.specs;
        self.specs = specs.digest();
        self.cpus = specs.cpus;
        self.memory = specs.memory;
        self.disk = specs.disk;
        self.labels.clone_from(&specs.labels);
        self.architecture = specs.architecture.as_str().into();
        self.os = specs.os.as_str().into();
        self.engine = specs.engine_version.as_deref().and_then(major_and_minor);
        self.cuda = specs.cuda_version.map(|number| SoftwareVersion::of_cuda(number).to_string().into());
        self.driver = specs.driver_version.as_deref().map(Into::into);
        self.replace_gpus(&specs.gpus, least);
    }

    fn replace_gpus(&mut self, specs: &[GpuSpec], least: Bytes) {
        let mut before = std::mem::take(&mut self.gpus);
        for spec in specs {
            let known =
                before.iter().position(|slot| slot.uuid == spec.uuid).map(|at| before.swap_remove(at));
            let slot = known.unwrap_or_else(|| GpuSlot::new(spec.uuid.clone()));
            if self.gpus.iter().any(|other| other.uuid == slot.uuid) {
                continue;
            }
            let model = spec.model.as_deref();
            let fits = has_memory(spec.memory.unwrap_or_default(), model, least);
            let withheld = if fits {
                slot.withheld.filter(|withheld| *withheld != Withheld::TooSmall)
            } else {
                Some(Withheld::TooSmall)
            };
            self.gpus.push(GpuSlot {
                kind: GpuKind { memory: spec.memory, model: model.map(Into::into), slice: spec.is_slice() },
                parent: spec.parent.clone(),
                withheld,
                described: true,
                ..slot
            });
        }
        let vanished = before.into_iter().filter(|slot| slot.holder.is_some());
        self.gpus.extend(vanished.map(|slot| GpuSlot { described: false, ..slot }));
        self.gpus.sort_unstable_by(|left, right| left.uuid.cmp(&right.uuid));
        let mut profile: Profile = self.described().map(|slot| slot.kind.clone()).collect();
        profile.sort_unstable();
        profile.dedup();
        self.profile = profile;
    }

    /// Whether a beat says anything about the GPUs' health that is not known. A GPU that is not mentioned is unknown.
    pub(crate) fn is_news(&self, statuses: &[GpuStatus]) -> bool {
        let told = |(number, slot): (usize, &GpuSlot)| {
            status_of(statuses, number, &slot.uuid).map(|status| status.state) != slot.state
        };
        self.gpus.iter().enumerate().any(told)
    }

    /// Takes over what a beat says about the GPUs' health.
    pub(crate) fn observe(&mut self, statuses: &[GpuStatus]) {
        for (number, slot) in self.gpus.iter_mut().enumerate() {
            slot.state = status_of(statuses, number, &slot.uuid).map(|status| status.state);
        }
    }

    /// Takes over what people see of the GPUs. Nothing is derived from it.
    pub(super) fn note_samples(&mut self, statuses: &[GpuStatus]) {
        for (number, slot) in self.gpus.iter_mut().enumerate() {
            let Some(status) = status_of(statuses, number, &slot.uuid) else { continue };
            let reason = status.reason.as_deref().map(|reason| cut(reason, MOST_REASON));
            if slot.reason.as_deref() != reason {
                slot.reason = reason.map(Into::into);
            }
            slot.sample = GpuSample {
                temperature: status.temperature,
                power: status.power,
                utilization: status.utilization,
                memory_used: status.memory_used,
            };
        }
    }

    /// Forgets health: it must be heard anew.
    pub(crate) fn forget_health(&mut self) {
        for slot in &mut self.gpus {
            slot.state = None;
        }
    }

    /// GPUs that the descriptor names and the pool takes.
    pub(crate) fn described(&self) -> impl Iterator<Item = &GpuSlot> {
        self.gpus.iter().filter(|slot| slot.described && slot.withheld != Some(Withheld::TooSmall))
    }

    /// GPUs that the descriptor names and the pool does not take.
    pub(crate) fn too_small(&self) -> impl Iterator<Item = &GpuSlot> {
        self.gpus.iter().filter(|slot| slot.described && slot.withheld == Some(Withheld::TooSmall))
    }

    /// How many GPUs these are; instances of one count as one.
    pub(crate) fn physical_gpus(&self) -> usize {
        let physical: BTreeSet<&GpuUuid> =
            self.described().map(|slot| slot.parent.as_ref().unwrap_or(&slot.uuid)).collect();
        physical.len()
    }

    pub(crate) fn hold(&mut self, gpu: &GpuUuid, holder: AssignmentId) {
        match self.gpus.binary_search_by(|slot| slot.uuid.cmp(gpu)) {
            Ok(at) => {
                if let Some(slot) = self.gpus.get_mut(at) {
                    slot.holder = Some(holder);
                }
            }
            // A recovered assignment holds a GPU that the descriptor does not name any more.
            Err(at) => {
                self.gpus.insert(at, GpuSlot { holder: Some(holder), ..GpuSlot::new(gpu.clone()) });
            }
        }
    }

    pub(crate) fn release(&mut self, holder: &AssignmentId) {
        for slot in &mut self.gpus {
            if slot.holder.as_ref() == Some(holder) {
                slot.holder = None;
            }
        }
        self.gpus.retain(|slot| slot.described || slot.holder.is_some());
    }
}

/// What is said about the GPU in this place. Workers report in the order of UUIDs, as slots are kept.
fn status_of<'a>(statuses: &'a [GpuStatus], number: usize, uuid: &GpuUuid) -> Option<&'a GpuStatus> {
    let same_place = statuses.get(number).filter(|status| status.uuid == *uuid);
    same_place.or_else(|| statuses.iter().find(|status| status.uuid == *uuid))
}

/// The first `most` bytes of a text, cut at a character.
pub(crate) fn cut(text: &str, most: usize) -> &str {
    text.get(..text.floor_char_boundary(most)).unwrap_or_default()
}

fn major_and_minor(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.trim_start_matches('v').split(['.', '-', '+', '~']);
    Some((parts.next()?.parse().ok()?, parts.next().unwrap_or("0").parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engine_versions_of_all_spellings_are_read() {
        assert_eq!(major_and_minor("20.10.24+dfsg1"), Some((20, 10)));
        assert_eq!(major_and_minor("v28.2"), Some((28, 2)));
        assert_eq!(major_and_minor("29"), Some((29, 0)));
        assert_eq!(major_and_minor("podman"), None);
    }

    #[test]
    fn a_text_is_cut_at_a_character() {
        assert_eq!(cut("größe", 3), "gr");
        assert_eq!(cut("short", 100), "short");
    }
}
