//! The owner loop: one task owns the core; what happens goes in, what is to be done is done, in order, and nothing
//! before what it depends on is durable.

use std::collections::HashMap;
use std::time::Duration;

use lode_contracts::{Outbox, OutboxError, OutboxEvent};
use lode_network::{ConnectionId, IncomingFrame, PeerServer, ServerEvent};
use lode_program::Clock;
use lode_program::finding::{Finding, FindingSet};
use lode_program::health::Pulse;
use lode_protocol::envelope::{self, Addressing, Audience, Expectation, Realm};
use lode_protocol::ids::NodeId;
use lode_protocol::keys::SigningKey;
use lode_protocol::proof::{Answer, Challenge};
use lode_protocol::units::{Millis, Timestamp};
use lode_store::{Batch, StoreError, Writer};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::chain::Question;
use crate::checks::Checks;
use crate::core::{Core, Effect, Effects, Event, Heard, Status};
use crate::inquiry::{self, Inquirer};
use crate::metrics::Metrics;
use crate::verify::Verifier;
use crate::{report, storage};

/// How often time is told to the core.
const TICK: Duration = Duration::from_millis(250);
/// How long a challenge counts.
const LIFETIME: Millis = Millis::seconds(60);
/// Pause before a store that failed is tried again.
const STORE_RETRY: Duration = Duration::from_secs(1);

/// What the driver works with.
#[derive(Debug)]
pub struct Driver {
    /// Decides.
    pub core: Core,
    /// The validator's key.
    pub key: SigningKey,
    /// Chain and deployment, without a pool.
    pub realm: Realm,
    /// Nodes.
    pub server: PeerServer,
    /// Transactions.
    pub outbox: Outbox,
    /// What survives.
    pub writer: Writer,
    /// Questions to the chain.
    pub questions: mpsc::UnboundedSender<Question>,
    /// Checks openings.
    pub verifier: Verifier,
    /// Looks at what others point at.
    pub inquirer: Inquirer,
    /// What is wrong.
    pub findings: FindingSet,
    /// Times.
    pub clock: Clock,
    /// Counters.
    pub metrics: Metrics,
    /// For people.
    pub status: watch::Sender<Status>,
}

/// Where events come from.
#[derive(Debug)]
pub struct Sources {
    /// Nodes.
    pub peers: mpsc::Receiver<ServerEvent>,
    /// Chain and directories.
    pub events: mpsc::Receiver<Event>,
    /// Ends of intents.
    pub outcomes: mpsc::UnboundedReceiver<OutboxEvent>,
}

impl Driver {
    /// Until shutdown. Fails only when nothing can be kept any more.
    pub async fn run(
        mut self,
        mut sources: Sources,
        pulse: Pulse,
        shutdown: CancellationToken,
    ) -> anyhow::Result<()> {
        let mut links: HashMap<NodeId, ConnectionId> = HashMap::new();
        let mut checks = Checks::default();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut tick_at = self.clock.now();
        loop {
            let events = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                _ = ticks.tick() => {
                    pulse.beat();
                    let status = self.core.status();
                    self.status.send_if_modified(|known| {
                        let changed = *known != status;
                        *known = status;
                        changed
                    });
                    // Silence is judged as of now: what nodes have said by now is told first, however long the disk takes.
                    tick_at = self.clock.now();
                    let mut events = Vec::new();
                    for _ in 0..sources.peers.len() {
                        if let Ok(event) = sources.peers.try_recv() {
                            events.extend(self.on_peer(event, &mut links));
                        }
                    }
                    events.push(Event::Tick);
                    events
                }
                Some(event) = sources.peers.recv() => self.on_peer(event, &mut links),
                Some(event) = sources.events.recv() => vec![event],
                Some(event) = sources.outcomes.recv() => {
                    let OutboxEvent { id, intent, outcome } = event;
                    vec![Event::Settled { id, intent, outcome }]
                }
                Some(event) = checks.next() => event.into_iter().collect(),
            };
            let mut events = std::collections::VecDeque::from(events);
            while let Some(event) = events.pop_front() {
                let now = if matches!(event, Event::Tick) { tick_at } else { self.clock.now() };
                let node = concerns(&event);
                match self.core.step(now, event) {
                    Ok(effects) => {
                        // Before it is challenged: its answers will be large.
                        if let Some(node) = node.filter(|node| self.core.has_standing(node))
                            && let Some(connection) = links.get(&node)
                        {
                            self.server.vouch(*connection);
                        }
                        events.extend(self.carry_out(effects, &links, &mut checks, &shutdown).await?);
                    }
                    Err(rejected) => {
                        self.metrics.rejected.inc();
                        tracing::debug!(code = %rejected.code(), %rejected, "an event was refused");
                    }
                }
            }
        }
    }

    fn on_peer(&self, event: ServerEvent, links: &mut HashMap<NodeId, ConnectionId>) -> Vec<Event> {
        match event {
            ServerEvent::Opened { connection, peer } => {
                let node = NodeId(peer);
                let before = links.insert(node, connection);
                let mut events = Vec::new();
                if let Some(before) = before {
                    self.server.disconnect(before, "the node has a newer connection");
                    events.push(Event::Disconnected(node));
                }
                events.push(Event::Connected(node));
                events
            }
            ServerEvent::Closed { connection, peer, .. } => {
                let node = NodeId(peer);
                if links.get(&node) != Some(&connection) {
                    return Vec::new();
                }
                links.remove(&node);
                vec![Event::Disconnected(node)]
            }
            ServerEvent::Frame(frame) => self.on_frame(&frame, links).into_iter().collect(),
            ServerEvent::Logs { reply, .. } => {
                reply.not_wanted();
                Vec::new()
            }
        }
    }

    fn on_frame(&self, frame: &IncomingFrame, links: &HashMap<NodeId, ConnectionId>) -> Option<Event> {
        let peer = frame.peer?;
        let node = NodeId(peer);
        // Nothing of strangers is hashed: anybody may connect, and a frame has megabytes.
        if links.get(&node) != Some(&frame.connection) || !self.core.awaits(&node) {
            return None;
        }
        let waited = u64::try_from(frame.received_at.elapsed().as_millis()).unwrap_or(u64::MAX);
        let at = Millis(self.clock.monotonic_millis().saturating_sub(waited));
        let expected = Expectation {
            recipient: Some(self.key.address()),
            realm: self.realm,
            now: self.wall(),
            signer: Some(peer),
        };
        match envelope::open::<Answer>(&frame.bytes, &expected) {
            Ok(opened) => {
                let heard = Heard { at, answer: opened.body, sealed: frame.bytes.to_vec() };
                Some(Event::Answered { node, heard })
            }
            Err(error) => {
                // Whoever has a run may send as many of them as he likes: the run's end is what is told.
                tracing::debug!(%node, %error, "an answer was refused");
                None
            }
        }
    }

    /// Does what the core wants; what that makes happen at once comes back.
    async fn carry_out(
        &self,
        effects: Effects,
        links: &HashMap<NodeId, ConnectionId>,
        checks: &mut Checks,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<Vec<Event>> {
        let mut batch = Batch::new();
        let mut rest = Vec::new();
        for effect in effects {
            match effect {
                Effect::Save(change) => storage::add(&mut batch, change),
                other => rest.push(other),
            }
        }
        if !batch.is_empty() {
            self.save(batch, shutdown).await?;
        }
        let mut more = Vec::new();
        for effect in rest {
            match effect {
                // Saved above, before everything else.
                Effect::Save(_) => {}
                Effect::Send { node, challenge } => more.extend(self.send(node, challenge, links)),
                Effect::Verify(job) => {
                    let checked = self.verifier.clone().check(job);
                    // It tells by itself that it broke off.
                    checks.spawn(async move { Some(checked.await) }, None);
                }
                Effect::Examine(charge) => {
                    let broken_off = inquiry::examination_broke_off(charge.id);
                    checks.spawn(self.inquirer.clone().examine(*charge), Some(broken_off));
                }
                Effect::ShowAnswer { id, answer, uri } => {
                    checks.spawn(self.inquirer.clone().show_answer(id, answer, uri), None);
                }
                Effect::Audit(matter, look) => {
                    let broken_off = inquiry::audit_broke_off(matter);
                    checks.spawn(self.inquirer.clone().audit(matter, look), Some(broken_off));
                }
                Effect::Submit(intent) => match self.outbox.submit(intent).await {
                    Ok(_) => {
                        self.findings.clear_code("outbox/store");
                    }
                    Err(OutboxError::Stopped) => {}
                    Err(error) => {
                        self.findings.raise(Finding::error(error.code(), error.to_string()));
                        more.push(Event::NotSubmitted);
                    }
                },
                Effect::Acknowledge(id) => {
                    if let Err(error) = self.outbox.acknowledge(id).await {
                        tracing::debug!(%error, "an outcome was not acknowledged; it comes again after a restart");
                    }
                }
                Effect::ReadFacts(nodes) => drop(self.questions.send(Question::Facts(nodes))),
                Effect::ReadStanding(epoch) => drop(self.questions.send(Question::Standing(epoch))),
                Effect::ReadRoot(epoch) => drop(self.questions.send(Question::Root(epoch))),
                Effect::ReadBeacon(epoch) => drop(self.questions.send(Question::Beacon(epoch))),
                Effect::ReadDrawn(epoch, nodes) => drop(self.questions.send(Question::Drawn(epoch, nodes))),
                Effect::ReadAccusation(id) => drop(self.questions.send(Question::Accusation(id))),
                Effect::ReadPrice { node, provider, amount } => {
                    drop(self.questions.send(Question::Price { node, provider, amount }));
                }
                Effect::Raise(finding) => drop(self.findings.raise(finding)),
                Effect::Clear(code, subject) => drop(self.findings.clear(code, &subject)),
                Effect::Report(report) => report::log(&report),
                Effect::Judged { node, gpus } => {
                    let failed = gpus.iter().filter(|verdict| verdict.failure.is_some()).count();
                    self.metrics.failed.inc_by(count(failed));
                    self.metrics.passed.inc_by(count(gpus.len().saturating_sub(failed)));
                    report::judged(node, &gpus);
                }
            }
        }
        Ok(more)
    }

    /// Until it is durable. Nothing else happens meanwhile: what follows depends on it.
    async fn save(&self, batch: Batch, shutdown: &CancellationToken) -> anyhow::Result<()> {
        loop {
            match self.writer.commit(batch.clone()).await {
                Ok(_) => {
                    self.findings.clear_code("store/behind");
                    return Ok(());
                }
                Err(error) if error.is_retryable() => {
                    self.findings.raise(behind(&error));
                    tokio::select! {
                        () = shutdown.cancelled() => return Ok(()),
                        () = tokio::time::sleep(STORE_RETRY) => {}
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Signs and sends; tells the core what was signed, since answers name it.
    fn send(
        &self,
        node: NodeId,
        challenge: Challenge,
        links: &HashMap<NodeId, ConnectionId>,
    ) -> Option<Event> {
        let connection = links.get(&node)?;
        let addressing = Addressing {
            audience: Audience::Peer(node.0),
            realm: self.realm,
            now: self.wall(),
            lifetime: LIFETIME,
        };
        let sealed = envelope::seal(&self.key, addressing, &challenge);
        if let Err(error) = self.server.push(*connection, sealed.bytes.clone()) {
            // The end of the connection is told by the server; the run ends with it, or at its deadline.
            tracing::debug!(%node, %error, "a challenge could not be sent");
            return None;
        }
        Some(Event::Sent { node, challenge, digest: sealed.digest, sealed: sealed.bytes })
    }

    fn wall(&self) -> Timestamp {
        Timestamp(self.clock.wall_millis())
    }
}

/// The node whose standing may be another one after this.
fn concerns(event: &Event) -> Option<NodeId> {
    if let Event::Connected(node) | Event::Facts { node, .. } = event {
        Some(*node)
    } else if let Event::Described(description) = event {
        Some(description.node)
    } else {
        None
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn behind(error: &StoreError) -> Finding {
    Finding::error("store/behind", format!("results cannot be kept, nothing is attested: {error}"))
        .remedy("make room on the disk of data_dir; the validator goes on by itself")
}
