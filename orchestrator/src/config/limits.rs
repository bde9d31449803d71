//! Bounds on what others can make the orchestrator remember and do.

use lode_program::listen::ServeLimits;
use lode_program::{Exit, ExitError};
use lode_protocol::units::{Bytes, Millis};
use serde::Deserialize;

use crate::core::config::{Limits, Rate};
use crate::event_log::Retention;

/// `[limits]`
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default)]
pub struct LimitsConfig {
    /// Tasks that are kept.
    pub tasks: u32,
    /// Keys of nodes that are not known to be registered and said hello within a minute.
    pub unregistered: u32,
    /// Such keys that the chain is asked about in a minute for one IP address, or for one /64 of IPv6.
    pub unregistered_per_address: u32,
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
    /// Reports of one beat that are looked at although they are of nothing that is placed on its node.
    pub foreign_reports: u32,
    /// Entries of the event log about tasks that are kept.
    pub events: usize,
    /// Entries about nodes.
    pub node_events: usize,
    /// Entries about the pool itself.
    pub pool_events: usize,
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
            messages_per_second: limits.messages.per_second,
            message_burst: limits.messages.burst,
            reports_per_second: limits.reports.per_second,
            report_burst: limits.reports.burst,
            report_bytes_per_second: Bytes(limits.report_bytes.per_second.into()),
            report_bytes_burst: Bytes(limits.report_bytes.burst.into()),
            foreign_reports: limits.foreign_reports,
            events: 100_000,
            node_events: 50_000,
            pool_events: 10_000,
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
            age: self.events_age,
        }
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
            ("messages_per_second", self.messages_per_second.into()),
            ("message_burst", self.message_burst.into()),
            ("reports_per_second", self.reports_per_second.into()),
            ("report_burst", self.report_burst.into()),
            ("report_bytes_per_second", self.report_bytes_per_second.0),
            ("report_bytes_burst", self.report_bytes_burst.0),
            ("events_age", self.events_age.0),
        ] {
            if value == 0 {
                let text = format!("limits.{name} is 0: nothing could be done; leave it out for its default");
                return Err(ExitError::new(Exit::BadConfig, text));
            }
        }
        if let Some(name) = self.http.cuts_off() {
            let text = format!("limits.http.{name} is 0: nobody could be answered");
            return Err(ExitError::new(Exit::BadConfig, text));
        }
        Ok(())
    }
}
