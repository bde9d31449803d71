//! One replica placed on one node. Transitions are those of [`lode_protocol::assignment`]; the first and the last steps
//! of the history are always kept.

use lode_protocol::assignment::{AssignmentState, EndPhase, PublishedPort, Reason};
use lode_protocol::ids::{Generation, GpuUuid, NodeId};
use lode_protocol::units::Timestamp;
use minicbor::{Decode, Encode};

/// One step of the history.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub(crate) struct Step {
    #[n(0)]
    pub(crate) at: Timestamp,
    #[n(1)]
    pub(crate) state: AssignmentState,
    #[n(2)]
    pub(crate) reason: Option<Reason>,
    #[n(3)]
    pub(crate) detail: String,
}

/// Whether the assignment is part of its node's desired set.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub(crate) enum Wanted {
    #[n(0)]
    Yes,
    /// Taken out of the set for this reason; the first set without it has this generation.
    #[n(1)]
    No {
        #[n(0)]
        reason: Reason,
        #[n(1)]
        generation: Generation,
    },
}

/// An assignment; also its row in the store.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub(crate) struct Assignment {
    #[n(0)]
    pub(crate) node: NodeId,
    #[n(1)]
    pub(crate) state: AssignmentState,
    #[n(2)]
    pub(crate) wanted: Wanted,
    /// Whether its worker has ever reported on it.
    #[n(3)]
    pub(crate) heard: bool,
    #[n(4)]
    pub(crate) gpus: Vec<GpuUuid>,
    #[n(5)]
    pub(crate) exit_code: Option<i64>,
    #[n(6)]
    pub(crate) restarts: u32,
    #[n(7)]
    pub(crate) ports: Vec<PublishedPort>,
    #[n(8)]
    pub(crate) image: Option<String>,
    #[n(9)]
    pub(crate) history: Vec<Step>,
    #[n(10)]
    pub(crate) running_since: Option<Timestamp>,
    /// How far it had come when it ended, by its worker's word.
    #[n(11)]
    pub(crate) phase: Option<EndPhase>,
}

impl Assignment {
    pub(crate) fn new(node: NodeId, gpus: Vec<GpuUuid>, at: Timestamp) -> Self {
        let first = Step { at, state: AssignmentState::Assigned, reason: None, detail: String::new() };
        Assignment {
            node,
            state: AssignmentState::Assigned,
            wanted: Wanted::Yes,
            heard: false,
            gpus,
            exit_code: None,
            restarts: 0,
            ports: Vec::new(),
            image: None,
            history: vec![first],
            running_since: None,
            phase: None,
        }
    }

    pub(crate) fn is_live(&self) -> bool {
        !self.state.is_final()
    }

    pub(crate) fn is_wanted(&self) -> bool {
        match self.wanted {
            Wanted::Yes => self.is_live(),
            Wanted::No { .. } => false,
        }
    }

    /// Bytes of its texts and lists, about.
    pub(crate) fn weight(&self) -> usize {
        let history: usize = self.history.iter().map(|step| step.detail.len().saturating_add(16)).sum();
        let image = self.image.as_ref().map_or(0, String::len);
        history + image + self.gpus.len().saturating_mul(48) + self.ports.len().saturating_mul(48)
    }

    /// Why it is where it is.
    pub(crate) fn reason(&self) -> Option<Reason> {
        self.history.last().and_then(|step| step.reason)
    }

    /// In words.
    pub(crate) fn detail(&self) -> &str {
        self.history.last().map_or("", |step| step.detail.as_str())
    }

    /// Takes a step. The caller has checked that the table allows it, or repeats the state with other words.
    pub(crate) fn enter(&mut self, step: Step, most: usize) {
        match step.state {
            AssignmentState::Running => {
                self.running_since.get_or_insert(step.at);
            }
            AssignmentState::Assigned
            | AssignmentState::Pulling
            | AssignmentState::Starting
            | AssignmentState::Stopping
            | AssignmentState::Succeeded
            | AssignmentState::Failed
            | AssignmentState::Stopped
            | AssignmentState::Lost => {}
        }
        self.state = step.state;
        if self.history.len() >= most.max(2) {
            self.history.remove(1);
        }
        self.history.push(step);
    }
}
