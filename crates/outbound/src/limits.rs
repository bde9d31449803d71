//! How much of an answer is read, and how long that may take: no server holds its reader up by being slow, not even by
//! sending a byte now and then.

use std::time::Duration;

/// A server that does not take a connection by then is not there.
pub(super) const CONNECT: Duration = Duration::from_secs(10);

/// Bounds on one request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutboundLimits {
    /// From dialling to the last line of the answer's head, for each redirect anew.
    pub head: Duration,
    /// Between two pieces of the body.
    pub idle: Duration,
    /// For all of it.
    pub whole: Duration,
    /// Bytes a second of the body.
    pub least_rate: u64,
    /// From when on the rate counts: connections begin slowly.
    pub grace: Duration,
    /// Bytes of the body.
    pub most_bytes: usize,
}

impl OutboundLimits {
    /// The usual bounds on an answer of at most so many bytes that may take so long.
    #[must_use]
    pub fn new(most_bytes: usize, whole: Duration) -> Self {
        let step = whole.min(Duration::from_secs(10));
        Self { head: step, idle: step, whole, least_rate: 1_024, grace: Duration::from_secs(5), most_bytes }
    }

    /// Whether so many bytes in such a time are too few.
    pub(super) fn is_too_slow(&self, bytes: usize, taken: Duration) -> bool {
        let bytes = u128::try_from(bytes).unwrap_or(u128::MAX);
        taken > self.grace && bytes.saturating_mul(1_000) < u128::from(self.least_rate) * taken.as_millis()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_counts_after_a_while() {
        let limits =
            OutboundLimits { least_rate: 100, ..OutboundLimits::new(1_000, Duration::from_secs(60)) };
        assert!(!limits.is_too_slow(0, limits.grace));
        assert!(!limits.is_too_slow(1_000, Duration::from_secs(10)));
        assert!(limits.is_too_slow(999, Duration::from_secs(10)));
        let any = OutboundLimits { least_rate: 0, ..limits };
        assert!(!any.is_too_slow(0, Duration::from_secs(50)));
    }

    #[test]
    fn no_step_may_take_longer_than_the_whole() {
        let limits = OutboundLimits::new(1, Duration::from_secs(3));
        assert_eq!((limits.head, limits.idle), (limits.whole, limits.whole));
        let limits = OutboundLimits::new(1, Duration::from_secs(60));
        assert!(limits.head < limits.whole && limits.idle < limits.whole);
    }
}
