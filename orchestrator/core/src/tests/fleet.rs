//! Fleets that are made without their history: members that are alive and have reported.

use lode_protocol::hardware::{GpuState, GpuStatus, NodeSpecs};
use lode_protocol::ids::{Address, GpuUuid, NodeId, ProviderId};
use lode_protocol::units::{Millis, Timestamp};

use super::super::Core;
use super::super::event::*;
use super::super::node::{Known, Liveness, Node, NodeLifecycle, Probation};
use super::super::state::session::{LastBeat, Session, Talk};
use super::world::{Worker, config};

/// A started core whose chain is readable.
pub(super) fn started() -> Core {
    let mut core = Core::new(config());
    let now = Now { wall: Timestamp(1), monotonic: Millis(1) };
    core.step(now, Event::Started).unwrap();
    core.step(now, Event::ChainViewed(ChainView::Fresh)).unwrap();
    core
}

pub(super) fn node_id(number: u32) -> NodeId {
    let mut address = [0; 20];
    address[..4].copy_from_slice(&number.to_be_bytes());
    NodeId(Address(address))
}

/// What a node's worker says of its GPUs when all is well.
pub(super) fn all_healthy(node: &Node) -> Vec<GpuStatus> {
    let slots = node.hardware.gpus.iter();
    let status = |uuid: &GpuUuid| GpuStatus {
        uuid: uuid.clone(),
        state: GpuState::Healthy,
        reason: None,
        temperature: None,
        power: None,
        utilization: None,
        memory_used: None,
    };
    slots.map(|slot| status(&slot.uuid)).collect()
}

/// Adds a member with healthy GPUs of its own, as if the store had it; `change` has the last word on it.
pub(super) fn add_member(
    core: &mut Core,
    worker: &Worker,
    number: u32,
    specs: NodeSpecs,
    change: impl FnOnce(&mut Node),
) -> NodeId {
    let id = node_id(number);
    let member = NodeLifecycle::Member(Probation::Passed);
    let mut node = Node::new(id, worker.key.public(), member, core.beat_terms());
    let mut descriptor = worker.descriptor();
    descriptor.node = id;
    descriptor.specs = specs;
    for (slot, gpu) in descriptor.specs.gpus.iter_mut().enumerate() {
        gpu.uuid = format!("GPU-{number:08x}-{slot:04x}").parse().unwrap();
    }
    node.describe(&descriptor, core.config.requirements.gpu_memory);
    let provider = ProviderId(Address([u8::try_from(number % 3).unwrap() + 1; 20]));
    node.facts.registration = Known::Is(Some(Registration { provider, eligible: true, approved: true }));
    reports(&mut node, core.now.monotonic);
    change(&mut node);
    node.pulse.last_published = Some(node.state());
    core.nodes.insert(id, Box::new(node));
    core.reindex(&id);
    core.nodes.take_changed(&id);
    drop(core.nodes.take_touched());
    id
}

/// The node is a member on chain, alive, and has reported in a session.
pub(super) fn hear(core: &mut Core, id: &NodeId) {
    let now = core.now.monotonic;
    reports(core.nodes.get_mut(id).unwrap(), now);
    core.reindex(id);
}

fn reports(node: &mut Node, now: Millis) {
    for slot in &mut node.hardware.gpus {
        slot.state = Some(GpuState::Healthy);
    }
    node.liveness = Liveness::Alive;
    node.pulse.heard = now;
    node.facts.membership =
        Known::Is(ChainMembership { state: MembershipState::Member { active: true }, join_counter: 1 });
    node.session = Some(Session {
        id: Default::default(),
        boot: Default::default(),
        nonce: Default::default(),
        reported: true,
    });
    node.pulse.talk = Talk {
        last: Some(LastBeat { sequence: Default::default(), digest: Default::default(), observed: None }),
        told_member: true,
        ..Talk::default()
    };
}
