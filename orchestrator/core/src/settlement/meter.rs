//! The meter: what acknowledged beats say about work.
//!
//! Counted is the time between two accepted beats of one session in which an assignment was told as running at both ends
//! and was not restarted in between, times its GPUs, by the class that the node has proven. It counts only while the node
//! was heard in time (a longer silence counts nothing), no second process uses its key, and its provider and proof were
//! the same all the time: whatever changes one of these cuts, and the next beat begins anew. So a killed node is billed
//! to its last beat, and nothing is counted twice however often a beat, a session or either side is repeated.

use lode_protocol::assignment::{AssignmentReport, AssignmentState};
use lode_protocol::ids::{Address, AssignmentId, NodeId};
use lode_protocol::proof::ProofClassId;
use lode_protocol::units::Millis;
use lode_protocol::usage::MeterReading;

use super::super::Core;
use super::super::node::Node;
use super::super::state::session::LastReported;
use super::super::timers::{Timer, after};
use super::ledger::{LineKey, Meter};

/// What a beat tells the meter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ReportedRun {
    complete: bool,
    /// Restarts, where it runs.
    reports: Vec<(AssignmentId, Option<u32>)>,
}

impl ReportedRun {
    pub(crate) fn by(complete: bool, reports: &[AssignmentReport]) -> Self {
        let told = |report: &AssignmentReport| {
            (report.id, (report.state == AssignmentState::Running).then_some(report.restarts))
        };
        ReportedRun { complete, reports: reports.iter().map(told).collect() }
    }
}

/// Under what a node's work counts now.
#[derive(Clone, Copy, Debug)]
struct Basis {
    payee: Address,
    class: ProofClassId,
    /// GPUs that were proven.
    gpus: u32,
}

impl Core {
    /// Counts the time since the session's beat before. To be called when everything else of the beat is applied.
    pub(crate) fn meter_beat(&mut self, id: &NodeId, was_alive: bool, told: ReportedRun) {
        let now = self.now.monotonic;
        let Some(node) = self.nodes.get(id) else { return };
        if node.session.is_none() {
            return;
        }
        let before = node.pulse.talk.told.clone();
        let mut running = if told.complete { Vec::new() } else { before.running.clone() };
        for (assignment, restarts) in told.reports {
            running.retain(|(known, _)| *known != assignment);
            running.extend(restarts.map(|restarts| (assignment, restarts)));
        }
        running.retain(|(assignment, _)| self.runs_on_gpus(assignment, id));
        running.sort_unstable();
        let basis = self.basis(node);
        let interval = before
            .since
            .filter(|_| was_alive)
            .map(|since| Millis(now.0.saturating_sub(since.0)))
            .filter(|interval| *interval <= node.pulse.terms.suspect_after);
        if let (Some(basis), Some(interval)) = (basis, interval) {
            let throughout: Vec<AssignmentId> =
                running.iter().filter(|told| before.running.contains(told)).map(|(id, _)| *id).collect();
            self.count(id, basis, interval, &throughout);
        }
        if let Some(mut node) = self.nodes.quiet(id) {
            node.pulse().talk.told = LastReported { since: basis.map(|_| now), running };
        }
    }

    /// Whether an assignment is one of ours that runs on this node and holds GPUs.
    fn runs_on_gpus(&self, id: &AssignmentId, node: &NodeId) -> bool {
        self.assignments.get(id).is_some_and(|known| {
            known.node == *node && known.state == AssignmentState::Running && !known.gpus.is_empty()
        })
    }

    fn basis(&self, node: &Node) -> Option<Basis> {
        self.config.settlement.as_ref()?;
        self.ledger.progress.open?;
        if !node.is_alive() || node.conflict.is_confirmed() {
            return None;
        }
        let payee = node.facts.registration()?.provider.0;
        let proof = node.facts.proof()?;
        Some(Basis { payee, class: ProofClassId(proof.class), gpus: proof.gpu_count })
    }

    fn count(&mut self, node: &NodeId, basis: Basis, interval: Millis, running: &[AssignmentId]) {
        let (Some(terms), Some(open)) = (&self.config.settlement, self.ledger.progress.open) else { return };
        let pool_price = terms.prices.of(basis.class);
        let checkpoint = terms.checkpoint;
        let mut left = basis.gpus;
        let mut work = Vec::new();
        for id in running {
            let held = self.assignments.get(id).map_or(0, |known| known.gpus.len());
            let gpus = u32::try_from(held).unwrap_or(u32::MAX).min(left);
            left -= gpus;
            let gpu_millis = interval.0.saturating_mul(gpus.into());
            if gpu_millis > 0 {
                work.push((id.replica.task, gpu_millis));
            }
        }
        if work.is_empty() {
            return;
        }
        // Usage of an epoch that is over is settled first, so that nothing is counted into it any more.
        self.close_meter(node, open);
        let due = after(self.now.monotonic, checkpoint);
        let meter = self.ledger.meters.entry(*node).or_insert_with(|| Meter::new(open));
        for (task_id, gpu_millis) in work {
            let order = self.tasks.order_mut(&task_id);
            let signed = order.as_deref();
            let price = signed.map_or(pool_price, |order| order.price(pool_price));
            let key = LineKey {
                payee: basis.payee,
                class: basis.class,
                order: signed.map(|order| order.digest),
                price,
            };
            let cost = meter.add(key, gpu_millis);
            self.ledger.open_cost = self.ledger.open_cost.plus(cost);
            if let Some(order) = order {
                order.spent = order.spent.plus(cost);
                meter.tasks.insert(task_id);
                self.scratch.ledger.spending.insert(task_id);
            }
        }
        if meter.due.is_none() {
            meter.due = Some(due);
            self.timers.set(due, Timer::Checkpoint(*node));
        }
    }

    /// The node's provider, proof or uniqueness is not what it was: time counts anew from its next beat on.
    pub(crate) fn cut_meter(&mut self, id: &NodeId) {
        if let Some(mut node) = self.nodes.quiet(id) {
            node.pulse().talk.told.since = None;
        }
    }

    pub(crate) fn checkpoint_due(&mut self, id: &NodeId, due: Millis) {
        if self.ledger.meters.get(id).is_some_and(|meter| meter.due == Some(due)) {
            self.checkpoint(id);
        }
    }

    /// Makes a node's usage durable with this step.
    pub(crate) fn checkpoint(&mut self, id: &NodeId) {
        let Some(meter) = self.ledger.meters.get_mut(id).filter(|meter| meter.due.is_some()) else { return };
        meter.due = None;
        self.scratch.ledger.meters.insert(*id);
        self.scratch.ledger.spent.append(&mut meter.tasks);
    }

    /// What the node is told about its meter.
    pub(crate) fn reading(&self, id: &NodeId) -> Option<MeterReading> {
        self.config.settlement.as_ref()?;
        let epoch = self.ledger.progress.open?;
        let node = self.nodes.get(id)?;
        let meter = self.ledger.meters.get(id).filter(|meter| meter.epoch == epoch);
        Some(MeterReading {
            epoch,
            gpu_millis: meter.map_or(0, |meter| meter.gpu_millis),
            earned: meter.map_or_else(Default::default, |meter| meter.cost.rounded_down()),
            counts: self.basis(node).is_some(),
        })
    }
}
