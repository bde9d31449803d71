//! What time brings: restarts after a back-off, another pull where a registry took no more requests, checks of readiness and liveness, another try to stop a container.

use lode_protocol::units::Millis;

use super::Assignments;
use crate::assignment::Stage;
use crate::effect::Command;
use crate::event::Now;

impl Assignments {
    /// Deadlines.
    pub(crate) fn on_time(&mut self, now: Now, commands: &mut Vec<Command>) {
        if !self.engine_answers {
            return;
        }
        for item in self.items.values_mut() {
            let id = item.id();
            if matches!(item.stage, Stage::HeldOff { until, .. } if until <= now.monotonic) {
                item.stage = Stage::Pulling { tries: 1 };
                commands.push(Self::pull(item, Millis(0)));
                continue;
            }
            let Some(container) = item.container() else { continue };
            Self::stop_once_more(item, now, commands);
            match &mut item.stage {
                Stage::BackingOff { until } if *until <= now.monotonic => {
                    commands.extend(item.start(self.run.as_ref()));
                }
                Stage::Running { checks, .. } => {
                    let due = checks.next(&item.entry.order.spec, now.monotonic);
                    commands.extend(due.map(|(action, timeout)| Command::Probe {
                        id,
                        container,
                        action,
                        ports: item.entry.ports.clone(),
                        timeout,
                    }));
                }
                Stage::BackingOff { .. }
                | Stage::Waiting
                | Stage::Pulling { .. }
                | Stage::HeldOff { .. }
                | Stage::Creating { .. }
                | Stage::Starting
                | Stage::Interrupted
                | Stage::Examining
                | Stage::Stopping
                | Stage::Ended
                | Stage::Removing
                | Stage::Removed => {}
            }
        }
    }
}
