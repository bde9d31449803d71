//! The state of settlement, and sums over it that every change keeps up.
//!
//! Invariants: `total` is the sum of all payees' earnings; `open_cost` that of all meters; `burn` that of all rates; every
//! payee stands in `places` at its index.

use std::collections::{BTreeMap, BTreeSet};

use lode_chain_types::EarningsLeaf;
use lode_protocol::amount::Amount;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{Address, AssignmentId, Epoch, NodeId, TaskId};
use lode_protocol::proof::ProofClassId;
use lode_protocol::units::Millis;
use lode_protocol::usage::{UsageLine, UsageStatement};

use super::super::event::{ChainBudget, ChainEpoch};
use super::super::state::cost::Cost;
use super::super::state::tracked::Tracked;
use super::record::{EpochRow, MeterLine, MeterRow, Offer, OrderRow, PayeeRow, Progress};

/// What work is counted by. Lines with equal keys are one line.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct LineKey {
    pub(crate) payee: Address,
    pub(crate) class: ProofClassId,
    pub(crate) order: Option<Digest>,
    pub(crate) price: Amount,
}

/// Usage of one node that no receipt tells yet.
#[derive(Clone, Debug)]
pub(crate) struct Meter {
    pub(crate) epoch: Epoch,
    lines: BTreeMap<LineKey, u64>,
    pub(crate) gpu_millis: u64,
    pub(crate) cost: Cost,
    /// Tasks whose use of their budget changed since the last checkpoint.
    pub(crate) tasks: BTreeSet<TaskId>,
    /// When the next checkpoint is due; `None`: everything is durable.
    pub(crate) due: Option<Millis>,
}

impl Meter {
    pub(crate) fn new(epoch: Epoch) -> Self {
        Meter {
            epoch,
            lines: BTreeMap::new(),
            gpu_millis: 0,
            cost: Cost::ZERO,
            tasks: BTreeSet::new(),
            due: None,
        }
    }

    /// Counts work; tells what it costs.
    pub(crate) fn add(&mut self, mut key: LineKey, gpu_millis: u64) -> Cost {
        if self.lines.len() >= UsageStatement::MAX_LINES && !self.lines.contains_key(&key) {
            key.order = None;
        }
        let line = self.lines.entry(key).or_default();
        *line = line.saturating_add(gpu_millis);
        self.gpu_millis = self.gpu_millis.saturating_add(gpu_millis);
        let cost = Cost::of(gpu_millis, key.price);
        self.cost = self.cost.plus(cost);
        cost
    }

    /// By payee, in the order of their addresses.
    pub(crate) fn by_payee(&self) -> BTreeMap<Address, Vec<UsageLine>> {
        let mut all: BTreeMap<Address, Vec<UsageLine>> = BTreeMap::new();
        for row in self.rows() {
            all.entry(row.payee).or_default().push(row.line);
        }
        all
    }

    fn rows(&self) -> impl Iterator<Item = MeterLine> {
        self.lines.iter().map(|(key, gpu_millis)| MeterLine {
            payee: key.payee,
            line: UsageLine {
                class: key.class,
                order: key.order,
                price_per_gpu_hour: key.price,
                gpu_millis: *gpu_millis,
            },
        })
    }

    pub(crate) fn to_row(&self) -> MeterRow {
        MeterRow { epoch: self.epoch, lines: self.rows().collect() }
    }

    pub(crate) fn from_row(row: MeterRow) -> Self {
        let mut meter = Meter::new(row.epoch);
        for MeterLine { payee, line } in row.lines {
            let key = LineKey { payee, class: line.class, order: line.order, price: line.price_per_gpu_hour };
            meter.add(key, line.gpu_millis);
        }
        meter
    }
}

/// Epochs that are over and whose usage becomes receipts, some nodes at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Closing {
    #[default]
    Done,
    /// Meters of nodes after this one may still be of an older epoch.
    After(Option<NodeId>),
}

/// The pool's money, as far as the core keeps it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) progress: Progress,
    /// What of it the store has.
    pub(crate) stored_progress: Progress,
    pub(crate) timing: Option<ChainEpoch>,
    /// When it was told, on the monotonic clock.
    pub(crate) timing_at: Millis,
    pub(crate) budget: Option<ChainBudget>,
    pub(crate) meters: BTreeMap<NodeId, Meter>,
    pub(crate) open_cost: Cost,
    pub(crate) closing: Closing,
    pub(crate) payees: Tracked<Address, PayeeRow>,
    /// By index. A hole means that a row was lost: then no root is made.
    pub(crate) places: BTreeMap<u64, Address>,
    pub(crate) total: Amount,
    pub(crate) offers: Tracked<NodeId, Vec<Offer>>,
    pub(crate) epochs: Tracked<Epoch, EpochRow>,
    pub(crate) orders: Tracked<Digest, OrderRow>,
    /// What wanted assignments cost per hour at most, once they run.
    pub(crate) rates: BTreeMap<AssignmentId, Amount>,
    pub(crate) burn: Amount,
    /// Longest time that one beat may count, of all that nodes were told.
    pub(crate) widest: Millis,
    /// Whether something waits only because the budget does not last.
    pub(crate) starved: bool,
    /// Whether that was told.
    pub(crate) told_starved: bool,
    /// Whether everything that waited for money was tried again in this step.
    pub(crate) retried: bool,
    /// What keeps the root from being posted, as people were told.
    pub(crate) obstacle: Option<&'static str>,
}

impl Ledger {
    /// Work that is not part of a posted root, in money, rounded up.
    pub(crate) fn accrued(&self) -> Amount {
        let posted = self.budget.map_or(Amount::ZERO, |budget| budget.posted);
        let closed = Amount(self.total.0.saturating_sub(posted.0));
        closed.saturating_add(self.open_cost.rounded_up())
    }

    /// Takes a node's meter out.
    pub(crate) fn take_meter(&mut self, node: &NodeId) -> Option<Meter> {
        let meter = self.meters.remove(node)?;
        self.open_cost = self.open_cost.minus(meter.cost);
        Some(meter)
    }

    /// Puts a meter in that was read from the store.
    pub(crate) fn put_meter(&mut self, node: NodeId, meter: Meter) {
        self.open_cost = self.open_cost.plus(meter.cost);
        self.meters.insert(node, meter);
    }

    /// A payee earns; tells its total. A new payee gets the next place.
    pub(crate) fn earn(&mut self, payee: Address, amount: Amount) -> Amount {
        let next = self.places.last_key_value().map_or(0, |(last, _)| last.saturating_add(1));
        if !self.payees.contains_key(&payee) {
            self.places.insert(next, payee);
        }
        let row = self.payees.get_or_insert(payee, PayeeRow { index: next, cumulative: Amount::ZERO });
        row.cumulative = row.cumulative.saturating_add(amount);
        self.total = self.total.saturating_add(amount);
        row.cumulative
    }

    /// The leaves of the tree as it is now, by place; `None` where a place is lost.
    pub(crate) fn leaves(&self) -> Option<Vec<EarningsLeaf>> {
        let leaf = |(place, (index, payee)): (u64, (&u64, &Address))| {
            let cumulative = self.payees.get(payee)?.cumulative;
            (place == *index).then_some(EarningsLeaf { payee: *payee, cumulative })
        };
        (0u64..).zip(&self.places).map(leaf).collect()
    }

    /// Sets what an assignment costs per hour; nothing when it costs nothing.
    pub(crate) fn set_rate(&mut self, assignment: AssignmentId, rate: Amount) {
        self.drop_rate(&assignment);
        if rate > Amount::ZERO {
            self.burn = self.burn.saturating_add(rate);
            self.rates.insert(assignment, rate);
        }
    }

    /// An assignment costs nothing any more; whether it did.
    pub(crate) fn drop_rate(&mut self, assignment: &AssignmentId) -> bool {
        let Some(rate) = self.rates.remove(assignment) else { return false };
        self.burn = Amount(self.burn.0.saturating_sub(rate.0));
        true
    }
}
