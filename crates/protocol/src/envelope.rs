//! The signed envelope: the only form in which one program's word reaches another.
//!
//! Wire form (CBOR): `[statement: bytes, signature: bytes(64)]` with `statement = [header, payload: bytes]`. The
//! signature is over `keccak256("Lode wire v1" ‖ purpose ‖ statement)`. The statement travels as the bytes that were
//! signed: the bytes received are the bytes verified. No Lode digest starts with 0x19, so that an envelope can never
//! be an Ethereum transaction or typed message, nor the other way round.
//!
//! Checks run in this order: size, version, purpose, time, recipient, signature. Replay and permission follow in the
//! core that owns the session.

use minicbor::{Decode, Encode};

use crate::error_code::ErrorCode;
use crate::hash::{Digest, keccak256_of};
use crate::ids::{Address, ChainId, PoolId};
use crate::keys::{KeyError, PublicKey, Signature, SigningKey, VerifyingKey};
use crate::units::{Millis, Timestamp};

/// Version of the envelope and of all message bodies.
pub const WIRE_VERSION: u8 = 1;
/// First bytes of everything that is hashed for a signature.
pub const SIGNING_DOMAIN: &[u8] = b"Lode wire v1";
/// Clocks of honest machines differ by at most this much, in either direction.
pub const MAX_CLOCK_SKEW: Millis = Millis::seconds(30);
/// Bytes that header and signature add to a payload, at most.
const OVERHEAD: usize = 512;

/// What a message is for. A signature for one purpose is void for every other. Numbers are never reused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum Purpose {
    /// A node's public description of itself ([`crate::descriptor::NodeDescriptor`]).
    #[n(1)]
    Descriptor,
    /// A worker asks for a session ([`crate::session::Hello`]).
    #[n(2)]
    Hello,
    /// The session it was given ([`crate::session::Granted`]).
    #[n(3)]
    Granted,
    /// A sign of life ([`crate::session::Heartbeat`]).
    #[n(4)]
    Heartbeat,
    /// Answer to a beat, push or resync ([`crate::session::Instruction`]).
    #[n(5)]
    Instruction,
    /// Why a message was not accepted ([`crate::session::Refusal`]).
    #[n(6)]
    Refusal,
    /// The orchestrator asks for a task's output ([`crate::logs::LogRequest`]).
    #[n(7)]
    LogRequest,
    /// A piece of a task's output ([`crate::logs::LogBatch`]).
    #[n(8)]
    LogBatch,
    /// A validator speaks to a node ([`crate::proof::Challenge`]).
    #[n(9)]
    Challenge,
    /// A node answers a validator ([`crate::proof::Answer`]).
    #[n(10)]
    Answer,
    /// A node leaves its pool ([`crate::session::Leave`]).
    #[n(11)]
    Leave,
}

impl Purpose {
    const fn number(self) -> u8 {
        match self {
            Purpose::Descriptor => 1,
            Purpose::Hello => 2,
            Purpose::Granted => 3,
            Purpose::Heartbeat => 4,
            Purpose::Instruction => 5,
            Purpose::Refusal => 6,
            Purpose::LogRequest => 7,
            Purpose::LogBatch => 8,
            Purpose::Challenge => 9,
            Purpose::Answer => 10,
            Purpose::Leave => 11,
        }
    }
}

/// A message body that may be signed.
pub trait Signable: Encode<()> + for<'b> Decode<'b, ()> {
    /// What it is for.
    const PURPOSE: Purpose;
    /// Largest body accepted, in bytes.
    const MAX_BYTES: usize;
}

/// For whom a message is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Encode, Decode)]
pub enum Audience {
    /// Anybody (a descriptor).
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

#[derive(Encode, Decode)]
struct Outer<'a> {
    #[cbor(n(0), with = "minicbor::bytes")]
    statement: &'a [u8],
    #[n(1)]
    signature: Signature,
}

/// Why an envelope was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Larger than its purpose allows.
    #[error("the message has {size} bytes; at most {limit} are accepted")]
    TooLarge {
        /// Bytes received.
        size: usize,
        /// Bytes accepted.
        limit: usize,
    },
    /// Not an envelope, or a body that is not of its type.
    #[error("the message cannot be decoded: {0}")]
    Malformed(String),
    /// Another protocol version.
    #[error("the message speaks wire version {got}; this program speaks version {WIRE_VERSION}")]
    UnsupportedVersion {
        /// Version received.
        got: u8,
    },
    /// Signed for something else.
    #[error("the message was signed as {got:?}, expected {expected:?}")]
    WrongPurpose {
        /// Purpose expected.
        expected: Purpose,
        /// Purpose received.
        got: Purpose,
    },
    /// Too old.
    #[error("the message expired at {expired_at}, it is {now}: check the clocks of both machines")]
    Expired {
        /// End of its validity.
        expired_at: Timestamp,
        /// The receiver's time.
        now: Timestamp,
    },
    /// From the future.
    #[error("the message was issued at {issued_at}, it is only {now}: check the clocks of both machines")]
    NotYetValid {
        /// When it says it was signed.
        issued_at: Timestamp,
        /// The receiver's time.
        now: Timestamp,
    },
    /// Meant for somebody else.
    #[error("the message is addressed to {got:?}, not to {expected}")]
    WrongAudience {
        /// The receiver.
        expected: Address,
        /// Who was addressed.
        got: Audience,
    },
    /// Of another chain, deployment or pool.
    #[error("the message belongs to pool {got:?}, this is pool {expected:?}")]
    WrongRealm {
        /// The receiver's realm.
        expected: Realm,
        /// The message's realm.
        got: Realm,
    },
    /// Signed by somebody else than expected.
    #[error("the message was signed by {got}, expected {expected}")]
    WrongSigner {
        /// Who should have signed.
        expected: Address,
        /// Who signed.
        got: Address,
    },
    /// The signature does not verify.
    #[error("the signature does not verify")]
    BadSignature,
}

impl EnvelopeError {
    /// The stable code of this error.
    pub fn code(&self) -> ErrorCode {
        ErrorCode::new(match self {
            EnvelopeError::TooLarge { .. } => "envelope/too-large",
            EnvelopeError::Malformed(_) => "envelope/malformed",
            EnvelopeError::UnsupportedVersion { .. } => "envelope/unsupported-version",
            EnvelopeError::WrongPurpose { .. } => "envelope/wrong-purpose",
            EnvelopeError::Expired { .. } => "envelope/expired",
            EnvelopeError::NotYetValid { .. } => "envelope/not-yet-valid",
            EnvelopeError::WrongAudience { .. } => "envelope/wrong-audience",
            EnvelopeError::WrongRealm { .. } => "envelope/wrong-pool",
            EnvelopeError::WrongSigner { .. } => "envelope/wrong-signer",
            EnvelopeError::BadSignature => "envelope/bad-signature",
        })
    }
}

/// What is hashed and signed: one function for signing and verifying.
fn signing_digest(purpose: Purpose, statement: &[u8]) -> Digest {
    keccak256_of([SIGNING_DOMAIN, &[purpose.number()], statement])
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
    let payload = encode(body);
    let header = Header {
        version: WIRE_VERSION,
        purpose: T::PURPOSE,
        signer: key.public(),
        audience: addressing.audience,
        realm: addressing.realm,
        issued_at: addressing.now,
        expires_at: addressing.now.plus(addressing.lifetime),
    };
    let statement = encode(&Statement { header, payload: &payload });
    let digest = signing_digest(T::PURPOSE, &statement);
    let bytes = encode(&Outer { statement: &statement, signature: key.sign(&digest) });
    Sealed { bytes, digest }
}

/// CBOR of `value`.
pub fn encode<T: Encode<()>>(value: &T) -> Vec<u8> {
    minicbor::to_vec(value).expect("encoding into a vector cannot fail")
}

/// What a receiver expects of a message.
#[derive(Clone, Copy, Debug)]
pub struct Expectation {
    /// Who receives; `None` accepts only messages to anybody.
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
    let outer: Outer<'_> = decode(bytes)?;
    Ok(decode::<Statement<'_>>(outer.statement)?.header)
}

/// Verifies a message and decodes its body.
pub fn open<T: Signable>(bytes: &[u8], expected: &Expectation) -> Result<Opened<T>, EnvelopeError> {
    open_with(bytes, expected, PublicKey::check)
}

/// The same with keys that may have been checked before: `check` gives the point of a public key.
pub fn open_with<T: Signable>(
    bytes: &[u8],
    expected: &Expectation,
    check: impl FnOnce(&PublicKey) -> Result<VerifyingKey, KeyError>,
) -> Result<Opened<T>, EnvelopeError> {
    let limit = T::MAX_BYTES + OVERHEAD;
    if bytes.len() > limit {
        return Err(EnvelopeError::TooLarge { size: bytes.len(), limit });
    }
    let outer: Outer<'_> = decode(bytes)?;
    let Statement { header, payload } = decode(outer.statement)?;
    check_header::<T>(&header, expected)?;
    let key = check(&header.signer).map_err(|_| EnvelopeError::BadSignature)?;
    let signer = key.address();
    if let Some(expected) = expected.signer.filter(|expected| *expected != signer) {
        return Err(EnvelopeError::WrongSigner { expected, got: signer });
    }
    let digest = signing_digest(T::PURPOSE, outer.statement);
    key.verify(&digest, &outer.signature).map_err(|_| EnvelopeError::BadSignature)?;
    Ok(Opened { header, signer, digest, body: decode(payload)? })
}

fn check_header<T: Signable>(header: &Header, expected: &Expectation) -> Result<(), EnvelopeError> {
    let now = expected.now;
    if header.version != WIRE_VERSION {
        return Err(EnvelopeError::UnsupportedVersion { got: header.version });
    }
    if header.purpose != T::PURPOSE {
        return Err(EnvelopeError::WrongPurpose { expected: T::PURPOSE, got: header.purpose });
    }
    if header.expires_at.plus(MAX_CLOCK_SKEW) < now {
        return Err(EnvelopeError::Expired { expired_at: header.expires_at, now });
    }
    if header.issued_at > now.plus(MAX_CLOCK_SKEW) {
        return Err(EnvelopeError::NotYetValid { issued_at: header.issued_at, now });
    }
    match (header.audience, expected.recipient) {
        (Audience::Any, _) => {}
        (Audience::Peer(peer), Some(recipient)) if peer == recipient => {}
        (got, recipient) => {
            return Err(EnvelopeError::WrongAudience { expected: recipient.unwrap_or(Address::ZERO), got });
        }
    }
    if header.realm != expected.realm {
        return Err(EnvelopeError::WrongRealm { expected: expected.realm, got: header.realm });
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
