//! The driver on its own: groups, their commits, and what may leave before them. No sockets.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use lode_orchestrator::config::LimitsConfig;
use lode_orchestrator::core::Core;
use lode_orchestrator::core::config::{Config, Limits, Rate, Requirements, Tunables};
use lode_orchestrator::core::effect::Answer;
use lode_orchestrator::core::event::{
    ChainMembership, ChainPool, ChainView, ConnectionId, Event, ImageResolution, Link, MembershipState,
    Registration, Unpinned,
};
use lode_orchestrator::driver::outage::StoreHealth;
use lode_orchestrator::driver::{self, Driver, Handle, Message, Outgoing, Outlet, Ports};
use lode_orchestrator::metrics::Metrics;
use lode_orchestrator::{event_log, recovery};
use lode_program::finding::FindingSet;
use lode_program::{Cause, Clock, Health, Shutdown};
use lode_protocol::descriptor::NodeDescriptor;
use lode_protocol::error_code::ErrorCode;
use lode_protocol::hardware::NodeSpecs;
use lode_protocol::hash::{Digest, keccak256};
use lode_protocol::ids::{
    Address, BootCounter, ChainId, Epoch, Generation, NodeId, Nonce, PoolId, ProviderId, Sequence, SessionId,
    TaskId,
};
use lode_protocol::session::{Channel, Desired, Granted, Heartbeat, Hello, Instruction, Usage};
use lode_protocol::task::{TaskSpec, ValidTaskSpec};
use lode_protocol::units::{Bytes, MilliCpus, Timestamp};
use lode_store::{
    Batch, Fault, MAX_BATCH_BYTES, MemoryStore, RedbOptions, RedbStore, Row, Store, StoreError, Table,
    Version, Writer, WriterLimits,
};
use tokio::sync::{mpsc, watch};

use crate::pool::{DEADLINE, eventually, key};

const POOL: PoolId = PoolId(1);

fn config() -> Config {
    Config {
        chain: ChainId(31_337),
        pools_contract: Address([0xa3; 20]),
        pool: POOL,
        requirements_hash: Digest([5; 32]),
        terms: Tunables::default(),
        requirements: Requirements { proof: None, allow_cpu_only: true, ..Requirements::default() },
        declared: None,
        settlement: None,
        // Nodes say a lot at once here.
        limits: Limits { messages: Rate { per_second: 1 << 20, burst: 1 << 20 }, ..Limits::default() },
    }
}

/// A store whose commits wait to be let through.
#[derive(Debug, Default)]
struct GatedStore {
    rows: MemoryStore,
    gate: Mutex<Gate>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Gate {
    closed: bool,
    /// Commits that wait at the gate.
    waiting: u32,
    /// Largest batch seen.
    largest: usize,
}

impl GatedStore {
    fn close(&self) {
        self.gate.lock().unwrap().closed = true;
    }

    fn open(&self) {
        self.gate.lock().unwrap().closed = false;
        self.changed.notify_all();
    }

    fn waiting(&self) -> u32 {
        self.gate.lock().unwrap().waiting
    }
}

impl Store for GatedStore {
    fn load(&self, table: Table) -> Result<Vec<Row>, StoreError> {
        self.rows.load(table)
    }

    fn scan(&self, table: Table, after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, StoreError> {
        self.rows.scan(table, after, limit)
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.rows.get(table, key)
    }

    fn commit(&self, batch: &Batch) -> Result<Version, StoreError> {
        let mut gate = self.gate.lock().unwrap();
        gate.largest = gate.largest.max(batch.bytes());
        gate.waiting += 1;
        let mut gate = self.changed.wait_while(gate, |gate| gate.closed).unwrap();
        gate.waiting -= 1;
        drop(gate);
        self.rows.commit(batch)
    }

    fn version(&self) -> Result<Version, StoreError> {
        self.rows.version()
    }
}

/// What left towards workers, in order.
#[derive(Debug)]
struct Heard(mpsc::UnboundedSender<Outgoing>);

impl Outlet for Heard {
    fn send(&self, outgoing: Outgoing) {
        let _ = self.0.send(outgoing);
    }
}

/// A driver that runs.
struct Running {
    handle: Handle,
    outlet: mpsc::UnboundedReceiver<Outgoing>,
    shutdown: Shutdown,
    findings: FindingSet,
    task: tokio::task::JoinHandle<anyhow::Result<()>>,
    connections: u64,
}

/// A member, as the test drives it.
struct Node {
    id: NodeId,
    granted: Granted,
    connection: ConnectionId,
    sequence: Sequence,
    observed: Option<Generation>,
}

impl Running {
    fn start(store: Arc<dyn Store>) -> Self {
        let clock = Clock::system();
        let (events, event_writer, fresh) =
            event_log::open(store.as_ref(), LimitsConfig::default().retention(), 7).unwrap();
        drop(events);
        if let Some(batch) = fresh {
            store.commit(&batch).unwrap();
        }
        let core: Core = recovery::recover(store.as_ref(), config()).unwrap();
        let (writer, _thread) = Writer::start(store, WriterLimits::default()).unwrap();
        let (heard, outlet) = mpsc::unbounded_channel();
        let (chain, commands) = mpsc::unbounded_channel();
        drop(commands);
        let findings = FindingSet::new(clock);
        let ports = Ports {
            clock,
            writer,
            events: event_writer,
            outlet: Arc::new(Heard(heard)),
            kept_from: watch::channel(Epoch(0)).0,
            chain,
            questions: mpsc::channel(1).0,
            findings: findings.clone(),
            metrics: Metrics::default(),
            pulse: None,
        };
        let (handle, queues) = driver::queues();
        let driver = Driver::new(core, ports, queues, StoreHealth::new(&Health::new()));
        let shutdown = Shutdown::new();
        let task = tokio::spawn(driver.run(shutdown.clone()));
        Running { handle, outlet, shutdown, findings, task, connections: 0 }
    }

    async fn stop(self) {
        self.shutdown.request(Cause::Requested("the test says so".to_owned()));
        tokio::time::timeout(DEADLINE, self.task).await.unwrap().unwrap().unwrap();
    }

    async fn next(&mut self) -> (NodeId, Answer) {
        let outgoing = tokio::time::timeout(DEADLINE, self.outlet.recv()).await.expect("an answer").unwrap();
        match outgoing {
            Outgoing::Answer { node, answer, .. } => (node, answer),
            Outgoing::Refusal { rejected, .. } => panic!("refused: {rejected:?}"),
        }
    }

    async fn instruction(&mut self) -> (NodeId, Instruction) {
        match self.next().await {
            (node, Answer::Instruction { instruction, .. }) => (node, *instruction),
            (_, other) => panic!("{other:?}"),
        }
    }

    async fn chain(&self) {
        let pool = ChainPool { running: true, max_nodes: 0, member_count: 2, owner: Address([9; 20]) };
        self.handle.fact(Event::ChainPool(pool)).await;
        self.handle.fact(Event::ChainViewed(ChainView::Fresh)).await;
    }

    /// A node that is a member by the chain, with one CPU-only machine, and has beaten once.
    async fn member(&mut self, number: u8) -> Node {
        let key = key(number);
        let id = NodeId(key.address());
        self.connections += 1;
        let connection = ConnectionId(self.connections);
        let descriptor = NodeDescriptor {
            node: id,
            specs: NodeSpecs {
                cpus: MilliCpus(16_000),
                memory: Bytes::gibi(64),
                disk: Bytes::gibi(500),
                engine_version: Some("27.0.1".to_owned()),
                os: "Debian".to_owned(),
                architecture: "amd64".to_owned(),
                ..NodeSpecs::default()
            },
            addresses: Vec::new(),
            sealing_key: None,
            agent_version: "0.1.0".to_owned(),
            boot: BootCounter(1),
            sequence: 1,
            issued_at: Timestamp(1),
            expires_at: Timestamp(u64::MAX / 2),
        };
        let hello = Hello {
            boot: BootCounter(1),
            nonce: Nonce([number; 16]),
            agent_version: "0.1.0".to_owned(),
            descriptor: Vec::new(),
            takes_tags: None,
        };
        let link = Link { connection, can_push: true };
        let session = SessionId([number; 16]);
        let event = Event::HelloReceived {
            node: id,
            public_key: key.public(),
            hello,
            descriptor,
            link,
            session,
            origin: None,
        };
        self.handle.fact(Event::NodeLookedUp { node: id, registered: true }).await;
        // The fact may come after the hello.
        let mut tries = 0;
        let granted = loop {
            self.say(id, connection, event.clone()).await;
            match self.next().await {
                (node, Answer::Granted(granted)) if node == id => break granted,
                (_, Answer::Refused(rejected)) if rejected.code == "node/chain-unknown" && tries < 1_000 => {
                    tries += 1;
                }
                other => panic!("{other:?}"),
            }
        };
        let registration =
            Registration { provider: ProviderId(Address([8; 20])), eligible: true, approved: true };
        self.handle.fact(Event::ChainNode { node: id, registration: Some(registration) }).await;
        let state = MembershipState::Member { active: true };
        let membership = ChainMembership { state, join_counter: 1 };
        self.handle.fact(Event::ChainMembership { node: id, membership }).await;
        let mut node = Node { id, granted, connection, sequence: Sequence(0), observed: None };
        // The facts may come after a beat: it beats until it is a member with a set.
        for _ in 0..1_000 {
            let instruction = self.beat(&mut node).await;
            if node.observed.is_some() && instruction.desired == Desired::Unchanged {
                return node;
            }
        }
        panic!("never a member");
    }

    async fn say(&self, node: NodeId, connection: ConnectionId, event: Event) {
        assert!(self.handle.message(Message { event: Box::new(event), node, connection, asked: None }).await);
    }

    /// Sends a beat without waiting for its answer.
    async fn send_beat(&self, node: &mut Node) {
        node.sequence = node.sequence.next();
        let heartbeat = Heartbeat {
            session: node.granted.session,
            epoch: node.granted.epoch,
            boot: BootCounter(1),
            sequence: node.sequence,
            observed: node.observed,
            complete: node.sequence == Sequence(1),
            assignments: Vec::new(),
            gpus: Vec::new(),
            usage: Usage::default(),
            findings: Vec::new(),
            specs: Digest::default(),
            descriptor: None,
            consent: None,
            receipts: None,
        };
        let digest = keccak256(&node.sequence.0.to_be_bytes());
        let link = Link { connection: node.connection, can_push: true };
        let event = Event::BeatReceived { node: node.id, digest, heartbeat, descriptor: None, link };
        self.say(node.id, node.connection, event).await;
    }

    /// A beat and its answer.
    async fn beat(&mut self, node: &mut Node) -> Instruction {
        self.send_beat(node).await;
        loop {
            let (to, instruction) = self.instruction().await;
            assert_eq!(to, node.id);
            if let Desired::Full { generation, .. } = &instruction.desired {
                node.observed = Some(*generation);
            }
            // What is pushed meanwhile says the same.
            match instruction.channel {
                Channel::Reply { sequence, .. } if sequence == node.sequence => return instruction,
                Channel::Reply { .. } | Channel::Push { .. } => {}
            }
        }
    }

    /// Submits in the background; the answer comes after the commit.
    fn submit(&self, number: u128, spec: &str) -> tokio::task::JoinHandle<bool> {
        let event = submission(number, spec);
        let handle = self.handle.clone();
        tokio::spawn(async move { handle.write(event).await.is_ok() })
    }
}

fn submission(number: u128, spec: &str) -> Event {
    let code = ErrorCode::new("image/unresolved");
    Event::TaskSubmitted {
        id: TaskId(uuid(number)),
        spec: valid(spec),
        order: None,
        idempotency_key: None,
        image: ImageResolution::Unpinned(Unpinned { code, message: String::new() }),
    }
}

fn uuid(number: u128) -> uuid::Uuid {
    uuid::Uuid::from_u128(number)
}

fn valid(spec: &str) -> ValidTaskSpec {
    TaskSpec::checked_from_json(spec.as_bytes()).unwrap()
}

const SMALL: &str = r#"{ "name": "t", "kind": "service", "image": "i:1" }"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seventy_two_megabytes_in_one_go_are_durable_and_seen_after_a_restart() {
    const TASKS: u128 = 720;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let open = || Arc::new(RedbStore::open(&path, RedbOptions::default()).unwrap());
    let store = open();
    let running = Running::start(store.clone());
    // Large specs, handed in at once: together far more than one commit takes.
    let filler = "x".repeat(2_000);
    let variables: Vec<String> = (0..50).map(|n| format!("\"V{n}\": \"{filler}\"")).collect();
    let spec = format!(
        r#"{{ "name": "t", "kind": "batch", "image": "i:1", "env": {{ {} }} }}"#,
        variables.join(",")
    );
    let size = lode_protocol::envelope::encode(&valid(&spec)).len() * usize::try_from(TASKS).unwrap();
    assert!(size > MAX_BATCH_BYTES, "{size}");
    let submitted: Vec<_> = (0..TASKS).map(|number| running.submit(number, &spec)).collect();
    for one in submitted {
        assert!(one.await.unwrap(), "accepted, and durable");
    }
    let shown = running.handle.read(|core, _| core.tasks(Default::default(), 10_000).len()).await.unwrap();
    assert_eq!(shown as u128, TASKS);
    running.stop().await;
    drop(store);
    let core = eventually("the file is free again", || async {
        let store = RedbStore::open(&path, RedbOptions::default()).ok()?;
        Some(recovery::recover(&store, config()).unwrap())
    })
    .await;
    assert_eq!(core.tasks(Default::default(), 10_000).len() as u128, TASKS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_end_at_a_few_megabytes_whatever_waits() {
    let store = Arc::new(GatedStore::default());
    let running = Running::start(store.clone());
    running.handle.read(|_, _| ()).await.unwrap();
    store.close();
    let filler = "x".repeat(2_000);
    let variables: Vec<String> = (0..10).map(|n| format!("\"V{n}\": \"{filler}\"")).collect();
    let spec = format!(
        r#"{{ "name": "t", "kind": "batch", "image": "i:1", "env": {{ {} }} }}"#,
        variables.join(",")
    );
    let submitted: Vec<_> = (0..900).map(|number| running.submit(number, &spec)).collect();
    eventually("the disk is asked", || async { (store.waiting() == 1).then_some(()) }).await;
    store.open();
    for one in submitted {
        assert!(one.await.unwrap());
    }
    let largest = store.gate.lock().unwrap().largest;
    assert!(largest <= (4 << 20) + (1 << 20), "{largest}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_tells_of_a_commit_waits_for_it_and_another_node_s_beat_does_not() {
    let store = Arc::new(GatedStore::default());
    let mut running = Running::start(store.clone());
    running.chain().await;
    let mut first = running.member(0x31).await;
    let mut second = running.member(0x32).await;
    running.handle.read(|_, _| ()).await.unwrap();

    store.close();
    // Placed on one of the two, whose set is news now; a push to it waits for the disk.
    let submitted = running.submit(1, SMALL);
    eventually("the disk is asked", || async { (store.waiting() == 1).then_some(()) }).await;
    running.send_beat(&mut first).await;
    running.send_beat(&mut second).await;
    let (told, early) = running.instruction().await;
    assert_eq!(early.desired, Desired::Unchanged, "nothing that is not durable is told");
    let (placed, mut other) = if told == first.id { (second.id, first) } else { (first.id, second) };
    // The other one goes on beating; the one that has work hears nothing.
    for _ in 0..5 {
        assert_eq!(running.beat(&mut other).await.desired, Desired::Unchanged);
    }
    assert_eq!(store.waiting(), 1);
    assert!(!submitted.is_finished(), "whoever submitted waits as well");

    store.open();
    assert!(submitted.await.unwrap());
    for what in ["the push", "the answer to the beat"] {
        let (to, instruction) = running.instruction().await;
        assert_eq!(to, placed, "{what}");
        let Desired::Full { orders, .. } = instruction.desired else { panic!("{what} tells the set") };
        assert_eq!(orders.len(), 1);
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_is_answered_when_what_it_tells_of_is_durable() {
    let store = Arc::new(GatedStore::default());
    let running = Running::start(store.clone());
    running.handle.read(|_, _| ()).await.unwrap();
    store.close();
    let submitted = running.submit(1, SMALL);
    eventually("the disk is asked", || async { (store.waiting() == 1).then_some(()) }).await;
    let handle = running.handle.clone();
    let asked =
        tokio::spawn(async move { handle.read(|core, _| core.task(&TaskId(uuid(1))).is_some()).await });
    // A second submission is stepped while the first one is committed.
    let later = running.submit(2, SMALL);
    tokio::task::yield_now().await;
    assert!(!asked.is_finished() && !submitted.is_finished() && !later.is_finished());
    store.open();
    assert!(asked.await.unwrap().unwrap());
    assert!(submitted.await.unwrap() && later.await.unwrap());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_is_answered_with_how_it_left_things_whatever_is_asked_after_it() {
    let store = Arc::new(GatedStore::default());
    let running = Running::start(store.clone());
    running.handle.read(|_, _| ()).await.unwrap();
    store.close();
    let task = TaskId(uuid(1));
    let handle = running.handle.clone();
    let submitted = tokio::spawn(async move {
        handle.write_and_read(submission(1, SMALL), move |core, _| core.task_summary(&task)).await
    });
    eventually("the disk is asked", || async { (store.waiting() == 1).then_some(()) }).await;
    let handle = running.handle.clone();
    let deleted = tokio::spawn(async move {
        handle.write_and_read(Event::TaskDelete(task), move |core, _| core.task_summary(&task)).await
    });
    let gone = Arc::new(AtomicBool::new(false));
    eventually("the deletion is stepped", || {
        let (handle, seen) = (running.handle.clone(), Arc::clone(&gone));
        tokio::spawn(async move {
            handle.read(move |core, _| seen.fetch_or(core.task(&task).is_none(), Ordering::Relaxed)).await
        });
        let gone = Arc::clone(&gone);
        async move { gone.load(Ordering::Relaxed).then_some(()) }
    })
    .await;
    assert!(!submitted.is_finished() && !deleted.is_finished(), "nothing of it is durable");
    store.open();
    assert_eq!(submitted.await.unwrap().unwrap().map(|summary| summary.id), Some(task));
    assert_eq!(deleted.await.unwrap().unwrap(), None);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failure_nothing_leaves_before_everything_before_it_is_written() {
    let store = Arc::new(GatedStore::default());
    let mut running = Running::start(store.clone());
    running.chain().await;
    let mut node = running.member(0x31).await;
    running.handle.read(|_, _| ()).await.unwrap();
    store.close();
    let first = running.submit(1, SMALL);
    eventually("the disk is asked", || async { (store.waiting() == 1).then_some(()) }).await;
    // Stepped while the first one is on its way: it must not be written before it.
    let second = running.submit(2, SMALL);
    let stepped = Arc::new(AtomicBool::new(false));
    eventually("the second one is stepped", || {
        // A question looks at once, whenever its answer is told.
        let (handle, seen) = (running.handle.clone(), Arc::clone(&stepped));
        let look = async move {
            handle
                .read(move |core, _| seen.fetch_or(core.task(&TaskId(uuid(2))).is_some(), Ordering::Relaxed))
                .await
        };
        tokio::spawn(look);
        let stepped = Arc::clone(&stepped);
        async move { stepped.load(Ordering::Relaxed).then_some(()) }
    })
    .await;
    running.send_beat(&mut node).await;
    let before = store.version().unwrap();
    store.rows.set_fault(Some(Fault::Full));
    store.open();
    // People are told that it is undecided; the worker hears nothing at all.
    assert!(!first.await.unwrap() && !second.await.unwrap());
    eventually("it is said", || async {
        let list = running.findings.list();
        list.iter().any(|row| row.finding.code == "store/unwritable").then_some(())
    })
    .await;
    assert!(running.outlet.try_recv().is_err(), "nothing leaves that is not durable");
    assert_eq!(store.version().unwrap(), before);
    let served = running.handle.read(|core, _| core.tasks(Default::default(), 10).len()).await.unwrap();
    assert!(served >= 1, "reads are served meanwhile");

    store.rows.set_fault(None);
    let mut told = Vec::new();
    while told.last() != Some(&2) {
        let (_, instruction) = running.instruction().await;
        if let Desired::Full { orders, .. } = instruction.desired {
            told.push(orders.len());
        }
    }
    assert!(told.is_sorted(), "in order: {told:?}");
    running.stop().await;
    let core = recovery::recover(&store.rows, config()).unwrap();
    assert_eq!(core.tasks(Default::default(), 10).len(), 2, "both took effect");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_stepped_is_committed_before_the_driver_ends() {
    let store = Arc::new(GatedStore::default());
    let running = Running::start(store.clone());
    running.handle.read(|_, _| ()).await.unwrap();
    store.close();
    let first = running.submit(1, SMALL);
    eventually("the disk is asked", || async { (store.waiting() == 1).then_some(()) }).await;
    running.shutdown.request(Cause::Requested("the test says so".to_owned()));
    store.open();
    assert!(first.await.unwrap());
    tokio::time::timeout(DEADLINE, running.task).await.unwrap().unwrap().unwrap();
    let core = recovery::recover(&store.rows, config()).unwrap();
    assert_eq!(core.tasks(Default::default(), 10).len(), 1);
}
