//! A worker that speaks the wire, and does and says exactly what a test tells it to.

use std::time::Duration;

use lode_network::{
    ClientConfig, ClientEvent, Endpoint, EndpointConfig, IncomingStreams, NetworkMetrics, PeerClient,
    Protocol,
};
use lode_protocol::acknowledgement::{PeerSecret, SessionKey, SessionParties};
use lode_protocol::assignment::{AssignmentReport, AssignmentState};
use lode_protocol::descriptor::NodeDescriptor;
use lode_protocol::envelope::{
    Addressing, Audience, Expectation, Opened, Purpose, Realm, Signable, claimed_purpose, open, seal,
};
use lode_protocol::hardware::{GpuSpec, GpuState, GpuStatus, NodeSpecs};
use lode_protocol::ids::{Address, AssignmentId, BootCounter, NodeId, Nonce, Sequence};
use lode_protocol::keys::{PublicKey, SigningKey};
use lode_protocol::session::{
    AssignmentSpec, Channel, Consent, Desired, Granted, Heartbeat, Hello, Instruction, Membership, Refusal,
    Usage,
};
use lode_protocol::settlement::rewards_domain;
use lode_protocol::units::{Bytes, MilliCpus, Millis, Timestamp};
use lode_protocol::usage::{OfferedReceipt, ReceiptAnswer, ReceiptVerdict};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::pool::{DEADLINE, Pool};

pub(crate) fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp(u64::try_from(since.as_millis()).unwrap())
}

/// What the orchestrator answered, verified.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Answer {
    Granted(Granted),
    Instruction(Box<Instruction>),
    Refusal(Refusal),
}

impl Answer {
    pub(crate) fn granted(self) -> Granted {
        match self {
            Answer::Granted(granted) => granted,
            other => panic!("expected Granted, got {other:?}"),
        }
    }

    pub(crate) fn instruction(self) -> Instruction {
        match self {
            Answer::Instruction(instruction) => *instruction,
            other => panic!("expected Instruction, got {other:?}"),
        }
    }

    pub(crate) fn code(self) -> String {
        match self {
            Answer::Refusal(refusal) => refusal.code.to_string(),
            other => panic!("expected Refusal, got {other:?}"),
        }
    }
}

pub(crate) struct FakeWorker {
    pub(crate) key: SigningKey,
    pub(crate) boot: BootCounter,
    pub(crate) realm: Realm,
    pub(crate) orchestrator: Address,
    pub(crate) rewards: Address,
    pub(crate) session: Option<Granted>,
    pub(crate) sequence: Sequence,
    pub(crate) client: PeerClient,
    pub(crate) log_streams: IncomingStreams,
    pub(crate) pushes: Vec<Instruction>,
    pub(crate) orders: Vec<AssignmentSpec>,
    events: mpsc::Receiver<ClientEvent>,
    nonces: u8,
    descriptors: u64,
    observed: Option<lode_protocol::ids::Generation>,
    /// Receipts of the last answer, and what the next beat says to them.
    pub(crate) offered: Vec<OfferedReceipt>,
    pub(crate) signs: bool,
    /// Whether its answers may be tagged instead of signed.
    pub(crate) takes_tags: bool,
    /// By how much its clock is ahead.
    pub(crate) ahead: Millis,
    pub(crate) orchestrator_key: PublicKey,
    /// Purpose of the last answer.
    pub(crate) last_purpose: Option<Purpose>,
    shutdown: CancellationToken,
    _stop: DropGuard,
}

impl FakeWorker {
    /// Connects over the endpoint that begins with `prefix` (`/ip4` or `http`).
    pub(crate) async fn connect(pool: &Pool, key: SigningKey, boot: u64, prefix: &str) -> Self {
        let (endpoint, task) =
            Endpoint::bind(EndpointConfig::default(), &key, NetworkMetrics::default()).await.unwrap();
        let shutdown = CancellationToken::new();
        tokio::spawn(task.run(shutdown.clone()));
        let log_streams = endpoint.accept(Protocol::Logs).await.unwrap();
        let orchestrator = pool.key.address();
        let config = ClientConfig {
            backoff_initial: Duration::from_millis(20),
            backoff_max: Duration::from_millis(100),
            ..ClientConfig::new(orchestrator, vec![pool.endpoint(prefix).parse().unwrap()])
        };
        let (client, task, events) = PeerClient::session(endpoint, config);
        tokio::spawn(task.run(shutdown.clone()));
        let mut worker = FakeWorker {
            key,
            boot: BootCounter(boot),
            realm: pool.realm,
            orchestrator,
            rewards: lode_contracts::ChainReader::deployment(pool.chain.as_ref()).rewards,
            session: None,
            sequence: Sequence(0),
            client,
            log_streams,
            pushes: Vec::new(),
            orders: Vec::new(),
            events,
            nonces: u8::try_from(boot).unwrap() * 16,
            descriptors: 0,
            observed: None,
            offered: Vec::new(),
            signs: true,
            takes_tags: true,
            ahead: Millis(0),
            orchestrator_key: pool.key.public(),
            last_purpose: None,
            _stop: shutdown.clone().drop_guard(),
            shutdown,
        };
        worker.connected().await;
        worker
    }

    /// A registered node that has joined.
    pub(crate) async fn member(pool: &Pool, key: SigningKey, prefix: &str) -> Self {
        pool.register(&key).await;
        let mut worker = Self::connect(pool, key, 1, prefix).await;
        worker.hello().await;
        worker.join(pool).await;
        worker
    }

    pub(crate) fn node(&self) -> NodeId {
        NodeId(self.key.address())
    }

    /// Dies without a word.
    pub(crate) fn die(self) {
        self.shutdown.cancel();
    }

    async fn event(&mut self) -> ClientEvent {
        tokio::time::timeout(DEADLINE, self.events.recv())
            .await
            .expect("an event within the deadline")
            .unwrap()
    }

    pub(crate) async fn connected(&mut self) {
        loop {
            match self.event().await {
                ClientEvent::Connected { .. } => return,
                ClientEvent::ConnectFailed { .. } | ClientEvent::Disconnected { .. } => {}
                ClientEvent::Frame(_) => panic!("a frame before the connection"),
            }
        }
    }

    fn specs(&self) -> NodeSpecs {
        Self::specs_of(&self.key)
    }

    /// Every worker has GPUs of its own.
    pub(crate) fn specs_of(key: &SigningKey) -> NodeSpecs {
        let address = key.address().to_string();
        let gpu = |number: u32| GpuSpec {
            uuid: format!("GPU-0000000{number}-{address}").parse().unwrap(),
            model: Some("NVIDIA H200".to_owned()),
            memory: Some(Bytes::gibi(141)),
            compute_capability: Some((9, 0)),
            pci_bus_id: None,
            parent: None,
        };
        NodeSpecs {
            cpus: MilliCpus(16_000),
            memory: Bytes::gibi(64),
            disk: Bytes::gibi(500),
            gpus: vec![gpu(1), gpu(2)],
            engine_version: Some("27.0.1".to_owned()),
            os: "Debian".to_owned(),
            architecture: "amd64".to_owned(),
            ..NodeSpecs::default()
        }
    }

    fn addressing(&self, audience: Audience) -> Addressing {
        Addressing { audience, realm: self.realm, now: now().plus(self.ahead), lifetime: Millis::seconds(60) }
    }

    pub(crate) fn seal<T: Signable>(&self, body: &T) -> Vec<u8> {
        seal(&self.key, self.addressing(Audience::Peer(self.orchestrator)), body).bytes
    }

    pub(crate) fn descriptor(&mut self) -> Vec<u8> {
        self.descriptors += 1;
        let body = NodeDescriptor {
            node: self.node(),
            specs: self.specs(),
            addresses: Vec::new(),
            sealing_key: None,
            agent_version: "0.1.0".to_owned(),
            boot: self.boot,
            sequence: self.descriptors,
            issued_at: now(),
            expires_at: now().plus(Millis::seconds(3_600)),
        };
        seal(&self.key, self.addressing(Audience::Any), &body).bytes
    }

    pub(crate) fn hello_body(&mut self) -> Hello {
        self.nonces += 1;
        let nonce = Nonce([self.nonces; 16]);
        Hello {
            boot: self.boot,
            nonce,
            agent_version: "0.1.0".to_owned(),
            descriptor: self.descriptor(),
            takes_tags: Some(self.takes_tags),
        }
    }

    /// Sends bytes and waits for their answer; pushes that come first are kept.
    pub(crate) async fn say(&mut self, bytes: Vec<u8>) -> Answer {
        self.client.send(bytes).unwrap();
        loop {
            let frame = self.frame().await;
            match self.read(&frame) {
                Answer::Instruction(instruction) if matches!(instruction.channel, Channel::Push { .. }) => {
                    self.take(&instruction.desired);
                    self.pushes.push(*instruction);
                }
                answer => {
                    self.last_purpose = claimed_purpose(&frame).ok();
                    return answer;
                }
            }
        }
    }

    pub(crate) async fn frame(&mut self) -> Vec<u8> {
        loop {
            match self.event().await {
                ClientEvent::Frame(bytes) => return bytes,
                ClientEvent::Connected { .. } | ClientEvent::ConnectFailed { .. } => {}
                ClientEvent::Disconnected { reason } => panic!("disconnected: {reason}"),
            }
        }
    }

    pub(crate) fn read(&self, frame: &[u8]) -> Answer {
        match claimed_purpose(frame).unwrap() {
            Purpose::Granted => Answer::Granted(self.open(frame)),
            Purpose::Instruction => Answer::Instruction(Box::new(self.open(frame))),
            Purpose::Refusal => Answer::Refusal(self.open(frame)),
            Purpose::Acknowledgement => Answer::Instruction(Box::new(
                self.session_key().open(frame, &self.expectation()).expect("made with the session's key"),
            )),
            other => panic!("the orchestrator sent a {other:?}"),
        }
    }

    /// Nothing counts that the orchestrator's key did not sign for us.
    pub(crate) fn open<T: Signable>(&self, bytes: &[u8]) -> T {
        let opened: Opened<T> = open(bytes, &self.expectation()).unwrap();
        opened.body
    }

    pub(crate) fn expectation(&self) -> Expectation {
        Expectation {
            recipient: Some(self.key.address()),
            realm: self.realm,
            now: now(),
            signer: Some(self.orchestrator),
        }
    }

    /// The key of its session, as the node knows it.
    pub(crate) fn session_key(&self) -> SessionKey {
        let secret = PeerSecret::agree(&self.key, &self.orchestrator_key).unwrap();
        let parties = SessionParties {
            node: self.key.public(),
            orchestrator: self.orchestrator_key,
            realm: self.realm,
        };
        SessionKey::derive(&secret, parties, self.session.as_ref().expect("a session").session)
    }

    pub(crate) async fn hello(&mut self) -> Granted {
        let hello = self.hello_body();
        let bytes = self.seal(&hello);
        let started = std::time::Instant::now();
        let granted = loop {
            match self.say(bytes.clone()).await {
                // The first one of a node has the chain asked.
                Answer::Refusal(refusal)
                    if refusal.code == "node/chain-unknown" && started.elapsed() < DEADLINE =>
                {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                answer => break answer.granted(),
            }
        };
        self.session = Some(granted.clone());
        self.sequence = Sequence(0);
        granted
    }

    /// The next beat, to be changed and sent.
    pub(crate) fn beat_body(&mut self) -> Heartbeat {
        let session = self.session.clone().expect("a session");
        self.sequence = self.sequence.next();
        let gpus = self.specs().gpus.into_iter().map(|gpu| GpuStatus {
            uuid: gpu.uuid,
            state: GpuState::Healthy,
            reason: None,
            temperature: Some(40),
            power: None,
            utilization: None,
            memory_used: None,
        });
        let domain = rewards_domain(self.realm.chain, self.rewards);
        let sign = |offer: &OfferedReceipt| ReceiptAnswer {
            epoch: offer.receipt.epoch,
            payee: offer.receipt.payee,
            verdict: ReceiptVerdict::Signed(self.key.sign_recoverable(&offer.receipt.digest(&domain))),
        };
        let receipts: Vec<ReceiptAnswer> =
            if self.signs { self.offered.iter().map(sign).collect() } else { Vec::new() };
        Heartbeat {
            session: session.session,
            epoch: session.epoch,
            boot: self.boot,
            sequence: self.sequence,
            observed: self.observed,
            complete: self.sequence == Sequence(1),
            assignments: Vec::new(),
            gpus: gpus.collect(),
            usage: Usage::default(),
            findings: Vec::new(),
            specs: self.specs().digest(),
            descriptor: None,
            consent: None,
            receipts: (!receipts.is_empty()).then_some(receipts),
        }
    }

    pub(crate) async fn beat_with(&mut self, change: impl FnOnce(&mut Heartbeat)) -> Answer {
        let mut beat = self.beat_body();
        change(&mut beat);
        let bytes = self.seal(&beat);
        self.say(bytes).await
    }

    /// A beat that is accepted.
    pub(crate) async fn beat(&mut self) -> Instruction {
        let instruction = self.beat_with(|_| {}).await.instruction();
        self.take(&instruction.desired);
        self.offered = instruction.receipts.clone().unwrap_or_default();
        instruction
    }

    fn take(&mut self, desired: &Desired) {
        if let Desired::Full { generation, orders } = desired {
            self.observed = Some(*generation);
            self.orders.clone_from(orders);
        }
    }

    /// Beats, consents, and beats until it is a member. Tells the consent.
    pub(crate) async fn join(&mut self, pool: &Pool) -> Consent {
        let domain = lode_contracts::ChainReader::deployment(pool.chain.as_ref()).pools_domain();
        let started = std::time::Instant::now();
        let mut consent = None;
        loop {
            let given: Option<Consent> = consent.clone();
            let instruction = match self.beat_with(|beat| beat.consent = given).await {
                Answer::Instruction(instruction) => *instruction,
                // The join came about before this beat: a worker drops its consent then.
                Answer::Refusal(refusal) if refusal.code == "join/already-used" => {
                    self.beat_with(|_| {}).await.instruction()
                }
                other => panic!("expected Instruction, got {other:?}"),
            };
            self.take(&instruction.desired);
            if let Some(signed) = &instruction.invite {
                let digest = signed.invite.invite_digest(&domain);
                assert_eq!(signed.signature.recover(&digest), Ok(self.orchestrator));
                let signature = self.key.sign_recoverable(&signed.invite.consent_digest(&domain));
                consent = Some(Consent { invite: signed.invite, signature });
            }
            if instruction.membership == Membership::Member {
                return consent.expect("nobody joins without consent");
            }
            assert!(started.elapsed() < DEADLINE, "never joined: {:?}", instruction.membership);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Beats until it has an order.
    pub(crate) async fn order(&mut self) -> AssignmentSpec {
        let started = std::time::Instant::now();
        loop {
            self.beat().await;
            if let Some(order) = self.orders.first() {
                return order.clone();
            }
            assert!(started.elapsed() < DEADLINE, "never got an order");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn report(order: &AssignmentSpec, state: AssignmentState) -> AssignmentReport {
        Self::report_of(order.id, order, state)
    }

    pub(crate) fn report_of(
        id: AssignmentId,
        order: &AssignmentSpec,
        state: AssignmentState,
    ) -> AssignmentReport {
        AssignmentReport {
            id,
            state,
            reason: None,
            detail: String::new(),
            exit_code: None,
            restarts: 0,
            gpus: order.gpus.clone(),
            ports: Vec::new(),
            image: None,
            at: now(),
            phase: None,
        }
    }
}
