//! The whole of a validator's decisions. See the module above for its invariants.

use std::collections::{BTreeMap, BTreeSet};

use lode_contracts::{Amount, BlockRef, Epoch, EpochTiming};
use lode_program::finding::Finding;
use lode_protocol::hash::Digest;
use lode_protocol::ids::NodeId;
use lode_protocol::proof::{Challenge, GpuVerdict};
use lode_protocol::units::Timestamp;

use super::attestation::{Attestation, Attestor, Times};
use super::draw::Secret;
use super::event::{Description, Effect, Event, Moment, NodeStatus, Settings, Status};
use super::leaf::NodeResult;
use super::node::{Due, Node};
use super::run::{End, Run};

/// Most nodes in a status.
const STATUS_NODES: usize = 1_000;

/// What an earlier run of the program has left.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Results that wait.
    pub results: Vec<NodeResult>,
    /// The attestation under way.
    pub attestation: Option<Attestation>,
}

/// The core.
#[derive(Debug)]
pub struct Core {
    settings: Settings,
    secret: Secret,
    nodes: BTreeMap<NodeId, Node>,
    /// When to look at a node.
    agenda: BTreeSet<(Moment, NodeId)>,
    renewals: BTreeSet<(Epoch, NodeId)>,
    runs: BTreeMap<NodeId, Run>,
    attestor: Attestor,
    head: Option<BlockRef>,
    timing: Option<EpochTiming>,
    /// The epoch's public randomness: its first block that was seen.
    beacon: Option<(Epoch, Digest)>,
    standing: Option<(Epoch, Amount, Amount)>,
    wall: Timestamp,
}

impl Core {
    /// Starts from what is stored.
    pub fn new(settings: Settings, secret: Secret, loaded: Loaded) -> Self {
        Self {
            settings,
            secret,
            nodes: BTreeMap::new(),
            agenda: BTreeSet::new(),
            renewals: BTreeSet::new(),
            runs: BTreeMap::new(),
            attestor: Attestor::load(loaded.results, loaded.attestation),
            head: None,
            timing: None,
            beacon: None,
            standing: None,
            wall: Timestamp::default(),
        }
    }

    /// Takes in what happened and says what to do.
    pub fn step(&mut self, now: Moment, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Tick { wall } => self.on_tick(now, wall, &mut effects),
            Event::Described(description) => self.on_described(now, description, &mut effects),
            Event::Touched(nodes) => {
                let known: Vec<NodeId> =
                    nodes.into_iter().filter(|node| self.nodes.contains_key(node)).collect();
                read(known, &mut effects);
            }
            Event::Resync => {
                self.standing = None;
                self.beacon = None;
                read(self.described(), &mut effects);
            }
            Event::Facts { node, facts } => {
                let known = self.nodes.entry(node).or_default();
                let changed = known.facts.as_ref() != Some(&facts);
                known.facts = Some(facts);
                if changed {
                    self.look(now, node);
                }
            }
            Event::Timing(timing) => self.timing = Some(timing),
            Event::Head(head) => self.on_head(now, head, &mut effects),
            Event::Standing { epoch, own, total } => self.on_standing(epoch, own, total, &mut effects),
            Event::Root { epoch, root } => {
                let running = self.epoch().unwrap_or_default();
                let anew = self.attestor.on_root(epoch, root, running, &mut effects);
                self.look_all(now, anew);
            }
            Event::Connected(node) => {
                self.nodes.entry(node).or_default().connected = true;
                self.look(now, node);
            }
            Event::Disconnected(node) => {
                if let Some(known) = self.nodes.get_mut(&node) {
                    known.connected = false;
                }
                if self.runs.remove(&node).is_some() {
                    self.put_off(
                        now,
                        node,
                        "network/closed: the connection was lost in the run".to_owned(),
                        true,
                    );
                }
            }
            Event::Answered { node, at, answer } => {
                let head = self.head.as_ref().map_or(0, |head| head.number);
                let end = self
                    .runs
                    .get_mut(&node)
                    .and_then(|run| run.on_answer(now, at, head, answer, &mut effects));
                self.end(now, node, end, &mut effects);
            }
            Event::Verified { node, run, gpu, verdict } => {
                let end = self.runs.get_mut(&node).filter(|known| known.id == run);
                let end = end.and_then(|known| known.on_verified(gpu, verdict));
                self.end(now, node, end, &mut effects);
            }
            Event::Settled { id, intent, outcome } => {
                let touched = self.attestor.on_outcome(&intent, &outcome, &mut effects);
                effects.push(Effect::Acknowledge(id));
                for node in &touched {
                    // Unknown until it is read: a node that was just proven must not look unproven.
                    self.nodes.entry(*node).or_default().facts = None;
                }
                read(touched, &mut effects);
            }
            Event::NotSubmitted => self.attestor.on_not_submitted(),
        }
        effects
    }

    fn epoch(&self) -> Option<Epoch> {
        Some(self.timing?.epoch_at(self.head.as_ref()?.timestamp))
    }

    fn validity(&self) -> u64 {
        let most = self.timing.map_or(0, |timing| timing.max_validity_epochs);
        match self.settings.validity_epochs {
            0 => most,
            wanted => wanted.min(most),
        }
    }

    fn described(&self) -> Vec<NodeId> {
        self.nodes.iter().filter(|(_, node)| node.description.is_some()).map(|(id, _)| *id).collect()
    }

    fn look(&mut self, now: Moment, node: NodeId) {
        self.agenda.insert((now, node));
    }

    fn look_all(&mut self, now: Moment, nodes: Vec<NodeId>) {
        for node in nodes {
            self.look(now, node);
        }
    }

    fn on_described(&mut self, now: Moment, description: Description, effects: &mut Vec<Effect>) {
        let id = description.node;
        let node = self.nodes.entry(id).or_default();
        let (newer, other) = match &node.description {
            Some(known) => (description.version > known.version, description.gpus != known.gpus),
            None => (true, true),
        };
        if !newer {
            return;
        }
        if other {
            node.changed();
        }
        node.description = Some(description);
        if node.facts.is_none() {
            read(vec![id], effects);
        }
        self.look(now, id);
    }

    fn on_tick(&mut self, now: Moment, wall: Timestamp, effects: &mut Vec<Effect>) {
        self.wall = wall;
        let head = self.head.as_ref().map_or(0, |head| head.number);
        let ends: Vec<(NodeId, End)> =
            self.runs.iter_mut().filter_map(|(node, run)| Some((*node, run.on_time(now, head)?))).collect();
        for (node, end) in ends {
            self.end(now, node, Some(end), effects);
        }
        self.schedule(now, effects);
    }

    /// Begins runs with nodes that are due, as many as may go on at once.
    fn schedule(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let (Some(epoch), Some((_, beacon))) = (self.epoch(), self.beacon) else { return };
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
            if self.runs.contains_key(&id) || self.attestor.waits(&id) {
                // The end of either brings it back.
                continue;
            }
            let validity = self.validity();
            let Some(node) = self.nodes.get(&id) else { continue };
            match node.due(now, self.wall, epoch, &self.settings.class, validity) {
                Due::Now => {
                    let Some(description) = node.description.clone() else { continue };
                    tracing::info!(node = %id, gpus = description.gpus.len(), %epoch, "proving a node");
                    let at = (epoch, beacon);
                    let (run, effect) =
                        Run::begin(now, &self.settings, &description, at, self.wall, &mut self.secret);
                    self.runs.insert(id, run);
                    effects.push(effect);
                }
                Due::At(at) => drop(self.agenda.insert((at, id))),
                Due::In(epoch) => drop(self.renewals.insert((epoch, id))),
                Due::Unknown => {}
            }
        }
    }

    fn on_head(&mut self, now: Moment, head: BlockRef, effects: &mut Vec<Effect>) {
        let sends: Vec<Effect> =
            self.runs.values_mut().filter_map(|run| run.on_head(now, &head, &mut self.secret)).collect();
        effects.extend(sends);
        self.head = Some(head);
        let Some(timing) = self.timing else { return };
        let epoch = timing.epoch_at(head.timestamp);
        if self.beacon.is_none_or(|(known, _)| known != epoch) {
            self.beacon = Some((epoch, head.hash));
        }
        let standing =
            self.standing.filter(|(known, ..)| *known == epoch).map(|(_, own, total)| (own, total));
        if standing.is_none() {
            effects.push(Effect::ReadStanding(epoch));
        }
        let times = Times {
            head: &head,
            timing: &timing,
            validator: self.settings.validator,
            class: &self.settings.class,
            validity: self.validity(),
            standing,
        };
        let anew = self.attestor.advance(times, &mut self.secret, effects);
        self.look_all(now, anew);
    }

    fn on_standing(&mut self, epoch: Epoch, own: Amount, total: Amount, effects: &mut Vec<Effect>) {
        self.standing = Some((epoch, own, total));
        if own == Amount::ZERO {
            let text = format!("this validator has no weight in epoch {epoch}: what it finds does not count");
            effects.push(Effect::Raise(
                Finding::warning("validator/no-weight", text)
                    .remedy("register with `lode validator register`; a bond counts from the next epoch"),
            ));
        } else {
            effects.push(Effect::Clear("validator/no-weight", String::new()));
        }
    }

    /// A run is over.
    fn end(&mut self, now: Moment, id: NodeId, end: Option<End>, effects: &mut Vec<Effect>) {
        let Some(end) = end else { return };
        let Some(run) = self.runs.remove(&id) else { return };
        match end {
            End::NoVerdict { code, message, busy } => {
                tracing::info!(node = %id, %code, message, "a run ended without a verdict");
                self.put_off(now, id, format!("{code}: {message}"), !busy);
            }
            End::Judged(gpus) => {
                effects.push(Effect::Send {
                    node: id,
                    challenge: Challenge::Verdict { run: run.id, gpus: gpus.clone() },
                });
                effects.push(Effect::Judged { node: id, gpus: gpus.clone() });
                self.judged(now, id, run.epoch, &gpus, effects);
            }
        }
    }

    fn judged(
        &mut self,
        now: Moment,
        id: NodeId,
        epoch: Epoch,
        gpus: &[GpuVerdict],
        effects: &mut Vec<Effect>,
    ) {
        let passed: Vec<_> = gpus
            .iter()
            .filter(|verdict| verdict.failure.is_none())
            .map(|verdict| verdict.gpu.clone())
            .collect();
        let failed = gpus.len().saturating_sub(passed.len());
        let soon = epoch.plus(self.validity() / 2);
        let node = self.nodes.entry(id).or_default();
        let retry = self.settings.retry;
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
        let not_before = node.not_before;
        if news {
            let failed = u16::try_from(failed).unwrap_or(u16::MAX);
            let judged_in = self.epoch().unwrap_or(epoch);
            self.attestor.add(NodeResult { node: id, passed, failed, judged_in, attempts: 0 }, effects);
        }
        self.agenda.insert((not_before, id));
    }

    fn put_off(&mut self, now: Moment, id: NodeId, reason: String, blame: bool) {
        let retry = self.settings.retry;
        let Some(node) = self.nodes.get_mut(&id) else { return };
        node.last = Some(reason);
        if blame {
            node.put_off(now, retry);
        } else {
            node.wait(now, retry);
        }
        let not_before = node.not_before;
        self.agenda.insert((not_before, id));
    }

    /// For people.
    pub fn status(&self) -> Status {
        let epoch = self.epoch();
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
        Status {
            epoch,
            weight: self.standing.filter(|(known, ..)| Some(*known) == epoch).map(|(_, own, _)| own),
            nodes: nodes.take(STATUS_NODES).collect(),
            pending: self.attestor.pending(),
            attesting: self.attestor.current().map(|current| (current.epoch, format!("{:?}", current.stage))),
        }
    }
}

fn read(nodes: Vec<NodeId>, effects: &mut Vec<Effect>) {
    if !nodes.is_empty() {
        effects.push(Effect::ReadFacts(nodes));
    }
}
