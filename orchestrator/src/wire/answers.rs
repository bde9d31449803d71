//! What workers are told, sealed where it is written.

use std::sync::Arc;

use lode_network::{ConnectionId, NetworkError, PeerServer};
use lode_protocol::acknowledgement::{Acknowledgement, SessionKey, SessionParties};
use lode_protocol::hash::keccak256;
use lode_protocol::ids::{Address, NodeId};
use lode_protocol::join::SignedInvite;
use lode_protocol::session::{Instruction, Refusal};
use lode_protocol::usage::OfferedReceipt;

use super::ANSWER_LIFETIME;
use super::gate::Gate;
use crate::core::effect::Answer;
use crate::core::error::Rejected;
use crate::driver::{Outgoing, Outlet, PendingReply};
use crate::identity::Identity;
use crate::known_nodes::{KnownNode, KnownNodes};
use crate::log_requests::LogRequests;

/// Hands answers to the transport.
#[derive(Debug)]
pub struct Answers {
    server: PeerServer,
    known: KnownNodes,
    gate: Arc<Gate>,
    sealer: Arc<Sealer>,
}

impl Answers {
    /// Answers as `identity`, over `server`.
    pub fn new(
        identity: Arc<Identity>,
        server: PeerServer,
        known: KnownNodes,
        gate: Arc<Gate>,
        log_requests: LogRequests,
    ) -> Self {
        Answers { server, known, gate, sealer: Arc::new(Sealer { identity, log_requests }) }
    }
}

impl Outlet for Answers {
    fn send(&self, outgoing: Outgoing) {
        let sealer = Arc::clone(&self.sealer);
        match outgoing {
            Outgoing::Refusal { asked, to, rejected } => {
                let PendingReply { reply, request, .. } = asked;
                let make = move || refusal(&sealer.identity, Some(to), &request, rejected);
                report(reply.refuse_with(make), to);
            }
            Outgoing::Answer { asked, connection, node, answer } => {
                let transport = ConnectionId::libp2p(connection.0);
                if let Answer::Granted(_) = &answer {
                    self.server.vouch(transport);
                    if let Some(known) = asked.as_ref().and_then(|asked| asked.known.as_ref()) {
                        self.gate.know(known.public);
                        self.known.put(Arc::clone(known));
                    }
                }
                let sent = match asked {
                    Some(PendingReply { reply, request, known }) => {
                        let is_request = reply.is_request();
                        let refuses = matches!(answer, Answer::Refused(_));
                        let make =
                            move || sealer.answer(node, is_request, &request, known.as_deref(), answer);
                        if refuses { reply.refuse_with(make) } else { reply.send_with(make) }
                    }
                    // If the stream is gone, the next beat's answer says the same.
                    None => self
                        .server
                        .push_with(transport, move || sealer.answer(node, false, &[], None, answer)),
                };
                report(sent, node.0);
            }
        }
    }
}

/// Seals a refusal of `request`.
pub(super) fn refusal(
    identity: &Identity,
    to: Option<Address>,
    request: &[u8],
    rejected: Rejected,
) -> Vec<u8> {
    let refusal = Refusal {
        code: rejected.code,
        message: rejected.message,
        remedy: rejected.remedy,
        reopen: rejected.reopen,
        retry_after: rejected.retry_after,
        request: keccak256(request),
    };
    identity.seal(to, ANSWER_LIFETIME, &refusal)
}

#[derive(Debug)]
struct Sealer {
    identity: Arc<Identity>,
    log_requests: LogRequests,
}

impl Sealer {
    fn answer(
        &self,
        node: NodeId,
        is_request: bool,
        request: &[u8],
        known: Option<&KnownNode>,
        answer: Answer,
    ) -> Vec<u8> {
        let to = Some(node.0);
        match answer {
            Answer::Granted(granted) => self.identity.seal(to, ANSWER_LIFETIME, &granted),
            Answer::Refused(rejected) => refusal(&self.identity, to, request, rejected),
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
                    instruction.log_requests = self.log_requests.take(node);
                }
                self.instruction(node, known, instruction)
            }
        }
    }

    /// Tagged where the node takes it and there is no news, else signed.
    fn instruction(&self, node: NodeId, known: Option<&KnownNode>, instruction: Box<Instruction>) -> Vec<u8> {
        let to = Some(node.0);
        let Some((public, secret)) = known.and_then(|known| Some((known.public, known.secret.as_ref()?)))
        else {
            return self.identity.seal(to, ANSWER_LIFETIME, &*instruction);
        };
        let session = instruction.session;
        match Acknowledgement::of(instruction) {
            Ok(body) => {
                let orchestrator = self.identity.key.public();
                let parties = SessionParties { node: public, orchestrator, realm: self.identity.realm };
                let key = SessionKey::derive(secret, parties, session);
                key.seal(self.identity.addressing(to, ANSWER_LIFETIME), &body)
            }
            Err(news) => self.identity.seal(to, ANSWER_LIFETIME, &*news),
        }
    }
}

fn report(sent: Result<(), NetworkError>, to: Address) {
    if let Err(error) = sent {
        // Connections end all the time; the worker asks again over a new one.
        tracing::debug!(code = %error.code(), %to, %error, "an answer could not be sent");
    }
}
