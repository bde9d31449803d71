//! Leases: how long a node is believed alive without news. They run on the monotonic clock and are not persisted.
//!
//! A beat only notes the time; the timer, when it fires, looks at the note and sets itself anew: a beat costs no tree
//! operation. `Alive → Suspect → Lost`; a beat brings a suspect node back, a hello a lost one.
//!
//! If the orchestrator itself was frozen (its steps are far apart), silence proves nothing: every lease starts anew.

use lode_protocol::ids::NodeId;
use lode_protocol::session::LeaseTiming;
use lode_protocol::units::Millis;

use super::Core;
use super::event::Now;
use super::node::{Known, Liveness, NodeLifecycle};
use super::timers::{Timer, after};

impl Core {
    /// Notes the time, and whether the orchestrator was away.
    pub(crate) fn advance_clock(&mut self, now: Now) {
        let before = self.now.monotonic;
        let gap = now.monotonic.0.saturating_sub(before.0);
        if gap > self.config.terms.suspect_after.0 / 3 {
            self.lease_floor = now.monotonic;
        }
        self.now = Now { wall: now.wall, monotonic: now.monotonic.max(before) };
    }

    /// What nodes are told: the configured times, stretched so that the fleet's beats can be taken.
    pub(crate) fn beat_terms(&self) -> LeaseTiming {
        let terms = &self.config.terms;
        let rate = u64::from(terms.most_beats_per_second).max(1);
        let needed = u64::from(self.heard_nodes).saturating_mul(1_000) / rate;
        let interval = terms.beat_interval.0.max(1);
        let stretch = |span: Millis| {
            let wide = u128::from(span.0) * u128::from(needed.max(interval)) / u128::from(interval);
            Millis(u64::try_from(wide).unwrap_or(u64::MAX))
        };
        LeaseTiming {
            interval: stretch(terms.beat_interval),
            suspect_after: stretch(terms.suspect_after),
            lost_after: stretch(terms.lost_after),
        }
    }

    /// A sign of life. Tells whether it was heard in time.
    pub(crate) fn renew_lease(&mut self, id: &NodeId) -> bool {
        let now = self.now;
        let Some(mut node) = self.nodes.quiet(id) else { return false };
        let before = node.liveness;
        let pulse = node.pulse();
        pulse.heard = now.monotonic;
        pulse.heard_at = Some(now.wall);
        match before {
            Liveness::Alive => return true,
            Liveness::Suspect => {}
            Liveness::Lost => self.heard_nodes = self.heard_nodes.saturating_add(1),
        }
        if let Some(node) = self.nodes.get_mut(id) {
            node.liveness = Liveness::Alive;
        }
        self.arm_lease(id);
        false
    }

    pub(crate) fn arm_lease(&mut self, id: &NodeId) {
        let floor = self.lease_floor;
        let Some(mut node) = self.nodes.quiet(id) else { return };
        let liveness = node.liveness;
        let pulse = node.pulse();
        let heard = pulse.heard.max(floor);
        let due = match liveness {
            Liveness::Alive => after(heard, pulse.terms.suspect_after),
            Liveness::Suspect => after(heard, pulse.terms.lost_after),
            Liveness::Lost => return,
        };
        pulse.lease_due = Some(due);
        self.timers.set(due, Timer::Lease(*id));
    }

    pub(crate) fn lease_due(&mut self, id: &NodeId, due: Millis) {
        let (now, floor) = (self.now.monotonic, self.lease_floor);
        let Some(mut node) = self.nodes.quiet(id) else { return };
        let liveness = node.liveness;
        let pulse = node.pulse();
        if pulse.lease_due.take_if(|set| *set == due).is_none() {
            return;
        }
        let (terms, heard) = (pulse.terms, pulse.heard.max(floor));
        match liveness {
            Liveness::Alive | Liveness::Suspect if now >= after(heard, terms.lost_after) => {
                self.mark_lost(id)
            }
            Liveness::Alive if now >= after(heard, terms.suspect_after) => {
                if let Some(node) = self.nodes.get_mut(id) {
                    node.liveness = Liveness::Suspect;
                }
                self.arm_lease(id);
            }
            Liveness::Alive | Liveness::Suspect => self.arm_lease(id),
            Liveness::Lost => {}
        }
    }

    /// The lease has run out: whatever the node ran is placed elsewhere, and its session is over.
    fn mark_lost(&mut self, id: &NodeId) {
        let Some(node) = self.nodes.get_mut(id) else { return };
        node.liveness = Liveness::Lost;
        node.end_session();
        node.pulse.usage = None;
        node.orphans.clear();
        node.hardware.forget_health();
        let joining = matches!(node.standing, NodeLifecycle::Joining(_));
        self.heard_nodes = self.heard_nodes.saturating_sub(1);
        self.heal(id);
        self.lose_assignments(id);
        if joining {
            self.evaluate_admission(id);
            self.forget_unregistered(id);
        }
    }

    /// Every node that may run something gets a full lease: the start of a term.
    pub(crate) fn renew_all_leases(&mut self) {
        let ids: Vec<NodeId> = self.nodes.keys().copied().collect();
        for id in ids {
            let counts =
                self.nodes.get(&id).is_some_and(|node| is_in_pool(&node.standing) || !node.active.is_empty());
            if counts {
                self.begin_lease(&id);
                // Not news: the log does not tell of a state that no one was seen to leave.
                if let Some(mut node) = self.nodes.quiet(&id) {
                    let state = node.state();
                    node.pulse().last_published = Some(state);
                }
            }
        }
    }

    /// A node that is not believed alive gets a full lease, for a reason other than that it was heard.
    pub(crate) fn begin_lease(&mut self, id: &NodeId) {
        let (now, terms) = (self.now.monotonic, self.beat_terms());
        let Some(node) = self.nodes.get_mut(id).filter(|node| node.liveness == Liveness::Lost) else {
            return;
        };
        node.liveness = Liveness::Alive;
        node.pulse.heard = now;
        node.pulse.terms = terms;
        self.heard_nodes = self.heard_nodes.saturating_add(1);
        self.arm_lease(id);
    }

    /// A node without registration is forgotten when it is silent, or as soon as the chain says so: nothing on chain bounds
    /// how many of these there are. Members are not, nor is who was one: it may still run something that it is to stop.
    pub(crate) fn forget_unregistered(&mut self, id: &NodeId) {
        let Some(node) = self.nodes.get(id) else { return };
        let unregistered = node.facts.registration == Known::Is(None) && !node.was_given();
        let forgettable = matches!(node.standing, NodeLifecycle::Joining(_))
            && (unregistered || !node.is_durable())
            && !node.facts.is_member();
        if !forgettable {
            return;
        }
        if node.liveness != Liveness::Lost {
            self.heard_nodes = self.heard_nodes.saturating_sub(1);
        }
        self.heal(id);
        self.remove_node(id);
    }
}

/// Whether the pool counts on the node.
pub(crate) fn is_in_pool(standing: &NodeLifecycle) -> bool {
    match standing {
        NodeLifecycle::Member(_) | NodeLifecycle::Draining { .. } | NodeLifecycle::Leaving { .. } => true,
        NodeLifecycle::Joining(_) | NodeLifecycle::Ejected { .. } | NodeLifecycle::Gone => false,
    }
}
