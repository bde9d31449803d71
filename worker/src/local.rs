//! The running worker's local socket in its data directory: `status`, `receipts`, `leave` and
//! `gpu clear` on the same machine.
//!
//! Whoever may open the socket's directory (mode 0700) may ask.

pub mod client;
pub mod server;

use lode_program::finding::CurrentFinding;
use lode_protocol::assignment::AssignmentReport;
use lode_protocol::hardware::GpuStatus;
use lode_protocol::ids::{AssignmentId, GpuUuid, PoolId};
use lode_protocol::session::Membership;
use lode_protocol::units::Timestamp;
use serde::{Deserialize, Serialize};

/// How a worker is doing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StatusReport {
    /// Version of the worker.
    pub version: String,
    /// The node's address.
    pub node: String,
    /// The pool.
    pub pool: PoolId,
    /// When this process started.
    pub started_at: Timestamp,
    /// Starts of this worker so far.
    pub boot: u64,
    /// Where the node stands in the pool.
    pub membership: MembershipReport,
    /// The conversation with the orchestrator.
    pub session: SessionReport,
    /// The container engine.
    pub engine: EngineReport,
    /// Everything that runs, ran or is to run here.
    pub assignments: Vec<AssignmentReport>,
    /// Health of every GPU.
    pub gpus: Vec<GpuReport>,
    /// What is wrong now, worst first.
    pub findings: Vec<CurrentFinding>,
}

/// Where the node stands in the pool.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct MembershipReport {
    /// By the chain's last answer: `never`, `member`, `left`, `ejected`, `banned`; nothing if it never answered.
    pub chain: Option<String>,
    /// Whether the chain answers now.
    pub chain_fresh: bool,
    /// By the orchestrator's last word.
    pub orchestrator: Option<Membership>,
    /// Whether this node asked to leave.
    pub leaving: bool,
}

/// The conversation with the orchestrator.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct SessionReport {
    /// `offline`, `greeting` or `open`.
    pub state: String,
    /// `libp2p` or `https`, while there is a transport.
    pub transport: Option<String>,
    /// Where the orchestrator was reached.
    pub endpoint: Option<String>,
    /// Address of the orchestrator's key, by the chain.
    pub orchestrator: Option<String>,
    /// When a beat was answered last.
    pub last_answer_at: Option<Timestamp>,
}

/// The container engine.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct EngineReport {
    /// `untouched` (not a member yet), `available` or `unavailable`.
    pub state: String,
    /// Its version, once it answered.
    pub version: Option<String>,
}

/// One GPU.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GpuReport {
    /// Health and readings.
    #[serde(flatten)]
    pub status: GpuStatus,
    /// Name of the model.
    pub model: Option<String>,
    /// The assignment that holds it.
    pub assignment: Option<AssignmentId>,
}

impl GpuReport {
    /// Its UUID.
    pub fn uuid(&self) -> &GpuUuid {
        &self.status.uuid
    }
}

/// What became of the wish to leave.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum LeaveAnswer {
    /// Signed, remembered, and sent to the orchestrator until it takes effect: it moves the tasks away, then submits
    /// the leave to the chain.
    Requested {
        /// Join counter of the membership that ends.
        counter: u64,
        /// Unix seconds until which the signature counts.
        deadline: u64,
        /// Whether there is a session to send it in now.
        connected: bool,
    },
    /// This node is not a member.
    NotMember,
    /// The chain has never answered: nobody knows which membership to end.
    Unknown,
}
