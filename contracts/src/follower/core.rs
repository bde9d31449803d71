//! The follower's decisions, without I/O.
//!
//! Invariant: the cursor is a block that was in the chain *after* its events were read, on top of the cursor before
//! it. Whatever breaks that chain of hashes is a resync.

use std::fmt;

use crate::block::{BlockRef, ChainCursor};

/// Why everything is read again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ResyncReason {
    /// The cursor's block was replaced.
    Reorganised {
        /// Number of the block.
        number: u64,
    },
    /// The chain is shorter than what was delivered: it was restarted from an older state.
    HeadBehindCursor {
        /// Number of the latest block.
        head: u64,
        /// Number of the cursor's block.
        cursor: u64,
    },
}

impl fmt::Display for ResyncReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ResyncReason::Reorganised { number } => write!(f, "block {number} was replaced"),
            ResyncReason::HeadBehindCursor { head, cursor } => {
                write!(f, "the chain ends at block {head}, events were delivered up to block {cursor}")
            }
        }
    }
}

/// What to do next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Plan {
    /// Wait.
    Nothing,
    /// Nothing new: look whether the cursor's block is still in the chain.
    Confirm(ChainCursor),
    /// Read events of these blocks.
    Read { from: u64, to: u64 },
    /// Begin again.
    Resync(ResyncReason),
}

/// What to make of events that were read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// Deliver them.
    Accepted { cursor: ChainCursor, caught_up: bool },
    /// The chain changed while they were read.
    ReadAgain,
    /// Begin again.
    Resync(ResyncReason),
}

#[derive(Debug)]
pub(super) struct Core {
    origin: u64,
    confirmations: u64,
    max_range: u64,
    cursor: Option<ChainCursor>,
}

impl Core {
    pub(super) fn new(origin: u64, confirmations: u64, max_range: u64, cursor: Option<ChainCursor>) -> Self {
        Core { origin, confirmations, max_range: max_range.max(1), cursor }
    }

    pub(super) fn cursor(&self) -> Option<ChainCursor> {
        self.cursor
    }

    pub(super) fn has_cursor(&self) -> bool {
        self.cursor.is_some()
    }

    pub(super) fn plan(&mut self, head: BlockRef) -> Plan {
        let target = head.number.checked_sub(self.confirmations);
        let Some(cursor) = self.cursor else {
            return match target {
                Some(target) if target >= self.origin => {
                    Plan::Read { from: self.origin, to: self.bounded(self.origin, target) }
                }
                _ => Plan::Nothing,
            };
        };
        if head.number < cursor.number {
            return Plan::Resync(
                self.forget(ResyncReason::HeadBehindCursor { head: head.number, cursor: cursor.number }),
            );
        }
        if head.cursor() == cursor {
            return Plan::Nothing;
        }
        let target = target.unwrap_or_default();
        if target <= cursor.number {
            return Plan::Confirm(cursor);
        }
        let from = cursor.number.saturating_add(1);
        Plan::Read { from, to: self.bounded(from, target) }
    }

    /// Judges the cursor's block as it is now.
    pub(super) fn confirm(&mut self, now: Option<BlockRef>) -> Option<ResyncReason> {
        let cursor = self.cursor?;
        if now.is_some_and(|block| block.hash == cursor.hash) {
            return None;
        }
        Some(self.forget(ResyncReason::Reorganised { number: cursor.number }))
    }

    /// Judges events that end with block `end`, by what the chain looked like after they were read.
    pub(super) fn accept(
        &mut self,
        head: BlockRef,
        end: BlockRef,
        end_after: Option<BlockRef>,
        cursor_after: Option<BlockRef>,
    ) -> Verdict {
        if self.cursor.is_some()
            && let Some(reason) = self.confirm(cursor_after)
        {
            return Verdict::Resync(reason);
        }
        if end_after.is_none_or(|block| block.hash != end.hash) {
            return Verdict::ReadAgain;
        }
        let cursor = end.cursor();
        self.cursor = Some(cursor);
        Verdict::Accepted { cursor, caught_up: head.number.saturating_sub(self.confirmations) <= end.number }
    }

    fn bounded(&self, from: u64, target: u64) -> u64 {
        target.min(from.saturating_add(self.max_range - 1))
    }

    fn forget(&mut self, reason: ResyncReason) -> ResyncReason {
        self.cursor = None;
        reason
    }
}

#[cfg(test)]
mod tests {
    use lode_protocol::hash::{Digest, keccak256_of};
    use lode_protocol::units::Timestamp;
    use proptest::prelude::*;

    use super::*;

    fn block(fork: u8, number: u64) -> BlockRef {
        let hash = keccak256_of([&[fork][..], &number.to_be_bytes()]);
        BlockRef { number, hash, timestamp: Timestamp(number * 1000) }
    }

    #[test]
    fn a_fresh_follower_begins_at_the_deployment_and_reads_in_bounded_pieces() {
        let mut core = Core::new(5, 0, 10, None);
        assert_eq!(core.plan(block(0, 4)), Plan::Nothing);
        assert_eq!(core.plan(block(0, 30)), Plan::Read { from: 5, to: 14 });
        let verdict = core.accept(block(0, 30), block(0, 14), Some(block(0, 14)), None);
        assert_eq!(verdict, Verdict::Accepted { cursor: block(0, 14).cursor(), caught_up: false });
        assert_eq!(core.plan(block(0, 30)), Plan::Read { from: 15, to: 24 });
    }

    #[test]
    fn unconfirmed_blocks_are_not_read() {
        let mut core = Core::new(0, 3, 100, None);
        assert_eq!(core.plan(block(0, 2)), Plan::Nothing);
        assert_eq!(core.plan(block(0, 7)), Plan::Read { from: 0, to: 4 });
    }

    #[test]
    fn a_replaced_block_under_the_cursor_is_a_resync_even_without_new_blocks() {
        let mut core = Core::new(0, 0, 100, Some(block(0, 9).cursor()));
        assert_eq!(core.plan(block(1, 9)), Plan::Confirm(block(0, 9).cursor()));
        assert_eq!(core.confirm(Some(block(1, 9))), Some(ResyncReason::Reorganised { number: 9 }));
        assert_eq!(core.plan(block(1, 9)), Plan::Read { from: 0, to: 9 });
    }

    #[test]
    fn a_reorganisation_while_events_are_read_is_noticed() {
        let mut core = Core::new(0, 0, 100, Some(block(0, 5).cursor()));
        let verdict = core.accept(block(0, 8), block(0, 8), Some(block(1, 8)), Some(block(0, 5)));
        assert_eq!(verdict, Verdict::ReadAgain);
        let verdict = core.accept(block(0, 8), block(0, 8), Some(block(0, 8)), Some(block(1, 5)));
        assert_eq!(verdict, Verdict::Resync(ResyncReason::Reorganised { number: 5 }));
    }

    #[test]
    fn a_chain_that_is_shorter_than_the_cursor_is_a_resync() {
        let mut core = Core::new(1, 0, 100, Some(ChainCursor { number: 50, hash: Digest([1; 32]) }));
        let expected = ResyncReason::HeadBehindCursor { head: 20, cursor: 50 };
        assert_eq!(core.plan(block(0, 20)), Plan::Resync(expected));
        assert_eq!(core.plan(block(0, 20)), Plan::Read { from: 1, to: 20 });
    }

    proptest! {
        /// Whatever the chain does (grow, be replaced from some block on, be cut), a reader that applies what is
        /// delivered and forgets at every resync ends with exactly the blocks of the chain.
        #[test]
        fn what_was_delivered_is_the_chain(
            confirmations in 0u64..3,
            max_range in 1u64..6,
            moves in proptest::collection::vec((0u8..4, 1u64..6), 1..40),
        ) {
            let mut chain: Vec<BlockRef> = vec![block(0, 0)];
            let mut core = Core::new(0, confirmations, max_range, None);
            let mut delivered: Vec<BlockRef> = Vec::new();
            let mut fork = 0u8;
            let turn = |core: &mut Core, chain: &[BlockRef], delivered: &mut Vec<BlockRef>| {
                let head = *chain.last().unwrap();
                match core.plan(head) {
                    Plan::Nothing => {}
                    Plan::Resync(_) => delivered.clear(),
                    Plan::Confirm(cursor) => {
                        if core.confirm(chain.get(cursor.number as usize).copied()).is_some() {
                            delivered.clear();
                        }
                    }
                    Plan::Read { from, to } => {
                        prop_assert!(to - from < max_range);
                        let end = chain[to as usize];
                        let cursor_block = core.cursor().and_then(|c| chain.get(c.number as usize).copied());
                        match core.accept(head, end, Some(end), cursor_block) {
                            Verdict::Accepted { .. } => {
                                delivered.extend_from_slice(&chain[from as usize..=to as usize]);
                            }
                            Verdict::Resync(_) => delivered.clear(),
                            Verdict::ReadAgain => {}
                        }
                    }
                }
                Ok(())
            };
            for (kind, count) in moves {
                match kind {
                    0 => {
                        for _ in 0..count {
                            chain.push(block(fork, chain.len() as u64));
                        }
                    }
                    1 => {
                        // Replaced: the last blocks become others, of another fork.
                        fork = fork.wrapping_add(1);
                        let keep = chain.len().saturating_sub(count as usize).max(1);
                        let length = chain.len();
                        chain.truncate(keep);
                        while chain.len() < length {
                            chain.push(block(fork, chain.len() as u64));
                        }
                    }
                    2 => {
                        fork = fork.wrapping_add(1);
                        chain.truncate(chain.len().saturating_sub(count as usize).max(1));
                    }
                    _ => turn(&mut core, &chain, &mut delivered)?,
                }
            }
            for _ in 0..200 {
                turn(&mut core, &chain, &mut delivered)?;
            }
            let confirmed = chain.len().saturating_sub(confirmations as usize);
            // A shrunken chain keeps delivered blocks that are confirmed no more but still in it.
            prop_assert!(delivered.len() >= confirmed);
            prop_assert_eq!(&delivered[..], &chain[..delivered.len()]);
        }
    }
}
