//! What one look at books may read and hold. All looks together hold so much for each of their turns, and no pool's books
//! can take what another's need.

use super::books::Unseen;

/// Most bytes of all pages of one look.
const MOST_READ: usize = 512 << 20;
/// Most bytes of one page.
const MOST_PAGE: usize = 8 << 20;
/// A page as it came, and as it is understood.
const PAGE_HELD: usize = 3 * MOST_PAGE;
/// The least that a look can do with: a page, and something to keep of it.
pub const LEAST: usize = 2 * PAGE_HELD;

/// What is kept of what was read, with what it takes in memory, collections' spare room included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kept {
    /// What a receipt adds to its payee.
    Receipt,
    /// A leaf, and its part of the tree.
    Payee,
    /// A node's proof.
    Node,
}

impl Kept {
    fn bytes(self) -> usize {
        match self {
            Kept::Receipt => 128,
            Kept::Payee => 256,
            Kept::Node => 192,
        }
    }
}

/// What is left of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Budget {
    read: usize,
    hold: usize,
}

impl Budget {
    /// For a look that may hold so many bytes.
    pub(super) fn new(bytes: usize) -> Self {
        Self { read: MOST_READ, hold: bytes.saturating_sub(PAGE_HELD) }
    }

    /// Bytes of the next page.
    pub(super) fn page(&self) -> usize {
        MOST_PAGE.min(self.read)
    }

    /// A page was read.
    pub(super) fn read(&mut self, bytes: usize) {
        self.read = self.read.saturating_sub(bytes);
    }

    /// So many are kept.
    pub(super) fn keep(&mut self, count: usize, what: Kept) -> Result<(), Unseen> {
        let bytes = count.saturating_mul(what.bytes());
        self.hold = self.hold.checked_sub(bytes).ok_or(Unseen::TooLarge)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn books_without_an_end_are_left_when_they_have_what_one_look_may_have() {
        let mut budget = Budget::new(LEAST);
        assert_eq!(budget.page(), MOST_PAGE);
        let receipts = (LEAST - PAGE_HELD) / 128;
        budget.keep(receipts, Kept::Receipt).unwrap();
        assert!(matches!(budget.keep(1, Kept::Payee), Err(Unseen::TooLarge)));
        assert!(matches!(budget.keep(usize::MAX, Kept::Node), Err(Unseen::TooLarge)));
        budget.read(MOST_READ - 10);
        assert_eq!(budget.page(), 10);
        budget.read(100);
        assert_eq!(budget.page(), 0);
    }
}
