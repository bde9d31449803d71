//! Opens and accepts substreams of chosen connections.
//!
//! Why not `libp2p-stream`: it names peers, not connections (a peer that reconnects has two), drops incoming streams
//! when two arrive at once, and keeps an entry for every connection there ever was.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Waker};

use libp2p::core::transport::PortUse;
use libp2p::core::{Endpoint as Role, InboundUpgrade, OutboundUpgrade, UpgradeInfo};
use libp2p::swarm::handler::{
    ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId as SwarmId, FromSwarm,
    NetworkBehaviour, NotifyHandler, StreamUpgradeError, SubstreamProtocol, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, Stream};
use tokio::sync::oneshot;

use crate::error::NetworkError;
use crate::protocol::Protocol;

/// A stream that a peer opened.
#[derive(Debug)]
pub(crate) struct Inbound {
    pub(crate) connection: SwarmId,
    pub(crate) protocol: Protocol,
    pub(crate) stream: Stream,
}

/// A stream that we want. Dropping it is the answer "the connection is gone".
#[derive(Debug)]
pub(crate) struct OpenRequest {
    pub(crate) protocol: Protocol,
    pub(crate) reply: oneshot::Sender<Result<Stream, NetworkError>>,
}

/// The set of protocols that this program accepts, shared with all connections.
#[derive(Clone, Debug, Default)]
struct Accepted(Arc<AtomicU8>);

const fn bit(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Session => 1,
        Protocol::Logs => 2,
        Protocol::Proof => 4,
    }
}

impl Accepted {
    fn add(&self, protocol: Protocol) {
        self.0.fetch_or(bit(protocol), Ordering::Relaxed);
    }

    fn remove(&self, protocol: Protocol) {
        self.0.fetch_and(!bit(protocol), Ordering::Relaxed);
    }

    fn list(&self) -> Vec<Protocol> {
        let set = self.0.load(Ordering::Relaxed);
        Protocol::ALL.into_iter().filter(|protocol| set & bit(*protocol) != 0).collect()
    }
}

/// The behaviour.
#[derive(Debug, Default)]
pub(crate) struct Substreams {
    accepted: Accepted,
    queue: VecDeque<ToSwarm<Inbound, OpenRequest>>,
    waker: Option<Waker>,
}

impl Substreams {
    pub(crate) fn accept(&mut self, protocol: Protocol) {
        self.accepted.add(protocol);
    }

    pub(crate) fn stop_accepting(&mut self, protocol: Protocol) {
        self.accepted.remove(protocol);
    }

    pub(crate) fn open(&mut self, peer_id: PeerId, connection: SwarmId, request: OpenRequest) {
        let handler = NotifyHandler::One(connection);
        self.queue.push_back(ToSwarm::NotifyHandler { peer_id, handler, event: request });
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl NetworkBehaviour for Substreams {
    type ConnectionHandler = Handler;
    type ToSwarm = Inbound;

    fn handle_established_inbound_connection(
        &mut self,
        _: SwarmId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new(self.accepted.clone()))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: SwarmId,
        _: PeerId,
        _: &Multiaddr,
        _: Role,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new(self.accepted.clone()))
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(&mut self, _: PeerId, connection: SwarmId, event: THandlerOutEvent<Self>) {
        let (protocol, stream) = event;
        self.queue.push_back(ToSwarm::GenerateEvent(Inbound { connection, protocol, stream }));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some(action) = self.queue.pop_front() {
            return Poll::Ready(action);
        }
        self.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

/// One per connection.
#[derive(Debug)]
pub(crate) struct Handler {
    accepted: Accepted,
    wanted: VecDeque<OpenRequest>,
    arrived: VecDeque<(Protocol, Stream)>,
    waker: Option<Waker>,
}

impl Handler {
    fn new(accepted: Accepted) -> Self {
        Self { accepted, wanted: VecDeque::new(), arrived: VecDeque::new(), waker: None }
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = OpenRequest;
    type ToBehaviour = (Protocol, Stream);
    type InboundProtocol = Offer;
    type OutboundProtocol = Offer;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = OpenRequest;

    fn listen_protocol(&self) -> SubstreamProtocol<Offer, ()> {
        SubstreamProtocol::new(Offer(self.accepted.list()), ())
    }

    fn poll(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Offer, OpenRequest, (Protocol, Stream)>> {
        if let Some(arrived) = self.arrived.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(arrived));
        }
        if let Some(request) = self.wanted.pop_front() {
            let offer = Offer(vec![request.protocol]);
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest {
                protocol: SubstreamProtocol::new(offer, request),
            });
        }
        self.waker = Some(context.waker().clone());
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, request: OpenRequest) {
        self.wanted.push_back(request);
        self.wake();
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Offer, Offer, (), OpenRequest>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, .. }) => {
                self.arrived.push_back(protocol);
                self.wake();
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: (_, stream),
                info,
            }) => {
                // Whoever asked may have given up; the stream is then dropped and reset.
                let _ = info.reply.send(Ok(stream));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error }) => {
                let error = match error {
                    StreamUpgradeError::Timeout => {
                        NetworkError::closed("the stream was not negotiated in time")
                    }
                    StreamUpgradeError::Apply(never) => match never {},
                    StreamUpgradeError::NegotiationFailed => {
                        NetworkError::UnsupportedProtocol { protocol: info.protocol.name() }
                    }
                    StreamUpgradeError::Io(error) => NetworkError::closed(error),
                };
                let _ = info.reply.send(Err(error));
            }
            _ => {}
        }
    }
}

/// Protocols offered to or accepted from a peer.
#[derive(Debug)]
pub(crate) struct Offer(Vec<Protocol>);

/// A protocol as multistream-select wants it.
#[derive(Clone, Debug)]
pub(crate) struct Name(Protocol);

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        self.0.name()
    }
}

impl UpgradeInfo for Offer {
    type Info = Name;
    type InfoIter = std::vec::IntoIter<Name>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.iter().copied().map(Name).collect::<Vec<_>>().into_iter()
    }
}

impl InboundUpgrade<Stream> for Offer {
    type Output = (Protocol, Stream);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, name: Name) -> Self::Future {
        ready(Ok((name.0, stream)))
    }
}

impl OutboundUpgrade<Stream> for Offer {
    type Output = (Protocol, Stream);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_outbound(self, stream: Stream, name: Name) -> Self::Future {
        ready(Ok((name.0, stream)))
    }
}
