//! Counters of the orchestrator. Labels are bounded: codes are compiled in, states are enums.

use lode_protocol::error_code::ErrorCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::core::view::PoolView;

/// Label of refusals.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct CodeLabel {
    code: String,
}

/// Label of gauges by state.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct StateLabel {
    state: String,
}

/// All counters; clones are the same.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Beats that reached the core.
    pub beats: Counter,
    /// Messages that got no answer because the store was in trouble.
    pub unanswered: Counter,
    /// Seconds per commit.
    pub commits: Histogram,
    /// Commits that failed.
    pub failed_commits: Counter,
    refusals: Family<CodeLabel, Counter>,
    nodes: Family<StateLabel, Gauge>,
    tasks: Family<StateLabel, Gauge>,
    pending: Gauge,
    gpus: Gauge,
    gpus_allocated: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics {
            beats: Counter::default(),
            unanswered: Counter::default(),
            commits: Histogram::new(exponential_buckets(0.000_1, 2.0, 16)),
            failed_commits: Counter::default(),
            refusals: Family::default(),
            nodes: Family::default(),
            tasks: Family::default(),
            pending: Gauge::default(),
            gpus: Gauge::default(),
            gpus_allocated: Gauge::default(),
        }
    }
}

impl Metrics {
    /// Makes them part of `/metrics`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("lode_orchestrator_beats", "Heartbeats that reached the core", self.beats.clone());
        registry.register(
            "lode_orchestrator_unanswered",
            "Worker messages without an answer because nothing could be committed",
            self.unanswered.clone(),
        );
        registry.register("lode_orchestrator_commit_seconds", "Time of one commit", self.commits.clone());
        registry.register(
            "lode_orchestrator_failed_commits",
            "Commits that failed",
            self.failed_commits.clone(),
        );
        registry.register(
            "lode_orchestrator_refusals",
            "Refused worker messages by code",
            self.refusals.clone(),
        );
        registry.register("lode_orchestrator_nodes", "Nodes by state", self.nodes.clone());
        registry.register("lode_orchestrator_tasks", "Tasks by state", self.tasks.clone());
        registry.register(
            "lode_orchestrator_pending_replicas",
            "Replicas that wait for a node",
            self.pending.clone(),
        );
        registry.register("lode_orchestrator_gpus", "GPUs of members", self.gpus.clone());
        registry.register(
            "lode_orchestrator_gpus_allocated",
            "GPUs held by tasks",
            self.gpus_allocated.clone(),
        );
    }

    /// Counts a refusal.
    pub fn refused(&self, code: &ErrorCode) {
        self.refusals.get_or_create(&CodeLabel { code: code.to_string() }).inc();
    }

    /// Sets the gauges to what the pool is like now. States that nothing is in stay visible, as 0.
    pub fn show(&self, pool: &PoolView) {
        use crate::core::view::{NodeState, TaskState};
        const NODES: [NodeState; 7] = [
            NodeState::Joining,
            NodeState::Alive,
            NodeState::Suspect,
            NodeState::Lost,
            NodeState::Draining,
            NodeState::Ejected,
            NodeState::Conflicted,
        ];
        const TASKS: [TaskState; 7] = [
            TaskState::Pending,
            TaskState::Running,
            TaskState::Stopping,
            TaskState::Stopped,
            TaskState::Succeeded,
            TaskState::Failed,
            TaskState::Deleting,
        ];
        for state in NODES {
            let count = pool.nodes.get(&state).copied().unwrap_or_default();
            self.nodes.get_or_create(&label(&state)).set(count.into());
        }
        for state in TASKS {
            let count = pool.tasks.get(&state).copied().unwrap_or_default();
            self.tasks.get_or_create(&label(&state)).set(count.into());
        }
        self.pending.set(pool.pending.into());
        self.gpus.set(pool.gpus.into());
        self.gpus_allocated.set(pool.gpus_allocated.into());
    }
}

fn label(state: &impl std::fmt::Debug) -> StateLabel {
    StateLabel { state: format!("{state:?}").to_lowercase() }
}
