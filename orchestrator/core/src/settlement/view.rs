//! Read models of settlement.

use std::ops::Bound;

use lode_protocol::amount::Amount;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{Address, Epoch};
use lode_protocol::published::{EpochSummary, PublishedRoot, RootStatus};
use lode_protocol::units::Millis;
use serde::Serialize;

use super::super::Core;
use super::super::state::cost::lasts;
use super::order::TaskOrderState;
use super::record::{EpochRoot, EpochRow, RootStanding};

/// The pool's money.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct BudgetView {
    /// Funded and not promised.
    pub free: Amount,
    /// Promised by roots and not paid.
    pub locked: Amount,
    /// Promised by roots in all.
    pub posted: Amount,
    /// Paid in all.
    pub paid: Amount,
    /// What a root of the running epoch may promise, by the spend cap.
    pub spendable: Amount,
    /// Work that is not part of a posted root yet.
    pub accrued: Amount,
    /// What everything that runs, or is about to, costs per hour.
    pub burn_per_hour: Amount,
    /// How long it lasts at that; `None`: nothing costs anything.
    pub runway: Option<Millis>,
    /// Whether paid work waits for money.
    pub exhausted: bool,
}

/// What a task may cost, and has cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct OrderView {
    /// Who pays.
    pub tenant: Address,
    /// Digest of the order.
    pub digest: Digest,
    /// Most that one GPU may cost for one hour.
    pub price_per_gpu_hour: Amount,
    /// Most that the task may cost.
    pub budget: Amount,
    /// What it has cost.
    pub spent: Amount,
}

pub(crate) fn view_order(order: &TaskOrderState) -> OrderView {
    OrderView {
        tenant: order.signed.order.tenant,
        digest: order.digest,
        price_per_gpu_hour: order.signed.order.price_per_gpu_hour,
        budget: order.signed.order.budget,
        spent: order.spent.rounded_up(),
    }
}

impl Core {
    pub(crate) fn budget_view(&self) -> Option<BudgetView> {
        self.config.settlement.as_ref()?;
        let budget = self.ledger.budget?;
        let accrued = self.ledger.accrued();
        let left = budget.free.min(budget.spendable).checked_sub(accrued).unwrap_or_default();
        Some(BudgetView {
            free: budget.free,
            locked: budget.locked,
            posted: budget.posted,
            paid: budget.paid,
            spendable: budget.spendable,
            accrued,
            burn_per_hour: self.ledger.burn,
            runway: lasts(left, self.ledger.burn),
            exhausted: self.ledger.starved,
        })
    }

    /// Epochs that are over, newest first, before one of them.
    pub fn epochs(&self, after: Option<Epoch>, limit: usize) -> Vec<EpochSummary> {
        let until = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rows = self.ledger.epochs.range((Bound::Unbounded, until)).rev().take(limit);
        rows.map(|(epoch, row)| summarise(*epoch, row)).collect()
    }

    /// One of them, with the first epoch whose receipts its root adds to the root before it.
    pub fn epoch_summary(&self, epoch: Epoch) -> Option<(EpochSummary, Option<Epoch>)> {
        let row = self.ledger.epochs.get(&epoch)?;
        Some((summarise(epoch, row), row.root.and_then(|root| root.covers_from)))
    }

    /// The latest epoch whose root is on chain.
    pub fn latest_posted(&self) -> Option<Epoch> {
        let posted = |row: &EpochRow| {
            row.root.is_some_and(|root| match root.standing {
                RootStanding::Pending | RootStanding::Final => true,
                RootStanding::Submitted | RootStanding::Vetoed | RootStanding::Failed => false,
            })
        };
        self.ledger.epochs.iter().rev().find(|(_, row)| posted(row)).map(|(epoch, _)| *epoch)
    }

    /// A payee's place in the tree.
    pub fn place_of(&self, payee: &Address) -> Option<u64> {
        self.ledger.payees.get(payee).map(|row| row.index)
    }
}

fn summarise(epoch: Epoch, row: &EpochRow) -> EpochSummary {
    EpochSummary { epoch, receipts: row.receipts, amount: row.amount, root: row.root.map(publish) }
}

fn publish(root: EpochRoot) -> PublishedRoot {
    PublishedRoot {
        root: root.root,
        total: root.total,
        depth: root.depth,
        proven_epoch: root.proven,
        status: match root.standing {
            RootStanding::Submitted => RootStatus::Submitted,
            RootStanding::Pending => RootStatus::Pending,
            RootStanding::Final => RootStatus::Final,
            RootStanding::Vetoed => RootStatus::Vetoed,
            RootStanding::Failed => RootStatus::Failed,
        },
    }
}
