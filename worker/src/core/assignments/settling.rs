//! The engine's list of containers against what is known: adoption after a restart, what ended or vanished unseen.

use std::collections::BTreeMap;

use lode_protocol::assignment::{AssignmentState, Reason};
use lode_protocol::ids::AssignmentId;
use lode_protocol::task::TaskKind;

use super::Assignments;
use crate::core::assignment::Stage;
use crate::core::effect::Effect;
use crate::core::event::{Now, Observed, ObservedState};

impl Assignments {
    /// The engine answers and has listed every container of ours.
    pub(super) fn on_observed(&mut self, now: Now, containers: Vec<Observed>, effects: &mut Vec<Effect>) {
        let returned = !std::mem::replace(&mut self.engine_answers, true);
        self.ports.forgive();
        let mut found: BTreeMap<AssignmentId, ObservedState> = BTreeMap::new();
        for observed in containers {
            let owner = observed.assignment.and_then(|id| self.items.get(&id));
            match owner {
                Some(item) if item.container().as_ref() == Some(&observed.container) => {
                    found.insert(item.id(), observed.state);
                }
                // Its creation is under way: the result will tell.
                Some(item) if matches!(item.stage, Stage::Creating { .. } | Stage::Removing) => {}
                Some(_) | None => effects.push(Effect::RemoveStray(observed.container)),
            }
        }
        let ids: Vec<AssignmentId> = self.items.keys().copied().collect();
        for id in ids {
            self.settle(now, id, found.get(&id), effects);
            if returned {
                self.stop_again(id, found.get(&id), effects);
            }
        }
    }

    /// Brings one assignment in line with what the engine shows.
    pub(super) fn settle(
        &mut self,
        now: Now,
        id: AssignmentId,
        found: Option<&ObservedState>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(item) = self.items.get_mut(&id) else { return };
        match item.stage {
            // One engine call is under way, or nothing is left: nothing to settle.
            Stage::Waiting
            | Stage::Pulling { .. }
            | Stage::Creating { .. }
            | Stage::Starting
            | Stage::Removing
            | Stage::Removed => return,
            Stage::Ended => {
                if !item.entry.wanted {
                    Self::remove(item, effects);
                }
                return;
            }
            Stage::Interrupted | Stage::Running { .. } | Stage::BackingOff { .. } | Stage::Stopping => {}
        }
        let interrupted = item.stage == Stage::Interrupted;
        match (found, item.container()) {
            (Some(ObservedState::Running), Some(container)) => {
                if let (true, Some(_)) = (interrupted, item.entry.stopping) {
                    effects.push(Effect::Watch { id, container });
                    Self::stop(item, Reason::StopRequested, effects);
                } else if interrupted {
                    Self::runs(item, now, effects);
                }
            }
            (Some(ObservedState::Created), Some(container)) if interrupted => {
                item.stage = Stage::Starting;
                effects.push(Effect::Start { id, attempt: item.attempt(), container });
            }
            (Some(ObservedState::Exited(exit)), Some(container)) => {
                if !matches!(item.stage, Stage::BackingOff { .. }) {
                    self.on_exited(now, id, &container, *exit, effects);
                }
            }
            (Some(_), _) => {}
            (None, _) => self.on_vanished(id, effects),
        }
    }

    /// An engine that was away may have forgotten that it was told to stop a container.
    pub(super) fn stop_again(
        &mut self,
        id: AssignmentId,
        found: Option<&ObservedState>,
        effects: &mut Vec<Effect>,
    ) {
        let asked = |effect: &Effect| matches!(effect, Effect::Stop { id: stopped, .. } if *stopped == id);
        let Some(item) = self.items.get_mut(&id).filter(|item| item.stage == Stage::Stopping) else { return };
        if let (Some(ObservedState::Running), Some(reason)) = (found, item.entry.stopping)
            && !effects.iter().any(asked)
        {
            Self::stop(item, reason, effects);
        }
    }

    /// There is no container although there should be one: a new one is made.
    pub(super) fn on_vanished(&mut self, id: AssignmentId, effects: &mut Vec<Effect>) {
        let Some(item) = self.items.get_mut(&id) else { return };
        if let Some(reason) = item.entry.stopping {
            let state =
                if reason == Reason::NeverReady { AssignmentState::Failed } else { AssignmentState::Stopped };
            return self.finish(id, state, Some(reason), "", effects);
        }
        let existed = item.entry.container.is_some();
        self.ports.release(&item.entry.ports);
        item.entry.ports.clear();
        item.next_attempt();
        if existed {
            item.entry.restarts = item.entry.restarts.saturating_add(1);
            let bound = item.entry.order.spec.effective_restart().max_restarts.max(5);
            if item.entry.order.spec.kind == TaskKind::Batch && item.entry.restarts > bound {
                let detail = "its container was removed by somebody again and again";
                return self.fail(id, Reason::ContainerVanished, detail, effects);
            }
        }
        item.stage = Stage::Waiting;
        if !item.entry.wanted {
            self.finish(id, AssignmentState::Stopped, Some(Reason::StopRequested), "", effects);
        }
    }
}
