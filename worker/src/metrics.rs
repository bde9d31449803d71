//! The worker's own numbers.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Label of a state.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct StateLabel {
    /// Its name.
    pub state: String,
}

/// Counters and gauges. Clones are the same numbers.
#[derive(Clone, Debug, Default)]
pub struct WorkerMetrics {
    /// Beats sent, without repetitions.
    pub beats: Counter,
    /// Beats answered.
    pub answers: Counter,
    /// Messages that were not accepted by the orchestrator.
    pub refusals: Counter,
    /// Messages that this worker did not accept.
    pub rejected: Counter,
    /// Assignments by state.
    pub assignments: Family<StateLabel, Gauge<i64, std::sync::atomic::AtomicI64>>,
    /// Times that the engine did not answer.
    pub engine_lost: Counter<u64, AtomicU64>,
}

impl WorkerMetrics {
    /// Makes them visible.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("lode_worker_beats", "Beats sent", self.beats.clone());
        registry.register("lode_worker_beat_answers", "Beats answered", self.answers.clone());
        registry.register(
            "lode_worker_refusals",
            "Messages refused by the orchestrator",
            self.refusals.clone(),
        );
        registry.register(
            "lode_worker_rejected",
            "Messages that this worker rejected",
            self.rejected.clone(),
        );
        registry.register("lode_worker_assignments", "Assignments by state", self.assignments.clone());
        registry.register(
            "lode_worker_engine_lost",
            "Times that Docker did not answer",
            self.engine_lost.clone(),
        );
    }
}
