//! What workers send, opened where it arrives.

use std::sync::Arc;
use std::time::Instant;

use futures::future::BoxFuture;
use lode_network::{IncomingFrame, Protocol, ServerEvent, ServerSink};
use lode_protocol::envelope::{EnvelopeError, Opened, Purpose, Unopened, peek};
use lode_protocol::error_code::ErrorCode;
use lode_protocol::ids::{NodeId, SessionId};
use lode_protocol::keys::PublicKey;
use lode_protocol::origin::Origin;
use lode_protocol::session::{Heartbeat, Hello, Leave};
use rand::RngCore as _;
use tokio::sync::mpsc;

use super::answers::refusal;
use super::gate::Gate;
use super::skew::Skews;
use crate::core::error::{Class, Rejected};
use crate::core::event::{ConnectionId, Event, Link};
use crate::driver::{Handle, Message, PendingReply};
use crate::identity::{Identity, refused_envelope, rejection};
use crate::known_nodes::{KnownNode, KnownNodes};
use crate::log_requests::PostedLogs;
use crate::metrics::Metrics;

/// Takes what the transport delivers.
#[derive(Debug)]
pub struct Inbound {
    /// Who we are.
    pub identity: Arc<Identity>,
    /// Nodes that hold a session.
    pub known: KnownNodes,
    /// How many messages without one are verified.
    pub gate: Arc<Gate>,
    /// The core.
    pub driver: Handle,
    /// Pieces of output go there.
    pub posted: mpsc::Sender<PostedLogs>,
    /// Counters.
    pub metrics: Metrics,
    /// Nodes whose clocks differ.
    pub skews: Skews,
}

/// A verified message.
struct Said {
    node: NodeId,
    event: Event,
    known: Option<Arc<KnownNode>>,
}

/// Who a message over HTTPS says it is of, before anything is verified.
enum Claim {
    /// A node that holds a session.
    Session(PublicKey),
    /// Anybody.
    Key(PublicKey),
    /// It cannot be read.
    Nothing,
}

impl ServerSink for Inbound {
    fn take(&self, event: ServerEvent) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            match event {
                // A connection counts from its first message on.
                ServerEvent::Opened { .. } => true,
                ServerEvent::Closed { connection, peer, reason } => {
                    tracing::debug!(%peer, %connection, %reason, "stream ended");
                    let (node, connection) = (NodeId(peer), ConnectionId(connection.number()));
                    self.skews.settled(node);
                    let event = Box::new(Event::ConnectionClosed { node, connection });
                    self.driver.message(Message { event, node, connection, asked: None }).await
                }
                ServerEvent::Frame(frame) => self.frame(frame).await,
                ServerEvent::Logs { bytes, reply } => {
                    self.posted.send(PostedLogs { bytes, reply }).await.is_ok()
                }
            }
        })
    }

    fn is_closed(&self) -> bool {
        self.driver.is_closed()
    }
}

impl Inbound {
    async fn frame(&self, frame: IncomingFrame) -> bool {
        let connection = ConnectionId(frame.connection.number());
        // Over a stream a handshake has shown who speaks.
        let claim = frame.peer.is_none().then(|| self.claim(&frame));
        if claim.as_ref().is_some_and(|claim| !self.lets_in(&frame, claim)) {
            self.metrics.refused(&ErrorCode::new("wire/too-often"));
            frame.reply.too_often();
            return !self.driver.is_closed();
        }
        match self.read(&frame, Link { connection, can_push: frame.peer.is_some() }) {
            Ok(Said { node, event, known }) => {
                self.skews.settled(node);
                let asked = Some(PendingReply { reply: frame.reply, request: frame.bytes, known });
                self.driver.message(Message { event: Box::new(event), node, connection, asked }).await
            }
            Err(rejected) => {
                if matches!(claim, Some(Claim::Session(_))) && rejected.code == "envelope/bad-signature" {
                    self.gate.was_forged(frame.remote, Instant::now());
                }
                self.metrics.refused(&rejected.code);
                tracing::debug!(code = %rejected.code, peer = ?frame.peer, "message refused: {rejected}");
                let identity = Arc::clone(&self.identity);
                let IncomingFrame { peer, bytes, reply, .. } = frame;
                let sent = reply.refuse_with(move || {
                    let claimed = || peek(&bytes).ok()?.signer.address().ok();
                    refusal(&identity, peer.or_else(claimed), &bytes, rejected)
                });
                if let Err(error) = sent {
                    tracing::debug!(code = %error.code(), ?peer, %error, "a refusal could not be sent");
                }
                !self.driver.is_closed()
            }
        }
    }

    /// Who a message says it is of. A hello claims no session, whoever it is of: anybody can say one.
    fn claim(&self, frame: &IncomingFrame) -> Claim {
        match peek(&frame.bytes) {
            Ok(header) if header.purpose != Purpose::Hello && self.known.get(&header.signer).is_some() => {
                Claim::Session(header.signer)
            }
            Ok(header) => Claim::Key(header.signer),
            Err(_) => Claim::Nothing,
        }
    }

    /// Whether a request is to be looked at.
    fn lets_in(&self, frame: &IncomingFrame, claim: &Claim) -> bool {
        let (remote, now) = (frame.remote, Instant::now());
        match claim {
            Claim::Session(key) => self.gate.lets_session_in(remote, key, now),
            Claim::Key(key) => self.gate.lets_in(remote, Some(key), now),
            Claim::Nothing => self.gate.lets_in(remote, None, now),
        }
    }

    /// Verifies a message and makes an event of it.
    fn read(&self, frame: &IncomingFrame, link: Link) -> Result<Said, Rejected> {
        let identity = &self.identity;
        let message = Unopened::parse(&frame.bytes).map_err(|error| refused_envelope(&error))?;
        let signer = message.header.signer;
        let refuse = |error: EnvelopeError| {
            if let Some(peer) = frame.peer
                && signer.address().is_ok_and(|address| address == peer)
                && self.known.get(&signer).is_some()
            {
                self.skews.refused(NodeId(peer), &error);
            }
            refused_envelope(&error)
        };
        let expected = identity.expectation(frame.peer);
        let public_key = message.header.signer;
        match message.header.purpose {
            Purpose::Hello => {
                let opened: Opened<Hello> = message.open(&expected, PublicKey::check).map_err(refuse)?;
                let (node, hello) = (NodeId(opened.signer), opened.body);
                let descriptor = identity.open_descriptor(&hello.descriptor, opened.signer)?;
                let mut session = SessionId::default();
                rand::rng().fill_bytes(&mut session.0);
                let takes_tags = hello.takes_tags.unwrap_or_default();
                let known = KnownNode::new(&identity.key, public_key, takes_tags)
                    .map_err(|_| refuse(EnvelopeError::BadSignature))?;
                let origin = frame.remote.map(Origin::from);
                let event =
                    Event::HelloReceived { node, public_key, hello, descriptor, link, session, origin };
                Ok(Said { node, event, known: Some(Arc::new(known)) })
            }
            Purpose::Heartbeat => {
                let known = self.known.get(&public_key);
                // Over HTTPS anybody can send as much as a node with a session: whoever has none is not read so far.
                if known.is_none() && frame.bytes.len() > Protocol::Session.stranger_limit() {
                    return Err(large_without_session());
                }
                let check = |key: &PublicKey| match &known {
                    Some(known) => Ok(known.key),
                    None => key.check(),
                };
                let opened: Opened<Heartbeat> = message.open(&expected, check).map_err(refuse)?;
                let sealed = opened.body.descriptor.as_deref();
                let descriptor =
                    sealed.map(|sealed| identity.open_descriptor(sealed, opened.signer)).transpose()?;
                let (node, digest, heartbeat) = (NodeId(opened.signer), opened.digest, opened.body);
                let event = Event::BeatReceived { node, digest, heartbeat, descriptor, link };
                Ok(Said { node, event, known })
            }
            Purpose::Leave => {
                let opened: Opened<Leave> = message.open(&expected, PublicKey::check).map_err(refuse)?;
                let node = NodeId(opened.signer);
                Ok(Said { node, event: Event::LeaveReceived { node, leave: opened.body, link }, known: None })
            }
            got @ (Purpose::Descriptor
            | Purpose::Granted
            | Purpose::Instruction
            | Purpose::Refusal
            | Purpose::LogRequest
            | Purpose::LogBatch
            | Purpose::Challenge
            | Purpose::Answer
            | Purpose::Acknowledgement) => {
                Err(refuse(EnvelopeError::WrongPurpose { expected: Purpose::Heartbeat, got }))
            }
        }
    }
}

fn large_without_session() -> Rejected {
    let refused = rejection(
        Class::Unauthenticated,
        "session/unknown",
        "a beat of this size is read of nodes with a session only, and this orchestrator knows none of yours",
        "open a new session; keep running what runs",
    );
    Rejected { reopen: true, ..refused }
}
