//! The engine's list of containers against what is known: adoption after a restart, what ended or vanished unseen.

use std::collections::BTreeMap;

use lode_protocol::assignment::{AssignmentState, Reason};
use lode_protocol::ids::AssignmentId;
use lode_protocol::task::TaskKind;

use super::Assignments;
use super::starting::INTERRUPTIONS;
use crate::assignment::Stage;
use crate::effect::Command;
use crate::event::{EngineRun, Now, Observed, ObservedState};
use crate::time::after;

impl Assignments {
    /// The engine answers and has listed every container of ours.
    pub(crate) fn on_observed(
        &mut self,
        now: Now,
        run: EngineRun,
        containers: Vec<Observed>,
        commands: &mut Vec<Command>,
    ) {
        self.run = Some(run);
        let returned = !std::mem::replace(&mut self.engine_answers, true);
        self.ports.forgive();
        self.note_strays_gone(&containers);
        let mut found: BTreeMap<AssignmentId, ObservedState> = BTreeMap::new();
        for observed in containers {
            let owner = observed.assignment.and_then(|id| self.items.get(&id));
            match owner {
                Some(item) if item.container().as_ref() == Some(&observed.container) => {
                    found.insert(item.id(), observed.state);
                }
                // Its creation is under way: the result will tell.
                Some(item) if matches!(item.stage, Stage::Creating { .. } | Stage::Removing) => {}
                Some(_) | None => commands.push(Command::RemoveStray(observed.container)),
            }
        }
        let ids: Vec<AssignmentId> = self.items.keys().copied().collect();
        for id in ids {
            self.settle(now, id, found.get(&id), commands);
            if returned {
                self.stop_again(id, found.get(&id), commands);
            }
        }
    }

    /// Brings one assignment in line with what the engine shows.
    pub(super) fn settle(
        &mut self,
        now: Now,
        id: AssignmentId,
        found: Option<&ObservedState>,
        commands: &mut Vec<Command>,
    ) {
        let Some(item) = self.items.get_mut(&id) else { return };
        match item.stage {
            // One engine call is under way, or nothing is left: nothing to settle.
            Stage::Waiting
            | Stage::Pulling { .. }
            | Stage::HeldOff { .. }
            | Stage::Creating { .. }
            | Stage::Starting
            | Stage::Examining
            | Stage::Removing
            | Stage::Removed => return,
            Stage::Ended => {
                if !item.entry.wanted {
                    Self::remove(item, commands);
                }
                return;
            }
            Stage::Interrupted | Stage::Running { .. } | Stage::BackingOff { .. } | Stage::Stopping => {}
        }
        let interrupted = item.stage == Stage::Interrupted;
        match (found, item.container()) {
            (Some(ObservedState::Running), Some(container)) => {
                if let (true, Some(_)) = (interrupted, item.entry.stopping) {
                    commands.push(Command::Watch { id, container });
                    Self::stop(item, Reason::StopRequested, commands);
                } else if interrupted {
                    Self::runs(item, now, self.run.as_ref(), commands);
                } else {
                    // It has outlived the engine's restart, if there was one: an engine that does not let containers live
                    // on has ended them before it answers.
                    item.entry.run = self.run.clone().or(item.entry.run.take());
                }
            }
            (Some(ObservedState::Created), Some(_)) if interrupted => {
                // It was told to stop while the engine was away: it never runs.
                if let Some(reason) = item.entry.stopping {
                    return self.stopped(id, reason, commands);
                }
                commands.extend(item.start(self.run.as_ref()));
            }
            (Some(ObservedState::Exited(exit)), Some(container)) => {
                if !matches!(item.stage, Stage::BackingOff { .. }) {
                    self.on_exited(now, id, &container, *exit, commands);
                }
            }
            (Some(_), _) => {}
            (None, _) => self.on_vanished(now, id, commands),
        }
    }

    /// An engine that was away may have forgotten that it was told to stop a container.
    pub(super) fn stop_again(
        &mut self,
        id: AssignmentId,
        found: Option<&ObservedState>,
        commands: &mut Vec<Command>,
    ) {
        let asked = |effect: &Command| matches!(effect, Command::Stop { id: stopped, .. } if *stopped == id);
        let Some(item) = self.items.get_mut(&id).filter(|item| item.stage == Stage::Stopping) else { return };
        if let (Some(ObservedState::Running), Some(reason)) = (found, item.entry.stopping)
            && !commands.iter().any(asked)
        {
            Self::stop(item, reason, commands);
        }
    }

    /// There is no container although there should be one: a new one is made.
    pub(crate) fn on_vanished(&mut self, now: Now, id: AssignmentId, commands: &mut Vec<Command>) {
        let Some(item) = self.items.get_mut(&id) else { return };
        if let Some(reason) = item.entry.stopping {
            return self.stopped(id, reason, commands);
        }
        let existed = item.entry.container.is_some();
        self.ports.release(&item.entry.ports);
        item.entry.ports.clear();
        item.next_attempt();
        if existed {
            item.count_restart();
            let bound = item.entry.order.spec.effective_restart().max_restarts.max(5);
            if item.entry.order.spec.kind == TaskKind::Batch && item.entry.failures > bound {
                let detail = "its container was removed by somebody again and again";
                return self.fail(id, Reason::ContainerVanished, detail, commands);
            }
        }
        item.stage = Stage::Waiting;
        // The first time at once: an engine was restarted. Whose work is broken off again and again is no hurry.
        item.not_before =
            item.interruptions.checked_sub(2).map(|again| after(now.monotonic, INTERRUPTIONS.wait(again)));
        if !item.entry.wanted {
            self.finish(id, AssignmentState::Stopped, Some(Reason::StopRequested), "", commands);
        }
    }
}
