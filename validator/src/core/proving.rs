//! Which nodes are proven when, and what is known of each.

use std::collections::{BTreeMap, BTreeSet};

use lode_contracts::{BlockRef, ChainEvent, Epoch};
use lode_protocol::hash::Digest;
use lode_protocol::ids::{GpuUuid, NodeId, Nonce, ProviderId};
use lode_protocol::proof::{Challenge, GpuVerdict};
use lode_protocol::units::{Millis, Timestamp};

use super::committee::Committee;
use super::draw::Secret;
use super::effect::Effect;
use super::event::{Description, Facts, RunVerdict};
use super::leaf::NodeResult;
use super::node::{Due, Node};
use super::run::{End, Heard, Run};
use super::settings::{Moment, Settings};
use super::status::NodeStatus;

/// Most nodes in a status.
const STATUS_NODES: usize = 1_000;

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
    pub(super) now: Moment,
    pub(super) wall: Timestamp,
    pub(super) epoch: Epoch,
    pub(super) beacon: Digest,
    /// Epochs that a proof counts.
    pub(super) validity: u64,
}

/// Nodes and the runs with them.
#[derive(Debug)]
pub(super) struct Proving {
    settings: Settings,
    nodes: BTreeMap<NodeId, Node>,
    /// When to look at a node.
    agenda: BTreeSet<(Moment, NodeId)>,
    renewals: BTreeSet<(Epoch, NodeId)>,
    runs: BTreeMap<NodeId, Run>,
}

impl Proving {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            nodes: BTreeMap::new(),
            agenda: BTreeSet::new(),
            renewals: BTreeSet::new(),
            runs: BTreeMap::new(),
        }
    }

    /// Nodes that described themselves.
    pub(super) fn described(&self) -> Vec<NodeId> {
        self.nodes.iter().filter(|(_, node)| node.description.is_some()).map(|(id, _)| *id).collect()
    }

    /// Nodes that are known, of those that an event concerns.
    pub(super) fn touched(&self, event: &ChainEvent) -> Vec<NodeId> {
        concerned(event).into_iter().filter(|node| self.nodes.contains_key(node)).collect()
    }

    pub(super) fn look(&mut self, now: Moment, node: NodeId) {
        self.agenda.insert((now, node));
    }

    pub(super) fn look_all(&mut self, now: Moment, nodes: Vec<NodeId>) {
        for node in nodes {
            self.look(now, node);
        }
    }

    /// A descriptor. True if it is news and nothing is known of the node on chain.
    pub(super) fn on_described(&mut self, now: Moment, description: Description) -> bool {
        let id = description.node;
        let node = self.nodes.entry(id).or_default();
        let (newer, other) = match &node.description {
            Some(known) => (description.version > known.version, description.gpus != known.gpus),
            None => (true, true),
        };
        if !newer {
            return false;
        }
        if other {
            node.changed();
        }
        node.description = Some(description);
        let unknown = node.facts.is_none();
        self.look(now, id);
        unknown
    }

    pub(super) fn on_facts(&mut self, now: Moment, id: NodeId, facts: Facts) {
        let node = self.nodes.entry(id).or_default();
        let changed = node.facts.as_ref() != Some(&facts);
        node.facts = Some(facts);
        if changed {
            self.look(now, id);
        }
    }

    /// Unknown until it is read: a node that was just proven must not look unproven.
    pub(super) fn forget_facts(&mut self, node: NodeId) {
        self.nodes.entry(node).or_default().facts = None;
    }

    pub(super) fn on_connected(&mut self, now: Moment, node: NodeId) {
        self.nodes.entry(node).or_default().connected = true;
        self.look(now, node);
    }

    pub(super) fn on_disconnected(&mut self, now: Moment, node: NodeId) {
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
    pub(super) fn on_time(&mut self, now: Moment, head: u64) -> Vec<(NodeId, End)> {
        self.runs.iter_mut().filter_map(|(node, run)| Some((*node, run.on_time(now, head)?))).collect()
    }

    /// Tells runs of a block.
    pub(super) fn on_head(
        &mut self,
        now: Moment,
        head: &BlockRef,
        secret: &mut Secret,
        effects: &mut Vec<Effect>,
    ) {
        effects.extend(self.runs.values_mut().filter_map(|run| run.on_head(now, head, secret)));
    }

    pub(super) fn on_answer(
        &mut self,
        now: Moment,
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
        let Present { now, wall, epoch, beacon, validity } = present;
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
                    let Some(description) = node.description.clone() else { continue };
                    tracing::info!(node = %id, gpus = description.gpus.len(), %epoch, "proving a node");
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
        now: Moment,
        id: NodeId,
        end: End,
        (running, validity): (Option<Epoch>, u64),
        effects: &mut Vec<Effect>,
    ) -> Option<Judged> {
        let run = self.runs.remove(&id)?;
        match end {
            End::NoVerdict { code, message, busy } => {
                tracing::info!(node = %id, %code, message, "a run ended without a verdict");
                self.put_off(now, id, format!("{code}: {message}"), !busy);
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
        now: Moment,
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
        let node = self.nodes.entry(id).or_default();
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
        let proven =
            node.facts.as_ref().and_then(|facts| facts.proven.as_ref()).filter(|proven| proven.current);
        // Nothing to say about a node that was not proven and still is not, or that is as it was.
        let news = match proven {
            None => !passed.is_empty(),
            Some(proven) => {
                failed == 0 || usize::from(proven.gpu_count) != passed.len() || proven.expiry_epoch <= soon
            }
        };
        self.agenda.insert((node.not_before, id));
        news.then(|| {
            let failed = u16::try_from(failed).unwrap_or(u16::MAX);
            NodeResult { node: id, passed, failed, judged_in, attempts: 0 }
        })
    }

    fn put_off(&mut self, now: Moment, id: NodeId, reason: String, blame: bool) {
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
        let nodes = self.nodes.iter().filter_map(|(id, node)| {
            let gpus = node.description.as_ref()?.gpus.len();
            let facts = node.facts.as_ref();
            Some(NodeStatus {
                node: *id,
                connected: node.connected,
                gpus,
                proven: facts.and_then(|facts| facts.proven.as_ref()).is_some_and(|proven| proven.current),
                running: self.runs.contains_key(id),
                last: node.last.clone(),
            })
        });
        nodes.take(STATUS_NODES).collect()
    }
}

/// Nodes whose registration or proof an event changes.
fn concerned(event: &ChainEvent) -> Vec<NodeId> {
    match event {
        ChainEvent::NodeAdded { node, .. }
        | ChainEvent::NodeRemoved { node, .. }
        | ChainEvent::NodeProven { node, .. }
        | ChainEvent::NodeUnproven { node, .. } => vec![*node],
        ChainEvent::NodeReplaced { old, new, .. } => vec![*old, *new],
        _ => Vec::new(),
    }
}
