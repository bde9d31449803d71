//! From a container's end to the last trace of it: how an exit is judged, what is removed, when it is forgotten.

use lode_protocol::assignment::{AssignmentState, Reason};
use lode_protocol::ids::AssignmentId;
use lode_protocol::units::Millis;

use super::Assignments;
use crate::core::assignment::{Assignment, Stage};
use crate::core::effect::{Effect, JournalChange};
use crate::core::event::{ContainerId, EngineFailure, Exit, Now};
use crate::core::restart::{self, HEALTHY_RUN, Verdict};

impl Assignments {
    pub(super) fn on_exited(
        &mut self,
        now: Now,
        id: AssignmentId,
        container: &ContainerId,
        exit: Exit,
        effects: &mut Vec<Effect>,
    ) {
        let Some(item) = self.items.get_mut(&id) else { return };
        if item.entry.ended.is_some() || item.container().as_ref() != Some(container) {
            return;
        }
        let since = match item.stage {
            Stage::Running { since, .. } => Some(since),
            Stage::Stopping | Stage::Interrupted | Stage::Starting => None,
            _ => return,
        };
        item.entry.exit_code = Some(exit.code);
        if let Some(reason) = item.entry.stopping {
            let state =
                if reason == Reason::NeverReady { AssignmentState::Failed } else { AssignmentState::Stopped };
            return self.finish(id, state, Some(reason), "", effects);
        }
        if since.is_some_and(|since| now.monotonic.0.saturating_sub(since.0) >= HEALTHY_RUN.0) {
            item.entry.restarts = 0;
        }
        self.judge_exit(now, id, exit, effects);
    }

    pub(super) fn judge_exit(&mut self, now: Now, id: AssignmentId, exit: Exit, effects: &mut Vec<Effect>) {
        let Some(item) = self.items.get_mut(&id) else { return };
        let failed = exit.code != 0 || exit.out_of_memory;
        let lost_gpu = self
            .gpus
            .as_ref()
            .and_then(|usable| item.entry.order.gpus.iter().find(|gpu| !usable.contains(gpu)));
        if let (true, Some(gpu)) = (failed, lost_gpu) {
            let detail = format!("GPU {gpu} failed while the task ran (exit code {})", exit.code);
            return self.fail(id, Reason::GpuLost, &detail, effects);
        }
        let (reason, detail) = if exit.out_of_memory {
            let limit = item.entry.order.spec.resources.memory;
            (Reason::OomKilled, format!("killed for using more than its memory limit ({limit})"))
        } else {
            (Reason::ExitedWithError, format!("exit code {}", exit.code))
        };
        match restart::judge(item.entry.order.spec.effective_restart(), failed, item.entry.restarts) {
            Verdict::Restart => {
                let wait = restart::back_off(item.entry.restarts);
                item.entry.restarts = item.entry.restarts.saturating_add(1);
                item.entry.ready = false;
                item.stage = Stage::BackingOff { until: Millis(now.monotonic.0.saturating_add(wait.0)) };
            }
            Verdict::Final if failed => self.fail(id, reason, &detail, effects),
            Verdict::Final => {
                self.finish(id, AssignmentState::Succeeded, Some(Reason::Completed), "", effects);
            }
            Verdict::LimitReached if failed => {
                let detail = format!("{detail}; restarted {} times", item.entry.restarts);
                self.fail(id, Reason::RestartLimit, &detail, effects);
            }
            Verdict::LimitReached => {
                self.finish(id, AssignmentState::Succeeded, Some(Reason::Completed), "", effects);
            }
        }
    }

    /// The end of an assignment: ports are free again, and what nobody wants is removed.
    pub(super) fn finish(
        &mut self,
        id: AssignmentId,
        state: AssignmentState,
        reason: Option<Reason>,
        detail: &str,
        effects: &mut Vec<Effect>,
    ) {
        let Some(item) = self.items.get_mut(&id) else { return };
        self.ports.release(&item.entry.ports);
        item.end(state, reason, detail);
        if !item.entry.wanted {
            Self::remove(item, effects);
        }
    }

    pub(super) fn fail(&mut self, id: AssignmentId, reason: Reason, detail: &str, effects: &mut Vec<Effect>) {
        self.finish(id, AssignmentState::Failed, Some(reason), detail, effects);
    }

    pub(super) fn remove(item: &mut Assignment, effects: &mut Vec<Effect>) {
        item.stage = Stage::Removing;
        if let Some(container) = item.container().filter(|_| item.entry.started) {
            effects.push(Effect::KeepOutput { id: item.id(), container });
        }
        effects.push(Effect::Remove { id: item.id() });
    }

    pub(super) fn on_removed(
        &mut self,
        id: AssignmentId,
        result: Result<(), EngineFailure>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(item) = self.items.get_mut(&id).filter(|item| item.stage == Stage::Removing) else { return };
        match result {
            Ok(()) => item.stage = Stage::Removed,
            // The next list of containers tries again.
            Err(_) => item.stage = Stage::Ended,
        }
        self.forget_if_done(id, effects);
    }

    pub(super) fn on_acknowledged(&mut self, reports: &[(AssignmentId, u64)], effects: &mut Vec<Effect>) {
        for (id, number) in reports {
            if let Some(item) = self.items.get_mut(id) {
                item.acknowledge(*number);
            }
            self.forget_if_done(*id, effects);
        }
    }

    pub(super) fn forget_if_done(&mut self, id: AssignmentId, effects: &mut Vec<Effect>) {
        if self.items.get(&id).is_some_and(|item| item.stage == Stage::Removed && !item.has_news()) {
            self.items.remove(&id);
            effects.push(Effect::Journal(JournalChange::Delete(id)));
        }
    }
}
