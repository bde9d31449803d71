//! Which rows of settlement a step has touched; written once at its end.

use std::collections::{BTreeMap, BTreeSet};

use lode_protocol::envelope::encode;
use lode_protocol::ids::{NodeId, TaskId};

use super::super::Core;
use super::super::effect::Table;
use super::super::record::{node_key, task_key};
use super::record::{Progress, SETTLEMENT_KEY, root_key};

/// What is owed at the end of a step besides what the ledger's maps have marked. Meters are not tracked: their rows lag
/// behind on purpose, and are written at checkpoints.
#[derive(Clone, Debug, Default)]
pub(crate) struct TouchedLedger {
    pub(crate) meters: BTreeSet<NodeId>,
    /// Tasks whose spending is to be written.
    pub(crate) spent: BTreeSet<TaskId>,
    /// Tasks whose spending has grown.
    pub(crate) spending: BTreeSet<TaskId>,
}

impl Core {
    /// How many rows of settlement the step will have written, at most.
    pub(crate) fn ledger_load(&self) -> usize {
        let touched = &self.scratch.ledger;
        let ledger = &self.ledger;
        1 + touched.meters.len()
            + touched.spent.len()
            + ledger.orders.touched().len()
            + ledger.payees.touched().len()
            + ledger.offers.touched().len()
            + ledger.epochs.touched().len()
    }

    pub(crate) fn write_ledger_rows(&mut self) {
        if self.ledger.progress != self.ledger.stored_progress {
            self.ledger.stored_progress = self.ledger.progress;
            let row = encode(&self.ledger.progress);
            self.change(Table::Settlement, SETTLEMENT_KEY.to_vec(), Some(row));
        }
        let touched = std::mem::take(&mut self.scratch.ledger);
        for node in touched.meters {
            let row = self.ledger.meters.get(&node).map(|meter| encode(&meter.to_row()));
            self.change(Table::Meters, node_key(&node), row);
        }
        for task in touched.spent {
            let order = self.tasks.get(&task).and_then(|task| task.order);
            let row = order.map(|order| encode(&order.spent));
            self.change(Table::Spent, task_key(&task), row);
        }
        for digest in self.ledger.orders.take_touched() {
            let row = self.ledger.orders.get(&digest).map(encode);
            self.change(Table::Orders, digest.0.to_vec(), row);
        }
        for payee in self.ledger.payees.take_touched() {
            let row = self.ledger.payees.get(&payee).map(encode);
            self.change(Table::Payees, payee.0.to_vec(), row);
        }
        for node in self.ledger.offers.take_touched() {
            let row = self.ledger.offers.get(&node).map(encode);
            self.change(Table::Offers, node_key(&node), row);
        }
        for epoch in self.ledger.epochs.take_touched() {
            let row = self.ledger.epochs.get(&epoch).map(encode);
            self.change(Table::Epochs, root_key(epoch), row);
        }
    }

    /// Settlement's part of [`Core::rows`]: all but what lags behind, and what is not kept in memory.
    pub(crate) fn ledger_rows(&self) -> BTreeMap<(Table, Vec<u8>), Vec<u8>> {
        let mut rows = BTreeMap::new();
        let ledger = &self.ledger;
        if ledger.progress != Progress::default() {
            rows.insert((Table::Settlement, SETTLEMENT_KEY.to_vec()), encode(&ledger.progress));
        }
        for (digest, row) in &ledger.orders {
            rows.insert((Table::Orders, digest.0.to_vec()), encode(row));
        }
        for (payee, row) in &ledger.payees {
            rows.insert((Table::Payees, payee.0.to_vec()), encode(row));
        }
        for (node, row) in &ledger.offers {
            rows.insert((Table::Offers, node_key(node)), encode(row));
        }
        for (epoch, row) in &ledger.epochs {
            rows.insert((Table::Epochs, root_key(*epoch)), encode(row));
        }
        rows
    }
}
