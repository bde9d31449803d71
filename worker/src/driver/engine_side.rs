//! The driver's half that deals with the container engine and the GPUs.

use std::sync::atomic::Ordering;

use lode_program::Finding;
use lode_store::Batch;

use super::executor::Done;
use super::{Driver, Held, Sight};
use crate::core::effect::Effect;
use crate::core::event::{Attempt, EngineFailure, Event};
use crate::core::session;
use crate::journal;

impl Driver {
    /// Feeds the reconciler; effects go out once the journal is durable. Only the pull of a first try does not wait: it
    /// leaves nothing that must be remembered, and nothing of that assignment can be on its way before it.
    pub(super) fn step_assignments(&mut self, event: Event) {
        let effects = self.assignments.step(self.now(), event);
        let mut batch = Batch::new();
        let mut then = Vec::new();
        for effect in effects {
            match effect {
                Effect::Journal(change) => journal::apply(&mut batch, &change),
                Effect::Pull { attempt: Attempt(0), .. } => self.executor.take(effect),
                other => then.push(Held::Engine(other)),
            }
        }
        if batch.is_empty() && (then.is_empty() || self.commits.is_clean()) {
            self.release(then);
        } else {
            self.commits.push(batch, then);
        }
    }

    pub(super) fn on_done(&mut self, done: Done) {
        if let Some(Event::Created(..) | Event::Started(..) | Event::Removed(..)) = done.event {
            self.shared.activity.fetch_add(1, Ordering::AcqRel);
        }
        if let Some(event) = done.event {
            self.step_assignments(event);
        }
        if let Some(failure) = done.silent {
            self.engine_lost(&failure);
            self.shared.look.notify_one();
        }
    }

    pub(super) fn on_sight(&mut self, sight: Sight) {
        match sight {
            Sight::Listed(containers, activity) => {
                if self.shared.activity.load(Ordering::Acquire) != activity {
                    // Something changed while the list was made: it may miss what was just started.
                    self.shared.look.notify_one();
                    return;
                }
                self.engine_answers = Some(true);
                self.findings.clear_code("docker/unavailable");
                self.step_assignments(Event::Observed(containers));
            }
            Sight::Lost(failure) => self.engine_lost(&failure),
        }
    }

    fn engine_lost(&mut self, failure: &EngineFailure) {
        if self.engine_answers != Some(false) {
            self.metrics.engine_lost.inc();
        }
        self.engine_answers = Some(false);
        let detail = match failure {
            EngineFailure::Unavailable(detail) | EngineFailure::Other(detail) => detail.clone(),
            other => format!("{other:?}"),
        };
        let message = format!("Docker does not answer; tasks go on, nothing new is started: {detail}");
        self.findings.raise(Finding::error("docker/unavailable", message).remedy(
            "look whether dockerd runs and whether this user may use docker.socket; it is tried again",
        ));
        self.step_assignments(Event::EngineLost);
    }

    pub(super) fn on_gpus(&mut self) {
        let view = self.inputs.gpus.borrow_and_update().clone();
        if !view.looked {
            return;
        }
        let health: Vec<_> = view.statuses.iter().map(|status| (status.uuid.clone(), status.state)).collect();
        if self.gpu_health.as_ref() == Some(&health) {
            return;
        }
        self.gpu_health = Some(health);
        self.step_assignments(Event::GpusUsable(view.usable.clone()));
        self.step_session(session::Event::News);
    }
}
