//! An orchestrator over real libp2p that says what a test wants and remembers what it hears.

use std::collections::BTreeMap;
use std::time::Duration;

use lode_network::{
    ConnectionId, Endpoint, EndpointConfig, FramedStream, NetworkMetrics, PeerAddress, PeerServer,
    ReplyHandle, ServerConfig, ServerEvent,
};
use lode_protocol::assignment::AssignmentReport;
use lode_protocol::envelope::{
    Addressing, Audience, Expectation, Purpose, Realm, Signable, claimed_purpose, open, seal,
};
use lode_protocol::hash::Digest;
use lode_protocol::ids::{Address, AssignmentId, Generation, Nonce, Sequence, SessionId, Term};
use lode_protocol::join::SignedInvite;
use lode_protocol::keys::SigningKey;
use lode_protocol::logs::{LogBatch, LogRequest};
use lode_protocol::session::{
    AssignmentSpec, Channel, Desired, Granted, Heartbeat, Hello, Instruction, LeaseTiming, Leave, Membership,
};
use lode_protocol::units::{Millis, Timestamp};
use lode_protocol::usage::{MeterReading, OfferedReceipt};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Nothing in these tests takes longer; a test that waits for this long has failed.
const PATIENCE: Duration = Duration::from_secs(40);

pub(crate) struct Orchestrator {
    pub(crate) key: SigningKey,
    pub(crate) realm: Realm,
    pub(crate) address: PeerAddress,
    pub(crate) epoch: Term,
    pub(crate) generation: u64,
    pub(crate) orders: Vec<AssignmentSpec>,
    pub(crate) membership: Membership,
    pub(crate) invite: Option<SignedInvite>,
    pub(crate) meter: Option<MeterReading>,
    pub(crate) offers: Vec<OfferedReceipt>,
    pub(crate) mute: bool,
    pub(crate) beats: Vec<Heartbeat>,
    pub(crate) hellos: Vec<Hello>,
    pub(crate) leaves: Vec<Leave>,
    pub(crate) reports: BTreeMap<AssignmentId, AssignmentReport>,
    node: Address,
    session: u8,
    connection: Option<ConnectionId>,
    server: PeerServer,
    events: mpsc::Receiver<ServerEvent>,
    stop: CancellationToken,
}

impl Drop for Orchestrator {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub(crate) fn now() -> Timestamp {
    Timestamp(lode_program::Clock::system().wall_millis())
}

impl Orchestrator {
    pub(crate) async fn start(realm: Realm, node: Address, membership: Membership) -> Self {
        let key = SigningKey::from_bytes(&[42; 32]).unwrap();
        let config = EndpointConfig { listen: vec![PeerAddress::loopback(0)], ..EndpointConfig::default() };
        let (endpoint, task) = Endpoint::bind(config, &key, NetworkMetrics::default()).await.unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(task.run(stop.clone()));
        let address = endpoint.addresses()[0].clone();
        let (server, task, events) = PeerServer::sessions(endpoint, ServerConfig::default()).await.unwrap();
        tokio::spawn(task.run(stop.clone()));
        Self {
            key,
            realm,
            address,
            epoch: Term(1),
            generation: 0,
            orders: Vec::new(),
            membership,
            invite: None,
            meter: None,
            offers: Vec::new(),
            mute: false,
            beats: Vec::new(),
            hellos: Vec::new(),
            leaves: Vec::new(),
            reports: BTreeMap::new(),
            node,
            session: 0,
            connection: None,
            server,
            events,
            stop,
        }
    }

    /// Wants exactly these from now on.
    pub(crate) fn want(&mut self, orders: &[AssignmentSpec]) {
        self.orders = orders.to_vec();
        self.generation += 1;
    }

    pub(crate) fn seal<T: Signable>(&self, body: &T) -> Vec<u8> {
        let addressing = Addressing {
            audience: Audience::Peer(self.node),
            realm: self.realm,
            now: now(),
            lifetime: Millis::seconds(60),
        };
        seal(&self.key, addressing, body).bytes
    }

    fn open<T: Signable>(&self, bytes: &[u8]) -> (T, Digest) {
        let expected = Expectation {
            recipient: Some(self.key.address()),
            realm: self.realm,
            now: now(),
            signer: Some(self.node),
        };
        let opened = open::<T>(bytes, &expected).unwrap();
        (opened.body, opened.digest)
    }

    fn terms() -> LeaseTiming {
        LeaseTiming {
            interval: Millis(100),
            suspect_after: Millis::seconds(5),
            lost_after: Millis::seconds(10),
        }
    }

    /// Goes on until `holds`.
    pub(crate) async fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let waited = tokio::time::timeout(PATIENCE, async {
            while !holds(self) {
                self.turn().await;
            }
        });
        if waited.await.is_err() {
            panic!("not within {PATIENCE:?}: {what}; last beat {:?}", self.beats.last());
        }
    }

    /// Answers so many more beats.
    pub(crate) async fn answer_beats(&mut self, count: usize) {
        let wanted = self.beats.len() + count;
        self.until("more beats", |seen| seen.beats.len() >= wanted).await;
    }

    async fn turn(&mut self) {
        match self.events.recv().await.expect("the server lives") {
            ServerEvent::Opened { connection, .. } => {
                self.server.vouch(connection);
                self.connection = Some(connection);
            }
            ServerEvent::Frame(frame) => self.on_frame(&frame.bytes, frame.reply),
            ServerEvent::Closed { connection, .. } => {
                if self.connection == Some(connection) {
                    self.connection = None;
                }
            }
            ServerEvent::Logs { .. } => {}
        }
    }

    fn on_frame(&mut self, bytes: &[u8], reply: ReplyHandle) {
        match claimed_purpose(bytes).unwrap() {
            Purpose::Hello => {
                let (hello, _) = self.open::<Hello>(bytes);
                self.session += 1;
                let mut session = SessionId::default();
                session.0[0] = self.session;
                let granted = Granted {
                    nonce: hello.nonce,
                    session,
                    epoch: self.epoch,
                    terms: Self::terms(),
                    membership: self.membership.clone(),
                };
                self.hellos.push(hello);
                let _ = reply.send(self.seal(&granted));
            }
            Purpose::Heartbeat => {
                let (beat, request) = self.open::<Heartbeat>(bytes);
                for report in &beat.assignments {
                    self.reports.insert(report.id, report.clone());
                }
                let sequence = beat.sequence;
                self.beats.push(beat);
                if self.mute {
                    return;
                }
                let _ = reply.send(self.seal(&self.instruction(sequence, request)));
            }
            Purpose::Leave => {
                let (leave, _) = self.open::<Leave>(bytes);
                self.leaves.push(leave);
            }
            other => panic!("a worker does not send {other:?}"),
        }
    }

    fn instruction(&self, sequence: Sequence, request: Digest) -> Instruction {
        let mut session = SessionId::default();
        session.0[0] = self.session;
        Instruction {
            session,
            epoch: self.epoch,
            channel: Channel::Reply { sequence, request },
            terms: Self::terms(),
            desired: match self.generation {
                0 => Desired::Unchanged,
                generation => {
                    Desired::Full { generation: Generation(generation), orders: self.orders.clone() }
                }
            },
            membership: self.membership.clone(),
            invite: self.invite.clone(),
            log_requests: Vec::new(),
            meter: self.meter,
            receipts: (!self.offers.is_empty()).then(|| self.offers.clone()),
        }
    }

    /// Reads the output of an assignment to its end.
    pub(crate) async fn read_logs(&mut self, assignment: AssignmentId) -> Vec<LogBatch> {
        let stream = [9; 16];
        let request = LogRequest {
            stream: Nonce(stream),
            assignment,
            follow: false,
            tail: None,
            since: None,
            after: None,
            before: None,
        };
        let connection = self.connection.expect("a worker is connected");
        let mut opened: FramedStream = self.server.open_logs(connection, PATIENCE).await.unwrap();
        opened.send(&self.seal(&request), PATIENCE).await.unwrap();
        let mut batches = Vec::new();
        while let Some(bytes) = opened.receive(PATIENCE).await.unwrap() {
            batches.push(self.open::<LogBatch>(&bytes).0);
        }
        batches
    }
}
