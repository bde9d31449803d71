//! Waits between attempts: they double up to a limit, and each is drawn from the upper half, so that a fleet that lost
//! its orchestrator does not return as one wave.

use std::time::Duration;

#[derive(Debug)]
pub(super) struct Backoff {
    initial: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    pub(super) fn new(initial: Duration, max: Duration) -> Self {
        Self { initial, max, next: initial }
    }

    /// The next wait; `random` in 0..1 spreads it over its upper half.
    pub(super) fn wait(&mut self, random: f64) -> Duration {
        let wait = self.next.min(self.max);
        self.next = self.next.saturating_mul(2).min(self.max);
        wait.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
    }

    pub(super) fn reset(&mut self) {
        self.next = self.initial;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_limit_and_start_afresh() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(350));
        let waits: Vec<u128> = (0..4).map(|_| backoff.wait(1.0).as_millis()).collect();
        assert_eq!(waits, [100, 200, 350, 350]);
        assert_eq!(backoff.wait(0.0).as_millis(), 175);
        backoff.reset();
        assert_eq!(backoff.wait(1.0).as_millis(), 100);
    }
}
