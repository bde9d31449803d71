//! What one node has said lately, against what it may say; who is refused is decided in [`crate::pace`].

use lode_protocol::units::Millis;

use crate::config::{Limits, Rate};

/// Between two entries of the log about refused reports of one node.
const REFUSALS_TOLD: Millis = Millis::seconds(60);

/// How much a message says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Said {
    pub(crate) messages: u32,
    pub(crate) reports: u32,
    pub(crate) bytes: u32,
}

/// What a node has said and time has not paid for yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Pace {
    messages: Bucket,
    reports: Bucket,
    bytes: Bucket,
}

impl Pace {
    /// How long to wait before so much may be said; `None`: it may be said now.
    pub(crate) fn wait(&self, now: Millis, limits: &Limits, said: Said) -> Option<Millis> {
        let messages = self.messages.wait(now, limits.messages, said.messages);
        let reports = self.reports.wait(now, limits.reports, said.reports);
        let bytes = self.bytes.wait(now, limits.report_bytes, said.bytes);
        messages.max(reports).max(bytes)
    }

    /// It was said.
    pub(crate) fn take(&mut self, now: Millis, limits: &Limits, said: Said) {
        self.messages.take(now, limits.messages, said.messages);
        self.reports.take(now, limits.reports, said.reports);
        self.bytes.take(now, limits.report_bytes, said.bytes);
    }
}

/// A token bucket, by what is missing in it: thousandths of a token, of which one second brings a thousand for each token
/// of the rate.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Bucket {
    missing: u64,
    at: Millis,
}

impl Bucket {
    fn missing_at(&self, now: Millis, rate: Rate) -> u64 {
        let brought = now.0.saturating_sub(self.at.0).saturating_mul(rate.per_second.into());
        self.missing.saturating_sub(brought)
    }

    fn wait(&self, now: Millis, rate: Rate, cost: u32) -> Option<Millis> {
        let after = self.missing_at(now, rate).saturating_add(thousandths(cost, rate));
        let beyond = after.saturating_sub(thousandths(rate.burst, rate));
        (beyond > 0 && cost > 0).then(|| Millis(beyond.div_ceil(u64::from(rate.per_second.max(1)))))
    }

    fn take(&mut self, now: Millis, rate: Rate, cost: u32) {
        let after = self.missing_at(now, rate).saturating_add(thousandths(cost, rate));
        *self = Bucket { missing: after.min(thousandths(rate.burst, rate)), at: now };
    }
}

/// Nothing costs more than a full bucket: else it could never be said.
fn thousandths(tokens: u32, rate: Rate) -> u64 {
    u64::from(tokens.min(rate.burst)).saturating_mul(1_000)
}

/// Refused reports of a node, as far as the log has not told of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Refusals {
    untold: u32,
    told_at: Option<Millis>,
}

impl Refusals {
    /// One more; how many the log is to tell of now, if it is.
    pub(crate) fn another(&mut self, now: Millis) -> Option<u32> {
        self.untold = self.untold.saturating_add(1);
        if self.told_at.is_some_and(|told| now.0.saturating_sub(told.0) < REFUSALS_TOLD.0) {
            return None;
        }
        self.told_at = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 4, burst: 20 };

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let mut bucket = Bucket::default();
        let mut taken = 0;
        for millis in 0..10_000 {
            for _ in 0..3 {
                if bucket.wait(Millis(millis), RATE, 1).is_none() {
                    bucket.take(Millis(millis), RATE, 1);
                    taken += 1;
                }
            }
        }
        assert_eq!(taken, 20 + 39);
        let wait = bucket.wait(Millis(10_000), RATE, 20).unwrap();
        assert!(bucket.wait(Millis(10_000 + wait.0), RATE, 20).is_none());
        assert!(bucket.wait(Millis(10_000 + wait.0 - 1), RATE, 20).is_some());
    }

    #[test]
    fn what_is_larger_than_a_bucket_takes_all_of_it_and_can_still_be_said() {
        let mut bucket = Bucket::default();
        assert_eq!(bucket.wait(Millis(1), RATE, 1_000), None);
        bucket.take(Millis(1), RATE, 1_000);
        assert_eq!(bucket.wait(Millis(1), RATE, 1_000), Some(Millis::seconds(5)));
        assert_eq!(bucket.wait(Millis(1), RATE, 0), None, "what says nothing waits for nothing");
    }

    #[test]
    fn refusals_are_told_once_a_minute_with_their_number() {
        let mut refusals = Refusals::default();
        let told: Vec<_> =
            (0..180_u64).filter_map(|second| refusals.another(Millis::seconds(second))).collect();
        assert_eq!(told, [1, 60, 60]);
    }
}
