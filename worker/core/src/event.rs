//! What can happen to a worker.
//!
//! Messages have been opened before they come here: their signer is the pool's orchestrator by the chain, they were
//! addressed to this node, and their time is good.

use lode_protocol::hardware::GpuStatus;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{AssignmentId, BootCounter, GpuUuid, Sequence};
use lode_protocol::image::ImageReference;
use lode_protocol::join::{Invite, LeaveStatement};
use lode_protocol::keys::EthereumSignature;
use lode_protocol::session::{Granted, Instruction, Refusal};
use lode_protocol::settlement::Receipt;
pub use lode_protocol::time::Now;
use lode_protocol::units::{Bytes, Millis};
use minicbor::{Decode, Encode};

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
    /// Whether the kernel killed it, or something in it, for want of memory.
    pub out_of_memory: bool,
}

/// An image that the engine has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PulledImage {
    /// As the engine knows it: content of its repository (`name@sha256:…`), or an id in this engine.
    pub name: String,
    /// What of it was there before.
    pub origin: Origin,
}

/// What the engine had before an image was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// All of it.
    Present,
    /// The name, for other content: somebody else may have given it.
    Renewed,
    /// Neither.
    Fetched,
}

impl From<String> for PulledImage {
    /// It was there already.
    fn from(name: String) -> Self {
        Self { name, origin: Origin::Present }
    }
}

/// One life of the container engine: the boot of its host, and the run of its program within it. Equal ones are the same
/// life; nothing else may be made of them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode)]
pub struct EngineRun {
    /// Names the boot of the host.
    #[n(0)]
    pub boot: String,
    /// Names the run of the engine.
    #[n(1)]
    pub run: String,
}

/// How a container came to its end, by the word of an engine that lived on afterwards.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ending {
    /// Its exit, as the engine wrote it down.
    pub exit: Exit,
    /// The life of the engine that told, and that took new callers after the end. An engine that is about to stop takes
    /// none before it stops its containers.
    pub run: EngineRun,
    /// Signal that somebody other than this worker had the engine send, where that is what ended it.
    pub stopped_by_hand: Option<String>,
    /// Whether the host killed programs for want of memory about then.
    pub host_out_of_memory: bool,
    /// The limits that were in force.
    pub limits: MemoryLimits,
}

/// What counted as a container's memory, and how much of it there might be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MemoryLimits {
    /// The limit; `None`: there was none.
    pub memory: Option<Bytes>,
    /// Most that `/tmp` could hold, where it lay in memory.
    pub tmp: Option<Bytes>,
    /// Most that `/dev/shm` could hold.
    pub shm: Option<Bytes>,
    /// What files in these took when that was looked at last, where it could be seen.
    pub files: Option<Bytes>,
}

/// Room on the file system where the engine keeps images.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DiskSpace {
    /// Its size.
    pub total: Bytes,
    /// What is left.
    pub free: Bytes,
}

/// Why the engine could not do something: in our words, which tenants may read. What the engine or a registry said is in
/// this host's log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EngineFailure {
    /// The engine does not answer: nothing is known, nothing follows from it.
    Unavailable(String),
    /// The image's registry is none that this node pulls from.
    RegistryNotAllowed(String),
    /// The registry takes no more requests for now.
    RegistryLimit {
        /// In words.
        detail: String,
        /// For how long, by its own word.
        retry_after: Option<Millis>,
    },
    /// The registry no longer has what the task is pinned to.
    PinnedImageGone(String),
    /// There is no such image, or no right to it.
    ImageNotFound(String),
    /// The registry cannot be reached or broke off.
    PullFailed(String),
    /// The disk is full.
    DiskFull(String),
    /// The image cannot run like this: no such command, user or directory, wrong format.
    CannotStart(String),
    /// The engine has no program to run containers with, or a broken one.
    Runtime(String),
    /// The image was there and is not any more.
    ImageRemoved(String),
    /// A GPU could not be given to the container.
    Gpu(String),
    /// The image asks for a driver, a CUDA version or a GPU that this host does not have.
    Unmet(String),
    /// A host port is taken by somebody else.
    PortTaken(String),
    /// The host holds as many containers as it can.
    NoRoom(String),
    /// Anything else.
    Other(String),
}

impl EngineFailure {
    /// Itself, if it says that the engine does not answer.
    pub(crate) fn silence(&self) -> Option<EngineFailure> {
        match self {
            Self::Unavailable(_) => Some(self.clone()),
            Self::RegistryNotAllowed(_)
            | Self::RegistryLimit { .. }
            | Self::PinnedImageGone(_)
            | Self::ImageNotFound(_)
            | Self::PullFailed(_)
            | Self::DiskFull(_)
            | Self::CannotStart(_)
            | Self::Runtime(_)
            | Self::ImageRemoved(_)
            | Self::Gpu(_)
            | Self::Unmet(_)
            | Self::PortTaken(_)
            | Self::NoRoom(_)
            | Self::Other(_) => None,
        }
    }

    /// In words.
    pub fn detail(&self) -> &str {
        match self {
            Self::Unavailable(detail)
            | Self::RegistryNotAllowed(detail)
            | Self::RegistryLimit { detail, .. }
            | Self::PinnedImageGone(detail)
            | Self::ImageNotFound(detail)
            | Self::PullFailed(detail)
            | Self::DiskFull(detail)
            | Self::CannotStart(detail)
            | Self::Runtime(detail)
            | Self::ImageRemoved(detail)
            | Self::Gpu(detail)
            | Self::Unmet(detail)
            | Self::PortTaken(detail)
            | Self::NoRoom(detail)
            | Self::Other(detail) => detail,
        }
    }
}

/// What the container engine says: results of [`crate::effect::Command`]s, and the ends of containers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EngineEvent {
    /// Every container of this node and pool: the answer to a scan, all of it within this life of the engine.
    Observed(EngineRun, Vec<Observed>),
    /// A scan failed: the engine does not answer.
    ScanFailed(EngineFailure),
    /// It did not answer a call that has no result of its own.
    Silent(EngineFailure),
    /// A pull ended.
    Pulled(AssignmentId, Attempt, Result<PulledImage, EngineFailure>),
    /// A creation ended.
    Created(AssignmentId, Attempt, Result<ContainerId, EngineFailure>),
    /// A start ended, within this life of the engine.
    Started(AssignmentId, Attempt, Result<EngineRun, EngineFailure>),
    /// A container ended. What that means is asked for with [`crate::effect::Command::Examine`].
    Exited(AssignmentId, ContainerId, Exit),
    /// How it came to its end.
    Examined(AssignmentId, ContainerId, Result<Ending, EngineFailure>),
    /// A check of readiness or liveness ended.
    Probed(AssignmentId, ContainerId, Result<(), String>),
    /// A check could not be asked: the engine did not answer.
    Unprobed(AssignmentId, ContainerId, EngineFailure),
    /// A container that no record knows could not be removed.
    StrayLeft(ContainerId, EngineFailure),
    /// A container could not be stopped.
    StopFailed(AssignmentId, ContainerId, EngineFailure),
    /// A container is gone for good, with its network.
    Removed(AssignmentId, Result<(), EngineFailure>),
    /// Room for images: the answer to a survey. `None`: it cannot be seen from here.
    Surveyed(Option<DiskSpace>),
    /// An image was removed, or is still used, or was not there.
    ImageRemoved(ImageReference, Result<(), EngineFailure>),
}
