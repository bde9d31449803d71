//! Registries that say that they have answered enough are left alone for as long as they say, within reason.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::core::event::Unpinned;

/// How long one is left alone that does not say how long.
const USUAL: Duration = Duration::from_secs(60);
/// No word of a registry's keeps it from being asked for longer.
const LONGEST: Duration = Duration::from_secs(3_600);
/// Registries remembered.
const MOST: usize = 256;

/// The registries that take no more requests for now.
#[derive(Debug, Default)]
pub(super) struct Limits(Mutex<HashMap<String, Rest>>);

/// Until when, and what is said meanwhile.
#[derive(Clone, Debug)]
struct Rest {
    until: Instant,
    said: Unpinned,
}

impl Limits {
    /// What is said of a registry that is left alone.
    pub(super) fn in_force(&self, registry: &str) -> Option<Unpinned> {
        let rows = self.rows();
        rows.get(registry).filter(|rest| rest.until > Instant::now()).map(|rest| rest.said.clone())
    }

    /// It takes no more requests; `wait` is its own word.
    pub(super) fn leave_alone(&self, registry: &str, wait: Option<Duration>, said: Unpinned) {
        let now = Instant::now();
        let mut rows = self.rows();
        rows.retain(|_, rest| rest.until > now);
        if rows.len() < MOST {
            let until = now + wait.unwrap_or(USUAL).min(LONGEST);
            rows.insert(registry.to_owned(), Rest { until, said });
        }
    }

    fn rows(&self) -> MutexGuard<'_, HashMap<String, Rest>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said() -> Unpinned {
        Unpinned { code: "image/rate-limited".into(), message: "enough".to_owned() }
    }

    #[test]
    fn a_registry_that_has_answered_enough_is_left_alone_as_long_as_it_says_but_for_an_hour_at_most() {
        let limits = Limits::default();
        let until = |registry: &str| limits.rows()[registry].until.saturating_duration_since(Instant::now());
        assert_eq!(limits.in_force("r.example"), None);
        limits.leave_alone("r.example", None, said());
        assert_eq!(limits.in_force("r.example"), Some(said()));
        assert_eq!(limits.in_force("other.example"), None);
        assert!(until("r.example") <= USUAL);
        limits.leave_alone("far.example", Some(Duration::from_secs(86_400)), said());
        assert!(until("far.example") <= LONGEST && until("far.example") > USUAL);
        limits.leave_alone("now.example", Some(Duration::ZERO), said());
        assert_eq!(limits.in_force("now.example"), None);
    }

    #[test]
    fn no_more_registries_are_remembered_than_there_is_room_for() {
        let limits = Limits::default();
        for number in 0..2 * MOST {
            limits.leave_alone(&format!("r{number}.example"), None, said());
        }
        assert_eq!(limits.rows().len(), MOST);
    }
}
