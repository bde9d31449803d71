//! How often something may happen for each of many callers. Whoever is too fast is not refused but waits, so that it gets
//! no more than its share, and loses nothing.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A rate, and what may come at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// In the long run.
    pub per_second: u32,
    /// At once.
    pub burst: u32,
}

/// The pace of many callers, each by itself.
#[derive(Debug)]
pub struct Pace<K> {
    interval: Duration,
    burst: Duration,
    longest: Duration,
    most: usize,
    /// When what each has done would be done at its rate: only of those who are ahead of it.
    due: Mutex<HashMap<K, Instant>>,
}

impl<K: Eq + Hash> Pace<K> {
    /// Of at most `most` callers at one time, none of whom waits longer than `longest`.
    #[must_use]
    pub fn new(rate: Rate, longest: Duration, most: usize) -> Self {
        let interval = Duration::from_secs(1) / rate.per_second.max(1);
        let burst = interval.saturating_mul(rate.burst);
        Self { interval, burst, longest, most: most.max(1), due: Mutex::default() }
    }

    fn due(&self) -> MutexGuard<'_, HashMap<K, Instant>> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It happens once more for this caller, and has to wait for so long before.
    pub fn wait(&self, caller: K, now: Instant) -> Duration {
        let mut due = self.due();
        if due.len() >= self.most && !due.contains_key(&caller) {
            due.retain(|_, due| *due > now);
            if due.len() >= self.most {
                return self.longest;
            }
        }
        let its = due.entry(caller).or_insert(now);
        *its = ((*its).max(now) + self.interval).min(now + self.burst + self.longest);
        its.duration_since(now).saturating_sub(self.burst)
    }

    /// How long it would have to wait.
    pub fn debt(&self, caller: &K, now: Instant) -> Duration {
        let due = self.due().get(caller).copied();
        due.map_or(Duration::ZERO, |due| due.saturating_duration_since(now).saturating_sub(self.burst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_secs(2);

    fn pace(most: usize) -> Pace<u32> {
        Pace::new(Rate { per_second: 10, burst: 3 }, LONGEST, most)
    }

    #[test]
    fn a_burst_is_free_and_what_comes_after_waits_for_its_turn() {
        let (pace, now) = (pace(10), Instant::now());
        let waits: Vec<u128> = (0..6).map(|_| pace.wait(1, now).as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 100, 200, 300]);
        assert_eq!(pace.debt(&1, now).as_millis(), 300);
        assert_eq!(pace.wait(2, now), Duration::ZERO, "others are not its fault");
        let later = now + Duration::from_secs(1);
        assert_eq!(pace.wait(1, later), Duration::ZERO);
        assert_eq!(pace.debt(&3, now), Duration::ZERO);
    }

    #[test]
    fn nobody_waits_longer_than_the_longest_and_debts_do_not_grow() {
        let (pace, now) = (pace(10), Instant::now());
        for _ in 0..10_000 {
            assert!(pace.wait(1, now) <= LONGEST);
        }
        assert_eq!(pace.debt(&1, now + LONGEST), Duration::ZERO);
    }

    #[test]
    fn who_is_not_ahead_takes_no_room_and_there_is_room_for_so_many() {
        let (pace, now) = (pace(2), Instant::now());
        assert_eq!(pace.wait(1, now), Duration::ZERO);
        assert_eq!(pace.wait(2, now), Duration::ZERO);
        assert_eq!(pace.wait(3, now), LONGEST, "no room");
        assert_eq!(pace.wait(1, now), Duration::ZERO);
        assert_eq!(pace.wait(3, now + Duration::from_secs(1)), Duration::ZERO);
        assert_eq!(pace.due().len(), 1);
    }
}
