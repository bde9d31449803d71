//! What the worker remembers about an assignment across restarts. A container is adopted only if it stands here.
//! [`rows`] has everything else that is remembered, and how.

mod rows;

use lode_protocol::assignment::{AssignmentState, EndPhase, PublishedPort, Reason};
use lode_protocol::session::AssignmentSpec;
use lode_protocol::units::Timestamp;
use minicbor::{Decode, Encode};

use crate::event::EngineRun;

pub use rows::{Change, Memory, Table};

/// Final outcome of an assignment.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Ended {
    /// `Succeeded`, `Failed` or `Stopped`.
    #[n(0)]
    pub state: AssignmentState,
    /// Why.
    #[n(1)]
    pub reason: Option<Reason>,
    /// In words.
    #[n(2)]
    pub detail: String,
    /// How far it had come.
    #[n(3)]
    pub phase: Option<EndPhase>,
}

/// One assignment in the journal.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Entry {
    /// The order as it came.
    #[n(0)]
    pub order: AssignmentSpec,
    /// Number of the current try.
    #[n(1)]
    pub attempt: u32,
    /// Image as the engine knows it.
    #[n(2)]
    pub image: Option<String>,
    /// Host ports.
    #[n(3)]
    pub ports: Vec<PublishedPort>,
    /// The container, once it was created.
    #[n(4)]
    pub container: Option<String>,
    /// Whether the container was started at least once.
    #[n(5)]
    pub started: bool,
    /// Whether it was ready.
    #[n(6)]
    pub ready: bool,
    /// Whether it was told to stop, and why.
    #[n(7)]
    pub stopping: Option<Reason>,
    /// Restarts so far: with its id it names a run, so that it never becomes less.
    #[n(8)]
    pub restarts: u32,
    /// Exit code of the last run.
    #[n(9)]
    pub exit_code: Option<i64>,
    /// How it ended.
    #[n(10)]
    pub ended: Option<Ended>,
    /// When its state last changed, by the node's clock.
    #[n(11)]
    pub changed_at: Timestamp,
    /// Whether the orchestrator still wants it.
    #[n(12)]
    pub wanted: bool,
    /// Why it was told to stop, in words, where the reason alone does not say it.
    #[n(13)]
    pub stop_detail: Option<String>,
    /// Restarts since a run that was long enough to count as a success: what the back-off and its limit go by.
    #[cbor(n(14), default)]
    pub failures: u32,
    /// The life of the engine in which the container runs, or in which its start was last asked for.
    #[n(15)]
    pub run: Option<EngineRun>,
}
