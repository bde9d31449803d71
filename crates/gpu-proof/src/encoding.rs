//! The bytes of [`Commit`] and [`Opening`]: CBOR arrays with numbered places, all lengths definite.
//!
//! Opening = `[[[row, entries, path]…], [[walker, states, path]…]]`; entries are int32, states two u64 each, all
//! little endian in one byte string; a path is its hashes one after the other. Every size follows from the
//! parameters and is checked before the content is looked at, so no peer chooses how much is allocated. Bytes
//! after the end are refused, so a signed message has no room for passengers.

use crate::digest::Digest;
use crate::error::ProofError;
use crate::matrix::row_bytes;
use crate::merkle::path_length;
use crate::params::Params;
use crate::transcript::{Commit, Opening, RowOpening, WalkOpening, state_bytes};
use crate::walk::WalkState;
use minicbor::{Decoder, Encoder};

const DIGEST_BYTES: usize = 32;
/// The longest head of a CBOR item.
const HEAD_BYTES: usize = 9;

impl Commit {
    /// The longest encoding.
    pub const MAX_BYTES: usize = 128;

    /// The canonical encoding.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        minicbor::to_vec(self).expect("writing to a Vec cannot fail")
    }

    /// The inverse of [`Self::to_bytes`]; no other bytes are accepted.
    ///
    /// # Errors
    /// [`ProofError::Size`], [`ProofError::Encoding`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ProofError> {
        check_size("the commitment", bytes, Self::MAX_BYTES)?;
        let commit: Self =
            minicbor::decode(bytes).map_err(|error| malformed("the commitment", error.to_string()))?;
        if commit.to_bytes() == bytes {
            Ok(commit)
        } else {
            Err(malformed("the commitment", "not in canonical form".to_owned()))
        }
    }
}

impl Opening {
    /// The longest encoding with these parameters; a receiver reads no more than this.
    #[must_use]
    pub fn max_bytes(params: &Params) -> usize {
        let items = |count: u32, content: usize, leaves: u64| {
            let item = (4 * HEAD_BYTES + path_length(leaves) * DIGEST_BYTES).saturating_add(content);
            item.saturating_mul(count as usize)
        };
        (3 * HEAD_BYTES)
            .saturating_add(items(params.row_openings, params.row_bytes(), params.rows))
            .saturating_add(items(params.walk_openings, params.walk_bytes(), params.walkers))
    }

    /// The canonical encoding.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.encode().expect("writing to a Vec cannot fail")
    }

    fn encode(&self) -> Result<Vec<u8>, minicbor::encode::Error<std::convert::Infallible>> {
        let mut out = Encoder::new(Vec::new());
        out.array(2)?.array(self.rows.len() as u64)?;
        for opening in &self.rows {
            out.array(3)?.u64(opening.row)?.bytes(&row_bytes(&opening.entries))?;
            out.bytes(&path_bytes(&opening.path))?;
        }
        out.array(self.walks.len() as u64)?;
        for opening in &self.walks {
            out.array(3)?.u64(opening.walker)?.bytes(&state_bytes(&opening.states))?;
            out.bytes(&path_bytes(&opening.path))?;
        }
        Ok(out.into_writer())
    }

    /// Decodes an opening of the sizes that `params` prescribe.
    ///
    /// # Errors
    /// [`ProofError::Size`] before anything is read, [`ProofError::OpeningCount`], [`ProofError::OpeningShape`],
    /// [`ProofError::RowRange`], [`ProofError::Encoding`].
    pub fn from_bytes(bytes: &[u8], params: &Params) -> Result<Self, ProofError> {
        check_size("the opening", bytes, Self::max_bytes(params))?;
        let mut reader = Reader { decoder: Decoder::new(bytes) };
        reader.array_of(2)?;
        let rows = reader.items("rows", params.row_openings, |reader, position| {
            let row = reader.number_below(params.rows)?;
            let entries = reader.exact("row", position, params.row_bytes())?;
            let path = reader.path("row path", position, params.rows)?;
            let entries: Vec<i32> =
                entries.chunks_exact(4).map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
            check_range(params, row, &entries)?;
            Ok(RowOpening { row, entries, path })
        })?;
        let walks = reader.items("walks", params.walk_openings, |reader, position| {
            let walker = reader.number_below(params.walkers)?;
            let states = reader.exact("walk", position, params.walk_bytes())?;
            let path = reader.path("walk path", position, params.walkers)?;
            let states = states
                .chunks_exact(WalkState::BYTES)
                .map(|chunk| {
                    let mut state = [0; WalkState::BYTES];
                    state.copy_from_slice(chunk);
                    WalkState::from_bytes(state)
                })
                .collect();
            Ok(WalkOpening { walker, states, path })
        })?;
        if reader.decoder.position() == bytes.len() {
            Ok(Self { rows, walks })
        } else {
            Err(malformed("the opening", "bytes follow its end".to_owned()))
        }
    }
}

/// Refuses entries no product can have, before they are used in sums whose exactness rests on the range.
pub(crate) fn check_range(params: &Params, row: u64, entries: &[i32]) -> Result<(), ProofError> {
    let limit = params.entry_limit().unsigned_abs();
    // a fold without an early end: it becomes vector instructions
    if entries.iter().fold(0, |most: u32, entry| most.max(entry.unsigned_abs())) <= limit {
        Ok(())
    } else {
        Err(ProofError::RowRange { row, limit: limit.into() })
    }
}

struct Reader<'b> {
    decoder: Decoder<'b>,
}

impl<'b> Reader<'b> {
    fn items<T>(
        &mut self,
        what: &'static str,
        count: u32,
        mut read: impl FnMut(&mut Self, usize) -> Result<T, ProofError>,
    ) -> Result<Vec<T>, ProofError> {
        let (found, expected) = (self.array()?, u64::from(count));
        if found != expected {
            return Err(ProofError::OpeningCount { what, expected, found });
        }
        (0..count as usize)
            .map(|position| {
                self.array_of(3)?;
                read(self, position)
            })
            .collect()
    }

    fn array(&mut self) -> Result<u64, ProofError> {
        self.decoder
            .array()
            .map_err(|error| malformed("the opening", error.to_string()))?
            .ok_or_else(|| malformed("the opening", "an array of indefinite length".to_owned()))
    }

    fn array_of(&mut self, places: u64) -> Result<(), ProofError> {
        match self.array()? {
            found if found == places => Ok(()),
            found => Err(malformed("the opening", format!("an array of {found} places instead of {places}"))),
        }
    }

    fn number_below(&mut self, count: u64) -> Result<u64, ProofError> {
        match self.decoder.u64().map_err(|error| malformed("the opening", error.to_string()))? {
            number if number < count => Ok(number),
            number => Err(malformed("the opening", format!("number {number} where {count} exist"))),
        }
    }

    fn exact(
        &mut self,
        what: &'static str,
        position: usize,
        expected: usize,
    ) -> Result<&'b [u8], ProofError> {
        let bytes = self.decoder.bytes().map_err(|error| malformed("the opening", error.to_string()))?;
        check_shape(what, position, expected, bytes.len())?;
        Ok(bytes)
    }

    fn path(&mut self, what: &'static str, position: usize, leaves: u64) -> Result<Vec<Digest>, ProofError> {
        let bytes = self.exact(what, position, path_length(leaves) * DIGEST_BYTES)?;
        Ok(bytes
            .chunks_exact(DIGEST_BYTES)
            .map(|chunk| {
                let mut digest = [0; DIGEST_BYTES];
                digest.copy_from_slice(chunk);
                Digest(digest)
            })
            .collect())
    }
}

/// Refuses a part of an opening whose length in bytes is not the one due.
pub(crate) fn check_shape(
    what: &'static str,
    position: usize,
    expected: usize,
    found: usize,
) -> Result<(), ProofError> {
    if expected == found {
        Ok(())
    } else {
        Err(ProofError::OpeningShape { what, position, expected: expected as u64, found: found as u64 })
    }
}

fn check_size(what: &'static str, bytes: &[u8], limit: usize) -> Result<(), ProofError> {
    if bytes.len() <= limit {
        Ok(())
    } else {
        Err(ProofError::Size { what, bytes: bytes.len() as u64, limit: limit as u64 })
    }
}

const fn malformed(what: &'static str, reason: String) -> ProofError {
    ProofError::Encoding { what, reason }
}

fn path_bytes(path: &[Digest]) -> Vec<u8> {
    path.iter().flat_map(|digest| digest.0).collect()
}
