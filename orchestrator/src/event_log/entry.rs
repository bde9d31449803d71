//! One entry: as it is kept, and as it is told.

use lode_api_types::EventSubject;
use lode_protocol::ids::TaskId;
use lode_protocol::units::Timestamp;
use serde_json::Value;

use super::retention::Placed;
use crate::core::effect::{Occurrence, OccurrenceKind};

/// Bytes of an entry without the words in it: ids, times, names of fields.
const FRAME: u64 = 320;

/// One thing that happened.
#[derive(Clone, PartialEq, Debug)]
pub struct Entry {
    /// Its number.
    pub position: u64,
    /// The task it concerns, if one.
    pub task: Option<TaskId>,
    /// Its JSON form: an object with `at` and `type`.
    pub body: Value,
}

/// An entry as it is kept. Its JSON form is made by whoever writes or reads it, never by who made it happen.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) position: u64,
    pub(super) at: Timestamp,
    pub(super) subject: EventSubject,
    pub(super) task: Option<TaskId>,
    /// Bytes of its row, about, and never less.
    size: u64,
    body: Body,
}

#[derive(Debug)]
enum Body {
    /// Of this run.
    Happened(Occurrence),
    /// Of an earlier one.
    Stored(Value),
}

impl Kept {
    pub(super) fn happened(position: u64, occurrence: Occurrence) -> Self {
        let (subject, task) = about(&occurrence.kind);
        let size = FRAME + words(&occurrence.kind);
        Kept { position, at: occurrence.at, subject, task, size, body: Body::Happened(occurrence) }
    }

    pub(super) fn stored(position: u64, body: Value, size: u64) -> Self {
        let text = |field: &str| body.get(field).and_then(Value::as_str);
        let subject = match text("type") {
            Some("node" | "report-refused") => EventSubject::Nodes,
            Some("started" | "epoch-closed" | "root-submitted") => EventSubject::Pool,
            Some(_) | None => EventSubject::Tasks,
        };
        let task = text("task").or_else(|| text("assignment").and_then(|id| id.split('.').next()));
        let task = task.and_then(|task| task.parse().ok());
        // What has no time is old: it may not keep others.
        let at = text("at").and_then(|at| at.parse().ok()).unwrap_or(Timestamp(0));
        Kept { position, at, subject, task, size, body: Body::Stored(body) }
    }

    pub(super) fn placed(&self) -> Placed {
        Placed { position: self.position, at: self.at, size: self.size }
    }

    pub(super) fn shown(&self) -> Entry {
        let body = match &self.body {
            Body::Happened(occurrence) => serde_json::to_value(occurrence).unwrap_or_else(|error| {
                tracing::error!(%error, position = self.position, "an occurrence has no JSON form");
                Value::Null
            }),
            Body::Stored(value) => value.clone(),
        };
        Entry { position: self.position, task: self.task, body }
    }

    pub(super) fn row(&self) -> Option<Vec<u8>> {
        let row = match &self.body {
            Body::Happened(occurrence) => serde_json::to_vec(occurrence),
            Body::Stored(value) => serde_json::to_vec(value),
        };
        row.inspect_err(|error| tracing::error!(%error, "an occurrence has no JSON form; it is not stored"))
            .ok()
    }
}

/// Bytes of what is in a string of JSON.
fn escaped(text: &str) -> u64 {
    let size = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0..0x20 => 6,
        _ => 1,
    };
    text.bytes().map(size).sum()
}

/// Bytes of the words in an entry that others chose.
fn words(kind: &OccurrenceKind) -> u64 {
    match kind {
        OccurrenceKind::Node { message, .. } => escaped(message),
        OccurrenceKind::ImagePinned { image, .. } => escaped(image),
        OccurrenceKind::ImageUnpinned { code, message, .. } => escaped(code.as_str()) + escaped(message),
        OccurrenceKind::Assignment { detail, .. } => escaped(detail),
        OccurrenceKind::Started { .. }
        | OccurrenceKind::Task { .. }
        | OccurrenceKind::TaskDeleted { .. }
        | OccurrenceKind::TaskBudgetExhausted { .. }
        | OccurrenceKind::EpochClosed { .. }
        | OccurrenceKind::RootSubmitted { .. }
        | OccurrenceKind::ReportRefused { .. } => 0,
    }
}

fn about(kind: &OccurrenceKind) -> (EventSubject, Option<TaskId>) {
    match kind {
        OccurrenceKind::Task { task, .. }
        | OccurrenceKind::ImagePinned { task, .. }
        | OccurrenceKind::ImageUnpinned { task, .. }
        | OccurrenceKind::TaskDeleted { task }
        | OccurrenceKind::TaskBudgetExhausted { task, .. } => (EventSubject::Tasks, Some(*task)),
        OccurrenceKind::Assignment { assignment, .. } => (EventSubject::Tasks, Some(assignment.replica.task)),
        // A node's doing, whatever it names.
        OccurrenceKind::ReportRefused { assignment, .. } => {
            (EventSubject::Nodes, Some(assignment.replica.task))
        }
        OccurrenceKind::Node { .. } => (EventSubject::Nodes, None),
        OccurrenceKind::Started { .. }
        | OccurrenceKind::EpochClosed { .. }
        | OccurrenceKind::RootSubmitted { .. } => (EventSubject::Pool, None),
    }
}

#[cfg(test)]
mod tests {
    use lode_protocol::ids::{Incarnation, NodeId, ReplicaId};

    use super::*;

    #[test]
    fn an_entry_is_counted_with_all_that_its_row_has() {
        let assignment = lode_protocol::ids::AssignmentId {
            replica: ReplicaId { task: TaskId(uuid::Uuid::max()), replica: u32::MAX },
            incarnation: Incarnation(u32::MAX),
        };
        for detail in ["", "a \"quoted\" \\ path", "\u{1b}[2J\n\t\u{0}", "\u{20ac}\u{1f600}"] {
            let kept = Kept::happened(
                u64::MAX,
                Occurrence {
                    at: Timestamp(1_800_000_000_000),
                    kind: OccurrenceKind::Assignment {
                        assignment,
                        node: NodeId::default(),
                        from: Some(lode_protocol::assignment::AssignmentState::Starting),
                        to: lode_protocol::assignment::AssignmentState::Succeeded,
                        reason: Some(lode_protocol::assignment::Reason::ExitedWithError),
                        detail: detail.repeat(40),
                    },
                },
            );
            let row = kept.row().unwrap().len() as u64;
            assert!((row..=row + FRAME).contains(&kept.size), "{row} {}", kept.size);
        }
    }

    #[test]
    fn an_entry_that_was_stored_is_about_what_it_was_about() {
        let task = TaskId::default();
        let assignment = lode_protocol::ids::AssignmentId {
            replica: ReplicaId { task, replica: 1 },
            incarnation: Incarnation(2),
        };
        let node = NodeId::default();
        for kind in [
            OccurrenceKind::Started { epoch: 1 },
            OccurrenceKind::TaskDeleted { task },
            OccurrenceKind::Node {
                node,
                from: None,
                to: crate::core::view::NodeState::Alive,
                message: String::new(),
            },
            OccurrenceKind::ReportRefused {
                assignment,
                node,
                claimed: lode_protocol::assignment::AssignmentState::Running,
                count: 3,
            },
        ] {
            let kept = Kept::happened(7, Occurrence { at: Timestamp(5), kind });
            let row = kept.row().unwrap();
            let again = Kept::stored(7, serde_json::from_slice(&row).unwrap(), row.len() as u64);
            assert!(kept.size >= again.size, "{} {}", kept.size, again.size);
            assert_eq!((kept.subject, kept.task, kept.at), (again.subject, again.task, again.at));
            assert_eq!(kept.shown(), again.shown());
        }
    }
}
