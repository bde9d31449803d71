//! What the checks of a running container mean: when it counts as running, when it no longer does, when it is started
//! again.

use lode_protocol::assignment::Reason;
use lode_protocol::ids::AssignmentId;
use lode_protocol::units::Millis;

use super::Assignments;
use crate::assignment::{Assignment, Stage};
use crate::checks::Verdict;
use crate::effect::Command;
use crate::event::{ContainerId, Now};
use crate::restart;

impl Assignments {
    pub(crate) fn on_probed(
        &mut self,
        now: Now,
        id: AssignmentId,
        container: &ContainerId,
        result: Result<(), String>,
        commands: &mut Vec<Command>,
    ) {
        let item = self.checked(id, container).filter(|item| item.unhealthy.is_none());
        let Some(item) = item else { return };
        let Stage::Running { checks, .. } = &mut item.stage else { return };
        match checks.answered(&item.entry.order.spec, now.monotonic, result) {
            Verdict::Nothing => {}
            Verdict::Ready => {
                item.entry.ready = true;
                item.unready = None;
            }
            Verdict::Unready(why) => {
                item.entry.ready = false;
                item.unready = Some(why);
            }
            Verdict::NeverReady(why) => {
                item.entry.stop_detail = Some(why);
                Self::stop(item, Reason::NeverReady, commands);
            }
            Verdict::Dead(why) => {
                item.entry.ready = false;
                item.unready = Some(why.clone());
                item.unhealthy = Some(why);
                // Its end is judged as a failure, by its restart policy.
                Self::tell_to_stop(item, commands);
            }
        }
    }

    /// A check could not be asked, because the engine did not answer.
    pub(crate) fn on_unprobed(&mut self, now: Now, id: AssignmentId, container: &ContainerId) {
        let Some(item) = self.checked(id, container) else { return };
        if let Stage::Running { checks, .. } = &mut item.stage {
            checks.unanswered(&item.entry.order.spec, now.monotonic);
        }
    }

    fn checked(&mut self, id: AssignmentId, container: &ContainerId) -> Option<&mut Assignment> {
        self.items.get_mut(&id).filter(|item| item.container().as_ref() == Some(container))
    }

    /// The end of a container that was stopped because it did not live any more, whatever its exit code.
    pub(super) fn end_unhealthy(
        &mut self,
        now: Now,
        id: AssignmentId,
        detail: &str,
        commands: &mut Vec<Command>,
    ) {
        let Some(item) = self.items.get_mut(&id) else { return };
        match restart::judge(item.entry.order.spec.effective_restart(), true, item.entry.failures) {
            restart::Verdict::Restart => {
                let wait = restart::RESTARTS.wait(item.entry.failures);
                item.count_restart();
                item.entry.ready = false;
                item.unready = Some(detail.to_owned());
                item.stage = Stage::BackingOff { until: Millis(now.monotonic.0.saturating_add(wait.0)) };
            }
            restart::Verdict::Final => self.fail(id, Reason::Unhealthy, detail, commands),
            restart::Verdict::LimitReached => {
                let detail = format!("{detail}; restarted {} times", item.entry.failures);
                self.fail(id, Reason::RestartLimit, &detail, commands);
            }
        }
    }
}
