//! What workers report about assignments, and orphans.
//!
//! A report counts only if the assignment is live and was placed on the node that speaks. Whatever else a node claims to
//! run is an *orphan*: an ended incarnation on a node that came back, or something the core never ordered. An orphan never
//! changes an assignment; it is not in the desired set, so its worker stops it, and until then it holds what it uses.
//!
//! Of an orphan that was once placed on its node the log tells, and the node gets its set anew at once. One that nobody
//! here knows of is remembered, within bounds, and changes no row: there is no end of names that a node could make up.

use std::collections::BTreeSet;

use lode_protocol::assignment::{AssignmentReport, AssignmentState, PublishedPort, Reason};
use lode_protocol::ids::{AssignmentId, Generation, NodeId};
use lode_protocol::image::PinnedImage;
use lode_protocol::task::limits;
use lode_protocol::units::Millis;

use super::Core;
use super::assignment::{Assignment, Step, Wanted};
use super::effect::OccurrenceKind;
use super::hardware::cut;
use super::lease::is_in_pool;
use super::node::Orphan;
use super::timers::{Timer, after};

/// Most orphans remembered for one node.
const MOST_ORPHANS: usize = 1_024;
/// Longest image name kept, in bytes.
const MOST_IMAGE: usize = 1_024;
/// Most ports kept.
const MOST_PORTS: usize = 64;
/// How far reports may push a replica's next incarnation beyond the newest one that was placed: enough for a restored
/// backup, too little to exhaust numbers.
const MOST_SKIPPED_INCARNATIONS: u32 = 64;

impl Core {
    /// Takes what a beat says of assignments; `observed` is the set that it works towards, if that is news.
    pub(crate) fn hear_reports(
        &mut self,
        node: &NodeId,
        observed: Option<Generation>,
        complete: bool,
        reports: Vec<AssignmentReport>,
    ) {
        if let Some(observed) = observed {
            self.observe_generation(node, observed);
        }
        if complete {
            self.reconcile(node, &reports);
        }
        let mut foreign = 0;
        for report in reports {
            let known = self.assignments.get(&report.id);
            if known.is_some_and(|known| known.node == *node && known.is_live()) {
                self.forget_orphan(node, &report.id);
                self.apply_report(node, report);
            } else if foreign < self.config.limits.foreign_reports {
                foreign += 1;
                self.refuse_report(node, &report);
            }
        }
        if let Some(observed) = observed {
            self.settle_never_started(node, observed);
        }
    }

    fn apply_report(&mut self, node: &NodeId, report: AssignmentReport) {
        let at = self.now.wall;
        let most = self.config.limits.history;
        let id = report.id;
        let Some(assignment) = self.assignments.get(&id) else { return };
        let (from, wanted) = (assignment.state, assignment.wanted);
        // Most reports repeat what is known: they leave no mark.
        if (!assignment.heard || differs(assignment, &report))
            && let Some(assignment) = self.assignments.get_mut(&id)
        {
            note_details(assignment, &report);
        }
        let image = self.assignments.get(&id).and_then(|known| known.image.clone());
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
        let reason = match (wanted, report.state) {
            (Wanted::No { reason, .. }, AssignmentState::Stopping | AssignmentState::Stopped) => Some(reason),
            (Wanted::Yes | Wanted::No { .. }, _) => report.reason,
        };
        let known = self.assignments.get(&id);
        let other_reason = known.is_some_and(|known| known.reason() != reason) && reason.is_some();
        // Why it does not get on: a container that cannot be stopped, say.
        let other_detail = !detail.is_empty() && known.is_some_and(|known| known.detail() != detail);
        let moves = from.may_become(report.state);
        let retells = from == report.state && (other_reason || other_detail);
        if claimable && (moves || retells) {
            let judged = if moves { self.judge_by_evidence(node, &report) } else { None };
            let (reason, detail) = match judged {
                Some((reason, detail)) => (Some(reason), detail),
                None => (reason, detail.to_owned()),
            };
            if let Some(assignment) = self.assignments.get_mut(&id) {
                assignment.enter(Step { at, state: report.state, reason, detail }, most);
            }
            if moves {
                self.moved(&id, *node, from);
            }
        }
        if let Some(image) = image {
            self.pin_by_report(&id, *node, &image);
        }
    }

    /// A task that could not be pinned when it was submitted is pinned to what its first worker runs, if that says which
    /// content of the task's own repository it is.
    fn pin_by_report(&mut self, id: &AssignmentId, node: NodeId, image: &str) {
        let task = id.replica.task;
        let Some(unpinned) = self.tasks.get(&task).filter(|task| task.pinned_image.is_none()) else { return };
        let Ok(content) = image.parse::<PinnedImage>() else { return };
        if content.reference().same_repository(unpinned.spec.image_reference()) {
            self.pin_image(&task, content, Some(node));
        }
    }

    /// An assignment has taken a step: tell the log, and settle what follows if it was the last one.
    pub(crate) fn moved(&mut self, id: &AssignmentId, node: NodeId, from: AssignmentState) {
        let Some(assignment) = self.assignments.get(id) else { return };
        let (to, reason, detail) = (assignment.state, assignment.reason(), assignment.detail().to_owned());
        self.scratch.bytes = self.scratch.bytes.saturating_add(assignment.weight());
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
        let Some((from, node)) = self.assignments.get(id).map(|known| (known.state, known.node)) else {
            return;
        };
        if from.may_become(state)
            && let Some(assignment) = self.assignments.get_mut(id)
        {
            assignment.enter(Step { at, state, reason: Some(reason), detail: detail.to_owned() }, most);
            self.moved(id, node, from);
        }
    }

    fn refuse_report(&mut self, node_id: &NodeId, report: &AssignmentReport) {
        let was_placed = self.skip_incarnation(node_id, &report.id)
            || self.assignments.get(&report.id).is_some_and(|known| known.node == *node_id);
        let Some(node) = self.nodes.get(node_id) else { return };
        let known = node.orphans.iter().position(|orphan| orphan.id == report.id);
        let is_new = known.is_none() && node.orphans.len() < MOST_ORPHANS;
        match (report.state.is_final(), known) {
            (true, Some(at)) => {
                if let Some(node) = self.nodes.get_mut(node_id) {
                    node.orphans.swap_remove(at);
                }
            }
            (false, None) if is_new => {
                let slots = node.hardware.gpus.iter().map(|slot| &slot.uuid);
                let gpus = slots.filter(|uuid| report.gpus.contains(uuid)).cloned().collect();
                let uses = self.uses_of(&report.id);
                if let Some(node) = self.nodes.get_mut(node_id) {
                    node.orphans.push(Orphan { id: report.id, gpus, uses });
                }
                self.watch_orphans(node_id);
                if was_placed {
                    self.scratch.desired.insert(*node_id);
                    self.tell_refusal(node_id, report);
                }
            }
            (true, None) | (false, _) => {}
        }
    }

    /// What a node claimed to run before it was ordered is no orphan once it is.
    fn forget_orphan(&mut self, node_id: &NodeId, id: &AssignmentId) {
        let known =
            self.nodes.get(node_id).is_some_and(|node| node.orphans.iter().any(|known| known.id == *id));
        if known && let Some(node) = self.nodes.get_mut(node_id) {
            node.orphans.retain(|known| known.id != *id);
        }
    }

    /// The log tells of refused reports once a minute for each node.
    fn tell_refusal(&mut self, id: &NodeId, report: &AssignmentReport) {
        let now = self.now.monotonic;
        let Some(mut node) = self.nodes.quiet(id) else { return };
        let Some(count) = node.pulse().refusals.another(now) else { return };
        let (assignment, claimed) = (report.id, report.state);
        self.log(OccurrenceKind::ReportRefused { assignment, node: *id, claimed, count });
    }

    /// Orphans do not stay for ever without a word.
    fn watch_orphans(&mut self, id: &NodeId) {
        let due = after(self.now.monotonic, self.config.terms.start_deadline);
        let Some(mut node) = self.nodes.quiet(id) else { return };
        let has_orphans = !node.orphans.is_empty();
        let pulse = node.pulse();
        if has_orphans && pulse.orphans_due.is_none() {
            pulse.orphans_due = Some(due);
            self.timers.set(due, Timer::Orphans(*id));
        }
    }

    /// Orphans should have gone by now: the worker is asked to tell anew what runs, and gets its set anew whatever it says
    /// that it works towards.
    pub(crate) fn orphans_due(&mut self, id: &NodeId, due: Millis) {
        let Some(mut node) = self.nodes.quiet(id) else { return };
        if node.pulse().orphans_due.take_if(|set| *set == due).is_none() {
            return;
        }
        let Some(node) = self.nodes.get(id) else { return };
        if !node.orphans.is_empty() {
            self.force_resync(id);
            self.scratch.desired.insert(*id);
        }
    }

    /// Ends a node's session: the next one begins with everything that runs there.
    pub(crate) fn force_resync(&mut self, id: &NodeId) {
        if let Some(node) = self.nodes.get_mut(id) {
            node.end_session();
        }
    }

    /// What a node has told of assignments before it was a member is to be told again.
    pub(crate) fn hear_anew(&mut self, id: &NodeId) {
        if self.nodes.get(id).is_some_and(|node| node.pulse.talk.unheard) {
            self.force_resync(id);
        }
    }

    /// A worker knows a later incarnation than the core does (the store was restored from a backup): numbers that have
    /// been used are not used again. Believed only soon after a start, only of a node of the pool, only of a replica whose
    /// newest placement was on that node, and only so far: an incarnation is a name that anybody can make up.
    fn skip_incarnation(&mut self, node_id: &NodeId, id: &AssignmentId) -> bool {
        let in_pool = self.nodes.get(node_id).is_some_and(|node| is_in_pool(&node.standing));
        if !in_pool || self.now.monotonic >= self.recovering_until {
            return false;
        }
        let newest = self.incarnations(&id.replica).last();
        let Some((newest, _)) = newest.filter(|(_, newest)| newest.node == *node_id) else { return false };
        let most = newest.incarnation.0.saturating_add(MOST_SKIPPED_INCARNATIONS);
        let Some(next) = self.replica(&id.replica).map(|replica| replica.next) else { return false };
        if id.incarnation < next || id.incarnation.0 > most {
            return false;
        }
        if let Some(replica) = self.replica_mut(&id.replica) {
            replica.next = id.incarnation.next();
        }
        true
    }

    /// A worker has told everything that runs on its node.
    fn reconcile(&mut self, node_id: &NodeId, reports: &[AssignmentReport]) {
        let told: BTreeSet<AssignmentId> = reports.iter().map(|report| report.id).collect();
        let Some(node) = self.nodes.get(node_id) else { return };
        let missing: Vec<AssignmentId> =
            node.active.iter().filter(|id| !told.contains(id)).copied().collect();
        if node.orphans.iter().any(|orphan| !told.contains(&orphan.id))
            && let Some(node) = self.nodes.get_mut(node_id)
        {
            node.orphans.retain(|orphan| told.contains(&orphan.id));
        }
        self.watch_orphans(node_id);
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
    fn observe_generation(&mut self, node_id: &NodeId, observed: Generation) {
        if self.nodes.get(node_id).is_some_and(|node| observed > node.progress.generation)
            && let Some(node) = self.nodes.get_mut(node_id)
        {
            node.set_generation(observed);
            self.scratch.desired.insert(*node_id);
        }
    }

    /// What was taken out of the set before its worker ever spoke of it has never been there.
    fn settle_never_started(&mut self, node_id: &NodeId, observed: Generation) {
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

/// Whether a report says anything besides the state that is not known.
fn differs(assignment: &Assignment, report: &AssignmentReport) -> bool {
    let ports = report.ports.iter().take(MOST_PORTS).map(bounded);
    assignment.exit_code != report.exit_code
        || assignment.restarts != report.restarts
        || assignment.image.as_deref() != image_of(report)
        || assignment.phase != report.phase
        || !ports.eq(assignment.ports.iter().cloned())
}

/// Takes over what a report says besides the state.
fn note_details(assignment: &mut Assignment, report: &AssignmentReport) {
    assignment.heard = true;
    assignment.exit_code = report.exit_code;
    assignment.restarts = report.restarts;
    assignment.image = image_of(report).map(ToOwned::to_owned);
    assignment.phase = report.phase;
    assignment.ports = report.ports.iter().take(MOST_PORTS).map(bounded).collect();
}

fn image_of(report: &AssignmentReport) -> Option<&str> {
    report.image.as_deref().map(|image| cut(image, MOST_IMAGE))
}

fn bounded(port: &PublishedPort) -> PublishedPort {
    PublishedPort { name: cut(&port.name, limits::NAME).to_owned(), ..port.clone() }
}
