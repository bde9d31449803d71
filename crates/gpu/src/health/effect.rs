//! What the health of GPUs asks for, and how it stands.

use lode_protocol::hardware::GpuState;
use lode_protocol::ids::GpuUuid;

use super::reason::HealthReason;

/// What has to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthEffect {
    /// Tell the orchestrator.
    StateChanged { uuid: GpuUuid, from: Option<GpuState>, to: GpuState, reason: Option<HealthReason> },
    /// Whatever runs on the GPU has failed or cannot be trusted: end it as a fault of the node, if the reason is evidence
    /// of that ([`HealthReason::ends_tasks`]).
    StopTasks { uuid: GpuUuid, reason: HealthReason },
    /// A program on the GPU was ended by this error; the GPU goes on. If its task fails now, this is why.
    FailTask { uuid: GpuUuid, xid: u32 },
    /// Have the GPU prove itself.
    Prove { uuid: GpuUuid, depth: ProofDepth },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofDepth {
    Short,
    Full,
}

/// A GPU's health as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GpuHealth {
    pub uuid: GpuUuid,
    pub state: GpuState,
    pub reason: Option<HealthReason>,
    /// Only an operator brings it back.
    pub needs_operator: bool,
}
