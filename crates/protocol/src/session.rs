//! The conversation of a worker and its orchestrator.
//!
//! `Hello → Granted`, then `Heartbeat → Instruction` for ever; the orchestrator may push an `Instruction` at any time.
//! Each message is bound to (session, leader epoch, channel, sequence). The same (session, sequence, bytes) gets the
//! cached answer; the same sequence with other bytes is `session/replay`; a lower one is `session/stale`. An unknown
//! session is reopened, never assumed.

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::assignment::AssignmentReport;
use crate::envelope::{Purpose, Signable};
use crate::error_code::ErrorCode;
use crate::finding::Finding;
use crate::hardware::GpuStatus;
use crate::hash::Digest;
use crate::ids::{AssignmentId, BootCounter, Generation, GpuUuid, Nonce, Sequence, SessionId, Term};
use crate::image::PinnedImage;
use crate::join::{Invite, SignedInvite};
use crate::keys::EthereumSignature;
use crate::task::ValidTaskSpec;
use crate::units::{Bytes, MilliCpus, Millis};
use crate::usage::{MeterReading, OfferedReceipt, ReceiptAnswer};

/// A worker asks for a session.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Hello {
    /// How often this worker has started; a lower one than known is refused.
    #[n(0)]
    pub boot: BootCounter,
    /// Ties the answer to this question.
    #[n(1)]
    pub nonce: Nonce,
    /// Version of the worker.
    #[n(2)]
    pub agent_version: String,
    /// The node's current descriptor, sealed ([`crate::descriptor::NodeDescriptor`]).
    #[cbor(n(3), with = "minicbor::bytes")]
    pub descriptor: Vec<u8>,
    /// Whether answers without news may come tagged ([`crate::acknowledgement`]); a worker that does not say so gets all
    /// of them signed.
    #[n(4)]
    pub takes_tags: Option<bool>,
}

/// When the next beat is due and how long silence is borne.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct LeaseTiming {
    /// Time until the next beat.
    #[n(0)]
    pub interval: Millis,
    /// Silence after which the node counts as suspect.
    #[n(1)]
    pub suspect_after: Millis,
    /// Silence after which the node counts as lost and its work is placed elsewhere.
    #[n(2)]
    pub lost_after: Millis,
}

/// Where the node stands in the pool, as the orchestrator sees it.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "kebab-case")]
pub enum Membership {
    /// Not yet; what is missing.
    #[n(0)]
    Waiting {
        /// Stable code of what is missing, like `node/not-proven`.
        #[n(0)]
        code: ErrorCode,
        /// In words.
        #[n(1)]
        message: String,
    },
    /// An invite is out; consent to it.
    #[n(1)]
    Invited,
    /// A member on chain.
    #[n(2)]
    Member,
    /// A member that gets nothing new.
    #[n(3)]
    Draining,
    /// Removed.
    #[n(4)]
    Ejected {
        /// Why.
        #[n(0)]
        message: String,
    },
}

/// The session that a worker was given.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Granted {
    /// Nonce of the question.
    #[n(0)]
    pub nonce: Nonce,
    /// The session.
    #[n(1)]
    pub session: SessionId,
    /// Term of the orchestrator that gave it.
    #[n(2)]
    pub epoch: Term,
    /// When to beat.
    #[n(3)]
    pub terms: LeaseTiming,
    /// Where the node stands.
    #[n(4)]
    pub membership: Membership,
}

/// Node-wide consumption at the time of a beat.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode, Serialize, Deserialize)]
pub struct Usage {
    /// CPU time used, averaged since the last beat.
    #[n(0)]
    pub cpus: MilliCpus,
    /// Memory used.
    #[n(1)]
    pub memory: Bytes,
    /// Disk free for tasks.
    #[n(2)]
    pub disk_free: Bytes,
}

/// A node's consent to an invite.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Consent {
    /// The invite that is consented to.
    #[n(0)]
    pub invite: Invite,
    /// EIP-712 signature of the node's key.
    #[n(1)]
    pub signature: EthereumSignature,
}

/// A sign of life with what changed. The first beat of a session carries everything.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Heartbeat {
    /// The session.
    #[n(0)]
    pub session: SessionId,
    /// Term of the orchestrator that gave the session.
    #[n(1)]
    pub epoch: Term,
    /// The worker's boot.
    #[n(2)]
    pub boot: BootCounter,
    /// Number of this beat in the session, from 1.
    #[n(3)]
    pub sequence: Sequence,
    /// Desired set that the worker works towards, if it knows one.
    #[n(4)]
    pub observed: Option<Generation>,
    /// Whether `assignments` is all there is on the node (always so in the first beat of a session).
    #[n(5)]
    pub complete: bool,
    /// Reports that no answered beat has carried yet.
    #[n(6)]
    pub assignments: Vec<AssignmentReport>,
    /// Health of every GPU.
    #[n(7)]
    pub gpus: Vec<GpuStatus>,
    /// What the host uses.
    #[n(8)]
    pub usage: Usage,
    /// What is wrong on the host (the worst, at most [`Heartbeat::MAX_FINDINGS`]).
    #[n(9)]
    pub findings: Vec<Finding>,
    /// Hash of the node's specs; a new descriptor follows when it changes.
    #[n(10)]
    pub specs: Digest,
    /// A new descriptor, sealed, when it changed.
    #[cbor(n(11), with = "minicbor::bytes")]
    pub descriptor: Option<Vec<u8>>,
    /// Consent to an invite.
    #[n(12)]
    pub consent: Option<Consent>,
    /// What the node says to receipts that it was offered (at most [`OfferedReceipt::MAX_AT_ONCE`]).
    #[n(13)]
    pub receipts: Option<Vec<ReceiptAnswer>>,
}

impl Heartbeat {
    /// Most findings in one beat.
    pub const MAX_FINDINGS: usize = 32;
}

/// The orchestrator's order to run one assignment.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct AssignmentSpec {
    /// Which assignment.
    #[n(0)]
    pub id: AssignmentId,
    /// What to run.
    #[n(1)]
    pub spec: ValidTaskSpec,
    /// On which GPUs, exactly.
    #[n(2)]
    pub gpus: Vec<GpuUuid>,
    /// Content that the task was pinned to, once one is known.
    #[n(3)]
    pub pinned_image: Option<PinnedImage>,
}

/// What the worker is to run. An assignment that is not in the set is to be stopped within its grace and removed.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Desired {
    /// As the worker last heard.
    #[n(0)]
    Unchanged,
    /// All of it.
    #[n(1)]
    Full {
        /// Version of the set.
        #[n(0)]
        generation: Generation,
        /// The set.
        #[n(1)]
        orders: Vec<AssignmentSpec>,
    },
}

/// How an instruction came about.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Channel {
    /// Answer to a beat.
    #[n(0)]
    Reply {
        /// Number of the beat.
        #[n(0)]
        sequence: Sequence,
        /// Digest of the beat as signed.
        #[n(1)]
        request: Digest,
    },
    /// Unasked for.
    #[n(1)]
    Push {
        /// Number of the push in the session, from 1.
        #[n(0)]
        sequence: Sequence,
    },
}

/// What the orchestrator wants of a node. The answer to a beat, a push and a resync are this same message.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Instruction {
    /// The session.
    #[n(0)]
    pub session: SessionId,
    /// The orchestrator's term.
    #[n(1)]
    pub epoch: Term,
    /// How it came about.
    #[n(2)]
    pub channel: Channel,
    /// When to beat.
    #[n(3)]
    pub terms: LeaseTiming,
    /// What to run.
    #[n(4)]
    pub desired: Desired,
    /// Where the node stands.
    #[n(5)]
    pub membership: Membership,
    /// An invite to consent to.
    #[n(6)]
    pub invite: Option<SignedInvite>,
    /// Sealed [`crate::logs::LogRequest`]s for workers that are reached over HTTPS only.
    #[n(7)]
    pub log_requests: Vec<SealedBytes>,
    /// The node's meter, in an answer to a beat, where the pool pays.
    #[n(8)]
    pub meter: Option<MeterReading>,
    /// Receipts that the node has not answered yet, the oldest first (at most [`OfferedReceipt::MAX_AT_ONCE`]).
    #[n(9)]
    pub receipts: Option<Vec<OfferedReceipt>>,
}

/// Bytes of a sealed message inside another one.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(transparent)]
pub struct SealedBytes(#[cbor(n(0), with = "minicbor::bytes")] pub Vec<u8>);

/// Why a message was not accepted, and what to do about it.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Refusal {
    /// Stable code.
    #[n(0)]
    pub code: ErrorCode,
    /// What happened.
    #[n(1)]
    pub message: String,
    /// What to do next.
    #[n(2)]
    pub remedy: String,
    /// Whether to open a new session.
    #[n(3)]
    pub reopen: bool,
    /// When to try again, where trying again can help.
    #[n(4)]
    pub retry_after: Option<Millis>,
    /// keccak-256 of the refused bytes.
    #[n(5)]
    pub request: Digest,
}

/// A node leaves its pool: the orchestrator stops what runs on it and submits the signature to the chain.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Leave {
    /// Join counter of the membership that ends.
    #[n(0)]
    pub counter: u64,
    /// Unix seconds until which the signature counts.
    #[n(1)]
    pub deadline: u64,
    /// EIP-712 signature for `leaveBySignature`.
    #[n(2)]
    pub signature: EthereumSignature,
}

impl Signable for Hello {
    const PURPOSE: Purpose = Purpose::Hello;
    const MAX_BYTES: usize = 72 << 10;
}

impl Signable for Granted {
    const PURPOSE: Purpose = Purpose::Granted;
    const MAX_BYTES: usize = 16 << 10;
}

impl Signable for Heartbeat {
    const PURPOSE: Purpose = Purpose::Heartbeat;
    const MAX_BYTES: usize = 1 << 20;
}

impl Signable for Instruction {
    const PURPOSE: Purpose = Purpose::Instruction;
    const MAX_BYTES: usize = 16 << 20;
}

impl Signable for Refusal {
    const PURPOSE: Purpose = Purpose::Refusal;
    const MAX_BYTES: usize = 16 << 10;
}

impl Signable for Leave {
    const PURPOSE: Purpose = Purpose::Leave;
    const MAX_BYTES: usize = 4 << 10;
}
