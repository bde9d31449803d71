//! The limits of one listener. Each is a setting, each has a default that fits a machine of 1 GiB.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{byte_size, duration};

/// Limits of one listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServeLimits {
    /// Connections at one time. A newcomer beyond takes the place of the oldest connection that waits for a request's
    /// head; where there is none it waits.
    pub max_connections: usize,
    /// Connections at one time from one IPv4 address or one IPv6 /64; further ones are closed at once. Loopback (a proxy, or
    /// this machine itself) may have all of them.
    pub max_connections_per_address: usize,
    /// Of these, so many that were answered are kept for a further request; beyond, the one that has waited longest is
    /// closed.
    pub max_idle_connections: usize,
    /// Bytes of first heads that have not come whole, of all connections together; beyond, the oldest give way.
    #[serde(with = "byte_size")]
    pub max_unfinished_heads: u64,
    /// Refusals (401, 429, sealed ones) of one IPv4 address or one IPv6 /64 in a second that are answered at once.
    pub refusals_per_second: u32,
    /// The same at once.
    pub refusal_burst: u32,
    /// Longest time for which the answer to whoever is refused more often waits.
    #[serde(with = "duration")]
    pub refusal_delay: Duration,
    /// For a TLS handshake.
    #[serde(with = "duration")]
    pub handshake_timeout: Duration,
    /// For the first byte of a new connection.
    #[serde(with = "duration")]
    pub first_byte_timeout: Duration,
    /// For a request's head to be there whole, counted from when it is waited for: also on a keep-alive connection, where
    /// its first byte falls under the same limit.
    #[serde(with = "duration")]
    pub header_timeout: Duration,
    /// For each silence within a request's body.
    #[serde(with = "duration")]
    pub body_timeout: Duration,
    /// For a request's whole body, counted from its head.
    #[serde(with = "duration")]
    pub whole_body_timeout: Duration,
    /// For each time in which there is something to send and the other side takes nothing.
    #[serde(with = "duration")]
    pub write_timeout: Duration,
    /// For running requests to finish at shutdown.
    #[serde(with = "duration")]
    pub drain_timeout: Duration,
    /// Largest request body, in bytes, unless a route sets its own limit.
    pub max_body_bytes: usize,
    /// Bytes of answers that may wait to be sent, of all connections together.
    #[serde(with = "byte_size")]
    pub max_unsent: u64,
    /// The same of one IPv4 address or one IPv6 /64; loopback may have all of it.
    #[serde(with = "byte_size")]
    pub max_unsent_per_address: u64,
}

impl ServeLimits {
    /// The name of a time that is 0 and by that ends every connection, if there is one. `drain_timeout` may be.
    #[must_use]
    pub fn cuts_off(&self) -> Option<&'static str> {
        let times = [
            ("handshake_timeout", self.handshake_timeout),
            ("first_byte_timeout", self.first_byte_timeout),
            ("header_timeout", self.header_timeout),
            ("body_timeout", self.body_timeout),
            ("whole_body_timeout", self.whole_body_timeout),
            ("write_timeout", self.write_timeout),
        ];
        times.into_iter().find(|(_, time)| time.is_zero()).map(|(name, _)| name)
    }
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self {
            max_connections: 4096,
            max_connections_per_address: 1024,
            max_idle_connections: 256,
            max_unfinished_heads: 2 << 20,
            refusals_per_second: 20,
            refusal_burst: 100,
            refusal_delay: Duration::from_secs(1),
            handshake_timeout: Duration::from_secs(10),
            first_byte_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(15),
            whole_body_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(5),
            max_body_bytes: 1 << 20,
            max_unsent: 256 << 20,
            max_unsent_per_address: 16 << 20,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_is_nothing_is_named_and_the_defaults_have_none() {
        assert_eq!(ServeLimits::default().cuts_off(), None);
        let limits = ServeLimits { write_timeout: Duration::ZERO, ..ServeLimits::default() };
        assert_eq!(limits.cuts_off(), Some("write_timeout"));
        let limits = ServeLimits { drain_timeout: Duration::ZERO, ..ServeLimits::default() };
        assert_eq!(limits.cuts_off(), None, "who stops need not wait");
    }
}
