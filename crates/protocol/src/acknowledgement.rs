//! Answers to beats that bring no news, authenticated by a key of the session.
//!
//! A signature costs as much as everything else that an orchestrator does for a beat, and nobody keeps an answer that says
//! "go on". So an [`Instruction`] without news may come as an [`Acknowledgement`]: the same body under purpose 12, with a
//! tag of 32 bytes in place of the signature. What binds (sessions, sets, invites, refusals, receipts) stays signed, and
//! news in an acknowledgement is no message at all.
//!
//! The key: both sides agree on a secret from the node's key and the pool's (ECDH), and derive from it with the session,
//! both public keys and the realm ([`SessionKey::derive`]). A tag thus counts in one direction, of one session, between
//! these two, in this pool; which beat it answers stands in the body, as it always did. Both ends can make a tag, so that
//! it proves nothing to others.

use minicbor::Decode;
use zeroize::Zeroizing;

use crate::envelope::{
    Addressing, EnvelopeError, Expectation, Header, Proof, Purpose, Realm, TAG_BYTES, Unopened, check_header,
    decode, encode, seal_statement,
};
use crate::ids::SessionId;
use crate::keys::{KeyError, PublicKey, SigningKey};
use crate::session::{Channel, Desired, Instruction, Membership};

/// What the key is derived for: version, use and direction. Never used for anything else.
const KEY_CONTEXT: &str = "Lode wire v1: key of one session, orchestrator to node";
/// First bytes of what is tagged.
const TAG_DOMAIN: &[u8] = b"Lode wire v1 tag";
/// Largest body accepted, in bytes.
pub const MAX_BYTES: usize = 16 << 10;

/// An instruction that brings no news, in answer to a beat.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Acknowledgement(Box<Instruction>);

impl Acknowledgement {
    /// Takes an instruction that brings no news; gives back one that does.
    pub fn of(instruction: Box<Instruction>) -> Result<Self, Box<Instruction>> {
        if brings_news(&instruction) { Err(instruction) } else { Ok(Acknowledgement(instruction)) }
    }

    /// What it says.
    pub fn into_instruction(self) -> Instruction {
        *self.0
    }
}

/// Whether somebody may want to prove later that this was said, or it changes what a node does.
fn brings_news(instruction: &Instruction) -> bool {
    let Instruction { desired, channel, membership, invite, log_requests, receipts, .. } = instruction;
    let moves = match membership {
        Membership::Waiting { .. } | Membership::Member | Membership::Draining => false,
        Membership::Invited | Membership::Ejected { .. } => true,
    };
    let unasked = match channel {
        Channel::Reply { .. } => false,
        Channel::Push { .. } => true,
    };
    moves
        || unasked
        || *desired != Desired::Unchanged
        || invite.is_some()
        || receipts.is_some()
        || !log_requests.is_empty()
}

impl<'b, C> Decode<'b, C> for Acknowledgement {
    fn decode(decoder: &mut minicbor::Decoder<'b>, context: &mut C) -> Result<Self, minicbor::decode::Error> {
        let instruction = Box::new(Instruction::decode(decoder, context)?);
        Acknowledgement::of(instruction)
            .map_err(|_| minicbor::decode::Error::message("news in an acknowledgement, which must be signed"))
    }
}

/// What two keys agree on. `Debug` is redacted.
#[derive(Clone)]
pub struct PeerSecret(Zeroizing<[u8; 32]>);

impl PeerSecret {
    /// The same at both ends.
    ///
    /// # Errors
    /// When `theirs` is no point.
    pub fn agree(own: &SigningKey, theirs: &PublicKey) -> Result<Self, KeyError> {
        Ok(PeerSecret(own.agree(&theirs.check()?)))
    }
}

impl std::fmt::Debug for PeerSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PeerSecret(redacted)")
    }
}

/// The parties of a session and where it counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionParties {
    /// The node's key.
    pub node: PublicKey,
    /// The pool's orchestrator key.
    pub orchestrator: PublicKey,
    /// Chain, deployment and pool.
    pub realm: Realm,
}

/// The key that authenticates what an orchestrator says in one session. `Debug` is redacted.
#[derive(Clone)]
pub struct SessionKey {
    key: Zeroizing<[u8; 32]>,
    parties: SessionParties,
}

impl std::fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SessionKey({:?}, redacted)", self.parties)
    }
}

impl SessionKey {
    /// BLAKE3 in its mode for deriving keys, over fields of fixed length.
    pub fn derive(secret: &PeerSecret, parties: SessionParties, session: SessionId) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(KEY_CONTEXT);
        hasher.update(secret.0.as_slice());
        hasher.update(parties.node.as_bytes());
        hasher.update(parties.orchestrator.as_bytes());
        hasher.update(&parties.realm.chain.0.to_be_bytes());
        hasher.update(&parties.realm.deployment.0);
        hasher.update(&parties.realm.pool.0.to_be_bytes());
        hasher.update(&session.0);
        SessionKey { key: Zeroizing::new(*hasher.finalize().as_bytes()), parties }
    }

    fn tag(&self, statement: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(TAG_DOMAIN);
        hasher.update(statement);
        hasher.finalize()
    }

    /// Seals an acknowledgement: the orchestrator's side.
    pub fn seal(&self, addressing: Addressing, body: &Acknowledgement) -> Vec<u8> {
        self.seal_unchecked(addressing, &body.0)
    }

    /// The same for any instruction, as only somebody hostile does it: who hears it refuses news.
    #[doc(hidden)]
    pub fn seal_unchecked(&self, addressing: Addressing, body: &Instruction) -> Vec<u8> {
        let header = Header::of(Purpose::Acknowledgement, self.parties.orchestrator, addressing);
        seal_statement(header, &encode(body), |statement| Proof::Tag(*self.tag(statement).as_bytes()))
    }

    /// Opens an acknowledgement: the node's side. Only the session's orchestrator is heard.
    ///
    /// # Errors
    /// What is wrong with it; `envelope/bad-tag` where this session's key did not make the tag.
    pub fn open(&self, bytes: &[u8], expected: &Expectation) -> Result<Instruction, EnvelopeError> {
        let message = Unopened::parse(bytes)?;
        message.check_size(MAX_BYTES)?;
        check_header(&message.header, Purpose::Acknowledgement, expected)?;
        let tag: [u8; TAG_BYTES] = message.proof.try_into().map_err(|_| EnvelopeError::BadTag)?;
        // Compared in constant time by its type. The signer is part of what is tagged, but a header of another one must
        // not pass for ours.
        if message.header.signer != self.parties.orchestrator || self.tag(message.statement) != tag {
            return Err(EnvelopeError::BadTag);
        }
        Ok(decode::<Acknowledgement>(message.payload)?.into_instruction())
    }
}
