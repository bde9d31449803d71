//! Containers that run on although the engine was told to stop them: it is told again and again, with growing pauses, and
//! people hear of it. Meanwhile they hold their GPUs.

use lode_protocol::assignment::Reason;
use lode_protocol::backoff::BackoffPolicy;
use lode_protocol::finding::Finding;
use lode_protocol::ids::AssignmentId;
use lode_protocol::units::Millis;

use super::Assignments;
use crate::assignment::{Assignment, Stage, Unstopped};
use crate::effect::Command;
use crate::event::{ContainerId, EngineFailure, Now};
use crate::time::after;

/// Longest time that a task is given to end by itself on a GPU that is broken.
const GRACE_ON_BROKEN_GPU: Millis = Millis::seconds(10);
/// Pauses between tries.
const TRIES: BackoffPolicy = BackoffPolicy::new(Millis(500), Millis::seconds(15));

impl Assignments {
    /// Has the engine stop the container of an assignment.
    pub(super) fn tell_to_stop(item: &mut Assignment, commands: &mut Vec<Command>) {
        let Some(container) = item.container() else { return };
        if let Some(unstopped) = &mut item.unstopped {
            unstopped.again = None;
        }
        let grace = item.entry.order.spec.stop_grace;
        // Nothing that it still does on a broken GPU is of use to anybody.
        let broken = item.entry.stopping == Some(Reason::GpuLost);
        let grace = if broken { grace.min(GRACE_ON_BROKEN_GPU) } else { grace };
        commands.push(Command::Stop { id: item.id(), container, grace });
    }

    /// The engine could not stop a container.
    pub(crate) fn on_stop_failed(
        &mut self,
        now: Now,
        id: AssignmentId,
        container: &ContainerId,
        failure: &EngineFailure,
    ) {
        let Some(item) = self.items.get_mut(&id) else { return };
        if item.container().as_ref() != Some(container) || !is_being_stopped(item) {
            return;
        }
        let tries = item.unstopped.as_ref().map_or(0, |known| known.tries);
        let again = Some(after(now.monotonic, TRIES.wait(tries)));
        // Of an engine that does not answer it is said already; of the container nothing is known.
        let why = match failure {
            EngineFailure::Unavailable(_) => item.unstopped.as_ref().and_then(|known| known.why.clone()),
            other => Some(other.detail().to_owned()),
        };
        item.unstopped = Some(Unstopped { tries: tries.saturating_add(1), again, why });
    }

    pub(super) fn stop_once_more(item: &mut Assignment, now: Now, commands: &mut Vec<Command>) {
        let again = item.unstopped.as_ref().and_then(|unstopped| unstopped.again);
        if again.is_some_and(|again| again <= now.monotonic) {
            Self::tell_to_stop(item, commands);
        }
    }

    /// What the host's owner should know.
    pub(crate) fn unstopped(&self) -> Option<Finding> {
        let said = |item: &Assignment| Some((item.id(), item.unstopped.as_ref()?.why.clone()?));
        let mut all = self.items.values().filter_map(said);
        let (id, why) = all.next()?;
        let others = all.count();
        let more = if others > 0 { format!(" ({others} more)") } else { String::new() };
        let words = format!(
            "the container of {id} cannot be stopped and still runs{more}; its GPUs are held back: {why}"
        );
        Some(Finding::error("docker/cannot-stop", words).remedy(
            "look for processes that wait for a disk or a GPU (state D) and for messages of the kernel; \
             if nothing helps, drain the node and restart the host. It is tried again",
        ))
    }
}

fn is_being_stopped(item: &Assignment) -> bool {
    match item.stage {
        Stage::Stopping => true,
        Stage::Running { .. } => item.unhealthy.is_some(),
        Stage::Waiting
        | Stage::Pulling { .. }
        | Stage::HeldOff { .. }
        | Stage::Creating { .. }
        | Stage::Starting
        | Stage::Interrupted
        | Stage::Examining
        | Stage::BackingOff { .. }
        | Stage::Ended
        | Stage::Removing
        | Stage::Removed => false,
    }
}
