//! One assignment on this node: its journal entry and the volatile stage of the work on it.
//!
//! | stage | what is under way | leaves by |
//! |---|---|---|
//! | `Waiting` | nothing: engine, GPU or port is missing, or it is new | begin, unwanted |
//! | `Pulling`, `Creating`, `Starting` | one engine call | its result, unwanted |
//! | `HeldOff` | the registry takes no more requests for now | time, unwanted |
//! | `Interrupted` | nothing: the engine was lost in the middle, or the worker restarted | the next list of containers |
//! | `Running` | the container runs, and is checked | exit, unwanted, deadline |
//! | `Examining` | it has ended; how, is being found out | the result |
//! | `BackingOff` | waits before a restart | time, unwanted |
//! | `Stopping` | SIGTERM was sent, and again while the engine fails | exit |
//! | `Ended` | nothing; the container is kept for its logs while it is wanted | unwanted |
//! | `Removing` | container and network are being removed | result |
//! | `Removed` | nothing is left; the last report waits for its acknowledgement | acknowledgement |

mod telling;

use lode_protocol::assignment::{AssignmentReport, AssignmentState, EndPhase, Reason};
use lode_protocol::ids::AssignmentId;
use lode_protocol::image::PinnedImage;
use lode_protocol::session::AssignmentSpec;
use lode_protocol::units::{Millis, Timestamp};

use super::checks::Checks;
use super::effect::{Command, WantedImage};
use super::event::{Attempt, ContainerId, EngineRun, GpuFaultKind};
use super::journal::{Ended, Entry};
use telling::cut;

/// What is under way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    Waiting,
    Pulling {
        tries: u32,
    },
    HeldOff {
        until: Millis,
        why: String,
    },
    /// With the image as the engine knows it. It is journalled with the container: until then nothing depends on it.
    Creating {
        image: String,
    },
    Starting,
    Interrupted,
    Running {
        since: Millis,
        checks: Checks,
    },
    Examining,
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
            Stage::BackingOff { until } | Stage::HeldOff { until, .. } => Some(*until),
            Stage::Running { checks, .. } => checks.due(),
            Stage::Waiting
            | Stage::Pulling { .. }
            | Stage::Creating { .. }
            | Stage::Starting
            | Stage::Interrupted
            | Stage::Examining
            | Stage::Stopping
            | Stage::Ended
            | Stage::Removing
            | Stage::Removed => None,
        }
    }
}

/// A container that runs on although the engine was told to stop it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Unstopped {
    pub(super) tries: u32,
    /// When it is told again; `None`: it is being told.
    pub(super) again: Option<Millis>,
    /// In words; `None`: the engine did not answer.
    pub(super) why: Option<String>,
}

/// One assignment.
#[derive(Clone, Debug)]
pub(super) struct Assignment {
    pub(super) entry: Entry,
    pub(super) stage: Stage,
    /// How often a host port turned out to be taken.
    pub(super) port_conflicts: u32,
    /// How often in a row the engine broke off what was done for it.
    pub(super) interruptions: u32,
    /// It is not begun before.
    pub(super) not_before: Option<Millis>,
    /// Pulls that its registry's limit has held off.
    pub(super) held_off: u32,
    /// What a GPU reported about a program of this run: whether the hardware is to blame, and in words.
    pub(super) gpu_error: Option<(GpuFaultKind, String)>,
    /// Why its container, which runs, is being stopped to be started again.
    pub(super) unhealthy: Option<String>,
    /// Its container cannot be stopped.
    pub(super) unstopped: Option<Unstopped>,
    /// Why what is left of it cannot be removed.
    pub(super) unremoved: Option<String>,
    /// Why it runs and is no longer ready.
    pub(super) unready: Option<String>,
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
    detail: String,
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
            run: None,
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
            interruptions: 0,
            not_before: None,
            held_off: 0,
            gpu_error: None,
            unhealthy: None,
            unstopped: None,
            unremoved: None,
            unready: None,
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
    pub(super) fn wanted_image(&self) -> WantedImage {
        let order = &self.entry.order;
        let named = order.spec.image_reference();
        let before = || {
            let content: PinnedImage = self.entry.image.as_deref()?.parse().ok()?;
            content.reference().same_repository(named).then_some(content)
        };
        let pinned = order.pinned_image.clone().or_else(before);
        let image = pinned.map_or_else(|| named.clone(), |content| content.reference().clone());
        WantedImage { image, named: named.clone(), policy: order.spec.pull }
    }

    /// Whether it keeps its GPUs from others.
    pub(super) fn holds_gpus(&self) -> bool {
        match self.stage {
            Stage::Waiting | Stage::Ended | Stage::Removed => false,
            // A container that has ended is merely being tidied away; one that was never started holds nothing either.
            Stage::Removing => false,
            Stage::Pulling { .. }
            | Stage::HeldOff { .. }
            | Stage::Creating { .. }
            | Stage::Starting
            | Stage::Interrupted
            | Stage::Running { .. }
            | Stage::Examining
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
            Stage::HeldOff { .. } => (AssignmentState::Pulling, Some(Reason::RegistryLimit)),
            Stage::Creating { .. } | Stage::Starting => (AssignmentState::Starting, None),
            Stage::BackingOff { .. } => (AssignmentState::Starting, Some(Reason::CrashLoop)),
            Stage::Stopping => (AssignmentState::Stopping, self.entry.stopping),
            Stage::Running { .. } if self.entry.ready => (AssignmentState::Running, None),
            Stage::Running { .. } => (AssignmentState::Starting, None),
            // Nothing is known while the engine does not answer: what was last true stands.
            Stage::Interrupted | Stage::Examining | Stage::Ended | Stage::Removing | Stage::Removed => {
                match self.entry {
                    Entry { stopping: Some(reason), .. } => (AssignmentState::Stopping, Some(reason)),
                    Entry { ready: true, .. } => (AssignmentState::Running, None),
                    Entry { started: true, .. } => (AssignmentState::Starting, None),
                    _ => (AssignmentState::Assigned, None),
                }
            }
        }
    }

    /// Marks it as over.
    pub(super) fn end(&mut self, state: AssignmentState, reason: Option<Reason>, detail: impl Into<String>) {
        let detail = cut(detail.into());
        self.entry.ended = Some(Ended { state, reason, detail, phase: Some(self.phase()) });
        self.stage = Stage::Ended;
        self.is_gone();
    }

    /// How far it has come.
    fn phase(&self) -> EndPhase {
        match &self.stage {
            Stage::Creating { .. } => EndPhase::Creating,
            Stage::Starting => EndPhase::Starting,
            Stage::Running { .. } | Stage::Examining | Stage::BackingOff { .. } => EndPhase::Running,
            Stage::Waiting | Stage::Pulling { .. } | Stage::HeldOff { .. } => EndPhase::Preparing,
            Stage::Interrupted | Stage::Stopping | Stage::Ended | Stage::Removing | Stage::Removed => {
                match (&self.entry.container, self.entry.started) {
                    (_, true) => EndPhase::Running,
                    (Some(_), false) => EndPhase::Starting,
                    (None, false) => EndPhase::Preparing,
                }
            }
        }
    }

    /// Its container is to be started, by the engine's life that was seen last.
    pub(super) fn start(&mut self, run: Option<&EngineRun>) -> Option<Command> {
        let (id, attempt, container) = (self.id(), self.attempt(), self.container()?);
        self.entry.run = run.cloned();
        self.stage = Stage::Starting;
        Some(Command::Start { id, attempt, container })
    }

    /// Begins a new try: results of older ones no longer count.
    pub(super) fn next_attempt(&mut self) {
        self.entry.attempt = self.entry.attempt.saturating_add(1);
        self.entry.container = None;
        self.entry.run = None;
        self.entry.started = false;
        self.entry.ready = false;
        self.is_gone();
    }

    /// Its container does not run any more: what was wrong with that is over.
    pub(super) fn is_gone(&mut self) {
        (self.unhealthy, self.unstopped, self.unready) = (None, None, None);
    }

    /// When time brings something.
    pub(super) fn due(&self) -> Option<Millis> {
        let begins = self.not_before.filter(|_| self.stage == Stage::Waiting);
        let again = self.unstopped.as_ref().and_then(|unstopped| unstopped.again);
        [begins, self.stage.due(), again].into_iter().flatten().min()
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
}
