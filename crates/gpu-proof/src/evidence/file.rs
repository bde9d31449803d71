//! The file: one CBOR array with numbered places, and one way to write it.

use lode_protocol::envelope::{decode, encode};
use lode_protocol::hash::{Digest, keccak256};
use minicbor::{Decode, Encode};

use super::acquittal::{Acquittal, MAX_EVIDENCE_BYTES};
use crate::error::ProofError;
use crate::params::Params;

/// The only version so far.
const VERSION: u8 = 1;

/// A file of evidence. All messages are sealed envelopes, as they were sent and received.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct Evidence {
    #[n(0)]
    version: u8,
    /// The sizes of the proof; the node knows them by their hash, which `Prepare` names.
    #[n(1)]
    params: Params,
    /// `Prepare`, by the validator.
    #[cbor(n(2), with = "minicbor::bytes")]
    prepare: Vec<u8>,
    /// `Start`, by the validator.
    #[cbor(n(3), with = "minicbor::bytes")]
    start: Vec<u8>,
    /// What is false.
    #[n(4)]
    exhibit: Exhibit,
}

/// What the node said that is false.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Exhibit {
    /// What it opened is not what it committed to, not what it was asked for, or was computed wrong.
    #[n(0)]
    Opening {
        /// The product's commit, by the node.
        #[cbor(n(0), with = "minicbor::bytes")]
        product: Vec<u8>,
        /// `Open`, by the validator.
        #[cbor(n(1), with = "minicbor::bytes")]
        demand: Vec<u8>,
        /// `Opened`, by the node.
        #[cbor(n(2), with = "minicbor::bytes")]
        opened: Vec<u8>,
        /// What to compute; `None` when the falsehood shows without.
        #[n(3)]
        suspect: Option<Suspect>,
    },
    /// It committed twice, to different things.
    #[n(1)]
    TwoCommits {
        /// One commit, by the node.
        #[cbor(n(0), with = "minicbor::bytes")]
        first: Vec<u8>,
        /// The other, by the node.
        #[cbor(n(1), with = "minicbor::bytes")]
        second: Vec<u8>,
    },
}

/// A place in an opening.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Suspect {
    /// The row at this place of the opening is not the product.
    #[n(0)]
    Row {
        /// Which opened row, from 0.
        #[n(0)]
        position: u32,
    },
    /// An interval of the walk at this place of the opening ends in another state.
    #[n(1)]
    Walk {
        /// Which opened walk, from 0.
        #[n(0)]
        position: u32,
        /// Which interval of it, from 0.
        #[n(1)]
        interval: u32,
    },
}

impl Suspect {
    /// What an error of [`crate::EpochVerifier`] points at, by the order in which things were asked for.
    #[must_use]
    pub fn of(error: &ProofError, rows: &[u64], walkers: &[u64]) -> Option<Self> {
        let place = |asked: &[u64], wanted: u64| {
            u32::try_from(asked.iter().position(|number| *number == wanted)?).ok()
        };
        match error {
            ProofError::Freivalds { row } => Some(Self::Row { position: place(rows, *row)? }),
            ProofError::WalkReplay { walker, interval } => {
                Some(Self::Walk { position: place(walkers, *walker)?, interval: *interval })
            }
            ProofError::Params { .. }
            | ProofError::Size { .. }
            | ProofError::Encoding { .. }
            | ProofError::SessionSeed { .. }
            | ProofError::OpeningCount { .. }
            | ProofError::OpeningIndex { .. }
            | ProofError::OpeningShape { .. }
            | ProofError::RowRange { .. }
            | ProofError::RowMerkle { .. }
            | ProofError::WalkMerkle { .. }
            | ProofError::WalkLate { .. }
            | ProofError::GemmLate { .. }
            | ProofError::RootOrder { .. } => None,
        }
    }
}

impl Evidence {
    /// Puts a file together.
    #[must_use]
    pub const fn new(params: Params, prepare: Vec<u8>, start: Vec<u8>, exhibit: Exhibit) -> Self {
        Self { version: VERSION, params, prepare, start, exhibit }
    }

    /// The file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self)
    }

    /// What names a file on chain: keccak-256 of its bytes.
    #[must_use]
    pub fn hash_of(bytes: &[u8]) -> Digest {
        keccak256(bytes)
    }

    /// Reads a file; only bytes that [`Self::to_bytes`] would give are one.
    ///
    /// # Errors
    /// [`Acquittal::TooLarge`] before anything is read, [`Acquittal::Malformed`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Acquittal> {
        if bytes.len() > MAX_EVIDENCE_BYTES {
            return Err(Acquittal::TooLarge { bytes: bytes.len() });
        }
        let malformed = |reason: &str| Acquittal::Malformed(reason.to_owned());
        let evidence: Self = decode(bytes).map_err(|error| malformed(&error.to_string()))?;
        if evidence.version != VERSION {
            return Err(malformed("it is of another version"));
        }
        // One file, one hash: nobody makes a second one of the same messages by writing it differently.
        if evidence.to_bytes() != bytes {
            return Err(malformed("it is not in its canonical form"));
        }
        Ok(evidence)
    }

    pub(super) const fn params(&self) -> &Params {
        &self.params
    }

    pub(super) fn challenge(&self) -> (&[u8], &[u8]) {
        (&self.prepare, &self.start)
    }

    pub(super) const fn exhibit(&self) -> &Exhibit {
        &self.exhibit
    }
}
