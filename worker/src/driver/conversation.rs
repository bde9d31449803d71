//! What is said to the orchestrator, sealed; and what is heard from it, opened.

use lode_program::finding::CurrentFinding;
use lode_protocol::envelope::{
    Addressing, Audience, EnvelopeError, Expectation, Purpose, Sealed, Signable, claimed_purpose, encode,
    open, seal,
};
use lode_protocol::finding::Finding;
use lode_protocol::hash::keccak256;
use lode_protocol::ids::Address;
use lode_protocol::session::{Granted, Heartbeat, Instruction, Refusal};
use lode_protocol::units::{Millis, Timestamp};

use super::session_key::CurrentKey;
use crate::core::effect::Message;
use crate::core::event::{Heard, Sent, SentMessage};
use crate::identity::Identity;

/// How long a message counts.
const LIFETIME: Millis = Millis::seconds(60);
/// Longest text of a finding, in characters.
const LONGEST_TEXT: usize = 1_000;

/// Seals and opens.
#[derive(Debug)]
pub(super) struct Conversation {
    identity: Identity,
    last_beat: Option<Vec<u8>>,
    session_key: CurrentKey,
}

impl Conversation {
    pub(super) fn new(identity: Identity) -> Self {
        Self { identity, last_beat: None, session_key: CurrentKey::default() }
    }

    /// A message as it travels, and what the core is to know of it.
    pub(super) fn seal(&mut self, to: Address, now: Timestamp, message: &Message) -> (Vec<u8>, Sent) {
        let (what, sealed) = match message {
            Message::Hello(hello) => {
                self.session_key.asked(hello.nonce);
                (SentMessage::Hello, self.sealed(to, now, hello))
            }
            Message::Heartbeat(beat) => {
                (SentMessage::Heartbeat(beat.sequence), self.sealed(to, now, beat.as_ref()))
            }
            Message::Leave(leave) => (SentMessage::Leave, self.sealed(to, now, leave)),
        };
        match what {
            SentMessage::Hello => self.last_beat = None,
            SentMessage::Heartbeat(_) => self.last_beat = Some(sealed.bytes.clone()),
            SentMessage::Leave => {}
        }
        let sent = Sent { what, digest: sealed.digest, bytes: keccak256(&sealed.bytes) };
        (sealed.bytes, sent)
    }

    fn sealed<T: Signable>(&self, to: Address, now: Timestamp, body: &T) -> Sealed {
        let addressing =
            Addressing { audience: Audience::Peer(to), realm: self.identity.realm, now, lifetime: LIFETIME };
        seal(&self.identity.key, addressing, body)
    }

    /// The worst of what is wrong goes with a beat, as far as there is room.
    pub(super) fn add_findings(&self, beat: &mut Heartbeat, findings: Vec<CurrentFinding>) {
        beat.findings = worst_findings(findings);
        if encode(beat).len() > Heartbeat::MAX_BYTES {
            // Words for people give way to facts.
            beat.findings.clear();
            for report in &mut beat.assignments {
                report.detail.clear();
            }
        }
    }

    /// The last beat, byte for byte.
    pub(super) fn last_beat(&self) -> Option<Vec<u8>> {
        self.last_beat.clone()
    }

    /// Opens what came; only the pool's orchestrator is heard.
    pub(super) fn hear(
        &mut self,
        from: Address,
        now: Timestamp,
        bytes: &[u8],
    ) -> Result<Heard, EnvelopeError> {
        let expected = Expectation {
            recipient: Some(self.identity.address()),
            realm: self.identity.realm,
            now,
            signer: Some(from),
        };
        match claimed_purpose(bytes)? {
            Purpose::Granted => {
                let opened = open::<Granted>(bytes, &expected)?;
                self.session_key.granted(&self.identity, &opened);
                Ok(Heard::Granted(opened.body))
            }
            Purpose::Acknowledgement => {
                Ok(Heard::Instruction(Box::new(self.session_key.open(bytes, &expected)?)))
            }
            Purpose::Instruction => {
                Ok(Heard::Instruction(Box::new(open::<Instruction>(bytes, &expected)?.body)))
            }
            Purpose::Refusal => Ok(Heard::Refused(open::<Refusal>(bytes, &expected)?.body)),
            got => Err(EnvelopeError::WrongPurpose { expected: Purpose::Instruction, got }),
        }
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
