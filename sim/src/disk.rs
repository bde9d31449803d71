//! A disk that takes its time, can be full, and forgets at a crash what it had not finished: some of it, or none.

use std::collections::{BTreeMap, VecDeque};

/// One row to write or delete.
pub type Write<T> = (T, Vec<u8>, Option<Vec<u8>>);

/// A store with batches on their way, in order; `A` is what rests on a batch.
#[derive(Clone, Debug)]
pub struct Disk<T, A> {
    /// What is durable.
    pub rows: BTreeMap<(T, Vec<u8>), Vec<u8>>,
    /// What is not yet, with what waits for it.
    pub pending: VecDeque<(Vec<Write<T>>, A)>,
    /// Takes nothing.
    pub full: bool,
}

impl<T: Ord + Clone, A> Default for Disk<T, A> {
    fn default() -> Self {
        Disk { rows: BTreeMap::new(), pending: VecDeque::new(), full: false }
    }
}

impl<T: Ord + Clone, A> Disk<T, A> {
    /// Finishes the oldest batch; what rested on it may go out now.
    pub fn finish(&mut self) -> Option<A> {
        if self.full {
            return None;
        }
        let (writes, rests) = self.pending.pop_front()?;
        self.apply(writes);
        Some(rests)
    }

    /// A crash: the first `kept` batches had reached the disk, nobody was told of any.
    pub fn crash(&mut self, kept: usize) {
        for (number, (writes, _)) in std::mem::take(&mut self.pending).into_iter().enumerate() {
            if number < kept && !self.full {
                self.apply(writes);
            }
        }
    }

    fn apply(&mut self, writes: Vec<Write<T>>) {
        for (table, key, value) in writes {
            match value {
                Some(value) => self.rows.insert((table, key), value),
                None => self.rows.remove(&(table, key)),
            };
        }
    }
}
