//! What the core wants done, done.

use lode_network::Transport;
use lode_protocol::keys::EthereumSignature;

use super::Driver;
use crate::core::effect::{Action, Message};
use crate::core::event::{Event, Statement};
use crate::local::LeaveAnswer;

impl Driver {
    /// Does one thing; what follows from it waits in `events`.
    pub(super) fn perform(&mut self, action: Action) {
        match action {
            Action::Engine(command) => self.executor.take(command),
            Action::Send(message) => self.seal_and_send(message),
            Action::Resend => {
                if let Some(bytes) = self.conversation.last_beat() {
                    self.send(bytes);
                }
            }
            Action::Reconnect => self.link.reconnect(),
            Action::Follow { orchestrator, endpoints } => {
                if self.link.follow(orchestrator, &endpoints) {
                    self.endpoint = None;
                    self.events.push_back(Event::Disconnected);
                    self.outputs.orchestrator.send_replace(self.link.peer());
                }
            }
            Action::Sign(statement) => {
                let signature = self.sign(&statement);
                self.events.push_back(Event::Signed(statement, signature));
            }
            Action::PostLogs(requests) => {
                if let (Some(Transport::Https), Some(client)) = (self.link.transport(), self.link.client()) {
                    for sealed in requests {
                        self.logs.post(&sealed, client.clone());
                    }
                }
            }
            Action::Raise(finding) => {
                self.findings.raise(finding);
            }
            Action::Clear(code) => {
                self.findings.clear_code(code);
            }
            Action::LeaveNoted { request, leave, connected } => {
                let (counter, deadline) = (leave.counter, leave.deadline);
                self.answer_wish(request, LeaveAnswer::Requested { counter, deadline, connected });
            }
        }
    }

    fn sign(&self, statement: &Statement) -> EthereumSignature {
        let digest = match statement {
            Statement::Consent(invite) => {
                tracing::info!(counter = invite.counter, "consents to the invite");
                invite.consent_digest(&self.identity.pools_domain())
            }
            Statement::Leave(leave) => leave.digest(&self.identity.pools_domain()),
            Statement::Receipt(receipt) => {
                tracing::info!(epoch = %receipt.epoch, amount = %receipt.amount, "signs a receipt");
                receipt.digest(&self.rewards_domain)
            }
        };
        self.identity.key.sign_recoverable(&digest)
    }

    fn seal_and_send(&mut self, mut message: Message) {
        let Some(peer) = self.link.peer() else { return };
        if let Message::Heartbeat(beat) = &mut message {
            let root = self.outputs.engine_root.borrow().clone();
            beat.usage = self.usage.read(root.as_deref());
            self.conversation.add_findings(beat, self.findings.list());
            self.metrics.beats.inc();
        }
        let (bytes, sent) = self.conversation.seal(peer, self.now().wall, &message);
        self.events.push_back(Event::Sent(sent));
        self.send(bytes);
    }

    fn send(&self, bytes: Vec<u8>) {
        if let Err(error) = self.link.send(bytes) {
            // The core repeats what stays unanswered.
            tracing::debug!(%error, "not sent");
        }
    }
}
