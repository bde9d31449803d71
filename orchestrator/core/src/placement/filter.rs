//! Whether one node can take one replica. The order of the filters is the order in which people think: first whether
//! the node counts at all, then whether it could ever fit, then whether it fits now.

use lode_protocol::ids::GpuUuid;

use super::super::Core;
use super::super::hardware::{GpuKind, GpuSlot};
use super::super::node::{Node, NodeLifecycle, Probation};
use super::super::view::Filter;
use super::requirement::{Requirement, meets};

/// Bytes of one node's desired set, which travels as one message of at most `Instruction::MAX_BYTES`: half of that.
pub(crate) const MOST_SET_BYTES: u64 = 8 << 20;

impl Core {
    /// The first filter that the node fails whatever is to be placed.
    pub(crate) fn standing_filter(&self, node: &Node) -> Option<Filter> {
        let draining = match &node.standing {
            NodeLifecycle::Joining(_) | NodeLifecycle::Ejected { .. } | NodeLifecycle::Gone => {
                return Some(Filter::Member);
            }
            NodeLifecycle::Member(Probation::Awaited { .. } | Probation::Passed) => false,
            NodeLifecycle::Draining { .. } | NodeLifecycle::Leaving { .. } => true,
        };
        if !node.facts.is_active_member() {
            return Some(Filter::Member);
        }
        if !node.is_alive() || !node.has_reported() {
            return Some(Filter::Alive);
        }
        if draining {
            return Some(Filter::NotDraining);
        }
        if node.conflict.is_confirmed() {
            return Some(Filter::NotConflicted);
        }
        if node.faults.keep_work_away() {
            return Some(Filter::NotFailing);
        }
        if self.proof_shortfall(node).is_some() {
            return Some(Filter::Proven);
        }
        None
    }

    /// The first filter that the node fails for this replica; `None`: it fits.
    pub(crate) fn filter(&self, node: &Node, requirement: &Requirement) -> Option<Filter> {
        self.standing_filter(node)
            .or_else(|| self.budget_filter(node, requirement))
            .or_else(|| fits(node, requirement))
    }
}

/// The first filter about the task's own needs that the node fails.
pub(crate) fn fits(node: &Node, requirement: &Requirement) -> Option<Filter> {
    if !requirement
        .constraints
        .iter()
        .all(|constraint| with_value(node, &constraint.key, |value| meets(constraint, value)))
    {
        return Some(Filter::Constraints);
    }
    if let Some(filter) = fits_gpus(node, requirement) {
        return Some(filter);
    }
    if node.free_cpus() < requirement.cpus {
        return Some(Filter::Cpus);
    }
    if node.free_memory() < requirement.memory {
        return Some(Filter::Memory);
    }
    if node.free_disk() < requirement.disk {
        return Some(Filter::Disk);
    }
    if node.allocated.set_bytes.saturating_add(requirement.set_bytes) > MOST_SET_BYTES {
        return Some(Filter::DesiredSet);
    }
    None
}

fn fits_gpus(node: &Node, requirement: &Requirement) -> Option<Filter> {
    let wanted = requirement.gpus;
    if wanted == 0 {
        return None;
    }
    let (mut models, mut memories, mut healthy, mut free) = (0u32, 0u32, 0u32, 0u32);
    for (slot, model, memory) in judged(node, requirement) {
        let health = memory && slot.is_healthy();
        models += u32::from(model);
        memories += u32::from(memory);
        healthy += u32::from(health);
        free += u32::from(health && is_free(node, slot));
    }
    if models < wanted {
        Some(Filter::GpuModel)
    } else if memories < wanted {
        Some(Filter::GpuMemory)
    } else if healthy < wanted {
        Some(Filter::GpuHealth)
    } else if free < wanted {
        Some(Filter::GpusFree)
    } else {
        None
    }
}

/// The GPUs of a node, whether the model of each will do, and whether its memory will do as well. Most nodes have GPUs of
/// one kind: what a name means is read once.
fn judged<'a>(
    node: &'a Node,
    requirement: &'a Requirement,
) -> impl Iterator<Item = (&'a GpuSlot, bool, bool)> {
    let mut last: Option<(&GpuKind, bool, bool)> = None;
    node.hardware.described().map(move |slot| {
        let (model, memory) = match last {
            Some((kind, model, memory)) if *kind == slot.kind => (model, memory),
            Some(_) | None => {
                let model = requirement.accepts_model(&slot.kind);
                (model, model && requirement.accepts_memory(&slot.kind))
            }
        };
        last = Some((&slot.kind, model, memory));
        (slot, model, memory)
    })
}

/// Whether a GPU can be handed out now.
pub(crate) fn is_free(node: &Node, slot: &GpuSlot) -> bool {
    slot.holder.is_none() && slot.is_healthy() && !node.held_by_orphan(&slot.uuid)
}

/// The GPUs that the replica gets: of all that will do those with the least memory, so that the big ones stay free.
pub(crate) fn choose_gpus(node: &Node, requirement: &Requirement) -> Vec<GpuUuid> {
    let mut fitting: Vec<&GpuSlot> = judged(node, requirement)
        .filter(|(slot, _, memory)| *memory && is_free(node, slot))
        .map(|(slot, _, _)| slot)
        .collect();
    fitting.sort_by_key(|slot| slot.kind.memory);
    let wanted = usize::try_from(requirement.gpus).unwrap_or(usize::MAX);
    fitting.into_iter().take(wanted).map(|slot| slot.uuid.clone()).collect()
}

/// Looks up what a constraint's key means on a node.
fn with_value(node: &Node, key: &str, test: impl FnOnce(Option<&str>) -> bool) -> bool {
    match key {
        "node" => test(Some(&node.id.to_string())),
        "provider" => {
            let provider = node.facts.registration().map(|registration| registration.provider.to_string());
            test(provider.as_deref())
        }
        "architecture" => test(Some(&node.hardware.architecture)),
        "os" => test(Some(&node.hardware.os)),
        "cuda" => test(node.hardware.cuda.as_deref()),
        "driver" => test(node.hardware.driver.as_deref()),
        label => test(node.hardware.labels.get(label).map(String::as_str)),
    }
}
