//! The clock that drivers read, so that the pure cores get numbers and never look at a clock themselves.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lode_protocol::time::Now;
use lode_protocol::units::{Millis, Timestamp};

/// Reads wall and monotonic time. Cheap to copy; copies share the same origin.
#[derive(Debug, Clone, Copy)]
pub struct Clock(Form);

#[derive(Debug, Clone, Copy)]
enum Form {
    System { started: Instant, boot_offset: Duration },
    Manual(&'static Hands),
}

#[derive(Debug)]
struct Hands {
    wall: AtomicU64,
    monotonic: AtomicU64,
}

impl Clock {
    /// A clock of this machine.
    #[must_use]
    pub fn system() -> Self {
        Self(Form::System { started: Instant::now(), boot_offset: boot_time() })
    }

    /// A clock for tests that stands until it is told to move: at `wall`, zero milliseconds after it was made.
    ///
    /// Its sixteen bytes are never given back, so that it can be copied like the other form.
    #[must_use]
    pub fn manual(wall: Timestamp) -> Self {
        let hands = Hands { wall: AtomicU64::new(wall.0), monotonic: AtomicU64::new(0) };
        Self(Form::Manual(Box::leak(Box::new(hands))))
    }

    /// Lets time pass, on both clocks; all copies see it.
    ///
    /// # Panics
    /// If it is the machine's clock: nobody moves that.
    pub fn advance(&self, span: Duration) {
        let hands = self.hands();
        let span = whole_millis(span);
        hands.wall.fetch_add(span, Ordering::SeqCst);
        hands.monotonic.fetch_add(span, Ordering::SeqCst);
    }

    /// Sets the wall clock, forward or back, as an operator or NTP would; the monotonic clock does not notice.
    ///
    /// # Panics
    /// If it is the machine's clock.
    pub fn set_wall(&self, wall: Timestamp) {
        self.hands().wall.store(wall.0, Ordering::SeqCst);
    }

    fn hands(&self) -> &'static Hands {
        match self.0 {
            Form::Manual(hands) => hands,
            Form::System { .. } => unreachable!("only a manual clock is moved"),
        }
    }

    /// Both clocks at once, as cores get them.
    #[must_use]
    pub fn now(&self) -> Now {
        Now { wall: Timestamp(self.wall_millis()), monotonic: Millis(self.monotonic_millis()) }
    }

    /// Milliseconds since the Unix epoch, UTC. May jump; zero if the machine's clock stands before 1970.
    #[must_use]
    pub fn wall_millis(&self) -> u64 {
        match self.0 {
            Form::System { .. } => SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, whole_millis),
            Form::Manual(hands) => hands.wall.load(Ordering::SeqCst),
        }
    }

    /// Milliseconds since this clock was made. Never goes backwards, and counts time in which the machine was
    /// suspended: a lease must not survive a night with the lid closed.
    #[must_use]
    pub fn monotonic_millis(&self) -> u64 {
        match self.0 {
            Form::System { started, boot_offset } => {
                let awake = started.elapsed();
                let with_suspend = boot_time().saturating_sub(boot_offset);
                whole_millis(awake.max(with_suspend))
            }
            Form::Manual(hands) => hands.monotonic.load(Ordering::SeqCst),
        }
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

    #[test]
    fn a_manual_clock_moves_when_it_is_told_to_and_all_copies_with_it() {
        let clock = Clock::manual(Timestamp(5_000));
        let copy = clock;
        let before = clock.now();
        assert_eq!(before, Now { wall: Timestamp(5_000), monotonic: Millis(0) });
        clock.advance(Duration::from_millis(1_500));
        assert_eq!(copy.now(), Now { wall: Timestamp(6_500), monotonic: Millis(1_500) });
        copy.set_wall(Timestamp(10));
        assert_eq!(clock.now(), Now { wall: Timestamp(10), monotonic: Millis(1_500) });
    }
}
