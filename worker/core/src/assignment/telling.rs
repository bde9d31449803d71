//! What is told of an assignment: reports, numbered by what changed in them, of what is durable.

use lode_protocol::assignment::{AssignmentReport, AssignmentState};
use lode_protocol::units::Timestamp;

use super::{Assignment, Snapshot, Stage, Unstopped};

impl Assignment {
    /// What people should know of it beside its state.
    fn detail(&self) -> String {
        if let Some(ended) = &self.entry.ended {
            return ended.detail.clone();
        }
        match (&self.stage, &self.unstopped, &self.unready) {
            (Stage::HeldOff { why, .. }, _, _) => cut(why.clone()),
            (_, Some(Unstopped { why: Some(why), .. }), _) => {
                cut(format!("its container cannot be stopped and still runs; it is tried again: {why}"))
            }
            (_, _, Some(why)) => cut(why.clone()),
            (_, _, None) => String::new(),
        }
    }

    /// Notes a change of what is reported; true if there is news.
    pub(crate) fn note_change(&mut self, now: Timestamp) -> bool {
        let (state, reason) = self.state();
        let snapshot = Snapshot {
            state,
            reason,
            restarts: self.entry.restarts,
            image: self.entry.image.clone(),
            detail: self.detail(),
        };
        match &mut self.reported {
            Some((last, _)) if *last == snapshot => false,
            Some((last, number)) => {
                if last.state != snapshot.state {
                    self.entry.changed_at = now;
                }
                *last = snapshot;
                *number += 1;
                true
            }
            none => {
                *none = Some((snapshot, 1));
                true
            }
        }
    }

    /// The report with its number, for an acknowledgement.
    pub(crate) fn report(&self) -> (u64, AssignmentReport) {
        let (state, reason) = self.state();
        let number = self.reported.as_ref().map_or(0, |(_, number)| *number);
        let report = AssignmentReport {
            id: self.id(),
            state,
            reason,
            detail: self.detail(),
            exit_code: self.entry.exit_code,
            restarts: self.entry.restarts,
            gpus: self.entry.order.gpus.clone(),
            ports: self.entry.ports.clone(),
            image: self.entry.image.clone(),
            at: self.entry.changed_at,
            phase: self.entry.ended.as_ref().and_then(|ended| ended.phase),
        };
        (number, report)
    }

    /// What it is now is durable.
    pub(crate) fn note_durable(&mut self) {
        let number = self.reported.as_ref().map_or(0, |(_, number)| *number);
        if self.durable.as_ref().map(|(noted, _)| *noted) != Some(number) {
            self.durable = Some(self.report());
        }
    }

    /// The report of what is durable. Of an order that is not, nothing can be said but that it came.
    pub(crate) fn durable_report(&self) -> (u64, AssignmentReport) {
        self.durable.clone().unwrap_or_else(|| {
            let (_, report) = self.report();
            let report = AssignmentReport {
                state: AssignmentState::Assigned,
                reason: None,
                detail: String::new(),
                exit_code: None,
                ports: Vec::new(),
                image: None,
                phase: None,
                ..report
            };
            (0, report)
        })
    }

    /// Whether a report waits to be acknowledged.
    pub(crate) fn has_news(&self) -> bool {
        self.reported.as_ref().is_some_and(|(_, number)| *number > self.acknowledged)
    }

    pub(crate) fn acknowledge(&mut self, number: u64) {
        self.acknowledged = self.acknowledged.max(number);
    }
}

/// As much of a text as a report may hold.
pub(crate) fn cut(mut text: String) -> String {
    if text.len() > AssignmentReport::MAX_DETAIL {
        let end = (0..=AssignmentReport::MAX_DETAIL).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or(0));
    }
    text
}
