//! How much one node may say: beats, hellos and leaves, the reports in them, and the bytes that these can have written.
//!
//! What is beyond is refused before anything changes, with the time after which it may be said; it costs no commit. The
//! first beat of a session is counted as a message with its hello; its reports and bytes count as those of any other, and
//! when it is refused, so is the session: no other beat could be its first. A worker paces what it says by itself, so that
//! it does not meet this.

use lode_protocol::ids::NodeId;
use lode_protocol::session::{Heartbeat, Hello};

use super::Core;
use super::config::{Limits, Rate};
use super::error::Rejected;
use super::node::Node;
use super::state::pace::Said;

/// Beats of a worker in one of the intervals that it was told, at most, where that is more than the limit.
const BEATS_PER_INTERVAL: u64 = 2;

impl Core {
    /// Whether a node may say so much now.
    pub(crate) fn judge_pace(&self, node: &Node, said: Said) -> Result<(), Rejected> {
        match node.pulse.pace.wait(self.now.monotonic, &self.pace_limits(), said) {
            None => Ok(()),
            Some(wait) => Err(Rejected::transient(
                "session/too-fast",
                "the node says more than one node may",
                "wait as long as the answer says, then send everything in one beat; nothing of this one was taken",
            )
            .retry_after(wait)),
        }
    }

    /// A node has said so much.
    pub(crate) fn note_said(&mut self, id: &NodeId, said: Said) {
        let (now, limits) = (self.now.monotonic, self.pace_limits());
        if let Some(mut node) = self.nodes.quiet(id) {
            node.pulse().pace.take(now, &limits, said);
        }
    }

    /// The configured limits, and room for the beats that are asked for.
    fn pace_limits(&self) -> Limits {
        let limits = self.config.limits;
        let asked_for = (BEATS_PER_INTERVAL * 1_000).div_ceil(self.config.terms.beat_interval.0.max(1));
        let asked_for = u32::try_from(asked_for).unwrap_or(u32::MAX);
        let Rate { per_second, burst } = limits.messages;
        Limits {
            messages: Rate { per_second: per_second.max(asked_for), burst: burst.max(asked_for) },
            ..limits
        }
    }
}

/// How much a hello says, and that a beat comes after it.
pub(crate) fn said_by_hello(hello: &Hello) -> Said {
    Said { messages: 2, reports: 0, bytes: texts(hello.descriptor.len()) }
}

/// How much a beat says. The first of a session is no further message: its hello counted for it.
pub(crate) fn said_by(beat: &Heartbeat, first: bool) -> Said {
    let bytes: usize = beat
        .assignments
        .iter()
        .map(|report| {
            let ports: usize = report.ports.iter().map(|port| port.name.len()).sum();
            report.detail.len() + report.image.as_ref().map_or(0, String::len) + ports
        })
        .sum();
    let descriptor = beat.descriptor.as_ref().map_or(0, Vec::len);
    Said {
        messages: u32::from(!first),
        reports: texts(beat.assignments.len()),
        bytes: texts(bytes.saturating_add(descriptor)),
    }
}

fn texts(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
