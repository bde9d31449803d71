//! The one owner of the core: takes events, commits what they change, then lets their effects out, in order.
//!
//! What waits in the queues is stepped as a group and committed as one transaction, so that a burst costs one fsync.
//! Nothing leaves before its commit: no reply, no push, no order to the chain, no entry of the event log. A step that
//! changes nothing durable (the usual beat) costs no commit. While the store cannot commit, [`crate::hold`] keeps the
//! group back and nothing new is stepped: the core is never more than one group ahead of the store.
//!
//! Three queues, all bounded. People's requests and workers' messages are always taken; facts (chain, discovery) wait
//! while the store is in trouble, so that none is lost.

mod handle;
mod tables;

use std::time::{Duration, Instant};

use lode_network::ReplyHandle;
use lode_program::clock::Clock;
use lode_program::finding::{Finding, FindingSet};
use lode_program::{Pulse, Shutdown};
use lode_protocol::error_code::ErrorCode;
use lode_protocol::hash::Digest;
use lode_protocol::ids::Epoch;
use lode_protocol::units::{Millis, Timestamp};
use lode_store::{Batch, Change, Writer};
use tokio::sync::{mpsc, oneshot, watch};

use crate::core::Core;
use crate::core::effect::{self, Action, Effects};
use crate::core::event::{ConnectionId, Event, Now};
use crate::event_log::{EventWriter, Unpublished};
use crate::hold::StoreTrouble;
use crate::metrics::Metrics;
pub use handle::{ChainOrder, Handle, Message, Outgoing, WriteError, Written};
pub(crate) use handle::{Question, Request};
pub(crate) use tables::store_table;

/// People's requests that wait: what arrives during a few slow commits.
const REQUESTS: usize = 1_024;
/// Workers' messages that wait: one burst of a whole fleet is taken in; beyond it their streams are not read.
const MESSAGES: usize = 4_096;
/// Facts that wait; their senders wait then.
const FACTS: usize = 1_024;
/// Events that become one transaction at most: bounds how long the first of them waits for the others.
const GROUP: usize = 512;
/// The core hears of time at least this often.
const TICK: Duration = Duration::from_secs(1);

/// Where effects go and where time comes from.
#[derive(Debug)]
pub struct Surroundings {
    /// Time.
    pub clock: Clock,
    /// The store.
    pub writer: Writer,
    /// The event log.
    pub events: EventWriter,
    /// Answers for workers. The receiver never waits for the driver.
    pub outgoing: mpsc::Sender<Outgoing>,
    /// The first epoch whose receipts are to be kept.
    pub kept_from: watch::Sender<Epoch>,
    /// Orders for the chain. Unbounded, because its receiver sends facts to the driver and neither may wait for the
    /// other; the core makes at most a few orders per node.
    pub chain: mpsc::UnboundedSender<ChainOrder>,
    /// What holds now.
    pub findings: FindingSet,
    /// Counters.
    pub metrics: Metrics,
    /// Shows that the loop turns.
    pub pulse: Option<Pulse>,
}

/// Steps that are committed together.
#[derive(Default)]
pub(crate) struct Group {
    pub(crate) batch: Batch,
    unpublished: Unpublished,
    pub(crate) outputs: Vec<Output>,
    reads: Vec<Question>,
}

/// What happens after the commit.
pub(crate) enum Output {
    Send(Outgoing),
    Chain(ChainOrder),
    Raise(Finding),
    Clear { code: ErrorCode, subject: String },
    Keep(Epoch),
    Answer { answer: oneshot::Sender<Result<Written, WriteError>>, result: Result<Written, WriteError> },
}

/// Owns the core.
pub struct Driver {
    pub(crate) core: Core,
    pub(crate) around: Surroundings,
    pub(crate) requests: mpsc::Receiver<Request>,
    pub(crate) messages: mpsc::Receiver<Message>,
    pub(crate) facts: mpsc::Receiver<Event>,
    /// Ends of streams that came while the store was in trouble.
    pub(crate) backlog: Vec<Message>,
    pub(crate) trouble: StoreTrouble,
    last_tick: Instant,
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").field("core", &"…").finish_non_exhaustive()
    }
}

impl Driver {
    /// A driver of a core that was made or recovered and has seen no event yet.
    pub fn new(core: Core, around: Surroundings, trouble: StoreTrouble) -> (Handle, Driver) {
        let (requests_sender, requests) = mpsc::channel(REQUESTS);
        let (messages_sender, messages) = mpsc::channel(MESSAGES);
        let (facts_sender, facts) = mpsc::channel(FACTS);
        let handle = Handle { requests: requests_sender, messages: messages_sender, facts: facts_sender };
        let driver = Driver {
            core,
            around,
            requests,
            messages,
            facts,
            backlog: Vec::new(),
            trouble,
            last_tick: Instant::now(),
        };
        (handle, driver)
    }

    /// Runs until shutdown.
    ///
    /// # Errors
    /// When the store can never commit what the core has decided; a restart recovers from what is durable.
    pub async fn run(mut self, shutdown: Shutdown) -> anyhow::Result<()> {
        let mut stopping = Box::pin(shutdown.requested());
        let mut group = Group::default();
        self.internal(&mut group, Event::Started);
        self.settle(group, &shutdown).await?;
        self.trouble.over();
        loop {
            let mut group = Group::default();
            for message in std::mem::take(&mut self.backlog) {
                self.message(&mut group, message);
            }
            // What was set aside is work already: it must not wait for more.
            let wait = if group.outputs.is_empty() && group.batch.is_empty() {
                self.until_tick()
            } else {
                Duration::ZERO
            };
            tokio::select! {
                () = &mut stopping => return Ok(()),
                Some(request) = self.requests.recv() => self.request(&mut group, request),
                Some(message) = self.messages.recv() => self.message(&mut group, message),
                Some(fact) = self.facts.recv() => self.internal(&mut group, fact),
                () = tokio::time::sleep(wait) => {}
            }
            self.gather(&mut group);
            if self.until_tick().is_zero() {
                self.last_tick = Instant::now();
                self.internal(&mut group, Event::Tick);
            }
            if let Some(pulse) = &self.around.pulse {
                pulse.beat();
            }
            self.settle(group, &shutdown).await?;
        }
    }

    /// Takes what waits, fairly, up to the bound.
    fn gather(&mut self, group: &mut Group) {
        for _ in 0..GROUP {
            let mut idle = true;
            if let Ok(request) = self.requests.try_recv() {
                idle = false;
                self.request(group, request);
            }
            if let Ok(message) = self.messages.try_recv() {
                idle = false;
                self.message(group, message);
            }
            if let Ok(fact) = self.facts.try_recv() {
                idle = false;
                self.internal(group, fact);
            }
            if idle {
                return;
            }
        }
    }

    fn until_tick(&self) -> Duration {
        let regular = TICK.saturating_sub(self.last_tick.elapsed());
        let now = Millis(self.around.clock.monotonic_millis());
        let due =
            self.core.next_deadline().map_or(TICK, |due| Duration::from_millis(due.0.saturating_sub(now.0)));
        regular.min(due)
    }

    pub(crate) fn now(&self) -> Now {
        Now {
            wall: Timestamp(self.around.clock.wall_millis()),
            monotonic: Millis(self.around.clock.monotonic_millis()),
        }
    }

    fn request(&mut self, group: &mut Group, request: Request) {
        match request {
            Request::Read(question) => group.reads.push(question),
            Request::Terms(terms) => self.core.adopt_terms(terms),
            Request::Write { event, answer } => {
                let result = match self.core.step(self.now(), *event) {
                    Ok(effects) => Ok(self.take(group, effects, None)),
                    Err(rejected) => Err(WriteError::Rejected(rejected)),
                };
                group.outputs.push(Output::Answer { answer, result });
            }
        }
    }

    fn message(&mut self, group: &mut Group, message: Message) {
        let Message { event, node, connection, request, reply } = message;
        if matches!(event, Event::BeatReceived { .. }) {
            self.around.metrics.beats.inc();
        }
        match self.core.step(self.now(), event) {
            Ok(effects) => {
                self.take(group, effects, Some(Asked { connection, request, reply }));
            }
            Err(rejected) => {
                self.around.metrics.refused(&rejected.code);
                if let Some(reply) = reply {
                    let refusal = Outgoing::Refusal { reply, to: Some(node.0), request, rejected };
                    group.outputs.push(Output::Send(refusal));
                }
            }
        }
    }

    /// An event that nobody waits for.
    pub(crate) fn internal(&mut self, group: &mut Group, event: Event) {
        match self.core.step(self.now(), event) {
            Ok(effects) => {
                self.take(group, effects, None);
            }
            Err(rejected) => {
                tracing::warn!(code = %rejected.code, %rejected, "the core refused an internal event")
            }
        }
    }

    /// Puts what follows from a step into the group.
    fn take(&mut self, group: &mut Group, effects: Effects, mut asked: Option<Asked>) -> Written {
        let Effects { changes, occurrences, actions } = effects;
        for effect::Change { table, key, value } in changes {
            let table = store_table(table);
            group.batch.push(match value {
                Some(value) => Change::Put { table, key, value },
                None => Change::Delete { table, key },
            });
        }
        self.around.events.record(&occurrences, &mut group.batch, &mut group.unpublished);
        let mut written = Written::Done;
        for action in actions {
            group.outputs.push(match action {
                Action::Reply { connection, node, answer } => {
                    let asked = asked.take_if(|asked| asked.connection == connection);
                    let (reply, request) =
                        asked.map_or((None, Digest::default()), |asked| (asked.reply, asked.request));
                    Output::Send(Outgoing::Answer { reply, connection, node, request, answer })
                }
                Action::Push { connection, node, answer } => {
                    let request = Digest::default();
                    Output::Send(Outgoing::Answer { reply: None, connection, node, request, answer })
                }
                Action::FollowNode(node) => Output::Chain(ChainOrder::Follow(node)),
                Action::UnfollowNode(node) => Output::Chain(ChainOrder::Unfollow(node)),
                Action::SubmitJoin { invite, consent } => Output::Chain(ChainOrder::Join { invite, consent }),
                Action::SubmitEject { node } => Output::Chain(ChainOrder::Eject(node)),
                Action::SubmitLeave { node, leave } => Output::Chain(ChainOrder::Leave { node, leave }),
                Action::SubmitRoot { epoch, root, total, depth, proven_epoch } => {
                    Output::Chain(ChainOrder::Root { epoch, root, total, depth, proven_epoch })
                }
                Action::FollowRoot(epoch) => Output::Chain(ChainOrder::FollowRoot(epoch)),
                Action::DropReceipts { before } => Output::Keep(before),
                Action::TaskAccepted { task, created } => {
                    written = Written::Task { id: task, created };
                    continue;
                }
                Action::RaiseFinding(finding) => Output::Raise(finding),
                Action::ClearFinding { code, subject } => Output::Clear { code, subject },
            });
        }
        written
    }

    /// Commits a group, then releases it.
    async fn settle(&mut self, mut group: Group, shutdown: &Shutdown) -> anyhow::Result<()> {
        if !group.batch.is_empty() {
            let started = Instant::now();
            if let Err(error) = self.around.writer.commit(group.batch.clone()).await {
                self.hold(&mut group, error, shutdown).await?;
            }
            self.around.metrics.commits.observe(started.elapsed().as_secs_f64());
        }
        self.around.events.publish(group.unpublished);
        for output in group.outputs {
            self.release(output).await;
        }
        let now = self.now();
        for question in group.reads {
            question(&self.core, now);
        }
        Ok(())
    }

    async fn release(&mut self, output: Output) {
        match output {
            // Only at shutdown are receivers gone: then the next start says it all again.
            Output::Send(outgoing) => drop(self.around.outgoing.send(outgoing).await),
            Output::Chain(order) => drop(self.around.chain.send(order)),
            Output::Raise(finding) => {
                self.around.findings.raise(finding);
            }
            Output::Clear { code, subject } => {
                self.around.findings.clear(code, &subject);
            }
            Output::Keep(from) => drop(self.around.kept_from.send_replace(from)),
            // Whoever asked may have gone away meanwhile.
            Output::Answer { answer, result } => drop(answer.send(result)),
        }
    }
}

/// Whose answer a step's reply is.
struct Asked {
    connection: ConnectionId,
    request: Digest,
    reply: Option<ReplyHandle>,
}
