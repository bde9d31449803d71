//! From the core's views of nodes to what the API says.

use lode_api_types as api;
use lode_protocol::error_code::ErrorCode;
use lode_protocol::finding::Finding;
use lode_protocol::hardware::{GpuSpec, NodeSpecs};
use lode_protocol::session::{Membership, Usage};
use lode_protocol::units::{MilliCpus, Timestamp};

use crate::core::view;

pub(super) fn state(state: view::NodeState) -> api::NodeState {
    match state {
        view::NodeState::Joining => api::NodeState::Joining,
        view::NodeState::Alive => api::NodeState::Alive,
        view::NodeState::Suspect => api::NodeState::Suspect,
        view::NodeState::Lost => api::NodeState::Lost,
        view::NodeState::Draining => api::NodeState::Draining,
        view::NodeState::Ejected => api::NodeState::Ejected,
        view::NodeState::Conflicted => api::NodeState::Conflicted,
    }
}

fn cpus(cpus: MilliCpus) -> f64 {
    f64::from(cpus.0) / 1_000.0
}

fn capacity(capacity: view::Capacity) -> api::Capacity {
    api::Capacity {
        gpus: capacity.gpus,
        cpus: cpus(capacity.cpus),
        memory_bytes: capacity.memory.0,
        disk_bytes: capacity.disk.0,
    }
}

/// What a member lacks is said beside that it is one.
fn membership(membership: Membership, shortfall: Option<(ErrorCode, String)>) -> api::Membership {
    let (status, code, message) = match membership {
        Membership::Waiting { code, message } => (api::MembershipStatus::Waiting, Some(code), Some(message)),
        Membership::Invited => (api::MembershipStatus::Invited, None, None),
        Membership::Member => (api::MembershipStatus::Member, None, None),
        Membership::Draining => (api::MembershipStatus::Draining, None, None),
        Membership::Ejected { message } => (api::MembershipStatus::Ejected, None, Some(message)),
    };
    match shortfall {
        Some((code, message)) => api::Membership { status, code: Some(code), message: Some(message) },
        None => api::Membership { status, code, message },
    }
}

fn gpu(gpu: view::GpuView) -> api::Gpu {
    api::Gpu {
        uuid: gpu.uuid,
        model: gpu.model,
        memory_bytes: gpu.memory.map(|bytes| bytes.0),
        state: gpu.state,
        reason: gpu.reason,
        temperature_celsius: gpu.temperature,
        power_milliwatts: gpu.power,
        utilization_percent: gpu.utilization,
        memory_used_bytes: gpu.memory_used.map(|bytes| bytes.0),
        assignment: gpu.assignment,
    }
}

pub(super) fn summary(node: view::NodeSummary) -> api::NodeSummary {
    api::NodeSummary {
        id: node.id,
        state: state(node.state),
        membership: membership(node.membership, node.shortfall),
        provider: node.provider,
        gpus: node.gpus.into_iter().map(gpu).collect(),
        capacity: capacity(node.capacity),
        allocated: capacity(node.allocated),
        assignments: node.assignments,
        last_heard: node.last_heard,
        agent_version: node.agent_version,
    }
}

fn gpu_specs(gpu: GpuSpec) -> api::GpuSpecs {
    api::GpuSpecs {
        uuid: gpu.uuid,
        model: gpu.model,
        memory_bytes: gpu.memory.map(|bytes| bytes.0),
        compute_capability: gpu.compute_capability.map(|(major, minor)| format!("{major}.{minor}")),
        pci_bus_id: gpu.pci_bus_id,
        parent: gpu.parent,
    }
}

fn specs(specs: NodeSpecs) -> api::Specs {
    api::Specs {
        cpus: cpus(specs.cpus),
        cpu_model: specs.cpu_model,
        memory_bytes: specs.memory.0,
        disk_bytes: specs.disk.0,
        gpus: specs.gpus.into_iter().map(gpu_specs).collect(),
        driver_version: specs.driver_version,
        // NVML counts `major * 1000 + minor * 10`.
        cuda_version: specs.cuda_version.map(|number| format!("{}.{}", number / 1_000, number % 1_000 / 10)),
        engine_version: specs.engine_version,
        passthrough: specs.passthrough,
        os: specs.os,
        architecture: specs.architecture,
        labels: specs.labels,
    }
}

fn usage(usage: Usage) -> api::Usage {
    api::Usage { cpus: cpus(usage.cpus), memory_bytes: usage.memory.0, disk_free_bytes: usage.disk_free.0 }
}

pub(super) fn finding(finding: Finding, since: Option<Timestamp>) -> api::Finding {
    let Finding { code, severity, subject, message, remedy } = finding;
    api::Finding { code, severity, subject, message, remedy, since }
}

pub(super) fn node(node: view::NodeView) -> api::Node {
    api::Node {
        summary: summary(node.summary),
        specs: specs(node.specs),
        addresses: node.addresses,
        usage: node.usage.map(usage),
        findings: node.findings.into_iter().map(|found| finding(found, None)).collect(),
        active: node.active,
        boot: node.boot,
        generation: node.generation,
        observed: node.observed,
        attempts: node.attempts,
    }
}
