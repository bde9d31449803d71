//! The signed envelope: the only form in which one program's word reaches another.
//!
//! Wire form (CBOR): `[statement: bytes, signature: bytes(64)]` with `statement = [header, payload: bytes]`. The
//! signature is over `keccak256("Lode wire v1" ‖ purpose ‖ statement)`. The statement travels as the bytes that were
//! signed: the bytes received are the bytes verified. Under purpose 13 (output) the BLAKE3 hash of the statement stands in
//! the statement's place. No Lode digest starts with 0x19, so that an envelope can never
//! be an Ethereum transaction or typed message, nor the other way round.
//!
//! Checks run in this order: outer form, size, version, purpose, time, recipient, signature. Replay and permission follow
//! in the core that owns the session.

mod error;
mod outer;
mod purpose;

use minicbor::{Decode, Encode};

use crate::hash::{Digest, keccak256_of};
use crate::ids::{Address, ChainId, PoolId};
use crate::keys::{KeyError, PublicKey, Signature, SigningKey, VerifyingKey};
use crate::units::{Millis, Timestamp};
pub use error::{ClockDifference, EnvelopeError};
pub use outer::OuterForm;
pub use purpose::{MAX_MESSAGE_LIFETIME, Purpose};

/// Version of the envelope and of all message bodies.
pub const WIRE_VERSION: u8 = 1;
/// First bytes of everything that is hashed for a signature.
pub const SIGNING_DOMAIN: &[u8] = b"Lode wire v1";
/// Clocks of honest machines differ by at most this much, in either direction.
pub const MAX_CLOCK_SKEW: Millis = Millis::seconds(30);
/// Bytes of a tag, which stands in place of a signature where both ends share a key.
pub const TAG_BYTES: usize = 32;
/// Bytes that header and signature add to a payload, at most.
const OVERHEAD: usize = 512;

/// A message body that is signed.
pub trait Signable: Encode<()> + for<'b> Decode<'b, ()> {
    /// What it is for.
    const PURPOSE: Purpose;
    /// Largest body accepted, in bytes.
    const MAX_BYTES: usize;
}

/// For whom a message is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Encode, Decode)]
pub enum Audience {
    /// Anybody: a descriptor, and a refusal of what cannot be read, whose sender is not known.
    #[n(0)]
    Any,
    /// One peer, by the address of its key.
    #[n(1)]
    Peer(#[n(0)] Address),
}

/// Where a message counts: one chain, one deployment of the contracts, one pool. Two pools with equal numbers on
/// equal chain ids (every development chain has the same id) still differ by their contract.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Encode, Decode)]
pub struct Realm {
    /// EIP-155 id of the chain.
    #[n(0)]
    pub chain: ChainId,
    /// Address of the `ComputePools` contract.
    #[n(1)]
    pub deployment: Address,
    /// The pool; 0 where a message concerns no pool in particular.
    #[n(2)]
    pub pool: PoolId,
}

impl Realm {
    /// The same deployment without a pool.
    pub fn without_pool(self) -> Self {
        Realm { pool: PoolId(0), ..self }
    }
}

/// What is known about a message besides its body.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Header {
    /// Always [`WIRE_VERSION`].
    #[n(0)]
    pub version: u8,
    /// What it is for.
    #[n(1)]
    pub purpose: Purpose,
    /// Who signed.
    #[n(2)]
    pub signer: PublicKey,
    /// For whom.
    #[n(3)]
    pub audience: Audience,
    /// Where it counts.
    #[n(4)]
    pub realm: Realm,
    /// When it was signed, by the signer's clock.
    #[n(5)]
    pub issued_at: Timestamp,
    /// When it stops counting.
    #[n(6)]
    pub expires_at: Timestamp,
}

#[derive(Encode, Decode)]
struct Statement<'a> {
    #[n(0)]
    header: Header,
    #[cbor(n(1), with = "minicbor::bytes")]
    payload: &'a [u8],
}

/// What shows who said it.
pub(crate) enum Proof {
    Signature(Signature),
    Tag([u8; TAG_BYTES]),
}

impl Header {
    pub(crate) fn of(purpose: Purpose, signer: PublicKey, addressing: Addressing) -> Self {
        Header {
            version: WIRE_VERSION,
            purpose,
            signer,
            audience: addressing.audience,
            realm: addressing.realm,
            issued_at: addressing.now,
            expires_at: addressing.now.plus(addressing.lifetime),
        }
    }
}

/// A message that was taken apart and not verified: what it says proves nothing yet.
#[derive(Clone, Copy, Debug)]
pub struct Unopened<'a> {
    /// The header that it claims, for dispatch.
    pub header: Header,
    pub(crate) payload: &'a [u8],
    pub(crate) statement: &'a [u8],
    pub(crate) proof: &'a [u8],
    size: usize,
}

impl<'a> Unopened<'a> {
    /// Takes a message apart; copies nothing.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, EnvelopeError> {
        let (statement, proof) = outer::split(bytes)?;
        let Statement { header, payload } = decode(statement)?;
        Ok(Unopened { header, payload, statement, proof, size: bytes.len() })
    }

    pub(crate) fn check_size(&self, body: usize) -> Result<(), EnvelopeError> {
        check_size(self.size, body)
    }

    /// Verifies it and decodes its body. `check` gives the point of a public key, which may be known from before.
    pub fn open<T: Signable>(
        &self,
        expected: &Expectation,
        check: impl FnOnce(&PublicKey) -> Result<VerifyingKey, KeyError>,
    ) -> Result<Opened<T>, EnvelopeError> {
        self.check_size(T::MAX_BYTES)?;
        check_header(&self.header, T::PURPOSE, expected)?;
        let key = check(&self.header.signer).map_err(|_| EnvelopeError::BadSignature)?;
        let signer = key.address();
        if let Some(expected) = expected.signer.filter(|expected| *expected != signer) {
            return Err(EnvelopeError::WrongSigner { expected, got: signer });
        }
        let signature: [u8; 64] = self.proof.try_into().map_err(|_| EnvelopeError::BadSignature)?;
        let digest = signing_digest(T::PURPOSE, self.statement);
        key.verify(&digest, &Signature(signature)).map_err(|_| EnvelopeError::BadSignature)?;
        Ok(Opened { header: self.header, signer, digest, body: decode(self.payload)? })
    }
}

fn check_size(size: usize, body: usize) -> Result<(), EnvelopeError> {
    let limit = body + OVERHEAD;
    if size > limit { Err(EnvelopeError::TooLarge { size, limit }) } else { Ok(()) }
}

/// What is hashed and signed: one function for signing and verifying. Output comes by the gigabyte, and Keccak was half of
/// what it cost: there the signature is over a BLAKE3 hash of the statement.
fn signing_digest(purpose: Purpose, statement: &[u8]) -> Digest {
    let number = [purpose.number()];
    if purpose == Purpose::LogBatch {
        return keccak256_of([SIGNING_DOMAIN, &number, blake3::hash(statement).as_bytes()]);
    }
    keccak256_of([SIGNING_DOMAIN, &number, statement])
}

/// Everything about a message that is not its body, chosen by its sender.
#[derive(Clone, Copy, Debug)]
pub struct Addressing {
    /// For whom.
    pub audience: Audience,
    /// Where it counts.
    pub realm: Realm,
    /// The sender's time.
    pub now: Timestamp,
    /// How long it counts.
    pub lifetime: Millis,
}

/// A signed message in its wire form.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sealed {
    /// The bytes to send.
    pub bytes: Vec<u8>,
    /// Digest that was signed: names this message in answers.
    pub digest: Digest,
}

/// Signs `body`.
///
/// # Panics
/// Never: encoding into memory cannot fail.
pub fn seal<T: Signable>(key: &SigningKey, addressing: Addressing, body: &T) -> Sealed {
    let header = Header::of(T::PURPOSE, key.public(), addressing);
    let mut digest = Digest::default();
    let bytes = seal_statement(header, &encode(body), |statement| {
        digest = signing_digest(T::PURPOSE, statement);
        Proof::Signature(key.sign(&digest))
    });
    Sealed { bytes, digest }
}

/// The wire form of a header and a body; `prove` signs or tags the statement.
pub(crate) fn seal_statement(header: Header, payload: &[u8], prove: impl FnOnce(&[u8]) -> Proof) -> Vec<u8> {
    let mut statement = Vec::with_capacity(payload.len() + OVERHEAD);
    encode_into(&Statement { header, payload }, &mut statement);
    let proof = prove(&statement);
    match &proof {
        Proof::Signature(signature) => outer::join(&statement, &signature.0),
        Proof::Tag(tag) => outer::join(&statement, tag),
    }
}

fn encode_into<T: Encode<()>>(value: &T, bytes: &mut Vec<u8>) {
    minicbor::encode(value, bytes).expect("encoding into a vector cannot fail");
}

/// CBOR of `value`.
pub fn encode<T: Encode<()>>(value: &T) -> Vec<u8> {
    minicbor::to_vec(value).expect("encoding into a vector cannot fail")
}

/// What a receiver expects of a message.
#[derive(Clone, Copy, Debug)]
pub struct Expectation {
    /// Who receives; `None` accepts only messages to anybody: descriptors, and refusals to whoever it was.
    pub recipient: Option<Address>,
    /// Where the receiver stands.
    pub realm: Realm,
    /// The receiver's time.
    pub now: Timestamp,
    /// Who must have signed, where that is known.
    pub signer: Option<Address>,
}

/// A verified message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opened<T> {
    /// Header as signed.
    pub header: Header,
    /// Address of the signer: the only identity to act on.
    pub signer: Address,
    /// Digest that was signed.
    pub digest: Digest,
    /// The body.
    pub body: T,
}

/// The purpose a message claims, for dispatch before it is opened. Proves nothing.
pub fn claimed_purpose(bytes: &[u8]) -> Result<Purpose, EnvelopeError> {
    Ok(peek(bytes)?.purpose)
}

/// The header a message claims, before any verification. Proves nothing: for rate limits and diagnostics only.
pub fn peek(bytes: &[u8]) -> Result<Header, EnvelopeError> {
    Ok(Unopened::parse(bytes)?.header)
}

/// Verifies a message and decodes its body.
pub fn open<T: Signable>(bytes: &[u8], expected: &Expectation) -> Result<Opened<T>, EnvelopeError> {
    check_size(bytes.len(), T::MAX_BYTES)?;
    Unopened::parse(bytes)?.open(expected, PublicKey::check)
}

pub(crate) fn check_header(
    header: &Header,
    purpose: Purpose,
    expected: &Expectation,
) -> Result<(), EnvelopeError> {
    let now = expected.now;
    if header.version != WIRE_VERSION {
        return Err(EnvelopeError::UnsupportedVersion { got: header.version });
    }
    if header.purpose != purpose {
        return Err(EnvelopeError::WrongPurpose { expected: purpose, got: header.purpose });
    }
    check_time(header, now)?;
    match (header.audience, expected.recipient) {
        (Audience::Any, _) if purpose == Purpose::Descriptor => {}
        (Audience::Any, None) if purpose == Purpose::Refusal => {}
        (Audience::Any, _) => return Err(EnvelopeError::NotAddressed { purpose }),
        (Audience::Peer(peer), Some(recipient)) if peer == recipient => {}
        (got @ Audience::Peer(_), recipient) => {
            return Err(EnvelopeError::WrongAudience { expected: recipient.unwrap_or(Address::ZERO), got });
        }
    }
    if header.realm != expected.realm {
        return Err(EnvelopeError::WrongRealm { expected: expected.realm, got: header.realm });
    }
    Ok(())
}

/// By the signer's own clock the message must count for a while that its purpose allows; by ours, that while must be now.
fn check_time(header: &Header, now: Timestamp) -> Result<(), EnvelopeError> {
    let Header { purpose, issued_at, expires_at, .. } = *header;
    if expires_at < issued_at {
        return Err(EnvelopeError::ExpiresBeforeIssue { issued_at, expires_at });
    }
    let (validity, limit) = (expires_at.since(issued_at), purpose.longest_validity());
    if validity > limit {
        return Err(EnvelopeError::CountsTooLong { purpose, validity, limit });
    }
    if expires_at.plus(MAX_CLOCK_SKEW) < now {
        return Err(EnvelopeError::Expired { issued_at, expired_at: expires_at, now });
    }
    if issued_at > now.plus(MAX_CLOCK_SKEW) {
        return Err(EnvelopeError::NotYetValid { issued_at, now });
    }
    Ok(())
}

/// Decodes CBOR and refuses bytes that follow it.
pub fn decode<'b, T: Decode<'b, ()>>(bytes: &'b [u8]) -> Result<T, EnvelopeError> {
    let mut decoder = minicbor::Decoder::new(bytes);
    let value = decoder.decode().map_err(|error| EnvelopeError::Malformed(error.to_string()))?;
    if decoder.position() != bytes.len() {
        return Err(EnvelopeError::Malformed("bytes follow the end of the message".to_owned()));
    }
    Ok(value)
}
