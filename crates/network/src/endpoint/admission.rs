//! Who may stay connected: limits on established incoming connections, and who gives way when there is no room. Handshakes
//! are counted before, at the gate.
//!
//! When all places are taken, or all of the newcomer's address, an established newcomer displaces a connection that nobody
//! vouched for: first those of addresses that are not known from before, of these first those that have opened no stream in
//! the time for a first frame, of these first the oldest. Whoever has just come is not idle for that: it would be the first to
//! give way to the next one. When the program vouched for all of them, the newcomer is refused. A connection that nobody
//! vouches for ends in time by itself. Of more than `per_peer` connections of one peer the oldest gives way: after a restart
//! the new one is the living one.
//!
//! Outgoing connections are our own choice and are not limited here.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use libp2p::core::transport::PortUse;
use libp2p::core::{ConnectedPoint, Endpoint as Role};
use libp2p::swarm::behaviour::ConnectionEstablished;
use libp2p::swarm::{
    CloseConnection, ConnectionClosed, ConnectionDenied, ConnectionId as SwarmId, FromSwarm,
    NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};
use lode_protocol::origin::Origin;

use super::limits::{ConnectionLimits, StrangerLimits};
use super::regulars::Regulars;
use super::state::ConnectionState;
use crate::error::NetworkError;
use crate::identity::address_of;
use crate::metrics::NetworkMetrics;
use crate::multiaddress::ip_of;

/// A limit that refused a connection.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) &'static str);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Refused {}

/// An established incoming connection that was not asked to leave.
struct Incoming {
    place: Option<Origin>,
    peer: PeerId,
    order: u64,
}

/// One that nobody was seen to vouch for.
struct Stranger {
    id: SwarmId,
    since: Instant,
    state: Arc<ConnectionState>,
}

impl Stranger {
    /// Whether it has had time for a stream, and opened none.
    fn is_idle(&self, now: Instant, first_frame: Duration) -> bool {
        !self.state.is_used() && now.duration_since(self.since) >= first_frame
    }
}

/// Limits, and the connections that count against them.
pub(crate) struct Admission {
    limits: ConnectionLimits,
    first_frame: Duration,
    patience: Duration,
    regulars: Arc<Regulars>,
    metrics: NetworkMetrics,
    states: HashMap<SwarmId, Arc<ConnectionState>>,
    incoming: HashMap<SwarmId, Incoming>,
    per_place: HashMap<Origin, usize>,
    per_peer: HashMap<PeerId, VecDeque<SwarmId>>,
    /// Oldest first.
    strangers: BTreeMap<u64, Stranger>,
    order: u64,
    evictions: VecDeque<(PeerId, SwarmId)>,
    waker: Option<Waker>,
}

impl Admission {
    pub(crate) fn new(
        limits: ConnectionLimits,
        strangers: &StrangerLimits,
        regulars: Arc<Regulars>,
        metrics: NetworkMetrics,
    ) -> Self {
        Self {
            limits,
            first_frame: strangers.first_frame.to_duration(),
            patience: strangers.patience.to_duration(),
            regulars,
            metrics,
            states: HashMap::new(),
            incoming: HashMap::new(),
            per_place: HashMap::new(),
            per_peer: HashMap::new(),
            strangers: BTreeMap::new(),
            order: 0,
            evictions: VecDeque::new(),
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

    /// It counts no longer.
    fn release(&mut self, id: SwarmId) -> Option<PeerId> {
        let Incoming { place, peer, order } = self.incoming.remove(&id)?;
        self.strangers.remove(&order);
        if let Some(place) = place
            && let Some(count) = self.per_place.get_mut(&place)
        {
            *count -= 1;
            if *count == 0 {
                self.per_place.remove(&place);
            }
        }
        if let Some(own) = self.per_peer.get_mut(&peer) {
            own.retain(|other| *other != id);
            if own.is_empty() {
                self.per_peer.remove(&peer);
            }
        }
        Some(peer)
    }

    /// Sends away a connection that was told to close.
    fn send_away(&mut self, id: SwarmId, reason: &'static str) {
        let Some(peer) = self.release(id) else { return };
        self.metrics.evict(reason);
        self.evictions.push_back((peer, id));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Whether somebody without standing gives way, at this place or anywhere.
    fn displace(&mut self, place: Option<Origin>, reason: &'static str) -> bool {
        let (now, first_frame) = (Instant::now(), self.first_frame);
        loop {
            let here = |stranger: &Stranger| place.is_none() || stranger.state.place == place;
            let candidates =
                self.strangers.iter().filter(|(_, other)| other.state.is_stranger() && here(other));
            let victim = candidates.min_by_key(|(order, other)| {
                (other.state.is_regular, !other.is_idle(now, first_frame), **order)
            });
            let Some((id, state)) = victim.map(|(_, other)| (other.id, Arc::clone(&other.state))) else {
                return false;
            };
            // Vouched for at this moment, or closing for another reason: then it is another one's turn.
            if state.give_way(reason) {
                self.send_away(id, reason);
                return true;
            }
        }
    }

    fn make_room(&mut self, peer: &PeerId, place: Option<Origin>) -> Result<(), ConnectionDenied> {
        let own = self.per_peer.get(peer).filter(|own| own.len() >= self.limits.per_peer);
        if let Some(oldest) = own.and_then(|own| own.front().copied()) {
            let reason = "newer-connection-of-the-same-peer";
            let closes = |state: &Arc<ConnectionState>| state.close_for(NetworkError::Evicted { reason });
            if self.states.get(&oldest).is_some_and(closes) {
                self.send_away(oldest, reason);
            }
        }
        if let Some(place) = place
            && self.per_place.get(&place).is_some_and(|count| *count >= self.limits.per_address)
            && !self.displace(Some(place), "too-many-of-one-address")
        {
            return Err(self.refuse("too-many-of-one-address"));
        }
        if self.incoming.len() >= self.limits.incoming && !self.displace(None, "all-places-taken") {
            return Err(self.refuse("all-places-taken"));
        }
        Ok(())
    }

    /// Ends connections that nobody has vouched for in time.
    pub(crate) fn end_strangers(&mut self, now: Instant) {
        let patience = self.patience;
        let overdue = |stranger: &Stranger| now.duration_since(stranger.since) >= patience;
        while let Some(entry) = self.strangers.first_entry().filter(|entry| overdue(entry.get())) {
            let Stranger { id, state, .. } = entry.remove();
            if state.give_way("nobody-vouched-for-it") {
                self.send_away(id, "nobody-vouched-for-it");
            }
        }
    }
}

impl NetworkBehaviour for Admission {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = std::convert::Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: SwarmId,
        peer: PeerId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if address_of(&peer).is_none() {
            return Err(self.refuse("unsupported-key"));
        }
        self.make_room(&peer, ip_of(remote).map(Origin::from))?;
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
                let ConnectedPoint::Listener { send_back_addr, .. } = endpoint else {
                    self.states.insert(connection_id, ConnectionState::dialled(address));
                    return;
                };
                let place = ip_of(send_back_addr).map(Origin::from);
                let is_regular = place.is_some_and(|place| self.regulars.knows(place));
                let state = ConnectionState::incoming(address, place, is_regular);
                self.states.insert(connection_id, Arc::clone(&state));
                self.order += 1;
                let order = self.order;
                self.strangers.insert(order, Stranger { id: connection_id, since: Instant::now(), state });
                if let Some(place) = place {
                    *self.per_place.entry(place).or_default() += 1;
                }
                self.per_peer.entry(peer_id).or_default().push_back(connection_id);
                self.incoming.insert(connection_id, Incoming { place, peer: peer_id, order });
            }
            FromSwarm::ConnectionClosed(ConnectionClosed { connection_id, .. }) => {
                self.states.remove(&connection_id);
                self.release(connection_id);
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
