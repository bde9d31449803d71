//! Seeds for the waits between tries ([`lode_protocol::backoff`]), which are pure.

pub use lode_protocol::backoff::{Backoff, BackoffPolicy};

/// A seed for [`Backoff`] that differs between processes and calls. For shells only; cores are given theirs.
#[must_use]
pub fn random_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    // RandomState is keyed by the operating system's randomness, a fresh key per call.
    RandomState::new().hash_one(std::process::id())
}

/// A sequence with a seed of its own.
#[must_use]
pub fn sequence(policy: BackoffPolicy) -> Backoff {
    Backoff::new(policy, random_seed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_of_one_policy_do_not_wait_alike() {
        let waits = || {
            let mut backoff = sequence(BackoffPolicy::default());
            (0..8).map(|_| backoff.next_wait()).collect::<Vec<_>>()
        };
        assert_ne!(waits(), waits());
    }
}
