//! Who may connect: limits on incoming connections, and who gives way when there is no room.
//!
//! A connection attempt counts against its IP address from the first byte. When all places are taken, an established
//! newcomer displaces the oldest connection that nobody vouched for, idle ones first; when the program vouched for all
//! of them, the newcomer is refused. Of more than `per_peer` connections of one peer the oldest gives way: after a
//! restart the new one is the living one.
//!
//! Outgoing connections are our own choice and are not limited here.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use libp2p::core::transport::PortUse;
use libp2p::core::{ConnectedPoint, Endpoint as Role};
use libp2p::swarm::behaviour::ConnectionEstablished;
use libp2p::swarm::{
    CloseConnection, ConnectionClosed, ConnectionDenied, ConnectionId as SwarmId, FromSwarm, ListenFailure,
    NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};

use super::ConnectionLimits;
use super::state::ConnectionState;
use crate::address::ip_of;
use crate::error::NetworkError;
use crate::identity::address_of;
use crate::metrics::NetworkMetrics;

/// A limit that refused a connection.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) &'static str);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Refused {}

struct Incoming {
    ip: Option<IpAddr>,
    peer: PeerId,
    order: u64,
}

/// Limits, and the connections that count against them.
pub(crate) struct Admission {
    limits: ConnectionLimits,
    metrics: NetworkMetrics,
    pending: HashMap<SwarmId, Option<IpAddr>>,
    incoming: HashMap<SwarmId, Incoming>,
    states: HashMap<SwarmId, Arc<ConnectionState>>,
    per_address: HashMap<IpAddr, usize>,
    per_peer: HashMap<PeerId, VecDeque<SwarmId>>,
    /// Incoming connections that nobody was seen to vouch for, oldest first.
    unvouched: BTreeMap<u64, SwarmId>,
    order: u64,
    evictions: VecDeque<(PeerId, SwarmId)>,
    leaving: usize,
    waker: Option<Waker>,
}

impl Admission {
    pub(crate) fn new(limits: ConnectionLimits, metrics: NetworkMetrics) -> Self {
        Self {
            limits,
            metrics,
            pending: HashMap::new(),
            incoming: HashMap::new(),
            states: HashMap::new(),
            per_address: HashMap::new(),
            per_peer: HashMap::new(),
            unvouched: BTreeMap::new(),
            order: 0,
            evictions: VecDeque::new(),
            leaving: 0,
            waker: None,
        }
    }

    pub(crate) fn state(&self, id: SwarmId) -> Option<Arc<ConnectionState>> {
        self.states.get(&id).cloned()
    }

    fn refuse(&self, reason: &'static str) -> ConnectionDenied {
        self.metrics.refuse(reason);
        ConnectionDenied::new(Refused(reason))
    }

    fn release(&mut self, ip: Option<IpAddr>) {
        let Some(ip) = ip else { return };
        if let Some(count) = self.per_address.get_mut(&ip) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.per_address.remove(&ip);
            }
        }
    }

    fn evict(&mut self, id: SwarmId, reason: &'static str) {
        let Some(entry) = self.incoming.get(&id) else { return };
        self.unvouched.remove(&entry.order);
        let peer = entry.peer;
        if let Some(state) = self.states.get(&id)
            && state.close_for(NetworkError::Evicted { reason })
        {
            self.metrics.evict(reason);
            self.leaving += 1;
            self.evictions.push_back((peer, id));
            if let Some(waker) = self.waker.take() {
                waker.wake();
            }
        }
    }

    /// The connection to give up for a newcomer: the oldest idle one, else the oldest one, of those not vouched for.
    fn victim(&mut self) -> Option<SwarmId> {
        let states = &self.states;
        self.unvouched.retain(|_, id| states.get(id).is_some_and(|state| !state.is_vouched()));
        let idle = self.unvouched.values().find(|id| states.get(*id).is_some_and(|state| !state.is_used()));
        idle.or_else(|| self.unvouched.values().next()).copied()
    }

    fn make_room(&mut self, peer: &PeerId) -> Result<(), ConnectionDenied> {
        if let Some(own) = self.per_peer.get(peer)
            && own.len() >= self.limits.per_peer
            && let Some(oldest) = own.front().copied()
        {
            self.evict(oldest, "newer-connection-of-the-same-peer");
        }
        let staying = self.incoming.len().saturating_sub(self.leaving);
        if staying < self.limits.incoming {
            return Ok(());
        }
        match self.victim() {
            Some(victim) => {
                self.evict(victim, "all-places-taken");
                Ok(())
            }
            None => Err(self.refuse("all-places-taken")),
        }
    }
}

impl NetworkBehaviour for Admission {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = std::convert::Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        id: SwarmId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        if self.pending.len() >= self.limits.pending_incoming {
            return Err(self.refuse("too-many-handshakes"));
        }
        let ip = ip_of(remote);
        if let Some(ip) = ip {
            let count = self.per_address.entry(ip).or_default();
            if *count >= self.limits.per_address {
                return Err(self.refuse("too-many-of-one-address"));
            }
            *count += 1;
        }
        self.pending.insert(id, ip);
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: SwarmId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if address_of(&peer).is_none() {
            return Err(self.refuse("unsupported-key"));
        }
        self.make_room(&peer)?;
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: SwarmId,
        peer: PeerId,
        _: &Multiaddr,
        _: Role,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if address_of(&peer).is_none() {
            return Err(self.refuse("unsupported-key"));
        }
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                ..
            }) => {
                let Some(address) = address_of(&peer_id) else { return };
                self.states.insert(connection_id, ConnectionState::new(address));
                if let ConnectedPoint::Listener { .. } = endpoint {
                    let ip = self.pending.remove(&connection_id).flatten();
                    self.order += 1;
                    self.unvouched.insert(self.order, connection_id);
                    self.per_peer.entry(peer_id).or_default().push_back(connection_id);
                    self.incoming.insert(connection_id, Incoming { ip, peer: peer_id, order: self.order });
                }
            }
            FromSwarm::ConnectionClosed(ConnectionClosed { connection_id, .. }) => {
                let state = self.states.remove(&connection_id);
                let Some(entry) = self.incoming.remove(&connection_id) else { return };
                if matches!(state.and_then(|state| state.cause()), Some(NetworkError::Evicted { .. })) {
                    self.leaving = self.leaving.saturating_sub(1);
                }
                self.unvouched.remove(&entry.order);
                self.release(entry.ip);
                if let Some(own) = self.per_peer.get_mut(&entry.peer) {
                    own.retain(|id| *id != connection_id);
                    if own.is_empty() {
                        self.per_peer.remove(&entry.peer);
                    }
                }
            }
            FromSwarm::ListenFailure(ListenFailure { connection_id, .. }) => {
                if let Some(ip) = self.pending.remove(&connection_id) {
                    self.release(ip);
                }
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: SwarmId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some((peer_id, id)) = self.evictions.pop_front() {
            return Poll::Ready(ToSwarm::CloseConnection { peer_id, connection: CloseConnection::One(id) });
        }
        self.waker = Some(context.waker().clone());
        Poll::Pending
    }
}
