use std::collections::VecDeque;

use lode_protocol::hash::{Digest, keccak256_of};
use lode_protocol::units::Timestamp;
use proptest::prelude::*;

use super::second_look::AFTER;
use super::*;
use crate::{ChainEvent, PoolsEvent};

/// Nobody looks twice before this.
fn begin(core: &mut Core, head: BlockRef) -> Next {
    core.begin(Millis(0), head, u64::MAX)
}

/// What is logged in a block.
fn logged(block: &BlockRef) -> LoggedEvent {
    let event = ChainEvent::Pools(PoolsEvent::PoolStarted { pool: lode_protocol::ids::PoolId(block.number) });
    LoggedEvent { event, block: block.number, block_hash: block.hash, transaction: block.hash, index: 0 }
}

fn block(fork: u8, number: u64) -> BlockRef {
    let hash = keccak256_of([&[fork][..], &number.to_be_bytes()]);
    BlockRef { number, hash, timestamp: Timestamp(number * 1000) }
}

/// A core that has delivered blocks of fork 0 up to `cursor` and then saw heads up to `head`.
fn at(cursor: u64, head: u64, confirmations: u64) -> Core {
    let mut core = Core::new(0, confirmations, 100, Some(block(0, cursor).cursor()));
    for number in cursor + 1..=head {
        assert_eq!(begin(&mut core, block(0, number)), Next::Look(number - 1));
        core.looked(block(0, number), Some(block(0, number - 1)));
    }
    core
}

#[test]
fn a_fresh_follower_begins_at_the_deployment_and_reads_in_bounded_pieces() {
    let mut core = Core::new(5, 0, 10, None);
    assert_eq!(begin(&mut core, block(0, 4)), Next::Wait);
    assert_eq!(begin(&mut core, block(0, 30)), Next::Look(4));
    assert_eq!(core.looked(block(0, 30), Some(block(0, 4))), Next::Read { from: 5, to: 14 });
    let verdict = core.accept(block(0, 30), block(0, 14), &[], Some(block(0, 14)), None);
    assert_eq!(verdict, Verdict::Accepted { cursor: block(0, 14).cursor(), caught_up: false });
    assert_eq!(begin(&mut core, block(0, 30)), Next::Read { from: 15, to: 24 });
}

#[test]
fn unconfirmed_blocks_are_not_read() {
    let mut core = Core::new(0, 3, 100, None);
    assert_eq!(begin(&mut core, block(0, 2)), Next::Wait);
    let mut core = Core::new(0, 3, 100, None);
    assert_eq!(begin(&mut core, block(0, 7)), Next::Read { from: 0, to: 4 });
}

#[test]
fn a_replaced_head_is_a_rollback_to_the_block_below_it_even_without_new_blocks() {
    let mut core = at(6, 9, 0);
    assert_eq!(begin(&mut core, block(1, 9)), Next::Look(8));
    let reason = ResyncReason::Reorganised { number: 9 };
    let to = block(0, 8).cursor();
    assert_eq!(core.looked(block(1, 9), Some(block(0, 8))), Next::Rollback { to, reason });
    // Nothing that was delivered is undone, and reading goes on from the cursor.
    assert_eq!(core.cursor(), Some(block(0, 6).cursor()));
    assert_eq!(begin(&mut core, block(1, 9)), Next::Look(8));
    assert_eq!(core.looked(block(1, 9), Some(block(0, 8))), Next::Read { from: 7, to: 9 });
}

#[test]
fn replaced_blocks_under_the_cursor_are_rolled_back_to_the_common_ancestor() {
    let mut core = at(4, 9, 0);
    let verdict = core.accept(block(0, 9), block(0, 9), &[], Some(block(0, 9)), Some(block(0, 4)));
    assert_eq!(verdict, Verdict::Accepted { cursor: block(0, 9).cursor(), caught_up: true });
    // Blocks 6 to 9 are others now, and the chain has grown.
    let head = block(1, 10);
    let mut next = begin(&mut core, head);
    let mut looked = Vec::new();
    while let Next::Look(number) = next {
        looked.push(number);
        next = core.looked(head, Some(block(u8::from(number > 5), number)));
    }
    assert_eq!(looked, vec![9, 8, 7, 6, 5]);
    let reason = ResyncReason::Reorganised { number: 6 };
    assert_eq!(next, Next::Rollback { to: block(0, 5).cursor(), reason });
    assert_eq!(begin(&mut core, head), Next::Look(5));
    assert_eq!(core.looked(head, Some(block(0, 5))), Next::Read { from: 6, to: 10 });
}

#[test]
fn a_reorganisation_deeper_than_what_is_remembered_is_a_resync() {
    let mut core = Core::new(3, 0, 100, Some(block(0, 9).cursor()));
    assert_eq!(begin(&mut core, block(1, 12)), Next::Look(9));
    let reason = ResyncReason::Reorganised { number: 9 };
    assert_eq!(core.looked(block(1, 12), Some(block(1, 9))), Next::Resync(reason));
    assert_eq!(begin(&mut core, block(1, 12)), Next::Read { from: 3, to: 12 });
}

#[test]
fn a_chain_that_is_shorter_than_what_was_seen_says_so() {
    let mut core = Core::new(1, 0, 100, Some(ChainCursor { number: 50, hash: Digest([1; 32]) }));
    let reason = ResyncReason::HeadBehindCursor { head: 20, cursor: 50 };
    assert_eq!(begin(&mut core, block(0, 20)), Next::Resync(reason));
    assert_eq!(begin(&mut core, block(0, 20)), Next::Read { from: 1, to: 20 });
    let mut core = at(5, 9, 0);
    assert_eq!(
        begin(&mut core, block(0, 7)),
        Next::Rollback {
            to: block(0, 7).cursor(),
            reason: ResyncReason::HeadBehindCursor { head: 7, cursor: 9 },
        }
    );
}

#[test]
fn a_reorganisation_while_events_are_read_lets_them_go() {
    let mut core = at(5, 8, 0);
    let before = core.cursor();
    let verdict = core.accept(block(0, 8), block(0, 8), &[], Some(block(1, 8)), Some(block(0, 5)));
    assert_eq!(verdict, Verdict::ReadAgain);
    let verdict = core.accept(block(0, 8), block(0, 8), &[], Some(block(0, 8)), Some(block(1, 5)));
    assert_eq!(verdict, Verdict::ReadAgain);
    assert_eq!(core.cursor(), before);
}

#[test]
fn no_more_blocks_are_remembered_than_needed() {
    let core = at(0, 3 * REMEMBERED as u64, 0);
    assert_eq!(core.recent.len(), REMEMBERED);
    assert_eq!(core.recent.last(), Some(&block(0, 3 * REMEMBERED as u64).cursor()));
}

/// A chain that may change between any two questions of the follower.
struct Chain {
    blocks: Vec<BlockRef>,
    fork: u8,
    moves: VecDeque<(u8, u64)>,
    /// Number of the first block whose events are not given, whether the block is there or not.
    hidden: Option<u64>,
}

impl Chain {
    fn new(moves: Vec<(u8, u64)>) -> Chain {
        Chain { blocks: vec![block(0, 0)], fork: 0, moves: moves.into(), hidden: None }
    }

    fn apply_next_move(&mut self) {
        let Some((kind, count)) = self.moves.pop_front() else { return };
        let length = self.blocks.len();
        let keep = length.saturating_sub(count as usize).max(1);
        match kind {
            0 | 1 => self.grow(length + count as usize),
            // Replaced by as many, by more, or cut.
            2 => {
                self.fork += 1;
                self.blocks.truncate(keep);
                self.grow(length);
            }
            3 => {
                self.fork += 1;
                self.blocks.truncate(keep);
                self.grow(length + 2);
            }
            4 => {
                self.fork += 1;
                self.blocks.truncate(keep);
            }
            5 | 6 => self.hidden = Some(keep as u64),
            _ => self.hidden = None,
        }
    }

    fn grow(&mut self, length: usize) {
        while self.blocks.len() < length {
            self.blocks.push(block(self.fork, self.blocks.len() as u64));
        }
    }

    fn head(&mut self) -> BlockRef {
        self.apply_next_move();
        *self.blocks.last().unwrap()
    }

    fn block(&mut self, number: u64) -> Option<BlockRef> {
        self.apply_next_move();
        self.blocks.get(number as usize).copied()
    }

    fn events(&mut self, from: u64, to: u64) -> Vec<BlockRef> {
        self.apply_next_move();
        let given = self.blocks.iter().skip(from as usize).take((to - from + 1) as usize);
        given.filter(|block| self.hidden.is_none_or(|hidden| block.number < hidden)).copied().collect()
    }
}

/// One turn, as the shell does it: `delivered` is what a consumer holds. True when there is nothing to do.
fn turn(now: Millis, core: &mut Core, chain: &mut Chain, delivered: &mut Vec<BlockRef>) -> bool {
    let head = chain.head();
    let mut next = core.begin(now, head, u64::MAX);
    loop {
        match next {
            Next::Look(number) => {
                let now = chain.block(number);
                next = core.looked(head, now);
            }
            Next::Again { from, to } => {
                let events: Vec<_> = chain.events(from, to).iter().map(logged).collect();
                next = core.looked_again(head, (from, to), &events);
            }
            Next::Wait => return true,
            Next::Rollback { to, .. } => {
                delivered.retain(|block| block.number <= to.number);
                return false;
            }
            Next::Resync(_) => {
                delivered.clear();
                return false;
            }
            Next::Read { from, to } => {
                let Some(end) = chain.block(to) else { return false };
                let events = chain.events(from, to);
                let told: Vec<_> = events.iter().map(logged).collect();
                let end_after = chain.block(to);
                let cursor_after = core.cursor().and_then(|cursor| chain.block(cursor.number));
                if let Verdict::Accepted { .. } = core.accept(head, end, &told, end_after, cursor_after) {
                    delivered.extend(events);
                }
                return false;
            }
        }
    }
}

proptest! {
    /// Whatever the chain does (grow, be replaced from some block on, be cut), and whenever it does so, also in the
    /// middle of a turn: a consumer that undoes what it is told to undo ends with exactly the blocks of the chain.
    #[test]
    fn what_was_delivered_is_the_chain(
        confirmations in 0u64..3,
        max_range in 1u64..6,
        moves in proptest::collection::vec((0u8..5, 1u64..7), 1..60),
    ) {
        let mut chain = Chain::new(moves);
        let mut core = Core::new(0, confirmations, max_range, None);
        let mut delivered: Vec<BlockRef> = Vec::new();
        let mut quiet = 0;
        for _ in 0..2_000 {
            let idle = turn(Millis(0), &mut core, &mut chain, &mut delivered);
            let numbers: Vec<u64> = delivered.iter().map(|block| block.number).collect();
            prop_assert_eq!(numbers, (0..delivered.len() as u64).collect::<Vec<_>>());
            prop_assert_eq!(core.cursor(), delivered.last().map(BlockRef::cursor));
            quiet = if idle && chain.moves.is_empty() { quiet + 1 } else { 0 };
            if quiet == 2 {
                break;
            }
        }
        prop_assert_eq!(quiet, 2, "the follower comes to rest");
        let confirmed = chain.blocks.len().saturating_sub(confirmations as usize);
        // A shrunken chain keeps delivered blocks that are confirmed no more but still in it.
        prop_assert!(delivered.len() >= confirmed);
        prop_assert_eq!(&delivered[..], &chain.blocks[..delivered.len()]);
    }

    /// The same of an RPC that speaks of blocks before it gives their events, for less than the time after which they are
    /// looked at again: it may take until then, and nothing is missing in the end.
    #[test]
    fn events_that_come_late_are_delivered_all_the_same(
        confirmations in 0u64..3,
        max_range in 1u64..6,
        moves in proptest::collection::vec((0u8..9, 1u64..5), 1..40),
    ) {
        let mut chain = Chain::new(moves);
        let mut core = Core::new(0, confirmations, max_range, None);
        let mut delivered: Vec<BlockRef> = Vec::new();
        let (mut now, mut quiet) = (Millis(0), 0);
        for _ in 0..4_000 {
            let idle = turn(now, &mut core, &mut chain, &mut delivered);
            prop_assert!(delivered.is_sorted_by(|a, b| a.number < b.number), "{:?}", delivered);
            let still = chain.moves.is_empty();
            if still {
                chain.hidden = None;
            }
            // While it moves no time passes that anybody would notice.
            now = Millis(now.0 + if still { AFTER.0 / 4 } else { 1 });
            quiet = if idle && still { quiet + 1 } else { 0 };
            if quiet == 20 {
                break;
            }
        }
        prop_assert_eq!(quiet, 20, "the follower comes to rest");
        let confirmed = chain.blocks.len().saturating_sub(confirmations as usize);
        prop_assert!(delivered.len() >= confirmed);
        prop_assert_eq!(&delivered[..], &chain.blocks[..delivered.len()]);
    }
}

#[test]
fn an_event_that_the_rpc_gave_late_is_a_rollback_to_the_block_below_it() {
    let mut core = at(6, 9, 0);
    let head = block(0, 9);
    assert_eq!(core.begin(Millis(0), head, u64::MAX), Next::Read { from: 7, to: 9 });
    let accepted = core.accept(head, head, &[logged(&block(0, 7))], Some(head), Some(block(0, 6)));
    assert_eq!(accepted, Verdict::Accepted { cursor: head.cursor(), caught_up: true });
    assert_eq!(core.begin(Millis(AFTER.0 - 1), head, u64::MAX), Next::Wait);
    assert_eq!(core.begin(AFTER, head, u64::MAX), Next::Again { from: 7, to: 9 });
    let all = [logged(&block(0, 7)), logged(&block(0, 8))];
    let to = block(0, 7).cursor();
    let reason = ResyncReason::LateEvents { number: 8 };
    assert_eq!(core.looked_again(head, (7, 9), &all), Next::Rollback { to, reason });
    assert_eq!(core.begin(AFTER, head, u64::MAX), Next::Look(7));
    assert_eq!(core.looked(head, Some(block(0, 7))), Next::Again { from: 7, to: 7 });
    assert_eq!(core.looked_again(head, (7, 7), &all[..1]), Next::Read { from: 8, to: 9 });
}

#[test]
fn no_more_blocks_are_read_at_once_than_the_rpc_answers_for() {
    let mut core = Core::new(0, 0, 100, None);
    assert_eq!(core.begin(Millis(0), block(0, 70), 8), Next::Read { from: 0, to: 7 });
    assert_eq!(core.begin(Millis(0), block(0, 70), 0), Next::Read { from: 0, to: 0 });
    assert_eq!(core.begin(Millis(0), block(0, 900), u64::MAX), Next::Look(70));
    assert_eq!(core.looked(block(0, 900), Some(block(0, 70))), Next::Read { from: 0, to: 99 });
}
