//! Two processes with one key.
//!
//! A restart looks like: silence, a hello with a higher boot counter, nothing from before. Two processes look different:
//! both speak. Evidence is a *new* beat in a superseded session, or a hello with a lower boot counter while the session
//! lives. One piece may be a message that was under way during a restart; a second one within a lease confirms the
//! conflict. It heals when no evidence has come for a lease.
//!
//! `None → Suspected (first evidence) → Confirmed (second within a lease) → None (a lease of calm)`

use lode_protocol::error_code::ErrorCode;
use lode_protocol::finding::Finding;
use lode_protocol::ids::NodeId;

use super::Core;
use super::effect::Action;
pub(crate) use super::state::conflict::Conflict;
use super::timers::{Timer, after};

const CODE: &str = "node/conflicted";

impl Core {
    /// Records evidence of a second process.
    pub(crate) fn strike(&mut self, id: &NodeId) {
        let now = self.now.monotonic;
        let Some(node) = self.nodes.get_mut(id) else { return };
        let before = node.conflict;
        let lease = node.pulse.terms.lost_after;
        node.conflict = before.with_evidence(now, lease);
        if node.conflict.is_confirmed() && !before.is_confirmed() {
            self.timers.set(after(now, lease), Timer::Conflict(*id));
            self.cut_meter(id);
            let finding =
                Finding::error(CODE, "Two processes use the key of this node. Nothing is placed on it.");
            self.act(Action::RaiseFinding(
                finding.about(id.to_string()).remedy(
                    "Stop one of the two, or replace the node's key if you know of one process only.",
                ),
            ));
        }
    }

    pub(crate) fn conflict_due(&mut self, id: &NodeId) {
        let now = self.now.monotonic;
        let Some(node) = self.nodes.get_mut(id) else { return };
        let Conflict::Confirmed { last } = node.conflict else { return };
        let heals_at = after(last, node.pulse.terms.lost_after);
        if heals_at > now {
            self.timers.set(heals_at, Timer::Conflict(*id));
            return;
        }
        self.heal(id);
    }

    /// Ends a conflict.
    pub(crate) fn heal(&mut self, id: &NodeId) {
        let Some(node) = self.nodes.get_mut(id) else { return };
        if !node.conflict.is_confirmed() {
            node.conflict = Conflict::None;
            return;
        }
        node.conflict = Conflict::None;
        self.act(Action::ClearFinding { code: ErrorCode::new(CODE), subject: id.to_string() });
    }
}
