//! What an endpoint bears: of all peers, of those without standing, and of slow ones.
//!
//! A peer has standing on a connection when the program has vouched for it ([`super::Endpoint::vouch`]), and on every
//! connection that we made ourselves. What a peer without standing can take is bounded for all of them together, so that
//! a crowd of strangers costs what one bound says and not what the crowd wants.

use lode_protocol::units::{Bytes, Millis};
use serde::Deserialize;

/// How many incoming connections are borne.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnectionLimits {
    /// Established incoming connections.
    pub incoming: usize,
    /// Established incoming connections of one address: of an IPv4 address, or of an IPv6 /64.
    pub per_address: usize,
    /// Established incoming connections of one peer.
    pub per_peer: usize,
    /// Streams open at once on one connection, in both directions together.
    pub streams_per_connection: usize,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self { incoming: 10_000, per_address: 256, per_peer: 4, streams_per_connection: 64 }
    }
}

/// What is borne of peers without standing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StrangerLimits {
    /// Handshakes under way at once. One more, and the oldest gives way, if it has had a little time.
    pub handshakes: usize,
    /// Of these, from one network: an IPv4 /24 or an IPv6 /64.
    pub handshakes_per_network: usize,
    /// Of one network, so many in a second are begun at once, in the long run; at once as many as may be under way. Further
    /// ones wait, unless their address is remembered.
    pub handshakes_per_second: u32,
    /// Longest time for the handshake of an incoming connection.
    pub handshake_timeout: Millis,
    /// Longest time until the first frame of a stream begins, where its opener has to speak first. A connection on which no
    /// stream was opened in this time gives way before others.
    pub first_frame: Millis,
    /// Longest time until the program must have vouched for a connection.
    pub patience: Millis,
    /// Memory for unfinished frames, for all peers without standing together.
    #[serde(with = "lode_protocol::units::size_text")]
    pub unfinished_frames: Bytes,
    /// Addresses of peers with standing that are remembered: they give way last.
    pub remembered_addresses: usize,
}

impl Default for StrangerLimits {
    fn default() -> Self {
        Self {
            handshakes: 512,
            handshakes_per_network: 128,
            handshakes_per_second: 50,
            // Three round trips and some arithmetic: enough over a satellite (0.8 s each) with one packet lost.
            handshake_timeout: Millis::seconds(5),
            first_frame: Millis::seconds(10),
            patience: Millis::seconds(120),
            unfinished_frames: Bytes::mebi(8),
            remembered_addresses: 16_384,
        }
    }
}

impl StrangerLimits {
    /// The name of a setting that is 0 and by that keeps everybody out, if there is one.
    pub fn shuts_out(&self) -> Option<&'static str> {
        let values = [
            ("handshakes", self.handshakes as u64),
            ("handshakes_per_network", self.handshakes_per_network as u64),
            ("handshakes_per_second", self.handshakes_per_second.into()),
            ("handshake_timeout", self.handshake_timeout.0),
            ("first_frame", self.first_frame.0),
            ("patience", self.patience.0),
            ("unfinished_frames", self.unfinished_frames.0),
        ];
        values.into_iter().find(|(_, value)| *value == 0).map(|(name, _)| name)
    }
}

/// How slow a frame may be, from anybody: once it has begun, it must be whole after `grace`, and after the time that it
/// takes at the slowest rate.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FramePace {
    /// Time that every frame has.
    pub grace: Millis,
    /// The slowest rate: so much a second.
    #[serde(with = "lode_protocol::units::size_text")]
    pub slowest: Bytes,
}

impl Default for FramePace {
    fn default() -> Self {
        Self { grace: Millis::seconds(10), slowest: Bytes(64 << 10) }
    }
}

impl FramePace {
    /// Time that so many bytes take at the slowest rate.
    pub(crate) fn time_for(&self, bytes: usize) -> Millis {
        Millis((bytes as u64).saturating_mul(1_000) / self.slowest.0.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_its_grace_and_the_time_of_its_size() {
        let pace = FramePace::default();
        assert_eq!(pace.time_for(64 << 10), Millis::seconds(1));
        assert_eq!(pace.time_for(8 << 20), Millis::seconds(128));
        let never = FramePace { slowest: Bytes(0), ..pace };
        assert_eq!(never.time_for(1), Millis::seconds(1), "no division by nothing");
    }

    #[test]
    fn a_limit_of_nothing_is_told_by_its_name() {
        assert_eq!(StrangerLimits::default().shuts_out(), None);
        let nobody = StrangerLimits { patience: Millis(0), ..StrangerLimits::default() };
        assert_eq!(nobody.shuts_out(), Some("patience"));
        let forgetful = StrangerLimits { remembered_addresses: 0, ..StrangerLimits::default() };
        assert_eq!(forgetful.shuts_out(), None, "whoever remembers nobody lets strangers in all the same");
    }
}
