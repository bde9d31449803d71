//! Whether the host's kernel has killed programs for want of memory about the end of a container. An engine tells of that
//! only where a limit of the container's own was reached.
//!
//! The kernel counts such kills for the whole host (`oom_kill` of `/proc/vmstat`). The count is noted again and again while
//! a container is waited for, and compared when it has ended.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::core::event::ContainerId;

/// The last two counts noted of one container: the end may come at any moment after the last one.
#[derive(Clone, Copy, Debug)]
struct Noted {
    before: u64,
    last: u64,
}

/// Counts, by container that is waited for.
#[derive(Debug, Default)]
pub(super) struct OomKills(Mutex<BTreeMap<String, Noted>>);

impl OomKills {
    /// A container runs.
    pub(super) fn note(&self, container: &ContainerId) {
        if let Some(count) = count() {
            self.note_count(container, count);
        }
    }

    /// Whether the count rose since it was noted the time before last. Forgets the container.
    pub(super) fn rose_before_the_end_of(&self, container: &ContainerId) -> bool {
        let noted = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&container.0);
        noted.zip(count()).is_some_and(|(noted, now)| now > noted.before)
    }

    /// Nobody waits for it any more.
    pub(super) fn forget(&self, container: &ContainerId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&container.0);
    }

    fn note_count(&self, container: &ContainerId, count: u64) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let noted = all.entry(container.0.clone()).or_insert(Noted { before: count, last: count });
        *noted = Noted { before: noted.last, last: count };
    }
}

fn count() -> Option<u64> {
    oom_kills(&std::fs::read_to_string("/proc/vmstat").ok()?)
}

fn oom_kills(vmstat: &str) -> Option<u64> {
    vmstat.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_kills_about_the_end_count() {
        assert_eq!(oom_kills("nr_free 5\noom_kill 7\noom_kill_x 9\n"), Some(7));
        assert_eq!(oom_kills("nr_free 5\n"), None);
        let (kills, container) = (OomKills::default(), ContainerId("c".to_owned()));
        assert!(!kills.rose_before_the_end_of(&container), "never waited for");
        let now = count().expect("the kernel counts kills");
        if let Some(earlier) = now.checked_sub(1) {
            kills.note_count(&container, earlier);
            assert!(kills.rose_before_the_end_of(&container));
            // Long ago: it was noted twice since.
            for noted in [earlier, now, now] {
                kills.note_count(&container, noted);
            }
            assert!(!kills.rose_before_the_end_of(&container) || count() > Some(now));
        }
        kills.note(&container);
        kills.forget(&container);
        assert!(!kills.rose_before_the_end_of(&container), "it is forgotten");
    }
}
