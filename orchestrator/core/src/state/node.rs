//! One node as the orchestrator knows it: who it is, where it stands, what it has, and what is promised on it.
//!
//! Three layers, by how they may be changed:
//!
//! * its rows ([`NodeRow`], [`ProgressRow`]): by the methods of this file alone, which mark them
//! * everything that placement and the node's state follow from: through [`Tracked::get_mut`], which marks the node
//! * the [`Pulse`], which moves with every beat and from which nothing follows: through [`Tracked::quiet`], unmarked
//!
//! [`NodeLifecycle`] (durable) says what the pool and the node agreed; liveness (not durable) says whether it is heard.
//! What people see, [`NodeState`], is derived from both. GPU slots are in [`super::hardware`].

use std::ops::Deref;

use lode_protocol::descriptor::NodeDescriptor;
use lode_protocol::envelope::{decode, encode};
use lode_protocol::hardware::GpuStatus;
use lode_protocol::ids::{AssignmentId, BootCounter, Generation, GpuUuid, NodeId, Nonce};
use lode_protocol::keys::PublicKey;
use lode_protocol::session::{LeaseTiming, Leave};
use lode_protocol::task::Resources;
use lode_protocol::units::{Bytes, Timestamp};
use minicbor::{Decode, Encode};

use super::admission::{Admission, Phase};
use super::conflict::Conflict;
pub(crate) use super::facts::{ChainFacts, Known};
use super::faults::Faults;
use super::hardware::Hardware;
pub(crate) use super::lifecycle::{Liveness, NodeLifecycle, Probation};
use super::pulse::Pulse;
use super::session::{Session, Superseded, Talk};
use super::tracked::{Row, Tracked};
use super::words::NodeState;

/// Hello nonces that are remembered to tell a replayed hello.
const REMEMBERED_NONCES: usize = 8;

/// What is promised to assignments.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Allocated {
    pub(crate) cpus: u64,
    pub(crate) memory: u64,
    pub(crate) disk: u64,
    /// Bytes of its desired set, at most.
    pub(crate) set_bytes: u64,
}

/// Something that runs on a node although it is not in its desired set: it holds what it uses until it is gone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Orphan {
    pub(crate) id: AssignmentId,
    pub(crate) gpus: Box<[GpuUuid]>,
    /// Of what nobody here has ordered nothing is known.
    pub(crate) uses: Uses,
}

/// What an assignment takes of its node beside GPUs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Uses {
    pub(crate) cpus: u64,
    pub(crate) memory: u64,
    pub(crate) disk: u64,
}

impl Uses {
    pub(crate) fn of(resources: &Resources) -> Self {
        Uses { cpus: resources.cpus.0.into(), memory: resources.memory.0, disk: resources.disk.0 }
    }
}

/// Identity and standing, as they are stored.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub(crate) struct NodeRow {
    #[n(0)]
    pub(crate) public_key: PublicKey,
    /// As CBOR: read when somebody looks at the node, not on any hot path.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub(crate) descriptor: Vec<u8>,
    #[n(2)]
    pub(crate) standing: NodeLifecycle,
}

/// What changes more often, as it is stored.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub(crate) struct ProgressRow {
    #[n(0)]
    pub(crate) boot: BootCounter,
    #[n(1)]
    pub(crate) generation: Generation,
    #[n(2)]
    pub(crate) nonces: Vec<Nonce>,
}

impl ProgressRow {
    pub(crate) const NEW: ProgressRow =
        ProgressRow { boot: BootCounter(0), generation: Generation(0), nonces: Vec::new() };
}

/// A node.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) row: Row<NodeRow>,
    pub(crate) progress: Row<ProgressRow>,
    pub(crate) liveness: Liveness,
    pub(crate) facts: ChainFacts,
    pub(crate) session: Option<Session>,
    pub(crate) superseded: Option<Superseded>,
    pub(crate) conflict: Conflict,
    pub(crate) hardware: Hardware,
    pub(crate) allocated: Allocated,
    /// Non-final assignments, sorted.
    pub(crate) active: Vec<AssignmentId>,
    pub(crate) orphans: Vec<Orphan>,
    pub(crate) faults: Faults,
    /// Whether the store has a row of it.
    pub(crate) stored: bool,
    pub(crate) pulse: Pulse,
}

/// A node is its row, and more.
impl Deref for Node {
    type Target = NodeRow;

    fn deref(&self) -> &NodeRow {
        &self.row
    }
}

/// What of a node may change without a mark.
#[derive(Debug)]
pub(crate) struct Quiet<'a>(&'a mut Node);

impl Deref for Quiet<'_> {
    type Target = Node;

    fn deref(&self) -> &Node {
        self.0
    }
}

impl Quiet<'_> {
    pub(crate) fn pulse(&mut self) -> &mut Pulse {
        &mut self.0.pulse
    }

    /// Notes what people see of the GPUs.
    pub(crate) fn note_samples(&mut self, statuses: &[GpuStatus]) {
        self.0.hardware.note_samples(statuses);
    }
}

impl Tracked<NodeId, Box<Node>> {
    /// The part of a node from which nothing follows, without a mark.
    pub(crate) fn quiet(&mut self, id: &NodeId) -> Option<Quiet<'_>> {
        self.unmarked(id).map(|node| Quiet(node))
    }

    /// A node's rows were written, or need not be: tells which of the two must be.
    pub(crate) fn take_changed(&mut self, id: &NodeId) -> (bool, bool) {
        let Some(node) = self.unmarked(id).filter(|node| node.is_durable()) else { return (false, false) };
        let fresh = !std::mem::replace(&mut node.stored, true);
        (node.row.take_changed() | fresh, node.progress.take_changed() | fresh)
    }
}

impl Node {
    pub(crate) fn new(
        id: NodeId,
        public_key: PublicKey,
        standing: NodeLifecycle,
        terms: LeaseTiming,
    ) -> Self {
        let row = NodeRow { public_key, descriptor: Vec::new(), standing };
        Self::made(id, Row::new(row), Row::new(ProgressRow::NEW), terms)
    }

    /// From its rows. GPUs with less memory than `least` are left out.
    pub(crate) fn stored(
        id: NodeId,
        row: NodeRow,
        progress: ProgressRow,
        terms: LeaseTiming,
        least: Bytes,
    ) -> Self {
        let mut node = Self::made(id, Row::stored(row), Row::stored(progress), terms);
        if let Some(descriptor) = node.read_descriptor() {
            node.hardware.describe(&descriptor, least);
        }
        node.stored = true;
        node
    }

    fn made(id: NodeId, row: Row<NodeRow>, progress: Row<ProgressRow>, terms: LeaseTiming) -> Self {
        Node {
            id,
            row,
            progress,
            liveness: Liveness::Lost,
            facts: ChainFacts::UNKNOWN,
            session: None,
            superseded: None,
            conflict: Conflict::None,
            hardware: Hardware::default(),
            allocated: Allocated::default(),
            active: Vec::new(),
            orphans: Vec::new(),
            faults: Faults::default(),
            stored: false,
            pulse: Pulse::new(terms),
        }
    }

    /// Changes where it stands, if the table above has that; else nothing changes, and it says so.
    pub(crate) fn enter(&mut self, next: NodeLifecycle) -> bool {
        let may = self.row.standing.may_become(&next);
        if may {
            self.row.edit().standing = next;
        }
        may
    }

    /// Its admission, to go on with it; `None` unless it joins.
    pub(crate) fn admission_mut(&mut self) -> Option<&mut Admission> {
        if !matches!(self.row.standing, NodeLifecycle::Joining(_)) {
            return None;
        }
        match &mut self.row.edit().standing {
            NodeLifecycle::Joining(admission) => Some(admission),
            NodeLifecycle::Member(_)
            | NodeLifecycle::Draining { .. }
            | NodeLifecycle::Leaving { .. }
            | NodeLifecycle::Ejected { .. }
            | NodeLifecycle::Gone => None,
        }
    }

    /// Its waiting time counts from now.
    pub(crate) fn wait_since(&mut self, now: Timestamp) {
        if let NodeLifecycle::Joining(Admission { phase: Phase::Waiting { since }, .. }) = self.row.standing
            && since != now
            && let Some(admission) = self.admission_mut()
        {
            admission.phase = Phase::Waiting { since: now };
        }
    }

    /// A new member has shown that it works.
    pub(crate) fn pass_probation(&mut self) {
        if let NodeLifecycle::Member(Probation::Awaited { .. }) = self.row.standing {
            self.row.edit().standing = NodeLifecycle::Member(Probation::Passed);
        }
    }

    /// Its leave goes to the chain; `None` if there is none, or it has gone already.
    pub(crate) fn submit_leave(&mut self) -> Option<Leave> {
        if !matches!(self.row.standing, NodeLifecycle::Leaving { submitted: false, .. }) {
            return None;
        }
        let NodeLifecycle::Leaving { leave, submitted } = &mut self.row.edit().standing else { return None };
        *submitted = true;
        Some(leave.clone())
    }

    /// Takes over a descriptor that is newer than the known one. GPUs with less memory than `least` are left out.
    pub(crate) fn describe(&mut self, descriptor: &NodeDescriptor, least: Bytes) {
        let mut bytes = encode(descriptor);
        // It stays for as long as the node does: what grew while it was written has up to as much again to spare.
        bytes.shrink_to_fit();
        self.row.edit().descriptor = bytes;
        self.hardware.describe(descriptor, least);
    }

    /// The descriptor, decoded.
    pub(crate) fn read_descriptor(&self) -> Option<NodeDescriptor> {
        decode(&self.row.descriptor).ok()
    }

    /// Its worker has started and says hello.
    pub(crate) fn started(&mut self, boot: BootCounter, nonce: Nonce) {
        if !self.conflict.is_confirmed() && self.progress.boot < boot {
            self.conflict = Conflict::None;
        }
        let progress = self.progress.edit();
        progress.boot = boot;
        if progress.nonces.len() >= REMEMBERED_NONCES {
            progress.nonces.remove(0);
        }
        progress.nonces.push(nonce);
    }

    /// Its desired set has this generation now.
    pub(crate) fn set_generation(&mut self, generation: Generation) {
        self.progress.edit().generation = generation;
    }

    /// Its session is over, and nothing of it counts any more.
    pub(crate) fn end_session(&mut self) {
        self.session = None;
        self.superseded = None;
        self.pulse.talk = Talk::default();
    }

    /// What people see.
    pub(crate) fn state(&self) -> NodeState {
        match &self.row.standing {
            NodeLifecycle::Ejected { .. } | NodeLifecycle::Gone => NodeState::Ejected,
            NodeLifecycle::Joining(_) if !self.conflict.is_confirmed() => NodeState::Joining,
            NodeLifecycle::Joining(_)
            | NodeLifecycle::Member(_)
            | NodeLifecycle::Draining { .. }
            | NodeLifecycle::Leaving { .. }
                if self.conflict.is_confirmed() =>
            {
                NodeState::Conflicted
            }
            NodeLifecycle::Joining(_) => NodeState::Joining,
            NodeLifecycle::Member(_) => match self.liveness {
                Liveness::Alive => NodeState::Alive,
                Liveness::Suspect => NodeState::Suspect,
                Liveness::Lost => NodeState::Lost,
            },
            NodeLifecycle::Draining { .. } | NodeLifecycle::Leaving { .. } => match self.liveness {
                Liveness::Alive | Liveness::Suspect => NodeState::Draining,
                Liveness::Lost => NodeState::Lost,
            },
        }
    }

    /// Whether it is heard in time.
    pub(crate) fn is_alive(&self) -> bool {
        match self.liveness {
            Liveness::Alive => true,
            Liveness::Suspect | Liveness::Lost => false,
        }
    }

    /// Whether it has told, in its present session, what runs on it: only then may a set be sent to it.
    pub(crate) fn has_reported(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.reported)
    }

    /// Whether the pool has ever given it something, by what is durable: it is a member, or has had a desired set.
    pub(crate) fn was_given(&self) -> bool {
        match self.row.standing {
            NodeLifecycle::Member(_) | NodeLifecycle::Draining { .. } | NodeLifecycle::Leaving { .. } => true,
            NodeLifecycle::Joining(_) | NodeLifecycle::Ejected { .. } | NodeLifecycle::Gone => {
                self.progress.generation > Generation(0) || !self.active.is_empty()
            }
        }
    }

    /// Whether a row of it belongs into the store: those without registration do not.
    pub(crate) fn is_durable(&self) -> bool {
        match self.row.standing {
            NodeLifecycle::Joining(_) => {
                self.stored || self.facts.registration().is_some() || !self.active.is_empty()
            }
            NodeLifecycle::Member(_)
            | NodeLifecycle::Draining { .. }
            | NodeLifecycle::Leaving { .. }
            | NodeLifecycle::Ejected { .. }
            | NodeLifecycle::Gone => true,
        }
    }

    pub(crate) fn add_active(&mut self, id: AssignmentId) {
        if let Err(position) = self.active.binary_search(&id) {
            self.active.insert(position, id);
        }
    }

    pub(crate) fn remove_active(&mut self, id: &AssignmentId) {
        if let Ok(position) = self.active.binary_search(id) {
            self.active.remove(position);
        }
    }

    pub(crate) fn free_cpus(&self) -> u64 {
        self.left_by_orphans(self.hardware.cpus.0.into(), self.allocated.cpus, |uses| uses.cpus)
    }

    pub(crate) fn free_memory(&self) -> u64 {
        self.left_by_orphans(self.hardware.memory.0, self.allocated.memory, |uses| uses.memory)
    }

    pub(crate) fn free_disk(&self) -> u64 {
        self.left_by_orphans(self.hardware.disk.0, self.allocated.disk, |uses| uses.disk)
    }

    fn left_by_orphans(&self, total: u64, allocated: u64, uses: fn(&Uses) -> u64) -> u64 {
        let orphans = self.orphans.iter().map(|orphan| uses(&orphan.uses));
        total.saturating_sub(orphans.fold(allocated, u64::saturating_add))
    }

    /// Whether something that is not supposed to run holds this GPU.
    pub(crate) fn held_by_orphan(&self, gpu: &GpuUuid) -> bool {
        self.orphans.iter().any(|orphan| orphan.gpus.contains(gpu))
    }
}
