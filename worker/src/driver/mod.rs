//! The owner loop: one task owns both cores. Events come in from the engine, the orchestrator, the chain, the GPUs and
//! the clock; changes are made durable; then effects go out.

mod commits;
mod consent;
mod conversation;
mod engine_side;
mod executor;
mod link;
mod membership;
mod monitor;
mod receipts;
mod session_side;
mod snapshot;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use lode_program::{Clock, FindingSet, Pulse, TaskGroup};
use lode_protocol::assignment::AssignmentReport;
use lode_protocol::eip712::Domain;
use lode_protocol::hardware::GpuState;
use lode_protocol::ids::{Address, AssignmentId, BootCounter, Epoch, GpuUuid};
use lode_protocol::join::SignedInvite;
use lode_protocol::session::{Consent, Leave, Membership};
use lode_protocol::units::{Millis, Timestamp};
use lode_protocol::usage::ReceiptVerdict;
use lode_store::Writer;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

pub use commits::finding as store_finding;
pub use link::Link;
pub use snapshot::Snapshot;

use commits::Commits;
use conversation::Conversation;
use executor::Executor;
use monitor::{Monitor, Shared, Sight};

use crate::chain_view::{ChainView, Standing};
use crate::core::assignments::Assignments;
use crate::core::effect::Effect;
use crate::core::event::{self, Now};
use crate::core::receipts::Keeper;
use crate::core::session::{self, Session};
use crate::descriptor::SignedDescriptor;
use crate::engine::Engine;
use crate::gpus::GpuView;
use crate::identity::Identity;
use crate::journal::Memory;
use crate::local::LeaveAnswer;
use crate::local::server::LocalRequest;
use crate::logs::{Containers, LogServer};
use crate::metrics::WorkerMetrics;
use crate::output::KeptOutput;
use crate::usage::UsageProbe;

/// The clock is looked at this often even if nothing is due: a suspended host must notice its deadlines.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);

/// What the driver needs to know of the configuration.
#[derive(Clone, Debug)]
pub struct DriverConfig {
    /// Host ports lent to tasks.
    pub ports: RangeInclusive<u16>,
    /// Address on which they are published.
    pub host: IpAddr,
    /// How often containers are listed.
    pub resync_interval: Duration,
    /// Fresh entropy of this boot.
    pub seed: [u8; 32],
    /// EIP-712 domain of the rewards contract, for receipts.
    pub rewards_domain: Domain,
}

/// What comes in from the worker's other parts.
#[derive(Debug)]
pub struct Inputs {
    /// The chain.
    pub chain: watch::Receiver<ChainView>,
    /// The GPUs.
    pub gpus: watch::Receiver<Arc<GpuView>>,
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
    /// How it all stands.
    pub snapshot: watch::Sender<Arc<Snapshot>>,
}

/// What the driver works with.
#[derive(Debug)]
pub struct Tools {
    /// The engine.
    pub engine: Arc<dyn Engine>,
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
    /// Background tasks.
    pub tasks: TaskGroup,
    /// Time.
    pub clock: Clock,
}

/// Effects that wait until changes are durable.
#[derive(Debug)]
enum Held {
    Engine(Effect),
    Session(Vec<session::Effect>),
    SendLeave(oneshot::Sender<LeaveAnswer>),
    Receipt(Epoch, Address, ReceiptVerdict),
}

/// The owner.
#[derive(Debug)]
pub struct Driver {
    identity: Identity,
    assignments: Assignments,
    session: Session,
    receipts: Keeper,
    rewards_domain: Domain,
    commits: Commits<Held>,
    /// Steps of the session that wait for a commit.
    session_held: usize,
    executor: Executor,
    engine: Arc<dyn Engine>,
    resync_interval: Duration,
    shared: Arc<Shared>,
    allowed: watch::Sender<bool>,
    engine_answers: Option<bool>,
    conversation: Conversation,
    link: Link,
    endpoint: Option<String>,
    answered_at: Option<Timestamp>,
    membership: Option<Membership>,
    invite: Option<SignedInvite>,
    consent: Option<Consent>,
    leave: Option<Leave>,
    leave_due: Option<Millis>,
    left: bool,
    /// Since when the chain says that the membership has ended.
    gone_since: Option<Millis>,
    was_member: bool,
    gpu_health: Option<Vec<(GpuUuid, GpuState)>>,
    /// Reports were left out of a beat because they were not durable yet.
    owed_reports: bool,
    inputs: Inputs,
    outputs: Outputs,
    logs: LogServer,
    usage: UsageProbe,
    findings: FindingSet,
    metrics: WorkerMetrics,
    tasks: TaskGroup,
    clock: Clock,
}

impl Driver {
    /// From what was remembered. Nothing is done yet.
    pub fn new(
        identity: Identity,
        boot: BootCounter,
        config: DriverConfig,
        memory: Memory,
        (inputs, outputs): (Inputs, Outputs),
        tools: Tools,
    ) -> Self {
        let joined = memory.chain.as_ref().is_some_and(|known| known.membership == Standing::Member);
        let (allowed, _) = watch::channel(joined || !memory.entries.is_empty());
        Self {
            assignments: Assignments::recover(memory.entries, memory.generation, config.ports),
            session: Session::new(boot, config.seed, memory.epoch),
            receipts: Keeper::recover(memory.records, memory.receipts),
            rewards_domain: config.rewards_domain,
            commits: Commits::new(tools.writer, tools.findings.clone()),
            session_held: 0,
            executor: Executor::new(Arc::clone(&tools.engine), tools.kept, config.host),
            engine: tools.engine,
            resync_interval: config.resync_interval,
            shared: Arc::default(),
            allowed,
            engine_answers: None,
            conversation: Conversation::new(identity.clone(), boot),
            identity,
            link: tools.link,
            endpoint: None,
            answered_at: None,
            membership: None,
            invite: None,
            consent: None,
            leave_due: memory.leave.as_ref().map(|_| Millis(0)),
            leave: memory.leave,
            left: false,
            gone_since: None,
            was_member: joined,
            gpu_health: None,
            owed_reports: false,
            inputs,
            outputs,
            logs: tools.logs,
            usage: tools.usage,
            findings: tools.findings,
            metrics: tools.metrics,
            tasks: tools.tasks,
            clock: tools.clock,
        }
    }

    /// Until shutdown. Containers go on without the worker.
    pub async fn run(mut self, pulse: Pulse, shutdown: CancellationToken) {
        let (sender, mut sights) = mpsc::channel(4);
        let monitor = Monitor {
            engine: Arc::clone(&self.engine),
            interval: self.resync_interval,
            shared: Arc::clone(&self.shared),
            sights: sender,
            version: self.outputs.engine_version.clone(),
        };
        self.tasks.critical("engine-monitor", monitor.run(self.allowed.subscribe(), shutdown.clone()));
        self.on_gpus();
        self.on_chain();
        loop {
            self.publish();
            pulse.beat();
            let wait = self.wait();
            tokio::select! {
                () = shutdown.cancelled() => return,
                held = self.commits.released() => self.release(held),
                done = self.executor.done() => self.on_done(done),
                Some(sight) = sights.recv() => self.on_sight(sight),
                event = self.link.next() => self.on_link(event),
                Ok(()) = self.inputs.chain.changed() => self.on_chain(),
                Ok(()) = self.inputs.gpus.changed() => self.on_gpus(),
                Ok(()) = self.inputs.descriptors.changed() => self.on_descriptor(),
                Some(request) = self.inputs.local.recv() => self.on_local(request),
                () = tokio::time::sleep(wait) => {}
            }
            self.on_time();
        }
    }

    fn now(&self) -> Now {
        Now { wall: Timestamp(self.clock.wall_millis()), monotonic: Millis(self.clock.monotonic_millis()) }
    }

    /// Time until something is due.
    fn wait(&self) -> Duration {
        let now = Millis(self.clock.monotonic_millis());
        [self.assignments.next_deadline(), self.session.next_deadline(), self.leave_due]
            .into_iter()
            .flatten()
            .map(|due| Duration::from_millis(due.0.saturating_sub(now.0)))
            .min()
            .unwrap_or(LONGEST_SLEEP)
            .clamp(Duration::from_millis(1), LONGEST_SLEEP)
    }

    fn on_time(&mut self) {
        let now = Millis(self.clock.monotonic_millis());
        let due = |deadline: Option<Millis>| deadline.is_some_and(|deadline| deadline <= now);
        if due(self.assignments.next_deadline()) {
            self.step_assignments(event::Event::Tick);
        }
        if due(self.session.next_deadline()) {
            self.step_session(session::Event::Tick);
        }
        if due(self.leave_due) {
            self.send_leave();
        }
        self.judge_departure(now);
    }

    /// Lets effects out.
    fn release(&mut self, held: Vec<Held>) {
        for effect in held {
            match effect {
                Held::Engine(Effect::Report) => self.step_session(session::Event::News),
                Held::Engine(effect) => self.executor.take(effect),
                Held::Session(effects) => {
                    self.session_held = self.session_held.saturating_sub(1);
                    self.release_session(effects);
                }
                Held::SendLeave(reply) => self.leave_is_durable(reply),
                Held::Receipt(epoch, payee, verdict) => self.receipt_is_durable(epoch, payee, verdict),
            }
        }
        if self.commits.is_clean() && std::mem::take(&mut self.owed_reports) {
            self.step_session(session::Event::News);
        }
    }

    fn on_descriptor(&mut self) {
        self.inputs.descriptors.mark_unchanged();
        self.follow_orchestrator();
        self.step_session(session::Event::News);
    }

    /// Reports for a beat with their numbers. What is not durable yet is not said, except where everything is asked for.
    fn reports(&mut self, complete: bool) -> Vec<(u64, AssignmentReport)> {
        if complete {
            return self.assignments.all_reports();
        }
        if !self.commits.is_clean() {
            self.owed_reports = true;
            return Vec::new();
        }
        self.assignments.news()
    }
}
