//! What the core wants done.
//!
//! Persist before you send, by construction: the driver commits `changes` and `occurrences` in one transaction and only
//! then releases `actions`, in order. If the commit fails, nothing is released and the program stops (the core is ahead
//! of the store; a restart recovers).

use lode_protocol::amount::Amount;
use lode_protocol::assignment::{AssignmentState, Reason};
use lode_protocol::error_code::ErrorCode;
use lode_protocol::finding::Finding;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{AssignmentId, Epoch, NodeId, TaskId};
use lode_protocol::join::Invite;
use lode_protocol::session::{Granted, Instruction};
use lode_protocol::settlement::Receipt;
use lode_protocol::units::Timestamp;
use lode_protocol::usage::UsageStatement;
use serde::Serialize;

pub use super::chain_command::ChainCommand;
use super::error::Rejected;
use super::event::ConnectionId;
use super::view::{NodeState, TaskState};

/// Everything that follows from one event.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Effects {
    /// To be durable before anything else happens.
    pub changes: Vec<Change>,
    /// Entries of the event log, to be durable with the changes.
    pub occurrences: Vec<Occurrence>,
    /// To be done afterwards, in order.
    pub actions: Vec<Action>,
}

impl Effects {
    /// Whether nothing follows.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.occurrences.is_empty() && self.actions.is_empty()
    }
}

/// Tables of the core's durable state.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Table {
    /// One row: the epoch.
    Meta,
    /// Identity and standing, by node id.
    Nodes,
    /// Boot counter and generation, by node id: small, because they change more often.
    Progress,
    /// Tasks, by task id.
    Tasks,
    /// Replicas that are not as a new one is, by task id ‖ replica.
    Replicas,
    /// Assignments, by task id ‖ replica ‖ incarnation.
    Assignments,
    /// One row: how far settlement is.
    Settlement,
    /// Usage that no receipt tells yet, by node id.
    Meters,
    /// What of its order's budget a task has used, by task id.
    Spent,
    /// Orders that were used, by their digest.
    Orders,
    /// Who has earned how much, by payee.
    Payees,
    /// Receipts that their node has not answered, by node id.
    Offers,
    /// Epochs that are over, by number.
    Epochs,
    /// Every receipt that is kept, by epoch ‖ node ‖ payee. Written and never read by the core.
    Receipts,
    /// Leaves of every posted root that is kept, by epoch. Written and never read by the core.
    Roots,
}

impl Table {
    /// The tables that a core is made of. What is only written is not among them: there may be much of it.
    pub const RECOVERED: [Table; 13] = [
        Table::Meta,
        Table::Nodes,
        Table::Progress,
        Table::Tasks,
        Table::Replicas,
        Table::Assignments,
        Table::Settlement,
        Table::Meters,
        Table::Spent,
        Table::Orders,
        Table::Payees,
        Table::Offers,
        Table::Epochs,
    ];

    /// Tables whose rows are as the core has them, once its changes are durable. Meters and what was spent lag behind;
    /// receipts and roots are written and not kept.
    pub const EXACT: [Table; 11] = [
        Table::Meta,
        Table::Nodes,
        Table::Progress,
        Table::Tasks,
        Table::Replicas,
        Table::Assignments,
        Table::Settlement,
        Table::Orders,
        Table::Payees,
        Table::Offers,
        Table::Epochs,
    ];

    /// The table's name in the store; never changes.
    pub const fn name(self) -> &'static str {
        match self {
            Table::Meta => "core_meta",
            Table::Nodes => "core_nodes",
            Table::Progress => "core_progress",
            Table::Tasks => "core_tasks",
            Table::Replicas => "core_replicas",
            Table::Assignments => "core_assignments",
            Table::Settlement => "core_settlement",
            Table::Meters => "core_meters",
            Table::Spent => "core_spent",
            Table::Orders => "core_orders",
            Table::Payees => "core_payees",
            Table::Offers => "core_offers",
            Table::Epochs => "core_epochs",
            Table::Receipts => "receipts",
            Table::Roots => "roots",
        }
    }
}

/// One row to write or delete.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// Where.
    pub table: Table,
    /// Which row.
    pub key: Vec<u8>,
    /// Its new value; `None` deletes it.
    pub value: Option<Vec<u8>>,
}

/// Body of an answer; the shell signs it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// To a hello.
    Granted(Granted),
    /// To a beat, or unasked. `invite` and `receipts` are to be signed and put into the instruction, which has neither;
    /// so are the log requests.
    Instruction {
        /// The body.
        instruction: Box<Instruction>,
        /// An invite to sign for it.
        invite: Option<Invite>,
        /// Receipts to sign for it.
        receipts: Vec<(Receipt, UsageStatement)>,
    },
    /// A refusal that nevertheless changed something (the core noticed a second process with the node's key).
    Refused(Rejected),
}

/// Something to do once the changes are durable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Answer a message over the connection it came from.
    Reply {
        /// Over which.
        connection: ConnectionId,
        /// To whom.
        node: NodeId,
        /// What.
        answer: Answer,
    },
    /// Send unasked, over a connection that can. If it is gone, drop it: the next beat's answer says the same.
    Push {
        /// Over which.
        connection: ConnectionId,
        /// To whom.
        node: NodeId,
        /// What.
        answer: Answer,
    },
    /// Have something followed on the chain, or sent to it.
    Chain(ChainCommand),
    /// Delete the receipts of all epochs before this one. They are paid for.
    DropReceipts {
        /// The first epoch to keep.
        before: Epoch,
    },
    /// Answer to `TaskSubmitted`: the task's id, which is an older one where the idempotency key was known.
    TaskAccepted {
        /// The task.
        task: TaskId,
        /// Whether it was made by this event.
        created: bool,
    },
    /// A condition holds from now on; one per code and subject.
    RaiseFinding(Finding),
    /// A condition does not hold any longer.
    ClearFinding {
        /// Its code.
        code: ErrorCode,
        /// Its subject.
        subject: String,
    },
}

/// One entry of the event log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Occurrence {
    /// When, by the orchestrator's clock.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub kind: OccurrenceKind,
}

/// What happened, for people and their programs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum OccurrenceKind {
    /// The orchestrator took office.
    Started {
        /// Its term.
        epoch: u64,
    },
    /// A node's lifecycle moved.
    Node {
        /// Which.
        node: NodeId,
        /// Before.
        from: Option<NodeState>,
        /// Now.
        to: NodeState,
        /// Why, in words.
        message: String,
    },
    /// A task's state moved.
    Task {
        /// Which.
        task: TaskId,
        /// Before.
        from: Option<TaskState>,
        /// Now.
        to: TaskState,
    },
    /// A task is pinned to content: all its further orders name it.
    ImagePinned {
        /// Which.
        task: TaskId,
        /// `name@sha256:…`
        image: String,
        /// The worker that said so; none: the registry.
        by: Option<NodeId>,
    },
    /// A task was accepted without being pinned.
    ImageUnpinned {
        /// Which.
        task: TaskId,
        /// `image/…`
        code: ErrorCode,
        /// Why, in words.
        message: String,
    },
    /// A task is gone.
    TaskDeleted {
        /// Which.
        task: TaskId,
    },
    /// An assignment's state moved.
    Assignment {
        /// Which.
        assignment: AssignmentId,
        /// On which node.
        node: NodeId,
        /// Before.
        from: Option<AssignmentState>,
        /// Now.
        to: AssignmentState,
        /// Why.
        reason: Option<Reason>,
        /// The worker's words.
        detail: String,
    },
    /// A task's budget is used up: it was ended.
    TaskBudgetExhausted {
        /// Which.
        task: TaskId,
        /// What it cost.
        spent: Amount,
        /// What it may cost.
        budget: Amount,
    },
    /// An epoch is over and its receipts are written.
    EpochClosed {
        /// Which.
        epoch: Epoch,
        /// How many receipts.
        receipts: u64,
        /// What they are worth together.
        amount: Amount,
    },
    /// A root of earnings is on its way to the chain.
    RootSubmitted {
        /// Its epoch.
        epoch: Epoch,
        /// Hash of the tree's top.
        root: Digest,
        /// Sum of all leaves.
        total: Amount,
    },
    /// Reports about assignments that have ended; they changed nothing. At most one entry per node and minute.
    ReportRefused {
        /// Which; of several the first.
        assignment: AssignmentId,
        /// From which node.
        node: NodeId,
        /// What it claimed.
        claimed: AssignmentState,
        /// How many there were since the last entry of this node.
        count: u32,
    },
}
