//! Bounds on what others can make the orchestrator remember and do.

use lode_program::listen::ServeLimits;
use lode_program::{Exit, ExitError};
use lode_protocol::units::{Bytes, Millis};
use serde::Deserialize;

use crate::buckets::Pace;
use crate::core::config::{Limits, Rate};
use crate::event_log::Retention;

/// With 32 streams of a node a batch of each is read in a few seconds, far less than its worker waits.
const LEAST_OUTPUT: u64 = 1 << 20;

/// `[limits]`
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Tasks that are kept.
    pub tasks: u32,
    /// Keys of nodes that are not known to be registered and said hello within a minute.
    pub unregistered: u32,
    /// Such keys that the chain is asked about in a minute for one IP address, or for one /64 of IPv6.
    pub unregistered_per_address: u32,
    /// Messages without a session over HTTPS that are verified of one IP address, or of one /64 of IPv6, in the long run.
    pub address_hellos_per_second: u32,
    /// The same at once.
    pub address_hello_burst: u32,
    /// Such messages of all addresses together, in the long run.
    pub hellos_per_second: u32,
    /// The same at once.
    pub hello_burst: u32,
    /// Beats, hellos and leaves of one node, in the long run.
    pub messages_per_second: u32,
    /// The same at once.
    pub message_burst: u32,
    /// Reports in the beats of one node, in the long run.
    pub reports_per_second: u32,
    /// The same at once.
    pub report_burst: u32,
    /// Bytes of texts and descriptions in the beats of one node, in the long run.
    #[serde(with = "lode_protocol::units::size_text")]
    pub report_bytes_per_second: Bytes,
    /// The same at once.
    #[serde(with = "lode_protocol::units::size_text")]
    pub report_bytes_burst: Bytes,
    /// Bytes of tasks' output that are taken of one node, on all of its streams together, in the long run.
    #[serde(with = "lode_protocol::units::size_text")]
    pub output_bytes_per_second: Bytes,
    /// The same at once.
    #[serde(with = "lode_protocol::units::size_text")]
    pub output_bytes_burst: Bytes,
    /// Reports of one beat that are looked at although they are of nothing that is placed on its node.
    pub foreign_reports: u32,
    /// Entries of the event log about tasks that are kept.
    pub events: usize,
    /// Entries about nodes.
    pub node_events: usize,
    /// Entries about the pool itself.
    pub pool_events: usize,
    /// Bytes of the entries about tasks, about as many as they take in the store.
    #[serde(with = "lode_protocol::units::size_text")]
    pub events_bytes: Bytes,
    /// The same about nodes.
    #[serde(with = "lode_protocol::units::size_text")]
    pub node_events_bytes: Bytes,
    /// The same about the pool itself.
    #[serde(with = "lode_protocol::units::size_text")]
    pub pool_events_bytes: Bytes,
    /// Age at which entries are forgotten.
    pub events_age: Millis,
    /// Connections, times and bytes of each HTTP listener.
    pub http: ServeLimits,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        let limits = Limits::default();
        LimitsConfig {
            tasks: limits.tasks,
            unregistered: limits.unregistered,
            unregistered_per_address: limits.unregistered_per_address,
            address_hellos_per_second: 10,
            address_hello_burst: 100,
            hellos_per_second: 1_000,
            hello_burst: 4_000,
            messages_per_second: limits.messages.per_second,
            message_burst: limits.messages.burst,
            reports_per_second: limits.reports.per_second,
            report_burst: limits.reports.burst,
            report_bytes_per_second: Bytes(limits.report_bytes.per_second.into()),
            report_bytes_burst: Bytes(limits.report_bytes.burst.into()),
            output_bytes_per_second: Bytes(64 << 20),
            output_bytes_burst: Bytes(256 << 20),
            foreign_reports: limits.foreign_reports,
            events: 100_000,
            node_events: 50_000,
            pool_events: 10_000,
            events_bytes: Bytes(64 << 20),
            node_events_bytes: Bytes(32 << 20),
            pool_events_bytes: Bytes(8 << 20),
            events_age: Millis::seconds(90 * 24 * 3_600),
            http: ServeLimits::default(),
        }
    }
}

impl LimitsConfig {
    /// What is kept of the event log.
    pub fn retention(&self) -> Retention {
        Retention {
            tasks: self.events,
            nodes: self.node_events,
            pool: self.pool_events,
            task_bytes: self.events_bytes.0,
            node_bytes: self.node_events_bytes.0,
            pool_bytes: self.pool_events_bytes.0,
            age: self.events_age,
        }
    }

    /// What one address may say without a session over HTTPS.
    pub fn address_hellos(&self) -> Pace {
        Pace { per_second: self.address_hellos_per_second.into(), burst: self.address_hello_burst.into() }
    }

    /// What all of them may.
    pub fn hellos(&self) -> Pace {
        Pace { per_second: self.hellos_per_second.into(), burst: self.hello_burst.into() }
    }

    /// How much output is taken of one node.
    pub fn output(&self) -> Pace {
        Pace { per_second: self.output_bytes_per_second.0, burst: self.output_bytes_burst.0 }
    }

    pub(super) fn for_core(&self) -> Limits {
        let bytes = |size: Bytes| u32::try_from(size.0).unwrap_or(u32::MAX);
        Limits {
            tasks: self.tasks,
            unregistered: self.unregistered,
            unregistered_per_address: self.unregistered_per_address,
            messages: Rate { per_second: self.messages_per_second, burst: self.message_burst },
            reports: Rate { per_second: self.reports_per_second, burst: self.report_burst },
            report_bytes: Rate {
                per_second: bytes(self.report_bytes_per_second),
                burst: bytes(self.report_bytes_burst),
            },
            foreign_reports: self.foreign_reports,
            ..Limits::default()
        }
    }

    /// None of these may be nothing: whoever counts by it would let everything through, or nothing at all.
    pub(super) fn validate(&self) -> Result<(), ExitError> {
        for (name, value) in [
            ("unregistered", self.unregistered.into()),
            ("unregistered_per_address", self.unregistered_per_address.into()),
            ("address_hellos_per_second", self.address_hellos_per_second.into()),
            ("address_hello_burst", self.address_hello_burst.into()),
            ("hellos_per_second", self.hellos_per_second.into()),
            ("hello_burst", self.hello_burst.into()),
            ("messages_per_second", self.messages_per_second.into()),
            ("message_burst", self.message_burst.into()),
            ("reports_per_second", self.reports_per_second.into()),
            ("report_burst", self.report_burst.into()),
            ("report_bytes_per_second", self.report_bytes_per_second.0),
            ("report_bytes_burst", self.report_bytes_burst.0),
            ("events_bytes", self.events_bytes.0),
            ("node_events_bytes", self.node_events_bytes.0),
            ("pool_events_bytes", self.pool_events_bytes.0),
            ("events_age", self.events_age.0),
        ] {
            if value == 0 {
                let text = format!("limits.{name} is 0: nothing could be done; leave it out for its default");
                return Err(ExitError::new(Exit::BadConfig, text));
            }
        }
        let output = self.output();
        if output.per_second.min(output.burst) < LEAST_OUTPUT {
            let text = format!(
                "limits.output_bytes_per_second and limits.output_bytes_burst are at least {}: a worker waits so long for its \
                 streams to be read, and gives up then",
                Bytes(LEAST_OUTPUT)
            );
            return Err(ExitError::new(Exit::BadConfig, text));
        }
        if let Some(name) = self.http.cuts_off() {
            let text = format!("limits.http.{name} is 0: nobody could be answered");
            return Err(ExitError::new(Exit::BadConfig, text));
        }
        Ok(())
    }
}
