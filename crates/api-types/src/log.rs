//! A task's output as a stream of server-sent events.

use lode_protocol::error_code::ErrorCode;
use lode_protocol::ids::{AssignmentId, NodeId};
use lode_protocol::logs::{EngineTime, LogSource};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One message of a stream of output: `event` and, as JSON, `data`. What has a `position` has it as its `id` too, for
/// `Last-Event-ID`. The last one is an `end`; a stream without one broke off.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(tag = "event", content = "data", rename_all = "lowercase")]
pub enum LogMessage {
    /// Whose output follows.
    #[schema(title = "LogBeginMessage")]
    Begin(LogBegin),
    /// A line, or a piece of a long one.
    #[schema(title = "LogLineMessage")]
    Line(LogLine),
    /// Something is missing here.
    #[schema(title = "LogGapMessage")]
    Gap(LogGap),
    /// What follows was written by the next start.
    #[schema(title = "LogRestartMessage")]
    Restart(LogRestart),
    /// Nothing follows.
    #[schema(title = "LogEndMessage")]
    End(LogEnd),
}

/// Whose output follows.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct LogBegin {
    /// Of which assignment.
    pub assignment: AssignmentId,
    /// Where it runs or ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// Of which replica.
    pub replica: u32,
    /// Of how many.
    pub replicas: u32,
}

/// How a line ends that has no line feed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLineEnd {
    /// It goes on in the next line of its source.
    Cut,
    /// Its output ended.
    Open,
}

/// A line, or a piece of a long one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct LogLine {
    /// Where the output goes on behind it. Opaque.
    #[schema(pattern = "^[0-9]+\\.[0-9]+$")]
    pub position: String,
    /// When the engine took it.
    pub at: EngineTime,
    /// Where it was written.
    pub source: LogSource,
    /// What was written, where it is UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// What was written, where it is not: base64 (RFC 4648, section 4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<String>,
    /// Left out where a line feed follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<LogLineEnd>,
}

/// Why something is missing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LogGapReason {
    /// The node keeps only so much.
    Retention,
    /// The engine wrote over it before the node had read it.
    Engine,
    /// The node that has it cannot be asked.
    NodeGone,
}

/// Something is missing here.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct LogGap {
    /// Where the output goes on behind it; left out where it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[0-9]+\\.[0-9]+$")]
    pub position: Option<String>,
    /// How many lines, or pieces of lines; left out if nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<u64>,
    /// How many bytes; left out if nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Why.
    pub reason: LogGapReason,
}

/// What follows was written by the next start.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct LogRestart {
    /// Where the output goes on behind it.
    #[schema(pattern = "^[0-9]+\\.[0-9]+$")]
    pub position: String,
    /// Of which assignment.
    pub assignment: AssignmentId,
    /// Where it runs, if that changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
}

/// Whether output is whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogStatus {
    /// The container ended, or all that is kept was sent.
    Complete,
    /// It broke off.
    Failed,
}

/// How a stream of output ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct LogEnd {
    /// Whether it is whole.
    pub status: LogStatus,
    /// Why it broke off: stable code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<ErrorCode>,
    /// In words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}
