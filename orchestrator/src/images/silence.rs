//! Registries that do not answer are left alone, longer each time, so that none that is away slows submissions down. Where one
//! is tried again, one submission waits for it, and shortly.
//!
//! That a registry of a tenant's choice is away is the tenant's business. That one everybody uses, or one that the operator
//! lists by its port, does not answer says something of the way out of here: it is a finding.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lode_network::Trust;
use lode_program::finding::{Finding, FindingSet};

/// How long one that did not answer is left alone, the first time.
const SHORTEST: Duration = Duration::from_secs(30);
/// And at most.
const LONGEST: Duration = Duration::from_secs(30 * 60);
/// For so long one is waited for that did not answer before.
const BRIEFLY: Duration = Duration::from_secs(1);
/// Registries remembered.
const MOST: usize = 256;
/// Registries that everybody uses.
const USUAL: [&str; 5] = ["docker.io", "ghcr.io", "nvcr.io", "quay.io", "registry.k8s.io"];
const CODE: &str = "image/registry-unreachable";

/// The registries that did not answer when they were asked last.
#[derive(Debug, Default)]
pub(super) struct Silences(Mutex<HashMap<String, Silence>>);

#[derive(Clone, Copy, Debug)]
struct Silence {
    /// How often in a row.
    times: u32,
    until: Instant,
}

impl Silences {
    /// How long a registry may be waited for; `None`: it is left alone.
    pub(super) fn patience(&self, registry: &str, usual: Duration) -> Option<Duration> {
        let now = Instant::now();
        let mut rows = self.rows();
        let Some(silence) = rows.get_mut(registry) else { return Some(usual) };
        if silence.until > now {
            return None;
        }
        // Nobody else waits for it meanwhile.
        silence.until = now + SHORTEST;
        Some(usual.min(BRIEFLY))
    }

    /// It did not answer.
    pub(super) fn silent(&self, registry: &str, trust: &Trust, findings: Option<&FindingSet>) {
        let now = Instant::now();
        let mut rows = self.rows();
        rows.retain(|_, silence| silence.until + LONGEST > now);
        let times = rows.get(registry).map_or(0, |silence| silence.times);
        if times > 0 || rows.len() < MOST {
            let wait = SHORTEST.saturating_mul(1 << times.min(16)).min(LONGEST);
            let times = times.saturating_add(1);
            rows.insert(registry.to_owned(), Silence { times, until: now + wait });
        }
        drop(rows);
        if let Some(findings) = findings.filter(|_| USUAL.contains(&registry) || trust.names(registry)) {
            let message =
                format!("{registry} does not answer: images of it are not pinned when tasks are submitted");
            findings.raise(Finding::warning(CODE, message).about(registry).remedy(
                "Check the way to it. Where this machine reaches the internet by a proxy only, set images.proxy; where it \
                 shall ask no registries, images.resolve = false.",
            ));
        }
    }

    /// It answered, whatever it said.
    pub(super) fn answered(&self, registry: &str, findings: Option<&FindingSet>) {
        self.rows().remove(registry);
        if let Some(findings) = findings {
            findings.clear(CODE, registry);
        }
    }

    fn rows(&self) -> MutexGuard<'_, HashMap<String, Silence>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use lode_program::clock::Clock;

    use super::*;

    const USUALLY: Duration = Duration::from_secs(5);

    fn nobody() -> Trust {
        Trust::hosts(&[], &["own.lan:5000".to_owned()])
    }

    /// As if its rest were over.
    fn rested(silences: &Silences, registry: &str) {
        silences.rows().get_mut(registry).unwrap().until = Instant::now();
    }

    fn rest(silences: &Silences, registry: &str) -> Duration {
        silences.rows()[registry].until.saturating_duration_since(Instant::now())
    }

    #[test]
    fn a_silent_registry_is_left_alone_longer_each_time_and_waited_for_shortly_by_one() {
        let (silences, trust) = (Silences::default(), nobody());
        assert_eq!(silences.patience("r.example", USUALLY), Some(USUALLY));
        silences.silent("r.example", &trust, None);
        assert_eq!(silences.patience("r.example", USUALLY), None);
        assert_eq!(silences.patience("other.example", USUALLY), Some(USUALLY));
        let mut before = rest(&silences, "r.example");
        for _ in 0..4 {
            rested(&silences, "r.example");
            assert_eq!(silences.patience("r.example", USUALLY), Some(BRIEFLY));
            assert_eq!(silences.patience("r.example", USUALLY), None, "one waits for it");
            silences.silent("r.example", &trust, None);
            let now = rest(&silences, "r.example");
            assert!(now > before + before / 2 && now <= LONGEST, "{now:?} after {before:?}");
            before = now;
        }
        silences.answered("r.example", None);
        assert_eq!(silences.patience("r.example", USUALLY), Some(USUALLY));
    }

    #[test]
    fn a_registry_that_everybody_uses_or_the_operator_lists_is_one_finding_while_it_is_silent() {
        let (silences, trust) = (Silences::default(), nobody());
        let findings = FindingSet::new(Clock::system());
        for _ in 0..3 {
            for registry in ["docker.io", "own.lan:5000", "of-a-tenant.example"] {
                silences.silent(registry, &trust, Some(&findings));
            }
        }
        let mut raised: Vec<String> =
            findings.list().into_iter().map(|current| current.finding.subject).collect();
        raised.sort();
        assert_eq!(raised, ["docker.io", "own.lan:5000"]);
        silences.answered("docker.io", Some(&findings));
        silences.answered("own.lan:5000", Some(&findings));
        assert!(findings.list().is_empty());
    }

    #[test]
    fn no_more_registries_are_remembered_than_there_is_room_for() {
        let (silences, trust) = (Silences::default(), nobody());
        for number in 0..2 * MOST {
            silences.silent(&format!("r{number}.example"), &trust, None);
        }
        assert_eq!(silences.rows().len(), MOST);
    }
}
