//! What the pool may still promise, and keeping within it.
//!
//! The limit is what is funded and free, and what the spend cap lets a root promise. Two rules:
//!
//! * Paid work is placed only if the limit bears what is accrued, and everything that runs and is to run for two more
//!   epochs: what is placed runs at least to the end of the next one.
//! * Paid work is ended, the newest first, when the limit does not bear it to the end of the running epoch. Whatever
//!   happens, it bears one more beat of every node: so what is accrued never exceeds it.
//!
//! An assignment's rate is its GPUs at the price of its node's class, at the pool's highest price while that class is not
//! known. While nothing is known of the budget nothing paid is placed, and nothing is ended.

use lode_protocol::amount::Amount;
use lode_protocol::assignment::Reason;
use lode_protocol::error_code::ErrorCode;
use lode_protocol::finding::Finding;
use lode_protocol::ids::{AssignmentId, NodeId};
use lode_protocol::proof::ProofClassId;
use lode_protocol::units::Millis;

use super::super::Core;
use super::super::effect::Action;
use super::super::event::ChainBudget;
use super::super::node::Node;
use super::super::placement::Requirement;
use super::super::state::cost::over;
use super::super::state::shape::ShapeId;
use super::super::view::Filter;
use super::super::work::Work;

const EXHAUSTED: &str = "budget/exhausted";

impl Core {
    /// The pool's money has changed.
    pub(crate) fn chain_budget_seen(&mut self, budget: ChainBudget) {
        if self.config.settlement.is_none() || self.ledger.budget.replace(budget) == Some(budget) {
            return;
        }
        self.queue.retry_all();
        self.ledger.starved = false;
        self.ledger.retried = true;
        self.root_seen_in_budget(budget);
        self.consider_posting();
    }

    /// What may be promised beyond what is posted.
    pub(crate) fn promisable(&self) -> Option<Amount> {
        self.ledger.budget.map(|budget| budget.free.min(budget.spendable))
    }

    /// Time left of the running epoch, and one beat of everybody.
    fn to_the_end(&self) -> Millis {
        let passed = self.now.monotonic.0.saturating_sub(self.ledger.timing_at.0);
        let left = self.ledger.timing.map_or(0, |timing| timing.ends_in.0.saturating_sub(passed));
        Millis(left.saturating_add(self.ledger.widest.0))
    }

    /// Two epochs, and one beat of everybody.
    fn placing_horizon(&self) -> Millis {
        let length = self.ledger.timing.map_or(0, |timing| timing.length.0);
        Millis(length.saturating_mul(2).saturating_add(self.ledger.widest.0))
    }

    /// What GPUs cost per hour on a node.
    pub(crate) fn rate_on(&self, node: &Node, gpus: u32) -> Amount {
        self.rate_of(node.facts.proven_class().map(ProofClassId), gpus)
    }

    /// What GPUs of a class cost per hour.
    pub(crate) fn rate_of(&self, class: Option<ProofClassId>, gpus: u32) -> Amount {
        let Some(terms) = &self.config.settlement else { return Amount::ZERO };
        let price = class.map_or_else(|| terms.prices.highest(), |class| terms.prices.of(class));
        price.saturating_mul(gpus.into())
    }

    /// Whether the budget forbids that a replica is placed on a node.
    pub(crate) fn budget_filter(&self, node: &Node, requirement: &Requirement) -> Option<Filter> {
        let rate = self.rate_on(node, requirement.gpus);
        (!self.bears(rate)).then_some(Filter::Budget)
    }

    /// The least that a GPU costs per hour.
    pub(crate) fn lowest_price(&self) -> Amount {
        self.config.settlement.as_ref().map_or(Amount::ZERO, |terms| terms.prices.lowest())
    }

    /// Whether the budget bears that so much more runs.
    pub(crate) fn bears(&self, rate: Amount) -> bool {
        if rate == Amount::ZERO {
            return true;
        }
        // Without the epoch's length nobody can say for how long it must last.
        let (Some(limit), Some(_)) = (self.promisable(), self.ledger.timing) else { return false };
        let burn = self.ledger.burn.saturating_add(rate);
        self.ledger.accrued().saturating_add(over(burn, self.placing_horizon())) <= limit
    }

    /// A shape was placed nowhere: if money may be why, it is tried again when some becomes free.
    pub(crate) fn note_starved(&mut self, shape: ShapeId) {
        let gpus = self.queue.requirement(shape).map_or(0, |requirement| requirement.gpus);
        self.note_gpus_starved(gpus);
    }

    /// The same for all shapes that want so many GPUs.
    pub(crate) fn note_gpus_starved(&mut self, gpus: u32) {
        let Some(terms) = &self.config.settlement else { return };
        let rate = terms.prices.highest().saturating_mul(gpus.into());
        if !self.bears(rate) {
            self.ledger.starved = true;
            self.queue.note_too_dear(gpus);
        }
    }

    /// An assignment was placed.
    pub(crate) fn rate_assignment(&mut self, id: AssignmentId, node: &NodeId) {
        let gpus = self.assignments.get(&id).map_or(0, |known| known.gpus.len());
        let gpus = u32::try_from(gpus).unwrap_or(u32::MAX);
        let rate = self.nodes.get(node).map_or(Amount::ZERO, |node| self.rate_on(node, gpus));
        self.ledger.set_rate(id, rate);
    }

    /// A node's class is known, or not any more: what it runs has another rate.
    pub(crate) fn rate_node(&mut self, id: &NodeId) {
        if self.config.settlement.is_none() {
            return;
        }
        let active = self.nodes.get(id).map(|node| node.active.clone()).unwrap_or_default();
        for assignment in active {
            if self.assignments.get(&assignment).is_some_and(|known| known.is_wanted()) {
                self.rate_assignment(assignment, id);
            }
        }
        self.money_may_be_free();
    }

    /// An assignment costs nothing any more.
    pub(crate) fn unrate_assignment(&mut self, id: &AssignmentId) {
        if self.ledger.drop_rate(id) {
            self.money_may_be_free();
        }
    }

    /// What waited for money is tried again.
    pub(crate) fn money_may_be_free(&mut self) {
        if std::mem::take(&mut self.ledger.starved) {
            self.queue.money_freed();
            self.ledger.retried = true;
        }
    }

    /// Ends paid work that the budget does not bear, the newest first.
    pub(crate) fn enforce_budget(&mut self) {
        let Some(limit) = self.promisable().filter(|_| self.config.settlement.is_some()) else { return };
        loop {
            let needed = self.ledger.accrued().saturating_add(over(self.ledger.burn, self.to_the_end()));
            if needed <= limit {
                return;
            }
            let Some((id, _)) = self.ledger.rates.last_key_value() else { return };
            let id = *id;
            if !self.has_room() {
                self.backlog.push(Work::EndUnpaid);
                return;
            }
            self.unassign(&id, Reason::BudgetExhausted);
            self.unrate_assignment(&id);
            self.ledger.starved = true;
        }
    }

    /// Tells people when paid work waits for money, and when it does not any more.
    pub(crate) fn tell_starvation(&mut self) {
        let retried = std::mem::take(&mut self.ledger.retried);
        if self.ledger.starved && !self.ledger.told_starved {
            self.ledger.told_starved = true;
            let finding = Finding::warning(
                EXHAUSTED,
                "The pool's budget does not last: paid work waits, and what would outlast it is being ended.",
            );
            self.act(Action::RaiseFinding(finding.remedy(
                "Fund the pool (`lode pool fund`) or raise its spend cap; what waits is placed by itself then.",
            )));
        } else if retried && !self.ledger.starved && self.ledger.told_starved {
            self.ledger.told_starved = false;
            self.act(Action::ClearFinding { code: ErrorCode::new(EXHAUSTED), subject: String::new() });
        }
    }
}
