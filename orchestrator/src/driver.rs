//! The one owner of the core: takes events, commits what they change, then lets their effects out, in order.
//!
//! What waits in the queues is stepped and committed in groups, one transaction each, so that a burst costs one fsync.
//! The driver does not wait for the disk: while one group is committed the next one is stepped ([`pipeline`]). Nothing
//! leaves before its commit: no reply, no push, no order to the chain, no entry of the event log, no answer to a question
//! that could tell of it. The usual beat changes nothing durable and is told nothing that is not: its answer leaves at
//! once. While the store cannot commit, [`outage`] keeps everything back and nothing new is stepped.
//!
//! Three queues, all bounded. People's requests and workers' messages are always taken; facts (chain, discovery) wait
//! while the store is in trouble, so that none is lost.

mod group;
mod handle;
pub mod outage;
mod pipeline;
mod retention;
mod tables;

use std::sync::Arc;
use std::time::{Duration, Instant};

use lode_program::clock::Clock;
use lode_program::finding::FindingSet;
use lode_program::{Pulse, Shutdown};
use lode_protocol::ids::{Epoch, NodeId};
use lode_protocol::session::Desired;
use lode_protocol::units::{Millis, Timestamp};
use lode_store::{Change, Writer};
use tokio::sync::{mpsc, watch};

use crate::core::Core;
use crate::core::effect::{self, Action, Answer, ChainCommand, Effects};
use crate::core::event::{ConnectionId, Event, Now};
use crate::driver::outage::StoreHealth;
use crate::event_log::EventWriter;
use crate::metrics::Metrics;
use group::{EVENT_BYTES, Output};
pub(crate) use handle::Request;
pub use handle::{Handle, Message, Outgoing, Outlet, PendingReply, WriteError, Written};
use pipeline::{Landed, Pipeline};
pub(crate) use tables::store_table;

/// People's requests that wait: what arrives during a few slow commits.
const REQUESTS: usize = 1_024;
/// Workers' messages that wait: one burst of a whole fleet is taken in; beyond it their streams are not read.
const MESSAGES: usize = 4_096;
/// Facts that wait; their senders wait then.
const FACTS: usize = 1_024;
/// Events that are taken from each queue before the disk and the clock are looked at again.
const TURN: usize = 512;
/// The core hears of time at least this often.
const TICK: Duration = Duration::from_secs(1);

/// Where effects go and where time comes from.
#[derive(Debug)]
pub struct Ports {
    /// Time.
    pub clock: Clock,
    /// The store.
    pub writer: Writer,
    /// The event log.
    pub events: EventWriter,
    /// Answers for workers.
    pub outlet: Arc<dyn Outlet>,
    /// The first epoch whose receipts are to be kept.
    pub kept_from: watch::Sender<Epoch>,
    /// Orders for the chain. Unbounded, because its receiver sends facts to the driver and neither may wait for the
    /// other; the core makes at most a few orders per node.
    pub chain: mpsc::UnboundedSender<ChainCommand>,
    /// Strangers to ask the chain about: bounded, since there is no end of them. What has no room is dropped.
    pub questions: mpsc::Sender<NodeId>,
    /// What holds now.
    pub findings: FindingSet,
    /// Counters.
    pub metrics: Metrics,
    /// Shows that the loop turns.
    pub pulse: Option<Pulse>,
}

/// The receiving ends of a [`Handle`].
#[derive(Debug)]
pub struct Queues {
    requests: mpsc::Receiver<Request>,
    messages: mpsc::Receiver<Message>,
    facts: mpsc::Receiver<Event>,
}

/// The queues of a driver: whoever speaks to it may be made before it.
pub fn queues() -> (Handle, Queues) {
    let (requests_sender, requests) = mpsc::channel(REQUESTS);
    let (messages_sender, messages) = mpsc::channel(MESSAGES);
    let (facts_sender, facts) = mpsc::channel(FACTS);
    let handle = Handle { requests: requests_sender, messages: messages_sender, facts: facts_sender };
    (handle, Queues { requests, messages, facts })
}

/// Owns the core.
pub struct Driver {
    pub(crate) core: Core,
    pub(crate) ports: Ports,
    pub(crate) requests: mpsc::Receiver<Request>,
    pub(crate) messages: mpsc::Receiver<Message>,
    pub(crate) facts: mpsc::Receiver<Event>,
    /// Ends of streams that came while the store was in trouble.
    pub(crate) backlog: Vec<Message>,
    pub(crate) trouble: StoreHealth,
    pipeline: Pipeline,
    last_tick: Instant,
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").field("core", &"…").finish_non_exhaustive()
    }
}

impl Driver {
    /// A driver of a core that was made or recovered and has seen no event yet.
    pub fn new(core: Core, ports: Ports, queues: Queues, trouble: StoreHealth) -> Driver {
        let Queues { requests, messages, facts } = queues;
        Driver {
            core,
            ports,
            requests,
            messages,
            facts,
            backlog: Vec::new(),
            trouble,
            pipeline: Pipeline::default(),
            last_tick: Instant::now(),
        }
    }

    /// Runs until shutdown; what was stepped until then is committed and released.
    ///
    /// # Errors
    /// When the store can never commit what the core has decided; a restart recovers from what is durable.
    pub async fn run(mut self, shutdown: Shutdown) -> anyhow::Result<()> {
        let mut stopping = Box::pin(shutdown.requested());
        self.internal(Event::Started);
        self.drain(&shutdown).await?;
        self.trouble.over();
        loop {
            for message in std::mem::take(&mut self.backlog) {
                self.message(message);
            }
            self.advance();
            let room = self.pipeline.has_room();
            let wait = if room { self.until_tick() } else { TICK };
            tokio::select! {
                () = &mut stopping => return self.drain(&shutdown).await,
                landed = self.pipeline.landed() => self.land(landed, &shutdown).await?,
                Some(request) = self.requests.recv(), if room => self.request(request),
                Some(message) = self.messages.recv(), if room => self.message(message),
                Some(fact) = self.facts.recv(), if room => self.internal(fact),
                () = tokio::time::sleep(wait) => {}
            }
            self.gather();
            if self.until_tick().is_zero() && self.pipeline.has_room() {
                self.last_tick = Instant::now();
                self.internal(Event::Tick);
                self.expire_events();
            }
            if let Some(pulse) = &self.ports.pulse {
                pulse.beat();
            }
        }
    }

    /// Takes what waits, fairly, up to the bound and to what the pipeline takes.
    fn gather(&mut self) {
        for _ in 0..TURN {
            let mut idle = true;
            if self.pipeline.has_room()
                && let Ok(request) = self.requests.try_recv()
            {
                idle = false;
                self.request(request);
            }
            if self.pipeline.has_room()
                && let Ok(message) = self.messages.try_recv()
            {
                idle = false;
                self.message(message);
            }
            if self.pipeline.has_room()
                && let Ok(fact) = self.facts.try_recv()
            {
                idle = false;
                self.internal(fact);
            }
            if idle {
                return;
            }
        }
    }

    /// Releases what needs no commit and is next, and hands the group after it to the writer.
    fn advance(&mut self) {
        while let Some(group) = self.pipeline.next_quiet() {
            for output in group.outputs {
                self.release(output);
            }
        }
        self.pipeline.hand_over(&self.ports.writer);
    }

    /// Waits until everything that was stepped is durable and released.
    async fn drain(&mut self, shutdown: &Shutdown) -> anyhow::Result<()> {
        self.advance();
        while !self.pipeline.is_empty() {
            let landed = self.pipeline.landed().await;
            self.land(landed, shutdown).await?;
            self.advance();
        }
        Ok(())
    }

    /// Releases a group whose commit has ended; if it failed, once it has succeeded.
    async fn land(&mut self, landed: Landed, shutdown: &Shutdown) -> anyhow::Result<()> {
        let Landed { mut group, batch, result, started } = landed;
        if let Err(error) = result {
            self.hold(&mut group, &batch, error, shutdown).await?;
        }
        self.ports.metrics.commits.observe(started.elapsed().as_secs_f64());
        self.ports.events.publish(group.unpublished);
        for output in group.outputs {
            self.release(output);
        }
        Ok(())
    }

    fn until_tick(&self) -> Duration {
        let regular = TICK.saturating_sub(self.last_tick.elapsed());
        let now = Millis(self.ports.clock.monotonic_millis());
        let due =
            self.core.next_deadline().map_or(TICK, |due| Duration::from_millis(due.0.saturating_sub(now.0)));
        regular.min(due)
    }

    fn now(&self) -> Now {
        Now {
            wall: Timestamp(self.ports.clock.wall_millis()),
            monotonic: Millis(self.ports.clock.monotonic_millis()),
        }
    }

    fn request(&mut self, request: Request) {
        match request {
            Request::Read(question) => {
                let told = question(&self.core, self.now());
                self.pipeline.open().outputs.push(Output::Tell(told));
            }
            Request::Write { event, asker } => {
                let result = match self.core.step(self.now(), *event) {
                    Ok(effects) => Ok(self.take(effects, None)),
                    Err(rejected) => Err(WriteError::Rejected(rejected)),
                };
                let answered = asker(&self.core, result);
                self.pipeline.open().outputs.push(Output::Answer(answered));
            }
        }
    }

    fn message(&mut self, message: Message) {
        let Message { event, node, connection, asked } = message;
        if matches!(*event, Event::BeatReceived { .. }) {
            self.ports.metrics.beats.inc();
        }
        match self.core.step(self.now(), *event) {
            Ok(effects) => {
                self.take(effects, Some(Speaker { node, connection, asked }));
            }
            Err(rejected) => {
                self.ports.metrics.refused(&rejected.code);
                if let Some(asked) = asked {
                    self.answer(true, node, Outgoing::Refusal { asked, to: node.0, rejected });
                }
            }
        }
    }

    /// An event that nobody waits for.
    fn internal(&mut self, event: Event) {
        match self.core.step(self.now(), event) {
            Ok(effects) => {
                self.take(effects, None);
            }
            Err(rejected) => {
                tracing::warn!(code = %rejected.code, %rejected, "the core refused an internal event")
            }
        }
    }

    /// Takes what follows from a step.
    fn take(&mut self, effects: Effects, mut speaker: Option<Speaker>) -> Written {
        let Effects { changes, occurrences, actions } = effects;
        let changed = !(changes.is_empty() && occurrences.is_empty());
        if changed {
            let bytes = changes
                .iter()
                .map(|change| change.key.len() + change.value.as_ref().map_or(0, Vec::len))
                .sum::<usize>()
                .saturating_add(occurrences.len().saturating_mul(EVENT_BYTES));
            let group = self.pipeline.open_for(bytes, changes.len().saturating_add(occurrences.len()));
            // What it said may be repeated before this is durable, and an answer says that it is.
            if let Some(Speaker { node, .. }) = &speaker {
                group.concern(*node);
            }
            for effect::Change { table, key, value } in changes {
                let concern = tables::concern(table, &key);
                let table = store_table(table);
                let change = match value {
                    Some(value) => Change::Put { table, key, value },
                    None => Change::Delete { table, key },
                };
                group.change(change, concern);
            }
            self.ports.events.record(occurrences, &mut group.unpublished);
        }
        let mut written = Written::Done;
        for action in actions {
            let output = match action {
                Action::Reply { connection, node, answer } => {
                    if let Answer::Refused(rejected) = &answer {
                        self.ports.metrics.refused(&rejected.code);
                    }
                    let owed = speaker.as_mut().filter(|speaker| speaker.connection == connection);
                    let overtakes = owed.is_some() && !changed && !tells_news(&answer);
                    let asked = owed.and_then(|speaker| speaker.asked.take());
                    self.answer(overtakes, node, Outgoing::Answer { asked, connection, node, answer });
                    continue;
                }
                Action::Push { connection, node, answer } => {
                    self.answer(false, node, Outgoing::Answer { asked: None, connection, node, answer });
                    continue;
                }
                Action::Chain(command) => Output::Chain(command),
                Action::DropReceipts { before } => Output::Keep(before),
                Action::TaskAccepted { task, created } => {
                    written = Written::Task { id: task, created };
                    continue;
                }
                Action::RaiseFinding(finding) => Output::Raise(finding),
                Action::ClearFinding { code, subject } => Output::Clear { code, subject },
            };
            self.pipeline.open().outputs.push(output);
        }
        written
    }

    /// Lets an answer out at once where it may, else in its turn.
    fn answer(&mut self, overtakes: bool, node: NodeId, outgoing: Outgoing) {
        if overtakes && self.pipeline.may_overtake(&node) {
            self.ports.outlet.send(outgoing);
        } else {
            let group = self.pipeline.open();
            group.concern(node);
            group.outputs.push(Output::Send(outgoing));
        }
    }

    fn release(&mut self, output: Output) {
        match output {
            Output::Send(outgoing) => self.ports.outlet.send(outgoing),
            // Whoever waits for an answer that has no room says hello again.
            Output::Chain(ChainCommand::LookUpNode(node)) => drop(self.ports.questions.try_send(node)),
            // Only at shutdown are receivers gone: then the next start says it all again.
            Output::Chain(order) => drop(self.ports.chain.send(order)),
            Output::Raise(finding) => {
                self.ports.findings.raise(finding);
            }
            Output::Clear { code, subject } => {
                self.ports.findings.clear(code, &subject);
            }
            Output::Keep(from) => drop(self.ports.kept_from.send_replace(from)),
            Output::Answer(answered) => answered(None),
            Output::Tell(told) => told(),
        }
    }
}

/// Whose message a step answers.
struct Speaker {
    node: NodeId,
    connection: ConnectionId,
    asked: Option<PendingReply>,
}

/// Whether an answer tells of more than its node's own standing.
fn tells_news(answer: &Answer) -> bool {
    match answer {
        Answer::Granted(_) => true,
        Answer::Instruction { instruction, invite, receipts } => {
            instruction.desired != Desired::Unchanged || invite.is_some() || !receipts.is_empty()
        }
        Answer::Refused(_) => false,
    }
}
