//! What the orchestrator's HTTP API says and hears: one definition for the server, the command line, dashboards and
//! `/openapi.json`.
//!
//! Closed sets are enums. Lengths of time and amounts of things have their unit in their name, but for what a person
//! wrote into a task file, which comes back in the grammar of task files. Ids, amounts and times are those of
//! [`lode_protocol`]. What settlement publishes for strangers is [`lode_protocol::published`].
//!
//! Nothing here serves or calls: no HTTP library, no runtime.

mod event;
mod log;
mod node;
mod pool;
mod problem;
mod query;
mod task;

pub use event::{Event, EventEnd, EventKind, EventMessage, EventPage};
pub use log::{
    LogBegin, LogEnd, LogGap, LogGapReason, LogLine, LogLineEnd, LogMessage, LogRestart, LogStatus,
};
pub use node::{
    Capacity, DrainBatch, DrainBody, EjectBody, Finding, Gpu, GpuSpecs, Membership, MembershipStatus, Node,
    NodePage, NodeState, NodeSummary, Specs, Usage,
};
pub use pool::{
    Budget, ChainState, DirectoryState, OnChain, OutboxBlocked, OutboxState, Pool, PoolState, Status,
    StoreState, Trouble,
};
pub use problem::{FieldProblem, Problem, ProblemFields};
pub use query::{
    EpochListQuery, EventQuery, EventSubject, ExplainQuery, NodeListQuery, PayeeQuery, ReceiptQuery,
    TaskListQuery,
};
pub use task::{
    Assignment, BackOff, Blocked, Explanation, Filter, FilterCount, Order, ReplicaState, Replicas, Step,
    Submission, Submitted, Task, TaskPage, TaskState, TaskSummary, Verdict, Warning,
};

/// Items on a page if nobody says otherwise.
pub const DEFAULT_LIMIT: u32 = 100;
/// Most items on a page.
pub const MAX_LIMIT: u32 = 1_000;
