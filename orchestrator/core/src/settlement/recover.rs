//! Settlement from the store's rows.

use lode_protocol::hash::Digest;
use lode_protocol::ids::{Address, Epoch, NodeId, TaskId};

use super::super::Core;
use super::super::effect::{ChainCommand, Table};
use super::super::record::{read_node_key, read_task_key, task_key};
use super::super::skipped::{SkippedRow, orphan, read};
use super::super::state::cost::Cost;
use super::ledger::Meter;
use super::record::{
    EpochRow, MeterRow, Offer, OrderRow, PayeeRow, Progress, RootStanding, read_address_key, read_digest_key,
    read_epoch_key,
};

/// Rows of settlement, as they were read.
#[derive(Default)]
pub(crate) struct LedgerRows {
    progress: Progress,
    meters: Vec<(NodeId, MeterRow)>,
    spent: Vec<(TaskId, Cost)>,
    orders: Vec<(Digest, OrderRow)>,
    payees: Vec<(Address, PayeeRow)>,
    offers: Vec<(NodeId, Vec<Offer>)>,
    epochs: Vec<(Epoch, EpochRow)>,
}

impl LedgerRows {
    pub(crate) fn add(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), String> {
        let bad_key = || "its key is malformed".to_owned();
        match table {
            Table::Settlement => self.progress = read(value)?,
            Table::Meters => self.meters.push((read_node_key(key).ok_or_else(bad_key)?, read(value)?)),
            Table::Spent => self.spent.push((read_task_key(key).ok_or_else(bad_key)?, read(value)?)),
            Table::Orders => self.orders.push((read_digest_key(key).ok_or_else(bad_key)?, read(value)?)),
            Table::Payees => self.payees.push((read_address_key(key).ok_or_else(bad_key)?, read(value)?)),
            Table::Offers => self.offers.push((read_node_key(key).ok_or_else(bad_key)?, read(value)?)),
            Table::Epochs => self.epochs.push((read_epoch_key(key).ok_or_else(bad_key)?, read(value)?)),
            Table::Receipts
            | Table::Roots
            | Table::Meta
            | Table::Nodes
            | Table::Progress
            | Table::Tasks
            | Table::Replicas
            | Table::Assignments => {}
        }
        Ok(())
    }
}

impl Core {
    /// Tasks are there already.
    pub(crate) fn add_ledger(&mut self, rows: LedgerRows, skipped: &mut Vec<SkippedRow>) {
        self.ledger.progress = rows.progress;
        self.ledger.stored_progress = rows.progress;
        for (node, row) in rows.meters {
            self.ledger.put_meter(node, Meter::from_row(row));
        }
        for (id, spent) in rows.spent {
            match self.tasks.order_mut(&id) {
                Some(order) => order.spent = spent,
                None => skipped.push(orphan(Table::Spent, task_key(&id))),
            }
        }
        rows.orders.into_iter().for_each(|(digest, row)| self.ledger.orders.insert(digest, row));
        rows.offers.into_iter().for_each(|(node, row)| self.ledger.offers.insert(node, row));
        rows.epochs.into_iter().for_each(|(epoch, row)| self.ledger.epochs.insert(epoch, row));
        for (payee, row) in rows.payees {
            self.ledger.places.insert(row.index, payee);
            self.ledger.total = self.ledger.total.saturating_add(row.cumulative);
            self.ledger.payees.insert(payee, row);
        }
        // All of it came from the store.
        drop(self.ledger.orders.take_touched());
        drop(self.ledger.offers.take_touched());
        drop(self.ledger.epochs.take_touched());
        drop(self.ledger.payees.take_touched());
    }

    /// The program takes office: what was under way goes on.
    pub(crate) fn resume_settlement(&mut self) {
        if self.config.settlement.is_none() {
            return;
        }
        self.ledger.widest = self.ledger.widest.max(self.beat_terms().suspect_after);
        let live: Vec<_> = self
            .assignments
            .iter()
            .filter(|(_, known)| known.is_wanted())
            .map(|(id, known)| (*id, known.node))
            .collect();
        for (id, node) in live {
            self.rate_assignment(id, &node);
        }
        self.start_closing();
        let latest = self.ledger.epochs.iter().rev().find_map(|(epoch, row)| Some((*epoch, row.root?)));
        if let Some((epoch, root)) = latest {
            match root.standing {
                RootStanding::Submitted => self.submit_root(epoch, root),
                RootStanding::Pending => self.command_chain(ChainCommand::FollowRoot(epoch)),
                RootStanding::Final | RootStanding::Vetoed | RootStanding::Failed => {}
            }
        }
    }
}
