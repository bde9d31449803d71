//! What can happen to a worker.
//!
//! Messages have been opened before they come here: their signer is the pool's orchestrator by the chain, they were
//! addressed to this node, and their time is good.

use lode_protocol::hardware::GpuStatus;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{AssignmentId, BootCounter, GpuUuid, Sequence};
use lode_protocol::join::{Invite, LeaveStatement};
use lode_protocol::keys::EthereumSignature;
use lode_protocol::session::{Granted, Instruction, Refusal};
use lode_protocol::settlement::Receipt;
pub use lode_protocol::time::Now;

use crate::chain::ChainFacts;
use crate::ticket::Ticket;

/// Something that happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The process has started. Comes first, once.
    Started,
    /// Time passed.
    Tick,
    /// The changes of every step up to this one are durable.
    Stored(Ticket),
    /// The chain answered.
    ChainSeen(ChainFacts),
    /// The chain does not answer: what it said last still counts, and is known not to be fresh.
    ChainSilent,
    /// The node's description of itself was made, or made anew.
    Described(Description),
    /// There is a way to the orchestrator.
    Connected,
    /// It is gone.
    Disconnected,
    /// It could not be had.
    ConnectFailed {
        /// Where it was tried.
        endpoint: String,
        /// Why not.
        detail: String,
    },
    /// The orchestrator says.
    Heard(Heard),
    /// A message of [`crate::effect::Action::Send`] went out.
    Sent(Sent),
    /// The node's key has signed what [`crate::effect::Action::Sign`] asked for.
    Signed(Statement, EthereumSignature),
    /// The container engine says.
    Engine(EngineEvent),
    /// The GPUs were looked at: the health of every one that was ever offered. A list without any: there is none.
    GpusSeen(Vec<GpuStatus>),
    /// A GPU failed, or a program on it did.
    GpuFailed(GpuFault),
    /// Somebody on this machine wants the node to leave its pool. The number comes back with the answer.
    LeaveWanted(u64),
}

/// What the orchestrator says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Heard {
    /// Answer to a greeting.
    Granted(Granted),
    /// Answer to a beat, or a push.
    Instruction(Box<Instruction>),
    /// Something was not accepted.
    Refused(Refusal),
}

/// A message that went out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sent {
    /// Which.
    pub what: SentMessage,
    /// Digest that was signed: an answer to a beat names it.
    pub digest: Digest,
    /// keccak-256 of the bytes as sent: a refusal names it.
    pub bytes: Digest,
}

/// Which message it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SentMessage {
    /// A greeting.
    Hello,
    /// A beat.
    Heartbeat(Sequence),
    /// A leave.
    Leave,
}

/// What the node's key is to sign, in the domain of the contract that it is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Statement {
    /// Consent to an invite ([`Invite::consent_digest`], domain of `ComputePools`).
    Consent(Invite),
    /// The node leaves ([`LeaveStatement::digest`], domain of `ComputePools`).
    Leave(LeaveStatement),
    /// A receipt is right ([`Receipt::digest`], domain of the rewards contract).
    Receipt(Receipt),
}

/// The node's signed description of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Description {
    /// Boot and number within it: grows with every description.
    pub version: (BootCounter, u64),
    /// As it travels.
    pub sealed: Vec<u8>,
    /// Hash of its specs.
    pub specs: Digest,
}

/// A GPU's trouble as far as it concerns what runs on it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GpuFault {
    /// The GPU, and the instances that it is divided into.
    pub gpus: Vec<GpuUuid>,
    /// In words, for the report: like `XID 79`.
    pub detail: String,
    /// What follows from it.
    pub kind: GpuFaultKind,
}

/// What a GPU's trouble means for what runs on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GpuFaultKind {
    /// The hardware is broken: whatever runs on it has failed or cannot be trusted, by the node's fault.
    Broken,
    /// A program on it was ended by an error of the hardware that concerns nobody else. If its task fails now, it is the
    /// node's fault.
    LostProgram,
    /// A program on it did something wrong. If its task fails now, this is why.
    ProgramError,
}

/// Number of a try to run an assignment: results that belong to an older try are recognised by it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Attempt(pub u32);

/// The engine's id of a container.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ContainerId(pub String);

/// A container of this node and pool as the engine shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Observed {
    /// The engine's id.
    pub container: ContainerId,
    /// Assignment named by our label; `None` if the label cannot be read.
    pub assignment: Option<AssignmentId>,
    /// What it does.
    pub state: ObservedState,
}

/// What a container does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ObservedState {
    /// Created, not started yet.
    Created,
    /// Runs.
    Running,
    /// Ended.
    Exited(Exit),
}

/// How a container ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exit {
    /// Exit code; 128 + n for signal n.
    pub code: i64,
    /// Whether the kernel killed it for its memory limit.
    pub out_of_memory: bool,
}

/// Why the engine could not do something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EngineFailure {
    /// The engine does not answer: nothing is known, nothing follows from it.
    Unavailable(String),
    /// There is no such image, or no right to it.
    ImageNotFound(String),
    /// The registry cannot be reached or broke off.
    PullFailed(String),
    /// The disk is full.
    DiskFull(String),
    /// The image cannot run like this: no such command, wrong format.
    CannotStart(String),
    /// A GPU could not be given to the container.
    Gpu(String),
    /// A host port is taken by somebody else.
    PortTaken(String),
    /// Anything else.
    Other(String),
}

impl EngineFailure {
    /// The engine's words.
    pub fn detail(&self) -> &str {
        match self {
            Self::Unavailable(detail)
            | Self::ImageNotFound(detail)
            | Self::PullFailed(detail)
            | Self::DiskFull(detail)
            | Self::CannotStart(detail)
            | Self::Gpu(detail)
            | Self::PortTaken(detail)
            | Self::Other(detail) => detail,
        }
    }
}

/// What the container engine says: results of [`crate::effect::Command`]s, and the ends of containers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EngineEvent {
    /// Every container of this node and pool: the answer to a scan.
    Observed(Vec<Observed>),
    /// A scan failed: the engine does not answer.
    ScanFailed(EngineFailure),
    /// It did not answer a call that has no result of its own.
    Silent(EngineFailure),
    /// A pull ended.
    Pulled(AssignmentId, Attempt, Result<String, EngineFailure>),
    /// A creation ended.
    Created(AssignmentId, Attempt, Result<ContainerId, EngineFailure>),
    /// A start ended.
    Started(AssignmentId, Attempt, Result<(), EngineFailure>),
    /// A container ended.
    Exited(AssignmentId, ContainerId, Exit),
    /// A readiness check ended.
    Probed(AssignmentId, ContainerId, Result<(), String>),
    /// A container is gone for good, with its network.
    Removed(AssignmentId, Result<(), EngineFailure>),
}
