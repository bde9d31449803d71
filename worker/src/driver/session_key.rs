//! The key with which the orchestrator authenticates answers without news, from one session to the next.

use lode_protocol::acknowledgement::{PeerSecret, SessionKey, SessionParties};
use lode_protocol::envelope::{EnvelopeError, Expectation, Opened};
use lode_protocol::ids::Nonce;
use lode_protocol::session::{Granted, Instruction};

use crate::identity::Identity;

/// The session's key, once there is a session.
#[derive(Debug, Default)]
pub(super) struct CurrentKey {
    /// Nonce of the greeting that is out.
    asked: Option<Nonce>,
    key: Option<SessionKey>,
}

impl CurrentKey {
    /// A greeting goes out: what came before it no longer counts.
    pub(super) fn asked(&mut self, nonce: Nonce) {
        *self = CurrentKey { asked: Some(nonce), key: None };
    }

    /// A session was granted, by a message that the orchestrator signed. One that answers an older greeting changes
    /// nothing.
    pub(super) fn granted(&mut self, identity: &Identity, opened: &Opened<Granted>) {
        if self.asked != Some(opened.body.nonce) {
            return;
        }
        let orchestrator = opened.header.signer;
        // The key has just verified a signature: it is a point.
        let Ok(secret) = PeerSecret::agree(&identity.key, &orchestrator) else { return };
        let parties = SessionParties { node: identity.key.public(), orchestrator, realm: identity.realm };
        self.key = Some(SessionKey::derive(&secret, parties, opened.body.session));
    }

    /// Opens an answer without news.
    pub(super) fn open(&self, bytes: &[u8], expected: &Expectation) -> Result<Instruction, EnvelopeError> {
        self.key.as_ref().ok_or(EnvelopeError::BadTag)?.open(bytes, expected)
    }
}

#[cfg(test)]
mod tests {
    use lode_protocol::acknowledgement::Acknowledgement;
    use lode_protocol::envelope::{Addressing, Audience, Realm, open, seal};
    use lode_protocol::hash::Digest;
    use lode_protocol::ids::{Address, ChainId, PoolId, Sequence, SessionId, Term};
    use lode_protocol::keys::SigningKey;
    use lode_protocol::session::{Channel, Desired, LeaseTiming, Membership};
    use lode_protocol::units::{Millis, Timestamp};

    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);
    const TERMS: LeaseTiming =
        LeaseTiming { interval: Millis(1), suspect_after: Millis(2), lost_after: Millis(3) };

    fn key(byte: u8) -> SigningKey {
        SigningKey::from_bytes(&[byte; 32]).unwrap()
    }

    fn identity() -> Identity {
        let realm = Realm { chain: ChainId(1), deployment: Address([5; 20]), pool: PoolId(1) };
        Identity { key: key(1), realm }
    }

    fn addressing() -> Addressing {
        let audience = Audience::Peer(key(1).address());
        Addressing { audience, realm: identity().realm, now: NOW, lifetime: Millis::seconds(60) }
    }

    fn expectation() -> Expectation {
        let realm = identity().realm;
        Expectation { recipient: Some(key(1).address()), realm, now: NOW, signer: Some(key(2).address()) }
    }

    fn granted(nonce: u8, session: u8) -> Opened<Granted> {
        let body = Granted {
            nonce: Nonce([nonce; 16]),
            session: SessionId([session; 16]),
            epoch: Term(1),
            terms: TERMS,
            membership: Membership::Member,
        };
        open(&seal(&key(2), addressing(), &body).bytes, &expectation()).unwrap()
    }

    fn answer(session: u8) -> Vec<u8> {
        let instruction = Instruction {
            session: SessionId([session; 16]),
            epoch: Term(1),
            channel: Channel::Reply { sequence: Sequence(1), request: Digest([7; 32]) },
            terms: TERMS,
            desired: Desired::Unchanged,
            membership: Membership::Member,
            invite: None,
            log_requests: Vec::new(),
            meter: None,
            receipts: None,
        };
        let secret = PeerSecret::agree(&key(2), &key(1).public()).unwrap();
        let parties =
            SessionParties { node: key(1).public(), orchestrator: key(2).public(), realm: identity().realm };
        let key = SessionKey::derive(&secret, parties, SessionId([session; 16]));
        key.seal(addressing(), &Acknowledgement::of(Box::new(instruction)).unwrap())
    }

    #[test]
    fn only_answers_of_the_present_session_are_heard() {
        let mut current = CurrentKey::default();
        let refused =
            |current: &CurrentKey, session| current.open(&answer(session), &expectation()).unwrap_err();
        assert_eq!(refused(&current, 1), EnvelopeError::BadTag, "there is no session");
        current.asked(Nonce([1; 16]));
        current.granted(&identity(), &granted(1, 1));
        assert_eq!(current.open(&answer(1), &expectation()).unwrap().session, SessionId([1; 16]));
        assert_eq!(refused(&current, 2), EnvelopeError::BadTag, "of another session");
        current.asked(Nonce([2; 16]));
        assert_eq!(refused(&current, 1), EnvelopeError::BadTag, "of the session before");
        // A delayed answer to the greeting before.
        current.granted(&identity(), &granted(1, 1));
        assert_eq!(refused(&current, 1), EnvelopeError::BadTag);
        current.granted(&identity(), &granted(2, 2));
        current.open(&answer(2), &expectation()).unwrap();
    }
}
