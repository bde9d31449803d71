//! A task's output on its way from a worker to its reader.

use std::fmt;
use std::str::FromStr;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::ToSchema;

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
    /// Only the last so many records; `None` is all that is kept.
    #[n(3)]
    pub tail: Option<u32>,
    /// Only output after this time, by the node's clock.
    #[n(4)]
    pub since: Option<Timestamp>,
    /// Only records behind the one with this ordinal. Counts before `tail` and `since`.
    #[n(5)]
    pub after: Option<u64>,
    /// Only records before the one with this ordinal, of which `tail` counts the last. Not with `follow`.
    #[n(6)]
    pub before: Option<u64>,
}

/// Where a line was written.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Encode, Decode, Serialize, Deserialize, ToSchema)]
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

/// A time by the engine's clock: nanoseconds since the Unix epoch. JSON: RFC 3339.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Encode, Decode)]
#[cbor(transparent)]
pub struct EngineTime(#[n(0)] pub u64);

impl EngineTime {
    /// Cut to milliseconds.
    pub fn to_timestamp(self) -> Timestamp {
        Timestamp(self.0 / 1_000_000)
    }
}

impl fmt::Display for EngineTime {
    /// RFC 3339, UTC, nanoseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Sixty-four bits of nanoseconds end long before the calendar does.
        let time = jiff::Timestamp::from_nanosecond(i128::from(self.0)).unwrap_or(jiff::Timestamp::MAX);
        write!(f, "{time:.9}")
    }
}

impl FromStr for EngineTime {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let time: jiff::Timestamp = text.parse().map_err(|_| NotATime)?;
        u64::try_from(time.as_nanosecond()).map(EngineTime).map_err(|_| NotATime)
    }
}

/// A text that is no time of an engine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("expected a time: RFC 3339 in UTC, like 2026-01-31T12:00:00.123456789Z")]
pub struct NotATime;

impl Serialize for EngineTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EngineTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The place of a record in the output of one assignment. Ordered by the ordinal alone in effect: no two records share
/// one. The times are those of the engine's stamps and need not grow, since standard output and standard error are
/// stamped by two writers and clocks are set back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Encode, Decode)]
pub struct LogPosition {
    /// Counts from 0, in the order in which the engine wrote; never given twice.
    #[n(0)]
    pub ordinal: u64,
    /// When the engine took it.
    #[n(1)]
    pub at: EngineTime,
}

/// What follows the bytes of a line.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum LineEnd {
    /// A line feed, which is not among the bytes.
    #[n(0)]
    Newline,
    /// The rest of the line, in the next record of the same source: it is longer than [`LogLine::MAX_BYTES`], or its
    /// program paused in the middle of it.
    #[n(1)]
    Cut,
    /// Nothing: the output ended, or was interrupted, without a line feed.
    #[n(2)]
    Open,
}

/// One line of output, or a piece of a long one.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct LogLine {
    /// Its place.
    #[n(0)]
    pub position: LogPosition,
    /// Where it was written.
    #[n(1)]
    pub source: LogSource,
    /// What the program wrote. A cut never parts a UTF-8 character.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub bytes: Vec<u8>,
    /// What follows.
    #[n(3)]
    pub end: LineEnd,
}

impl LogLine {
    /// Most bytes of a record; what is longer comes in several, marked [`LineEnd::Cut`].
    pub const MAX_BYTES: usize = 256 << 10;
}

/// Why something is missing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "lowercase")]
pub enum GapReason {
    /// The node keeps only so much of an assignment's output: the oldest had to go.
    #[n(0)]
    Retention,
    /// The engine's log was written over before the node had read it.
    #[n(1)]
    Engine,
}

/// Something is missing here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct LogGap {
    /// The place of the last record that is missing, or of this note where nobody knows what is missing.
    #[n(0)]
    pub position: LogPosition,
    /// How many records, if it is known.
    #[n(1)]
    pub records: Option<u64>,
    /// How many bytes of output, if it is known.
    #[n(2)]
    pub bytes: Option<u64>,
    /// Why.
    #[n(3)]
    pub reason: GapReason,
}

/// What a task's output is made of.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum LogRecord {
    /// Something it wrote.
    #[n(0)]
    Line(#[n(0)] LogLine),
    /// Something is missing.
    #[n(1)]
    Gap(#[n(0)] LogGap),
    /// Its container ended and was started again; what follows was written afterwards.
    #[n(2)]
    Restart(#[n(0)] LogPosition),
}

impl LogRecord {
    /// Its place.
    pub fn position(&self) -> LogPosition {
        match self {
            LogRecord::Line(line) => line.position,
            LogRecord::Gap(gap) => gap.position,
            LogRecord::Restart(position) => *position,
        }
    }

    /// Bytes of output in it.
    pub fn len(&self) -> usize {
        match self {
            LogRecord::Line(line) => line.bytes.len(),
            LogRecord::Gap(_) | LogRecord::Restart(_) => 0,
        }
    }

    /// Whether it has no bytes of output.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
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
    // 2 was a list of lines without a place.
    /// Set in the last piece.
    #[n(3)]
    pub end: Option<LogEnd>,
    /// Said once in a stream that follows: with this piece everything that had been written before the stream was opened
    /// has been sent. What comes after is sent as it is written.
    #[n(4)]
    pub live: Option<bool>,
    /// In the order of their ordinals.
    #[n(5)]
    pub records: Vec<LogRecord>,
}

impl Signable for LogRequest {
    const PURPOSE: Purpose = Purpose::LogRequest;
    const MAX_BYTES: usize = 4 << 10;
}

impl Signable for LogBatch {
    const PURPOSE: Purpose = Purpose::LogBatch;
    const MAX_BYTES: usize = 512 << 10;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engine_times_keep_their_nanoseconds_and_anything_else_is_no_time() {
        let text = "2026-01-31T12:00:00.123456789Z";
        let time: EngineTime = text.parse().unwrap();
        assert_eq!((time.to_string().as_str(), time.0 % 1_000_000_000), (text, 123_456_789));
        assert_eq!(EngineTime(0).to_string(), "1970-01-01T00:00:00.000000000Z");
        for text in ["", "hello", "2026-01-31", "1969-12-31T23:59:59Z"] {
            assert!(text.parse::<EngineTime>().is_err(), "{text:?}");
        }
        let _ = EngineTime(u64::MAX).to_string();
    }
}
