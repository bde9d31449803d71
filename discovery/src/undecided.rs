//! Stored rows that do not count now and may count later.
//!
//! They are looked at again in rounds, some at every tick. Those that come to count are listed, as at the start; those that
//! never will are deleted. There are never more than the directory may list; beyond that they stay on the disk, where
//! the next start finds them.

use std::collections::VecDeque;

use lode_protocol::units::Millis;
use lode_store::Row;

/// Between two rounds.
const ROUND_EVERY: Millis = Millis::seconds(60);
/// Looked at in one tick: verifying them takes a few milliseconds.
const SLICE: usize = 64;

/// The rows, in the order in which they are looked at.
#[derive(Debug, Default)]
pub(crate) struct Undecided {
    rows: VecDeque<Row>,
    /// Rows that the present round has still to look at.
    left: usize,
    next_round: Millis,
}

impl Undecided {
    /// Those that were found at the start, at most `most`.
    pub(crate) fn new(mut rows: Vec<Row>, most: usize, now: Millis) -> Self {
        rows.truncate(most);
        Self { rows: rows.into(), left: 0, next_round: now.plus(ROUND_EVERY) }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The rows to look at now. What is still undecided is put back.
    pub(crate) fn due(&mut self, now: Millis) -> Vec<Row> {
        if self.left == 0 && now >= self.next_round {
            self.left = self.rows.len();
            self.next_round = now.plus(ROUND_EVERY);
        }
        let due: Vec<Row> = self.rows.drain(..self.left.min(SLICE)).collect();
        self.left -= due.len();
        due
    }

    /// It does not count yet.
    pub(crate) fn put_back(&mut self, row: Row) {
        self.rows.push_back(row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_looks_at_each_row_once_some_at_a_time_and_there_are_no_more_than_may_be() {
        let rows: Vec<Row> = (0..200u8).map(|number| (vec![number], Vec::new())).collect();
        let mut undecided = Undecided::new(rows, 100, Millis(0));
        assert_eq!(undecided.due(Millis(1)), []);
        let mut seen = Vec::new();
        for _ in 0..4 {
            for row in undecided.due(ROUND_EVERY) {
                seen.push(row.0[0]);
                undecided.put_back(row);
            }
        }
        assert_eq!(seen, (0..100).collect::<Vec<u8>>());
        assert_eq!(undecided.due(ROUND_EVERY.plus(ROUND_EVERY)).len(), SLICE);
        assert_eq!(undecided.len(), 36, "what is decided is not kept");
    }
}
