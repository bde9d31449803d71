//! Leases: how long a node is believed alive without news. They run on the monotonic clock and are not persisted.
//!
//! A beat only notes the time; the timer, when it fires, looks at the note and sets itself anew: a beat costs no tree
//! operation. `Alive → Suspect → Lost`; a beat brings a suspect node back, a hello a lost one.
//!
//! If the orchestrator itself was frozen (its steps are far apart), silence proves nothing: every lease starts anew.

use lode_protocol::error_code::ErrorCode;
use lode_protocol::finding::Finding;
use lode_protocol::ids::NodeId;
use lode_protocol::session::BeatTerms;
use lode_protocol::units::Millis;

use super::Core;
use super::effect::Action;
use super::event::Now;
use super::node::{Liveness, Standing};
use super::timers::{Timer, after};

const LOST: &str = "node/lost";

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
    pub(crate) fn beat_terms(&self) -> BeatTerms {
        let terms = &self.config.terms;
        let rate = u64::from(terms.most_beats_per_second).max(1);
        let needed = u64::from(self.heard_nodes).saturating_mul(1_000) / rate;
        let interval = terms.beat_interval.0.max(1);
        let stretch = |span: Millis| {
            let wide = u128::from(span.0) * u128::from(needed.max(interval)) / u128::from(interval);
            Millis(u64::try_from(wide).unwrap_or(u64::MAX))
        };
        BeatTerms {
            interval: stretch(terms.beat_interval),
            suspect_after: stretch(terms.suspect_after),
            lost_after: stretch(terms.lost_after),
        }
    }

    /// A sign of life.
    pub(crate) fn touch(&mut self, id: &NodeId) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(id) else { return };
        let before = std::mem::replace(&mut node.liveness, Liveness::Alive { heard: now.monotonic });
        node.heard_at = Some(now.wall);
        match before {
            Liveness::Alive { .. } => return,
            Liveness::Suspect { .. } => {}
            Liveness::Lost => {
                self.heard_nodes = self.heard_nodes.saturating_add(1);
                if is_in_pool(&node.standing) {
                    self.act(Action::ClearFinding { code: ErrorCode::new(LOST), subject: id.to_string() });
                }
            }
        }
        self.scratch.shown.insert(*id);
        self.arm_lease(id);
        self.reindex(id);
        self.wake(id);
    }

    fn arm_lease(&mut self, id: &NodeId) {
        let floor = self.lease_floor;
        let Some(node) = self.nodes.get_mut(id) else { return };
        let due = match node.liveness {
            Liveness::Alive { heard } => after(heard.max(floor), node.terms.suspect_after),
            Liveness::Suspect { heard } => after(heard.max(floor), node.terms.lost_after),
            Liveness::Lost => return,
        };
        node.lease_due = Some(due);
        self.timers.set(due, Timer::Lease(*id));
    }

    pub(crate) fn lease_due(&mut self, id: &NodeId, due: Millis) {
        let (now, floor) = (self.now.monotonic, self.lease_floor);
        let Some(node) = self.nodes.get_mut(id).filter(|node| node.lease_due == Some(due)) else { return };
        node.lease_due = None;
        let terms = node.terms;
        match node.liveness {
            Liveness::Alive { heard } if now >= after(heard.max(floor), terms.lost_after) => {
                self.lose_node(id)
            }
            Liveness::Alive { heard } if now >= after(heard.max(floor), terms.suspect_after) => {
                node.liveness = Liveness::Suspect { heard };
                self.scratch.shown.insert(*id);
                self.reindex(id);
                self.arm_lease(id);
            }
            Liveness::Suspect { heard } if now >= after(heard.max(floor), terms.lost_after) => {
                self.lose_node(id)
            }
            Liveness::Alive { .. } | Liveness::Suspect { .. } => self.arm_lease(id),
            Liveness::Lost => {}
        }
    }

    /// The lease has run out: whatever the node ran is placed elsewhere, and its session is over.
    fn lose_node(&mut self, id: &NodeId) {
        let Some(node) = self.nodes.get_mut(id) else { return };
        node.liveness = Liveness::Lost;
        node.session = None;
        node.superseded = None;
        node.usage = None;
        node.ghosts.clear();
        node.hardware.forget_health();
        let in_pool = is_in_pool(&node.standing);
        let joining = matches!(node.standing, Standing::Joining(_));
        self.heard_nodes = self.heard_nodes.saturating_sub(1);
        self.scratch.shown.insert(*id);
        self.heal(id);
        self.reindex(id);
        self.lose_assignments(id);
        if in_pool {
            let finding = Finding::error(
                LOST,
                "The node has been silent for a lease. What it ran is placed elsewhere.",
            );
            self.act(Action::RaiseFinding(finding.about(id.to_string()).remedy(
                "Look at the host's power, network and worker; the node comes back by itself when it is heard again.",
            )));
        }
        if joining {
            self.evaluate_admission(id);
            self.forget_stranger(id);
        }
    }

    /// Every node that may run something gets a full lease: the start of a term.
    pub(crate) fn renew_all_leases(&mut self) {
        let now = self.now.monotonic;
        let terms = self.beat_terms();
        let ids: Vec<NodeId> = self.nodes.keys().copied().collect();
        for id in ids {
            let Some(node) = self.nodes.get_mut(&id) else { continue };
            if is_in_pool(&node.standing) || !node.active.is_empty() {
                node.liveness = Liveness::Alive { heard: now };
                node.terms = terms;
                self.heard_nodes = self.heard_nodes.saturating_add(1);
                // Not news: the log does not tell of a state that no one was seen to leave.
                node.shown = Some(node.state());
                self.arm_lease(&id);
            }
        }
    }

    /// A silent node without registration is forgotten: nothing on chain bounds how many of these there are.
    fn forget_stranger(&mut self, id: &NodeId) {
        let forgettable = self.nodes.get(id).is_some_and(|node| {
            matches!(node.standing, Standing::Joining(_)) && !node.is_durable() && !node.facts.is_member()
        });
        if forgettable {
            self.remove_node(id);
        }
    }
}

/// Whether the pool counts on the node.
pub(crate) fn is_in_pool(standing: &Standing) -> bool {
    match standing {
        Standing::Member(_) | Standing::Draining { .. } | Standing::Leaving { .. } => true,
        Standing::Joining(_) | Standing::Ejected { .. } | Standing::Gone => false,
    }
}
