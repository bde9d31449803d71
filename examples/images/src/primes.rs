//! Counts and sums the primes below a limit with a segmented sieve, in parallel.
//!
//! Each thread takes the next segment until none is left or it is told to stop. The answers can be checked against
//! published values of π(x), which is why this is the example: a wrong machine gives a wrong number.

use crate::stop::Stop;
use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

/// Numbers per segment: the sieve of one segment (odd numbers only, a byte each) stays within a core's cache.
const SEGMENT: u64 = 1 << 20;

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many primes.
    pub count: u64,
    /// Their sum, modulo 2^64.
    pub sum: u64,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.count += other.count;
        self.sum = self.sum.wrapping_add(other.sum);
    }
}

/// The result of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All numbers below the limit were examined.
    Complete(Tally),
    /// Told to stop: the tally of the segments that were finished, and how many numbers those hold.
    Stopped { tally: Tally, examined: u64 },
}

/// Examines all numbers below `limit` on `threads` threads; calls `report(examined)` about every `interval`.
pub fn count(
    limit: u64,
    threads: usize,
    stop: &Stop,
    interval: Duration,
    report: impl Fn(u64) + Sync,
) -> Outcome {
    let small = small_primes(limit.isqrt() + 1);
    let next = AtomicU64::new(0);
    let examined = AtomicU64::new(0);
    let started = Instant::now();
    let reports = AtomicU64::new(0);
    let mut tally = Tally::default();
    thread::scope(|scope| {
        let run = || {
            let mut own = Tally::default();
            let mut sieve = Vec::new();
            while !stop.is_set() {
                let start = next.fetch_add(SEGMENT, Ordering::Relaxed);
                if start >= limit {
                    break;
                }
                let end = limit.min(start.saturating_add(SEGMENT));
                own.add(segment(start, end, &small, &mut sieve));
                let done = examined.fetch_add(end - start, Ordering::Relaxed) + (end - start);
                let due = started.elapsed().as_millis() / interval.as_millis().max(1);
                let due = u64::try_from(due).unwrap_or(u64::MAX);
                // Whichever thread first sees that a report is due makes it.
                if reports.fetch_max(due, Ordering::Relaxed) < due {
                    report(done);
                }
            }
            own
        };
        let others: Vec<_> = (1..threads.max(1)).map(|_| scope.spawn(run)).collect();
        tally.add(run());
        for other in others {
            tally.add(other.join().expect("a sieve thread has nothing that panics"));
        }
    });
    let examined = examined.into_inner();
    if examined < limit { Outcome::Stopped { tally, examined } } else { Outcome::Complete(tally) }
}

/// All primes below `limit`, by the plain sieve.
fn small_primes(limit: u64) -> Vec<u64> {
    let mut primes: Vec<u64> = Vec::new();
    for candidate in 2..limit {
        let divisible = primes
            .iter()
            .take_while(|prime| *prime * *prime <= candidate)
            .any(|prime| candidate % prime == 0);
        if !divisible {
            primes.push(candidate);
        }
    }
    primes
}

/// The primes in `start..end`. `start` is even; `small` holds every prime up to the root of `end`.
fn segment(start: u64, end: u64, small: &[u64], sieve: &mut Vec<bool>) -> Tally {
    // Index i stands for the odd number start + 2 i + 1.
    let length = usize::try_from((end - start) / 2).expect("a segment is short");
    sieve.clear();
    sieve.resize(length, true);
    for prime in small.iter().copied().skip(1).take_while(|prime| prime * prime < end) {
        // The first odd multiple at or above both prime² and start.
        let mut first = (prime * prime).max(start.div_ceil(prime) * prime);
        if first % 2 == 0 {
            first += prime;
        }
        let stride = usize::try_from(prime).expect("a prime below 2^32");
        let mut index = usize::try_from((first - start) / 2).unwrap_or(usize::MAX);
        while let Some(slot) = sieve.get_mut(index) {
            *slot = false;
            index += stride;
        }
    }
    let mut tally = Tally::default();
    if start <= 2 && end > 2 {
        tally.add(Tally { count: 1, sum: 2 });
    }
    let mut number = start + 1;
    for is_prime in sieve.iter() {
        if *is_prime && number > 1 {
            tally.add(Tally { count: 1, sum: number });
        }
        number += 2;
    }
    tally
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(limit: u64, threads: usize) -> Tally {
        match count(limit, threads, &Stop::never(), Duration::from_secs(60), |_| ()) {
            Outcome::Complete(tally) => tally,
            Outcome::Stopped { .. } => unreachable!("nobody stops it"),
        }
    }

    /// Trial division, with nothing in common with the sieve.
    fn naive(limit: u64) -> Tally {
        let mut tally = Tally::default();
        for number in 2..limit {
            if (2..number)
                .take_while(|divisor| divisor * divisor <= number)
                .all(|divisor| number % divisor != 0)
            {
                tally.add(Tally { count: 1, sum: number });
            }
        }
        tally
    }

    #[test]
    fn small_limits_agree_with_trial_division() {
        for limit in (0..200).chain([1_000, 4_096, 4_097, 9_999, 10_000]) {
            assert_eq!(complete(limit, 1), naive(limit), "below {limit}");
        }
    }

    #[test]
    fn segment_borders_lose_and_double_nothing() {
        for limit in [SEGMENT - 1, SEGMENT, SEGMENT + 1, SEGMENT + 2] {
            assert_eq!(complete(limit, 2), naive(limit), "below {limit}");
        }
    }

    #[test]
    fn ten_million_gives_the_published_count_on_any_number_of_threads() {
        // OEIS A006880 and A046731: π(10^7) and the sum of the primes below 10^7.
        let published = Tally { count: 664_579, sum: 3_203_324_994_356 };
        assert_eq!(complete(10_000_000, 1), published);
        assert_eq!(complete(10_000_000, 3), published);
    }

    #[test]
    fn when_told_to_stop_it_says_how_far_it_came() {
        let stop = Stop::never();
        stop.set();
        let outcome = count(1_000_000, 2, &stop, Duration::from_secs(60), |_| ());
        assert_eq!(outcome, Outcome::Stopped { tally: Tally::default(), examined: 0 });
    }
}
