//! Work that is too much for one step.
//!
//! A step changes so many rows and bytes at most ([`super::config::Tunables::step_rows`], `step_bytes`), counted and
//! never timed, so that the same events make the same steps everywhere. What is left over is remembered here and goes on
//! with the next [`super::event::Event::Tick`], which [`super::Core::next_deadline`] asks for at once: beats and requests
//! are heard in between and never carry on with it themselves.
//!
//! Half of a step's room is for what has to be done, the rest for placing: neither starves the other.
//!
//! Nothing here is durable. Every item says what is *left*, and that can be read from the rows: the next start of the
//! program finds it again ([`super::recover`]).

use std::collections::VecDeque;

use lode_protocol::assignment::Reason;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{NodeId, TaskId};

use super::Core;

/// Rows that may come with the last thing that still had room: a settled replica, its log entries, its node.
const MARGIN: usize = 24;

/// What goes on in the next step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Work {
    /// A silent node's assignments are given up, while it stays silent.
    Lose(NodeId),
    /// Everything of a node is taken out of its desired set.
    Withdraw(NodeId, Reason),
    /// A drained node is emptied.
    Empty(NodeId),
    /// Nothing of a task is to run any longer.
    Stop(TaskId, Reason),
    /// A deleted task's rows from this replica on.
    Remove(TaskId, u32),
    /// Nodes after this one may join now, or not any more.
    Admit(Option<NodeId>),
    /// Used orders after this one may be forgotten.
    ForgetOrders(Option<Digest>),
    /// Rows of the store that do not agree are settled.
    Settle,
    /// Paid work that the budget does not bear is ended.
    EndUnpaid,
    /// What waits for a node is placed.
    Place,
}

/// Everything that goes on in the next step, in the order in which it came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Backlog(VecDeque<Work>);

impl Backlog {
    pub(crate) fn push(&mut self, work: Work) {
        if !self.0.contains(&work) {
            self.0.push_back(work);
        }
    }

    pub(crate) fn contains(&self, work: Work) -> bool {
        self.0.contains(&work)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn retain(&mut self, keep: impl FnMut(&Work) -> bool) {
        self.0.retain(keep);
    }

    /// Whether a task's rows are being removed.
    pub(crate) fn removes(&self, id: &TaskId) -> bool {
        self.0.iter().any(|work| matches!(work, Work::Remove(task, _) if task == id))
    }

    fn pop(&mut self) -> Option<Work> {
        self.0.pop_front()
    }
}

/// How far a step is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Stage {
    /// What the event asks for: half of the room.
    #[default]
    Duty,
    /// Placing: all of the room.
    Placing,
}

impl Core {
    /// Whether this step may change more.
    pub(crate) fn has_room(&self) -> bool {
        let terms = &self.config.terms;
        let (rows, bytes) = self.load();
        let most_rows = usize::try_from(terms.step_rows).unwrap_or(usize::MAX);
        let most_bytes = usize::try_from(terms.step_bytes.0).unwrap_or(usize::MAX);
        let share = match self.scratch.stage {
            Stage::Duty => 2,
            Stage::Placing => 1,
        };
        rows.saturating_add(MARGIN) <= most_rows / share && bytes < most_bytes / share
    }

    /// Whether something is left for the next step.
    pub(crate) fn is_behind(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// Goes on with what earlier steps had no room for. Each item is tried once: what is cut again waits for the next
    /// step.
    pub(crate) fn carry_on(&mut self) {
        for _ in 0..self.backlog.len() {
            if !self.has_room() {
                return;
            }
            let Some(work) = self.backlog.pop() else { return };
            match work {
                Work::Lose(node) => self.lose_assignments(&node),
                Work::Withdraw(node, reason) => self.withdraw_all(&node, reason),
                Work::Empty(node) => self.go_on_emptying(&node),
                Work::Stop(task, reason) => self.stop_some(&task, reason),
                Work::Remove(task, from) => self.remove_task(&task, from),
                Work::Admit(after) => self.evaluate_admissions(after),
                Work::ForgetOrders(after) => self.forget_orders(after),
                Work::Settle => self.settle_disagreements(),
                // Both are done at the end of every step that has no other thing to do before.
                Work::EndUnpaid | Work::Place => {}
            }
        }
    }
}
