//! Counters of the validator.

use lode_program::health::Health;
use prometheus_client::metrics::counter::Counter;

/// Judged GPUs by how, and refused events.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// GPUs that passed.
    pub passed: Counter,
    /// GPUs that failed.
    pub failed: Counter,
    /// Entries of directories that did not pass the check.
    pub skipped: Counter,
    /// Events that the core refused.
    pub rejected: Counter,
}

impl Metrics {
    /// Adds them to `/metrics`.
    pub fn register(&self, health: &Health) {
        health.register_metrics(|registry| {
            registry.register("lode_validator_gpus_passed", "GPUs that passed a proof", self.passed.clone());
            let entries = "Entries of directories that did not pass the check";
            registry.register("lode_validator_directory_entries_skipped", entries, self.skipped.clone());
            let events = "Events that the core refused";
            registry.register("lode_validator_events_rejected", events, self.rejected.clone());
            registry.register("lode_validator_gpus_failed", "GPUs that failed a proof", self.failed.clone());
        });
    }
}
