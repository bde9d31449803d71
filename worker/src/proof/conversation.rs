//! One validator: frames in, verified challenges out, answers back.

use std::sync::Arc;
use std::time::Duration;

use lode_network::{ClientEvent, NetworkError, PeerClient};
use lode_program::finding::Finding;
use lode_protocol::envelope::{self, Addressing, Audience, Expectation};
use lode_protocol::error_code::ErrorCode;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{Nonce, ValidatorId};
use lode_protocol::proof::{Answer, Challenge, GpuVerdict, ProofFailure};
use lode_protocol::units::{Millis, Timestamp};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Shared, unreachable};

/// How long an answer counts.
const LIFETIME: Millis = Millis::seconds(60);

/// Why a run ended early.
#[derive(Debug)]
pub(super) enum Ended {
    /// The connection is gone.
    Disconnected,
    /// The validator said nothing for too long.
    Silent,
    /// The link itself has ended: the worker shuts down, or the validator left the set.
    Stopped,
}

/// A challenge, and what names it: answers say which one they answer.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) challenge: Challenge,
    pub(super) digest: Digest,
}

/// The link to one validator.
#[derive(Debug)]
pub(super) struct Conversation {
    pub(super) shared: Arc<Shared>,
    pub(super) validator: ValidatorId,
    client: PeerClient,
    events: mpsc::Receiver<ClientEvent>,
    /// A challenge that ended a run and begins the next.
    next: Option<Heard>,
    /// A challenge was refused on this connection, and that was said: a validator may send any number of them.
    told: bool,
}

impl Conversation {
    pub(super) fn new(
        shared: Arc<Shared>,
        validator: ValidatorId,
        client: PeerClient,
        events: mpsc::Receiver<ClientEvent>,
    ) -> Self {
        Self { shared, validator, client, events, next: None, told: false }
    }

    /// The challenge that ended the last run, or the next of this validator.
    pub(super) async fn next(&mut self) -> Result<Heard, Ended> {
        match self.next.take() {
            Some(heard) => Ok(heard),
            None => self.hear(None).await,
        }
    }

    /// The next challenge of this validator. Cancel-safe.
    pub(super) async fn hear(&mut self, deadline: Option<Instant>) -> Result<Heard, Ended> {
        loop {
            let event = match deadline {
                Some(deadline) => {
                    tokio::time::timeout_at(deadline, self.events.recv()).await.map_err(|_| Ended::Silent)?
                }
                None => self.events.recv().await,
            };
            match event {
                None => return Err(Ended::Stopped),
                Some(ClientEvent::Connected { .. }) => {
                    tracing::info!(validator = %self.validator, "connected to a validator");
                    self.told = false;
                    self.shared.findings.clear("validator/unreachable", &self.validator.to_string());
                }
                Some(ClientEvent::Frame(bytes)) => match self.open(&bytes) {
                    Ok(heard) => return Ok(heard),
                    Err(error) if std::mem::replace(&mut self.told, true) => {
                        tracing::debug!(validator = %self.validator, %error, "a challenge was refused");
                    }
                    Err(error) => {
                        tracing::warn!(validator = %self.validator, %error, "a challenge was refused");
                    }
                },
                Some(ClientEvent::Disconnected { reason }) => {
                    tracing::debug!(validator = %self.validator, %reason, "disconnected");
                    return Err(Ended::Disconnected);
                }
                Some(ClientEvent::ConnectFailed { error, .. }) => {
                    self.shared.findings.raise(unreachable(self.validator, &error.to_string()));
                }
            }
        }
    }

    fn open(&self, bytes: &[u8]) -> Result<Heard, envelope::EnvelopeError> {
        let expected = Expectation {
            recipient: Some(self.shared.key.address()),
            realm: self.shared.realm,
            now: self.now(),
            signer: Some(self.validator.0),
        };
        let opened = envelope::open::<Challenge>(bytes, &expected)?;
        Ok(Heard { challenge: opened.body, digest: opened.digest })
    }

    /// Sends an answer; one that cannot be sent ends the run.
    pub(super) fn answer(&self, answer: &Answer) -> Result<(), Ended> {
        let addressing = Addressing {
            audience: Audience::Peer(self.validator.0),
            realm: self.shared.realm,
            now: self.now(),
            lifetime: LIFETIME,
        };
        let sealed = envelope::seal(&self.shared.key, addressing, answer);
        self.client.send(sealed.bytes).map_err(|error: NetworkError| {
            tracing::warn!(validator = %self.validator, %error, "an answer could not be sent");
            Ended::Disconnected
        })
    }

    /// Says that this node does not take part, and why.
    pub(super) fn decline(&self, run: Nonce, code: &'static str, message: String) -> Result<(), Ended> {
        tracing::warn!(validator = %self.validator, code, message, "a proof was declined");
        self.answer(&Answer::Declined { run, failure: ProofFailure { code: ErrorCode::new(code), message } })
    }

    /// Keeps a challenge for after the run.
    pub(super) fn put_back(&mut self, heard: Heard) {
        self.next = Some(heard);
    }

    /// Makes what the validator found visible to the host's owner.
    pub(super) fn judged(&self, gpus: &[GpuVerdict]) {
        for verdict in gpus.iter().take(lode_protocol::hardware::MAX_GPUS) {
            let gpu = verdict.gpu.as_str();
            match &verdict.failure {
                None => {
                    tracing::info!(gpu, elapsed = ?verdict.elapsed, validator = %self.validator, "GPU proven");
                    self.shared.findings.clear("proof/failed", gpu);
                    self.shared.proof_ended(&verdict.gpu, true);
                }
                Some(failure) => {
                    tracing::warn!(gpu, code = %failure.code, failure.message, "the proof of a GPU failed");
                    let message = format!("the validator found {}: {}", failure.code, failure.message);
                    let remedy = "look up the code in docs/errors.md; the validator tries again by itself";
                    self.shared
                        .findings
                        .raise(Finding::error("proof/failed", message).about(gpu).remedy(remedy));
                }
            }
        }
    }

    /// The worker's time.
    pub(super) fn now(&self) -> Timestamp {
        Timestamp(self.shared.clock.wall_millis())
    }

    /// Time from now.
    pub(super) fn within(span: Duration) -> Instant {
        Instant::now() + span
    }
}
