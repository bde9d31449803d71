//! A fleet of members made through the orchestrator core's public events: eight kinds of nodes, labels that half, a
//! twentieth or a two-hundredth of them have.

use std::collections::BTreeMap;

use anyhow::Context as _;
use lode_orchestrator_core::Core;
use lode_orchestrator_core::config::{Config, Limits, Prices, Rate, Requirements, Settlement, Tunables};
use lode_orchestrator_core::effect::Effects;
use lode_orchestrator_core::event::{
    ChainBudget, ChainEpoch, ChainMembership, ChainView, ConnectionId, Event, ImageResolution, Link,
    MembershipState, Now, Proof, Registration,
};
use lode_protocol::amount::Amount;
use lode_protocol::assignment::{AssignmentReport, AssignmentState};
use lode_protocol::descriptor::NodeDescriptor;
use lode_protocol::hardware::{GpuSpec, GpuState, GpuStatus, NodeSpecs};
use lode_protocol::hash::Digest;
use lode_protocol::ids::{
    Address, AssignmentId, BootCounter, ChainId, Epoch, Generation, GpuUuid, Incarnation, NodeId, Nonce,
    PoolId, ProviderId, ReplicaId, Sequence, SessionId, TaskId, Term,
};
use lode_protocol::keys::{PublicKey, SigningKey};
use lode_protocol::session::{Heartbeat, Hello, Usage};
use lode_protocol::task::ValidTaskSpec;
use lode_protocol::units::{Bytes, MilliCpus, Millis, Timestamp};

/// Nodes of one provider, on average, in a fleet of 100,000: 100.
const PROVIDERS: u32 = 1_000;
const IMAGE: &str =
    "registry.example/team/train@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// What the GPUs of a kind of node are, and what is around them.
struct Kind {
    model: &'static str,
    gibibytes: u64,
    gpus: u32,
    millicpus: u32,
    memory_gibibytes: u64,
}

const fn kind(model: &'static str, gibibytes: u64, gpus: u32, millicpus: u32, memory_gibibytes: u64) -> Kind {
    Kind { model, gibibytes, gpus, millicpus, memory_gibibytes }
}

const KINDS: [Kind; 8] = [
    kind("NVIDIA H200", 141, 8, 192_000, 2_048),
    kind("NVIDIA H100 80GB HBM3", 80, 8, 192_000, 1_024),
    kind("NVIDIA A100-SXM4-80GB", 80, 8, 128_000, 1_024),
    kind("NVIDIA A100-SXM4-40GB", 40, 8, 96_000, 512),
    kind("NVIDIA L40S", 48, 4, 64_000, 512),
    kind("NVIDIA GeForce RTX 4090", 24, 8, 64_000, 256),
    kind("NVIDIA GeForce RTX 4090", 24, 4, 32_000, 128),
    kind("NVIDIA GeForce RTX 3090", 24, 2, 16_000, 64),
];

/// Which nodes there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mix {
    /// All of the first kind: 8 GPUs.
    Uniform,
    /// All kinds alike.
    Mixed,
}

impl Mix {
    fn kind(self, number: u32) -> &'static Kind {
        let count = u32::try_from(KINDS.len()).unwrap_or(1);
        let index = match self {
            Mix::Uniform => 0,
            Mix::Mixed => number % count,
        };
        usize::try_from(index).ok().and_then(|index| KINDS.get(index)).unwrap_or(&KINDS[0])
    }
}

/// A core and what its fleet has said so far.
pub(crate) struct Fleet {
    pub(crate) core: Core,
    pub(crate) now: Now,
    mix: Mix,
    key: PublicKey,
    numbers: BTreeMap<NodeId, u32>,
    sequences: Vec<u64>,
}

pub(crate) fn free_pool() -> Config {
    Config {
        chain: ChainId(31_337),
        pools_contract: Address([0xa3; 20]),
        pool: PoolId(1),
        requirements_hash: Digest([5; 32]),
        terms: Tunables::default(),
        requirements: Requirements { allow_cpu_only: true, ..Requirements::default() },
        declared: None,
        settlement: None,
        // Nodes beat as fast as they can here, which no worker does.
        limits: Limits {
            messages: BOUNDLESS,
            reports: BOUNDLESS,
            report_bytes: BOUNDLESS,
            ..Limits::default()
        },
    }
}

const BOUNDLESS: Rate = Rate { per_second: 1 << 20, burst: 1 << 30 };

/// One token per GPU and hour.
pub(crate) fn paying_pool() -> Config {
    let settlement = Settlement {
        rewards_contract: Address([0xa6; 20]),
        prices: Prices { per_gpu_hour: Amount::tokens(1), classes: BTreeMap::new() },
        tenants: Default::default(),
        checkpoint: Millis::seconds(30),
        kept_epochs: 5,
    };
    Config { settlement: Some(settlement), ..free_pool() }
}

impl Fleet {
    /// `count` members that have beaten once.
    pub(crate) fn new(config: Config, mix: Mix, count: u32) -> anyhow::Result<Self> {
        let key = SigningKey::from_bytes(&[9; 32])?.public();
        let now = Now { wall: Timestamp(1_800_000_000_000), monotonic: Millis(1) };
        let core = Core::new(config);
        let mut fleet = Fleet { core, now, mix, key, numbers: BTreeMap::new(), sequences: Vec::new() };
        fleet.step(Event::Started)?;
        fleet.step(Event::ChainViewed(ChainView::Fresh))?;
        for number in 0..count {
            fleet.join(number)?;
        }
        Ok(fleet)
    }

    pub(crate) fn step(&mut self, event: Event) -> anyhow::Result<Effects> {
        Ok(self.core.step(self.now, event)?)
    }

    /// Whether the core wants to go on at once.
    pub(crate) fn has_more(&self) -> bool {
        self.core.next_deadline().is_some_and(|due| due <= self.now.monotonic)
    }

    /// Goes on with what the core has left over, without letting time pass.
    pub(crate) fn finish(&mut self) -> anyhow::Result<()> {
        while self.has_more() {
            self.step(Event::Tick)?;
        }
        Ok(())
    }

    /// Bytes that this program itself keeps for each node.
    pub(crate) fn own_bytes_per_node(&self) -> f64 {
        let numbers = self.numbers.len().saturating_mul(size_of::<(NodeId, u32)>());
        // A B-tree's leaves are about three quarters full.
        let bytes = numbers as f64 * 4.0 / 3.0 + (self.sequences.capacity() * size_of::<u64>()) as f64;
        bytes / self.numbers.len().max(1) as f64
    }

    pub(crate) fn pass(&mut self, time: Millis) {
        self.now.wall = self.now.wall.plus(time);
        self.now.monotonic = Millis(self.now.monotonic.0.saturating_add(time.0));
    }

    fn join(&mut self, number: u32) -> anyhow::Result<()> {
        let node = node_id(number);
        self.step(Event::NodeLookedUp { node, registered: true })?;
        self.step(hello(number, self.mix, self.key, self.now.wall))?;
        let registration = Registration { provider: provider(number), eligible: true, approved: true };
        self.step(Event::ChainNode { node, registration: Some(registration) })?;
        let state = MembershipState::Member { active: true };
        self.step(Event::ChainMembership { node, membership: ChainMembership { state, join_counter: 1 } })?;
        let gpu_count = self.mix.kind(number).gpus;
        self.step(Event::ChainProven { node, proof: Some(Proof { class: 1, gpu_count }) })?;
        self.numbers.insert(node, number);
        self.sequences.push(0);
        let beat = self.beat(number, None, vec![])?;
        self.step(beat)?;
        Ok(())
    }

    pub(crate) fn number_of(&self, node: &NodeId) -> anyhow::Result<u32> {
        self.numbers.get(node).copied().context("a node of another fleet")
    }

    /// The next beat of a node, to be sent.
    pub(crate) fn beat(
        &mut self,
        number: u32,
        observed: Option<Generation>,
        assignments: Vec<AssignmentReport>,
    ) -> anyhow::Result<Event> {
        let known = usize::try_from(number).ok().and_then(|index| self.sequences.get_mut(index));
        let sequence = known.context("a node that never joined")?;
        *sequence += 1;
        let (term, sequence) = (self.core.epoch(), *sequence);
        Ok(beat(number, self.mix, term, sequence, observed, assignments))
    }
}

/// A node opens its session.
pub(crate) fn hello(number: u32, mix: Mix, public_key: PublicKey, now: Timestamp) -> Event {
    let mut nonce = Nonce::default();
    nonce.0[..4].copy_from_slice(&number.to_be_bytes());
    let boot = BootCounter(1);
    let hello =
        Hello { boot, nonce, agent_version: "0.1.0".to_owned(), descriptor: vec![], takes_tags: None };
    Event::HelloReceived {
        node: node_id(number),
        public_key,
        hello,
        descriptor: descriptor(number, mix, now),
        link: link(number),
        session: session(number),
        origin: None,
    }
}

/// A beat in that session; the first one has sequence 1.
pub(crate) fn beat(
    number: u32,
    mix: Mix,
    term: Term,
    sequence: u64,
    observed: Option<Generation>,
    assignments: Vec<AssignmentReport>,
) -> Event {
    let heartbeat = Heartbeat {
        session: session(number),
        epoch: term,
        boot: BootCounter(1),
        sequence: Sequence(sequence),
        observed,
        complete: sequence == 1,
        assignments,
        gpus: (0..mix.kind(number).gpus).map(|slot| status(number, slot)).collect(),
        usage: Usage { cpus: MilliCpus(13_000), memory: Bytes::gibi(300), disk_free: Bytes::gibi(3_000) },
        findings: vec![],
        specs: Digest([4; 32]),
        descriptor: None,
        consent: None,
        receipts: None,
    };
    let mut digest = Digest::default();
    digest.0[..4].copy_from_slice(&number.to_be_bytes());
    digest.0[8..16].copy_from_slice(&sequence.to_be_bytes());
    Event::BeatReceived { node: node_id(number), digest, heartbeat, descriptor: None, link: link(number) }
}

pub(crate) fn node_id(number: u32) -> NodeId {
    // Spread like hashes are.
    let mixed = u64::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut address = [0u8; 20];
    address[..8].copy_from_slice(&mixed.to_be_bytes());
    address[8..12].copy_from_slice(&number.to_be_bytes());
    NodeId(Address(address))
}

pub(crate) fn provider(number: u32) -> ProviderId {
    let mut address = [7u8; 20];
    address[..4].copy_from_slice(&(number % PROVIDERS).to_be_bytes());
    ProviderId(Address(address))
}

fn session(number: u32) -> SessionId {
    let mut session = SessionId::default();
    session.0[..4].copy_from_slice(&number.to_be_bytes());
    session.0[15] = 9;
    session
}

fn link(number: u32) -> Link {
    Link { connection: ConnectionId(u64::from(number) + 1), can_push: true }
}

fn gpu(number: u32, slot: u32) -> GpuUuid {
    let text = format!("GPU-{number:08x}-{slot:04x}-4f2c-9d1a-0123456789ab");
    text.parse().expect("a UUID in NVIDIA's form")
}

fn status(number: u32, slot: u32) -> GpuStatus {
    GpuStatus {
        uuid: gpu(number, slot),
        state: GpuState::Healthy,
        reason: None,
        temperature: Some(54),
        power: Some(312_000),
        utilization: Some(97),
        memory_used: Some(Bytes::gibi(71)),
    }
}

fn descriptor(number: u32, mix: Mix, now: Timestamp) -> NodeDescriptor {
    let kind = mix.kind(number);
    let mut labels = BTreeMap::from([("zone".to_owned(), format!("zone-{}", number % 20))]);
    let tier = match number % 3 {
        0 => "secure",
        1 => "community",
        _ => "spot",
    };
    labels.insert("tier".to_owned(), tier.to_owned());
    if number.is_multiple_of(200) {
        labels.insert("nvlink".to_owned(), "yes".to_owned());
    }
    let gpus = (0..kind.gpus).map(|slot| GpuSpec {
        uuid: gpu(number, slot),
        model: Some(kind.model.to_owned()),
        memory: Some(Bytes::gibi(kind.gibibytes)),
        compute_capability: Some((9, 0)),
        pci_bus_id: Some(format!("00000000:{slot:02X}:00.0")),
        parent: None,
    });
    let specs = NodeSpecs {
        cpus: MilliCpus(kind.millicpus),
        cpu_model: Some("AMD EPYC 9654 96-Core Processor".to_owned()),
        memory: Bytes::gibi(kind.memory_gibibytes),
        disk: Bytes::gibi(4_096),
        gpus: gpus.collect(),
        driver_version: Some("570.124.06".to_owned()),
        cuda_version: Some(12_080),
        engine_version: Some("28.3.3".to_owned()),
        os: "ubuntu 24.04".to_owned(),
        architecture: "amd64".to_owned(),
        labels,
        ..NodeSpecs::default()
    };
    NodeDescriptor {
        node: node_id(number),
        specs,
        addresses: vec!["/ip4/203.0.113.17/tcp/7001".to_owned()],
        sealing_key: Some([3; 32]),
        agent_version: "0.1.0".to_owned(),
        boot: BootCounter(1),
        sequence: 1,
        issued_at: now,
        expires_at: now.plus(Millis::seconds(3_600)),
    }
}

pub(crate) fn report(id: AssignmentId, state: AssignmentState, gpus: Vec<GpuUuid>) -> AssignmentReport {
    AssignmentReport {
        id,
        state,
        reason: None,
        detail: String::new(),
        exit_code: None,
        restarts: 0,
        gpus,
        ports: vec![],
        image: Some(IMAGE.to_owned()),
        at: Timestamp(0),
        phase: None,
    }
}

/// Grows with the number, as version 7 does.
pub(crate) fn task_id(number: u64) -> TaskId {
    let mut bytes = [0u8; 16];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    bytes[8..].copy_from_slice(&number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
    TaskId(uuid::Uuid::from_bytes(bytes))
}

pub(crate) fn first_assignment(task: u64) -> AssignmentId {
    AssignmentId { replica: ReplicaId { task: task_id(task), replica: 0 }, incarnation: Incarnation(1) }
}

pub(crate) fn submit(number: u64, spec: &ValidTaskSpec) -> Event {
    Event::TaskSubmitted {
        id: task_id(number),
        spec: spec.clone(),
        order: None,
        idempotency_key: None,
        image: ImageResolution::Pinned(IMAGE.parse().expect("a reference with a digest")),
    }
}

/// Tokens that are free, and that the cap allows.
pub(crate) fn budget(tokens: u64) -> Event {
    let amount = Amount::tokens(tokens);
    Event::ChainBudget(ChainBudget {
        free: amount,
        locked: Amount::ZERO,
        posted: Amount::ZERO,
        paid: Amount::ZERO,
        spendable: amount,
        spendable_before: amount,
        latest: None,
        in_veto: false,
        proven: None,
    })
}

/// An epoch of one hour.
pub(crate) fn epoch() -> Event {
    let hour = Millis::seconds(3_600);
    Event::ChainEpoch(ChainEpoch { epoch: Epoch(1), ends_in: hour, length: hour, posting: hour })
}
