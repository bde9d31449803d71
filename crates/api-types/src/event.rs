//! What happened.

use lode_protocol::amount::Amount;
use lode_protocol::assignment::{AssignmentState, Reason};
use lode_protocol::cursor::Cursor;
use lode_protocol::error_code::ErrorCode;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{AssignmentId, Epoch, NodeId, TaskId, Term};
use lode_protocol::units::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::openapi::schema::{OneOf, Schema};
use utoipa::openapi::{ObjectBuilder, RefOr};
use utoipa::{PartialSchema, ToSchema};

use crate::{NodeState, TaskState};

/// One thing that happened: `cursor`, `at`, `type` and what belongs to the type.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Event {
    /// Its place in the log: what follows it is asked for with `after`.
    pub cursor: Cursor,
    /// When, by the orchestrator's clock.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum EventKind {
    /// The orchestrator took office.
    #[schema(title = "StartedEvent")]
    Started {
        /// Its term.
        #[serde(alias = "epoch")]
        term: Term,
    },
    /// A node's lifecycle moved.
    #[schema(title = "NodeEvent")]
    Node {
        /// Which.
        node: NodeId,
        /// Before; null: it is new.
        from: Option<NodeState>,
        /// Now.
        to: NodeState,
        /// Why, in words.
        message: String,
    },
    /// A task's state moved.
    #[schema(title = "TaskEvent")]
    Task {
        /// Which.
        task: TaskId,
        /// Before; null: it is new.
        from: Option<TaskState>,
        /// Now.
        to: TaskState,
    },
    /// A task is pinned to content: all its further orders name it.
    #[schema(title = "ImagePinnedEvent")]
    ImagePinned {
        /// Which.
        task: TaskId,
        /// `name@sha256:…`
        image: String,
        /// The worker that said so; null: the registry.
        by: Option<NodeId>,
    },
    /// A task was accepted without being pinned.
    #[schema(title = "ImageUnpinnedEvent")]
    ImageUnpinned {
        /// Which.
        task: TaskId,
        /// `image/…`
        code: ErrorCode,
        /// Why, in words.
        message: String,
    },
    /// A task is gone.
    #[schema(title = "TaskDeletedEvent")]
    TaskDeleted {
        /// Which.
        task: TaskId,
    },
    /// An assignment's state moved.
    #[schema(title = "AssignmentEvent")]
    Assignment {
        /// Which.
        assignment: AssignmentId,
        /// On which node.
        node: NodeId,
        /// Before; null: it is new.
        from: Option<AssignmentState>,
        /// Now.
        to: AssignmentState,
        /// Why.
        reason: Option<Reason>,
        /// The worker's words.
        detail: String,
    },
    /// A task's budget is used up: it was ended.
    #[schema(title = "TaskBudgetExhaustedEvent")]
    TaskBudgetExhausted {
        /// Which.
        task: TaskId,
        /// What it cost.
        spent: Amount,
        /// What it may cost.
        budget: Amount,
    },
    /// An epoch is over and its receipts are written.
    #[schema(title = "EpochClosedEvent")]
    EpochClosed {
        /// Which.
        epoch: Epoch,
        /// How many receipts.
        receipts: u64,
        /// What they are worth together.
        amount: Amount,
    },
    /// A root of earnings is on its way to the chain.
    #[schema(title = "RootSubmittedEvent")]
    RootSubmitted {
        /// Its epoch.
        epoch: Epoch,
        /// Hash of the tree's top.
        root: Digest,
        /// Sum of all leaves.
        total: Amount,
    },
    /// Reports about assignments that have ended; they changed nothing. At most one event per node and minute.
    #[schema(title = "ReportRefusedEvent")]
    ReportRefused {
        /// Which; of several the first.
        assignment: AssignmentId,
        /// From which node.
        node: NodeId,
        /// What it claimed.
        claimed: AssignmentState,
        /// How many there were since the last such event of the node.
        #[serde(default = "one")]
        count: u32,
    },
}

/// Before there was a count, each had an event of its own.
const fn one() -> u32 {
    1
}

impl EventKind {
    /// The word in `type`, which is also the name of the server-sent event.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Started { .. } => "started",
            Self::Node { .. } => "node",
            Self::Task { .. } => "task",
            Self::ImagePinned { .. } => "image-pinned",
            Self::ImageUnpinned { .. } => "image-unpinned",
            Self::TaskDeleted { .. } => "task-deleted",
            Self::Assignment { .. } => "assignment",
            Self::TaskBudgetExhausted { .. } => "task-budget-exhausted",
            Self::EpochClosed { .. } => "epoch-closed",
            Self::RootSubmitted { .. } => "root-submitted",
            Self::ReportRefused { .. } => "report-refused",
        }
    }
}

// A choice of whole objects: generators understand that, and not a choice that is put together with other fields.
impl PartialSchema for Event {
    fn schema() -> RefOr<Schema> {
        let RefOr::T(Schema::OneOf(kinds)) = EventKind::schema() else { return EventKind::schema() };
        let mut whole = OneOf::new();
        whole.description = Some("One thing that happened; `type` says what.".to_owned());
        for kind in kinds.items {
            whole.items.push(match kind {
                RefOr::T(Schema::Object(mut object)) => {
                    for (name, schema, what) in [
                        (
                            "cursor",
                            Cursor::name(),
                            "Its place in the log: what follows it is asked for with `after`.",
                        ),
                        ("at", Timestamp::name(), "When, by the orchestrator's clock."),
                    ] {
                        let mut reference = utoipa::openapi::Ref::from_schema_name(schema);
                        what.clone_into(&mut reference.description);
                        object.properties.insert(name.to_owned(), reference.into());
                        object.required.push(name.to_owned());
                    }
                    RefOr::T(Schema::Object(object))
                }
                other => other,
            });
        }
        RefOr::T(Schema::OneOf(whole))
    }
}

impl ToSchema for Event {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((Cursor::name().into_owned(), Cursor::schema()));
        schemas.push((Timestamp::name().into_owned(), Timestamp::schema()));
        EventKind::schemas(schemas);
    }
}

/// A page of events.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct EventPage {
    /// Events, oldest first.
    pub items: Vec<Event>,
    /// `after` of the next page; there is always one.
    pub next: Cursor,
}

/// The stream cannot go on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct EventEnd {
    /// Stable code.
    pub code: ErrorCode,
    /// In words.
    pub message: String,
}

/// One message of a stream of events: `id` (the cursor, for `Last-Event-ID`), `event` and, as JSON, `data`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EventMessage {
    /// Something happened; `event` is its type.
    Event(Event),
    /// The reader fell out of what is kept; `event` is `end`.
    End(EventEnd),
}

impl PartialSchema for EventMessage {
    fn schema() -> RefOr<Schema> {
        let data = |name| utoipa::openapi::Ref::from_schema_name(name);
        let text = |words: &str| {
            ObjectBuilder::new()
                .schema_type(utoipa::openapi::schema::SchemaType::Type(utoipa::openapi::Type::String))
                .description(Some(words))
        };
        let happened = ObjectBuilder::new()
            .title(Some("EventHappenedMessage"))
            .property("id", text("The event's cursor."))
            .property("event", text("The event's type."))
            .property("data", data(Event::name()))
            .required("id")
            .required("event")
            .required("data");
        let ended = ObjectBuilder::new()
            .title(Some("EventEndMessage"))
            .property("event", text("`end`").enum_values(Some(["end"])))
            .property("data", data(EventEnd::name()))
            .required("event")
            .required("data");
        let mut whole = OneOf::new();
        whole.description = Some("One message of the stream; `data` is JSON.".to_owned());
        whole.items.push(happened.into());
        whole.items.push(ended.into());
        RefOr::T(Schema::OneOf(whole))
    }
}

impl ToSchema for EventMessage {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((Event::name().into_owned(), Event::schema()));
        Event::schemas(schemas);
        schemas.push((EventEnd::name().into_owned(), EventEnd::schema()));
        EventEnd::schemas(schemas);
    }
}
