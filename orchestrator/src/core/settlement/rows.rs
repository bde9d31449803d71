//! Which rows of settlement a step has touched; written once at its end.

use std::collections::BTreeSet;

use lode_protocol::envelope::encode;
use lode_protocol::hash::Digest;
use lode_protocol::ids::{Address, Epoch, NodeId, TaskId};

use super::super::Core;
use super::super::effect::Table;
use super::super::record::{node_key, task_key};
use super::record::{SETTLEMENT_KEY, root_key};

/// What is owed at the end of a step.
#[derive(Clone, Debug, Default)]
pub(crate) struct TouchedLedger {
    pub(crate) progress: bool,
    pub(crate) meters: BTreeSet<NodeId>,
    /// Tasks whose spending is to be written.
    pub(crate) spent: BTreeSet<TaskId>,
    /// Tasks whose spending has grown.
    pub(crate) spending: BTreeSet<TaskId>,
    pub(crate) orders: BTreeSet<Digest>,
    pub(crate) payees: BTreeSet<Address>,
    pub(crate) offers: BTreeSet<NodeId>,
    pub(crate) epochs: BTreeSet<Epoch>,
}

impl Core {
    pub(crate) fn write_ledger_rows(&mut self) {
        let touched = std::mem::take(&mut self.scratch.ledger);
        if touched.progress {
            let row = encode(&self.ledger.progress);
            self.change(Table::Settlement, SETTLEMENT_KEY.to_vec(), Some(row));
        }
        for node in touched.meters {
            let row = self.ledger.meters.get(&node).map(|meter| encode(&meter.to_row()));
            self.change(Table::Meters, node_key(&node), row);
        }
        for task in touched.spent {
            let order = self.tasks.get(&task).and_then(|task| task.order);
            let row = order.map(|order| encode(&order.spent));
            self.change(Table::Spent, task_key(&task), row);
        }
        for digest in touched.orders {
            let row = self.ledger.orders.get(&digest).map(encode);
            self.change(Table::Orders, digest.0.to_vec(), row);
        }
        for payee in touched.payees {
            let row = self.ledger.payees.get(&payee).map(encode);
            self.change(Table::Payees, payee.0.to_vec(), row);
        }
        for node in touched.offers {
            let row = self.ledger.offers.get(&node).map(encode);
            self.change(Table::Offers, node_key(&node), row);
        }
        for epoch in touched.epochs {
            let row = self.ledger.epochs.get(&epoch).map(encode);
            self.change(Table::Epochs, root_key(epoch), row);
        }
    }
}
