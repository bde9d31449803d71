//! The task that owns the swarm: carries out commands, matches dials to their callers, hands out incoming streams,
//! and ends connections that stopped answering.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::future::BoxFuture;
use libp2p::core::transport::ListenerId;
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::swarm::{ConnectionId as SwarmId, ListenError, NetworkBehaviour, Swarm, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Stream, identify, ping};
use lode_address::PeerAddress;
use lode_protocol::ids::Address;
use lode_protocol::keys::SigningKey;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::admission::Admission;
use super::dial::{PendingDial, dial_error, mismatch};
use super::gate::Gate;
use super::state::{ConnectionId, ConnectionState, Connections};
use super::substreams::{Inbound, OpenRequest, Substreams};
use super::transport::stack;
use super::watchdog::Watchdog;
use super::{Connection, EndpointConfig, IncomingStream, Shared};
use crate::error::NetworkError;
use crate::frame::{FrameTerms, FramedStream, Side};
use crate::identity::keypair;
use crate::metrics::{ByDirection, Direction, NetworkMetrics};
use crate::multiaddress::{ip_of, multiaddr_of, own_address};
use crate::protocol::Protocol;

/// How often silent connections are looked for: an eighth of the keep-alive's timeout, within these bounds.
const SHORTEST_PATROL: Duration = Duration::from_millis(10);
const LONGEST_PATROL: Duration = Duration::from_secs(1);

/// What handles ask of the owner.
#[derive(Debug)]
pub(crate) enum Command {
    Dial {
        address: PeerAddress,
        /// One place that the address leads to.
        place: Multiaddr,
        expected: Address,
        reply: oneshot::Sender<Result<Connection, NetworkError>>,
    },
    Open {
        connection: ConnectionId,
        protocol: Protocol,
        reply: oneshot::Sender<Result<Stream, NetworkError>>,
    },
    Accept {
        protocol: Protocol,
        sender: mpsc::Sender<IncomingStream>,
    },
}

#[derive(NetworkBehaviour)]
struct Behaviour {
    admission: Admission,
    substreams: Substreams,
    ping: ping::Behaviour,
    identify: identify::Behaviour,
}

struct Open {
    state: Arc<ConnectionState>,
    peer: PeerId,
    direction: Direction,
    remote: Option<IpAddr>,
}

/// Owns the swarm; see [`EndpointTask::run`].
#[must_use = "the endpoint works only while this task runs"]
pub struct EndpointTask {
    swarm: Swarm<Behaviour>,
    commands: mpsc::Receiver<Command>,
    closing: mpsc::UnboundedReceiver<ConnectionId>,
    connections: Arc<Connections>,
    terms: FrameTerms,
    by_id: HashMap<ConnectionId, SwarmId>,
    open: HashMap<SwarmId, Open>,
    dials: HashMap<SwarmId, PendingDial>,
    acceptors: HashMap<Protocol, mpsc::Sender<IncomingStream>>,
    watchdog: Watchdog<SwarmId>,
    patrol: Duration,
    metrics: NetworkMetrics,
    addresses: Vec<PeerAddress>,
}

impl std::fmt::Debug for EndpointTask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EndpointTask").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

impl EndpointTask {
    pub(crate) async fn bind(
        config: &EndpointConfig,
        key: &SigningKey,
        metrics: NetworkMetrics,
        commands: mpsc::Receiver<Command>,
        shared: Shared,
        closing: mpsc::UnboundedReceiver<ConnectionId>,
    ) -> Result<Self, NetworkError> {
        let keypair = keypair(key)?;
        let own = keypair.public().to_peer_id();
        let ping = ping::Config::new().with_interval(config.ping_interval).with_timeout(config.ping_timeout);
        let identify = identify::Config::new("/lode/1".to_owned(), keypair.public())
            .with_agent_version(config.agent.clone())
            .with_cache_size(0)
            .with_hide_listen_addrs(true);
        let Shared { connections, regulars, terms } = shared;
        let gate = Gate::new(&config.strangers, regulars.clone(), metrics.clone());
        let behaviour = Behaviour {
            admission: Admission::new(config.limits, &config.strangers, regulars, metrics.clone()),
            substreams: Substreams::default(),
            ping: ping::Behaviour::new(ping),
            identify: identify::Behaviour::new(identify),
        };
        let swarm_config = libp2p::swarm::Config::with_tokio_executor()
            .with_idle_connection_timeout(config.idle_timeout)
            .with_max_negotiating_inbound_streams(config.limits.streams_per_connection);
        let swarm = Swarm::new(stack(config, &keypair, gate)?, behaviour, own, swarm_config);
        let mut task = Self {
            swarm,
            commands,
            closing,
            connections,
            terms,
            by_id: HashMap::new(),
            open: HashMap::new(),
            dials: HashMap::new(),
            acceptors: HashMap::new(),
            watchdog: Watchdog::new(config.ping_interval + config.ping_timeout),
            patrol: (config.ping_timeout / 8).clamp(SHORTEST_PATROL, LONGEST_PATROL),
            metrics,
            addresses: Vec::new(),
        };
        task.listen(config, own).await?;
        Ok(task)
    }

    pub(crate) fn addresses(&self) -> Vec<PeerAddress> {
        self.addresses.clone()
    }

    async fn listen(&mut self, config: &EndpointConfig, own: PeerId) -> Result<(), NetworkError> {
        let failed = |address: &PeerAddress, reason: String| NetworkError::Listen {
            address: address.to_string(),
            reason,
        };
        let mut waiting: HashMap<ListenerId, &PeerAddress> = HashMap::new();
        for address in &config.listen {
            let id = self.swarm.listen_on(multiaddr_of(address)?);
            waiting.insert(id.map_err(|error| failed(address, error.to_string()))?, address);
        }
        let mut bound = HashSet::new();
        while bound.len() < waiting.len() {
            match self.swarm.select_next_some().await {
                SwarmEvent::NewListenAddr { listener_id, address } => {
                    bound.insert(listener_id);
                    let place = own_address(&address, &own).ok_or_else(|| NetworkError::Listen {
                        address: address.to_string(),
                        reason: "it is no TCP address".to_owned(),
                    })?;
                    self.addresses.push(place);
                }
                SwarmEvent::ListenerClosed { listener_id, reason, .. } => {
                    let reason = reason.err().map_or("it was closed".to_owned(), |error| error.to_string());
                    if let Some(address) = waiting.get(&listener_id) {
                        return Err(failed(address, reason));
                    }
                }
                other => self.on_event(other),
            }
        }
        Ok(())
    }

    /// Works until `shutdown` or until no handle is left, then closes everything.
    ///
    /// Boxed, so that the transport is compiled here and not again by everybody who spawns it.
    pub fn run(self, shutdown: CancellationToken) -> BoxFuture<'static, ()> {
        Box::pin(self.work(shutdown))
    }

    async fn work(mut self, shutdown: CancellationToken) {
        let mut patrol = interval(self.patrol);
        patrol.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = patrol.tick() => self.patrol(),
                () = shutdown.cancelled() => break,
                command = self.commands.recv() => match command {
                    Some(command) => self.on_command(command),
                    None => break,
                },
                Some(id) = self.closing.recv() => {
                    if let Some(swarm_id) = self.by_id.get(&id) {
                        self.swarm.close_connection(*swarm_id);
                    }
                }
                event = self.swarm.select_next_some() => self.on_event(event),
            }
        }
        self.connections.close_all(&NetworkError::closed("this program is stopping"));
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Dial { address, place, expected, reply } => {
                self.dial(place, PendingDial { address, expected, reply });
            }
            Command::Open { connection, protocol, reply } => {
                let swarm_id = self.by_id.get(&connection);
                // Without the connection the request is dropped, which its caller reads as "gone".
                if let Some((swarm_id, open)) = swarm_id.and_then(|id| Some((*id, self.open.get(id)?))) {
                    open.state.mark_used();
                    let request = OpenRequest { protocol, reply };
                    self.swarm.behaviour_mut().substreams.open(open.peer, swarm_id, request);
                }
            }
            Command::Accept { protocol, sender } => {
                self.acceptors.insert(protocol, sender);
                self.swarm.behaviour_mut().substreams.accept(protocol);
            }
        }
    }

    fn dial(&mut self, place: Multiaddr, dial: PendingDial) {
        // A new port for each dial: reusing the listener's makes a quick reconnect collide with TIME_WAIT.
        let options = DialOpts::unknown_peer_id().address(place).allocate_new_port().build();
        let id = options.connection_id();
        match self.swarm.dial(options) {
            Ok(()) => {
                self.dials.insert(id, dial);
            }
            Err(error) => {
                let error = dial_error(&dial, &error);
                let _ = dial.reply.send(Err(error));
            }
        }
    }

    fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Substreams(inbound)) => self.on_inbound(inbound),
            SwarmEvent::Behaviour(BehaviourEvent::Ping(ping::Event { connection, result, .. })) => {
                match result {
                    Ok(_) => self.watchdog.heard(connection, Instant::now()),
                    // What counts is that no answer comes; the watchdog sees that.
                    Err(failure) => tracing::debug!(%connection, %failure, "a keep-alive failed"),
                }
            }
            SwarmEvent::Behaviour(BehaviourEvent::Identify(_) | BehaviourEvent::Admission(_)) => {}
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                let direction = if endpoint.is_dialer() { Direction::Outgoing } else { Direction::Incoming };
                let remote = ip_of(endpoint.get_remote_address());
                self.on_established(peer_id, connection_id, direction, remote);
            }
            SwarmEvent::ConnectionClosed { connection_id, cause, .. } => {
                self.watchdog.forget(connection_id);
                let Some(open) = self.open.remove(&connection_id) else { return };
                let seen =
                    cause.map_or("the peer ended the connection".to_owned(), |cause| cause.to_string());
                open.state.close_for(NetworkError::closed(seen));
                self.by_id.remove(&open.state.id);
                self.connections.remove(open.state.id);
                self.metrics.connections.get_or_create(&ByDirection { direction: open.direction }).dec();
            }
            SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => {
                if let Some(dial) = self.dials.remove(&connection_id) {
                    let error = dial_error(&dial, &error);
                    let _ = dial.reply.send(Err(error));
                }
            }
            SwarmEvent::IncomingConnectionError { error, .. } => {
                // Limits count their own refusals; the rest are handshakes that failed.
                if !matches!(error, ListenError::Denied { .. }) {
                    self.metrics.refuse("handshake-failed");
                }
                tracing::debug!(%error, "an incoming connection was not established");
            }
            SwarmEvent::ListenerError { error, .. } => {
                tracing::warn!(%error, "a listener had an error and goes on")
            }
            SwarmEvent::ListenerClosed { reason, addresses, .. } => {
                tracing::error!(
                    ?reason,
                    ?addresses,
                    "a listener ended: peers cannot connect there until a restart"
                );
            }
            _ => {}
        }
    }

    fn on_established(
        &mut self,
        peer: PeerId,
        swarm_id: SwarmId,
        direction: Direction,
        remote: Option<IpAddr>,
    ) {
        let Some(state) = self.swarm.behaviour().admission.state(swarm_id) else {
            self.swarm.close_connection(swarm_id);
            return;
        };
        self.metrics.connections.get_or_create(&ByDirection { direction }).inc();
        self.watchdog.watch(swarm_id, Instant::now());
        self.by_id.insert(state.id, swarm_id);
        self.connections.insert(state.clone());
        self.open.insert(swarm_id, Open { state: state.clone(), peer, direction, remote });
        let Some(dial) = self.dials.remove(&swarm_id) else { return };
        let result = if state.peer == dial.expected {
            Ok(Connection { id: state.id, peer: state.peer })
        } else {
            Err(mismatch(&dial, &state.peer.to_string()))
        };
        let refused = result.as_ref().err().cloned();
        if dial.reply.send(result).is_err() {
            self.connections.close(state.id, NetworkError::closed("nobody waits for it any more"));
        } else if let Some(error) = refused {
            self.connections.close(state.id, error);
        }
    }

    fn on_inbound(&mut self, inbound: Inbound) {
        let Inbound { connection, protocol, stream } = inbound;
        let Some(open) = self.open.get(&connection) else { return };
        let (state, remote) = (open.state.clone(), open.remote);
        state.mark_used();
        let incoming = IncomingStream {
            peer: state.peer,
            connection: state.id,
            remote,
            stream: FramedStream::new(stream, protocol, Side::Accepter, state, &self.terms),
        };
        let Some(acceptor) = self.acceptors.get(&protocol) else {
            self.metrics.streams_dropped.inc();
            return;
        };
        match acceptor.try_send(incoming) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.metrics.streams_dropped.inc();
            }
            Err(mpsc::error::TrySendError::Closed(_)) => {
                self.acceptors.remove(&protocol);
                self.swarm.behaviour_mut().substreams.stop_accepting(protocol);
                self.metrics.streams_dropped.inc();
            }
        }
    }

    fn patrol(&mut self) {
        let now = Instant::now();
        self.swarm.behaviour_mut().admission.end_strangers(now);
        for connection in self.watchdog.overdue(now) {
            if let Some(open) = self.open.get(&connection) {
                open.state.close_for(NetworkError::KeepaliveFailed);
                self.swarm.close_connection(connection);
            }
        }
    }
}
