//! The outer form of an envelope: `[statement: bytes, proof: bytes]`, in the one spelling that is accepted.
//!
//! CBOR can say the same in many ways, and nobody signs the outer form. Were several of them accepted, anybody on the way
//! could make new bytes of an old message, and answers name messages by their bytes.

use minicbor::data::Type;
use minicbor::{Decoder, Encode};

use super::EnvelopeError;

#[derive(Encode)]
struct Outer<'a> {
    #[cbor(n(0), with = "minicbor::bytes")]
    statement: &'a [u8],
    /// 64 bytes of signature; under purpose 12, 32 bytes of tag.
    #[cbor(n(1), with = "minicbor::bytes")]
    proof: &'a [u8],
}

/// A spelling of the outer form that is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OuterForm {
    /// An array or a byte string that does not say its length at its beginning.
    #[error("an indefinite length")]
    Indefinite,
    /// More than statement and proof: nobody has signed the rest.
    #[error("elements behind the signature")]
    ExtraElements,
    /// A length that could be written in fewer bytes.
    #[error("a length that is not written in its shortest form")]
    LongLength,
}

pub(super) fn join(statement: &[u8], proof: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(statement.len() + proof.len() + 16);
    super::encode_into(&Outer { statement, proof }, &mut bytes);
    bytes
}

/// Statement and proof; copies nothing.
pub(super) fn split(bytes: &[u8]) -> Result<(&[u8], &[u8]), EnvelopeError> {
    let mut decoder = Decoder::new(bytes);
    match decoder.array().map_err(malformed)? {
        Some(2) => {}
        None => return Err(EnvelopeError::NotCanonical(OuterForm::Indefinite)),
        Some(0 | 1) => return Err(EnvelopeError::Malformed("statement or proof is missing".to_owned())),
        Some(_) => return Err(EnvelopeError::NotCanonical(OuterForm::ExtraElements)),
    }
    let (statement, proof) = (byte_string(&mut decoder)?, byte_string(&mut decoder)?);
    if decoder.position() != bytes.len() {
        return Err(EnvelopeError::Malformed("bytes follow the end of the message".to_owned()));
    }
    // Of a definite array of two definite byte strings, only the lengths can be spelt in several ways.
    if bytes.len() != 1 + spelt(statement) + spelt(proof) {
        return Err(EnvelopeError::NotCanonical(OuterForm::LongLength));
    }
    Ok((statement, proof))
}

fn byte_string<'b>(decoder: &mut Decoder<'b>) -> Result<&'b [u8], EnvelopeError> {
    if decoder.datatype().map_err(malformed)? == Type::BytesIndef {
        return Err(EnvelopeError::NotCanonical(OuterForm::Indefinite));
    }
    decoder.bytes().map_err(malformed)
}

/// Bytes of a byte string and of its length in its shortest form (RFC 8949, section 4.2.1).
const fn spelt(string: &[u8]) -> usize {
    let length = match string.len() {
        0..=23 => 1,
        24..=0xff => 2,
        0x100..=0xffff => 3,
        0x1_0000..=0xffff_ffff => 5,
        _ => 9,
    };
    length + string.len()
}

fn malformed(error: minicbor::decode::Error) -> EnvelopeError {
    EnvelopeError::Malformed(error.to_string())
}
