//! Counters of the network room. Labels come from fixed sets, never from peers.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, EncodeLabelValue)]
pub(crate) enum Direction {
    Incoming,
    Outgoing,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub(crate) struct ByDirection {
    pub(crate) direction: Direction,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub(crate) struct ByReason {
    /// A stable code, or another word of a fixed set.
    pub(crate) reason: &'static str,
}

/// Counters of one program's network; clones share them.
#[derive(Clone, Debug, Default)]
pub struct NetworkMetrics {
    pub(crate) connections: Family<ByDirection, Gauge>,
    pub(crate) refused: Family<ByReason, Counter>,
    pub(crate) evicted: Family<ByReason, Counter>,
    pub(crate) dial_failures: Counter,
    pub(crate) streams_dropped: Counter,
    pub(crate) frames: Family<ByDirection, Counter>,
    pub(crate) bytes: Family<ByDirection, Counter>,
    pub(crate) slow_readers: Counter,
    pub(crate) http_refused: Family<ByReason, Counter>,
}

impl NetworkMetrics {
    /// Makes the counters visible under `network_…`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("network");
        registry.register("connections", "Open libp2p connections", self.connections.clone());
        registry.register("refused_connections", "Connections refused by a limit", self.refused.clone());
        registry.register("evicted_connections", "Connections closed to make room", self.evicted.clone());
        registry.register("dial_failures", "Dials that failed", self.dial_failures.clone());
        registry.register(
            "dropped_streams",
            "Incoming streams dropped because nobody took them in time",
            self.streams_dropped.clone(),
        );
        registry.register("frames", "Frames carried by peer links, both transports", self.frames.clone());
        registry.register("frame_bytes", "Bytes in those frames", self.bytes.clone());
        registry.register(
            "slow_readers",
            "Peers dropped because they did not read",
            self.slow_readers.clone(),
        );
        registry.register(
            "http_refused",
            "Requests of the HTTPS fallback refused",
            self.http_refused.clone(),
        );
    }

    pub(crate) fn frame(&self, direction: Direction, bytes: usize) {
        self.frames.get_or_create(&ByDirection { direction }).inc();
        self.bytes.get_or_create(&ByDirection { direction }).inc_by(bytes as u64);
    }

    pub(crate) fn refuse(&self, reason: &'static str) {
        self.refused.get_or_create(&ByReason { reason }).inc();
    }

    pub(crate) fn evict(&self, reason: &'static str) {
        self.evicted.get_or_create(&ByReason { reason }).inc();
    }

    pub(crate) fn refuse_http(&self, reason: &'static str) {
        self.http_refused.get_or_create(&ByReason { reason }).inc();
    }
}
