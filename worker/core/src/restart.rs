//! Back-off of restarts: 10, 20, 40 … seconds, at most 5 minutes; a run of 10 minutes counts as a success and resets it.

use lode_protocol::backoff::BackoffPolicy;
use lode_protocol::task::{Restart, RestartPolicy};
use lode_protocol::units::Millis;

/// Waits before restarts.
pub(crate) const RESTARTS: BackoffPolicy = BackoffPolicy::new(Millis::seconds(10), Millis::seconds(300));
/// A container that ran this long has proven that it can.
pub(crate) const HEALTHY_RUN: Millis = Millis::seconds(600);

/// Whether a container that ended may be started again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// Start it again.
    Restart,
    /// It is over.
    Final,
    /// It failed once too often.
    LimitReached,
}

/// Judges an end by the restart policy.
pub(crate) fn judge(restart: Restart, failed: bool, restarts: u32) -> Verdict {
    let wanted = match restart.policy {
        RestartPolicy::Never => false,
        RestartPolicy::OnFailure => failed,
        RestartPolicy::Always => true,
    };
    if !wanted {
        Verdict::Final
    } else if restart.max_restarts > 0 && restarts >= restart.max_restarts {
        Verdict::LimitReached
    } else {
        Verdict::Restart
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_back_off_doubles_from_ten_seconds_to_five_minutes() {
        let waits: Vec<u64> = (0..7).map(|n| RESTARTS.wait(n).0 / 1_000).collect();
        assert_eq!(waits, [10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn a_policy_restarts_what_it_says_and_no_more_often() {
        let restart = |policy, max_restarts| Restart { policy, max_restarts };
        assert_eq!(judge(restart(RestartPolicy::Never, 0), true, 0), Verdict::Final);
        assert_eq!(judge(restart(RestartPolicy::OnFailure, 2), false, 0), Verdict::Final);
        assert_eq!(judge(restart(RestartPolicy::OnFailure, 2), true, 1), Verdict::Restart);
        assert_eq!(judge(restart(RestartPolicy::OnFailure, 2), true, 2), Verdict::LimitReached);
        assert_eq!(judge(restart(RestartPolicy::Always, 0), false, 1_000), Verdict::Restart);
    }
}
