//! The model.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use lode_chain_types::MembershipState;
use lode_protocol::assignment::{AssignmentReport, AssignmentState, Reason};
use lode_protocol::envelope::{decode, encode};
use lode_protocol::hardware::{GpuState, GpuStatus};
use lode_protocol::hash::{Digest, keccak256};
use lode_protocol::ids::{
    Address, AssignmentId, BootCounter, ChainId, Generation, GpuUuid, Incarnation, NodeId, PoolId,
    ProviderId, ReplicaId, Sequence, SessionId, TaskId, Term,
};
use lode_protocol::join::{SignedInvite, pools_domain};
use lode_protocol::keys::SigningKey;
use lode_protocol::session::{
    AssignmentSpec, Channel, Desired, Granted, Heartbeat, Instruction, LeaseTiming, Leave, Membership,
};
use lode_protocol::settlement::rewards_domain;
use lode_protocol::task::TaskSpec;
use lode_protocol::units::{Millis, Timestamp};
use lode_protocol::usage::{MeterReading, OfferedReceipt, ReceiptVerdict};

use crate::Worker;
use crate::chain::ChainFacts;
use crate::config::Config;
use crate::effect::{Action, Command, Effects, Message, Ticket};
use crate::event::{
    Attempt, ContainerId, Description, DiskSpace, Ending, EngineEvent, EngineFailure, EngineRun, Event, Exit,
    Heard, MemoryLimits, Now, Observed, ObservedState, Origin, PulledImage, Sent, SentMessage, Statement,
};
use crate::images::ImageWatermarks;
use crate::journal::{Change, Entry, Memory, Table};
use crate::view::{EngineState, SessionState};

pub(crate) const TIMING: LeaseTiming = LeaseTiming {
    interval: Millis::seconds(10),
    suspect_after: Millis::seconds(30),
    lost_after: Millis::seconds(60),
};

pub(crate) fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32]).unwrap()
}

pub(crate) fn config() -> Config {
    Config {
        pool: PoolId(3),
        node: NodeId(key(1).address()),
        pools_domain: pools_domain(ChainId(1), Address([9; 20])),
        rewards_domain: rewards_domain(ChainId(1), Address([8; 20])),
        agent_version: "test".to_owned(),
        ports: 30_000..=30_003,
        resync_interval: Millis::seconds(10),
        images: Some(ImageWatermarks { above: 85, until: 70 }),
        seed: [7; 32],
    }
}

pub(crate) fn facts(membership: MembershipState) -> ChainFacts {
    ChainFacts {
        orchestrator: key(2).address(),
        endpoints: "somewhere".to_owned(),
        requirements: Digest([5; 32]),
        membership,
        join_counter: 1,
        provider: Some(ProviderId(Address([6; 20]))),
        paid: None,
    }
}

pub(crate) fn gpu(number: u8) -> GpuUuid {
    format!("GPU-{number}{number}").parse().unwrap()
}

pub(crate) fn health(number: u8, state: GpuState) -> GpuStatus {
    GpuStatus {
        uuid: gpu(number),
        state,
        reason: None,
        temperature: None,
        power: None,
        utilization: None,
        memory_used: None,
    }
}

pub(crate) fn healthy(numbers: &[u8]) -> Event {
    Event::GpusSeen(numbers.iter().map(|number| health(*number, GpuState::Healthy)).collect())
}

pub(crate) fn assignment(task: u128, incarnation: u32) -> AssignmentId {
    AssignmentId {
        replica: ReplicaId { task: TaskId(uuid::Uuid::from_u128(task)), replica: 0 },
        incarnation: Incarnation(incarnation),
    }
}

pub(crate) fn order(id: AssignmentId, gpus: &[u8], extra: &str) -> AssignmentSpec {
    let text = format!("name = \"t\"\nimage = \"i:1\"\n{extra}");
    let text = if extra.contains("kind") { text } else { format!("kind = \"batch\"\n{text}") };
    let mut spec = TaskSpec::from_toml(&text).unwrap();
    spec.resources.gpus = u32::try_from(gpus.len()).unwrap();
    AssignmentSpec {
        id,
        spec: spec.validate().unwrap(),
        gpus: gpus.iter().map(|n| gpu(*n)).collect(),
        pinned_image: None,
    }
}

/// The orchestrator: answers at once unless it is mute.
#[derive(Debug)]
pub(crate) struct Orchestrator {
    pub(crate) mute: bool,
    pub(crate) term: Term,
    pub(crate) generation: u64,
    pub(crate) orders: Vec<AssignmentSpec>,
    pub(crate) membership: Membership,
    pub(crate) invite: Option<SignedInvite>,
    pub(crate) meter: Option<MeterReading>,
    pub(crate) offers: Vec<OfferedReceipt>,
    pub(crate) session: u8,
    pub(crate) pushes: u64,
    pub(crate) hellos: Vec<BootCounter>,
    pub(crate) beats: Vec<Heartbeat>,
    pub(crate) leaves: Vec<Leave>,
    /// Reports that were acknowledged.
    pub(crate) stored: BTreeMap<AssignmentId, AssignmentReport>,
}

impl Orchestrator {
    pub(crate) fn session_id(&self) -> SessionId {
        SessionId([self.session; 16])
    }

    pub(crate) fn instruction(&self, channel: Channel) -> Instruction {
        let desired = match self.generation {
            0 => Desired::Unchanged,
            generation => Desired::Full { generation: Generation(generation), orders: self.orders.clone() },
        };
        Instruction {
            session: self.session_id(),
            epoch: self.term,
            channel,
            terms: TIMING,
            desired,
            membership: self.membership.clone(),
            invite: self.invite.clone(),
            log_requests: Vec::new(),
            meter: self.meter,
            receipts: (!self.offers.is_empty()).then(|| self.offers.clone()),
        }
    }
}

pub(crate) struct World {
    pub(crate) core: Worker,
    pub(crate) now: Millis,
    /// What is durable.
    pub(crate) rows: BTreeMap<(Table, Vec<u8>), Vec<u8>>,
    pub(crate) disk_full: bool,
    waiting: VecDeque<(Vec<Change>, Ticket, Vec<Action>)>,
    queue: VecDeque<Event>,
    /// Effects until the process is killed.
    pub(crate) fuse: Option<u32>,
    pub(crate) connected: bool,
    pub(crate) orchestrator: Orchestrator,
    pub(crate) chain: ChainFacts,
    pub(crate) containers: BTreeMap<ContainerId, (AssignmentId, ObservedState)>,
    next_container: u32,
    /// The engine's life.
    pub(crate) run: EngineRun,
    /// Whether somebody stopped what ends next by hand.
    pub(crate) by_hand: Option<String>,
    pub(crate) down: bool,
    /// Containers that are to be stopped as soon as the engine is back: the shell tries for ever.
    unstopped: Vec<ContainerId>,
    pub(crate) stops: u32,
    /// Time that the last one to be stopped was given.
    pub(crate) grace: Option<Millis>,
    pub(crate) starts: u32,
    pub(crate) scans: u32,
    pub(crate) resends: u32,
    pub(crate) reconnects: u32,
    pub(crate) start_failure: Option<EngineFailure>,
    pub(crate) pull_failure: Option<EngineFailure>,
    pub(crate) create_failure: Option<EngineFailure>,
    pub(crate) stop_failure: Option<EngineFailure>,
    pub(crate) remove_failure: Option<EngineFailure>,
    /// Assignments whose output was kept before their container went.
    pub(crate) kept: BTreeSet<AssignmentId>,
    /// What the engine says an image is, and what it was asked for.
    pub(crate) image: String,
    pub(crate) pulls: Vec<String>,
    /// What of it the engine had.
    pub(crate) origin: Origin,
    pub(crate) space: Option<DiskSpace>,
    pub(crate) removed_images: Vec<String>,
    pub(crate) findings: BTreeSet<String>,
    pub(crate) noted: Vec<(u64, bool)>,
}

impl World {
    /// A member in an open session, with four GPUs.
    pub(crate) fn new() -> Self {
        Self::start(MembershipState::Member, Membership::Member)
    }

    pub(crate) fn start(chain: MembershipState, membership: Membership) -> Self {
        let mut world = World {
            core: Worker::new(config()),
            now: Millis(0),
            rows: BTreeMap::new(),
            disk_full: false,
            waiting: VecDeque::new(),
            queue: VecDeque::new(),
            fuse: None,
            connected: true,
            orchestrator: Orchestrator {
                mute: false,
                term: Term(1),
                generation: 0,
                orders: Vec::new(),
                membership,
                invite: None,
                meter: None,
                offers: Vec::new(),
                session: 0,
                pushes: 0,
                hellos: Vec::new(),
                beats: Vec::new(),
                leaves: Vec::new(),
                stored: BTreeMap::new(),
            },
            chain: facts(chain),
            containers: BTreeMap::new(),
            next_container: 0,
            run: EngineRun { boot: "boot 0".to_owned(), run: "run 0".to_owned() },
            by_hand: None,
            down: false,
            unstopped: Vec::new(),
            stops: 0,
            grace: None,
            starts: 0,
            scans: 0,
            resends: 0,
            reconnects: 0,
            start_failure: None,
            pull_failure: None,
            create_failure: None,
            stop_failure: None,
            remove_failure: None,
            kept: BTreeSet::new(),
            image: "sha256:1".to_owned(),
            pulls: Vec::new(),
            origin: Origin::Present,
            space: None,
            removed_images: Vec::new(),
            findings: BTreeSet::new(),
            noted: Vec::new(),
        };
        world.boot();
        world
    }

    fn boot(&mut self) {
        self.take(Event::Started);
        self.take(Event::ChainSeen(self.chain.clone()));
        let version = (self.core.boot(), 1);
        self.take(Event::Described(Description { version, sealed: vec![1], specs: Digest([4; 32]) }));
        self.take(healthy(&[0, 1, 2, 3]));
    }

    pub(crate) fn now(&self) -> Now {
        Now { wall: Timestamp(1_000_000 + self.now.0), monotonic: self.now }
    }

    /// An event, and everything that follows from it.
    pub(crate) fn take(&mut self, event: Event) {
        self.queue.push_back(event);
        while let Some(event) = self.queue.pop_front() {
            let effects = self.core.step(self.now(), event).expect("nothing here is refused");
            self.route(effects);
            if self.fuse == Some(0) {
                self.restart_worker();
            }
        }
        self.check();
    }

    /// One more effect; false once the process is dead.
    fn lives(&mut self) -> bool {
        match &mut self.fuse {
            None => true,
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                *left > 0
            }
        }
    }

    fn route(&mut self, effects: Effects) {
        let Effects { changes, ticket, at_once, actions } = effects;
        self.waiting.push_back((changes, ticket, actions));
        for action in at_once {
            assert_rests_on_nothing(&action);
            if self.lives() {
                self.perform(action);
            }
        }
        self.write();
    }

    /// Makes durable what waits, as far as there is room on the disk.
    pub(crate) fn write(&mut self) {
        while let Some((changes, ..)) = self.waiting.front() {
            if self.disk_full && !changes.is_empty() || !self.lives() {
                return;
            }
            let Some((changes, ticket, actions)) = self.waiting.pop_front() else { return };
            let stored = !changes.is_empty();
            for Change { table, key, value } in changes {
                match value {
                    Some(value) => self.rows.insert((table, key), value),
                    None => self.rows.remove(&(table, key)),
                };
            }
            for action in actions {
                if self.lives() {
                    self.perform(action);
                }
            }
            if stored {
                self.queue.push_back(Event::Stored(ticket));
            }
        }
    }

    pub(crate) fn entry(&self, id: &AssignmentId) -> Option<Entry> {
        let row = self.rows.get(&(Table::Assignments, id.to_string().into_bytes()))?;
        Some(decode(row).unwrap())
    }

    pub(crate) fn journal(&self) -> Vec<Entry> {
        let rows = self.rows.iter().filter(|((table, _), _)| *table == Table::Assignments);
        rows.map(|(_, row)| decode(row).unwrap()).collect()
    }

    pub(crate) fn memory(&self) -> Memory {
        let mut memory = Memory::default();
        for ((table, key), value) in &self.rows {
            memory.read(*table, key, value);
        }
        assert!(memory.unreadable.is_empty(), "{:?}", memory.unreadable);
        memory
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Engine(command) => self.engine(command),
            Action::Send(message) => self.send(message),
            Action::Resend => self.resends += 1,
            Action::Reconnect => {
                self.reconnects += 1;
                self.queue.push_back(Event::Disconnected);
                if self.connected {
                    self.queue.push_back(Event::Connected);
                }
            }
            Action::Follow { .. } => {
                if self.connected {
                    self.queue.push_back(Event::Connected);
                }
            }
            Action::Sign(statement) => {
                let digest = match &statement {
                    Statement::Consent(invite) => invite.consent_digest(&config().pools_domain),
                    Statement::Leave(leave) => leave.digest(&config().pools_domain),
                    Statement::Receipt(receipt) => receipt.digest(&config().rewards_domain),
                };
                self.queue.push_back(Event::Signed(statement, key(1).sign_recoverable(&digest)));
            }
            Action::PostLogs(_) => {}
            Action::Raise(finding) => {
                self.findings.insert(finding.code.as_str().to_owned());
            }
            Action::Clear(code) => {
                self.findings.remove(code.as_str());
            }
            Action::LeaveNoted { request, connected, .. } => self.noted.push((request, connected)),
        }
    }

    fn send(&mut self, message: Message) {
        let (what, bytes) = match &message {
            Message::Hello(hello) => (SentMessage::Hello, encode(hello)),
            Message::Heartbeat(beat) => (SentMessage::Heartbeat(beat.sequence), encode(beat.as_ref())),
            Message::Leave(leave) => (SentMessage::Leave, encode(leave)),
        };
        let digest = keccak256(&bytes);
        self.queue.push_back(Event::Sent(Sent { what, digest, bytes: digest }));
        let memory = self.memory();
        match message {
            Message::Hello(hello) => {
                assert_eq!(hello.boot, memory.boot, "a boot is told before it is durable");
                self.orchestrator.hellos.push(hello.boot);
                if self.orchestrator.mute {
                    return;
                }
                self.orchestrator.session += 1;
                self.orchestrator.pushes = 0;
                self.queue.push_back(Event::Heard(Heard::Granted(Granted {
                    nonce: hello.nonce,
                    session: self.orchestrator.session_id(),
                    epoch: self.orchestrator.term,
                    terms: TIMING,
                    membership: self.orchestrator.membership.clone(),
                })));
            }
            Message::Heartbeat(beat) => {
                self.check_beat(&beat, &memory);
                self.orchestrator.beats.push(beat.as_ref().clone());
                if !self.orchestrator.mute {
                    self.answer(&beat, digest);
                }
            }
            Message::Leave(leave) => {
                assert_eq!(memory.leave.as_ref(), Some(&leave), "a leave is said before it is durable");
                self.orchestrator.leaves.push(leave);
            }
        }
    }

    pub(crate) fn answer(&mut self, beat: &Heartbeat, request: Digest) {
        for report in &beat.assignments {
            self.orchestrator.stored.insert(report.id, report.clone());
        }
        let channel = Channel::Reply { sequence: beat.sequence, request };
        let instruction = self.orchestrator.instruction(channel);
        self.queue.push_back(Event::Heard(Heard::Instruction(Box::new(instruction))));
    }

    /// What a beat says is durable.
    fn check_beat(&self, beat: &Heartbeat, memory: &Memory) {
        assert_eq!((beat.boot, beat.epoch), (memory.boot, memory.term));
        assert_eq!(beat.complete, beat.sequence == Sequence(1));
        for report in &beat.assignments {
            let Some(entry) = self.entry(&report.id) else {
                assert_eq!(report.state, AssignmentState::Assigned, "it is told and not durable");
                continue;
            };
            if report.state.is_final() {
                let ended = entry.ended.expect("an end is told before it is durable");
                assert_eq!((report.state, report.reason), (ended.state, ended.reason));
            }
        }
        for answer in beat.receipts.iter().flatten() {
            if let ReceiptVerdict::Signed(signature) = &answer.verdict {
                let kept = memory.receipts.iter().any(|kept| kept.node_signature == *signature);
                assert!(kept, "a receipt's signature is told before it is kept");
            }
        }
    }

    fn engine(&mut self, command: Command) {
        let unavailable = || EngineFailure::Unavailable("down".to_owned());
        let result = match command {
            Command::Scan => {
                self.scans += 1;
                if self.down {
                    EngineEvent::ScanFailed(unavailable())
                } else {
                    EngineEvent::Observed(self.run.clone(), self.observed())
                }
            }
            Command::Survey => EngineEvent::Surveyed(self.space),
            Command::RemoveImage(image) => {
                let result = if self.down { Err(unavailable()) } else { Ok(()) };
                self.removed_images.push(image.to_string());
                EngineEvent::ImageRemoved(image, result)
            }
            Command::Pull { id, attempt, image, .. } => {
                self.pulls.push(image.image.to_string());
                let result = match (&self.pull_failure, self.down) {
                    (_, true) => Err(unavailable()),
                    (Some(failure), _) => Err(failure.clone()),
                    (None, false) => Ok(PulledImage { name: self.image.clone(), origin: self.origin }),
                };
                EngineEvent::Pulled(id, attempt, result)
            }
            Command::Create(plan) => {
                assert!(self.entry(&plan.id).is_some(), "a container is made that the journal does not know");
                if self.down {
                    EngineEvent::Created(plan.id, plan.attempt, Err(unavailable()))
                } else if let Some(failure) = &self.create_failure {
                    EngineEvent::Created(plan.id, plan.attempt, Err(failure.clone()))
                } else {
                    self.containers.retain(|_, (owner, _)| *owner != plan.id);
                    self.next_container += 1;
                    let container = ContainerId(format!("c{}", self.next_container));
                    self.containers.insert(container.clone(), (plan.id, ObservedState::Created));
                    EngineEvent::Created(plan.id, plan.attempt, Ok(container))
                }
            }
            Command::Start { id, attempt, container } => {
                let started = self.start_container(id, &container);
                EngineEvent::Started(id, attempt, started.map(|()| self.run.clone()))
            }
            Command::Stop { id, container, grace } => {
                self.grace = Some(grace);
                let entry = self.entry(&id).expect("what the journal does not know is stopped");
                assert_eq!(entry.container.as_ref(), Some(&container.0));
                self.stops += 1;
                if let Some(failure) = &self.stop_failure {
                    let failed = EngineEvent::StopFailed(id, container, failure.clone());
                    self.queue.push_back(Event::Engine(failed));
                } else if self.down {
                    self.unstopped.push(container);
                } else {
                    self.exit(&container, 143);
                }
                return;
            }
            Command::Examine { id, container } => {
                let result = if self.down { Err(unavailable()) } else { self.examine(&container) };
                EngineEvent::Examined(id, container, result)
            }
            Command::KeepOutput { id, container } => {
                let owner = self.containers.get(&container).map(|(owner, _)| *owner);
                assert!(owner.is_none_or(|owner| owner == id), "output of {owner:?} is kept as {id}'s");
                if owner.is_some() && !self.down {
                    self.kept.insert(id);
                }
                return;
            }
            Command::Remove { id } => {
                assert!(self.entry(&id).is_some(), "what the journal does not know is removed");
                if self.down {
                    EngineEvent::Removed(id, Err(unavailable()))
                } else if let Some(failure) = &self.remove_failure {
                    EngineEvent::Removed(id, Err(failure.clone()))
                } else {
                    self.containers.retain(|_, (owner, _)| *owner != id);
                    EngineEvent::Removed(id, Ok(()))
                }
            }
            Command::RemoveStray(container) => {
                let known = self.journal().iter().any(|entry| entry.container.as_ref() == Some(&container.0));
                assert!(!known, "a container that the journal names is removed as a stray");
                if self.down {
                    EngineEvent::Silent(unavailable())
                } else if let Some(failure) = &self.remove_failure {
                    EngineEvent::StrayLeft(container, failure.clone())
                } else {
                    self.containers.remove(&container);
                    return;
                }
            }
            Command::Watch { .. } | Command::Probe { .. } => return,
        };
        self.queue.push_back(Event::Engine(result));
    }

    fn start_container(&mut self, id: AssignmentId, container: &ContainerId) -> Result<(), EngineFailure> {
        let entry = self.entry(&id).expect("what the journal does not know is started");
        assert_eq!(entry.container.as_ref(), Some(&container.0), "the journal does not name it");
        let final_report = self.orchestrator.stored.get(&id).filter(|report| report.state.is_final());
        assert_eq!(final_report, None, "an incarnation runs again after its end was told");
        if self.down {
            return Err(EngineFailure::Unavailable("down".to_owned()));
        }
        if let Some(failure) = self.start_failure.take() {
            return Err(failure);
        }
        let Some((_, state)) = self.containers.get_mut(container) else {
            return Err(EngineFailure::Other("no such container".to_owned()));
        };
        *state = ObservedState::Running;
        self.starts += 1;
        Ok(())
    }

    fn examine(&mut self, container: &ContainerId) -> Result<Ending, EngineFailure> {
        match self.containers.get(container) {
            Some((_, ObservedState::Exited(exit))) => Ok(Ending {
                exit: *exit,
                run: self.run.clone(),
                stopped_by_hand: self.by_hand.take(),
                host_out_of_memory: false,
                limits: MemoryLimits::default(),
            }),
            Some(_) => Err(EngineFailure::Other("it runs again".to_owned())),
            None => Err(EngineFailure::Other("no such container".to_owned())),
        }
    }

    /// The engine goes, ends what runs as it happens, and writes this exit code down. Nobody hears of it before it is back.
    pub(crate) fn stop_engine(&mut self, code: i64) {
        self.set_down(true);
        for (_, state) in self.containers.values_mut().filter(|(_, state)| *state == ObservedState::Running) {
            *state = ObservedState::Exited(Exit { code, out_of_memory: false });
        }
    }

    /// It is back, and nothing says so but its next list.
    pub(crate) fn start_engine(&mut self) {
        self.run.run.push('+');
        self.set_down(false);
    }

    fn observed(&self) -> Vec<Observed> {
        let seen = |(container, (id, state)): (&ContainerId, &(AssignmentId, ObservedState))| Observed {
            container: container.clone(),
            assignment: Some(*id),
            state: state.clone(),
        };
        self.containers.iter().map(seen).collect()
    }

    pub(crate) fn exit(&mut self, container: &ContainerId, code: i64) {
        let exit = Exit { code, out_of_memory: false };
        if let Some((id, state)) =
            self.containers.get_mut(container).filter(|(_, s)| *s == ObservedState::Running)
        {
            *state = ObservedState::Exited(exit);
            let event = EngineEvent::Exited(*id, container.clone(), exit);
            self.queue.push_back(Event::Engine(event));
        }
    }

    pub(crate) fn set_down(&mut self, down: bool) {
        self.down = down;
        if !down {
            for container in std::mem::take(&mut self.unstopped) {
                self.exit(&container, 143);
            }
        }
        self.take(Event::Tick);
    }

    pub(crate) fn exit_task(&mut self, id: AssignmentId, code: i64) {
        let container = self.container_of(&id).expect("it has a container");
        self.exit(&container, code);
        self.take(Event::Tick);
    }

    pub(crate) fn container_of(&self, id: &AssignmentId) -> Option<ContainerId> {
        self.core.view().containers.get(id).and_then(|seen| seen.container.clone())
    }

    pub(crate) fn desire(&mut self, orders: Vec<AssignmentSpec>) {
        self.orchestrator.generation += 1;
        self.orchestrator.orders = orders;
        self.push();
    }

    /// The orchestrator speaks unasked.
    pub(crate) fn push(&mut self) {
        self.orchestrator.pushes += 1;
        let channel = Channel::Push { sequence: Sequence(self.orchestrator.pushes) };
        let instruction = self.orchestrator.instruction(channel);
        self.take(Event::Heard(Heard::Instruction(Box::new(instruction))));
    }

    /// The transport breaks and is built anew.
    pub(crate) fn reopen(&mut self) {
        self.take(Event::Disconnected);
        self.take(Event::Connected);
    }

    pub(crate) fn wait(&mut self, millis: u64) {
        self.now = Millis(self.now.0 + millis);
        self.take(Event::Tick);
    }

    /// The time at which the engine is looked at next comes.
    pub(crate) fn list(&mut self) {
        let (before, may_die) = (self.scans, self.fuse.is_some());
        if let Some(due) = self.core.scans.next_deadline() {
            self.now = self.now.max(due);
        }
        self.take(Event::Tick);
        // Before the node belongs to a pool its engine is left alone.
        let left_alone = self.core.scans.state() == EngineState::Untouched;
        assert!(may_die || left_alone || self.scans > before, "it was not looked at");
    }

    /// kill -9 of the worker: only what is durable and the containers remain.
    pub(crate) fn restart_worker(&mut self) {
        self.fuse = None;
        self.queue.clear();
        self.waiting.clear();
        self.unstopped.clear();
        self.findings.clear();
        self.core = Worker::recover(config(), self.memory());
        self.boot();
    }

    pub(crate) fn state(&self, id: AssignmentId) -> Option<(AssignmentState, Option<Reason>)> {
        let view = self.core.view();
        view.assignments.iter().find(|report| report.id == id).map(|report| (report.state, report.reason))
    }

    pub(crate) fn probed(&mut self, id: AssignmentId, result: Result<(), String>) {
        let container = self.container_of(&id).unwrap();
        self.take(Event::Engine(EngineEvent::Probed(id, container, result)));
    }

    /// Invariants that hold when nothing is on its way.
    fn check(&self) {
        let running = self.containers.values().filter(|(_, state)| *state == ObservedState::Running);
        let (mut owners, mut gpus, mut ports) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for (id, _) in running {
            assert!(owners.insert(*id), "two containers run for {id}");
            let Some(entry) = self.entry(id) else {
                panic!("a container runs that the journal does not know: {id}")
            };
            for gpu in &entry.order.gpus {
                assert!(gpus.insert(gpu.clone()), "{gpu} is used twice");
            }
            for port in &entry.ports {
                assert!(ports.insert((port.host, port.protocol)), "port {} is used twice", port.host);
            }
        }
        let heard = self.core.session.state() == SessionState::Open && !self.orchestrator.mute;
        let settled = self.core.view().engine == EngineState::Available && !self.down && !self.disk_full;
        let stops = self.stop_failure.is_none();
        if heard && self.connected && settled && stops && self.orchestrator.generation > 0 {
            let known = self.core.assignments.generation() == Some(Generation(self.orchestrator.generation));
            for id in owners.iter().filter(|_| known) {
                let desired = self.orchestrator.orders.iter().any(|order| order.id == *id);
                assert!(desired, "{id} runs although nobody wants it");
            }
        }
        if self.core.is_durable() {
            self.check_memory();
        }
        if let Some(due) = self.core.next_deadline() {
            let at = self.now.0;
            assert!(due.0 > at, "it wants to be woken at {} and now is {at}: a busy loop", due.0);
        }
    }

    /// What is durable is what the core knows.
    fn check_memory(&self) {
        let memory = self.memory();
        assert_eq!(memory.boot, self.core.boot);
        let mut known = self.core.assignments.entries();
        known.sort_by_key(|entry| entry.order.id.to_string());
        assert_eq!(memory.entries, known);
        assert_eq!(memory.generation.map(|(_, generation)| generation), self.core.assignments.generation());
        assert_eq!(memory.chain, self.core.chain.facts);
        assert_eq!(memory.leave.is_some(), self.core.membership.is_leaving());
        let kept: Vec<_> = self.core.receipts().cloned().collect();
        assert_eq!(memory.receipts, kept);
    }
}

fn assert_rests_on_nothing(action: &Action) {
    let fine = match action {
        Action::Engine(Command::Scan | Command::Survey | Command::Pull { attempt: Attempt(0), .. })
        | Action::Send(Message::Hello(_) | Message::Heartbeat(_))
        | Action::Resend
        | Action::Reconnect
        | Action::Follow { .. }
        | Action::Sign(_)
        | Action::PostLogs(_)
        | Action::Raise(_)
        | Action::Clear(_) => true,
        Action::Engine(_) | Action::Send(Message::Leave(_)) | Action::LeaveNoted { .. } => false,
    };
    assert!(fine, "{action:?} must not go out before anything is durable");
}
