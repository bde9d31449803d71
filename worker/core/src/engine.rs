//! What the container engine says, and what its silence means.

use lode_protocol::finding::Finding;

use super::Worker;
use super::event::{EngineEvent, EngineFailure, Now};

impl Worker {
    pub(super) fn engine(&mut self, now: Now, event: EngineEvent) {
        let commands = &mut self.out.commands;
        let silent = match event {
            EngineEvent::Observed(run, containers) => {
                if self.scans.listed(now) {
                    self.notices.clear("docker/unavailable");
                    self.assignments.on_observed(now, run, containers, commands);
                    self.assignments.survey(commands);
                }
                None
            }
            EngineEvent::ScanFailed(failure) => {
                self.scans.failed(now);
                Some(failure)
            }
            EngineEvent::Silent(failure) => failure.silence(),
            EngineEvent::Pulled(id, attempt, result) => {
                let silent = result.as_ref().err().and_then(EngineFailure::silence);
                self.assignments.on_pulled(now, id, attempt, result, commands);
                silent
            }
            EngineEvent::Created(id, attempt, result) => {
                self.scans.call_ended();
                let silent = result.as_ref().err().and_then(EngineFailure::silence);
                self.notices.room(&result);
                self.assignments.on_created(id, attempt, result, commands);
                silent
            }
            EngineEvent::Started(id, attempt, result) => {
                self.scans.call_ended();
                let silent = result.as_ref().err().and_then(EngineFailure::silence);
                self.assignments.on_started(now, id, attempt, result, commands);
                silent
            }
            EngineEvent::Exited(id, container, exit) => {
                self.assignments.on_exited(now, id, &container, exit, commands);
                None
            }
            EngineEvent::Examined(id, container, result) => {
                let silent = result.as_ref().err().and_then(EngineFailure::silence);
                self.assignments.on_examined(now, id, &container, result, commands);
                silent
            }
            EngineEvent::Probed(id, container, result) => {
                self.assignments.on_probed(now, id, &container, result, commands);
                None
            }
            EngineEvent::Unprobed(id, container, failure) => {
                self.assignments.on_unprobed(now, id, &container);
                failure.silence()
            }
            EngineEvent::StrayLeft(container, failure) => {
                let silent = failure.silence();
                self.assignments.on_stray_left(container, &failure);
                silent
            }
            EngineEvent::StopFailed(id, container, failure) => {
                self.assignments.on_stop_failed(now, id, &container, &failure);
                failure.silence()
            }
            EngineEvent::Removed(id, result) => {
                self.scans.call_ended();
                let silent = result.as_ref().err().and_then(EngineFailure::silence);
                self.assignments.on_removed(id, result);
                silent
            }
            EngineEvent::Surveyed(space) => {
                self.assignments.on_surveyed(now, space, commands);
                None
            }
            EngineEvent::ImageRemoved(image, result) => {
                let silent = result.as_ref().err().and_then(EngineFailure::silence);
                self.assignments.on_image_removed(now, &image, &result, commands);
                silent
            }
        };
        if let Some(failure) = silent {
            self.engine_lost(now, &failure);
        }
    }

    fn engine_lost(&mut self, now: Now, failure: &EngineFailure) {
        self.scans.silent(now);
        let words =
            format!("Docker does not answer; tasks go on, nothing new is started: {}", failure.detail());
        self.notices.raise(Finding::error("docker/unavailable", words).remedy(
            "look whether dockerd runs and whether this user may use docker.socket; it is tried again",
        ));
        self.assignments.engine_lost();
    }
}
