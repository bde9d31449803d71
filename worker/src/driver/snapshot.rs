//! What others may see of the driver's state.

use std::collections::BTreeMap;

use lode_network::Transport;
use lode_protocol::assignment::AssignmentReport;
use lode_protocol::ids::{AssignmentId, GpuUuid};

use super::Driver;
use crate::chain_view::Standing;
use crate::local::{EngineReport, MembershipReport, SessionReport};
use crate::logs::Containers;
use crate::metrics::StateLabel;

/// How it all stands.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Snapshot {
    /// Where the node stands in the pool.
    pub membership: MembershipReport,
    /// The conversation.
    pub session: SessionReport,
    /// The engine.
    pub engine: EngineReport,
    /// Assignments.
    pub assignments: Vec<AssignmentReport>,
    /// GPUs held by them.
    pub holders: BTreeMap<GpuUuid, AssignmentId>,
}

impl Driver {
    /// Publishes what changed.
    pub(super) fn publish(&mut self) {
        let snapshot = self.snapshot();
        let containers =
            snapshot.assignments.iter().map(|report| (report.id, self.assignments.container_of(&report.id)));
        let containers: Containers = containers.collect();
        self.outputs.containers.send_if_modified(|known| {
            let changed = *known != containers;
            *known = containers;
            changed
        });
        if *self.outputs.snapshot.borrow().as_ref() == snapshot {
            return;
        }
        self.outputs.holders.send_if_modified(|holders| {
            let changed = *holders != snapshot.holders;
            holders.clone_from(&snapshot.holders);
            changed
        });
        self.metrics.assignments.clear();
        for report in &snapshot.assignments {
            let state = format!("{:?}", report.state).to_lowercase();
            self.metrics.assignments.get_or_create(&StateLabel { state }).inc();
        }
        self.outputs.snapshot.send_replace(snapshot.into());
    }

    fn snapshot(&self) -> Snapshot {
        let chain = self.inputs.chain.borrow();
        let standing = chain.known.as_ref().map(|known| match known.membership {
            Standing::Never => "never",
            Standing::Member => "member",
            Standing::Left => "left",
            Standing::Ejected => "ejected",
            Standing::Banned => "banned",
        });
        let transport = self.link.transport().map(|transport| match transport {
            Transport::Libp2p => "libp2p",
            Transport::Https => "https",
        });
        Snapshot {
            membership: MembershipReport {
                chain: standing.map(str::to_owned),
                chain_fresh: chain.fresh,
                orchestrator: self.membership.clone(),
                leaving: self.leave.is_some(),
            },
            session: SessionReport {
                state: self.session.state_name().to_owned(),
                transport: transport.map(str::to_owned),
                endpoint: self.endpoint.clone(),
                orchestrator: chain.known.as_ref().map(|known| known.orchestrator.to_string()),
                last_answer_at: self.answered_at,
            },
            engine: EngineReport {
                state: match self.engine_answers {
                    None => "untouched",
                    Some(true) => "available",
                    Some(false) => "unavailable",
                }
                .to_owned(),
                version: self.outputs.engine_version.borrow().clone(),
            },
            assignments: self.assignments.all_reports().into_iter().map(|(_, report)| report).collect(),
            holders: self.assignments.gpu_holders(),
        }
    }
}
