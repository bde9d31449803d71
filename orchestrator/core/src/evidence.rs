//! Whose fault a failure is, by what else has failed.
//!
//! * What follows a task over nodes is the task's: a failure that comes again on another node in the same way ends it, and
//!   speaks against neither node.
//! * What follows a node over tasks is the node's: when several tasks fail there in the same way, it gets no more work
//!   until one that tries it runs.
//!
//! "The same way" is a [`FailureKey`], never an engine's wording. A node on which several other images failed in the same
//! way is a poor witness against a task, and does not count at first; in the end it does, so that every task ends. What a
//! worker calls the task's fault, or what happens to a host whatever it runs, is not asked about.

use lode_protocol::assignment::{AssignmentReport, AssignmentState, EndPhase, Reason};
use lode_protocol::backoff::BackoffPolicy;
use lode_protocol::error_code::ErrorCode;
use lode_protocol::finding::Finding;
use lode_protocol::hash::{Digest, keccak256};
use lode_protocol::ids::{AssignmentId, NodeId, TaskId};
use lode_protocol::units::Millis;

use super::Core;
use super::assignment::Wanted;
use super::effect::Action;
use super::faults::{FailureKey, Fault, Trust};
use super::hardware::cut;
use super::lease::is_in_pool;
use super::task::Phase;
use super::timers::{Timer, after};

const FAILING: &str = "node/failing";
/// Waits before a node that failed is tried with one assignment.
const TRIALS: BackoffPolicy = BackoffPolicy::new(Millis::seconds(15), Millis::seconds(600));
/// A node on which so many other images failed in the same way is a poor witness.
const POOR_WITNESS: usize = 2;
/// After so many failures in a row any witness will do.
const ANY_WITNESS: u32 = 5;
/// Bytes of a worker's words that are told again.
const MOST_WORDS: usize = 400;

impl Core {
    /// What a report of a failure means by what failed before: the task's fault if it failed so elsewhere. Nothing else of
    /// the assignment may have changed yet.
    pub(crate) fn judge_by_evidence(
        &mut self,
        node: &NodeId,
        report: &AssignmentReport,
    ) -> Option<(Reason, String)> {
        let id = &report.id;
        let end = self.assignments.get(id)?;
        let current = Phase::Placed { incarnation: id.incarnation };
        let counts = report.state == AssignmentState::Failed
            && end.wanted == Wanted::Yes
            && self.replica(&id.replica).is_some_and(|replica| replica.phase == current);
        let reason =
            report.reason.filter(|reason| counts && bearing(*reason, report.phase) == Bearing::Both)?;
        let key = self.failure_key(&id.replica.task, reason, report.phase)?;
        let witness = self.witness(id, node, key)?;
        self.acquit_nodes(id, node, key);
        let words = cut(&report.detail, MOST_WORDS);
        let detail =
            format!("{} on {node} as before on {witness}, so that it is not the nodes: {words}", named(key));
        Some((Reason::FailsOnEveryNode, detail))
    }

    /// An assignment has failed on a node, by the node's fault as it seems.
    pub(crate) fn accuse(&mut self, id: &AssignmentId) {
        let Some(end) = self.assignments.get(id) else { return };
        let (node, phase, words) = (end.node, end.phase, cut(end.detail(), MOST_WORDS).to_owned());
        let bears = |reason: &Reason| bearing(*reason, phase) != Bearing::Nothing;
        let Some(reason) = end.reason().filter(bears) else { return };
        let Some(key) = self.failure_key(&id.replica.task, reason, phase) else { return };
        if self.witness(id, &node, key).is_some() {
            return self.acquit_nodes(id, &node, key);
        }
        self.note_fault(id, &node, key, false);
        let now = self.now.monotonic;
        if let Some(known) = self.nodes.get_mut(&node)
            && let Trust::OnTrial { by: Some(by), trials } = known.faults.trust
            && by == *id
        {
            let until = after(now, TRIALS.wait(trials.saturating_add(1)));
            known.faults.trust = Trust::Withheld { until, trials: trials.saturating_add(1) };
            self.timers.set(until, Timer::Trial(node));
        }
        self.weigh(&node, &words);
    }

    /// Something runs on a node, or has run to its end: that much works there.
    pub(crate) fn worked(&mut self, id: &AssignmentId, lasted: bool) {
        let Some(node) = self.assignments.get(id).map(|assignment| assignment.node) else { return };
        let Some(task) = self.tasks.get(&id.replica.task) else { return };
        let with_gpus = task.spec.resources.gpus > 0;
        if let Some(evidence) = self.tasks.evidence_mut(&id.replica.task) {
            evidence.has_run = true;
            if lasted {
                evidence.forgive();
            }
        }
        if self.nodes.get(&node).is_none_or(|known| known.faults.is_empty()) {
            return self.trial_over(id, &node);
        }
        if let Some(known) = self.nodes.get_mut(&node) {
            let tried = matches!(known.faults.trust, Trust::OnTrial { by: Some(by), .. } if by == *id);
            known.faults.disprove(with_gpus, lasted || tried);
        }
        self.trial_over(id, &node);
        self.weigh(&node, "");
    }

    /// An assignment that tried its node is through with that, whatever came of it.
    pub(crate) fn trial_over(&mut self, id: &AssignmentId, node: &NodeId) {
        let tries = |trust: Trust| matches!(trust, Trust::OnTrial { by: Some(by), .. } if by == *id);
        if self.nodes.get(node).is_some_and(|known| tries(known.faults.trust))
            && let Some(known) = self.nodes.get_mut(node)
            && let Trust::OnTrial { by, .. } = &mut known.faults.trust
        {
            *by = None;
        }
    }

    /// A node has had no work for a while: one assignment may try it.
    pub(crate) fn trial_due(&mut self, id: &NodeId) {
        let now = self.now.monotonic;
        let Some(known) = self.nodes.get(id) else { return };
        let Trust::Withheld { until, trials } = known.faults.trust else { return };
        if until > now {
            return;
        }
        let belongs = is_in_pool(&known.standing);
        if let Some(known) = self.nodes.get_mut(id) {
            known.faults.trust = Trust::OnTrial { by: None, trials };
        }
        if !belongs {
            self.trust_again(id);
        }
    }

    /// Nothing is said of a node any more.
    fn trust_again(&mut self, id: &NodeId) {
        if let Some(known) = self.nodes.get_mut(id) {
            known.faults.trust = Trust::Given;
        }
        self.clear_failing(id);
    }

    pub(crate) fn clear_failing(&mut self, id: &NodeId) {
        self.act(Action::ClearFinding { code: ErrorCode::new(FAILING), subject: id.to_string() });
    }

    /// A node on which this task failed in the same way, if that is evidence against the task.
    fn witness(&self, id: &AssignmentId, node: &NodeId, key: FailureKey) -> Option<NodeId> {
        let task = self.tasks.get(&id.replica.task)?;
        let runs = task.evidence.has_run || task.counts.running > 0 || task.counts.succeeded > 0;
        // It can be started, and was: where it cannot, the node is in the way.
        if runs && key.came_before_it_ran() {
            return None;
        }
        let image = image_of(&task.spec.image);
        let any = self.replica(&id.replica)?.failures >= ANY_WITNESS;
        let good = |other: &NodeId| {
            let faults = self.nodes.get(other).map(|known| &known.faults);
            let others = faults.map_or(0, |faults| faults.other_images(&id.replica.task, &image, key));
            any || others < POOR_WITNESS
        };
        task.evidence.elsewhere(*node, key).find(good)
    }

    /// It was the task: this failure, and those before, speak against no node.
    fn acquit_nodes(&mut self, id: &AssignmentId, node: &NodeId, key: FailureKey) {
        self.note_fault(id, node, key, true);
        let task = id.replica.task;
        let nodes = self.tasks.get(&task).map(|known| known.evidence.nodes()).unwrap_or_default();
        for node in nodes {
            if let Some(known) = self.nodes.get_mut(&node) {
                known.faults.explain(&task);
                self.weigh(&node, "");
            }
        }
    }

    fn note_fault(&mut self, id: &AssignmentId, node: &NodeId, key: FailureKey, is_explained: bool) {
        let task = id.replica.task;
        let Some(image) = self.tasks.get(&task).map(|known| image_of(&known.spec.image)) else { return };
        if let Some(evidence) = self.tasks.evidence_mut(&task) {
            evidence.note(*node, key);
        }
        if let Some(known) = self.nodes.get_mut(node) {
            known.faults.note(Fault { task, image, key, is_explained });
        }
    }

    /// Brings a node's trust in line with what speaks against it.
    fn weigh(&mut self, id: &NodeId, words: &str) {
        let Some(known) = self.nodes.get(id) else { return };
        match (known.faults.trust, known.faults.against()) {
            (Trust::Given, None) => {}
            (Trust::Withheld { .. } | Trust::OnTrial { .. }, None) => self.trust_again(id),
            (Trust::Given, Some((key, tasks))) => {
                let until = after(self.now.monotonic, TRIALS.wait(0));
                if let Some(known) = self.nodes.get_mut(id) {
                    known.faults.trust = Trust::Withheld { until, trials: 0 };
                }
                self.timers.set(until, Timer::Trial(*id));
                self.act(Action::RaiseFinding(failing(id, key, tasks, words)));
            }
            (Trust::Withheld { .. } | Trust::OnTrial { .. }, Some(_)) => {}
        }
    }

    fn failure_key(&self, task: &TaskId, reason: Reason, phase: Option<EndPhase>) -> Option<FailureKey> {
        let with_gpus = self.tasks.get(task)?.spec.resources.gpus > 0;
        Some(FailureKey { reason, phase, with_gpus })
    }
}

fn image_of(image: &str) -> Digest {
    keccak256(image.as_bytes())
}

fn failing(id: &NodeId, key: FailureKey, tasks: usize, words: &str) -> Finding {
    let message = format!(
        "{tasks} tasks have failed on this node in the same way ({}), and none of them on another node. It gets no work until one that tries it runs. The worker's words: {words}",
        named(key)
    );
    Finding::error(FAILING, message).about(id.to_string()).remedy(
        "Look at the host with `lode-worker check` and mend what the words name; the node is tried again by itself, ever less often.",
    )
}

/// A way to fail, in words.
fn named(key: FailureKey) -> String {
    let reason = charge(key.reason).map_or("it failed", |(_, words)| words);
    let phase = match key.phase {
        Some(EndPhase::Preparing) => " before a container was made",
        Some(EndPhase::Creating) => " to make its container",
        Some(EndPhase::Starting) => " to start it",
        Some(EndPhase::Running) => " while it ran",
        None => "",
    };
    format!("{reason}{phase}")
}

/// What an end can be evidence of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Bearing {
    /// Of the node; and of the task, if it comes again on another node.
    Both,
    /// Of the node alone.
    Node,
    /// Of nothing: it is the task's by itself, somebody asked for it, or it befalls everything on a host at one moment and
    /// is over by then, however often that happens. Of silence leases take care.
    Nothing,
}

fn bearing(reason: Reason, phase: Option<EndPhase>) -> Bearing {
    match (reason, phase) {
        // A GPU that breaks before anything runs on it, or is in use when it is ordered, has not met the task.
        (Reason::GpuLost, Some(EndPhase::Running)) => Bearing::Both,
        (Reason::GpuUnavailable, Some(EndPhase::Creating | EndPhase::Starting)) => Bearing::Both,
        (_, _) => charge(reason).map_or(Bearing::Nothing, |(bearing, _)| bearing),
    }
}

/// What an end for this reason is evidence of as a rule, and in which words; `None` where it is of nothing.
fn charge(reason: Reason) -> Option<(Bearing, &'static str)> {
    Some(match reason {
        Reason::EngineError => (Bearing::Both, "the container engine refused"),
        Reason::DiskFull => (Bearing::Both, "the disk was full"),
        Reason::HostOutOfMemory => (Bearing::Both, "the host ran out of memory"),
        Reason::RuntimeUnavailable => (Bearing::Both, "the engine's runtime is missing or broken"),
        Reason::GpuLost => (Bearing::Node, "a GPU failed"),
        Reason::GpuUnavailable => (Bearing::Node, "a GPU could not be given to it"),
        Reason::PullFailed => (Bearing::Node, "the image could not be fetched"),
        Reason::NoFreePort => (Bearing::Node, "no port was free"),
        Reason::ContainerVanished => (Bearing::Node, "its container vanished"),
        Reason::NeverStarted => (Bearing::Node, "it was never started"),
        Reason::StoppedOnHost => (Bearing::Node, "it was stopped by hand"),
        Reason::ImageRemoved => (Bearing::Node, "its image was removed"),
        Reason::Completed
        | Reason::ExitedWithError
        | Reason::OomKilled
        | Reason::ImageNotFound
        | Reason::CannotStart
        | Reason::NeverReady
        | Reason::RestartLimit
        | Reason::CrashLoop
        | Reason::Unhealthy
        | Reason::RegistryNotAllowed
        | Reason::RegistryLimit
        | Reason::PinnedImageGone
        | Reason::UnmetRequirement
        | Reason::NodeFull
        | Reason::StopRequested
        | Reason::Drained
        | Reason::Ejected
        | Reason::Superseded
        | Reason::NodeLost
        | Reason::BudgetExhausted
        | Reason::EngineRestarted
        | Reason::HostRestarted
        | Reason::FailsOnEveryNode => return None,
    })
}
