//! The orchestrator's shell: steps the core and makes its changes durable in order; [`crate::outgoing`] is what rests on
//! them.

use std::collections::{BTreeMap, BTreeSet};

use lode_orchestrator_core::Core;
use lode_orchestrator_core::effect::{Effects, OccurrenceKind, Table};
use lode_orchestrator_core::error::Rejected;
use lode_orchestrator_core::event::{ChainBudget, ConnectionId, Event, Link, Proof, RootFate};
use lode_orchestrator_core::view::NodeState;
use lode_protocol::envelope::encode;
use lode_protocol::hash::{Digest, keccak256};
use lode_protocol::ids::{Epoch, NodeId, SessionId, TaskId};

use crate::chain::Facts;
use crate::disk::Disk;
use crate::happening::Happening;
use crate::hostile::stranger_origin;
use crate::outgoing::Release;
use crate::pool::config;
use crate::wire::{Body, Up};
use crate::world::World;

/// The program.
#[derive(Debug)]
pub struct Orchestrator {
    /// Its core, while it runs.
    pub core: Option<Core>,
    /// How often it has been started.
    pub boot: u64,
    pub(crate) started: u64,
    /// Its store.
    pub disk: Disk<Table, Release>,
    writing: bool,
    /// Milliseconds by which its wall clock is off.
    pub skew: i64,
    /// The last time its disk was filled.
    pub last_full: u64,
    pub(crate) followed: BTreeSet<NodeId>,
    /// Strangers that its core asks the chain about.
    pub(crate) asked: BTreeSet<NodeId>,
    pub(crate) told: BTreeMap<NodeId, (Facts, Option<Proof>)>,
    pub(crate) fresh: bool,
    pub(crate) root: Option<Epoch>,
    pub(crate) said: Option<(ChainBudget, Epoch, Option<RootFate>)>,
    next_tick: u64,
    /// Whose beat is being taken.
    pub(crate) speaker: Option<NodeId>,
    /// When its store was compared with its core.
    pub(crate) compared: u64,
    /// Deliberately wrong, to see that it is found: answers go out before their commit.
    pub careless: bool,
}

impl Orchestrator {
    /// Never started.
    pub fn new() -> Self {
        Orchestrator {
            core: None,
            boot: 0,
            started: 0,
            disk: Disk::default(),
            writing: false,
            skew: 0,
            last_full: 0,
            followed: BTreeSet::new(),
            asked: BTreeSet::new(),
            told: BTreeMap::new(),
            fresh: false,
            root: None,
            said: None,
            next_tick: 0,
            speaker: None,
            compared: 0,
            careless: false,
        }
    }
}

impl Default for Orchestrator {
    fn default() -> Self {
        Self::new()
    }
}

impl World {
    /// Starts the orchestrator from what is durable.
    pub fn start_orchestrator(&mut self) {
        let rows = self.orchestrator.disk.rows.iter();
        let rows: Vec<_> = rows.map(|((table, key), value)| (*table, key.clone(), value.clone())).collect();
        let recovered = rows.into_iter().filter(|(table, _, _)| Table::RECOVERED.contains(table));
        let core = match Core::recover(config(), recovered) {
            Ok(core) => core,
            Err(error) => {
                return self
                    .witness
                    .breaks("what was stored can be read", format!("recovery failed: {error}"));
            }
        };
        if !core.skipped_rows().is_empty() {
            let skipped = format!("{:?}", core.skipped_rows());
            self.witness.breaks("what was stored can be read", skipped);
        }
        let orchestrator = &mut self.orchestrator;
        orchestrator.boot += 1;
        orchestrator.started = self.now;
        orchestrator.core = Some(core);
        orchestrator.writing = false;
        orchestrator.followed.clear();
        orchestrator.asked.clear();
        orchestrator.told.clear();
        orchestrator.fresh = false;
        orchestrator.root = None;
        orchestrator.said = None;
        orchestrator.next_tick = 0;
        let boot = orchestrator.boot;
        self.note(|| format!("orchestrator starts, boot {boot}"));
        // Everybody gets a full lease.
        for node in 0..self.nodes.len() {
            self.witness.heard(node, self.now);
        }
        self.check_recovery();
        self.orchestrator_event(Event::Started, None);
        self.after(300, Happening::OrchestratorReads(boot));
        for node in 0..self.nodes.len() {
            self.nodes[node].impaired(self.now);
        }
    }

    /// The process dies.
    pub fn crash_orchestrator(&mut self, down: u64) {
        self.compare_store();
        if self.orchestrator.core.take().is_none() {
            return;
        }
        let pending = self.orchestrator.disk.pending.len();
        let kept = self.dice.between(0, u64::try_from(pending).unwrap_or(0));
        self.orchestrator.disk.crash(usize::try_from(kept).unwrap_or(0));
        self.after(down, Happening::OrchestratorStarts);
        for node in 0..self.nodes.len() {
            if let Some(connection) = self.nodes[node].connection
                && !self.nodes[node].no_way_down
            {
                let after = self.dice.between(10, 2_000);
                self.after(after, Happening::Disconnected(node, connection));
            }
        }
    }

    /// Steps the core with an internal event or a message.
    pub(crate) fn orchestrator_event(
        &mut self,
        event: Event,
        asked: Option<(ConnectionId, Digest)>,
    ) -> Option<Rejected> {
        let now = self.clocks(self.orchestrator.started, self.orchestrator.skew);
        let core = self.orchestrator.core.as_mut()?;
        self.steps += 1;
        match core.step(now, event) {
            Ok(effects) => {
                self.take(effects, asked);
                None
            }
            Err(rejected) => Some(rejected),
        }
    }

    fn take(&mut self, effects: Effects, asked: Option<(ConnectionId, Digest)>) {
        let Effects { changes, occurrences, actions } = effects;
        if let Some(speaker) = self.orchestrator.speaker {
            self.a_node_moves_only_its_own(speaker, &occurrences);
        }
        for entry in &occurrences {
            // Of a node that was not believed alive before there is nothing to lose.
            if let OccurrenceKind::Node {
                node, from: Some(NodeState::Alive | NodeState::Suspect), to, ..
            } = &entry.kind
                && let Some(number) = self.number_of(*node)
            {
                self.witness.judged(number, *to, self.now);
            }
        }
        let writes: Vec<_> =
            changes.into_iter().map(|change| (change.table, change.key, change.value)).collect();
        let release = Release { occurrences, actions, asked, refused: None };
        if self.orchestrator.careless {
            let early =
                Release { asked: release.asked, actions: release.actions.clone(), ..Release::default() };
            self.orchestrator.disk.pending.push_back((writes, Release { actions: vec![], ..release }));
            self.release(early);
        } else if writes.is_empty() && self.orchestrator.disk.pending.is_empty() {
            self.release(release);
        } else {
            self.orchestrator.disk.pending.push_back((writes, release));
        }
        self.store_orchestrator();
        self.plan_tick();
    }

    /// Has the disk work, if there is something to do.
    pub fn store_orchestrator(&mut self) {
        let orchestrator = &mut self.orchestrator;
        if orchestrator.writing || orchestrator.disk.pending.is_empty() || orchestrator.disk.full {
            return;
        }
        orchestrator.writing = true;
        let (boot, takes) = (orchestrator.boot, self.dice.between(1, 25));
        self.after(takes, Happening::OrchestratorStored(boot));
    }

    /// The disk has finished its oldest batch.
    pub fn orchestrator_stored(&mut self, boot: u64) {
        if boot != self.orchestrator.boot || self.orchestrator.core.is_none() {
            return;
        }
        self.orchestrator.writing = false;
        if let Some(release) = self.orchestrator.disk.finish() {
            self.release(release);
        }
        self.store_orchestrator();
    }

    fn plan_tick(&mut self) {
        let Some(core) = &self.orchestrator.core else { return };
        let now = self.clocks(self.orchestrator.started, 0).monotonic;
        let due = core.next_deadline().map_or(1_000, |due| due.0.saturating_sub(now.0)).min(1_000);
        let at = self.now + due;
        if self.orchestrator.next_tick <= self.now || at < self.orchestrator.next_tick {
            self.orchestrator.next_tick = at.max(self.now + 1);
            let (boot, next) = (self.orchestrator.boot, self.orchestrator.next_tick);
            self.at(next, Happening::OrchestratorTick(boot));
        }
    }

    /// The core wanted time.
    pub fn tick_orchestrator(&mut self, boot: u64) {
        if boot != self.orchestrator.boot || self.orchestrator.next_tick > self.now {
            return;
        }
        self.orchestrator_event(Event::Tick, None);
        self.plan_tick();
        self.watch_undesired();
        self.compare_store_sometimes();
    }

    /// A message has come.
    pub fn orchestrator_hears(&mut self, up: Up) {
        if self.orchestrator.core.is_none() {
            return;
        }
        let Up { from, public_key, connection, digest, descriptor, body } = up;
        let link = Link { connection, can_push: true };
        let number = self.number_of(from);
        let event = match body {
            Body::Hello(hello) => {
                let Some(descriptor) = descriptor else { return };
                let session = SessionId(self.dice.bytes());
                let origin = number.is_none().then(|| stranger_origin(connection));
                Event::HelloReceived { node: from, public_key, hello, descriptor, link, session, origin }
            }
            Body::Heartbeat(heartbeat) => {
                Event::BeatReceived { node: from, digest, heartbeat: *heartbeat, descriptor, link }
            }
            Body::Leave(leave) => Event::LeaveReceived { node: from, leave, link },
        };
        let before = self.orchestrator.disk.pending.len();
        let untouched = number.is_none().then(|| self.untouched()).flatten();
        let beats = matches!(event, Event::BeatReceived { .. });
        self.orchestrator.speaker = number.filter(|_| beats).map(|_| from);
        let refused = self.orchestrator_event(event, Some((connection, digest)));
        self.orchestrator.speaker = None;
        if let (Some(number), None) = (number, &refused) {
            self.witness.said(number, digest, self.now);
        }
        if number.is_none() {
            self.a_stranger_changes_nothing(before, &untouched);
        }
        if let (Some(rejected), Some(number)) = (refused, number) {
            self.note(|| format!("orchestrator refuses node {number}: {} {rejected}", rejected.code));
            if rejected.code == "session/too-fast" {
                self.witness
                    .breaks("a worker does not say more than it may", format!("node {number}: {rejected}"));
            }
            let refused = Some((number, connection, digest, rejected));
            let release = Release { refused, ..Release::default() };
            if self.orchestrator.disk.pending.is_empty() {
                self.release(release);
            } else {
                self.orchestrator.disk.pending.push_back((Vec::new(), release));
                self.store_orchestrator();
            }
        }
    }

    /// A connection is gone, as far as the orchestrator hears.
    pub fn orchestrator_hangup(&mut self, node: usize, connection: ConnectionId) {
        let node = self.nodes[node].id;
        self.orchestrator_event(Event::ConnectionClosed { node, connection }, None);
    }

    pub(crate) fn number_of(&self, node: NodeId) -> Option<usize> {
        self.nodes.iter().position(|known| known.id == node)
    }

    /// Steps the core with something that a user wants; he is told when it is durable.
    pub fn ask(&mut self, event: Event) -> bool {
        let refused = self.orchestrator_event(event, None);
        if let Some(rejected) = &refused {
            self.note(|| format!("refused: {rejected}"));
        }
        refused.is_none() && self.orchestrator.core.is_some()
    }

    /// The core's clocks.
    pub fn orchestrator_clocks(&self) -> lode_protocol::time::Now {
        self.clocks(self.orchestrator.started, self.orchestrator.skew)
    }
}

/// Digest of a message.
pub fn digest_of<T: minicbor::Encode<()>>(body: &T) -> Digest {
    keccak256(&encode(body))
}

/// Number of a task.
pub fn task_id(number: u64) -> TaskId {
    TaskId(uuid::Uuid::from_u128(u128::from(number) + 1))
}
