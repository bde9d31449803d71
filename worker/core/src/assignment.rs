//! One assignment on this node: its journal entry and the volatile stage of the work on it.
//!
//! | stage | what is under way | leaves by |
//! |---|---|---|
//! | `Waiting` | nothing: engine, GPU or port is missing, or it is new | begin, unwanted |
//! | `Pulling`, `Creating`, `Starting` | one engine call | its result, unwanted |
//! | `Interrupted` | nothing: the engine was lost in the middle, or the worker restarted | the next list of containers |
//! | `Running` | the container runs | exit, unwanted, deadline |
//! | `BackingOff` | waits before a restart | time, unwanted |
//! | `Stopping` | SIGTERM was sent | exit |
//! | `Ended` | nothing; the container is kept for its logs while it is wanted | unwanted |
//! | `Removing` | container and network are being removed | result |
//! | `Removed` | nothing is left; the last report waits for its acknowledgement | acknowledgement |

use lode_protocol::assignment::{AssignmentReport, AssignmentState, Reason};
use lode_protocol::ids::AssignmentId;
use lode_protocol::image::pins;
use lode_protocol::session::AssignmentSpec;
use lode_protocol::units::{Millis, Timestamp};

use super::event::{Attempt, ContainerId, GpuFaultKind};
use super::journal::{Ended, Entry};

/// What is under way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    Waiting,
    Pulling {
        tries: u32,
    },
    /// With the image as the engine knows it. It is journalled with the container: until then nothing depends on it.
    Creating {
        image: String,
    },
    Starting,
    Interrupted,
    Running {
        since: Millis,
        probe: Probe,
    },
    BackingOff {
        until: Millis,
    },
    Stopping,
    Ended,
    Removing,
    Removed,
}

impl Stage {
    /// When time brings something.
    pub(super) fn due(&self) -> Option<Millis> {
        match self {
            Stage::BackingOff { until } => Some(*until),
            Stage::Running { probe: Probe::Due(at), .. } => Some(*at),
            Stage::Running { probe: Probe::Settled | Probe::Asking, .. }
            | Stage::Waiting
            | Stage::Pulling { .. }
            | Stage::Creating { .. }
            | Stage::Starting
            | Stage::Interrupted
            | Stage::Stopping
            | Stage::Ended
            | Stage::Removing
            | Stage::Removed => None,
        }
    }
}

/// Where readiness stands while the container runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Probe {
    /// Ready, or nothing to ask.
    Settled,
    /// A check is out.
    Asking,
    /// The next check is due then.
    Due(Millis),
}

/// One assignment.
#[derive(Clone, Debug)]
pub(super) struct Assignment {
    pub(super) entry: Entry,
    pub(super) stage: Stage,
    /// How often a host port turned out to be taken.
    pub(super) port_conflicts: u32,
    /// What a GPU reported about a program of this run: whether the hardware is to blame, and in words.
    pub(super) gpu_error: Option<(GpuFaultKind, String)>,
    /// What the journal holds.
    persisted: Option<Entry>,
    /// Last state that a report was made of, with the report's number.
    reported: Option<(Snapshot, u64)>,
    acknowledged: u64,
    /// The report of what is durable, with its number.
    durable: Option<(u64, AssignmentReport)>,
}

/// What makes a new report necessary when it changes.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Snapshot {
    state: AssignmentState,
    reason: Option<Reason>,
    restarts: u32,
    image: Option<String>,
}

impl Assignment {
    /// A new order.
    pub(super) fn new(order: AssignmentSpec, now: Timestamp) -> Self {
        let entry = Entry {
            order,
            attempt: 0,
            image: None,
            ports: Vec::new(),
            container: None,
            started: false,
            ready: false,
            stopping: None,
            restarts: 0,
            exit_code: None,
            ended: None,
            changed_at: now,
            wanted: true,
            stop_detail: None,
            failures: 0,
        };
        Self::of(entry)
    }

    /// From the journal after a restart of the worker.
    pub(super) fn recovered(entry: Entry) -> Self {
        let stage = if entry.ended.is_some() { Stage::Ended } else { Stage::Interrupted };
        let mut recovered = Self { stage, persisted: Some(entry.clone()), ..Self::of(entry) };
        recovered.durable = Some(recovered.report());
        recovered
    }

    fn of(entry: Entry) -> Self {
        Self {
            entry,
            stage: Stage::Waiting,
            port_conflicts: 0,
            gpu_error: None,
            persisted: None,
            reported: None,
            acknowledged: 0,
            durable: None,
        }
    }

    pub(super) fn id(&self) -> AssignmentId {
        self.entry.order.id
    }

    pub(super) fn attempt(&self) -> Attempt {
        Attempt(self.entry.attempt)
    }

    pub(super) fn container(&self) -> Option<ContainerId> {
        self.entry.container.clone().map(ContainerId)
    }

    /// The image to pull: as the task is pinned; else the content that this assignment has run before, so that a tag
    /// that was moved meanwhile does not change it; else as ordered.
    pub(super) fn wanted_image(&self) -> &str {
        let order = &self.entry.order;
        let before = self.entry.image.as_deref().filter(|image| pins(image, &order.spec.image));
        order.pinned_image.as_deref().or(before).unwrap_or(&order.spec.image)
    }

    /// Whether it keeps its GPUs from others.
    pub(super) fn holds_gpus(&self) -> bool {
        match self.stage {
            Stage::Waiting | Stage::Ended | Stage::Removed => false,
            // A container that has ended is merely being tidied away; one that was never started holds nothing either.
            Stage::Removing => false,
            Stage::Pulling { .. }
            | Stage::Creating { .. }
            | Stage::Starting
            | Stage::Interrupted
            | Stage::Running { .. }
            | Stage::BackingOff { .. }
            | Stage::Stopping => true,
        }
    }

    /// State as the orchestrator knows it.
    pub(super) fn state(&self) -> (AssignmentState, Option<Reason>) {
        if let Some(ended) = &self.entry.ended {
            return (ended.state, ended.reason);
        }
        match &self.stage {
            Stage::Waiting => (AssignmentState::Assigned, None),
            Stage::Pulling { .. } => (AssignmentState::Pulling, None),
            Stage::Creating { .. } | Stage::Starting => (AssignmentState::Starting, None),
            Stage::BackingOff { .. } => (AssignmentState::Starting, Some(Reason::CrashLoop)),
            Stage::Stopping => (AssignmentState::Stopping, self.entry.stopping),
            Stage::Running { .. } if self.entry.ready => (AssignmentState::Running, None),
            Stage::Running { .. } => (AssignmentState::Starting, None),
            // Nothing is known while the engine does not answer: what was last true stands.
            Stage::Interrupted | Stage::Ended | Stage::Removing | Stage::Removed => match self.entry {
                Entry { stopping: Some(reason), .. } => (AssignmentState::Stopping, Some(reason)),
                Entry { ready: true, .. } => (AssignmentState::Running, None),
                Entry { started: true, .. } => (AssignmentState::Starting, None),
                _ => (AssignmentState::Assigned, None),
            },
        }
    }

    /// Marks it as over.
    pub(super) fn end(&mut self, state: AssignmentState, reason: Option<Reason>, detail: impl Into<String>) {
        let mut detail: String = detail.into();
        if detail.len() > AssignmentReport::MAX_DETAIL {
            let cut =
                (0..=AssignmentReport::MAX_DETAIL).rev().find(|at| detail.is_char_boundary(*at)).unwrap_or(0);
            detail.truncate(cut);
        }
        self.entry.ended = Some(Ended { state, reason, detail });
        self.stage = Stage::Ended;
    }

    /// Begins a new try: results of older ones no longer count.
    pub(super) fn next_attempt(&mut self) {
        self.entry.attempt = self.entry.attempt.saturating_add(1);
        self.entry.container = None;
        self.entry.started = false;
        self.entry.ready = false;
    }

    /// It is started once more.
    pub(super) fn count_restart(&mut self) {
        self.entry.restarts = self.entry.restarts.saturating_add(1);
        self.entry.failures = self.entry.failures.saturating_add(1);
    }

    /// The entry to write if it differs from the journal's.
    pub(super) fn take_unsaved(&mut self) -> Option<Entry> {
        if self.persisted.as_ref() == Some(&self.entry) {
            return None;
        }
        self.persisted = Some(self.entry.clone());
        Some(self.entry.clone())
    }

    /// Notes a change of what is reported; true if there is news.
    pub(super) fn note_change(&mut self, now: Timestamp) -> bool {
        let (state, reason) = self.state();
        let snapshot =
            Snapshot { state, reason, restarts: self.entry.restarts, image: self.entry.image.clone() };
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
    pub(super) fn report(&self) -> (u64, AssignmentReport) {
        let (state, reason) = self.state();
        let number = self.reported.as_ref().map_or(0, |(_, number)| *number);
        let detail = self.entry.ended.as_ref().map(|ended| ended.detail.clone()).unwrap_or_default();
        let report = AssignmentReport {
            id: self.id(),
            state,
            reason,
            detail,
            exit_code: self.entry.exit_code,
            restarts: self.entry.restarts,
            gpus: self.entry.order.gpus.clone(),
            ports: self.entry.ports.clone(),
            image: self.entry.image.clone(),
            at: self.entry.changed_at,
        };
        (number, report)
    }

    /// What it is now is durable.
    pub(super) fn note_durable(&mut self) {
        let number = self.reported.as_ref().map_or(0, |(_, number)| *number);
        if self.durable.as_ref().map(|(noted, _)| *noted) != Some(number) {
            self.durable = Some(self.report());
        }
    }

    /// The report of what is durable. Of an order that is not, nothing can be said but that it came.
    pub(super) fn durable_report(&self) -> (u64, AssignmentReport) {
        self.durable.clone().unwrap_or_else(|| {
            let (_, report) = self.report();
            let report = AssignmentReport {
                state: AssignmentState::Assigned,
                reason: None,
                detail: String::new(),
                exit_code: None,
                ports: Vec::new(),
                image: None,
                ..report
            };
            (0, report)
        })
    }

    /// Whether a report waits to be acknowledged.
    pub(super) fn has_news(&self) -> bool {
        self.reported.as_ref().is_some_and(|(_, number)| *number > self.acknowledged)
    }

    pub(super) fn acknowledge(&mut self, number: u64) {
        self.acknowledged = self.acknowledged.max(number);
    }
}
