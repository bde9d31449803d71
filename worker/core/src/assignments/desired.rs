//! What the orchestrator wants: new orders are taken in, what is no longer wanted is stopped within its grace and removed.

use std::collections::BTreeSet;

use lode_protocol::assignment::{AssignmentState, Reason};
use lode_protocol::ids::{AssignmentId, Generation, Term};
use lode_protocol::session::AssignmentSpec;

use super::Assignments;
use crate::assignment::{Assignment, Stage};
use crate::effect::Command;
use crate::event::Now;
use crate::journal::Change;

impl Assignments {
    pub(crate) fn on_desired(
        &mut self,
        now: Now,
        generation: (Term, Generation),
        orders: Vec<AssignmentSpec>,
        commands: &mut Vec<Command>,
    ) {
        if self.generation.is_some_and(|known| generation < known) {
            return;
        }
        // The same set again brings nothing new: what is not known any more has had its end, and must not run twice.
        let is_new = self.generation != Some(generation);
        if is_new {
            self.generation = Some(generation);
            self.changes.push(Change::generation(generation));
        }
        let wanted: BTreeSet<AssignmentId> = orders.iter().map(|order| order.id).collect();
        for order in orders {
            match self.items.get_mut(&order.id) {
                Some(item) => item.entry.order.pinned_image = order.pinned_image,
                None if !is_new => {}
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
            self.unassign(id, commands);
        }
    }

    /// Nothing that runs here is wanted any more.
    pub(crate) fn release_everything(&mut self, commands: &mut Vec<Command>) {
        let wanted = self.items.values().filter(|item| item.entry.wanted).map(Assignment::id);
        for id in wanted.collect::<Vec<_>>() {
            self.unassign(id, commands);
        }
    }

    /// The orchestrator no longer wants it: stop it within its grace, then remove it.
    pub(super) fn unassign(&mut self, id: AssignmentId, commands: &mut Vec<Command>) {
        let Some(item) = self.items.get_mut(&id) else { return };
        item.entry.wanted = false;
        match item.stage {
            Stage::Waiting
            | Stage::Pulling { .. }
            | Stage::HeldOff { .. }
            | Stage::Creating { .. }
            | Stage::BackingOff { .. } => {
                self.finish(id, AssignmentState::Stopped, Some(Reason::StopRequested), "", commands);
            }
            Stage::Starting | Stage::Running { .. } => Self::stop(item, Reason::StopRequested, commands),
            Stage::Interrupted if item.entry.container.is_none() => {
                self.finish(id, AssignmentState::Stopped, Some(Reason::StopRequested), "", commands);
            }
            // Settled when the engine has listed its containers.
            Stage::Interrupted => item.entry.stopping = item.entry.stopping.or(Some(Reason::StopRequested)),
            Stage::Ended => Self::remove(item, commands),
            // It has ended by itself; how, is told all the same.
            Stage::Examining => {}
            Stage::Stopping | Stage::Removing | Stage::Removed => {}
        }
    }

    pub(super) fn stop(item: &mut Assignment, reason: Reason, commands: &mut Vec<Command>) {
        if item.container().is_none() {
            return;
        }
        item.entry.stopping = item.entry.stopping.or(Some(reason));
        item.stage = Stage::Stopping;
        Self::tell_to_stop(item, commands);
    }
}
