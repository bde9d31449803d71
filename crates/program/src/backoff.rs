//! Jittered exponential back-off: a pure type that is given its randomness, and an async helper around it.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

/// How waits grow.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BackoffPolicy {
    /// The first wait, before jitter.
    pub initial: Duration,
    /// No wait is longer than this.
    pub max: Duration,
    /// How much longer each wait is than the one before; below 1 counts as 1.
    pub factor: f64,
}

impl Default for BackoffPolicy {
    /// 200 ms doubling up to 30 s.
    fn default() -> Self {
        Self { initial: Duration::from_millis(200), max: Duration::from_secs(30), factor: 2.0 }
    }
}

/// The state of one sequence of retries. Pure: the same seed gives the same waits.
#[derive(Debug, Clone)]
pub struct Backoff {
    policy: BackoffPolicy,
    attempts: u32,
    random: u64,
}

impl Backoff {
    /// Starts a sequence. Give different callers different seeds, or they all return at the same instant.
    #[must_use]
    pub fn new(policy: BackoffPolicy, seed: u64) -> Self {
        Self { policy, attempts: 0, random: seed }
    }

    /// The next wait: between half and all of the exponential value ("equal jitter"), never above the maximum.
    pub fn next_wait(&mut self) -> Duration {
        let exponent = i32::try_from(self.attempts).unwrap_or(i32::MAX);
        self.attempts = self.attempts.saturating_add(1);
        let longest = self.policy.max.as_secs_f64();
        let grown = self.policy.initial.as_secs_f64() * self.policy.factor.max(1.0).powi(exponent);
        // An infinite product is the maximum, too.
        let full = if grown.is_finite() { grown.min(longest) } else { longest };
        Duration::from_secs_f64(full * (0.5 + 0.5 * self.next_fraction()))
    }

    /// How many waits were handed out since the start or the last success.
    #[must_use]
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Starts over after a success.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }

    /// A number in [0, 1) by SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators").
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit a f64 exactly")]
    fn next_fraction(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        (mixed >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// A seed for [`Backoff`] that differs between processes and calls. For shells only; cores are given theirs.
#[must_use]
pub fn random_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    // RandomState is keyed by the operating system's randomness, a fresh key per call.
    RandomState::new().hash_one(std::process::id())
}

/// Why [`retry`] gave up.
#[derive(Debug, thiserror::Error)]
pub enum RetryError<E: std::error::Error + 'static> {
    /// The error is not one that another try could cure.
    #[error(transparent)]
    Permanent(E),
    /// The deadline passed; the last error, or none if the first try was still running.
    #[error("gave up after {attempts} tries and {waited:?}{}", last.as_ref().map(|error| format!(": {error}")).unwrap_or_default())]
    Deadline {
        /// Tries made.
        attempts: u32,
        /// Time spent.
        waited: Duration,
        /// What the last finished try said.
        #[source]
        last: Option<E>,
    },
}

/// Repeats an operation while it fails with errors that `is_transient` accepts, until it succeeds or the deadline
/// passes. The deadline also cuts off a try that hangs.
pub async fn retry<T, E, F>(
    mut backoff: Backoff,
    deadline: Duration,
    is_transient: impl Fn(&E) -> bool,
    mut operation: impl FnMut() -> F,
) -> Result<T, RetryError<E>>
where
    E: std::error::Error + 'static,
    F: Future<Output = Result<T, E>>,
{
    let started = Instant::now();
    let end = started + deadline;
    let mut attempts = 0;
    let mut last = None;
    loop {
        attempts += 1;
        match tokio::time::timeout_at(end, operation()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) if !is_transient(&error) => return Err(RetryError::Permanent(error)),
            Ok(Err(error)) => last = Some(error),
            Err(_) => return Err(RetryError::Deadline { attempts, waited: started.elapsed(), last }),
        }
        let wait = backoff.next_wait();
        if Instant::now() + wait >= end {
            return Err(RetryError::Deadline { attempts, waited: started.elapsed(), last });
        }
        tokio::time::sleep(wait).await;
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn waits_double_within_their_jitter_and_stop_at_the_maximum() {
        let policy = BackoffPolicy::default();
        for seed in 0..200 {
            let mut backoff = Backoff::new(policy, seed);
            for attempt in 0..2_000_u32 {
                let full = (0.2 * 2_f64.powi(attempt.min(100).cast_signed())).min(30.0);
                let wait = backoff.next_wait().as_secs_f64();
                assert!(wait >= full / 2.0 - 1e-6 && wait <= full + 1e-6, "{attempt}: {wait} of {full}");
            }
            backoff.reset();
            assert!(backoff.next_wait() <= policy.initial);
        }
    }

    #[test]
    fn equal_seeds_give_equal_waits_and_others_do_not() {
        let waits = |seed| {
            let mut backoff = Backoff::new(BackoffPolicy::default(), seed);
            (0..8).map(|_| backoff.next_wait()).collect::<Vec<_>>()
        };
        assert_eq!(waits(7), waits(7));
        assert_ne!(waits(7), waits(8));
    }

    #[tokio::test]
    async fn a_hanging_try_is_cut_off_at_the_deadline() {
        let backoff = Backoff::new(BackoffPolicy::default(), 1);
        let result: Result<(), RetryError<io::Error>> =
            retry(backoff, Duration::from_millis(20), |_| true, std::future::pending).await;
        assert!(matches!(result, Err(RetryError::Deadline { attempts: 1, last: None, .. })));
    }

    #[tokio::test]
    async fn transient_errors_are_retried_and_others_returned_at_once() {
        let policy =
            BackoffPolicy { initial: Duration::from_millis(1), max: Duration::from_millis(2), factor: 2.0 };
        let mut tries = 0;
        let result = retry(
            Backoff::new(policy, 1),
            Duration::from_secs(5),
            |error: &io::Error| error.kind() == io::ErrorKind::TimedOut,
            || {
                tries += 1;
                let outcome = match tries {
                    1 | 2 => Err(io::Error::from(io::ErrorKind::TimedOut)),
                    _ => Err(io::Error::from(io::ErrorKind::NotFound)),
                };
                std::future::ready(outcome as io::Result<()>)
            },
        )
        .await;
        assert!(
            matches!(result, Err(RetryError::Permanent(error)) if error.kind() == io::ErrorKind::NotFound)
        );
        assert_eq!(tries, 3);
    }
}
