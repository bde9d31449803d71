//! When the engine's containers are listed: at an interval, at once when a list may have missed something, and with a
//! growing pause while the engine does not answer. Before the node belongs to the pool the engine is not touched at all.

use lode_protocol::backoff::BackoffPolicy;
use lode_protocol::time::Now;
use lode_protocol::units::Millis;

use crate::time::after;
use crate::view::EngineState;

/// Pauses between lists that fail.
const PAUSES: BackoffPolicy = BackoffPolicy::new(Millis(500), Millis::seconds(15));

/// State of the lists.
#[derive(Clone, Debug)]
pub(crate) struct Scans {
    interval: Millis,
    state: EngineState,
    /// When the next one is due; `None`: the engine is not to be touched, or one is out.
    due: Option<Millis>,
    /// Calls that had ended when the list that is out was asked for.
    out: Option<u64>,
    /// Calls that have changed something and ended: a list asked for before the last of them is old news.
    ended: u64,
    failures: u32,
}

impl Scans {
    pub(crate) fn new(interval: Millis) -> Self {
        Self { interval, state: EngineState::Untouched, due: None, out: None, ended: 0, failures: 0 }
    }

    pub(crate) fn state(&self) -> EngineState {
        self.state
    }

    pub(crate) fn next_deadline(&self) -> Option<Millis> {
        self.due
    }

    /// The engine may be touched from now on.
    pub(crate) fn touch(&mut self, now: Now) {
        if self.state == EngineState::Untouched && self.due.is_none() && self.out.is_none() {
            self.due = Some(now.monotonic);
        }
    }

    /// True once when a list is to be asked for.
    pub(crate) fn is_due(&mut self, now: Now) -> bool {
        if self.due.is_none_or(|due| due > now.monotonic) {
            return false;
        }
        self.due = None;
        self.out = Some(self.ended);
        true
    }

    /// A call that may have changed something has ended.
    pub(crate) fn call_ended(&mut self) {
        self.ended += 1;
    }

    /// A list came; whether it counts. One that was asked for before a call ended may miss what was just started.
    pub(crate) fn listed(&mut self, now: Now) -> bool {
        let Some(asked) = self.out.take() else { return false };
        if asked != self.ended {
            self.due = Some(now.monotonic);
            return false;
        }
        self.due = Some(after(now.monotonic, self.interval));
        self.failures = 0;
        self.state = EngineState::Available;
        true
    }

    /// A list failed.
    pub(crate) fn failed(&mut self, now: Now) {
        if self.out.take().is_some() {
            self.due = Some(after(now.monotonic, PAUSES.wait(self.failures)));
            self.failures = self.failures.saturating_add(1);
        }
        self.state = EngineState::Unavailable;
    }

    /// Another call was not answered. Nobody can hurry an engine that is known not to be there, but one that was there, or
    /// was not looked at yet, is looked at: else nobody would hear that it is back.
    pub(crate) fn silent(&mut self, now: Now) {
        let known = self.state == EngineState::Unavailable && self.due.is_some();
        if self.out.is_none() && !known {
            self.due = Some(now.monotonic);
        }
        self.state = EngineState::Unavailable;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lode_protocol::units::Timestamp;

    fn at(millis: u64) -> Now {
        Now { wall: Timestamp(1_000 + millis), monotonic: Millis(millis) }
    }

    #[test]
    fn the_engine_is_not_touched_before_it_may_be() {
        let mut scans = Scans::new(Millis::seconds(10));
        assert!(!scans.is_due(at(0)) && scans.next_deadline().is_none());
        scans.touch(at(5));
        assert!(scans.is_due(at(5)));
        assert!(!scans.is_due(at(5)), "one at a time");
    }

    #[test]
    fn a_list_that_was_asked_for_before_a_call_ended_is_old_news() {
        let mut scans = Scans::new(Millis::seconds(10));
        scans.touch(at(0));
        assert!(scans.is_due(at(0)));
        scans.call_ended();
        assert!(!scans.listed(at(1)));
        assert!(scans.is_due(at(1)), "and is asked for again at once");
        assert!(scans.listed(at(2)));
        assert_eq!(scans.next_deadline(), Some(Millis(10_002)));
    }

    #[test]
    fn an_engine_that_does_not_answer_is_asked_less_and_less_often() {
        let mut scans = Scans::new(Millis::seconds(10));
        scans.touch(at(0));
        let mut pauses = Vec::new();
        let mut now = 0;
        for _ in 0..7 {
            assert!(scans.is_due(at(now)));
            scans.failed(at(now));
            let due = scans.next_deadline().unwrap().0;
            pauses.push(due - now);
            now = due;
        }
        assert_eq!(pauses, [500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000]);
    }
}
