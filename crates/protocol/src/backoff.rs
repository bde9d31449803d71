//! The waits between tries: they double up to a most, and are spread so that those who failed together do not come
//! back together.
//!
//! Pure. Randomness is a seed that is given: programs draw one per sequence, cores are given theirs or make it of what
//! is waited for ([`seed_of`]), so that the same events bring the same waits. A wait is spread over its upper half
//! ("equal jitter"): never above the most, never below half of what it would be alone.

use std::time::Duration;

use crate::units::Millis;

/// How waits grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackoffPolicy {
    /// The first wait, before it is spread.
    pub first: Millis,
    /// No wait is longer.
    pub most: Millis,
}

impl Default for BackoffPolicy {
    /// 200 ms doubling up to 30 s.
    fn default() -> Self {
        Self::new(Millis(200), Millis::seconds(30))
    }
}

impl BackoffPolicy {
    /// From `first`, doubling up to `most`.
    pub const fn new(first: Millis, most: Millis) -> Self {
        Self { first, most }
    }

    /// The wait after so many failures before the last one: `first · 2^failures`, at most `most`. Not spread.
    #[must_use]
    pub const fn wait(self, failures: u32) -> Millis {
        let factor = if failures < u64::BITS { 1_u64 << failures } else { u64::MAX };
        let grown = self.first.0.saturating_mul(factor);
        Millis(if grown < self.most.0 { grown } else { self.most.0 })
    }

    /// The same, spread by the seed. Rounded up, so that only a wait of nothing is nothing.
    #[must_use]
    pub const fn spread(self, failures: u32, seed: u64) -> Millis {
        let full = self.wait(failures).0;
        let off = mixed(seed) % (full / 2 + 1);
        Millis(full - off)
    }
}

/// One sequence of tries. The same seed gives the same waits.
#[derive(Debug, Clone)]
pub struct Backoff {
    policy: BackoffPolicy,
    failures: u32,
    random: u64,
}

impl Backoff {
    /// Starts a sequence. Give those who may fail together different seeds.
    #[must_use]
    pub const fn new(policy: BackoffPolicy, seed: u64) -> Self {
        Self { policy, failures: 0, random: seed }
    }

    /// The next wait.
    pub fn next_wait(&mut self) -> Duration {
        self.random = self.random.wrapping_add(STRIDE);
        let wait = self.policy.spread(self.failures, self.random);
        self.failures = self.failures.saturating_add(1);
        wait.to_duration()
    }

    /// Waits that were handed out since the start or the last success.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// Starts over after a success.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }
}

/// A seed made of what is waited for, an id most of all: 64-bit FNV-1a.
#[must_use]
pub fn seed_of(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The stride of SplitMix64.
const STRIDE: u64 = 0x9e37_79b9_7f4a_7c15;

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators").
const fn mixed(seed: u64) -> u64 {
    let mut mixed = seed.wrapping_add(STRIDE);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_most_however_many_there_were() {
        let policy = BackoffPolicy::new(Millis::seconds(10), Millis::seconds(300));
        let waits: Vec<u64> = (0..7).map(|failures| policy.wait(failures).0 / 1_000).collect();
        assert_eq!(waits, [10, 20, 40, 80, 160, 300, 300]);
        for failures in [31, 32, 63, 64, u32::MAX] {
            assert_eq!(policy.wait(failures), policy.most, "{failures}");
        }
        assert_eq!(BackoffPolicy::new(Millis::seconds(9), Millis::seconds(2)).wait(0), Millis::seconds(2));
    }

    #[test]
    fn spread_waits_are_in_the_upper_half_of_their_wait_and_use_all_of_it() {
        let policy = BackoffPolicy::default();
        for failures in 0..70 {
            let full = policy.wait(failures).0;
            let waits: Vec<u64> = (0..500).map(|seed| policy.spread(failures, seed).0).collect();
            let (least, most) = (*waits.iter().min().unwrap(), *waits.iter().max().unwrap());
            assert!(least >= full / 2 && most <= full, "{least} to {most} of {full}");
            assert!(most - least > full * 2 / 5, "{least} to {most} of {full}");
        }
    }

    #[test]
    fn only_a_wait_of_nothing_is_nothing() {
        let least = |first| (0..100).map(|seed| BackoffPolicy::new(first, first).spread(3, seed).0).min();
        assert_eq!((least(Millis(1)), least(Millis(0))), (Some(1), Some(0)));
    }

    #[test]
    fn a_sequence_starts_over_after_a_success() {
        let policy = BackoffPolicy::default();
        let mut backoff = Backoff::new(policy, 3);
        let waits: Vec<Duration> = (0..12).map(|_| backoff.next_wait()).collect();
        assert!(waits.iter().zip(0..).all(|(wait, n)| *wait <= policy.wait(n).to_duration()));
        assert!(waits[11] >= policy.most.to_duration() / 2);
        assert_eq!(backoff.failures(), 12);
        backoff.reset();
        assert!(backoff.next_wait() <= policy.first.to_duration());
    }

    #[test]
    fn equal_seeds_give_equal_waits_and_others_do_not() {
        let waits = |seed| {
            let mut backoff = Backoff::new(BackoffPolicy::default(), seed);
            (0..8).map(|_| backoff.next_wait()).collect::<Vec<_>>()
        };
        assert_eq!(waits(7), waits(7));
        assert_ne!(waits(7), waits(8));
        assert_eq!(seed_of(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_ne!(seed_of(b"ab"), seed_of(b"ba"));
    }
}
