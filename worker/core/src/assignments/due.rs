//! What time brings: restarts after a back-off and checks of readiness.

use lode_protocol::assignment::Reason;
use lode_protocol::ids::AssignmentId;
use lode_protocol::task::ReadinessProbe;
use lode_protocol::units::Millis;

use super::Assignments;
use crate::assignment::{Probe, Stage};
use crate::effect::Command;
use crate::event::{ContainerId, Now};

impl Assignments {
    /// Deadlines: restarts and readiness checks.
    pub(crate) fn on_time(&mut self, now: Now, commands: &mut Vec<Command>) {
        if !self.engine_answers {
            return;
        }
        for item in self.items.values_mut() {
            let (id, attempt) = (item.id(), item.attempt());
            let Some(container) = item.container() else { continue };
            match &mut item.stage {
                Stage::BackingOff { until } if *until <= now.monotonic => {
                    item.stage = Stage::Starting;
                    commands.push(Command::Start { id, attempt, container });
                }
                Stage::Running { probe, .. } => {
                    let Probe::Due(at) = probe else { continue };
                    let Some(readiness) =
                        item.entry.order.spec.readiness.as_ref().filter(|_| *at <= now.monotonic)
                    else {
                        continue;
                    };
                    *probe = Probe::Asking;
                    commands.push(Command::Probe {
                        id,
                        container,
                        action: readiness.check.clone(),
                        ports: item.entry.ports.clone(),
                        timeout: readiness.timeout,
                    });
                }
                Stage::BackingOff { .. }
                | Stage::Waiting
                | Stage::Pulling { .. }
                | Stage::Creating { .. }
                | Stage::Starting
                | Stage::Interrupted
                | Stage::Stopping
                | Stage::Ended
                | Stage::Removing
                | Stage::Removed => {}
            }
        }
    }

    pub(crate) fn on_probed(
        &mut self,
        now: Now,
        id: AssignmentId,
        container: &ContainerId,
        result: Result<(), String>,
        commands: &mut Vec<Command>,
    ) {
        let Some(item) = self.items.get_mut(&id) else { return };
        if item.container().as_ref() != Some(container) {
            return;
        }
        let Stage::Running { since, probe } = &mut item.stage else { return };
        let Some(ReadinessProbe { interval, deadline, .. }) = item.entry.order.spec.readiness.clone() else {
            return;
        };
        match result {
            Ok(()) => {
                *probe = Probe::Settled;
                item.entry.ready = true;
            }
            Err(_) if now.monotonic.0.saturating_sub(since.0) >= deadline.0 => {
                Self::stop(item, Reason::NeverReady, commands);
            }
            Err(_) => *probe = Probe::Due(Millis(now.monotonic.0.saturating_add(interval.0))),
        }
    }
}
