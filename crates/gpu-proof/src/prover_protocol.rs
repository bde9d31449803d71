//! What a worker and a prover process say to each other over the prover's stdin and stdout.
//!
//! One process per GPU. A frame is a u32 length in little-endian form and so many bytes of CBOR. The worker sends
//! [`Request`]s, the prover answers in order:
//!
//! | request | answers |
//! |---|---|
//! | `Prepare` | `Ready` |
//! | `Start` | `WalkRoot` as soon as it is known, then `GemmRoot` |
//! | `Open` | `Opening` |
//! | `Release` | `Released` |
//!
//! Any of them may be answered with `Error`, after which the prover is as before the request (a failed `Start`
//! leaves it prepared). The end of stdin ends the process. This file does no I/O: it turns messages into bytes
//! and bytes into messages, for blocking and asynchronous programs alike. Numbers are never reused.

use crate::digest::Digest;
use crate::params::Params;
use crate::seed::{SessionInputs, SessionSeed};
use crate::transcript::Opening;
use minicbor::{Decode, Encode};
use thiserror::Error;

/// The longest frame a prover accepts, in bytes.
pub const MAX_REQUEST_BYTES: usize = 64 << 10;

/// Bytes of a frame's length.
const LENGTH_BYTES: usize = 4;

/// From the worker to the prover.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Request {
    /// Allocate and warm up for this class.
    #[n(0)]
    Prepare {
        /// Number of the class, for logs; the sizes are those of `params`.
        #[n(0)]
        class: u32,
        #[n(1)]
        params: Params,
    },
    /// Prove this session now.
    #[n(1)]
    Start {
        #[n(0)]
        session: SessionInputs,
    },
    /// Open these rows and walks of the session just proven.
    #[n(2)]
    Open {
        #[n(0)]
        rows: Vec<u64>,
        #[n(1)]
        walkers: Vec<u64>,
    },
    /// Free the GPU's memory and forget the session.
    #[n(3)]
    Release,
}

/// From the prover to the worker.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Response {
    #[n(0)]
    Ready {
        #[n(0)]
        gpu_uuid: String,
        /// Name and version of the prover.
        #[n(1)]
        prover: String,
        /// Must equal the hash the worker knows for the class.
        #[n(2)]
        params_hash: Digest,
    },
    #[n(1)]
    WalkRoot {
        #[n(0)]
        session_seed: SessionSeed,
        #[n(1)]
        root: Digest,
    },
    #[n(2)]
    GemmRoot {
        #[n(0)]
        root: Digest,
    },
    #[n(3)]
    Opening {
        /// The bytes of [`Opening::to_bytes`], to be passed on as they are.
        #[cbor(n(0), with = "minicbor::bytes")]
        bytes: Vec<u8>,
    },
    #[n(4)]
    Released,
    #[n(5)]
    Error {
        /// `prover/reason` or `proof/reason`.
        #[n(0)]
        code: String,
        #[n(1)]
        message: String,
    },
}

/// Why bytes are not a frame, or a frame is not a message.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FrameError {
    #[error("a frame of {bytes} bytes was announced, at most {limit} are allowed")]
    TooLarge { bytes: u64, limit: u64 },
    #[error("the frame is not a message of this protocol: {0}")]
    Malformed(String),
    #[error("the stream ended within a frame")]
    Truncated,
}

impl FrameError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "prover/frame-too-large",
            Self::Malformed(_) => "prover/frame-malformed",
            Self::Truncated => "prover/frame-truncated",
        }
    }
}

impl Request {
    /// The whole frame, length included.
    #[must_use]
    pub fn to_frame(&self) -> Vec<u8> {
        frame(self)
    }

    /// From the content of a frame.
    ///
    /// # Errors
    /// [`FrameError::Malformed`].
    pub fn from_content(content: &[u8]) -> Result<Self, FrameError> {
        decode(content)
    }
}

impl Response {
    /// The longest content a worker accepts while a proof with these parameters runs, in bytes.
    #[must_use]
    pub fn max_bytes(params: &Params) -> usize {
        Opening::max_bytes(params).max(4 << 10).saturating_add(64)
    }

    /// The whole frame, length included.
    #[must_use]
    pub fn to_frame(&self) -> Vec<u8> {
        frame(self)
    }

    /// From the content of a frame.
    ///
    /// # Errors
    /// [`FrameError::Malformed`].
    pub fn from_content(content: &[u8]) -> Result<Self, FrameError> {
        decode(content)
    }
}

fn frame(message: &impl Encode<()>) -> Vec<u8> {
    let content = minicbor::to_vec(message).expect("writing to a Vec cannot fail");
    let length =
        u32::try_from(content.len()).expect("an opening is limited by Params::check to less than 4 GiB");
    let mut frame = Vec::with_capacity(LENGTH_BYTES + content.len());
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(&content);
    frame
}

fn decode<'b, T: Decode<'b, ()>>(content: &'b [u8]) -> Result<T, FrameError> {
    let mut decoder = minicbor::Decoder::new(content);
    let message = decoder.decode().map_err(|error| FrameError::Malformed(error.to_string()))?;
    if decoder.position() == content.len() {
        Ok(message)
    } else {
        Err(FrameError::Malformed("bytes follow the message".to_owned()))
    }
}

/// Collects bytes as they arrive and hands out the content of whole frames.
///
/// After an error the stream has lost its frames; whoever reads it gives it up.
#[derive(Debug)]
pub struct FrameBuffer {
    bytes: Vec<u8>,
    /// Where the first frame not yet handed out begins.
    taken: usize,
    limit: usize,
}

impl FrameBuffer {
    /// A buffer for frames of at most `limit` bytes of content.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self { bytes: Vec::new(), taken: 0, limit }
    }

    /// Changes the limit for frames whose length has not been looked at.
    pub const fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Adds bytes read from the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.taken > 0 {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The content of the next whole frame, if it has arrived.
    ///
    /// # Errors
    /// [`FrameError::TooLarge`] as soon as the length is known.
    pub fn next_frame(&mut self) -> Result<Option<Vec<u8>>, FrameError> {
        let waiting = self.bytes.get(self.taken..).unwrap_or_default();
        let Some((length, rest)) = waiting.split_first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let length = u32::from_le_bytes(*length) as usize;
        if length > self.limit {
            return Err(FrameError::TooLarge { bytes: length as u64, limit: self.limit as u64 });
        }
        let content = rest.get(..length).map(<[u8]>::to_vec);
        if content.is_some() {
            self.taken += LENGTH_BYTES + length;
        }
        Ok(content)
    }

    /// To be called at the end of the stream.
    ///
    /// # Errors
    /// [`FrameError::Truncated`] when part of a frame is left.
    pub const fn finish(&self) -> Result<(), FrameError> {
        if self.bytes.len() == self.taken { Ok(()) } else { Err(FrameError::Truncated) }
    }
}
