//! Which nodes are proven when, and what is known of each.

mod news;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use lode_chain_types::{BlockRef, ChainEvent, Epoch};
use lode_protocol::hash::Digest;
use lode_protocol::ids::{GpuUuid, NodeId, Nonce, ProviderId};
use lode_protocol::proof::{Challenge, GpuVerdict};
use lode_protocol::time::Now;
use lode_protocol::units::{Millis, Timestamp};

use self::news::{concerned, is_known};
use super::committee::Committee;
use super::draw::Secret;
use super::effect::Effect;
use super::event::{Description, Facts, Heard, RunVerdict};
use super::leaf::NodeResult;
use super::node::{Due, Node};
use super::report::Report;
use super::run::{End, Run};
use super::settings::Settings;
use super::status::NodeStatus;

/// Nodes that are known at one time: as many as a directory lists. Each costs about a kilobyte.
pub(super) const MOST_NODES: usize = 1_000_000;
/// Most nodes in a status.
const STATUS_NODES: usize = 1_000;
/// How long a node is remembered when its description has expired: a clock that is wrong for a moment forgets nobody.
const REMEMBERED: Millis = Millis::seconds(3_600);

/// What a judged run leaves.
#[derive(Debug)]
pub(super) struct Judged {
    /// To be attested, if it is news.
    pub(super) result: Option<NodeResult>,
    /// Files about what the node signed that is false.
    pub(super) files: Vec<Vec<u8>>,
    /// Whose node it is.
    pub(super) provider: Option<ProviderId>,
}

/// The moment, as far as runs are begun in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Present {
    pub(super) at: Now,
    pub(super) epoch: Epoch,
    pub(super) beacon: Digest,
    /// Epochs that a proof counts.
    pub(super) validity: u64,
}

/// Nodes and the runs with them.
#[derive(Debug)]
pub(super) struct Proving {
    settings: Settings,
    /// Those that described themselves. Of whoever else connects nothing is kept but that it is there.
    nodes: BTreeMap<NodeId, Node>,
    /// Whoever is connected: as many as the transport lets in.
    connected: BTreeSet<NodeId>,
    /// When a node is forgotten.
    leaving: BTreeSet<(Timestamp, NodeId)>,
    /// When to look at a node.
    agenda: BTreeSet<(Millis, NodeId)>,
    renewals: BTreeSet<(Epoch, NodeId)>,
    runs: BTreeMap<NodeId, Run>,
}

impl Proving {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            nodes: BTreeMap::new(),
            connected: BTreeSet::new(),
            leaving: BTreeSet::new(),
            agenda: BTreeSet::new(),
            renewals: BTreeSet::new(),
            runs: BTreeMap::new(),
        }
    }

    /// Whether a node may be known.
    pub(super) fn has_room_for(&self, node: &NodeId) -> bool {
        self.nodes.len() < MOST_NODES || self.nodes.contains_key(node)
    }

    /// Nodes that described themselves.
    pub(super) fn described(&self) -> Vec<NodeId> {
        self.nodes.keys().copied().collect()
    }

    /// Nodes that are known, of those that an event concerns.
    pub(super) fn touched(&self, event: &ChainEvent) -> Vec<NodeId> {
        concerned(event).into_iter().filter(|node| self.nodes.contains_key(node)).collect()
    }

    pub(super) fn look(&mut self, now: Millis, node: NodeId) {
        self.agenda.insert((now, node));
    }

    pub(super) fn look_all(&mut self, now: Millis, nodes: Vec<NodeId>) {
        for node in nodes {
            self.look(now, node);
        }
    }

    /// A descriptor. True if it is news and nothing is known of the node on chain.
    pub(super) fn on_described(&mut self, now: Millis, description: Description) -> bool {
        let id = description.node;
        let leaves_at = description.expires_at.plus(REMEMBERED);
        let unknown = match self.nodes.entry(id) {
            Entry::Vacant(free) => {
                free.insert(Node::new(description, self.connected.contains(&id)));
                true
            }
            Entry::Occupied(mut known) => {
                let node = known.get_mut();
                if description.version <= node.description.version {
                    return false;
                }
                self.leaving.remove(&(node.description.expires_at.plus(REMEMBERED), id));
                if description.gpus != node.description.gpus {
                    node.changed();
                }
                node.description = description;
                node.facts.is_none()
            }
        };
        self.leaving.insert((leaves_at, id));
        self.look(now, id);
        unknown
    }

    /// Forgets nodes that have said nothing of themselves for long.
    pub(super) fn forget_expired(&mut self, now: Timestamp) {
        while let Some((at, id)) = self.leaving.first().copied().filter(|(at, _)| *at < now) {
            self.leaving.remove(&(at, id));
            self.nodes.remove(&id);
        }
    }

    pub(super) fn on_facts(&mut self, now: Millis, id: NodeId, facts: Facts) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let changed = node.facts.as_ref() != Some(&facts);
        node.facts = Some(facts);
        if changed {
            self.look(now, id);
        }
    }

    /// Unknown until it is read: a node that was just proven must not look unproven.
    pub(super) fn forget_facts(&mut self, node: NodeId) {
        if let Some(node) = self.nodes.get_mut(&node) {
            node.facts = None;
        }
    }

    /// Whether it is listed and registered: somebody has staked for what it does.
    pub(super) fn has_standing(&self, node: &NodeId) -> bool {
        self.nodes.get(node).is_some_and(Node::has_standing)
    }

    pub(super) fn on_connected(&mut self, now: Millis, node: NodeId) {
        self.connected.insert(node);
        // Of others, the description brings them up.
        if let Some(known) = self.nodes.get_mut(&node) {
            known.connected = true;
            self.look(now, node);
        }
    }

    pub(super) fn on_disconnected(&mut self, now: Millis, node: NodeId) {
        self.connected.remove(&node);
        if let Some(known) = self.nodes.get_mut(&node) {
            known.connected = false;
        }
        if self.runs.remove(&node).is_some() {
            let reason = "network/closed: the connection was lost in the run".to_owned();
            self.put_off(now, node, reason, true);
        }
    }

    pub(super) fn on_sent(&mut self, node: NodeId, challenge: &Challenge, digest: Digest, sealed: Vec<u8>) {
        if let Some(run) = self.runs.get_mut(&node) {
            run.on_sent(challenge, digest, sealed);
        }
    }

    /// Tells runs of time that passed.
    pub(super) fn on_time(&mut self, now: Millis, head: u64) -> Vec<(NodeId, End)> {
        self.runs.iter_mut().filter_map(|(node, run)| Some((*node, run.on_time(now, head)?))).collect()
    }

    /// Tells runs of a block.
    pub(super) fn on_head(
        &mut self,
        now: Millis,
        head: &BlockRef,
        secret: &mut Secret,
        effects: &mut Vec<Effect>,
    ) {
        effects.extend(self.runs.values_mut().filter_map(|run| run.on_head(now, head, secret)));
    }

    pub(super) fn on_answer(
        &mut self,
        now: Millis,
        head: u64,
        node: NodeId,
        heard: Heard,
        effects: &mut Vec<Effect>,
    ) -> Option<End> {
        self.runs.get_mut(&node)?.on_answer(now, head, heard, effects)
    }

    pub(super) fn on_verified(
        &mut self,
        node: NodeId,
        id: Nonce,
        gpu: GpuUuid,
        verdict: RunVerdict,
    ) -> Option<End> {
        let run = self.runs.get_mut(&node).filter(|run| run.id == id)?;
        run.on_verified(gpu, verdict)
    }

    /// Begins runs with nodes that are due, as many as may go on at once. `waits`: a result of the node waits.
    pub(super) fn schedule(
        &mut self,
        present: Present,
        committee: &Committee,
        waits: impl Fn(&NodeId) -> bool,
        secret: &mut Secret,
        effects: &mut Vec<Effect>,
    ) {
        let Present { at: Now { wall, monotonic: now }, epoch, beacon, validity } = present;
        while let Some(first) = self.renewals.first().copied().filter(|(due, _)| *due <= epoch) {
            self.renewals.remove(&first);
            self.look(now, first.1);
        }
        while let Some(first) = self.agenda.first().copied().filter(|(at, _)| *at <= now) {
            if self.runs.len() >= self.settings.concurrent_runs {
                return;
            }
            self.agenda.remove(&first);
            let (_, id) = first;
            if self.runs.contains_key(&id) || waits(&id) {
                // The end of either brings it back.
                continue;
            }
            let Some(node) = self.nodes.get(&id) else { continue };
            let drawn = committee.is_drawn(&id);
            match node.due((now, wall), epoch, &self.settings.class, validity, drawn) {
                Due::Now => {
                    let description = node.description.clone();
                    let gpus = description.gpus.len();
                    effects.push(Effect::Report(Report::RunBegun { node: id, gpus, epoch }));
                    let at = (epoch, beacon);
                    let (run, effect) = Run::begin(now, &self.settings, &description, at, wall, secret);
                    self.runs.insert(id, run);
                    effects.push(effect);
                }
                Due::At(at) => drop(self.agenda.insert((at, id))),
                Due::In(epoch) => drop(self.renewals.insert((epoch, id))),
                Due::Unknown => {}
            }
        }
    }

    /// A run is over; what it leaves, if it was judged. `running` is the epoch, `validity` how many a proof counts.
    pub(super) fn end(
        &mut self,
        now: Millis,
        id: NodeId,
        end: End,
        (running, validity): (Option<Epoch>, u64),
        effects: &mut Vec<Effect>,
    ) -> Option<Judged> {
        let run = self.runs.remove(&id)?;
        match end {
            End::NoVerdict { code, message, busy } => {
                self.put_off(now, id, format!("{code}: {message}"), !busy);
                effects.push(Effect::Report(Report::NoVerdict { node: id, code, message }));
                None
            }
            End::Judged { gpus, files } => {
                let challenge = Challenge::Verdict { run: run.id, gpus: gpus.clone() };
                effects.push(Effect::Send { node: id, challenge });
                effects.push(Effect::Judged { node: id, gpus: gpus.clone() });
                let judged_in = running.unwrap_or(run.epoch);
                let result = self.judged(now, id, (run.epoch, judged_in), validity, &gpus);
                let facts = self.nodes.get(&id).and_then(|node| node.facts.as_ref());
                let provider = facts.and_then(|facts| facts.provider);
                Some(Judged { result, files: files.into_values().collect(), provider })
            }
        }
    }

    fn judged(
        &mut self,
        now: Millis,
        id: NodeId,
        (begun_in, judged_in): (Epoch, Epoch),
        validity: u64,
        gpus: &[GpuVerdict],
    ) -> Option<NodeResult> {
        let passed: Vec<_> = gpus
            .iter()
            .filter(|verdict| verdict.failure.is_none())
            .map(|verdict| verdict.gpu.clone())
            .collect();
        let failed = gpus.len().saturating_sub(passed.len());
        let soon = begun_in.plus(validity / 2);
        let retry = self.settings.retry;
        // A run outlasts no description by an hour.
        let node = self.nodes.get_mut(&id)?;
        node.last = Some(match gpus.iter().find_map(|verdict| verdict.failure.as_ref()) {
            None => format!("passed with {} GPUs", passed.len()),
            Some(failure) => format!("{failed} of {} GPUs failed, first with {}", gpus.len(), failure.code),
        });
        if failed == 0 {
            node.succeeded();
            node.wait(now, retry);
        } else {
            node.put_off(now, retry);
        }
        let proven = node.facts.as_ref().and_then(|facts| facts.proven.as_ref());
        let news = !is_known(proven, passed.len(), &self.settings.class, soon);
        self.agenda.insert((node.not_before, id));
        news.then(|| {
            let failed = u16::try_from(failed).unwrap_or(u16::MAX);
            NodeResult { node: id, passed, failed, judged_in, attempts: 0 }
        })
    }

    /// Whether the chain says already, and for longer than until `soon`, that so many GPUs of a node pass.
    pub(super) fn is_known(&self, facts: &Facts, passed: usize, soon: Epoch) -> bool {
        is_known(facts.proven.as_ref(), passed, &self.settings.class, soon)
    }

    /// Whether a run with a node goes on.
    pub(super) fn is_running(&self, node: &NodeId) -> bool {
        self.runs.contains_key(node)
    }

    /// Nodes and connections that are remembered.
    #[cfg(test)]
    pub(super) fn kept(&self) -> (usize, usize) {
        assert_eq!(self.leaving.len(), self.nodes.len());
        (self.nodes.len(), self.connected.len())
    }

    fn put_off(&mut self, now: Millis, id: NodeId, reason: String, blame: bool) {
        let retry: Millis = self.settings.retry;
        let Some(node) = self.nodes.get_mut(&id) else { return };
        node.last = Some(reason);
        if blame {
            node.put_off(now, retry);
        } else {
            node.wait(now, retry);
        }
        self.agenda.insert((node.not_before, id));
    }

    pub(super) fn status(&self) -> Vec<NodeStatus> {
        let nodes = self.nodes.iter().map(|(id, node)| {
            let gpus = node.description.gpus.len();
            let facts = node.facts.as_ref();
            NodeStatus {
                node: *id,
                connected: node.connected,
                gpus,
                proven: facts.and_then(|facts| facts.proven.as_ref()).is_some_and(|proven| proven.current),
                running: self.runs.contains_key(id),
                last: node.last.clone(),
            }
        });
        nodes.take(STATUS_NODES).collect()
    }
}
