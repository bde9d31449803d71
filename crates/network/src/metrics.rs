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
#[derive(Clone, Debug)]
pub struct NetworkMetrics {
    pub(crate) connections: Family<ByDirection, Gauge>,
    pub(crate) refused: Family<ByReason, Counter>,
    pub(crate) evicted: Family<ByReason, Counter>,
    pub(crate) dial_failures: Counter,
    pub(crate) streams_dropped: Counter,
    pub(crate) frames: Family<ByDirection, Counter>,
    pub(crate) bytes: Family<ByDirection, Counter>,
    pub(crate) slow_readers: Counter,
    pub(crate) unfinished: Gauge,
    pub(crate) http_refused: Family<ByReason, Counter>,
    /// The four that every frame counts, looked up once.
    incoming: FrameCounters,
    outgoing: FrameCounters,
}

#[derive(Clone, Debug)]
struct FrameCounters {
    frames: Counter,
    bytes: Counter,
}

impl Default for NetworkMetrics {
    fn default() -> Self {
        let (frames, bytes) =
            (Family::<ByDirection, Counter>::default(), Family::<ByDirection, Counter>::default());
        let of = |direction| FrameCounters {
            frames: frames.get_or_create(&ByDirection { direction }).clone(),
            bytes: bytes.get_or_create(&ByDirection { direction }).clone(),
        };
        Self {
            incoming: of(Direction::Incoming),
            outgoing: of(Direction::Outgoing),
            frames,
            bytes,
            connections: Family::default(),
            refused: Family::default(),
            evicted: Family::default(),
            dial_failures: Counter::default(),
            streams_dropped: Counter::default(),
            slow_readers: Counter::default(),
            unfinished: Gauge::default(),
            http_refused: Family::default(),
        }
    }
}

impl NetworkMetrics {
    /// Makes the counters visible under `network_…`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("network");
        registry.register("connections", "Open libp2p connections", self.connections.clone());
        registry.register("refused_connections", "Connections refused by a limit", self.refused.clone());
        registry.register(
            "evicted_connections",
            "Connections closed to make room, handshakes included",
            self.evicted.clone(),
        );
        registry.register(
            "unfinished_frame_bytes",
            "Memory for unfinished frames of peers without standing",
            self.unfinished.clone(),
        );
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
        let counters = match direction {
            Direction::Incoming => &self.incoming,
            Direction::Outgoing => &self.outgoing,
        };
        counters.frames.inc();
        counters.bytes.inc_by(bytes as u64);
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
