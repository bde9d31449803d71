//! What the orchestrator wants: new orders are taken in, what is no longer wanted is stopped within its grace and removed.

use std::collections::BTreeSet;

use lode_protocol::assignment::{AssignmentState, Reason};
use lode_protocol::ids::{AssignmentId, Generation, LeaderEpoch};
use lode_protocol::session::Order;

use super::Assignments;
use crate::core::assignment::{Assignment, Stage};
use crate::core::effect::{Effect, JournalChange};
use crate::core::event::Now;

impl Assignments {
    pub(super) fn on_desired(
        &mut self,
        now: Now,
        generation: (LeaderEpoch, Generation),
        orders: Vec<Order>,
        effects: &mut Vec<Effect>,
    ) {
        if self.generation.is_some_and(|known| generation < known) {
            return;
        }
        if self.generation != Some(generation) {
            self.generation = Some(generation);
            effects.push(Effect::Journal(JournalChange::Generation(generation.0, generation.1)));
        }
        let wanted: BTreeSet<AssignmentId> = orders.iter().map(|order| order.id).collect();
        for order in orders {
            match self.items.get_mut(&order.id) {
                Some(item) => item.entry.order.pinned_image = order.pinned_image,
                None => {
                    self.items.insert(order.id, Assignment::new(order, now.wall));
                }
            }
        }
        let unwanted: Vec<AssignmentId> = self
            .items
            .values()
            .filter(|item| item.entry.wanted && !wanted.contains(&item.id()))
            .map(Assignment::id)
            .collect();
        for id in unwanted {
            self.release_from_duty(id, effects);
        }
    }

    /// The orchestrator no longer wants it: stop it within its grace, then remove it.
    pub(super) fn release_from_duty(&mut self, id: AssignmentId, effects: &mut Vec<Effect>) {
        let Some(item) = self.items.get_mut(&id) else { return };
        item.entry.wanted = false;
        match item.stage {
            Stage::Waiting | Stage::Pulling { .. } | Stage::Creating { .. } | Stage::BackingOff { .. } => {
                self.finish(id, AssignmentState::Stopped, Some(Reason::StopRequested), "", effects);
            }
            Stage::Starting | Stage::Running { .. } => Self::stop(item, Reason::StopRequested, effects),
            Stage::Interrupted if item.entry.container.is_none() => {
                self.finish(id, AssignmentState::Stopped, Some(Reason::StopRequested), "", effects);
            }
            // Settled when the engine has listed its containers.
            Stage::Interrupted => item.entry.stopping = item.entry.stopping.or(Some(Reason::StopRequested)),
            Stage::Ended => Self::remove(item, effects),
            Stage::Stopping | Stage::Removing | Stage::Removed => {}
        }
    }

    pub(super) fn stop(item: &mut Assignment, reason: Reason, effects: &mut Vec<Effect>) {
        let Some(container) = item.container() else { return };
        item.entry.stopping = item.entry.stopping.or(Some(reason));
        item.stage = Stage::Stopping;
        effects.push(Effect::Stop { id: item.id(), container, grace: item.entry.order.spec.stop_grace });
    }
}
