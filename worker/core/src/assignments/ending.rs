//! From a container's end to the last trace of it: the end is examined before it is judged ([`super::verdict`]), what is
//! left is removed, and at last it is forgotten.

use lode_protocol::assignment::{AssignmentState, Fault, Reason};
use lode_protocol::ids::AssignmentId;
use lode_protocol::units::Millis;

use super::Assignments;
use super::verdict::{self, Cause, Scene};
use crate::assignment::{Assignment, Stage};
use crate::effect::Command;
use crate::event::{ContainerId, Ending, EngineFailure, Exit, Now};
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
            | Stage::HeldOff { .. }
            | Stage::Creating { .. }
            | Stage::Examining
            | Stage::BackingOff { .. }
            | Stage::Ended
            | Stage::Removing
            | Stage::Removed => return,
        };
        let unhealthy = item.unhealthy.take();
        item.is_gone();
        if let Some(reason) = item.entry.stopping {
            item.entry.exit_code = Some(exit.code);
            return self.stopped(id, reason, commands);
        }
        if since.is_some_and(|since| now.monotonic.0.saturating_sub(since.0) >= HEALTHY_RUN.0) {
            item.entry.failures = 0;
        }
        if let Some(detail) = unhealthy {
            item.entry.exit_code = Some(exit.code);
            return self.end_unhealthy(now, id, &detail, commands);
        }
        item.stage = Stage::Examining;
        commands.push(Command::Examine { id, container: container.clone() });
    }

    /// What is known of how a container came to its end.
    pub(crate) fn on_examined(
        &mut self,
        now: Now,
        id: AssignmentId,
        container: &ContainerId,
        result: Result<Ending, EngineFailure>,
        commands: &mut Vec<Command>,
    ) {
        let Some(item) = self.items.get_mut(&id).filter(|item| item.stage == Stage::Examining) else {
            return;
        };
        if item.container().as_ref() != Some(container) {
            return;
        }
        match result {
            Ok(ending) => self.judge_end(now, id, &ending, commands),
            // The next list of containers tells that it has ended, and it is examined again.
            Err(EngineFailure::Unavailable(_)) => {
                item.stage = Stage::Interrupted;
                if !item.entry.wanted {
                    item.entry.stopping = item.entry.stopping.or(Some(Reason::StopRequested));
                }
                self.engine_answers = false;
            }
            // It was removed meanwhile, or somebody started it again.
            Err(_) => self.on_vanished(now, id, commands),
        }
    }

    fn judge_end(&mut self, now: Now, id: AssignmentId, ending: &Ending, commands: &mut Vec<Command>) {
        let Some(item) = self.items.get_mut(&id) else { return };
        let mut gpus = item.entry.order.gpus.iter();
        let lost_gpu = self.gpus.as_ref().and_then(|usable| gpus.find(|gpu| !usable.contains(gpu)));
        let scene = Scene {
            run: item.entry.run.as_ref(),
            memory: item.entry.order.spec.resources.memory,
            disk: item.entry.order.spec.resources.disk,
            lost_gpu,
            gpu_error: item.gpu_error.as_ref(),
        };
        let cause = verdict::cause(ending, &scene);
        item.gpu_error = None;
        // What an engine wrote down that brought the container to its end is not the task's word.
        item.entry.exit_code = cause.has_exit_code().then_some(ending.exit.code);
        let (failed, detail) = match cause {
            Cause::EndedFromOutside { reason, detail } | Cause::LetDown { reason, detail } => {
                return self.fail(id, reason, &detail, commands);
            }
            Cause::Success { remark } => (None, remark),
            Cause::Failure { reason, detail } => (Some(reason), detail),
        };
        if !item.entry.wanted {
            let state = if failed.is_some() { AssignmentState::Failed } else { AssignmentState::Succeeded };
            return self.finish(id, state, failed.or(Some(Reason::Completed)), &detail, commands);
        }
        let restart = item.entry.order.spec.effective_restart();
        match (restart::judge(restart, failed.is_some(), item.entry.failures), failed) {
            (Verdict::Restart, _) => {
                let wait = restart::RESTARTS.wait(item.entry.failures);
                item.count_restart();
                item.entry.ready = false;
                item.stage = Stage::BackingOff { until: Millis(now.monotonic.0.saturating_add(wait.0)) };
            }
            (Verdict::Final, Some(reason)) => self.fail(id, reason, &detail, commands),
            (Verdict::LimitReached, Some(_)) => {
                let detail = format!("{detail}; restarted {} times", item.entry.failures);
                self.fail(id, Reason::RestartLimit, &detail, commands);
            }
            (Verdict::Final | Verdict::LimitReached, None) => {
                self.finish(id, AssignmentState::Succeeded, Some(Reason::Completed), &detail, commands);
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
            Ok(()) => (item.stage, item.unremoved) = (Stage::Removed, None),
            // The next list of containers tries again.
            Err(failure) => {
                item.stage = Stage::Ended;
                if !matches!(failure, EngineFailure::Unavailable(_)) {
                    item.unremoved = Some(failure.detail().to_owned());
                }
            }
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
