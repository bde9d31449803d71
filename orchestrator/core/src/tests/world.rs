//! A small world around the core: a store that takes its changes, a chain that answers its questions, and workers that
//! do (or do not do) what they are told.

use std::collections::{BTreeMap, BTreeSet};

use lode_protocol::amount::Amount;
use lode_protocol::assignment::{AssignmentReport, AssignmentState, EndPhase, Reason};
use lode_protocol::descriptor::NodeDescriptor;
use lode_protocol::hardware::{GpuSpec, GpuState, GpuStatus, NodeSpecs};
use lode_protocol::hash::{Digest, keccak256};
use lode_protocol::ids::*;
use lode_protocol::join::{Invite, pools_domain};
use lode_protocol::keys::SigningKey;
use lode_protocol::session::*;
use lode_protocol::settlement::{Receipt, rewards_domain};
use lode_protocol::task::{TaskKind, TaskSpec, ValidTaskSpec};
use lode_protocol::units::{Bytes, MilliCpus, Millis, Timestamp};
use lode_protocol::usage::{MeterReading, ReceiptAnswer, ReceiptVerdict, UsageStatement};

use super::super::Core;
use super::super::config::{Config, Limits, Prices, Rate, Requirements, Settlement, Tunables};
use super::super::effect::{Action, Answer, Effects, Occurrence, Table};
use super::super::error::Rejected;
use super::super::event::*;
use super::super::node::ProgressRow;
use super::super::record;

pub(super) type Store = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

/// A worker as its orchestrator meets it.
#[derive(Clone, Debug)]
pub(super) struct Worker {
    pub key: SigningKey,
    pub id: NodeId,
    pub boot: u64,
    pub session: Option<(SessionId, Term)>,
    pub sequence: u64,
    pub observed: Option<Generation>,
    pub containers: BTreeMap<AssignmentId, (AssignmentState, Option<Reason>, Vec<GpuUuid>, TaskKind)>,
    pub specs: NodeSpecs,
    pub gpu_states: BTreeMap<GpuUuid, GpuState>,
    pub invite: Option<Invite>,
    pub membership: Option<Membership>,
    pub link: Link,
    pub nonce: u64,
    pub refused: Vec<Rejected>,
    /// Whether orders are carried out and progress is made.
    pub obedient: bool,
    /// Whether nothing that is sent to it arrives.
    pub deaf: bool,
    /// Every order that came, in order.
    pub orders: Vec<AssignmentSpec>,
    /// What it says that its containers run.
    pub images: BTreeMap<AssignmentId, String>,
    /// How far what fails on it has come, by its word.
    pub phase: Option<EndPhase>,
    pub meter: Option<MeterReading>,
    /// Receipts that it was asked to sign last.
    pub offered: Vec<(Receipt, UsageStatement)>,
    /// What it says to them; `None`: nothing.
    pub verdict: fn(&Worker, &Receipt) -> Option<ReceiptVerdict>,
}

pub(super) struct World {
    pub core: Core,
    pub now: Now,
    pub store: Store,
    pub workers: Vec<Worker>,
    pub occurrences: Vec<Occurrence>,
    pub actions: Vec<Action>,
    /// GPU-milliseconds that really ran, by node.
    pub ran: BTreeMap<NodeId, u64>,
    /// What the chain says of the pool's money, and which epoch runs there.
    pub budget: ChainBudget,
    pub epoch: u64,
    counter: u64,
}

pub(super) fn config() -> Config {
    Config {
        chain: ChainId(31_337),
        pools_contract: Address([9; 20]),
        pool: PoolId(1),
        requirements_hash: Digest([3; 32]),
        terms: Tunables::default(),
        requirements: Requirements { allow_cpu_only: true, ..Requirements::default() },
        declared: None,
        settlement: None,
        // Tests say a lot at one moment; what that costs has tests of its own.
        limits: Limits {
            messages: BOUNDLESS,
            reports: BOUNDLESS,
            report_bytes: BOUNDLESS,
            ..Limits::default()
        },
    }
}

const BOUNDLESS: Rate = Rate { per_second: 1 << 20, burst: 1 << 30 };

/// A pool that pays `price` tokens per GPU and hour.
pub(super) fn priced(price: u64) -> Config {
    let settlement = Settlement {
        rewards_contract: Address([8; 20]),
        prices: Prices { per_gpu_hour: Amount::tokens(price), classes: BTreeMap::new() },
        tenants: BTreeSet::new(),
        checkpoint: Millis::seconds(30),
        kept_epochs: 5,
    };
    Config { settlement: Some(settlement), ..config() }
}

pub(super) fn gpu(node: u8, number: u32) -> GpuUuid {
    format!("GPU-{node:08x}-{number:04x}").parse().unwrap()
}

pub(super) fn specs(node: u8, gpus: u32) -> NodeSpecs {
    specs_with(node, gpus, "NVIDIA H200", Bytes::gibi(141))
}

pub(super) fn specs_with(node: u8, gpus: u32, model: &str, memory: Bytes) -> NodeSpecs {
    NodeSpecs {
        cpus: MilliCpus(16_000),
        memory: Bytes::gibi(64),
        disk: Bytes::gibi(100),
        gpus: (0..gpus)
            .map(|number| GpuSpec {
                uuid: gpu(node, number),
                model: Some(model.to_owned()),
                memory: Some(memory),
                compute_capability: Some((9, 0)),
                pci_bus_id: None,
                parent: None,
            })
            .collect(),
        engine_version: Some("20.10.24".to_owned()),
        os: "debian".to_owned(),
        architecture: "amd64".to_owned(),
        ..NodeSpecs::default()
    }
}

/// A task from TOML lines added to a minimal one.
pub(super) fn spec(kind: &str, more: &str) -> ValidTaskSpec {
    let text = format!("name = \"t\"\nkind = \"{kind}\"\nimage = \"i:1\"\n{more}");
    TaskSpec::from_toml(&text).unwrap().validate().unwrap()
}

/// The image of a task whose registry was not asked.
pub(super) fn unresolved() -> ImageResolution {
    ImageResolution::Unpinned(Unpinned {
        code: "image/not-resolved".into(),
        message: "nobody was asked".to_owned(),
    })
}

/// Who owns the pool.
pub(super) fn owner() -> SigningKey {
    SigningKey::from_bytes(&[0x77; 32]).unwrap()
}

pub(super) fn task_id(number: u128) -> TaskId {
    TaskId(uuid::Uuid::from_u128(number))
}

pub(super) fn replica(task: TaskId, number: u32) -> ReplicaId {
    ReplicaId { task, replica: number }
}

pub(super) fn assignment(task: TaskId, number: u32, incarnation: u32) -> AssignmentId {
    AssignmentId { replica: replica(task, number), incarnation: Incarnation(incarnation) }
}

impl Worker {
    pub(super) fn new(number: u8, specs: NodeSpecs) -> Self {
        let key = SigningKey::from_bytes(&[number; 32]).unwrap();
        let id = NodeId(key.address());
        Worker {
            key,
            id,
            boot: 1,
            session: None,
            sequence: 0,
            observed: None,
            containers: BTreeMap::new(),
            specs,
            gpu_states: BTreeMap::new(),
            invite: None,
            membership: None,
            link: Link { connection: ConnectionId(u64::from(number)), can_push: true },
            nonce: 0,
            refused: Vec::new(),
            obedient: true,
            deaf: false,
            orders: vec![],
            images: BTreeMap::new(),
            phase: Some(EndPhase::Starting),
            meter: None,
            offered: vec![],
            verdict: |worker, receipt| {
                let domain = rewards_domain(ChainId(31_337), Address([8; 20]));
                Some(ReceiptVerdict::Signed(worker.key.sign_recoverable(&receipt.digest(&domain))))
            },
        }
    }

    pub(super) fn descriptor(&self) -> NodeDescriptor {
        NodeDescriptor {
            node: self.id,
            specs: self.specs.clone(),
            addresses: vec![],
            sealing_key: None,
            agent_version: "0.1.0".to_owned(),
            boot: BootCounter(self.boot),
            sequence: self.nonce,
            issued_at: Timestamp(0),
            expires_at: Timestamp(u64::MAX),
        }
    }

    pub(super) fn consent_to(&self, invite: Invite) -> Consent {
        let domain = pools_domain(ChainId(31_337), Address([9; 20]));
        Consent { invite, signature: self.key.sign_recoverable(&invite.consent_digest(&domain)) }
    }

    pub(super) fn report(&self, id: &AssignmentId) -> AssignmentReport {
        let (state, reason, gpus, _) = self.containers[id].clone();
        AssignmentReport {
            id: *id,
            state,
            reason,
            detail: String::new(),
            exit_code: None,
            restarts: 0,
            gpus,
            ports: vec![],
            image: self.images.get(id).cloned(),
            at: Timestamp(0),
            phase: self.phase.filter(|_| state == AssignmentState::Failed),
        }
    }

    /// The next beat; `self` counts it as sent.
    pub(super) fn next_beat(&mut self) -> Heartbeat {
        self.sequence += 1;
        let (session, epoch) = self.session.unwrap_or_default();
        let consent = self.invite.take().map(|invite| self.consent_to(invite));
        let answer = |(receipt, _): &(Receipt, UsageStatement)| {
            let verdict = (self.verdict)(self, receipt)?;
            Some(ReceiptAnswer { epoch: receipt.epoch, payee: receipt.payee, verdict })
        };
        let receipts: Vec<ReceiptAnswer> = self.offered.iter().filter_map(answer).collect();
        Heartbeat {
            session,
            epoch,
            boot: BootCounter(self.boot),
            sequence: Sequence(self.sequence),
            observed: self.observed,
            complete: self.sequence == 1,
            assignments: self.containers.keys().map(|id| self.report(id)).collect(),
            gpus: self
                .specs
                .gpus
                .iter()
                .map(|spec| GpuStatus {
                    uuid: spec.uuid.clone(),
                    state: self.gpu_states.get(&spec.uuid).copied().unwrap_or(GpuState::Healthy),
                    reason: None,
                    temperature: None,
                    power: None,
                    utilization: None,
                    memory_used: None,
                })
                .collect(),
            usage: Usage::default(),
            findings: vec![],
            specs: self.specs.digest(),
            descriptor: None,
            consent,
            receipts: (!receipts.is_empty()).then_some(receipts),
        }
    }

    fn hear(&mut self, answer: &Answer) {
        if self.deaf {
            return;
        }
        match answer {
            Answer::Granted(granted) => {
                self.session = Some((granted.session, granted.epoch));
                self.sequence = 0;
                self.membership = Some(granted.membership.clone());
            }
            Answer::Instruction { instruction, invite, receipts } => {
                if self.session != Some((instruction.session, instruction.epoch)) {
                    return;
                }
                self.membership = Some(instruction.membership.clone());
                if let Channel::Reply { .. } = instruction.channel {
                    self.meter = instruction.meter;
                    self.offered.clone_from(receipts);
                }
                if invite.is_some() {
                    self.invite = *invite;
                }
                if let Desired::Full { generation, orders } = &instruction.desired
                    && self.obedient
                {
                    self.obey(*generation, orders);
                }
            }
            Answer::Refused(refusal) => {
                self.refused.push(refusal.clone());
                if refusal.reopen {
                    self.session = None;
                }
            }
        }
    }

    fn obey(&mut self, generation: Generation, orders: &[AssignmentSpec]) {
        if self.observed.is_some_and(|observed| observed >= generation) {
            return;
        }
        self.observed = Some(generation);
        for order in orders {
            self.orders.push(order.clone());
            let fresh = (AssignmentState::Pulling, None, order.gpus.clone(), order.spec.kind);
            self.containers.entry(order.id).or_insert(fresh);
        }
        for (id, container) in &mut self.containers {
            if !container.0.is_final() && !orders.iter().any(|order| order.id == *id) {
                container.0 = AssignmentState::Stopped;
                container.1 = Some(Reason::StopRequested);
            }
        }
    }

    /// Every container takes its next step; finished ones that were reported are forgotten.
    pub(super) fn work(&mut self) {
        if !self.obedient {
            return;
        }
        self.containers.retain(|_, container| !container.0.is_final());
        for container in self.containers.values_mut() {
            container.0 = match (container.0, container.3) {
                (AssignmentState::Assigned, _) => AssignmentState::Pulling,
                (AssignmentState::Pulling, _) => AssignmentState::Starting,
                (AssignmentState::Starting, _) => AssignmentState::Running,
                (AssignmentState::Running, TaskKind::Batch) => AssignmentState::Succeeded,
                (other, _) => other,
            };
        }
    }

    pub(super) fn say_image(&mut self, id: &AssignmentId, image: &str) {
        self.images.insert(*id, image.to_owned());
    }

    pub(super) fn set(&mut self, id: &AssignmentId, state: AssignmentState, reason: Option<Reason>) {
        let container = self.containers.get_mut(id).expect("the worker runs it");
        container.0 = state;
        container.1 = reason;
    }
}

impl World {
    /// A started core whose chain is readable, with these workers, not connected.
    pub(super) fn new(config: Config, workers: Vec<Worker>) -> Self {
        let mut world = World {
            core: Core::new(config),
            now: Now { wall: Timestamp(1_800_000_000_000), monotonic: Millis(1_000) },
            store: Store::new(),
            workers,
            occurrences: vec![],
            actions: vec![],
            ran: BTreeMap::new(),
            budget: super::economy::rich(),
            epoch: 0,
            counter: 0,
        };
        world.ok(Event::Started);
        world.chain_up();
        world
    }

    /// The same with every worker a member, connected and reported.
    pub(super) fn with_members(config: Config, workers: Vec<Worker>) -> Self {
        let mut world = Self::new(config, workers);
        for number in 0..world.workers.len() {
            world.join(number);
        }
        world
    }

    /// `count` members with `gpus` GPUs each.
    pub(super) fn members(count: u8, gpus: u32) -> Self {
        let workers = (1..=count).map(|number| Worker::new(number, specs(number, gpus))).collect();
        Self::with_members(config(), workers)
    }

    pub(super) fn chain_up(&mut self) {
        self.ok(Event::ChainPool(ChainPool {
            running: true,
            max_nodes: 0,
            member_count: 0,
            owner: owner().address(),
        }));
        self.ok(Event::ChainViewed(ChainView::Fresh));
    }

    pub(super) fn step(&mut self, event: Event) -> Result<Effects, Rejected> {
        let before = self.core.clone();
        match self.core.step(self.now, event) {
            Ok(effects) => {
                self.commit(&effects);
                Ok(effects)
            }
            Err(refused) => {
                assert_eq!(
                    format!("{before:?}"),
                    format!("{:?}", self.core),
                    "a refused event changes nothing at all: {refused:?}"
                );
                Err(refused)
            }
        }
    }

    /// Ticks until nothing is left over.
    pub(super) fn settle(&mut self) {
        for _ in 0..100_000 {
            if self.core.next_deadline().is_none_or(|due| due > self.now.monotonic) {
                return;
            }
            self.ok(Event::Tick);
        }
        panic!("there is always more to do: {:?}", self.core.backlog);
    }

    fn commit(&mut self, effects: &Effects) {
        for change in &effects.changes {
            let key = (change.table, change.key.clone());
            match &change.value {
                Some(value) => self.store.insert(key, value.clone()),
                None => self.store.remove(&key),
            };
        }
        self.occurrences.extend(effects.occurrences.iter().cloned());
        for action in &effects.actions {
            if let Action::Reply { answer: Answer::Instruction { instruction, .. }, node, .. }
            | Action::Push { answer: Answer::Instruction { instruction, .. }, node, .. } = action
            {
                self.what_is_ordered_is_stored(node, &instruction.desired);
            }
            if let Action::Reply { node, answer, connection } | Action::Push { node, answer, connection } =
                action
                && let Some(worker) = self
                    .workers
                    .iter_mut()
                    .find(|worker| worker.id == *node && worker.link.connection == *connection)
            {
                worker.hear(answer);
            }
            self.actions.push(action.clone());
        }
    }

    /// Nothing is sent that the store does not have: a crash right after must not forget an order.
    fn what_is_ordered_is_stored(&self, node: &NodeId, desired: &Desired) {
        let Desired::Full { generation, orders } = desired else { return };
        for order in orders {
            assert!(self.store.contains_key(&(Table::Assignments, record::assignment_key(&order.id))));
            assert!(self.store.contains_key(&(Table::Tasks, record::task_key(&order.id.replica.task))));
        }
        if let Some(row) = self.store.get(&(Table::Progress, record::node_key(node))) {
            let row: ProgressRow = lode_protocol::envelope::decode(row).unwrap();
            assert_eq!(row.generation, *generation);
        } else {
            assert_eq!(*generation, Generation(0));
        }
    }

    pub(super) fn ok(&mut self, event: Event) -> Effects {
        self.step(event).expect("the event is accepted")
    }

    pub(super) fn code(&mut self, event: Event) -> String {
        self.step(event).expect_err("the event is refused").code.to_string()
    }

    pub(super) fn wait(&mut self, millis: u64) {
        // In small steps, as a driver does: a big one would look like a frozen orchestrator.
        let mut left = millis;
        while left > 0 {
            let step = left.min(1_000);
            self.skip(step);
            self.ok(Event::Tick);
            self.settle();
            left -= step;
        }
    }

    /// Lets time pass without anybody noticing.
    pub(super) fn skip(&mut self, millis: u64) {
        for worker in &self.workers {
            let running = worker.containers.iter().filter(|(_, known)| known.0 == AssignmentState::Running);
            // What the order gave it, whatever it says of its GPUs.
            let gpus = |id: &AssignmentId| self.core.assignments.get(id).map_or(0, |known| known.gpus.len());
            let held: usize = running.map(|(id, _)| gpus(id)).sum();
            *self.ran.entry(worker.id).or_default() += millis * u64::try_from(held).unwrap();
        }
        self.now.wall = self.now.wall.plus(Millis(millis));
        self.now.monotonic = Millis(self.now.monotonic.0 + millis);
    }

    /// Waits while these workers beat every five seconds.
    pub(super) fn wait_beating(&mut self, millis: u64, beating: &[usize]) {
        let mut left = millis;
        while left > 0 {
            let step = left.min(5_000);
            self.wait(step);
            for number in beating {
                self.keep_beating(*number);
            }
            left -= step;
        }
    }

    pub(super) fn fresh(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    /// A hello of a node that the chain knows.
    pub(super) fn hello_event(&mut self, number: usize) -> Event {
        let node = self.workers[number].id;
        if self.core.is_stranger(&node) {
            self.ok(Event::NodeLookedUp { node, registered: true });
        }
        self.stranger_event(number)
    }

    /// A hello of a node of which the chain was not asked yet.
    pub(super) fn stranger_event(&mut self, number: usize) -> Event {
        let unique = self.fresh();
        let worker = &mut self.workers[number];
        worker.nonce = unique;
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&unique.to_be_bytes());
        let descriptor = worker.descriptor();
        let hello = Hello {
            boot: BootCounter(worker.boot),
            nonce: Nonce(nonce),
            agent_version: "0.1.0".to_owned(),
            descriptor: vec![],
            takes_tags: None,
        };
        Event::HelloReceived {
            node: worker.id,
            public_key: worker.key.public(),
            hello,
            descriptor,
            link: worker.link,
            session: SessionId(nonce),
            origin: None,
        }
    }

    pub(super) fn hello(&mut self, number: usize) {
        let event = self.hello_event(number);
        self.ok(event);
    }

    pub(super) fn beat_event(&mut self, number: usize) -> Event {
        let worker = &mut self.workers[number];
        let heartbeat = worker.next_beat();
        event_of(worker, heartbeat)
    }

    pub(super) fn beat(&mut self, number: usize) -> Effects {
        let event = self.beat_event(number);
        self.ok(event)
    }

    /// A beat, in a new session if the old one is not known any more.
    pub(super) fn keep_beating(&mut self, number: usize) {
        let event = self.beat_event(number);
        if let Err(refused) = self.step(event) {
            assert!(refused.reopen, "{refused}");
            self.hello(number);
            self.beat(number);
        }
    }

    /// Containers take a step, then the worker beats.
    pub(super) fn work(&mut self, number: usize) {
        self.workers[number].work();
        self.beat(number);
    }

    pub(super) fn facts(&mut self, number: usize, membership: MembershipState, join_counter: u64) {
        let node = self.workers[number].id;
        let provider = ProviderId(Address([7; 20]));
        self.ok(Event::ChainNode {
            node,
            registration: Some(Registration { provider, eligible: true, approved: true }),
        });
        self.ok(Event::ChainMembership {
            node,
            membership: ChainMembership { state: membership, join_counter },
        });
    }

    /// Through the whole of joining: hello, invite, consent, the chain's word.
    pub(super) fn join(&mut self, number: usize) {
        self.hello(number);
        self.facts(number, MembershipState::Never, 0);
        self.beat(number);
        assert!(self.workers[number].invite.is_some(), "an invite comes with the answer");
        self.beat(number);
        self.facts(number, MembershipState::Member { active: true }, 1);
        self.beat(number);
        assert_eq!(self.workers[number].membership, Some(Membership::Member));
    }

    pub(super) fn submit(&mut self, number: u128, spec: ValidTaskSpec) -> TaskId {
        let id = task_id(number);
        self.ok(Event::TaskSubmitted { id, spec, order: None, idempotency_key: None, image: unresolved() });
        id
    }

    pub(super) fn state(&self, id: AssignmentId) -> AssignmentState {
        self.core.assignment(&id).expect("the assignment is known").state
    }

    pub(super) fn node_of(&self, id: AssignmentId) -> NodeId {
        self.core.assignment(&id).expect("the assignment is known").node
    }

    pub(super) fn number_of(&self, node: NodeId) -> usize {
        self.workers.iter().position(|worker| worker.id == node).expect("a worker of this world")
    }

    /// The core dies and comes back from its store.
    pub(super) fn restart_core(&mut self) {
        let rows = self.store.iter().map(|((table, key), value)| (*table, key.clone(), value.clone()));
        self.core = Core::recover(self.core.config.clone(), rows).expect("the store is readable");
        assert_eq!(self.core.skipped_rows(), []);
        self.ok(Event::Started);
    }
}

pub(super) fn event_of(worker: &Worker, heartbeat: Heartbeat) -> Event {
    let digest = keccak256(&lode_protocol::envelope::encode(&heartbeat));
    Event::BeatReceived { node: worker.id, digest, heartbeat, descriptor: None, link: worker.link }
}
