//! From a container's end to the last trace of it: how an exit is judged, what is removed, when it is forgotten.

use lode_protocol::assignment::{AssignmentState, Fault, Reason};
use lode_protocol::ids::AssignmentId;
use lode_protocol::units::Millis;

use super::Assignments;
use crate::assignment::{Assignment, Stage};
use crate::effect::Command;
use crate::event::{ContainerId, EngineFailure, Exit, GpuFaultKind, Now};
use crate::journal::Change;
use crate::restart::{self, HEALTHY_RUN, Verdict};

impl Assignments {
    pub(crate) fn on_exited(
        &mut self,
        now: Now,
        id: AssignmentId,
        container: &ContainerId,
        exit: Exit,
        commands: &mut Vec<Command>,
    ) {
        let Some(item) = self.items.get_mut(&id) else { return };
        if item.entry.ended.is_some() || item.container().as_ref() != Some(container) {
            return;
        }
        let since = match item.stage {
            Stage::Running { since, .. } => Some(since),
            Stage::Stopping | Stage::Interrupted | Stage::Starting => None,
            Stage::Waiting
            | Stage::Pulling { .. }
            | Stage::Creating { .. }
            | Stage::BackingOff { .. }
            | Stage::Ended
            | Stage::Removing
            | Stage::Removed => return,
        };
        item.entry.exit_code = Some(exit.code);
        if let Some(reason) = item.entry.stopping {
            return self.stopped(id, reason, commands);
        }
        if since.is_some_and(|since| now.monotonic.0.saturating_sub(since.0) >= HEALTHY_RUN.0) {
            item.entry.failures = 0;
        }
        self.judge_exit(now, id, exit, commands);
    }

    pub(super) fn judge_exit(&mut self, now: Now, id: AssignmentId, exit: Exit, commands: &mut Vec<Command>) {
        let Some(item) = self.items.get_mut(&id) else { return };
        let failed = exit.code != 0 || exit.out_of_memory;
        let lost_gpu = self
            .gpus
            .as_ref()
            .and_then(|usable| item.entry.order.gpus.iter().find(|gpu| !usable.contains(gpu)));
        if let (true, Some(gpu)) = (failed, lost_gpu) {
            let detail = format!("GPU {gpu} failed while the task ran (exit code {})", exit.code);
            return self.fail(id, Reason::GpuLost, &detail, commands);
        }
        let gpu_error = item.gpu_error.take().filter(|_| failed);
        if let Some((GpuFaultKind::Broken | GpuFaultKind::LostProgram, error)) = &gpu_error {
            let detail = format!("{error} (exit code {})", exit.code);
            return self.fail(id, Reason::GpuLost, &detail, commands);
        }
        let (reason, mut detail) = if exit.out_of_memory {
            let limit = item.entry.order.spec.resources.memory;
            (Reason::OomKilled, format!("killed for using more than its memory limit ({limit})"))
        } else {
            (Reason::ExitedWithError, format!("exit code {}", exit.code))
        };
        if let Some((GpuFaultKind::ProgramError, error)) = gpu_error {
            detail = format!("{detail}; {error}");
        }
        match restart::judge(item.entry.order.spec.effective_restart(), failed, item.entry.failures) {
            Verdict::Restart => {
                let wait = restart::RESTARTS.wait(item.entry.failures);
                item.count_restart();
                item.entry.ready = false;
                item.stage = Stage::BackingOff { until: Millis(now.monotonic.0.saturating_add(wait.0)) };
            }
            Verdict::Final if failed => self.fail(id, reason, &detail, commands),
            Verdict::Final => {
                self.finish(id, AssignmentState::Succeeded, Some(Reason::Completed), "", commands);
            }
            Verdict::LimitReached if failed => {
                let detail = format!("{detail}; restarted {} times", item.entry.failures);
                self.fail(id, Reason::RestartLimit, &detail, commands);
            }
            Verdict::LimitReached => {
                self.finish(id, AssignmentState::Succeeded, Some(Reason::Completed), "", commands);
            }
        }
    }

    /// The end of one that was told to stop: whose fault it is says the reason.
    pub(super) fn stopped(&mut self, id: AssignmentId, reason: Reason, commands: &mut Vec<Command>) {
        let state = match reason.fault() {
            Some(Fault::Task | Fault::Node) => AssignmentState::Failed,
            Some(Fault::Operator) | None => AssignmentState::Stopped,
        };
        let detail = self.items.get(&id).and_then(|item| item.entry.stop_detail.clone()).unwrap_or_default();
        self.finish(id, state, Some(reason), &detail, commands);
    }

    /// The end of an assignment: ports are free again, and what nobody wants is removed.
    pub(super) fn finish(
        &mut self,
        id: AssignmentId,
        state: AssignmentState,
        reason: Option<Reason>,
        detail: &str,
        commands: &mut Vec<Command>,
    ) {
        let Some(item) = self.items.get_mut(&id) else { return };
        self.ports.release(&item.entry.ports);
        item.end(state, reason, detail);
        if !item.entry.wanted {
            Self::remove(item, commands);
        }
    }

    pub(super) fn fail(
        &mut self,
        id: AssignmentId,
        reason: Reason,
        detail: &str,
        commands: &mut Vec<Command>,
    ) {
        self.finish(id, AssignmentState::Failed, Some(reason), detail, commands);
    }

    pub(super) fn remove(item: &mut Assignment, commands: &mut Vec<Command>) {
        item.stage = Stage::Removing;
        if let Some(container) = item.container().filter(|_| item.entry.started) {
            commands.push(Command::KeepOutput { id: item.id(), container });
        }
        commands.push(Command::Remove { id: item.id() });
    }

    pub(crate) fn on_removed(&mut self, id: AssignmentId, result: Result<(), EngineFailure>) {
        let Some(item) = self.items.get_mut(&id).filter(|item| item.stage == Stage::Removing) else { return };
        match result {
            Ok(()) => item.stage = Stage::Removed,
            // The next list of containers tries again.
            Err(_) => item.stage = Stage::Ended,
        }
        self.forget_if_done(id);
    }

    pub(crate) fn on_acknowledged(&mut self, reports: &[(AssignmentId, u64)]) {
        for (id, number) in reports {
            if let Some(item) = self.items.get_mut(id) {
                item.acknowledge(*number);
            }
            self.forget_if_done(*id);
        }
    }

    fn forget_if_done(&mut self, id: AssignmentId) {
        if self.items.get(&id).is_some_and(|item| item.stage == Stage::Removed && !item.has_news()) {
            self.items.remove(&id);
            self.changes.push(Change::forget(&id));
        }
    }
}
