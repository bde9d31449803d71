//! What others may see of the core's state.

use std::collections::BTreeMap;

use lode_chain_types::MembershipState;
use lode_protocol::assignment::AssignmentReport;
use lode_protocol::ids::{Address, AssignmentId, BootCounter, GpuUuid};
use lode_protocol::session::Membership;
use lode_protocol::units::Timestamp;

use crate::Worker;
use crate::event::ContainerId;
use crate::receipts::KeptReceipt;

/// Whether the container engine answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum EngineState {
    /// It has not been asked anything yet: the node is not a member.
    #[default]
    Untouched,
    /// It answered when it was asked last.
    Available,
    /// It did not.
    Unavailable,
}

/// Where the conversation with the orchestrator stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SessionState {
    /// There is no way to it.
    #[default]
    Offline,
    /// A session was asked for.
    Greeting,
    /// There is one.
    Open,
}

/// Containers by assignment.
pub type Containers = BTreeMap<AssignmentId, Place>;

/// What is known of an assignment's container.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Place {
    /// It, once it was created.
    pub container: Option<ContainerId>,
    /// How often it was started again.
    pub restarts: u32,
    /// Whether it runs.
    pub is_running: bool,
    /// Whether it has ended and is not started again.
    pub has_ended: bool,
}

/// How a worker stands.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct View {
    /// Membership by the chain's last answer.
    pub chain: Option<MembershipState>,
    /// Whether the chain answers now.
    pub chain_fresh: bool,
    /// The orchestrator's key, by the chain.
    pub orchestrator: Option<Address>,
    /// Membership by the orchestrator's last word.
    pub membership: Option<Membership>,
    /// Whether this node asked to leave.
    pub leaving: bool,
    /// The conversation.
    pub session: SessionState,
    /// When a beat was answered last.
    pub answered_at: Option<Timestamp>,
    /// The engine.
    pub engine: EngineState,
    /// Everything that runs, ran or is to run here.
    pub assignments: Vec<AssignmentReport>,
    /// GPUs held by them.
    pub holders: BTreeMap<GpuUuid, AssignmentId>,
    /// Their containers, for their output.
    pub containers: Containers,
}

impl Worker {
    /// How it all stands.
    pub fn view(&self) -> View {
        let assignments = self.assignments.all_reports();
        let containers = assignments.iter().map(|(_, report)| {
            let place = Place {
                container: self.assignments.container_of(&report.id),
                restarts: report.restarts,
                is_running: self.assignments.is_running(&report.id),
                has_ended: report.state.is_final(),
            };
            (report.id, place)
        });
        let containers = containers.collect();
        let facts = self.chain.facts.as_ref();
        View {
            chain: facts.map(|facts| facts.membership),
            chain_fresh: self.chain.fresh,
            orchestrator: facts.map(|facts| facts.orchestrator),
            membership: self.membership.said().cloned(),
            leaving: self.membership.is_leaving(),
            session: self.session.state(),
            answered_at: self.answered_at,
            engine: self.scans.state(),
            assignments: assignments.into_iter().map(|(_, report)| report).collect(),
            holders: self.assignments.gpu_holders(),
            containers,
        }
    }

    /// Starts of this worker so far, with this one.
    pub fn boot(&self) -> BootCounter {
        self.boot
    }

    /// The receipts that both sides signed, oldest first.
    pub fn receipts(&self) -> impl Iterator<Item = &KeptReceipt> {
        self.receipts.kept()
    }
}
