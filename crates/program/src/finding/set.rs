//! The findings of a running program that hold now.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lode_protocol::error_code::ErrorCode;
use serde::{Deserialize, Serialize};

use super::{Finding, Severity};
use crate::clock::Clock;

/// A finding that holds, and since when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CurrentFinding {
    /// What is so.
    #[serde(flatten)]
    pub finding: Finding,
    /// Milliseconds since the Unix epoch at which it was first raised without a break.
    pub since_millis: u64,
}

/// Findings keyed by (code, subject): raising one again updates it, clearing it removes it. Cheap to clone; all
/// clones are the same set. Raising and clearing are logged once, when something changes.
#[derive(Debug, Clone)]
pub struct FindingSet {
    clock: Clock,
    rows: Arc<Mutex<BTreeMap<(ErrorCode, String), CurrentFinding>>>,
}

impl FindingSet {
    /// An empty set.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { clock, rows: Arc::default() }
    }

    /// Says that this holds. True if it is new (not merely reworded).
    pub fn raise(&self, finding: Finding) -> bool {
        let now = self.clock.wall_millis();
        let key = (finding.code.clone(), finding.subject.clone());
        let mut rows = self.lock();
        let known = rows.get(&key);
        let same_severity = known.is_some_and(|row| row.finding.severity == finding.severity);
        let since_millis = known.map_or(now, |row| row.since_millis);
        let new = known.is_none();
        if !same_severity {
            log(&finding);
        }
        rows.insert(key, CurrentFinding { finding, since_millis });
        new
    }

    /// Says that it no longer holds. True if it did.
    pub fn clear(&self, code: impl Into<ErrorCode>, subject: &str) -> bool {
        let code = code.into();
        let removed = self.lock().remove(&(code, subject.to_owned()));
        if let Some(row) = &removed {
            tracing::info!(code = %row.finding.code, subject = %row.finding.subject, "finding cleared");
        }
        removed.is_some()
    }

    /// Clears every finding with this code, whatever it is about. Returns how many there were.
    pub fn clear_code(&self, code: impl Into<ErrorCode>) -> usize {
        let code = code.into();
        let mut rows = self.lock();
        let before = rows.len();
        rows.retain(|(other, _), _| *other != code);
        let cleared = before - rows.len();
        if cleared > 0 {
            tracing::info!(%code, count = cleared, "findings cleared");
        }
        cleared
    }

    /// Makes the findings of one code exactly these: raises what is new, clears what is gone.
    pub fn replace_code(&self, code: impl Into<ErrorCode>, findings: impl IntoIterator<Item = Finding>) {
        let code = code.into();
        let mut kept = std::collections::BTreeSet::new();
        for mut finding in findings {
            finding.code = code.clone();
            kept.insert(finding.subject.clone());
            self.raise(finding);
        }
        let gone: Vec<String> = self
            .lock()
            .keys()
            .filter(|(other, subject)| *other == code && !kept.contains(subject))
            .map(|(_, subject)| subject.clone())
            .collect();
        for subject in gone {
            self.clear(code.clone(), &subject);
        }
    }

    /// All that hold now, worst first.
    #[must_use]
    pub fn list(&self) -> Vec<CurrentFinding> {
        let mut rows: Vec<CurrentFinding> = self.lock().values().cloned().collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.finding.severity));
        rows
    }

    /// The worst that holds now.
    #[must_use]
    pub fn worst(&self) -> Option<Severity> {
        self.lock().values().map(|row| row.finding.severity).max()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(ErrorCode, String), CurrentFinding>> {
        // A panic elsewhere cannot leave a map half-written: each change is one insert or remove.
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn log(finding: &Finding) {
    let Finding { code, severity, subject, message, remedy } = finding;
    match severity {
        Severity::Error => tracing::error!(%code, %subject, %remedy, "{message}"),
        Severity::Warning => tracing::warn!(%code, %subject, %remedy, "{message}"),
        Severity::Info => tracing::info!(%code, %subject, %remedy, "{message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_raised_again_keeps_its_start_and_takes_the_new_words() {
        let set = FindingSet::new(Clock::system());
        assert!(set.raise(Finding::warning("disk/low", "10 GiB left").about("/data")));
        let since = set.list()[0].since_millis;
        assert!(!set.raise(Finding::error("disk/low", "1 GiB left").about("/data")));
        let rows = set.list();
        assert_eq!((rows.len(), rows[0].since_millis), (1, since));
        assert_eq!(rows[0].finding.message, "1 GiB left");
        assert_eq!(set.worst(), Some(Severity::Error));
        assert!(!set.clear("disk/low", "/other"));
        assert!(set.clear("disk/low", "/data"));
        assert_eq!(set.worst(), None);
    }

    #[test]
    fn replacing_a_code_clears_the_subjects_that_are_gone() {
        let set = FindingSet::new(Clock::system());
        set.raise(Finding::error("gpu/lost", "gone").about("GPU-1"));
        set.raise(Finding::error("gpu/other", "stays").about("GPU-1"));
        set.replace_code("gpu/lost", [Finding::error("gpu/lost", "gone").about("GPU-2")]);
        let subjects: Vec<_> =
            set.list().into_iter().map(|row| (row.finding.code.to_string(), row.finding.subject)).collect();
        assert_eq!(
            subjects,
            [("gpu/lost".to_owned(), "GPU-2".to_owned()), ("gpu/other".to_owned(), "GPU-1".to_owned())]
        );
    }
}
