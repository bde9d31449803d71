//! Stable error codes: `area/reason`. `docs/errors.md` lists them all; a code never changes its meaning.

use std::borrow::Cow;
use std::fmt;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// A stable code of the form `area/reason`, lower case with dashes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ErrorCode(Cow<'static, str>);

impl ErrorCode {
    /// Longest code accepted from a peer, in bytes.
    pub const MAX_LENGTH: usize = 64;

    /// A code known at compile time.
    pub const fn new(code: &'static str) -> Self {
        ErrorCode(Cow::Borrowed(code))
    }

    /// The code as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&'static str> for ErrorCode {
    fn from(code: &'static str) -> Self {
        ErrorCode::new(code)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PartialEq<&str> for ErrorCode {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

impl<C> Encode<C> for ErrorCode {
    fn encode<W: minicbor::encode::Write>(
        &self,
        encoder: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        encoder.str(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for ErrorCode {
    fn decode(decoder: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let text = decoder.str()?;
        let plain =
            text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'/' || b == b'-');
        if !plain || text.len() > Self::MAX_LENGTH {
            return Err(minicbor::decode::Error::message("not an error code"));
        }
        Ok(ErrorCode(Cow::Owned(text.to_owned())))
    }
}
