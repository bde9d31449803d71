//! Files that were asked for last, in memory once for all their readers: however many read one slowly, it costs what one
//! copy costs.
//!
//! What is read by somebody keeps its place until nobody reads it any more, so that no more than [`MOST`] files are ever
//! held for readers; what finds no place is its reader's own, and the listener counts it.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use axum::body::Bytes;
use lode_protocol::hash::Digest;

/// Files, of some megabytes each.
const MOST: usize = 4;

/// The files, the latest last.
#[derive(Debug, Default)]
pub(super) struct Shown(Mutex<VecDeque<(Digest, Bytes)>>);

/// A file for one reader.
#[derive(Debug)]
pub(super) enum Sight {
    /// All readers share it.
    Shared(Bytes),
    /// It is in memory for this reader alone.
    Own(Bytes),
}

impl Shown {
    /// The file, if it is here.
    pub(super) fn get(&self, hash: Digest) -> Option<Sight> {
        let files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        files.iter().find(|(name, _)| *name == hash).map(|(_, bytes)| Sight::Shared(bytes.clone()))
    }

    /// Takes a file that was read, in the place of the oldest one that nobody reads.
    pub(super) fn add(&self, hash: Digest, bytes: Bytes) -> Sight {
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Somebody else may have read it meanwhile.
        if let Some((_, known)) = files.iter().find(|(name, _)| *name == hash) {
            return Sight::Shared(known.clone());
        }
        // Nothing is nobody's: it never looks unread, and would keep its place for ever.
        if bytes.is_empty() {
            return Sight::Own(bytes);
        }
        if files.len() >= MOST {
            let Some(unread) = files.iter().position(|(_, bytes)| bytes.is_unique()) else {
                return Sight::Own(bytes);
            };
            files.remove(unread);
        }
        files.push_back((hash, bytes.clone()));
        Sight::Shared(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(shown: &Shown, file: u8) -> Sight {
        shown.add(Digest([file; 32]), Bytes::from(vec![file; 1 << 10]))
    }

    fn shared(sight: Sight) -> Bytes {
        match sight {
            Sight::Shared(bytes) => bytes,
            Sight::Own(_) => panic!("it has no place"),
        }
    }

    #[test]
    fn all_readers_of_a_file_share_one_copy() {
        let shown = Shown::default();
        let first = shared(add(&shown, 1));
        let second = shared(add(&shown, 1));
        let third = shared(shown.get(Digest([1; 32])).expect("it is here"));
        assert!(first.as_ptr() == second.as_ptr() && first.as_ptr() == third.as_ptr());
        assert!(shown.get(Digest([2; 32])).is_none());
    }

    #[test]
    fn what_is_read_stays_and_what_finds_no_place_is_its_readers_own() {
        let shown = Shown::default();
        let mut read: Vec<Bytes> = (1..=4).map(|file| shared(add(&shown, file))).collect();
        assert!(matches!(add(&shown, 5), Sight::Own(_)), "four are read");
        drop(read.remove(1));
        drop(shared(add(&shown, 5)));
        assert!(shown.get(Digest([2; 32])).is_none(), "nobody read it");
        for kept in [1, 3, 4, 5] {
            assert!(shown.get(Digest([kept; 32])).is_some());
        }
    }
}
