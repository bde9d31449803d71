//! What strangers and members try with the orchestrator, and what must not come of it.

use std::collections::BTreeMap;

use lode_orchestrator_core::effect::{Occurrence, OccurrenceKind, Table};
use lode_orchestrator_core::event::ConnectionId;
use lode_protocol::assignment::{AssignmentReport, AssignmentState};
use lode_protocol::descriptor::NodeDescriptor;
use lode_protocol::hardware::NodeSpecs;
use lode_protocol::ids::{
    AssignmentId, BootCounter, Generation, Incarnation, NodeId, Nonce, ReplicaId, Sequence, SessionId, Term,
};
use lode_protocol::origin::Origin;
use lode_protocol::session::{Heartbeat, Hello, Usage};
use lode_protocol::units::Timestamp;
use lode_worker_core::effect::Message;

use crate::happening::Happening;
use crate::orchestrator::{digest_of, task_id};
use crate::wire::{Body, Up};
use crate::world::{World, key};

/// Reports that are made up for one beat.
const CLAIMS: u64 = 40;

/// Addresses that strangers come from.
const ORIGINS: u64 = 8;

/// Where a stranger's connection comes from: by its number, which is random.
pub(crate) fn stranger_origin(connection: ConnectionId) -> Origin {
    Origin((connection.0 % ORIGINS).to_be_bytes())
}

/// What strangers must leave as it is.
pub(crate) type Untouched = (BTreeMap<(Table, Vec<u8>), Vec<u8>>, Vec<String>);

impl World {
    /// Somebody with a throw-away key says all that he can; and some member tells of what it does not run.
    pub fn stranger_speaks(&mut self) {
        let stranger = key(0x90, self.dice.below(40));
        let id = NodeId(stranger.address());
        let connection = ConnectionId(1 << 60 | self.dice.between(0, 1 << 20));
        let descriptor = NodeDescriptor {
            node: id,
            specs: NodeSpecs {
                os: "debian".to_owned(),
                architecture: "amd64".to_owned(),
                ..NodeSpecs::default()
            },
            addresses: vec![],
            sealing_key: None,
            agent_version: "0.1.0".to_owned(),
            boot: BootCounter(1),
            sequence: 1,
            issued_at: Timestamp(0),
            expires_at: Timestamp(u64::MAX),
        };
        let hello = Hello {
            boot: BootCounter(self.dice.between(0, 5)),
            nonce: Nonce(self.dice.bytes()),
            agent_version: "0.1.0".to_owned(),
            descriptor: vec![1],
            takes_tags: None,
        };
        let beat = Heartbeat {
            session: SessionId(self.dice.bytes()),
            epoch: Term(self.dice.between(0, 3)),
            boot: BootCounter(1),
            sequence: Sequence(self.dice.between(0, 9)),
            observed: Some(Generation(self.dice.between(0, 1 << 40))),
            complete: true,
            assignments: self.claims(id),
            gpus: vec![],
            usage: Usage::default(),
            findings: vec![],
            specs: descriptor.specs.digest(),
            descriptor: None,
            consent: None,
            receipts: None,
        };
        let up = |digest, descriptor, body| Up {
            from: id,
            public_key: stranger.public(),
            connection,
            digest,
            descriptor,
            body,
        };
        let greeting = up(digest_of(&hello), Some(descriptor), Body::Hello(hello));
        let beating = up(digest_of(&beat), None, Body::Heartbeat(Box::new(beat)));
        for message in [beating.clone(), greeting, beating] {
            let after = self.dice.between(1, 100);
            self.after(after, Happening::Up(Box::new(message)));
        }
        let liar = self.dice.below(self.nodes.len());
        self.nodes[liar].lies = 3;
    }

    /// What a message of a node tells besides the truth.
    pub(crate) fn lies_of(&mut self, number: usize, message: &Message) -> Vec<AssignmentReport> {
        if self.nodes[number].lies == 0 || !matches!(message, Message::Heartbeat(_)) {
            return Vec::new();
        }
        self.nodes[number].lies -= 1;
        self.claims(self.nodes[number].id)
    }

    /// Reports of anything but what is placed on the node.
    fn claims(&mut self, node: NodeId) -> Vec<AssignmentReport> {
        let count = self.dice.between(0, CLAIMS);
        let made_up: Vec<AssignmentReport> = (0..count).map(|_| self.claim()).collect();
        let core = self.orchestrator.core.as_ref();
        let own = |id: &AssignmentId| {
            core.and_then(|core| core.assignment(id)).is_some_and(|known| known.node == node)
        };
        made_up.into_iter().filter(|report| !own(&report.id)).collect()
    }

    fn claim(&mut self) -> AssignmentReport {
        const STATES: [AssignmentState; 5] = [
            AssignmentState::Running,
            AssignmentState::Running,
            AssignmentState::Succeeded,
            AssignmentState::Failed,
            AssignmentState::Stopped,
        ];
        let small =
            |most: u64, dice: &mut crate::dice::Dice| u32::try_from(dice.between(0, most)).unwrap_or(0);
        let task = task_id(self.dice.between(0, 7));
        let replica = ReplicaId { task, replica: small(4, &mut self.dice) };
        let most = if self.dice.chance(500) { 6 } else { u64::from(u32::MAX) };
        let incarnation = Incarnation(small(most, &mut self.dice));
        AssignmentReport {
            id: AssignmentId { replica, incarnation },
            state: STATES[self.dice.below(STATES.len())],
            reason: None,
            detail: "made up".to_owned(),
            exit_code: Some(0),
            restarts: 0,
            gpus: vec![],
            ports: vec![],
            image: None,
            at: Timestamp(0),
            phase: None,
        }
    }

    /// What no stranger may change, before he speaks.
    pub(crate) fn untouched(&self) -> Option<Untouched> {
        let core = self.orchestrator.core.as_ref()?;
        let nodes = self.nodes.iter().map(|node| format!("{:?}", core.node(&node.id)));
        Some((core.rows(), nodes.collect()))
    }

    /// And when he has spoken.
    pub(crate) fn a_stranger_changes_nothing(&mut self, pending: usize, before: &Option<Untouched>) {
        let wrote = self.orchestrator.disk.pending.iter().skip(pending);
        let mut told: Vec<String> = wrote
            .flat_map(|(writes, release)| {
                let rows = writes.iter().map(|(table, _, _)| format!("row of {}", table.name()));
                rows.chain(release.occurrences.iter().map(|entry| format!("log entry {:?}", entry.kind)))
                    .collect::<Vec<_>>()
            })
            .collect();
        if self.untouched() != *before {
            told.push("a node, or a row as the core has it".to_owned());
        }
        if !told.is_empty() {
            let seen = told.join("; ");
            self.witness.breaks("no stranger changes a row, a log entry or another node", seen);
        }
    }

    /// What follows from a node's beat moves nothing of other nodes but by the pool's own decisions: something is placed
    /// there, or is to stop there.
    pub(crate) fn a_node_moves_only_its_own(&mut self, speaker: NodeId, occurrences: &[Occurrence]) {
        let moved = occurrences.iter().find(|entry| match &entry.kind {
            OccurrenceKind::Assignment { node, to, .. } => {
                *node != speaker && !matches!(to, AssignmentState::Assigned | AssignmentState::Stopping)
            }
            OccurrenceKind::Node { node, .. } | OccurrenceKind::ReportRefused { node, .. } => {
                *node != speaker
            }
            OccurrenceKind::Started { .. }
            | OccurrenceKind::Task { .. }
            | OccurrenceKind::ImagePinned { .. }
            | OccurrenceKind::ImageUnpinned { .. }
            | OccurrenceKind::TaskDeleted { .. }
            | OccurrenceKind::TaskBudgetExhausted { .. }
            | OccurrenceKind::EpochClosed { .. }
            | OccurrenceKind::RootSubmitted { .. } => false,
        });
        if let Some(moved) = moved {
            let seen = format!("{speaker} speaks, and {:?}", moved.kind);
            self.witness.breaks("a member moves only its own", seen);
        }
    }
}
