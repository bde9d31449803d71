//! What was delivered of young blocks is read a second time: an RPC may have given less than there is, because it speaks of
//! a block before it has indexed what was logged in it.
//!
//! Every young block is read again once it was first read [`AFTER`] ago, all that wait for it together, and no more often
//! than that. A second answer with less than was delivered settles nothing: it came from a server that is behind.

use std::collections::{BTreeSet, VecDeque};

use lode_protocol::units::Millis;

use crate::LoggedEvent;

/// Between the first look at a block's events and the second.
pub(in crate::follower) const AFTER: Millis = Millis::seconds(15);
/// Blocks further below the head are not looked at again: nothing is that far behind and still serves.
const YOUNG: u64 = 256;

/// Blocks that were read at one time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Part {
    from: u64,
    to: u64,
    read: Millis,
}

/// Blocks to look at again, and what was delivered of them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct SecondLook {
    /// Ascending, without overlap.
    parts: VecDeque<Part>,
    /// Block and index of each event that was delivered of them.
    delivered: BTreeSet<(u64, u64)>,
    not_before: Millis,
}

fn place(event: &LoggedEvent) -> (u64, u64) {
    (event.block, event.index)
}

impl SecondLook {
    /// These events of `from..=to` are delivered.
    pub(super) fn delivered(
        &mut self,
        now: Millis,
        head: u64,
        (from, to): (u64, u64),
        events: &[LoggedEvent],
    ) {
        let young = head.saturating_sub(YOUNG - 1);
        while self.parts.front().is_some_and(|part| part.to < young) {
            self.parts.pop_front();
        }
        if to >= young {
            self.parts.push_back(Part { from: from.max(young), to, read: now });
            self.delivered.extend(events.iter().map(place).filter(|(block, _)| *block >= young));
        }
        self.forget_settled();
    }

    /// The blocks whose time has come, at most so many.
    pub(super) fn due(&self, now: Millis, most: u64) -> Option<(u64, u64)> {
        let (first, last) = (self.parts.front()?, self.parts.back()?);
        let at = Millis(first.read.0.saturating_add(AFTER.0)).max(self.not_before);
        (at <= now).then(|| (first.from, last.to.min(first.from.saturating_add(most.max(1) - 1))))
    }

    /// What a second look at `from..=to` gave. Tells the lowest block that has an event which was not delivered.
    pub(super) fn looked(
        &mut self,
        now: Millis,
        (from, to): (u64, u64),
        events: &[LoggedEvent],
    ) -> Option<u64> {
        let found: BTreeSet<(u64, u64)> =
            events.iter().map(place).filter(|(block, _)| (from..=to).contains(block)).collect();
        if let Some((block, _)) = found.difference(&self.delivered).next() {
            return Some(*block);
        }
        let whole = self.delivered.range((from, 0)..=(to, u64::MAX)).all(|place| found.contains(place));
        let mut more = false;
        if whole {
            while let Some(part) = self.parts.front_mut() {
                if part.from > to || part.read.0.saturating_add(AFTER.0) > now.0 {
                    break;
                }
                if part.to > to {
                    part.from = to.saturating_add(1);
                    more = true;
                    break;
                }
                self.parts.pop_front();
            }
            more |= self.parts.front().is_some_and(|part| part.from == to.saturating_add(1));
            self.forget_settled();
        }
        // Where the look was cut because of its width it goes on at once.
        self.not_before = if more { now } else { Millis(now.0.saturating_add(AFTER.0)) };
        None
    }

    /// Blocks above are delivered no more.
    pub(super) fn cut(&mut self, above: u64) {
        while let Some(part) = self.parts.back_mut() {
            if part.from <= above {
                part.to = part.to.min(above);
                break;
            }
            self.parts.pop_back();
        }
        self.delivered.retain(|(block, _)| *block <= above);
    }

    /// Nothing is delivered any more.
    pub(super) fn clear(&mut self) {
        self.parts.clear();
        self.delivered.clear();
    }

    fn forget_settled(&mut self) {
        match self.parts.front() {
            Some(part) => self.delivered = self.delivered.split_off(&(part.from, 0)),
            None => self.delivered.clear(),
        }
    }
}

#[cfg(test)]
mod tests {
    use lode_protocol::hash::Digest;
    use lode_protocol::ids::PoolId;

    use super::*;
    use crate::{ChainEvent, PoolsEvent};

    fn event(block: u64, index: u64) -> LoggedEvent {
        let event = ChainEvent::Pools(PoolsEvent::PoolStarted { pool: PoolId(1) });
        LoggedEvent { event, block, block_hash: Digest::default(), transaction: Digest::default(), index }
    }

    const NOW: Millis = Millis::seconds(100);
    const LATER: Millis = Millis::seconds(115);

    fn delivered(events: &[LoggedEvent]) -> SecondLook {
        let mut look = SecondLook::default();
        look.delivered(NOW, 20, (11, 20), events);
        look
    }

    #[test]
    fn a_block_is_read_again_once_and_not_before_its_time() {
        let mut look = delivered(&[event(12, 0)]);
        assert_eq!(look.due(Millis(LATER.0 - 1), 100), None);
        assert_eq!(look.due(LATER, 100), Some((11, 20)));
        assert_eq!(look.looked(LATER, (11, 20), &[event(12, 0)]), None);
        assert_eq!(look, SecondLook { not_before: look.not_before, ..SecondLook::default() });
        assert_eq!(look.due(Millis(u64::MAX), 100), None);
    }

    #[test]
    fn an_event_that_came_late_is_told_by_its_block_also_where_others_were_delivered() {
        let mut look = delivered(&[event(12, 0), event(14, 3)]);
        let events = [event(12, 0), event(13, 2), event(14, 3), event(14, 4)];
        assert_eq!(look.looked(LATER, (11, 20), &events), Some(13));
        look.cut(12);
        look.delivered(LATER, 20, (13, 20), &events[1..]);
        let again = Millis(LATER.0 + AFTER.0);
        assert_eq!(look.due(again, 100), Some((11, 20)));
        assert_eq!(look.looked(again, (11, 20), &events), None);
    }

    #[test]
    fn an_answer_with_less_than_was_delivered_settles_nothing() {
        let mut look = delivered(&[event(12, 0)]);
        assert_eq!(look.looked(LATER, (11, 20), &[]), None);
        assert_eq!(look.due(LATER, 100), None, "not at once again");
        assert_eq!(look.due(Millis(LATER.0 + AFTER.0), 100), Some((11, 20)));
    }

    #[test]
    fn looks_that_are_bounded_go_on_where_they_ended() {
        let mut look = delivered(&[event(12, 0), event(19, 0)]);
        assert_eq!(look.due(LATER, 4), Some((11, 14)));
        assert_eq!(look.looked(LATER, (11, 14), &[event(12, 0)]), None);
        assert_eq!(look.due(LATER, 4), Some((15, 18)));
        assert_eq!(look.looked(LATER, (15, 18), &[]), None);
        assert_eq!(look.due(LATER, 4), Some((19, 20)));
        assert_eq!(look.looked(LATER, (19, 20), &[event(19, 0), event(19, 1)]), Some(19));
    }

    #[test]
    fn old_blocks_are_not_read_again() {
        let mut look = SecondLook::default();
        look.delivered(NOW, 10_000, (1, 2_000), &[event(5, 0)]);
        assert_eq!(look, SecondLook::default());
        look.delivered(NOW, 10_000, (9_000, 10_000), &[event(9_001, 0), event(9_999, 0)]);
        assert_eq!(look.due(LATER, 10_000), Some((9_745, 10_000)));
        assert_eq!(look.delivered.len(), 1);
    }
}
