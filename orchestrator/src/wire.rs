//! Between the transport and the core: opens what workers send, signs what they are told.
//!
//! Verified before the core sees it: size, version, purpose, time, recipient, pool, signature. Over libp2p the signer
//! must be the peer of the connection; over HTTPS only the envelope says who speaks. What fails is refused with a signed
//! `Refusal` and never reaches the core. Verification and signing are one task each, about 40 µs a message: messages of
//! one connection keep their order, and 20,000 a second is more than the core wants to hear.

mod identity;
mod links;

use lode_network::{IncomingFrame, PeerServer, ServerEvent};
use lode_protocol::envelope::{EnvelopeError, Opened, Purpose, claimed_purpose, peek};
use lode_protocol::error_code::ErrorCode;
use lode_protocol::hash::{Digest, keccak256};
use lode_protocol::ids::{Address, NodeId, SessionId};
use lode_protocol::join::SignedInvite;
use lode_protocol::session::{Heartbeat, Hello, Leave, Refusal};
use lode_protocol::units::Millis;
use lode_protocol::usage::OfferedReceipt;
use rand::RngCore as _;
use tokio::sync::mpsc;

use crate::core::effect::Answer;
use crate::core::error::{Class, Rejected};
use crate::core::event::{Event, Link};
use crate::driver::{Handle, Message, Outgoing};
use crate::logs::LogHub;
use crate::metrics::Metrics;

pub use identity::Identity;
pub use links::Links;

/// How long an answer counts: a worker that has not got it by then asks again.
const ANSWER_LIFETIME: Millis = Millis::seconds(60);

/// A refusal of the shell, in the core's form.
pub fn rejection(
    class: Class,
    code: impl Into<ErrorCode>,
    message: impl Into<String>,
    remedy: impl Into<String>,
) -> Rejected {
    Rejected {
        code: code.into(),
        class,
        message: message.into(),
        remedy: remedy.into(),
        reopen: false,
        retry_after: None,
    }
}

fn refused_envelope(error: &EnvelopeError) -> Rejected {
    let remedy = match error {
        EnvelopeError::TooLarge { .. } => "send less in one message",
        EnvelopeError::Malformed(_) | EnvelopeError::UnsupportedVersion { .. } => {
            "use a worker of the same version as the orchestrator"
        }
        EnvelopeError::WrongPurpose { .. } => "send only hello, beat and leave over this channel",
        EnvelopeError::Expired { .. } | EnvelopeError::NotYetValid { .. } => {
            "set the clocks of both machines"
        }
        EnvelopeError::WrongAudience { .. } | EnvelopeError::WrongRealm { .. } => {
            "check chain, deployment and pool in the worker's configuration"
        }
        EnvelopeError::WrongSigner { .. } | EnvelopeError::BadSignature => {
            "sign with the key that holds the connection, and speak only for your own node"
        }
    };
    rejection(Class::Unauthenticated, error.code(), error.to_string(), remedy)
}

/// Takes what the transport delivers.
#[derive(Debug)]
pub struct Inbound {
    /// Who we are.
    pub identity: Identity,
    /// Names of connections.
    pub links: Links,
    /// The core.
    pub driver: Handle,
    /// Refusals go out here.
    pub outgoing: mpsc::Sender<Outgoing>,
    /// Pieces of output that come over HTTPS.
    pub logs: LogHub,
    /// Counters.
    pub metrics: Metrics,
}

impl Inbound {
    /// Runs until the transport ends.
    pub async fn run(self, mut events: mpsc::Receiver<ServerEvent>) {
        while let Some(event) = events.recv().await {
            let alive = match event {
                ServerEvent::Opened { connection, .. } => {
                    self.links.opened(connection);
                    true
                }
                ServerEvent::Closed { connection, peer, reason } => {
                    tracing::debug!(%peer, %connection, %reason, "stream ended");
                    self.closed(connection, NodeId(peer)).await
                }
                ServerEvent::Frame(frame) => self.frame(frame).await,
                ServerEvent::Logs { bytes, reply } => {
                    self.logs.deliver(&bytes, reply);
                    true
                }
            };
            if !alive {
                return;
            }
        }
    }

    async fn closed(&self, transport: lode_network::ConnectionId, node: NodeId) -> bool {
        let Some(connection) = self.links.closed(transport) else { return true };
        let event = Event::ConnectionClosed { node, connection };
        self.driver
            .message(Message { event, node, connection, request: Digest::default(), reply: None })
            .await
    }

    async fn frame(&self, frame: IncomingFrame) -> bool {
        let request = keccak256(&frame.bytes);
        // A frame of a stream that has ended meanwhile has nobody to answer to.
        let link = match frame.peer {
            Some(_) => {
                self.links.core(frame.connection).map(|connection| Link { connection, can_push: true })
            }
            None => Some(Link { connection: self.links.fresh(), can_push: false }),
        };
        let Some(link) = link else { return true };
        match self.read(&frame, link) {
            Ok((node, event)) => {
                let connection = link.connection;
                self.driver
                    .message(Message { event, node, connection, request, reply: Some(frame.reply) })
                    .await
            }
            Err(rejected) => {
                self.metrics.refused(&rejected.code);
                tracing::debug!(code = %rejected.code, peer = ?frame.peer, "message refused: {rejected}");
                let claimed = || peek(&frame.bytes).ok()?.signer.address().ok();
                let to = frame.peer.or_else(claimed);
                self.outgoing
                    .send(Outgoing::Refusal { reply: frame.reply, to, request, rejected })
                    .await
                    .is_ok()
            }
        }
    }

    /// Verifies a message and makes an event of it.
    fn read(&self, frame: &IncomingFrame, link: Link) -> Result<(NodeId, Event), Rejected> {
        let refuse = |error: EnvelopeError| refused_envelope(&error);
        let (bytes, identity) = (&frame.bytes, &self.identity);
        match claimed_purpose(bytes).map_err(refuse)? {
            Purpose::Hello => {
                let opened: Opened<Hello> = identity.open(bytes, frame.peer).map_err(refuse)?;
                let descriptor = identity.open_descriptor(&opened.body.descriptor, opened.signer)?;
                let mut session = SessionId::default();
                rand::rng().fill_bytes(&mut session.0);
                let node = NodeId(opened.signer);
                let public_key = opened.header.signer;
                let hello = opened.body;
                Ok((node, Event::HelloReceived { node, public_key, hello, descriptor, link, session }))
            }
            Purpose::Heartbeat => {
                let opened: Opened<Heartbeat> = identity.open(bytes, frame.peer).map_err(refuse)?;
                let sealed = opened.body.descriptor.as_deref();
                let descriptor =
                    sealed.map(|sealed| identity.open_descriptor(sealed, opened.signer)).transpose()?;
                let (node, digest, heartbeat) = (NodeId(opened.signer), opened.digest, opened.body);
                Ok((node, Event::BeatReceived { node, digest, heartbeat, descriptor, link }))
            }
            Purpose::Leave => {
                let opened: Opened<Leave> = identity.open(bytes, frame.peer).map_err(refuse)?;
                let node = NodeId(opened.signer);
                Ok((node, Event::LeaveReceived { node, leave: opened.body, link }))
            }
            got @ (Purpose::Descriptor
            | Purpose::Granted
            | Purpose::Instruction
            | Purpose::Refusal
            | Purpose::LogRequest
            | Purpose::LogBatch
            | Purpose::Challenge
            | Purpose::Answer) => {
                Err(refuse(EnvelopeError::WrongPurpose { expected: Purpose::Heartbeat, got }))
            }
        }
    }
}

/// Signs and sends what the core answers.
#[derive(Debug)]
pub struct Outbound {
    /// Who we are.
    pub identity: Identity,
    /// Names of connections.
    pub links: Links,
    /// The transport.
    pub server: PeerServer,
    /// Requests for output that travel with answers over HTTPS.
    pub logs: LogHub,
}

impl Outbound {
    /// Runs until the driver ends.
    pub async fn run(self, mut outgoing: mpsc::Receiver<Outgoing>) {
        while let Some(message) = outgoing.recv().await {
            match message {
                Outgoing::Refusal { reply, to, request, rejected } => {
                    let bytes = self.refusal(to, request, rejected);
                    report(reply.send(bytes), to);
                }
                Outgoing::Answer { reply, connection, node, request, answer } => {
                    let transport = self.links.transport(connection);
                    if let (Answer::Granted(_), Some(transport)) = (&answer, transport) {
                        self.server.vouch(transport);
                    }
                    let bytes = self.answer(node, transport.is_none(), request, answer);
                    let sent = match (reply, transport) {
                        (Some(reply), _) => reply.send(bytes),
                        (None, Some(transport)) => self.server.push(transport, bytes),
                        // The stream is gone: the next beat's answer says the same.
                        (None, None) => Ok(()),
                    };
                    report(sent, Some(node.0));
                }
            }
        }
    }

    fn refusal(&self, to: Option<Address>, request: Digest, rejected: Rejected) -> Vec<u8> {
        let refusal = Refusal {
            code: rejected.code,
            message: rejected.message,
            remedy: rejected.remedy,
            reopen: rejected.reopen,
            retry_after: rejected.retry_after,
            request,
        };
        self.identity.seal(to, ANSWER_LIFETIME, &refusal)
    }

    fn answer(&self, node: NodeId, is_request: bool, request: Digest, answer: Answer) -> Vec<u8> {
        let to = Some(node.0);
        match answer {
            Answer::Granted(granted) => self.identity.seal(to, ANSWER_LIFETIME, &granted),
            Answer::Refused(rejected) => self.refusal(to, request, rejected),
            Answer::Instruction { mut instruction, invite, receipts } => {
                instruction.invite = invite.map(|invite| {
                    let digest = invite.invite_digest(&self.identity.pools_domain);
                    SignedInvite { invite, signature: self.identity.key.sign_recoverable(&digest) }
                });
                let offer = |(receipt, usage)| OfferedReceipt {
                    receipt,
                    usage,
                    signature: self.identity.sign_receipt(&receipt),
                };
                let offered: Vec<OfferedReceipt> = receipts.into_iter().map(offer).collect();
                instruction.receipts = (!offered.is_empty()).then_some(offered);
                if is_request {
                    instruction.log_requests = self.logs.take_requests(node);
                }
                self.identity.seal(to, ANSWER_LIFETIME, &*instruction)
            }
        }
    }
}

fn report(sent: Result<(), lode_network::NetworkError>, to: Option<Address>) {
    if let Err(error) = sent {
        // Connections end all the time; the worker asks again over a new one.
        tracing::debug!(code = %error.code(), ?to, %error, "an answer could not be sent");
    }
}
