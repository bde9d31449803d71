//! A task's output on its way from a worker to its reader.

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::envelope::{Purpose, Signable};
use crate::error_code::ErrorCode;
use crate::ids::{AssignmentId, Nonce};
use crate::units::Timestamp;

/// The orchestrator asks for the output of an assignment.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct LogRequest {
    /// Names this stream.
    #[n(0)]
    pub stream: Nonce,
    /// Whose output.
    #[n(1)]
    pub assignment: AssignmentId,
    /// Whether to go on when the end is reached.
    #[n(2)]
    pub follow: bool,
    /// Only the last so many lines; `None` is all that is kept.
    #[n(3)]
    pub tail: Option<u32>,
    /// Only output after this time, by the node's clock.
    #[n(4)]
    pub since: Option<Timestamp>,
}

/// Where a line was written.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "lowercase")]
pub enum LogSource {
    /// Standard output.
    #[n(0)]
    Stdout,
    /// Standard error.
    #[n(1)]
    Stderr,
}

/// One line of output, without its line end.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, Serialize, Deserialize)]
pub struct LogLine {
    /// Where it was written.
    #[n(0)]
    pub source: LogSource,
    /// When, by the node's clock.
    #[n(1)]
    pub at: Timestamp,
    /// The text; invalid UTF-8 is replaced, lines over [`LogLine::MAX_BYTES`] are cut into several.
    #[n(2)]
    pub text: String,
}

impl LogLine {
    /// Longest line, in bytes.
    pub const MAX_BYTES: usize = 16 << 10;
}

/// How a stream of output ended.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum LogEnd {
    /// Nothing follows: the container ended, or all that is kept was sent.
    #[n(0)]
    Complete,
    /// It broke off.
    #[n(1)]
    Failed {
        /// Stable code.
        #[n(0)]
        code: ErrorCode,
        /// What happened.
        #[n(1)]
        message: String,
    },
}

/// A piece of a task's output.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct LogBatch {
    /// The stream that was asked for.
    #[n(0)]
    pub stream: Nonce,
    /// Number of this piece, from 0, without gaps.
    #[n(1)]
    pub index: u64,
    /// Lines in the order in which they were written.
    #[n(2)]
    pub lines: Vec<LogLine>,
    /// Set in the last piece.
    #[n(3)]
    pub end: Option<LogEnd>,
    /// Said once in a stream that follows: with this piece everything that had been written before the stream was opened
    /// has been sent. What comes after is sent as it is written.
    #[n(4)]
    pub live: Option<bool>,
}

impl Signable for LogRequest {
    const PURPOSE: Purpose = Purpose::LogRequest;
    const MAX_BYTES: usize = 4 << 10;
}

impl Signable for LogBatch {
    const PURPOSE: Purpose = Purpose::LogBatch;
    const MAX_BYTES: usize = 512 << 10;
}
