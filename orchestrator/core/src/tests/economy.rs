//! The chain's side of settlement for tests, and what must hold of the ledger after every step.

use std::collections::BTreeMap;

use lode_protocol::amount::Amount;
use lode_protocol::envelope::decode;
use lode_protocol::ids::{Address, Epoch, NodeId};
use lode_protocol::units::Millis;

use super::super::Core;
use super::super::effect::{Action, ChainCommand, Table};
use super::super::event::*;
use super::super::record;
use super::super::settlement::ReceiptRow;
use super::super::settlement::test_access::*;
use super::world::{Store, World};

/// Length of an epoch.
pub(super) const LENGTH: Millis = Millis::seconds(3_600);

/// More money than anything here costs.
pub(super) fn rich() -> ChainBudget {
    ChainBudget {
        free: Amount::tokens(1_000_000),
        locked: Amount::ZERO,
        posted: Amount::ZERO,
        paid: Amount::ZERO,
        spendable: Amount::tokens(1_000_000),
        spendable_before: Amount::tokens(1_000_000),
        latest: None,
        in_veto: false,
        proven: Some(Epoch(1)),
    }
}

impl World {
    /// The chain tells of the pool's money.
    pub(super) fn tell_budget(&mut self) {
        let budget = self.budget;
        self.ok(Event::ChainBudget(budget));
    }

    /// The first epoch begins, or the next one.
    pub(super) fn next_epoch(&mut self) {
        self.epoch += 1;
        self.tell_budget();
        self.tell_epoch();
        // Whatever is turned into receipts in slices.
        for _ in 0..20 {
            self.wait(1);
        }
    }

    pub(super) fn tell_epoch(&mut self) {
        let seen = ChainEpoch {
            epoch: Epoch(self.epoch),
            ends_in: LENGTH,
            length: LENGTH,
            posting: Millis::seconds(6 * 3_600),
        };
        self.ok(Event::ChainEpoch(seen));
    }

    /// The worker's node is proven, with all its GPUs.
    pub(super) fn prove(&mut self, number: usize, class: u32) {
        let gpu_count = u32::try_from(self.workers[number].specs.gpus.len()).unwrap();
        self.ok(Event::ChainProven {
            node: self.workers[number].id,
            proof: Some(Proof { class, gpu_count }),
        });
    }

    /// Roots that were handed over, in order.
    pub(super) fn submitted(&self) -> Vec<(Epoch, Amount)> {
        let root = |action: &Action| match action {
            Action::Chain(ChainCommand::SubmitRoot { epoch, total, .. }) => Some((*epoch, *total)),
            _ => None,
        };
        self.actions.iter().filter_map(root).collect()
    }

    /// The chain takes the root that was submitted last.
    pub(super) fn take_root(&mut self) -> Epoch {
        let (epoch, total) = *self.submitted().last().expect("a root was submitted");
        let increase = Amount(total.0 - self.budget.posted.0);
        self.budget.free = Amount(self.budget.free.0 - increase.0);
        self.budget.locked = self.budget.locked.saturating_add(increase);
        self.budget.posted = total;
        self.budget.latest = Some(epoch);
        self.budget.in_veto = true;
        self.tell_budget();
        self.ok(Event::ChainRoot { epoch, fate: RootFate::Pending });
        epoch
    }

    pub(super) fn root_is_final(&mut self, epoch: Epoch) {
        self.budget.in_veto = false;
        self.tell_budget();
        self.ok(Event::ChainRoot { epoch, fate: RootFate::Final });
    }

    /// Every receipt in the store.
    pub(super) fn receipts(&self) -> Vec<ReceiptRow> {
        receipts(&self.store)
    }

    /// GPU-milliseconds that were counted of a node: told by receipts, and not yet.
    pub(super) fn metered(&self, node: NodeId) -> u64 {
        let told: u64 = self
            .receipts()
            .iter()
            .filter(|row| row.receipt.node == node)
            .map(|row| row.usage.gpu_millis())
            .sum();
        told + self.core.ledger.meters.get(&node).map_or(0, |meter| meter.gpu_millis)
    }

    /// The same as far as the store has it.
    pub(super) fn durably_metered(&self, node: NodeId) -> u64 {
        let told: u64 = self
            .receipts()
            .iter()
            .filter(|row| row.receipt.node == node)
            .map(|row| row.usage.gpu_millis())
            .sum();
        let row = self.store.get(&(Table::Meters, record::node_key(&node)));
        let row: Option<MeterRow> = row.map(|row| decode(row).unwrap());
        told + row.map_or(0, |row| row.lines.iter().map(|line| line.line.gpu_millis).sum())
    }
}

pub(super) fn receipts(store: &Store) -> Vec<ReceiptRow> {
    let rows = store.iter().filter(|((table, _), _)| *table == Table::Receipts);
    rows.map(|(_, row)| decode(row).unwrap()).collect()
}

/// Sums, places and rates are what they are the sums, places and rates of.
pub(super) fn the_ledger_adds_up(core: &Core) {
    let ledger = &core.ledger;
    let total: u128 = ledger.payees.values().map(|row| row.cumulative.0).sum();
    assert_eq!(ledger.total, Amount(total));
    let open = ledger.meters.values().fold(Cost::ZERO, |sum, meter| sum.plus(meter.cost));
    assert_eq!(ledger.open_cost, open);
    let burn: u128 = ledger.rates.values().map(|rate| rate.0).sum();
    assert_eq!(ledger.burn, Amount(burn));
    let places: BTreeMap<u64, Address> =
        ledger.payees.iter().map(|(payee, row)| (row.index, *payee)).collect();
    assert_eq!(ledger.places, places);
    assert!(ledger.places.keys().copied().eq(0..u64::try_from(places.len()).unwrap()), "no gaps");
    for (id, assignment) in &core.assignments {
        let paid = core.config.settlement.is_some() && assignment.is_wanted() && !assignment.gpus.is_empty();
        assert_eq!(ledger.rates.contains_key(id), paid, "{id}");
    }
    for (id, meter) in &ledger.meters {
        assert!(Some(meter.epoch) <= ledger.progress.open, "{id}");
    }
    assert!(core.config.settlement.is_some() || ledger.meters.is_empty(), "unpriced pools count nothing");
}

/// What is accrued is within what may be promised, unless money was taken away.
pub(super) fn the_budget_bears_what_is_accrued(core: &Core) {
    if let Some(limit) = core.promisable() {
        assert!(core.ledger.accrued() <= limit, "{} of {limit}", core.ledger.accrued());
    }
}
