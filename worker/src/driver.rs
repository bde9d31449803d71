//! The owner loop: one task owns the core. Events come in from the engine, the orchestrator, the chain, the GPUs and the
//! clock; what changes is made durable; then actions are let out. What is done, and in which order, the core decides.

mod actions;
mod boot;
mod commits;
mod conversation;
mod executor;
mod link;
mod session_key;
mod skew;
mod snapshot;

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lode_network::ClientEvent;
use lode_program::{Clock, FindingSet, Pulse};
use lode_protocol::eip712::Domain;
use lode_protocol::ids::{Address, AssignmentId, GpuUuid};
use lode_protocol::units::{Millis, Timestamp};
use lode_store::Writer;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

pub use boot::{Booted, boot};
pub use commits::finding as store_finding;
pub use link::Link;
pub use snapshot::Snapshot;

use commits::Commits;
use conversation::Conversation;
use executor::Executor;

use crate::chain_view::ChainView;
use crate::core::Worker;
use crate::core::effect::{Action, Effects, Ticket};
use crate::core::event::{Description, Event, GpuFault, Heard, Now};
use crate::core::rejected::Rejected;
use crate::core::view::View;
use crate::descriptor::SignedDescriptor;
use crate::engine::Engine;
use crate::gpus::GpuView;
use crate::identity::Identity;
use crate::journal;
use crate::local::LeaveAnswer;
use crate::local::server::LocalRequest;
use crate::logs::LogServer;
use crate::metrics::WorkerMetrics;
use crate::output::{Containers, KeptOutput};
use crate::usage::UsageProbe;

/// The clock is looked at this often even if nothing is due: a suspended host must notice its deadlines.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);

/// What comes in from the worker's other parts.
#[derive(Debug)]
pub struct Inputs {
    /// The chain.
    pub chain: watch::Receiver<ChainView>,
    /// The GPUs.
    pub gpus: watch::Receiver<Arc<GpuView>>,
    /// Their faults, as far as they concern what runs on them.
    pub faults: mpsc::Receiver<GpuFault>,
    /// This node's description.
    pub descriptors: watch::Receiver<Option<Arc<SignedDescriptor>>>,
    /// Wishes from this machine.
    pub local: mpsc::Receiver<LocalRequest>,
}

/// What goes out to the worker's other parts.
#[derive(Clone, Debug)]
pub struct Outputs {
    /// GPUs held by assignments.
    pub holders: watch::Sender<BTreeMap<GpuUuid, AssignmentId>>,
    /// Containers by assignment.
    pub containers: watch::Sender<Containers>,
    /// The orchestrator's key.
    pub orchestrator: watch::Sender<Option<Address>>,
    /// The engine's version.
    pub engine_version: watch::Sender<Option<String>>,
    /// Where the engine keeps its data.
    pub engine_root: watch::Sender<Option<PathBuf>>,
    /// How it all stands.
    pub snapshot: watch::Sender<Arc<Snapshot>>,
}

/// What the driver works with.
#[derive(Debug)]
pub struct Ports {
    /// Who signs.
    pub identity: Identity,
    /// EIP-712 domain of the rewards contract, for receipts.
    pub rewards_domain: Domain,
    /// The engine.
    pub engine: Arc<dyn Engine>,
    /// Address on which tasks' ports are published.
    pub host: IpAddr,
    /// The store.
    pub writer: Writer,
    /// The way to the orchestrator.
    pub link: Link,
    /// Answers requests for output.
    pub logs: LogServer,
    /// Output of what has ended.
    pub kept: KeptOutput,
    /// What the host uses.
    pub usage: UsageProbe,
    /// What is wrong.
    pub findings: FindingSet,
    /// Numbers.
    pub metrics: WorkerMetrics,
    /// Time.
    pub clock: Clock,
}

/// What waits until changes are durable.
#[derive(Debug)]
enum Held {
    Action(Action),
    Stored(Ticket),
}

/// The owner.
#[derive(Debug)]
pub struct Driver {
    worker: Worker,
    /// Events that follow from actions, for the core.
    events: VecDeque<Event>,
    commits: Commits<Held>,
    executor: Executor,
    conversation: Conversation,
    identity: Identity,
    rewards_domain: Domain,
    link: Link,
    /// Where the orchestrator was reached.
    endpoint: Option<String>,
    /// Who waits to hear about a wish to leave.
    wishes: BTreeMap<u64, oneshot::Sender<LeaveAnswer>>,
    last_wish: u64,
    /// The core as it was published last.
    view: View,
    inputs: Inputs,
    outputs: Outputs,
    logs: LogServer,
    usage: UsageProbe,
    findings: FindingSet,
    metrics: WorkerMetrics,
    clock: Clock,
}

impl Driver {
    /// Owns a worker that has started.
    pub fn new(booted: Booted, inputs: Inputs, outputs: Outputs, ports: Ports) -> Self {
        let Booted { worker, effects } = booted;
        let mut driver = Self {
            worker,
            events: VecDeque::new(),
            commits: Commits::new(ports.writer, ports.findings.clone()),
            executor: Executor::new(
                ports.engine,
                ports.kept,
                ports.host,
                outputs.engine_version.clone(),
                outputs.engine_root.clone(),
            ),
            conversation: Conversation::new(ports.identity.clone()),
            identity: ports.identity,
            rewards_domain: ports.rewards_domain,
            link: ports.link,
            endpoint: None,
            wishes: BTreeMap::new(),
            last_wish: 0,
            view: View::default(),
            inputs,
            outputs,
            logs: ports.logs,
            usage: ports.usage,
            findings: ports.findings,
            metrics: ports.metrics,
            clock: ports.clock,
        };
        for effects in effects {
            driver.route(effects);
        }
        driver
    }

    /// Until shutdown. Containers go on without the worker.
    pub async fn run(mut self, pulse: Pulse, shutdown: CancellationToken) {
        self.on_descriptor();
        self.on_gpus();
        self.on_chain();
        loop {
            self.publish();
            pulse.beat();
            let wait = self.wait();
            tokio::select! {
                () = shutdown.cancelled() => return,
                held = self.commits.released() => self.release(held),
                event = self.executor.done() => self.feed(Event::Engine(event)),
                event = self.link.next() => self.on_link(event),
                Ok(()) = self.inputs.chain.changed() => self.on_chain(),
                Ok(()) = self.inputs.gpus.changed() => self.on_gpus(),
                Some(fault) = self.inputs.faults.recv() => {
                    // First that the GPU is not to be used, then that what ran on it has failed.
                    self.on_gpus();
                    self.feed(Event::GpuFailed(fault));
                }
                Ok(()) = self.inputs.descriptors.changed() => self.on_descriptor(),
                Some(request) = self.inputs.local.recv() => self.on_local(request),
                () = tokio::time::sleep(wait) => self.feed(Event::Tick),
            }
        }
    }

    fn now(&self) -> Now {
        now(&self.clock)
    }

    /// Time until something is due.
    fn wait(&self) -> Duration {
        let now = self.clock.monotonic_millis();
        let due = self.worker.next_deadline();
        due.map_or(LONGEST_SLEEP, |due| Duration::from_millis(due.0.saturating_sub(now)))
            .clamp(Duration::from_millis(1), LONGEST_SLEEP)
    }

    /// Has the core take an event, and every event that follows from what it wants done.
    fn feed(&mut self, event: Event) {
        if let Err(rejected) = self.step(event) {
            tracing::error!(code = %rejected.code(), %rejected, "the core refused an event");
        }
        while let Some(event) = self.events.pop_front() {
            if let Err(rejected) = self.step(event) {
                tracing::error!(code = %rejected.code(), %rejected, "the core refused an event");
            }
        }
    }

    fn step(&mut self, event: Event) -> Result<(), Rejected> {
        let effects = self.worker.step(self.now(), event)?;
        self.route(effects);
        Ok(())
    }

    /// Holds what rests on changes until they are durable, and lets the rest out.
    fn route(&mut self, effects: Effects) {
        let Effects { changes, ticket, at_once, actions } = effects;
        let waits = !changes.is_empty() || !(actions.is_empty() || self.commits.is_clean());
        let mut held: Vec<Held> = actions.into_iter().map(Held::Action).collect();
        if waits {
            let stored = (!changes.is_empty()).then_some(Held::Stored(ticket));
            held.extend(stored);
            self.commits.push(journal::batch(&changes), std::mem::take(&mut held));
        }
        for action in at_once {
            self.perform(action);
        }
        self.let_out(held);
    }

    fn release(&mut self, held: Vec<Held>) {
        self.let_out(held);
        if let Some(event) = self.events.pop_front() {
            self.feed(event);
        }
    }

    fn let_out(&mut self, held: Vec<Held>) {
        for held in held {
            match held {
                Held::Action(action) => self.perform(action),
                Held::Stored(ticket) => self.events.push_back(Event::Stored(ticket)),
            }
        }
    }

    fn on_chain(&mut self) {
        let view = self.inputs.chain.borrow_and_update().clone();
        match view.known.filter(|_| view.fresh) {
            Some(facts) => self.feed(Event::ChainSeen(facts)),
            None => self.feed(Event::ChainSilent),
        }
    }

    fn on_gpus(&mut self) {
        let view = self.inputs.gpus.borrow_and_update().clone();
        if view.looked {
            self.feed(Event::GpusSeen(view.statuses.clone()));
        }
    }

    fn on_descriptor(&mut self) {
        let Some(signed) = self.inputs.descriptors.borrow_and_update().clone() else { return };
        self.feed(Event::Described(Description {
            version: signed.descriptor.version(),
            sealed: signed.sealed.clone(),
            specs: signed.specs,
        }));
    }

    fn on_link(&mut self, event: ClientEvent) {
        match event {
            ClientEvent::Connected { transport, endpoint, .. } => {
                tracing::info!(%endpoint, ?transport, "connected to the orchestrator");
                self.endpoint = Some(endpoint.to_string());
                self.feed(Event::Connected);
            }
            ClientEvent::Frame(bytes) => self.on_frame(&bytes),
            ClientEvent::Disconnected { reason } => {
                tracing::info!(code = %reason.code(), %reason, "connection to the orchestrator ended");
                self.endpoint = None;
                self.feed(Event::Disconnected);
            }
            ClientEvent::ConnectFailed { endpoint, error, .. } => {
                let (endpoint, detail) = (endpoint.to_string(), error.to_string());
                self.feed(Event::ConnectFailed { endpoint, detail });
            }
        }
    }

    fn on_frame(&mut self, bytes: &[u8]) {
        let Some(peer) = self.link.peer() else { return };
        match self.conversation.hear(peer, self.now().wall, bytes) {
            Ok(heard) => {
                if matches!(heard, Heard::Refused(_)) {
                    self.metrics.refusals.inc();
                }
                self.findings.clear(skew::CODE, "");
                self.feed(Event::Heard(heard));
            }
            Err(error) => {
                self.metrics.rejected.inc();
                if let Some(finding) = skew::finding(&error) {
                    self.findings.raise(finding);
                }
                tracing::warn!(code = %error.code(), %error, "a message from the orchestrator's address was rejected");
            }
        }
    }

    fn on_local(&mut self, request: LocalRequest) {
        match request {
            LocalRequest::Leave(reply) => self.on_leave_wish(reply),
            // Whoever asked may have gone away meanwhile.
            LocalRequest::Receipts(reply) => drop(reply.send(self.worker.receipts().cloned().collect())),
        }
    }

    fn on_leave_wish(&mut self, reply: oneshot::Sender<LeaveAnswer>) {
        self.last_wish += 1;
        self.wishes.insert(self.last_wish, reply);
        let answer = match self.step(Event::LeaveWanted(self.last_wish)) {
            Ok(()) => {
                if let Some(event) = self.events.pop_front() {
                    self.feed(event);
                }
                return;
            }
            Err(Rejected::NotMember) => LeaveAnswer::NotMember,
            Err(Rejected::ChainUnknown | Rejected::NotStarted) => LeaveAnswer::Unknown,
        };
        self.answer_wish(self.last_wish, answer);
    }

    fn answer_wish(&mut self, wish: u64, answer: LeaveAnswer) {
        if let Some(reply) = self.wishes.remove(&wish) {
            // Whoever asked may have gone away meanwhile.
            drop(reply.send(answer));
        }
    }
}

fn now(clock: &Clock) -> Now {
    Now { wall: Timestamp(clock.wall_millis()), monotonic: Millis(clock.monotonic_millis()) }
}
