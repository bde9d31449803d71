//! Which connections have been silent for too long. Pure: whoever calls brings the time.
//!
//! libp2p's ping reports a peer that vanished only after a second failure and a stream that was not negotiated, about
//! 35 seconds too late. So the answers that do come are noted here, and their absence is what counts.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Last signs of life by key. Checking costs O(log n) per connection whose turn it is, noting a sign O(1).
#[derive(Debug)]
pub(super) struct Watchdog<K> {
    limit: Duration,
    heard: HashMap<K, Instant>,
    /// When to look at a connection again; never later than it may become overdue.
    turns: BTreeSet<(Instant, K)>,
}

impl<K: Copy + Ord + Hash> Watchdog<K> {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, heard: HashMap::new(), turns: BTreeSet::new() }
    }

    /// Starts to watch.
    pub(super) fn watch(&mut self, key: K, now: Instant) {
        if self.heard.insert(key, now).is_none() {
            self.turns.insert((now + self.limit, key));
        }
    }

    /// A sign of life.
    pub(super) fn heard(&mut self, key: K, now: Instant) {
        if let Some(heard) = self.heard.get_mut(&key) {
            *heard = now;
        }
    }

    /// Stops watching.
    pub(super) fn forget(&mut self, key: K) {
        // Its turn comes once more and finds nothing.
        self.heard.remove(&key);
    }

    /// Those silent for longer than the limit; they are watched no longer.
    pub(super) fn overdue(&mut self, now: Instant) -> Vec<K> {
        let mut overdue = Vec::new();
        while let Some((turn, key)) = self.turns.first().copied().filter(|(turn, _)| *turn <= now) {
            self.turns.remove(&(turn, key));
            let Some(due) = self.heard.get(&key).map(|heard| *heard + self.limit) else { continue };
            if due <= now {
                self.heard.remove(&key);
                overdue.push(key);
            } else {
                self.turns.insert((due, key));
            }
        }
        overdue
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_silent_ones_are_overdue() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut watchdog = Watchdog::new(Duration::from_secs(10));
        for key in ["silent", "talking", "closed"] {
            watchdog.watch(key, start);
        }
        watchdog.heard("talking", at(8));
        watchdog.heard("stranger", at(8));
        watchdog.forget("closed");
        assert!(watchdog.overdue(at(9)).is_empty());
        assert_eq!(watchdog.overdue(at(10)), ["silent"]);
        assert!(watchdog.overdue(at(17)).is_empty());
        assert_eq!(watchdog.overdue(at(18)), ["talking"]);
        assert!(watchdog.overdue(at(100)).is_empty());
        assert!(watchdog.heard.is_empty() && watchdog.turns.is_empty());
    }
}
