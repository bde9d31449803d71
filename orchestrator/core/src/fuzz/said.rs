//! What is said in the target `sessions`.

use lode_protocol::assignment::{AssignmentReport, AssignmentState, Reason};
use lode_protocol::descriptor::NodeDescriptor;
use lode_protocol::hardware::{GpuSpec, GpuState, GpuStatus, NodeSpecs};
use lode_protocol::hash::{Digest, keccak256};
use lode_protocol::ids::*;
use lode_protocol::keys::PublicKey;
use lode_protocol::origin::Origin;
use lode_protocol::session::{Heartbeat, Hello, Usage};
use lode_protocol::units::{Bytes, MilliCpus, Timestamp};

use crate::config::{Config, Limits, Requirements, Tunables};
use crate::event::{Event, Link};

pub(super) fn config() -> Config {
    Config {
        chain: ChainId(31_337),
        pools_contract: Address([9; 20]),
        pool: PoolId(1),
        requirements_hash: Digest([3; 32]),
        terms: Tunables::default(),
        requirements: Requirements { allow_cpu_only: true, ..Requirements::default() },
        declared: None,
        settlement: None,
        limits: Limits::default(),
    }
}

pub(super) fn address(tag: u8, number: u8) -> Address {
    let mut address = [tag; 20];
    address[0] = number;
    Address(address)
}

pub(super) fn specs(number: u8) -> NodeSpecs {
    let gpu = |of: u8| GpuSpec {
        uuid: format!("GPU-{number:08x}-{of:04x}").parse().expect("a UUID of a GPU"),
        model: Some("NVIDIA H200".to_owned()),
        memory: Some(Bytes::gibi(141)),
        compute_capability: Some((9, 0)),
        pci_bus_id: None,
        parent: None,
    };
    NodeSpecs {
        cpus: MilliCpus(16_000),
        memory: Bytes::gibi(64),
        disk: Bytes::gibi(100),
        gpus: vec![gpu(0), gpu(1)],
        engine_version: Some("20.10.24".to_owned()),
        os: "debian".to_owned(),
        architecture: "amd64".to_owned(),
        ..NodeSpecs::default()
    }
}

pub(super) fn claim(id: AssignmentId, state: AssignmentState) -> AssignmentReport {
    let failed = state == AssignmentState::Failed;
    AssignmentReport {
        id,
        state,
        reason: failed.then_some(Reason::ExitedWithError),
        detail: String::new(),
        exit_code: failed.then_some(1),
        restarts: 0,
        gpus: vec![],
        ports: vec![],
        image: None,
        at: Timestamp(0),
        phase: None,
    }
}

pub(super) fn hello_of(
    number: u64,
    public_key: PublicKey,
    node: NodeId,
    specs: NodeSpecs,
    link: Link,
    origin: Option<Origin>,
) -> Event {
    let mut nonce = [0; 16];
    nonce[..8].copy_from_slice(&number.to_be_bytes());
    let hello = Hello {
        boot: BootCounter(1),
        nonce: Nonce(nonce),
        agent_version: "0.1.0".to_owned(),
        descriptor: vec![],
        takes_tags: None,
    };
    let descriptor = NodeDescriptor {
        node,
        specs,
        addresses: vec![],
        sealing_key: None,
        agent_version: "0.1.0".to_owned(),
        boot: BootCounter(1),
        sequence: number,
        issued_at: Timestamp(0),
        expires_at: Timestamp(u64::MAX),
    };
    let session = SessionId(nonce);
    Event::HelloReceived { node, public_key, hello, descriptor, link, session, origin }
}

pub(super) fn beat_of(
    (session, epoch): (SessionId, Term),
    sequence: u64,
    observed: Option<Generation>,
    specs: &NodeSpecs,
    assignments: Vec<AssignmentReport>,
) -> Heartbeat {
    Heartbeat {
        session,
        epoch,
        boot: BootCounter(1),
        sequence: Sequence(sequence),
        observed,
        complete: sequence == 1,
        assignments,
        gpus: specs.gpus.iter().map(healthy).collect(),
        usage: Usage::default(),
        findings: vec![],
        specs: specs.digest(),
        descriptor: None,
        consent: None,
        receipts: None,
    }
}

pub(super) fn beat_event(node: NodeId, heartbeat: Heartbeat, link: Link) -> Event {
    let digest = keccak256(&lode_protocol::envelope::encode(&heartbeat));
    Event::BeatReceived { node, digest, heartbeat, descriptor: None, link }
}

fn healthy(gpu: &GpuSpec) -> GpuStatus {
    GpuStatus {
        uuid: gpu.uuid.clone(),
        state: GpuState::Healthy,
        reason: None,
        temperature: None,
        power: None,
        utilization: None,
        memory_used: None,
    }
}
