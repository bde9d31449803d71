//! What a tenant signed for: an order caps what a task's GPUs cost per hour and what the task costs in all.
//!
//! An order counts once: the digest of a used one is remembered until its deadline, so that nobody who sees it can have it
//! paid twice. The task ends, gracefully, before its budget does.

use std::ops::Bound;

use lode_protocol::amount::Amount;
use lode_protocol::hash::Digest;
use lode_protocol::ids::TaskId;
use lode_protocol::settlement::{SpendAuthorization, task_order_domain};
use lode_protocol::task::ValidTaskSpec;

use super::super::Core;
use super::super::config::Settlement;
use super::super::effect::OccurrenceKind;
use super::super::error::Rejected;
use super::super::state::cost::{Cost, over};
pub use super::super::state::order::SignedSpendAuthorization;
pub(crate) use super::super::state::order::TaskOrderState;
use super::super::task::{Goal, Task};
use super::super::work::Work;
use super::record::OrderRow;

impl Core {
    /// Checks an order for a new task. Order of the checks: pool and spec, deadline, tenant, signature, price, budget,
    /// use.
    pub(crate) fn judge_order(
        &self,
        spec: &ValidTaskSpec,
        signed: &SignedSpendAuthorization,
    ) -> Result<TaskOrderState, Rejected> {
        let order = &signed.order;
        let Some(terms) = &self.config.settlement else {
            return Err(Rejected::invalid(
                "order/pool-unpriced",
                "this pool has no prices, so that an order means nothing to it",
                "submit the task without an order",
            ));
        };
        if order.pool != self.config.pool || order.spec != spec.digest() {
            return Err(Rejected::invalid(
                "order/mismatch",
                "the order is for another pool or another spec",
                "sign an order for this pool and this very spec",
            ));
        }
        if order.deadline.saturating_mul(1_000) < self.now.wall.0 {
            return Err(Rejected::invalid("order/expired", "the order has expired", "sign a new one"));
        }
        self.judge_tenant(terms, order)?;
        let digest = order.digest(&task_order_domain(self.config.chain, self.config.pools_contract));
        if signed.signature.recover(&digest) != Ok(order.tenant) {
            return Err(Rejected::denied(
                "order/bad-signature",
                "the order is not signed by its tenant",
                "sign it with the tenant's key for this chain, deployment and pool",
            ));
        }
        let price = terms.prices.highest();
        if order.price_per_gpu_hour < price {
            return Err(Rejected::invalid(
                "order/price-too-low",
                format!(
                    "a GPU costs up to {price} tokens per hour here, the order allows {}",
                    order.price_per_gpu_hour
                ),
                "sign an order with a higher price, or use another pool",
            ));
        }
        let least = over(whole_rate(spec, price), self.ledger.widest);
        if order.budget < least {
            return Err(Rejected::invalid(
                "order/budget-too-small",
                format!(
                    "the order's budget is {}, and the task may cost {least} before it can be stopped",
                    order.budget
                ),
                "sign an order with a larger budget",
            ));
        }
        if self.ledger.orders.contains_key(&digest) {
            return Err(Rejected::conflict(
                "order/used",
                "the order was used for another task",
                "sign another order: one with another deadline is another one",
            ));
        }
        Ok(TaskOrderState { signed: *signed, digest, spent: Cost::ZERO })
    }

    fn judge_tenant(&self, terms: &Settlement, order: &SpendAuthorization) -> Result<(), Rejected> {
        if terms.tenants.contains(&order.tenant) {
            return Ok(());
        }
        match self.chain_pool {
            Some(pool) if pool.owner == order.tenant => Ok(()),
            Some(_) => Err(Rejected::denied(
                "order/unknown-tenant",
                format!("{} neither owns this pool nor is one of its tenants", order.tenant),
                "let the pool's owner sign, or let the tenant be added to settlement.tenants",
            )),
            None => Err(Rejected::transient(
                "pool/view-stale",
                "the orchestrator cannot read the chain now, so that it does not know who owns the pool",
                "try again shortly",
            )),
        }
    }

    /// Remembers that an order was used.
    pub(crate) fn use_order(&mut self, task: TaskId, order: &TaskOrderState) {
        let row = OrderRow { task, deadline: order.signed.order.deadline };
        self.ledger.orders.insert(order.digest, row);
    }

    /// Forgets orders that have expired and whose task is gone: they are refused anyway. Looks at those after this one,
    /// as far as there is room.
    pub(crate) fn forget_orders(&mut self, after: Option<Digest>) {
        let now = self.now.wall.0 / 1_000;
        let most = usize::try_from(self.config.terms.step_visits).unwrap_or(usize::MAX).max(1);
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let seen: Vec<(Digest, OrderRow)> = self
            .ledger
            .orders
            .range((from, Bound::Unbounded))
            .take(most)
            .map(|(id, row)| (*id, *row))
            .collect();
        let more = seen.len() == most;
        let mut last = after;
        for (digest, row) in seen {
            if !self.has_room() {
                self.backlog.push(Work::ForgetOrders(last));
                return;
            }
            if row.deadline < now && !self.tasks.contains_key(&row.task) {
                self.ledger.orders.remove(&digest);
            }
            last = Some(digest);
        }
        if more {
            self.backlog.push(Work::ForgetOrders(last));
        }
    }

    /// Whether the task's own budget bears that everything of it runs until it can be stopped.
    pub(crate) fn bears_itself(&self, task: &Task) -> bool {
        let (Some(order), Some(terms)) = (&task.order, &self.config.settlement) else { return true };
        let price = order.price(terms.prices.highest());
        let ahead = over(whole_rate(&task.spec, price), self.ledger.widest);
        order.spent.rounded_up().saturating_add(ahead) <= order.signed.order.budget
    }

    /// Ends the tasks whose budget this step has used up.
    pub(crate) fn enforce_orders(&mut self) {
        for id in std::mem::take(&mut self.scratch.ledger.spending) {
            let Some(task) = self.tasks.get(&id).filter(|task| task.goal == Goal::Run) else { continue };
            if self.bears_itself(task) {
                continue;
            }
            let Some(order) = task.order else { continue };
            self.log(OccurrenceKind::TaskBudgetExhausted {
                task: id,
                spent: order.spent.rounded_up(),
                budget: order.signed.order.budget,
            });
            self.exhaust_task(&id);
        }
    }
}

/// What all replicas of a task cost per hour.
fn whole_rate(spec: &ValidTaskSpec, price: Amount) -> Amount {
    let gpus = u64::from(spec.resources.gpus).saturating_mul(spec.replicas.into());
    price.saturating_mul(gpus)
}
