//! Counters of the validator.

use lode_program::health::Health;
use prometheus_client::metrics::counter::Counter;

/// Judged GPUs, by how.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// GPUs that passed.
    pub passed: Counter,
    /// GPUs that failed.
    pub failed: Counter,
}

impl Metrics {
    /// Adds them to `/metrics`.
    pub fn register(&self, health: &Health) {
        health.register_metrics(|registry| {
            registry.register("lode_validator_gpus_passed", "GPUs that passed a proof", self.passed.clone());
            registry.register("lode_validator_gpus_failed", "GPUs that failed a proof", self.failed.clone());
        });
    }
}
