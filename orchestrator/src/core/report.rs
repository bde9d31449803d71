//! What workers report about assignments, and ghosts.
//!
//! A report counts only if the assignment is live and was placed on the node that speaks. Whatever else a node claims to
//! run is a *ghost*: an ended incarnation on a node that came back, or something the core never ordered. A ghost never
//! changes an assignment; it is not in the desired set, so its worker stops it, and until then it holds its GPUs.

use std::collections::BTreeSet;

use lode_protocol::assignment::{AssignmentReport, AssignmentState, PublishedPort, Reason};
use lode_protocol::ids::{AssignmentId, Generation, NodeId};
use lode_protocol::image::pins;
use lode_protocol::task::limits;
use lode_protocol::units::Millis;

use super::Core;
use super::assignment::{Assignment, Step, Wanted};
use super::effect::OccurrenceKind;
use super::hardware::cut;
use super::node::Ghost;
use super::timers::{Timer, after};

/// Most ghosts remembered for one node.
const MOST_GHOSTS: usize = 1_024;
/// Longest image name kept, in bytes.
const MOST_IMAGE: usize = 1_024;
/// Most ports kept.
const MOST_PORTS: usize = 64;
/// How far a report may push a replica's next incarnation: enough for a restored backup, too little to exhaust numbers.
const MOST_SKIPPED_INCARNATIONS: u32 = 64;

impl Core {
    /// Applies one report.
    pub(crate) fn report(&mut self, node: &NodeId, report: AssignmentReport) {
        let id = report.id;
        let live = self.assignments.get(&id).is_some_and(|known| known.node == *node && known.is_live());
        if !live {
            self.refuse_report(node, &report);
            return;
        }
        self.apply_report(node, report);
    }

    fn apply_report(&mut self, node: &NodeId, report: AssignmentReport) {
        let at = self.now.wall;
        let most = self.config.limits.history;
        let id = report.id;
        let Some(assignment) = self.assignments.get_mut(&id) else { return };
        let changed = note_details(assignment, &report);
        let image = assignment.image.clone();
        let first = !std::mem::replace(&mut assignment.heard, true);
        let from = assignment.state;
        let claimable = match report.state {
            AssignmentState::Assigned | AssignmentState::Lost => false,
            AssignmentState::Pulling
            | AssignmentState::Starting
            | AssignmentState::Running
            | AssignmentState::Stopping
            | AssignmentState::Succeeded
            | AssignmentState::Failed
            | AssignmentState::Stopped => true,
        };
        let detail = cut(&report.detail, AssignmentReport::MAX_DETAIL);
        // Why something was taken away is known here and not there.
        let reason = match (assignment.wanted, report.state) {
            (Wanted::No { reason, .. }, AssignmentState::Stopping | AssignmentState::Stopped) => Some(reason),
            (Wanted::Yes | Wanted::No { .. }, _) => report.reason,
        };
        let step = || Step { at, state: report.state, reason, detail: detail.to_owned() };
        if claimable && from.may_become(report.state) {
            assignment.enter(step(), most);
            self.moved(&id, *node, from);
        } else if claimable && from == report.state && assignment.reason() != reason && reason.is_some() {
            assignment.enter(step(), most);
            self.scratch.assignments.insert(id);
        } else if changed || first {
            self.scratch.assignments.insert(id);
        }
        if let Some(image) = image {
            self.pin_by_report(&id, *node, image);
        }
    }

    /// A task that could not be pinned when it was submitted is pinned to what its first worker runs, if that says which
    /// content of the task's own repository it is.
    fn pin_by_report(&mut self, id: &AssignmentId, node: NodeId, image: String) {
        let task = id.replica.task;
        let unpinned = self.tasks.get(&task).filter(|task| task.pinned_image.is_none());
        if unpinned.is_some_and(|task| pins(&image, &task.spec.image)) {
            self.pin_image(&task, image, Some(node));
        }
    }

    /// An assignment has taken a step: tell the log, and settle what follows if it was the last one.
    pub(crate) fn moved(&mut self, id: &AssignmentId, node: NodeId, from: AssignmentState) {
        let Some(assignment) = self.assignments.get(id) else { return };
        let (to, reason, detail) = (assignment.state, assignment.reason(), assignment.detail().to_owned());
        self.scratch.assignments.insert(*id);
        self.log(OccurrenceKind::Assignment { assignment: *id, node, from: Some(from), to, reason, detail });
        self.count_running(id, from, to);
        if to.is_final() {
            self.ended(id);
        } else if to == AssignmentState::Running {
            self.ran(id);
        }
    }

    /// Ends or moves an assignment by the orchestrator's own decision. Steps that the table does not have are ignored.
    pub(crate) fn decide(&mut self, id: &AssignmentId, state: AssignmentState, reason: Reason, detail: &str) {
        let at = self.now.wall;
        let most = self.config.limits.history;
        let Some(assignment) = self.assignments.get_mut(id) else { return };
        let (from, node) = (assignment.state, assignment.node);
        if from.may_become(state) {
            assignment.enter(Step { at, state, reason: Some(reason), detail: detail.to_owned() }, most);
            self.moved(id, node, from);
        }
    }

    fn refuse_report(&mut self, node_id: &NodeId, report: &AssignmentReport) {
        self.skip_incarnation(&report.id);
        let Some(node) = self.nodes.get_mut(node_id) else { return };
        let known = node.ghosts.iter().position(|ghost| ghost.id == report.id);
        match (report.state.is_final(), known) {
            (true, Some(at)) => {
                node.ghosts.swap_remove(at);
                self.reindex(node_id);
                self.wake(node_id);
            }
            (true, None) | (false, Some(_)) => {}
            (false, None) => {
                if node.ghosts.len() < MOST_GHOSTS {
                    let slots = node.hardware.gpus.iter().map(|slot| &slot.uuid);
                    let gpus = slots.filter(|uuid| report.gpus.contains(uuid)).cloned().collect();
                    node.ghosts.push(Ghost { id: report.id, gpus });
                }
                self.reindex(node_id);
                self.watch_ghosts(node_id);
                self.scratch.desired.insert(*node_id);
                self.log(OccurrenceKind::ReportRefused {
                    assignment: report.id,
                    node: *node_id,
                    claimed: report.state,
                });
            }
        }
    }

    /// Ghosts do not stay for ever without a word.
    fn watch_ghosts(&mut self, id: &NodeId) {
        let due = after(self.now.monotonic, self.config.terms.start_deadline);
        let Some(node) = self.nodes.get_mut(id) else { return };
        if !node.ghosts.is_empty() && node.ghosts_due.is_none() {
            node.ghosts_due = Some(due);
            self.timers.set(due, Timer::Ghosts(*id));
        }
    }

    /// Ghosts should have gone by now: the worker is asked to tell anew what runs.
    pub(crate) fn ghosts_due(&mut self, id: &NodeId, due: Millis) {
        let Some(node) = self.nodes.get_mut(id).filter(|node| node.ghosts_due == Some(due)) else { return };
        node.ghosts_due = None;
        if !node.ghosts.is_empty() {
            self.hear_anew(id);
        }
    }

    /// Ends a node's session: the next one begins with everything that runs there.
    pub(crate) fn hear_anew(&mut self, id: &NodeId) {
        let Some(node) = self.nodes.get_mut(id) else { return };
        node.session = None;
        node.superseded = None;
        self.reindex(id);
    }

    /// A worker knows a later incarnation than the core does (the store was restored from a backup): numbers that have
    /// been used are not used again.
    fn skip_incarnation(&mut self, id: &AssignmentId) {
        let Some(replica) = self.replica_mut(&id.replica) else { return };
        let next = replica.next.0;
        if id.incarnation.0 >= next && id.incarnation.0 - next < MOST_SKIPPED_INCARNATIONS {
            replica.next = id.incarnation.next();
            self.scratch.replicas.insert(id.replica);
        }
    }

    /// A worker has told everything that runs on its node.
    pub(crate) fn reconcile(&mut self, node_id: &NodeId, reports: &[AssignmentReport]) {
        let told: BTreeSet<AssignmentId> = reports.iter().map(|report| report.id).collect();
        let Some(node) = self.nodes.get_mut(node_id) else { return };
        let before = node.ghosts.len();
        node.ghosts.retain(|ghost| told.contains(&ghost.id));
        let laid = node.ghosts.len() != before;
        let missing: Vec<AssignmentId> =
            node.active.iter().filter(|id| !told.contains(id)).copied().collect();
        if laid {
            self.reindex(node_id);
            self.wake(node_id);
        }
        self.watch_ghosts(node_id);
        for id in missing {
            let Some(assignment) = self.assignments.get(&id) else { continue };
            match assignment.wanted {
                Wanted::No { reason, .. } => {
                    self.decide(&id, AssignmentState::Stopped, reason, "the worker does not have it");
                }
                // Ordered again by the full set that follows.
                Wanted::Yes if assignment.heard => {
                    self.scratch.desired.insert(*node_id);
                }
                Wanted::Yes => {}
            }
        }
    }

    /// The worker works towards this set. One that it got from a lost future (a restored backup) is outnumbered.
    pub(crate) fn observe_generation(&mut self, node_id: &NodeId, observed: Generation) {
        let Some(node) = self.nodes.get_mut(node_id) else { return };
        if observed > node.generation {
            node.generation = observed;
            self.scratch.desired.insert(*node_id);
            self.scratch.progress.insert(*node_id);
        }
    }

    /// What was taken out of the set before its worker ever spoke of it has never been there.
    pub(crate) fn settle_never_started(&mut self, node_id: &NodeId, observed: Generation) {
        let Some(node) = self.nodes.get(node_id) else { return };
        let gone: Vec<(AssignmentId, Reason)> = node
            .active
            .iter()
            .filter_map(|id| {
                let assignment = self.assignments.get(id)?;
                match assignment.wanted {
                    Wanted::No { reason, generation } if !assignment.heard && observed >= generation => {
                        Some((*id, reason))
                    }
                    Wanted::No { .. } | Wanted::Yes => None,
                }
            })
            .collect();
        for (id, reason) in gone {
            self.decide(&id, AssignmentState::Stopped, reason, "taken back before it started");
        }
    }
}

/// Takes over what a report says besides the state; whether anything is new.
fn note_details(assignment: &mut Assignment, report: &AssignmentReport) -> bool {
    let image = report.image.as_deref().map(|image| cut(image, MOST_IMAGE));
    let ports: Vec<PublishedPort> = report.ports.iter().take(MOST_PORTS).map(bounded).collect();
    let same = assignment.exit_code == report.exit_code
        && assignment.restarts == report.restarts
        && assignment.image.as_deref() == image
        && assignment.ports == ports;
    if same {
        return false;
    }
    assignment.exit_code = report.exit_code;
    assignment.restarts = report.restarts;
    assignment.image = image.map(ToOwned::to_owned);
    assignment.ports = ports;
    true
}

fn bounded(port: &PublishedPort) -> PublishedPort {
    PublishedPort { name: cut(&port.name, limits::NAME).to_owned(), ..port.clone() }
}
