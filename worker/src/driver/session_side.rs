//! The driver's half that talks with the orchestrator.

use lode_network::{ClientEvent, Transport};
use lode_program::Finding;
use lode_protocol::ids::{AssignmentId, LeaderEpoch, Sequence, SessionId};
use lode_protocol::session::Refusal;
use lode_store::Batch;

use super::conversation::{BeatParts, Heard};
use super::{Driver, Held};
use crate::core::event;
use crate::core::session::{Effect, Event};
use crate::journal;

impl Driver {
    /// Feeds the session; a new leader epoch is durable before anything else of its step goes out.
    pub(super) fn step_session(&mut self, event: Event) {
        let now = self.now().monotonic;
        let effects = self.session.step(now, event);
        if effects.is_empty() {
            return;
        }
        let mut batch = Batch::new();
        for effect in &effects {
            if let Effect::PersistEpoch(epoch) = effect {
                batch.append(journal::epoch(*epoch));
            }
        }
        if batch.is_empty() && self.session_held == 0 {
            self.release_session(effects);
        } else {
            self.session_held += 1;
            self.commits.push(batch, vec![Held::Session(effects)]);
        }
    }

    pub(super) fn release_session(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::PersistEpoch(_) => {}
                Effect::Hello(nonce) => self.send_hello(nonce),
                Effect::Beat { session, epoch, sequence, complete } => {
                    self.send_beat(session, epoch, sequence, complete);
                }
                Effect::Resend => {
                    if let Some(bytes) = self.conversation.last_beat() {
                        self.send(bytes);
                    }
                }
                Effect::Reconnect => {
                    self.findings.raise(
                        Finding::warning(
                            "orchestrator/silent",
                            "the orchestrator does not answer; tasks go on",
                        )
                        .remedy("nothing here; a new connection is tried"),
                    );
                    self.link.reconnect();
                }
                Effect::Acknowledged(reports) => self.beat_answered(reports),
                Effect::Metered { sequence, meter, terms } => self.on_metered(sequence, meter, terms),
                Effect::Offered { receipts, terms } => self.on_offered(&receipts, terms),
                Effect::Desired { epoch, generation, orders } => {
                    self.step_assignments(event::Event::Desired { epoch, generation, orders });
                }
                Effect::Invited(invite) => self.on_invite(invite),
                Effect::LogRequests(requests) => {
                    if let (Some(Transport::Https), Some(client)) =
                        (self.link.transport(), self.link.client())
                    {
                        for sealed in requests {
                            self.logs.post(&sealed, client.clone());
                        }
                    }
                }
                Effect::Membership(membership) => self.on_membership(membership),
                Effect::Refused(refusal) => self.on_refusal(&refusal),
            }
        }
    }

    fn send(&mut self, bytes: Vec<u8>) {
        if let Err(error) = self.link.send(bytes) {
            // The session repeats what stays unanswered.
            tracing::debug!(%error, "not sent");
        }
    }

    fn send_hello(&mut self, nonce: lode_protocol::ids::Nonce) {
        let descriptor = self.inputs.descriptors.borrow().clone();
        let (Some(peer), Some(descriptor)) = (self.link.peer(), descriptor) else { return };
        let bytes = self.conversation.hello(peer, self.now().wall, nonce, &descriptor);
        self.send(bytes);
    }

    fn send_beat(&mut self, session: SessionId, epoch: LeaderEpoch, sequence: Sequence, complete: bool) {
        let descriptor = self.inputs.descriptors.borrow().clone();
        let (Some(peer), Some(descriptor)) = (self.link.peer(), descriptor) else { return };
        let numbered = self.reports(complete);
        let sent: Vec<(AssignmentId, u64)> =
            numbered.iter().map(|(number, report)| (report.id, *number)).collect();
        let gpus = self.inputs.gpus.borrow().clone();
        let parts = BeatParts {
            session,
            epoch,
            sequence,
            complete,
            observed: self.assignments.generation(),
            assignments: numbered.into_iter().map(|(_, report)| report).collect(),
            gpus: &gpus,
            usage: self.usage.read(),
            findings: self.findings.list(),
            consent: self.consent.clone(),
            receipts: self.receipts.answers(),
        };
        let (bytes, digest) = self.conversation.beat(peer, self.now().wall, parts, &descriptor);
        self.note_beat(session, sequence);
        self.metrics.beats.inc();
        self.send(bytes);
        self.step_session(Event::BeatSent { sequence, digest, reports: sent });
    }

    fn beat_answered(&mut self, reports: Vec<(AssignmentId, u64)>) {
        self.metrics.answers.inc();
        self.conversation.beat_answered();
        self.answered_at = Some(self.now().wall);
        for code in ["orchestrator/silent", "orchestrator/refused", "orchestrator/unreachable"] {
            self.findings.clear_code(code);
        }
        if !reports.is_empty() {
            self.step_assignments(event::Event::Acknowledged(reports));
        }
    }

    fn on_refusal(&mut self, refusal: &Refusal) {
        self.metrics.refusals.inc();
        let message =
            format!("the orchestrator refused this node's message ({}): {}", refusal.code, refusal.message);
        self.findings.raise(Finding::warning("orchestrator/refused", message).remedy(refusal.remedy.clone()));
    }

    pub(super) fn on_link(&mut self, event: ClientEvent) {
        match event {
            ClientEvent::Connected { transport, endpoint, .. } => {
                tracing::info!(%endpoint, ?transport, "connected to the orchestrator");
                self.endpoint = Some(endpoint.to_string());
                self.findings.clear_code("orchestrator/unreachable");
                self.step_session(Event::TransportUp);
            }
            ClientEvent::Frame(bytes) => self.on_frame(&bytes),
            ClientEvent::Disconnected { reason } => {
                tracing::info!(code = %reason.code(), %reason, "connection to the orchestrator ended");
                self.endpoint = None;
                self.step_session(Event::TransportDown);
            }
            ClientEvent::ConnectFailed { endpoint, error, .. } => {
                let message =
                    format!("the orchestrator cannot be reached at {endpoint}; tasks go on: {error}");
                self.findings.raise(
                    Finding::warning("orchestrator/unreachable", message)
                        .remedy("check this host's way to the network; it is tried again by itself"),
                );
            }
        }
    }

    fn on_frame(&mut self, bytes: &[u8]) {
        let Some(peer) = self.link.peer() else { return };
        match self.conversation.hear(peer, self.now().wall, bytes) {
            Ok(Heard::Session(event)) => self.step_session(event),
            Ok(Heard::LeaveRefused(refusal)) => self.on_leave_refused(&refusal),
            Ok(Heard::Nothing) => {}
            Err(error) => {
                self.metrics.rejected.inc();
                tracing::warn!(code = %error.code(), %error, "a message from the orchestrator's address was rejected");
            }
        }
    }

    /// Follows the pool's orchestrator on chain, once this node has something to say about itself.
    pub(super) fn follow_orchestrator(&mut self) {
        if self.inputs.descriptors.borrow().is_none() {
            return;
        }
        let known = self.inputs.chain.borrow().known.clone();
        let Some(known) = known else { return };
        if self.link.follow(&known) {
            self.step_session(Event::TransportDown);
            self.outputs.orchestrator.send_replace(self.link.peer());
        }
    }
}
