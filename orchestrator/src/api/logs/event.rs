//! What readers of output are sent: the one place that says which fields the events of the stream have.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use lode_protocol::ids::{AssignmentId, Incarnation, NodeId};
use lode_protocol::logs::{EngineTime, GapReason, LineEnd, LogRecord, LogSource};
use serde::Serialize;

use crate::logs::LogFailure;

/// A place in a replica's output, `INCARNATION.RECORDS`: behind so many records of that placement of it. To clients it
/// is opaque. What is read behind a place is the same whenever it is read, or said to be missing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Position {
    pub(super) incarnation: Incarnation,
    pub(super) records: u64,
}

impl Position {
    pub(super) fn beginning(incarnation: Incarnation) -> Self {
        Self { incarnation, records: 0 }
    }

    pub(super) fn behind(incarnation: Incarnation, record: &LogRecord) -> Self {
        Self { incarnation, records: record.position().ordinal.saturating_add(1) }
    }

    /// Ordinal of the last record before it.
    pub(super) fn after(self) -> Option<u64> {
        self.records.checked_sub(1)
    }

    /// Ordinal of the record that has it.
    pub(super) fn record(self) -> u64 {
        self.records.saturating_sub(1)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.incarnation.0, self.records)
    }
}

/// A text that is no place in an output.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("expected a position, as the events of a log stream have it")]
pub(super) struct NotAPosition;

impl FromStr for Position {
    type Err = NotAPosition;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (incarnation, records) = text.split_once('.').ok_or(NotAPosition)?;
        Ok(Self {
            incarnation: Incarnation(incarnation.parse().map_err(|_| NotAPosition)?),
            records: records.parse().map_err(|_| NotAPosition)?,
        })
    }
}

impl Serialize for Position {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One event of the stream.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(untagged)]
pub(super) enum LogEvent<'a> {
    /// `begin`: whose output follows; `replica` of so many `replicas`.
    Begin {
        assignment: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        node: Option<NodeId>,
        replica: u32,
        replicas: u32,
    },
    /// `line`: one line, or a piece of a long one.
    Line {
        position: Position,
        /// The engine's clock.
        at: EngineTime,
        source: LogSource,
        #[serde(flatten)]
        content: Content<'a>,
        /// Left out where a line feed follows.
        #[serde(skip_serializing_if = "Option::is_none")]
        end: Option<Unfinished>,
    },
    /// `gap`: something is missing here.
    Gap {
        #[serde(skip_serializing_if = "Option::is_none")]
        position: Option<Position>,
        /// Lines, or pieces of lines; left out if nobody knows.
        #[serde(skip_serializing_if = "Option::is_none")]
        records: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        bytes: Option<u64>,
        reason: MissingReason,
    },
    /// `restart`: what follows was written by the next start.
    Restart {
        position: Position,
        assignment: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        node: Option<NodeId>,
    },
    /// `end`: nothing follows.
    End {
        status: Status,
        #[serde(skip_serializing_if = "Option::is_none")]
        code: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    },
}

/// What a line consists of.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Content<'a> {
    /// UTF-8.
    Text(&'a str),
    /// Anything else, as base64 (RFC 4648, section 4).
    Bytes(String),
}

/// How a line ends that has no line feed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Unfinished {
    /// It goes on in the next line of its source.
    Cut,
    /// Its output ended.
    Open,
}

/// Why something is missing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum MissingReason {
    Retention,
    Engine,
    /// The node that has it cannot be asked.
    NodeGone,
}

/// How a stream ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    Complete,
    Failed,
}

impl<'a> LogEvent<'a> {
    /// Bytes of the event of a line beside those of the line.
    pub(super) const OVERHEAD: usize = 160;

    pub(super) fn of(assignment: AssignmentId, record: &'a LogRecord) -> Self {
        let position = Position::behind(assignment.incarnation, record);
        match record {
            LogRecord::Line(line) => LogEvent::Line {
                position,
                at: line.position.at,
                source: line.source,
                content: match std::str::from_utf8(&line.bytes) {
                    Ok(text) => Content::Text(text),
                    Err(_) => Content::Bytes(BASE64_STANDARD.encode(&line.bytes)),
                },
                end: match line.end {
                    LineEnd::Newline => None,
                    LineEnd::Cut => Some(Unfinished::Cut),
                    LineEnd::Open => Some(Unfinished::Open),
                },
            },
            LogRecord::Gap(gap) => LogEvent::Gap {
                position: Some(position),
                records: gap.records,
                bytes: gap.bytes,
                reason: match gap.reason {
                    GapReason::Retention => MissingReason::Retention,
                    GapReason::Engine => MissingReason::Engine,
                },
            },
            LogRecord::Restart(_) => {
                LogEvent::Restart { position, assignment: assignment.to_string(), node: None }
            }
        }
    }

    /// The rest of an assignment's output cannot be had any more.
    pub(super) fn gone() -> Self {
        LogEvent::Gap { position: None, records: None, bytes: None, reason: MissingReason::NodeGone }
    }

    /// The output of earlier assignments is not kept any more.
    pub(super) fn forgotten() -> Self {
        LogEvent::Gap { position: None, records: None, bytes: None, reason: MissingReason::Retention }
    }

    pub(super) fn restart(assignment: AssignmentId, node: NodeId) -> Self {
        let position = Position::beginning(assignment.incarnation);
        LogEvent::Restart { position, assignment: assignment.to_string(), node: Some(node) }
    }

    pub(super) fn end(end: &Result<(), LogFailure>) -> Self {
        match end {
            Ok(()) => LogEvent::End { status: Status::Complete, code: None, message: None },
            Err(failure) => LogEvent::End {
                status: Status::Failed,
                code: Some(failure.code.to_string()),
                message: Some(failure.message.clone()),
            },
        }
    }

    fn kind(&self) -> (&'static str, Option<Position>) {
        match self {
            LogEvent::Begin { .. } => ("begin", None),
            LogEvent::Line { position, .. } => ("line", Some(*position)),
            LogEvent::Gap { position, .. } => ("gap", *position),
            LogEvent::Restart { position, .. } => ("restart", Some(*position)),
            LogEvent::End { .. } => ("end", None),
        }
    }

    /// The event as server-sent events have it; its id is its position.
    pub(super) fn write_to(&self, stream: &mut Vec<u8>) {
        let (kind, position) = self.kind();
        stream.extend_from_slice(b"event: ");
        stream.extend_from_slice(kind.as_bytes());
        if let Some(position) = position {
            stream.extend_from_slice(format!("\nid: {position}").as_bytes());
        }
        stream.extend_from_slice(b"\ndata: ");
        // JSON has no line ends of its own; there is nothing in it that cannot be written.
        serde_json::to_writer(&mut *stream, self).expect("text, numbers and enums are always JSON");
        stream.extend_from_slice(b"\n\n");
    }
}

#[cfg(test)]
mod tests {
    use lode_protocol::ids::{ReplicaId, TaskId};
    use lode_protocol::logs::{LogGap, LogLine, LogPosition};

    use super::*;

    fn written(record: LogRecord) -> String {
        let replica = ReplicaId { task: TaskId(uuid::Uuid::nil()), replica: 0 };
        let assignment = AssignmentId { replica, incarnation: Incarnation(3) };
        let mut stream = Vec::new();
        LogEvent::of(assignment, &record).write_to(&mut stream);
        String::from_utf8(stream).unwrap()
    }

    fn line(bytes: &[u8], end: LineEnd) -> LogRecord {
        let position = LogPosition { ordinal: 41, at: EngineTime(1_000_000_001) };
        LogRecord::Line(LogLine { position, source: LogSource::Stderr, bytes: bytes.to_vec(), end })
    }

    #[test]
    fn a_line_is_text_where_it_can_be_and_its_position_is_the_id_of_its_event() {
        assert_eq!(
            written(line(b"a\r\x1b", LineEnd::Newline)),
            "event: line\nid: 3.42\ndata: {\"position\":\"3.42\",\"at\":\"1970-01-01T00:00:01.000000001Z\",\
             \"source\":\"stderr\",\"text\":\"a\\r\\u001b\"}\n\n"
        );
        let bytes = written(line(b"\xff", LineEnd::Cut));
        assert!(bytes.ends_with("\"bytes\":\"/w==\",\"end\":\"cut\"}\n\n"), "{bytes}");
    }

    #[test]
    fn every_event_is_one_of_the_messages_that_the_api_describes() {
        let replica = ReplicaId { task: TaskId(uuid::Uuid::nil()), replica: 0 };
        let assignment = AssignmentId { replica, incarnation: Incarnation(3) };
        let node = NodeId::default();
        let (text, bytes) = (line(b"a", LineEnd::Open), line(b"\xff", LineEnd::Cut));
        let gap = LogRecord::Gap(LogGap {
            position: LogPosition { ordinal: 9, at: EngineTime(0) },
            records: Some(1),
            bytes: None,
            reason: GapReason::Engine,
        });
        let again = LogRecord::Restart(LogPosition { ordinal: 9, at: EngineTime(0) });
        let failed = LogFailure { code: "logs/no-container".into(), message: "gone".to_owned() };
        let begin =
            LogEvent::Begin { assignment: assignment.to_string(), node: Some(node), replica: 0, replicas: 1 };
        let events = [
            begin,
            LogEvent::of(assignment, &text),
            LogEvent::of(assignment, &bytes),
            LogEvent::of(assignment, &gap),
            LogEvent::of(assignment, &again),
            LogEvent::gone(),
            LogEvent::forgotten(),
            LogEvent::restart(assignment, node),
            LogEvent::end(&Ok(())),
            LogEvent::end(&Err(failed)),
        ];
        for event in events {
            let said = serde_json::json!({ "event": event.kind().0, "data": event });
            let read: lode_api_types::LogMessage = serde_json::from_value(said.clone()).unwrap();
            assert_eq!(serde_json::to_value(read).unwrap(), said);
        }
    }

    #[test]
    fn what_is_missing_is_counted_where_the_count_is_known() {
        let position = LogPosition { ordinal: 9, at: EngineTime(0) };
        let gap = |records, reason| LogRecord::Gap(LogGap { position, records, bytes: records, reason });
        let known = written(gap(Some(10), GapReason::Retention));
        assert!(
            known.contains("{\"position\":\"3.10\",\"records\":10,\"bytes\":10,\"reason\":\"retention\"}")
        );
        let unknown = written(gap(None, GapReason::Engine));
        assert!(unknown.contains("data: {\"position\":\"3.10\",\"reason\":\"engine\"}"), "{unknown}");
    }

    #[test]
    fn positions_come_back_as_they_were_and_nothing_else_does() {
        let position: Position = "3.42".parse().unwrap();
        assert_eq!((position.to_string().as_str(), position.after()), ("3.42", Some(41)));
        assert_eq!(Position::beginning(Incarnation(3)).after(), None);
        for text in ["", "3", "3.", ".4", "3.4.5", "-1.2", "a.b"] {
            assert!(text.parse::<Position>().is_err(), "{text:?}");
        }
    }
}
