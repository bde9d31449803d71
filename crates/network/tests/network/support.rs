//! Endpoints, servers and clients of the tests. Everything ends when it is dropped.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use lode_network::{
    ClientConfig, ClientEvent, ConnectionId, Endpoint, EndpointConfig, EndpointUrl, NetworkError,
    NetworkMetrics, PeerAddress, PeerClient, PeerServer, ServerConfig, ServerEvent, Transport,
};
use lode_protocol::keys::SigningKey;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Far longer than anything takes; reaching it is a failure.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) fn key(number: u16) -> SigningKey {
    let mut bytes = [7; 32];
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    SigningKey::from_bytes(&bytes).unwrap()
}

/// Waits for a condition, checking it again and again.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = timeout(DEADLINE, async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    });
    assert!(waited.await.is_ok(), "never came true: {what}");
}

pub(crate) struct Running {
    pub(crate) endpoint: Endpoint,
    pub(crate) metrics: NetworkMetrics,
    pub(crate) shutdown: CancellationToken,
    _stop: DropGuard,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    /// Stops the endpoint and waits until its sockets are closed.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        timeout(DEADLINE, self.task).await.unwrap().unwrap();
    }
}

pub(crate) fn listening() -> EndpointConfig {
    EndpointConfig { listen: vec![PeerAddress::loopback(0)], ..EndpointConfig::default() }
}

pub(crate) async fn endpoint(key: &SigningKey, config: EndpointConfig) -> Running {
    let metrics = NetworkMetrics::default();
    let (endpoint, task) = Endpoint::bind(config, key, metrics.clone()).await.unwrap();
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(task.run(shutdown.clone()));
    Running { endpoint, metrics, _stop: shutdown.clone().drop_guard(), shutdown, task }
}

/// An orchestrator that answers `frame` with `re:frame`, except to frames that start with `!`, which stay unanswered; to those
/// that start with `?` the answer is a refusal, and those that start with `%` come too often.
pub(crate) struct Orchestrator {
    pub(crate) running: Running,
    pub(crate) server: PeerServer,
    pub(crate) seen: Arc<Mutex<Vec<Seen>>>,
    pub(crate) key: SigningKey,
}

/// What the orchestrator saw.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Seen {
    Opened(ConnectionId, lode_protocol::ids::Address),
    Frame(Option<lode_protocol::ids::Address>, Transport, Vec<u8>),
    Closed(ConnectionId, NetworkError),
    Logs(Vec<u8>),
}

impl Orchestrator {
    pub(crate) async fn start(
        key: SigningKey,
        endpoint_config: EndpointConfig,
        config: ServerConfig,
    ) -> Self {
        let running = endpoint(&key, endpoint_config).await;
        let (server, task, events) = PeerServer::sessions(running.endpoint.clone(), config).await.unwrap();
        tokio::spawn(task.run(running.shutdown.clone()));
        let seen = Arc::new(Mutex::new(Vec::new()));
        tokio::spawn(answer(events, seen.clone()));
        Self { running, server, seen, key }
    }

    pub(crate) async fn usual(number: u16) -> Self {
        Self::start(key(number), listening(), ServerConfig::default()).await
    }

    pub(crate) fn address(&self) -> &PeerAddress {
        &self.running.endpoint.addresses()[0]
    }

    /// The same place behind a proxy.
    pub(crate) fn address_at(&self, place: SocketAddr) -> PeerAddress {
        PeerAddress::tcp(place).with_peer(&self.key.public()).unwrap()
    }

    /// Serves the HTTPS fallback's routes as plain HTTP on loopback.
    pub(crate) async fn serve_http(&self) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let routes: Router = self.server.wire_routes(Router::new());
        let stop = self.running.shutdown.clone();
        tokio::spawn(async move {
            tokio::select! {
                result = axum::serve(listener, routes).into_future() => result.unwrap(),
                () = stop.cancelled() => {}
            }
        });
        address
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Waits until a peer has its stream open, and vouches for it.
    pub(crate) async fn vouch_for(&self, peer: lode_protocol::ids::Address) {
        let of_peer = || {
            self.seen().into_iter().find_map(|seen| match seen {
                Seen::Opened(connection, who) if who == peer => Some(connection),
                _ => None,
            })
        };
        eventually("the peer has its stream open", || of_peer().is_some()).await;
        self.server.vouch(of_peer().unwrap());
    }

    /// Why streams ended.
    pub(crate) fn reasons(&self) -> Vec<NetworkError> {
        let reason = |seen| match seen {
            Seen::Closed(_, reason) => Some(reason),
            _ => None,
        };
        self.seen().into_iter().filter_map(reason).collect()
    }

    pub(crate) fn opened(&self) -> Vec<ConnectionId> {
        let opened = |seen: &Seen| match seen {
            Seen::Opened(connection, _) => Some(*connection),
            _ => None,
        };
        self.seen().iter().filter_map(opened).collect()
    }
}

async fn answer(mut events: mpsc::Receiver<ServerEvent>, seen: Arc<Mutex<Vec<Seen>>>) {
    while let Some(event) = events.recv().await {
        let entry = match event {
            ServerEvent::Opened { connection, peer } => Seen::Opened(connection, peer),
            ServerEvent::Closed { connection, reason, .. } => Seen::Closed(connection, reason),
            ServerEvent::Frame(frame) => {
                let answer = [b"re:", frame.bytes.as_slice()].concat();
                // The peer may be gone; the test looks at what it sees.
                let _ = match frame.bytes.first() {
                    Some(b'!') => Ok(()),
                    Some(b'?') => frame.reply.refuse_with(|| answer),
                    Some(b'%') => {
                        frame.reply.too_often();
                        Ok(())
                    }
                    _ => frame.reply.send(answer),
                };
                Seen::Frame(frame.peer, frame.connection.transport(), frame.bytes)
            }
            ServerEvent::Logs { bytes, reply } => {
                if bytes.starts_with(b"wanted") {
                    reply.accept()
                } else {
                    reply.not_wanted()
                }
                Seen::Logs(bytes)
            }
        };
        seen.lock().unwrap().push(entry);
    }
}

/// A worker's link.
pub(crate) struct Worker {
    pub(crate) running: Running,
    pub(crate) client: PeerClient,
    pub(crate) events: mpsc::Receiver<ClientEvent>,
}

pub(crate) fn quick(orchestrator: &SigningKey, endpoints: Vec<EndpointUrl>) -> ClientConfig {
    ClientConfig {
        connect_timeout: Duration::from_secs(5),
        request_timeout: Duration::from_secs(5),
        primary_retry: Duration::from_millis(50),
        backoff_initial: Duration::from_millis(10),
        backoff_max: Duration::from_millis(100),
        ..ClientConfig::new(orchestrator.address(), endpoints)
    }
}

impl Worker {
    pub(crate) async fn start(number: u16, config: ClientConfig) -> Self {
        Self::start_on(endpoint(&key(number), EndpointConfig::default()).await, config)
    }

    pub(crate) fn start_on(running: Running, config: ClientConfig) -> Self {
        let (client, task, events) = PeerClient::session(running.endpoint.clone(), config);
        tokio::spawn(task.run(running.shutdown.clone()));
        Self { running, client, events }
    }

    pub(crate) async fn next(&mut self) -> ClientEvent {
        timeout(DEADLINE, self.events.recv()).await.expect("an event within the deadline").unwrap()
    }

    pub(crate) async fn connected(&mut self) -> Transport {
        match self.next().await {
            ClientEvent::Connected { transport, .. } => transport,
            other => panic!("expected Connected, got {other:?}"),
        }
    }

    /// Skips failed attempts.
    pub(crate) async fn connected_at_last(&mut self) -> Transport {
        loop {
            match self.next().await {
                ClientEvent::Connected { transport, .. } => return transport,
                ClientEvent::ConnectFailed { .. } | ClientEvent::Disconnected { .. } => {}
                ClientEvent::Frame(frame) => panic!("expected Connected, got {frame:?}"),
            }
        }
    }

    pub(crate) async fn frame(&mut self) -> Vec<u8> {
        match self.next().await {
            ClientEvent::Frame(bytes) => bytes,
            other => panic!("expected a frame, got {other:?}"),
        }
    }

    pub(crate) async fn disconnected(&mut self) -> NetworkError {
        match self.next().await {
            ClientEvent::Disconnected { reason } => reason,
            other => panic!("expected Disconnected, got {other:?}"),
        }
    }

    pub(crate) async fn round_trip(&mut self, frame: &[u8]) {
        self.client.send(frame.to_vec()).unwrap();
        assert_eq!(self.frame().await, [b"re:", frame].concat());
    }
}

pub(crate) fn peer(address: &PeerAddress) -> EndpointUrl {
    EndpointUrl::Peer(address.clone())
}

pub(crate) fn http(address: SocketAddr) -> EndpointUrl {
    format!("http://{address}").parse().unwrap()
}
