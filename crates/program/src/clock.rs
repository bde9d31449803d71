//! The clock that drivers read, so that the pure cores get numbers and never look at a clock themselves.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Reads wall and monotonic time. Cheap to clone; clones share the same origin.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    started: Instant,
    boot_offset: Duration,
}

impl Clock {
    /// A clock of this machine.
    #[must_use]
    pub fn system() -> Self {
        Self { started: Instant::now(), boot_offset: boot_time() }
    }

    /// Milliseconds since the Unix epoch, UTC. May jump; zero if the machine's clock stands before 1970.
    #[must_use]
    pub fn wall_millis(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, whole_millis)
    }

    /// Milliseconds since this clock was made. Never goes backwards, and counts time in which the machine was
    /// suspended: a lease must not survive a night with the lid closed.
    #[must_use]
    pub fn monotonic_millis(&self) -> u64 {
        let awake = self.started.elapsed();
        let with_suspend = boot_time().saturating_sub(self.boot_offset);
        whole_millis(awake.max(with_suspend))
    }
}

fn whole_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// CLOCK_BOOTTIME: CLOCK_MONOTONIC plus suspended time (clock_gettime(2)).
fn boot_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn monotonic_time_starts_near_zero_and_never_decreases() {
        let clock = Clock::system();
        let mut last = clock.monotonic_millis();
        assert!(last < 1_000);
        for _ in 0..10_000 {
            let now = clock.monotonic_millis();
            assert!(now >= last);
            last = now;
        }
    }

    #[test]
    fn wall_time_is_after_this_was_written() {
        assert!(Clock::system().wall_millis() > 1_760_000_000_000);
    }
}
