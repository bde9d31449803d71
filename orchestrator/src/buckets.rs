//! Token buckets by key, in bounded memory.
//!
//! A bucket is the moment at which it is full again. One that nobody asked about for as long as it takes to fill is full, and
//! need not be remembered: buckets live in two generations, and the older one goes when the younger has stood so long, or
//! holds as many as may be. Who is forgotten early has a full bucket again; he who has so many keys has as many shares anyway.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const NANOS: u128 = 1_000_000_000;

/// How much in the long run, and how much at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pace {
    /// In a second.
    pub per_second: u64,
    /// At once.
    pub burst: u64,
}

impl Pace {
    fn time_of(self, amount: u64) -> Duration {
        let nanos = u128::from(amount) * NANOS / u128::from(self.per_second.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX / 4).min(u64::MAX / 4))
    }
}

/// One bucket for each key.
#[derive(Debug)]
pub struct Buckets<K> {
    pace: Pace,
    /// Keys of one generation.
    most: usize,
    state: Mutex<State<K>>,
}

#[derive(Debug)]
struct State<K> {
    young: HashMap<K, Instant>,
    old: HashMap<K, Instant>,
    /// When the younger generation began.
    began: Option<Instant>,
}

impl<K: Eq + Hash + Copy> Buckets<K> {
    /// Full buckets; at most twice `most` are remembered.
    pub fn new(pace: Pace, most: usize) -> Self {
        let state = State { young: HashMap::new(), old: HashMap::new(), began: None };
        Buckets { pace, most: most.max(1), state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes so much if it is there.
    ///
    /// # Errors
    /// The time after which it is.
    pub fn take(&self, key: K, amount: u64, now: Instant) -> Result<(), Duration> {
        let mut state = self.state();
        state.age(now, self.pace, self.most);
        let full_at = state.full_at(&key).max(Some(now)).unwrap_or(now) + self.pace.time_of(amount);
        let wait = full_at.saturating_duration_since(now + self.pace.time_of(self.pace.burst.max(amount)));
        if wait.is_zero() {
            state.young.insert(key, full_at);
            Ok(())
        } else {
            Err(wait)
        }
    }

    /// Takes so much whether it is there or not, and says until when to wait.
    pub fn charge(&self, key: K, amount: u64, now: Instant) -> Option<Instant> {
        let mut state = self.state();
        state.age(now, self.pace, self.most);
        let full_at = state.full_at(&key).max(Some(now)).unwrap_or(now) + self.pace.time_of(amount);
        state.young.insert(key, full_at);
        self.due(full_at, now)
    }

    /// Until when what was charged is to be waited for.
    pub fn owes(&self, key: &K, now: Instant) -> Option<Instant> {
        let full_at = self.state().full_at(key)?;
        self.due(full_at, now)
    }

    fn due(&self, full_at: Instant, now: Instant) -> Option<Instant> {
        let due = full_at.checked_sub(self.pace.time_of(self.pace.burst))?;
        (due > now).then_some(due)
    }
}

impl<K: Eq + Hash + Copy> State<K> {
    fn full_at(&self, key: &K) -> Option<Instant> {
        self.young.get(key).or_else(|| self.old.get(key)).copied()
    }

    fn age(&mut self, now: Instant, pace: Pace, most: usize) {
        // As long as a bucket takes to fill, and as much again for what was charged beyond it.
        let lives = 2 * pace.time_of(pace.burst) + Duration::from_secs(1);
        let began = *self.began.get_or_insert(now);
        let stood = now.saturating_duration_since(began);
        if stood < lives && self.young.len() < most {
            return;
        }
        self.old = std::mem::take(&mut self.young);
        if stood >= 2 * lives {
            self.old = HashMap::new();
        }
        self.began = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace { per_second: 10, burst: 20 };

    fn at(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate_and_each_key_has_its_own() {
        let (buckets, start) = (Buckets::new(PACE, 100), Instant::now());
        assert!((0..20).all(|_| buckets.take(1, 1, start).is_ok()));
        assert_eq!(buckets.take(1, 1, start), Err(Duration::from_millis(100)));
        assert_eq!(buckets.take(2, 1, start), Ok(()));
        assert_eq!(buckets.take(1, 1, at(start, 100)), Ok(()));
        assert!(buckets.take(1, 1, at(start, 100)).is_err());
        assert!((0..20).all(|_| buckets.take(1, 1, at(start, 60_000)).is_ok()));
        assert!(buckets.take(1, 1, at(start, 60_000)).is_err(), "a rest fills it, and no more than that");
    }

    #[test]
    fn what_was_charged_beyond_the_bucket_is_waited_for() {
        let (buckets, start) = (Buckets::new(PACE, 100), Instant::now());
        assert_eq!(buckets.charge(1, 20, start), None);
        assert_eq!(buckets.charge(1, 5, start), Some(at(start, 500)));
        assert_eq!(buckets.owes(&1, start), Some(at(start, 500)));
        assert_eq!(buckets.owes(&1, at(start, 500)), None);
        assert_eq!(buckets.owes(&2, start), None);
    }

    #[test]
    fn what_is_larger_than_a_bucket_can_be_taken_from_a_full_one() {
        let (buckets, start) = (Buckets::new(PACE, 100), Instant::now());
        assert_eq!(buckets.take(1, 50, start), Ok(()));
        assert_eq!(buckets.take(1, 1, start), Err(Duration::from_millis(3_100)));
    }

    #[test]
    fn a_million_keys_take_the_room_of_two_generations_and_an_empty_bucket_is_not_forgotten_in_its_time() {
        let (buckets, start) = (Buckets::new(PACE, 1_000), Instant::now());
        assert!((0..20).all(|_| buckets.take(u32::MAX, 1, start).is_ok()));
        assert!((0..900).all(|key| buckets.take(key, 1, start).is_ok()));
        assert!(buckets.take(u32::MAX, 1, start).is_err());
        for key in 0..1_000_000 {
            assert!(buckets.take(1_000 + key, 1, start).is_ok());
        }
        let state = buckets.state();
        assert!(state.young.len() + state.old.len() <= 2_000);
    }
}
