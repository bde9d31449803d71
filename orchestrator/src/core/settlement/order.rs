//! What a tenant signed for: an order caps what a task's GPUs cost per hour and what the task costs in all.
//!
//! An order counts once: the digest of a used one is remembered until its deadline, so that nobody who sees it can have it
//! paid twice. The task ends, gracefully, before its budget does.

use lode_protocol::amount::Amount;
use lode_protocol::hash::Digest;
use lode_protocol::ids::TaskId;
use lode_protocol::keys::EthereumSignature;
use lode_protocol::settlement::{TaskOrder, task_order_domain};
use lode_protocol::task::ValidTaskSpec;
use minicbor::{Decode, Encode};

use super::super::Core;
use super::super::config::Settlement;
use super::super::effect::OccurrenceKind;
use super::super::error::Rejected;
use super::super::task::{Goal, Task};
use super::price::{Cost, over};
use super::record::OrderRow;

/// An order with the tenant's signature.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct SignedOrder {
    /// What was signed.
    #[n(0)]
    pub order: TaskOrder,
    /// EIP-712 signature of the tenant's key.
    #[n(1)]
    pub signature: EthereumSignature,
}

/// A task's order and how far it is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TaskOrderState {
    pub(crate) signed: SignedOrder,
    pub(crate) digest: Digest,
    pub(crate) spent: Cost,
}

impl TaskOrderState {
    /// What a GPU costs under it: the pool's price, and never more than the tenant signed for.
    pub(crate) fn price(&self, pool_price: Amount) -> Amount {
        pool_price.min(self.signed.order.price_per_gpu_hour)
    }
}

/// What is used of an order, for the row of a task.
pub(crate) fn order_of(task: &Task) -> Option<SignedOrder> {
    task.order.map(|order| order.signed)
}

impl Core {
    /// Checks an order for a new task. Order of the checks: pool and spec, deadline, tenant, signature, price, budget,
    /// use.
    pub(crate) fn judge_order(
        &self,
        spec: &ValidTaskSpec,
        signed: &SignedOrder,
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

    fn judge_tenant(&self, terms: &Settlement, order: &TaskOrder) -> Result<(), Rejected> {
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
        self.scratch.ledger.orders.insert(order.digest);
    }

    /// Forgets orders that have expired and whose task is gone: they are refused anyway.
    pub(crate) fn forget_orders(&mut self) {
        let now = self.now.wall.0 / 1_000;
        let over: Vec<Digest> = self
            .ledger
            .orders
            .iter()
            .filter(|(_, row)| row.deadline < now && !self.tasks.contains_key(&row.task))
            .map(|(digest, _)| *digest)
            .collect();
        for digest in over {
            self.ledger.orders.remove(&digest);
            self.scratch.ledger.orders.insert(digest);
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
