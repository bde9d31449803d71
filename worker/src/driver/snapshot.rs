//! What others may see of the driver's state.

use std::collections::BTreeMap;

use lode_chain_types::MembershipState;
use lode_network::Transport;
use lode_protocol::assignment::AssignmentReport;
use lode_protocol::ids::{AssignmentId, GpuUuid};

use super::Driver;
use crate::core::view::{EngineState, SessionState, View};
use crate::local::{EngineReport, MembershipReport, SessionReport};
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
        let before = std::mem::replace(&mut self.view, self.worker.view());
        self.count(&before);
        self.outputs.containers.send_if_modified(|known| {
            let changed = *known != self.view.containers;
            known.clone_from(&self.view.containers);
            changed
        });
        let snapshot = self.snapshot();
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

    /// What changed since it was looked at last, for the log and the metrics.
    fn count(&self, before: &View) {
        let view = &self.view;
        if view.membership != before.membership {
            tracing::info!(membership = ?view.membership, "membership, by the orchestrator");
        }
        if view.answered_at != before.answered_at {
            self.metrics.answers.inc();
        }
        if view.engine == EngineState::Unavailable && before.engine != EngineState::Unavailable {
            self.metrics.engine_lost.inc();
        }
    }

    fn snapshot(&self) -> Snapshot {
        let view = &self.view;
        let chain = view.chain.map(|state| match state {
            MembershipState::Never => "never",
            MembershipState::Member => "member",
            MembershipState::Left => "left",
            MembershipState::Ejected => "ejected",
            MembershipState::Banned => "banned",
        });
        let session = match view.session {
            SessionState::Offline => "offline",
            SessionState::Greeting => "greeting",
            SessionState::Open => "open",
        };
        let transport = self.link.transport().map(|transport| match transport {
            Transport::Libp2p => "libp2p",
            Transport::Https => "https",
        });
        let engine = match view.engine {
            EngineState::Untouched => "untouched",
            EngineState::Available => "available",
            EngineState::Unavailable => "unavailable",
        };
        Snapshot {
            membership: MembershipReport {
                chain: chain.map(str::to_owned),
                chain_fresh: view.chain_fresh,
                orchestrator: view.membership.clone(),
                leaving: view.leaving,
            },
            session: SessionReport {
                state: session.to_owned(),
                transport: transport.map(str::to_owned),
                endpoint: self.endpoint.clone(),
                orchestrator: view.orchestrator.map(|orchestrator| orchestrator.to_string()),
                last_answer_at: view.answered_at,
            },
            engine: EngineReport {
                state: engine.to_owned(),
                version: self.outputs.engine_version.borrow().clone(),
            },
            assignments: view.assignments.clone(),
            holders: view.holders.clone(),
        }
    }
}
