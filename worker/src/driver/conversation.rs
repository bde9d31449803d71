//! What the worker says to the orchestrator, sealed; and what it hears, opened. The session's decisions are made in
//! [`crate::core::session`].

use std::sync::Arc;

use lode_program::finding::CurrentFinding;
use lode_protocol::assignment::AssignmentReport;
use lode_protocol::envelope::{
    Addressing, Audience, EnvelopeError, Expectation, Purpose, Sealed, Signable, claimed_purpose, encode,
    open, seal,
};
use lode_protocol::finding::Finding;
use lode_protocol::hash::{Digest, keccak256};
use lode_protocol::ids::{Address, BootCounter, Generation, LeaderEpoch, Nonce, Sequence, SessionId};
use lode_protocol::session::{Consent, Granted, Heartbeat, Hello, Instruction, Leave, Refusal, Usage};
use lode_protocol::units::{Millis, Timestamp};
use lode_protocol::usage::ReceiptAnswer;

use crate::core::session::Event;
use crate::descriptor::{AGENT_VERSION, SignedDescriptor};
use crate::gpus::GpuView;
use crate::identity::Identity;

/// How long a message counts.
const LIFETIME: Millis = Millis::seconds(60);
/// Longest text of a finding, in characters.
const LONGEST_TEXT: usize = 1_000;

/// Something heard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Heard {
    /// For the session.
    Session(Event),
    /// A leave was not accepted.
    LeaveRefused(Refusal),
    /// A refusal of something that was not said lately.
    Nothing,
}

/// What goes into a beat besides what this module keeps.
#[derive(Debug)]
pub(super) struct BeatParts<'a> {
    pub(super) session: SessionId,
    pub(super) epoch: LeaderEpoch,
    pub(super) sequence: Sequence,
    pub(super) complete: bool,
    pub(super) observed: Option<Generation>,
    pub(super) assignments: Vec<AssignmentReport>,
    pub(super) gpus: &'a GpuView,
    pub(super) usage: Usage,
    pub(super) findings: Vec<CurrentFinding>,
    pub(super) consent: Option<Consent>,
    pub(super) receipts: Option<Vec<ReceiptAnswer>>,
}

/// Seals and opens, and remembers what was said last.
#[derive(Debug)]
pub(super) struct Conversation {
    identity: Identity,
    boot: BootCounter,
    /// keccak-256 of the bytes of the last greeting, beat and leave.
    last_hello: Option<Digest>,
    last_beat: Option<(Vec<u8>, Digest)>,
    last_leave: Option<Digest>,
    /// Version of the description that the orchestrator has, and of the one on its way.
    told: Option<(BootCounter, u64)>,
    telling: Option<(BootCounter, u64)>,
}

impl Conversation {
    pub(super) fn new(identity: Identity, boot: BootCounter) -> Self {
        Self {
            identity,
            boot,
            last_hello: None,
            last_beat: None,
            last_leave: None,
            told: None,
            telling: None,
        }
    }

    fn seal<T: Signable>(&self, to: Address, now: Timestamp, body: &T) -> Sealed {
        let addressing =
            Addressing { audience: Audience::Peer(to), realm: self.identity.realm, now, lifetime: LIFETIME };
        seal(&self.identity.key, addressing, body)
    }

    /// A greeting.
    pub(super) fn hello(
        &mut self,
        to: Address,
        now: Timestamp,
        nonce: Nonce,
        is: &SignedDescriptor,
    ) -> Vec<u8> {
        let hello = Hello {
            boot: self.boot,
            nonce,
            agent_version: AGENT_VERSION.to_owned(),
            descriptor: is.sealed.clone(),
        };
        let bytes = self.seal(to, now, &hello).bytes;
        self.last_hello = Some(keccak256(&bytes));
        self.last_beat = None;
        self.told = Some(is.descriptor.version());
        self.telling = None;
        bytes
    }

    /// A beat: its bytes and the digest that was signed.
    pub(super) fn beat(
        &mut self,
        to: Address,
        now: Timestamp,
        parts: BeatParts<'_>,
        descriptor: &Arc<SignedDescriptor>,
    ) -> (Vec<u8>, Digest) {
        let version = descriptor.descriptor.version();
        let news = self.told != Some(version);
        self.telling = news.then_some(version);
        let mut beat = Heartbeat {
            session: parts.session,
            epoch: parts.epoch,
            boot: self.boot,
            sequence: parts.sequence,
            observed: parts.observed,
            complete: parts.complete,
            assignments: parts.assignments,
            gpus: parts.gpus.statuses.clone(),
            usage: parts.usage,
            findings: worst_findings(parts.findings),
            specs: descriptor.specs,
            descriptor: news.then(|| descriptor.sealed.clone()),
            consent: parts.consent,
            receipts: parts.receipts,
        };
        if encode(&beat).len() > Heartbeat::MAX_BYTES {
            // Words for people give way to facts.
            beat.findings.clear();
            for report in &mut beat.assignments {
                report.detail.clear();
            }
        }
        let sealed = self.seal(to, now, &beat);
        self.last_beat = Some((sealed.bytes.clone(), keccak256(&sealed.bytes)));
        (sealed.bytes, sealed.digest)
    }

    /// The last beat, byte for byte.
    pub(super) fn last_beat(&self) -> Option<Vec<u8>> {
        self.last_beat.as_ref().map(|(bytes, _)| bytes.clone())
    }

    /// The beat that was out has been answered.
    pub(super) fn beat_answered(&mut self) {
        if let Some(version) = self.telling.take() {
            self.told = Some(version);
        }
    }

    /// A leave.
    pub(super) fn leave(&mut self, to: Address, now: Timestamp, leave: &Leave) -> Vec<u8> {
        let bytes = self.seal(to, now, leave).bytes;
        self.last_leave = Some(keccak256(&bytes));
        bytes
    }

    /// Opens what came; only the pool's orchestrator is heard.
    pub(super) fn hear(&self, from: Address, now: Timestamp, bytes: &[u8]) -> Result<Heard, EnvelopeError> {
        let expected = Expectation {
            recipient: Some(self.identity.address()),
            realm: self.identity.realm,
            now,
            signer: Some(from),
        };
        match claimed_purpose(bytes)? {
            Purpose::Granted => Ok(Heard::Session(Event::Granted(open::<Granted>(bytes, &expected)?.body))),
            Purpose::Instruction => {
                Ok(Heard::Session(Event::Instruction(open::<Instruction>(bytes, &expected)?.body)))
            }
            Purpose::Refusal => Ok(self.refused(open::<Refusal>(bytes, &expected)?.body)),
            got => Err(EnvelopeError::WrongPurpose { expected: Purpose::Instruction, got }),
        }
    }

    /// A refusal counts only for what was said last: an old one must not disturb a new session.
    fn refused(&self, refusal: Refusal) -> Heard {
        let request = Some(refusal.request);
        if request == self.last_leave {
            return Heard::LeaveRefused(refusal);
        }
        let beat = self.last_beat.as_ref().map(|(_, hash)| *hash);
        if request == beat || (request == self.last_hello && beat.is_none()) {
            return Heard::Session(Event::Refused(refusal));
        }
        Heard::Nothing
    }
}

/// The worst findings, at most as many as a beat takes, with texts of bounded length.
fn worst_findings(findings: Vec<CurrentFinding>) -> Vec<Finding> {
    findings.into_iter().map(|row| shortened(row.finding)).take(Heartbeat::MAX_FINDINGS).collect()
}

fn shortened(mut finding: Finding) -> Finding {
    for text in [&mut finding.subject, &mut finding.message, &mut finding.remedy] {
        if let Some((end, _)) = text.char_indices().nth(LONGEST_TEXT) {
            text.truncate(end);
        }
    }
    finding
}
