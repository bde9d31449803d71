//! The follower's decisions, without I/O.
//!
//! It remembers the hashes of recent blocks: of every head that it saw and of every block up to which events were
//! delivered. All of them were in the chain *after* the ones below them were last looked at, so that they make one
//! history. A turn begins by asking whether the highest of them is still in the chain:
//!
//! | the highest remembered block | then |
//! |---|---|
//! | is the head, or is in the chain | nothing was replaced: read on |
//! | was replaced | forget it, look at the one below it |
//! | and one below it is in the chain | *rollback* to that block |
//! | and none below it is | *resync*: begin again |
//!
//! A rollback may leave everything that was delivered standing: blocks on top, that wait for confirmations, were
//! replaced. It is told all the same, because whoever read the state at the head read what is no more.
//!
//! What was delivered of young blocks is looked at again ([`second_look`]): an event that came late is a rollback as well, to
//! a block below it.

mod second_look;

use std::fmt;

use lode_protocol::units::Millis;

use self::second_look::SecondLook;
use crate::{BlockRef, ChainCursor, LoggedEvent};

/// How many blocks are remembered: how deep a reorganisation may go to be a rollback.
pub(super) const REMEMBERED: usize = 256;

/// Why what was delivered does not stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ResyncReason {
    /// A block was replaced.
    Reorganised {
        /// The lowest block that is known to be replaced.
        number: u64,
    },
    /// The chain is shorter than it was: it was restarted from an older state, or the RPC lags behind another.
    HeadBehindCursor {
        /// Number of the latest block.
        head: u64,
        /// Number of the highest block that was seen.
        cursor: u64,
    },
    /// The RPC gives events now that it did not give when their block was read.
    LateEvents {
        /// The lowest block that has such an event.
        number: u64,
    },
}

impl fmt::Display for ResyncReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ResyncReason::Reorganised { number } => write!(f, "block {number} was replaced"),
            ResyncReason::HeadBehindCursor { head, cursor } => {
                write!(f, "the chain ends at block {head}, block {cursor} was seen")
            }
            ResyncReason::LateEvents { number } => {
                write!(f, "block {number} has events that the RPC did not give at first")
            }
        }
    }
}

/// What to do next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Next {
    /// Fetch the block of this number and call [`Core::looked`].
    Look(u64),
    /// Read events of these blocks once more and call [`Core::looked_again`].
    Again { from: u64, to: u64 },
    /// Wait: everything confirmed is delivered.
    Wait,
    /// Read events of these blocks and call [`Core::accept`].
    Read { from: u64, to: u64 },
    /// Blocks above `to` were replaced, or not wholly delivered.
    Rollback { to: ChainCursor, reason: ResyncReason },
    /// More was replaced than is remembered.
    Resync(ResyncReason),
}

/// What to make of events that were read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// Deliver them.
    Accepted { cursor: ChainCursor, caught_up: bool },
    /// The chain changed while they were read.
    ReadAgain,
}

#[derive(Debug)]
pub(super) struct Core {
    origin: u64,
    confirmations: u64,
    max_range: u64,
    /// The last block whose events were delivered.
    cursor: Option<ChainCursor>,
    /// Blocks of one history, ascending.
    recent: Vec<ChainCursor>,
    /// Why blocks were forgotten in this turn.
    broken: Option<ResyncReason>,
    /// Delivered blocks that are read once more.
    second: SecondLook,
    /// When this turn began.
    now: Millis,
    /// Most blocks to read at once in this turn.
    at_once: u64,
}

impl Core {
    pub(super) fn new(origin: u64, confirmations: u64, max_range: u64, cursor: Option<ChainCursor>) -> Self {
        let recent = cursor.into_iter().collect();
        let max_range = max_range.max(1);
        let (second, now) = (SecondLook::default(), Millis(0));
        Core {
            origin,
            confirmations,
            max_range,
            cursor,
            recent,
            broken: None,
            second,
            now,
            at_once: max_range,
        }
    }

    pub(super) fn cursor(&self) -> Option<ChainCursor> {
        self.cursor
    }

    /// A turn begins, at a time of a clock that never goes back. `at_once` is how many blocks' events had better be asked for
    /// together.
    pub(super) fn begin(&mut self, now: Millis, head: BlockRef, at_once: u64) -> Next {
        self.broken = None;
        self.now = now;
        self.at_once = at_once.clamp(1, self.max_range);
        self.check(head)
    }

    /// The block that was asked for, as it is now.
    pub(super) fn looked(&mut self, head: BlockRef, now: Option<BlockRef>) -> Next {
        match (self.recent.last(), now) {
            (Some(tip), Some(now)) if now.cursor() == *tip => self.holds(head),
            (Some(tip), _) => {
                let number = tip.number;
                self.forget(ResyncReason::Reorganised { number });
                self.check(head)
            }
            (None, _) => self.check(head),
        }
    }

    /// Events of blocks that were asked for again.
    pub(super) fn looked_again(
        &mut self,
        head: BlockRef,
        (from, to): (u64, u64),
        events: &[LoggedEvent],
    ) -> Next {
        if let Some(number) = self.second.looked(self.now, (from, to), events) {
            while self.recent.last().is_some_and(|block| block.number >= number) {
                self.recent.pop();
            }
            self.broken = Some(ResyncReason::LateEvents { number });
        }
        self.holds(head)
    }

    /// Judges events that end with block `end`, by what the chain looked like after they were read.
    pub(super) fn accept(
        &mut self,
        head: BlockRef,
        end: BlockRef,
        events: &[LoggedEvent],
        end_after: Option<BlockRef>,
        cursor_after: Option<BlockRef>,
    ) -> Verdict {
        let stands = |before: ChainCursor, after: Option<BlockRef>| {
            after.is_some_and(|after| after.cursor() == before)
        };
        if !stands(end.cursor(), end_after) || self.cursor.is_some_and(|cursor| !stands(cursor, cursor_after))
        {
            return Verdict::ReadAgain;
        }
        let cursor = end.cursor();
        self.second.delivered(self.now, head.number, (self.next(), end.number), events);
        self.cursor = Some(cursor);
        self.remember(cursor);
        Verdict::Accepted { cursor, caught_up: head.number.saturating_sub(self.confirmations) <= end.number }
    }

    /// Whether the highest remembered block is in the chain that ends with `head`, as far as `head` tells.
    fn check(&mut self, head: BlockRef) -> Next {
        while let Some(tip) = self.recent.last().copied() {
            if tip == head.cursor() {
                break;
            }
            if tip.number < head.number {
                return Next::Look(tip.number);
            }
            let (number, cursor) = (tip.number, tip.number);
            self.forget(match tip.number == head.number {
                true => ResyncReason::Reorganised { number },
                false => ResyncReason::HeadBehindCursor { head: head.number, cursor },
            });
        }
        self.holds(head)
    }

    /// What is remembered is in the chain; perhaps less than at the turn's begin.
    fn holds(&mut self, head: BlockRef) -> Next {
        if let Some(reason) = self.broken.take() {
            let Some(to) = self.recent.last().copied() else {
                self.cursor = None;
                self.second.clear();
                return Next::Resync(reason);
            };
            if self.cursor.is_some_and(|cursor| cursor.number > to.number) {
                self.cursor = Some(to);
            }
            self.second.cut(to.number);
            return Next::Rollback { to, reason };
        }
        self.remember(head.cursor());
        if let Some((from, to)) = self.second.due(self.now, self.at_once) {
            return Next::Again { from, to };
        }
        let next = self.next();
        match head.number.checked_sub(self.confirmations) {
            Some(target) if target >= next => {
                Next::Read { from: next, to: target.min(next.saturating_add(self.at_once - 1)) }
            }
            _ => Next::Wait,
        }
    }

    /// The first block whose events are not delivered.
    fn next(&self) -> u64 {
        self.cursor.map_or(self.origin, |cursor| cursor.number.saturating_add(1))
    }

    /// The highest remembered block is no more. The first reason is told, with the lowest block.
    fn forget(&mut self, reason: ResyncReason) {
        self.recent.pop();
        self.broken = Some(match (self.broken, reason) {
            (Some(first @ ResyncReason::HeadBehindCursor { .. }), _) => first,
            (_, reason) => reason,
        });
    }

    fn remember(&mut self, block: ChainCursor) {
        let place = self.recent.partition_point(|other| other.number < block.number);
        match self.recent.get_mut(place) {
            Some(same) if same.number == block.number => *same = block,
            _ => self.recent.insert(place, block),
        }
        if self.recent.len() > REMEMBERED {
            self.recent.remove(0);
        }
    }
}

#[cfg(test)]
mod tests;
